"""Image manifests as bytes and as values. Pure.

Sources: OCI image specification 1.1 (manifest.md, image-index.md, config.md); Docker image manifest version 2
schema 1 and 2, as docker/distribution 2.8 documents them.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from sys import intern
from typing import Any

from migrate.printable import printable
from migrate.reference import valid_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

ACCEPTED = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, DOCKER_SCHEMA1_SIGNED, DOCKER_SCHEMA1)
MAX_MANIFEST_BYTES = 4 * 2**20
"""What registries accept (OCI distribution specification 1.1, "Pushing Manifests")."""
_MAX_BLOB_BYTES = 2**44
"""No blob is that large; a size beyond it is a lie, and sums of such sizes would fit into no database."""
_MAX_NESTING = 64
MISNAMED_CONFIGS = ("application/octet-stream", "application/json", "text/html", "")
"""Old dockers and registries gave these types to the configs of images; docker still takes them for images."""


class Kind(StrEnum):
    """What sort of thing an image manifest is."""

    IMAGE = "image"
    INDEX = "index"
    SCHEMA1 = "schema 1"
    ARTIFACT = "artifact"


class NotAnImageManifestError(ValueError):
    """The bytes are not an image manifest that this tool knows; the message says what they are instead."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob or manifest that another one names (OCI descriptor.md); `size` in bytes, -1 where it is not said."""

    media_type: str
    digest: str
    size: int
    platform: str = ""
    urls: tuple[str, ...] = ()

    @property
    def is_foreign(self) -> bool:
        """Whether the registry does not hold it by design (`urls` say where it is)."""
        return "foreign" in self.media_type or "nondistributable" in self.media_type


@dataclass(frozen=True)
class ImageManifest:
    """An image manifest as a registry keeps it. `digest` is that of `body` (of its payload, for signed schema 1)."""

    media_type: str
    digest: str
    body: bytes

    @cached_property
    def document(self) -> dict[str, Any]:
        """The parsed body."""
        return json_object(self.body)

    @cached_property
    def kind(self) -> Kind:
        """What it is."""
        if self.media_type in (OCI_INDEX, DOCKER_LIST):
            return Kind.INDEX
        if self.media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
            return Kind.SCHEMA1
        config = self.config.media_type
        misnamed = self.media_type == DOCKER_MANIFEST and config in MISNAMED_CONFIGS
        return Kind.IMAGE if misnamed or config in (OCI_CONFIG, DOCKER_CONFIG) else Kind.ARTIFACT

    @cached_property
    def config(self) -> Descriptor:
        """The config blob of an image."""
        return _descriptor(self.document["config"])

    @property
    def artifact_type(self) -> str:
        """What an artifact is (OCI image-spec 1.1, "Guidelines for Artifact Usage")."""
        return printable(str(self.document.get("artifactType") or self.config.media_type), 100)

    @cached_property
    def layers(self) -> tuple[Descriptor, ...]:
        """Base first. Of schema 1: without the empty throw-away layers, sizes unknown."""
        if self.media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
            return tuple(_schema1_layers(self.document))
        return tuple(_descriptor(layer) for layer in layer_entries(self.document))

    @cached_property
    def children(self) -> tuple[Descriptor, ...]:
        """What an index names; empty for everything else."""
        if self.media_type not in (OCI_INDEX, DOCKER_LIST):
            return ()
        return tuple(_descriptor(child) for child in self.document["manifests"] or ())

    @cached_property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob that must be in the repository, each once, config last; nothing foreign, none of an index."""
        if self.kind is Kind.INDEX:
            return ()
        wanted = [*self.layers, *([self.config] if self.kind is not Kind.SCHEMA1 else [])]
        return tuple({blob.digest: blob for blob in wanted if not blob.is_foreign}.values())

    @property
    def size(self) -> int:
        """Bytes of all blobs; of schema 1 what is known, which is nothing."""
        return sum(max(blob.size, 0) for blob in self.blobs)


def sha256(data: bytes) -> str:
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse_image_manifest(body: bytes, content_type: str) -> ImageManifest:
    """Read what a registry answered.

    Args:
        body: the answer.
        content_type: its Content-Type; where it says nothing useful the document's own mediaType and shape decide.

    Raises:
        NotAnImageManifestError: it is something else (a login page, an artifact of another kind, garbage).
    """
    document = json_object(body)
    media_type = _media_type(document, content_type.partition(";")[0].strip())
    manifest = ImageManifest(media_type, _manifest_digest(document, body, media_type), body)
    try:
        _ = manifest.children if media_type in (OCI_INDEX, DOCKER_LIST) else manifest.blobs
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise NotAnImageManifestError(f"a broken image manifest (media type {media_type})") from None
    return manifest


def json_object(body: bytes) -> dict[str, Any]:
    """Read a registry's JSON object.

    Raises:
        NotAnImageManifestError: it is something else.
    """
    try:
        document = json.loads(body, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        start = body[:200].lstrip().lower()
        what = "a web page (a login page or a proxy's?)" if start.startswith(b"<") else "not JSON"
        raise NotAnImageManifestError(f"{what} instead of an image manifest") from None
    if not isinstance(document, dict) or _too_deep(document, _MAX_NESTING):
        raise NotAnImageManifestError("JSON, but not an image manifest")
    return document


def _finite(text: str) -> float:
    """A JSON number; NaN, Infinity and 1e999 are none, though Python reads them."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _too_deep(value: Any, levels: int) -> bool:
    """Whether values are nested deeper than that: writing them again would end in a RecursionError."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_too_deep(item, levels - 1) for item in inner)


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is a mapping; else an empty one."""
    return value if isinstance(value, dict) else {}


def layer_entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers of a document; programs written in Go say null where there are none."""
    return document.get("layers") or []


def _media_type(document: dict[str, Any], content_type: str) -> str:
    if content_type in ACCEPTED:
        return content_type
    declared = document.get("mediaType")
    if declared in ACCEPTED:
        return str(declared)
    if document.get("schemaVersion") == 1 and "fsLayers" in document:
        return DOCKER_SCHEMA1_SIGNED if "signatures" in document else DOCKER_SCHEMA1
    if declared is None and "manifests" in document:
        return OCI_INDEX
    if declared is None and "config" in document and "layers" in document:
        return OCI_MANIFEST
    raise NotAnImageManifestError(f"not an image manifest (content type {printable(content_type, 100) or 'missing'})")


def _manifest_digest(document: dict[str, Any], body: bytes, media_type: str) -> str:
    is_schema1 = media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED)
    return sha256(_signed_payload(document, body) if is_schema1 else body)


def _signed_payload(document: dict[str, Any], body: bytes) -> bytes:
    """What a JWS in docker's "pretty" form signs: the body up to formatLength, and formatTail (libtrust).

    The whole body where nothing is signed, or where something else is signed than what the body says.
    """
    try:
        protected = json_object(_base64url(document["signatures"][0]["protected"]))
        payload = body[: int(protected["formatLength"])] + _base64url(protected["formatTail"])
        unsigned = {key: value for key, value in document.items() if key != "signatures"}
        return payload if json_object(payload) == unsigned else body
    except (KeyError, IndexError, TypeError, ValueError):
        return body


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _descriptor(data: Mapping[str, Any]) -> Descriptor:
    digest, size = data["digest"], data.get("size", -1)
    if not valid_digest(digest) or type(size) is not int or not -1 <= size <= _MAX_BLOB_BYTES:
        raise ValueError(f"not a digest and a size: {digest}, {size}")
    return Descriptor(
        _media_type_name(data["mediaType"]),
        intern(digest),
        size,
        platform_name(data.get("platform") or {}),
        tuple(str(url) for url in data.get("urls") or ()),
    )


@lru_cache(maxsize=1000)
def _media_type_name(media_type: str) -> str:
    return intern(printable(media_type))


def platform_name(platform: Mapping[str, Any]) -> str:
    """`linux/arm64/v8` of an OCI platform object; empty where it is missing or says unknown."""
    if not platform:
        return ""
    parts = [printable(str(platform.get(key) or "")) for key in ("os", "architecture", "variant")]
    if not parts[0] or not parts[1] or "unknown" in parts[:2]:
        return ""
    return "/".join(part for part in parts if part)


def child_name(entry: Mapping[str, Any]) -> str:
    """What people call a child of an index: its platform, else what sort of thing it is."""
    platform = platform_name(entry.get("platform") or {})
    if platform:
        return platform
    if mapping(entry.get("annotations")).get("vnd.docker.reference.type"):
        return "an attestation"
    if entry.get("mediaType") in (OCI_INDEX, DOCKER_LIST):
        return "another list of images"
    if entry.get("artifactType"):
        return f"an artifact ({printable(str(entry['artifactType']), 100)})"
    return "unknown"


def _schema1_layers(document: dict[str, Any]) -> Iterator[Descriptor]:
    """Base first; the document has the newest first."""
    if not document["fsLayers"]:
        raise ValueError("an image without layers, which schema 1 does not have")
    for layer, history in reversed(list(zip(document["fsLayers"], _schema1_history(document), strict=True))):
        if not history.get("throwaway"):
            gzipped = "application/vnd.docker.image.rootfs.diff.tar.gzip"
            yield _descriptor({"mediaType": gzipped, "digest": layer["blobSum"]})


def _schema1_history(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The configs of a schema 1 image and of all it was made from, newest first."""
    return [json_object(entry["v1Compatibility"].encode()) for entry in document["history"]]


def schema1_newest(document: dict[str, Any]) -> dict[str, Any]:
    """The newest entry of a schema 1 history, which is the image's config."""
    return next(iter(_schema1_history(document)), {})


def manifest_of(document: dict[str, Any]) -> ImageManifest:
    """An image manifest of our own making: the same document always gives the same bytes."""
    body = json.dumps(document, separators=(",", ":")).encode()
    return ImageManifest(document["mediaType"], sha256(body), body)
