"""Images made from scratch: real gzipped tars, real configs with matching diff_ids, in every format. Deterministic."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_CONFIG = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
_LAYER = {
    "oci": "application/vnd.oci.image.layer.v1.tar+gzip",
    "docker": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
_CREATED = "2019-05-06T07:08:09Z"


def sha256(data: bytes) -> str:
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Layer:
    """A layer: compressed bytes, their digest, and the digest of the tar inside."""

    data: bytes = field(repr=False)
    digest: str
    diff_id: str


@dataclass(frozen=True)
class Image:
    """A manifest and the blobs it needs, by digest; of an index, its children too."""

    media_type: str
    body: bytes = field(repr=False)
    blobs: dict[str, bytes] = field(repr=False)
    children: tuple["Image", ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return sha256(self.body)


def make_layer(name: str, size: int) -> Layer:
    """A layer with two files; `size` bytes of content that does not compress, from `name` as seed."""
    rng = random.Random(name)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content in (
            (f"etc/{name}.conf", f"name={name}\n".encode()),
            (f"srv/{name}.bin", rng.randbytes(size)),
        ):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = gzip.compress(raw.getvalue(), compresslevel=1, mtime=0)
    return Layer(data, sha256(data), sha256(raw.getvalue()))


def make_image(
    layers: Sequence[Layer],
    *,
    family: str = "docker",
    config: dict[str, Any] | None = None,
    architecture: str = "amd64",
    created: str = _CREATED,
) -> Image:
    """A plain image. `family` is docker (schema 2) or oci; `config` is the container config (Cmd, Env, OnBuild...)."""
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": config if config is not None else {"Cmd": ["/srv/start"], "Env": ["PATH=/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": created, "created_by": "lab"} for _ in layers],
    }
    config_blob = json.dumps(document).encode()
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if family == "oci" else DOCKER_MANIFEST,
        "config": _described(_CONFIG[family], config_blob),
        "layers": [_described(_LAYER[family], layer.data) for layer in layers],
    }
    body = json.dumps(manifest, indent=3).encode()
    blobs = {sha256(config_blob): config_blob, **{layer.digest: layer.data for layer in layers}}
    return Image(manifest["mediaType"], body, blobs)


def make_index(children: dict[str, Image], *, family: str = "docker") -> Image:
    """A manifest list or OCI index: platform (`linux/arm64`) -> image."""
    entries = []
    for platform, image in children.items():
        os_name, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        where = {"os": os_name, "architecture": architecture, **({"variant": variant} if variant else {})}
        entries.append({**_described(image.media_type, image.body), "platform": where})
    media_type = OCI_INDEX if family == "oci" else DOCKER_LIST
    body = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}, indent=3).encode()
    return Image(media_type, body, {}, tuple(children.values()))


def make_artifact(kind: str = "application/vnd.cncf.helm.config.v1+json") -> Image:
    """Something that is kept in registries and is no container image."""
    config, content = b'{"name":"chart"}', b"not a layer"
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _described(kind, config),
        "layers": [_described("application/vnd.cncf.helm.chart.content.v1.tar+gzip", content)],
    }
    return Image(OCI_MANIFEST, json.dumps(manifest).encode(), {sha256(config): config, sha256(content): content})


def _described(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(data), "digest": sha256(data)}
