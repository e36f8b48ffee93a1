"""Images written straight into a docker-registry's folder: thousands of tags in seconds, for many-tag tests.

The layout is that of distribution 2.8's filesystem driver (registry/storage/paths.go describes it).
"""

from collections.abc import Iterable
from pathlib import Path

from registrylab.images import Image, sha256

_ROOT = "docker/registry/v2"


def lay(storage: Path, repository: str, image: Image, tags: Iterable[str]) -> None:
    """Put a plain image under tags. `storage` is LabRegistry.storage."""
    for digest, data in image.blobs.items():
        _blob(storage, digest, data)
        _link(storage, f"repositories/{repository}/_layers/{_path(digest)}", digest)
    _blob(storage, image.digest, image.body)
    manifests = f"repositories/{repository}/_manifests"
    _link(storage, f"{manifests}/revisions/{_path(image.digest)}", image.digest)
    for tag in tags:
        _link(storage, f"{manifests}/tags/{tag}/current", image.digest)
        _link(storage, f"{manifests}/tags/{tag}/index/{_path(image.digest)}", image.digest)


def _blob(storage: Path, digest: str, data: bytes) -> None:
    assert sha256(data) == digest
    algorithm, _, value = digest.partition(":")
    path = storage / _ROOT / "blobs" / algorithm / value[:2] / value / "data"
    if not path.exists():
        path.parent.mkdir(parents=True)
        path.write_bytes(data)


def _link(storage: Path, folder: str, digest: str) -> None:
    path = storage / _ROOT / folder / "link"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(digest)


def _path(digest: str) -> str:
    return digest.replace(":", "/")
