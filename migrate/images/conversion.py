"""Image manifests converted by media type alone: config and layers stay as they are. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from migrate.images.formats import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    MISNAMED_CONFIGS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Kind,
    layer_entries,
    manifest_of,
)
from migrate.printable import printable

_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    ),
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar",
}
TargetFormat = Literal["oci", "docker", "keep"]


@dataclass(frozen=True, slots=True)
class _Names:
    """What one format calls a manifest, and how the other format's names of configs and layers become its own."""

    manifest: str
    configs: Mapping[str, str]
    layers: Mapping[str, str]


_NAMES = {
    "oci": _Names(OCI_MANIFEST, dict.fromkeys((DOCKER_CONFIG, *MISNAMED_CONFIGS), OCI_CONFIG), _LAYERS),
    "docker": _Names(
        DOCKER_MANIFEST,
        {OCI_CONFIG: DOCKER_CONFIG},
        {oci: docker for docker, oci in _LAYERS.items()},
    ),
}


class CannotConvertError(ValueError):
    """Renaming media types is not enough here; the message says what stands in the way."""


def convert(manifest: ImageManifest, target: TargetFormat) -> ImageManifest:
    """The same image in another format, by media type alone: config and layers stay as they are.

    An image that has the format already, or `keep`, comes back byte for byte. One that mixes the names of both
    formats gets those of the wanted one (skopeo 1.9.3 leaves them mixed).

    Raises:
        CannotConvertError: schema 1, an index (see make_index), or a media type that the other format has no name for.
    """
    if manifest.kind in (Kind.SCHEMA1, Kind.INDEX):
        raise CannotConvertError(f"{manifest.kind} is not converted by its media types")
    if target == "keep":
        return manifest
    names = _NAMES[target]
    renames = manifest.config.media_type in names.configs or any(x.media_type in names.layers for x in manifest.layers)
    if manifest.media_type == names.manifest and not renames:
        return manifest
    document = {
        "schemaVersion": 2,
        "mediaType": names.manifest,
        "config": _renamed(manifest.document["config"], names.configs),
        "layers": [_renamed(layer, names.layers) for layer in layer_entries(manifest.document)],
    }
    if target == "oci" and manifest.document.get("annotations"):
        document["annotations"] = manifest.document["annotations"]
    return manifest_of(document)


def _renamed(descriptor: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    media_type = descriptor["mediaType"]
    if media_type not in names and media_type not in names.values():
        raise CannotConvertError(f"the other format has no name for {printable(str(media_type))}")
    return {**descriptor, "mediaType": names.get(media_type, media_type)}


def make_index(source: ImageManifest, children: Mapping[Descriptor, ImageManifest], media_type: str) -> ImageManifest:
    """An index of the converted children, in the source's order and with its platforms and annotations.

    Args:
        source: the index as the source has it.
        children: what the source names -> what stands at the target for it; others are left out.
        media_type: of the new index.
    """
    entries = [
        _entry(entry, children[child])
        for entry, child in zip(source.document["manifests"], source.children, strict=True)
        if child in children
    ]
    if entries == source.document["manifests"] and source.media_type == media_type:
        return source
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    if source.document.get("annotations") and media_type == OCI_INDEX:
        document["annotations"] = source.document["annotations"]
    return manifest_of(document)


def _entry(entry: Mapping[str, Any], child: ImageManifest) -> dict[str, Any]:
    """An index's entry for what a child became; `data` would be the child as it was."""
    if entry["digest"] == child.digest:
        return {**entry, "mediaType": child.media_type}
    kept = {key: value for key, value in entry.items() if key != "data"}
    return {**kept, "mediaType": child.media_type, "digest": child.digest, "size": len(child.body)}
