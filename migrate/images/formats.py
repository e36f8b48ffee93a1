"""Image manifests as bytes and as values: read them, convert them by media type, compare what they hold. Pure.

Sources: OCI image specification 1.1 (manifest.md, image-index.md, config.md); Docker image manifest version 2
schema 1 and 2, as docker/distribution 2.8 documents them.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

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

_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    ),
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar",
}
_TO_OCI = {DOCKER_MANIFEST: OCI_MANIFEST, DOCKER_LIST: OCI_INDEX, DOCKER_CONFIG: OCI_CONFIG, **_LAYERS}
_TO_DOCKER = {oci: docker for docker, oci in _TO_OCI.items()}
_EMPTY_LAYER = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
"""The gzipped empty tar that schema 1 puts where a step of the history changed no file."""

TargetFormat = Literal["oci", "docker", "keep"]


class Kind(StrEnum):
    """What sort of thing an image manifest is."""

    IMAGE = "image"
    INDEX = "index"
    SCHEMA1 = "schema 1"
    ARTIFACT = "artifact"


class NotAnImageManifestError(ValueError):
    """The bytes are not an image manifest that this tool knows; the message says what they are instead."""


class CannotConvertError(ValueError):
    """Renaming media types is not enough here; the message says what stands in the way."""


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
        return _json_object(self.body)

    @property
    def kind(self) -> Kind:
        """What it is."""
        if self.media_type in (OCI_INDEX, DOCKER_LIST):
            return Kind.INDEX
        if self.media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
            return Kind.SCHEMA1
        if self.config.media_type in (OCI_CONFIG, DOCKER_CONFIG):
            return Kind.IMAGE
        return Kind.ARTIFACT

    @property
    def config(self) -> Descriptor:
        """The config blob of an image."""
        return _descriptor(self.document["config"])

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """Base first. Of schema 1: without the empty throw-away layers, sizes unknown."""
        if self.media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
            return tuple(_schema1_layers(self.document))
        return tuple(_descriptor(layer) for layer in self.document.get("layers", ()))

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What an index names; empty for everything else."""
        return tuple(_descriptor(child) for child in self.document.get("manifests", ()))

    @property
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
    document = _json_object(body)
    media_type = _media_type(document, content_type.partition(";")[0].strip())
    manifest = ImageManifest(media_type, _manifest_digest(document, body, media_type), body)
    try:
        _ = manifest.children if media_type in (OCI_INDEX, DOCKER_LIST) else manifest.blobs
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise NotAnImageManifestError(f"a broken image manifest (media type {media_type})") from None
    return manifest


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        start = body[:200].lstrip().lower()
        what = "a web page (a login page or a proxy's?)" if start.startswith(b"<") else "not JSON"
        raise NotAnImageManifestError(f"{what} instead of an image manifest") from None
    if not isinstance(document, dict):
        raise NotAnImageManifestError("JSON, but not an image manifest")
    return document


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
    raise NotAnImageManifestError(f"not an image manifest (content type {content_type or 'missing'})")


def _manifest_digest(document: dict[str, Any], body: bytes, media_type: str) -> str:
    return sha256(_signed_payload(document, body) if media_type == DOCKER_SCHEMA1_SIGNED else body)


def _signed_payload(document: dict[str, Any], body: bytes) -> bytes:
    """What a JWS in docker's "pretty" form signs: the body up to formatLength, and formatTail (libtrust)."""
    try:
        protected = json.loads(_base64url(document["signatures"][0]["protected"]))
        return body[: int(protected["formatLength"])] + _base64url(protected["formatTail"])
    except (KeyError, IndexError, TypeError, ValueError):
        return body


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _descriptor(data: Mapping[str, Any]) -> Descriptor:
    return Descriptor(
        str(data["mediaType"]),
        str(data["digest"]),
        int(data.get("size", -1)),
        platform_name(data.get("platform") or {}),
        tuple(data.get("urls") or ()),
    )


def platform_name(platform: Mapping[str, Any]) -> str:
    """`linux/arm64/v8` of an OCI platform object; empty where it is missing or says unknown."""
    parts = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
    if not parts[0] or not parts[1] or "unknown" in parts[:2]:
        return ""
    return "/".join(part for part in parts if part)


def _schema1_layers(document: dict[str, Any]) -> Iterator[Descriptor]:
    histories = [json.loads(entry["v1Compatibility"]) for entry in document["history"]]
    for layer, history in reversed(list(zip(document["fsLayers"], histories, strict=True))):
        if not history.get("throwaway"):
            yield Descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", str(layer["blobSum"]), -1)


# --- conversion -------------------------------------------------------------------------------------------------


def convert(manifest: ImageManifest, target: TargetFormat) -> ImageManifest:
    """The same image in another format, by media type alone: config and layers stay as they are.

    An image that has the format already, or `keep`, comes back byte for byte.

    Raises:
        CannotConvertError: schema 1, or a media type that the other format has no name for.

    """
    if manifest.kind is Kind.SCHEMA1:
        raise CannotConvertError("Docker schema 1 has no config to keep")
    wanted = {"oci": (OCI_MANIFEST, OCI_INDEX), "docker": (DOCKER_MANIFEST, DOCKER_LIST)}.get(target)
    if wanted is None or manifest.media_type in wanted:
        return _checked_layers(manifest)
    names = _TO_OCI if target == "oci" else _TO_DOCKER
    document = {
        "schemaVersion": 2,
        "mediaType": names[manifest.media_type],
        "config": _renamed(manifest.document["config"], names),
        "layers": [_renamed(layer, names) for layer in manifest.document.get("layers", ())],
    }
    if target == "oci" and manifest.document.get("annotations"):
        document["annotations"] = manifest.document["annotations"]
    return manifest_of(document)


def _checked_layers(manifest: ImageManifest) -> ImageManifest:
    """An image that needs no conversion; layers of the other family in it are left to skopeo, which mends them."""
    own = _TO_DOCKER if manifest.media_type in (OCI_MANIFEST, OCI_INDEX) else _TO_OCI
    foreign = _TO_OCI if own is _TO_DOCKER else _TO_DOCKER
    mixed = [layer.media_type for layer in manifest.layers if layer.media_type in foreign]
    if mixed:
        raise CannotConvertError(f"its layers are of another format ({mixed[0]})")
    return manifest


def _renamed(descriptor: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    media_type = descriptor["mediaType"]
    if media_type not in names:
        raise CannotConvertError(f"the other format has no name for {media_type}")
    return {**descriptor, "mediaType": names[media_type]}


def make_index(source: ImageManifest, children: Mapping[str, ImageManifest], media_type: str) -> ImageManifest:
    """An index of the converted children, in the source's order and with its platforms and annotations.

    Args:
        source: the index as the source has it.
        children: source digest -> what stands at the target for it; others are left out.
        media_type: of the new index.

    """
    entries = []
    for entry in source.document["manifests"]:
        child = children.get(entry["digest"])
        if child is not None:
            named = {"mediaType": child.media_type, "digest": child.digest, "size": len(child.body)}
            entries.append({**entry, **named})
    if [entry["digest"] for entry in source.document["manifests"]] == [e["digest"] for e in entries] and (
        source.media_type == media_type
    ):
        return source
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    if source.document.get("annotations") and media_type == OCI_INDEX:
        document["annotations"] = source.document["annotations"]
    return manifest_of(document)


def manifest_of(document: dict[str, Any]) -> ImageManifest:
    """An image manifest of our own making: the same document always gives the same bytes."""
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return ImageManifest(document["mediaType"], sha256(body), body)


# --- comparison -------------------------------------------------------------------------------------------------

_RUNTIME = ("Env", "Entrypoint", "Cmd", "User", "WorkingDir", "Labels", "ExposedPorts", "Volumes")
_DOCKER_ONLY = ("OnBuild", "Healthcheck", "Shell")


@dataclass(frozen=True)
class Content:
    """What an image is, whatever its format: the basis of "equal across conversion".

    Attributes:
        config_digest: empty for schema 1, which has none.
        layers: digests, base first, without throw-away layers.
        diff_ids: digests of the uncompressed layers; None for schema 1.
        runtime: the config's fields that decide how a container runs, empty ones left out.

    """

    config_digest: str
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...] | None
    runtime: tuple[tuple[str, str], ...]


def content_of(manifest: ImageManifest, config: bytes | None) -> Content:
    """What an image holds; `config` is its config blob (not needed for schema 1).

    Raises:
        NotAnImageManifestError: the config is not JSON.

    """
    layers = tuple(layer.digest for layer in manifest.layers)
    if manifest.kind is Kind.SCHEMA1:
        newest = json.loads(manifest.document["history"][0]["v1Compatibility"])
        return Content("", layers, None, _runtime(newest.get("config") or {}))
    document = _json_object(config or b"{}")
    diff_ids = tuple((document.get("rootfs") or {}).get("diff_ids") or ())
    return Content(manifest.config.digest, layers, diff_ids, _runtime(document.get("config") or {}))


def _runtime(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((key, json.dumps(config[key], sort_keys=True)) for key in _RUNTIME if config.get(key))


def differences(source: Content, target: Content) -> list[str]:
    """What tells two images apart, in words; empty where they hold the same."""
    same_layers = source.layers == target.layers
    if source.config_digest and source.config_digest == target.config_digest and same_layers:
        return []
    found = []
    if source.diff_ids is not None and target.diff_ids is not None:
        if source.diff_ids != target.diff_ids:
            found.append(_list_difference("layers", source.diff_ids, target.diff_ids))
    elif _solid(source.layers) != _solid(target.layers):
        found.append(_list_difference("layers", _solid(source.layers), _solid(target.layers)))
    mine, theirs = dict(source.runtime), dict(target.runtime)
    found += [f"{key} differs" for key in _RUNTIME if mine.get(key) != theirs.get(key)]
    return found


def _solid(layers: tuple[str, ...]) -> tuple[str, ...]:
    """Without empty layers: of those, conversions of schema 1 keep some and drop some."""
    return tuple(digest for digest in layers if digest != _EMPTY_LAYER)


def _list_difference(noun: str, source: tuple[str, ...], target: tuple[str, ...]) -> str:
    if len(source) != len(target):
        return f"{noun} differ ({len(source)} at the source, {len(target)} at the target)"
    first = next(i for i, pair in enumerate(zip(source, target, strict=True)) if pair[0] != pair[1])
    return f"{noun} differ (from the {first + 1}. of {len(source)} on)"


def docker_only_fields(config: bytes) -> list[str]:
    """The fields of a config that skopeo's own conversion to OCI drops (seen with skopeo 1.9.3)."""
    fields = _json_object(config).get("config") or {}
    return [name for name in _DOCKER_ONLY if fields.get(name)]


def created(manifest: ImageManifest, config: bytes | None) -> str:
    """When an image was made, RFC 3339; empty where nothing says it."""
    if manifest.kind is Kind.SCHEMA1:
        return str(json.loads(manifest.document["history"][0]["v1Compatibility"]).get("created") or "")
    return str(_json_object(config or b"{}").get("created") or "")
