"""What is to stand at the target for one source image, and how it gets there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from migrate.images.conversion import CannotConvertError, convert, make_index
from migrate.images.formats import (
    DOCKER_LIST,
    OCI_INDEX,
    Descriptor,
    ImageManifest,
    Kind,
    child_name,
)
from migrate.images.schema1 import can_be_built
from migrate.manifest import ALL_PLATFORMS, ImageOptions


class Method(StrEnum):
    """How the bytes move."""

    CARRY = "carry"
    """skopeo carries them as they are; the converted manifest is put by us."""
    BUILD = "build"
    """Docker schema 1: the layers are streamed, and the config is built here from its history and their diffIDs."""
    SKOPEO = "skopeo"
    """skopeo converts and puts it under the tag itself."""


class CannotDeliverError(ValueError):
    """This image cannot arrive as asked; the message says why and what would be possible."""


@dataclass(frozen=True, slots=True)
class Part:
    """One plain image: as the source has it (what is carried) and as the target gets it; its platform in an index."""

    source: ImageManifest
    target: ImageManifest
    platform: str = ""


@dataclass(frozen=True)
class Delivery:
    """What one source digest becomes.

    Attributes:
        parts: the images to carry, in the index's order; one for a plain image.
        top: what goes under the tag; None where it is made while copying (BUILD, SKOPEO).
        origin: the digest that is converted; empty for CARRY.
        whole_index: skopeo converts a whole index.
        left_out: what of an index stays behind: platforms, attestations and the like (`unknown` where nothing tells).
    """

    method: Method
    parts: tuple[Part, ...]
    top: ImageManifest | None
    origin: str = ""
    whole_index: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def is_index(self) -> bool:
        """Whether a list of images stands at the target, and no plain one."""
        return self.whole_index or (self.top is not None and self.top.kind is Kind.INDEX)

    @cached_property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob of every part, each once."""
        return tuple({blob.digest: blob for part in self.parts for blob in part.source.blobs}.values())

    @cached_property
    def size(self) -> int:
        """Bytes of all blobs, as far as they are known."""
        return sum(max(blob.size, 0) for blob in self.blobs)


def wanted_children(index: ImageManifest, platforms: tuple[str, ...]) -> tuple[Descriptor, ...]:
    """The children of an index that `platforms` asks for, in the index's order.

    Raises:
        CannotDeliverError: a platform is missing.
    """
    children = index.children
    if len(children) == 1 and not children[0].platform:
        return children
    named = [child for child in children if child.platform]
    if platforms == ALL_PLATFORMS:
        if not named:
            raise CannotDeliverError("the manifest list names no image with a known platform")
        return tuple(named)
    chosen = []
    for platform in platforms:
        exact = [child for child in named if child.platform == platform]
        found = exact or [child for child in named if child.platform.startswith(f"{platform}/")]
        if not found:
            there = ", ".join(dict.fromkeys(child.platform for child in named))
            way_out = (
                f"(it has {there}): set `platforms`" if there else "(it tells no platforms): name one by its digest"
            )
            raise CannotDeliverError(f"the manifest list has no {platform} {way_out}")
        chosen.append(found[0])
    return tuple(child for child in dict.fromkeys(named) if child in chosen)


def deliver(manifest: ImageManifest, children: Mapping[str, ImageManifest], options: ImageOptions) -> Delivery:
    """What an image becomes at the target.

    Args:
        manifest: what the source has under the tag.
        children: of an index, the image manifests of its wanted children, by digest.
        options: the manifest's.

    Raises:
        CannotDeliverError: it cannot arrive as asked.
    """
    if manifest.kind is not Kind.INDEX:
        return _plain(manifest, options)
    wanted = wanted_children(manifest, options.platforms)
    left_out = _left_out(manifest, wanted)
    if options.platforms != ALL_PLATFORMS and len(options.platforms) == 1:
        plain = _plain(children[wanted[0].digest], options)
        return Delivery(plain.method, plain.parts, plain.top, plain.origin, left_out=left_out)
    made = [_plain(children[child.digest], options) for child in wanted]
    if options.engine == "skopeo":
        _check_whole(manifest, options)
        parts = tuple(Part(children[child.digest], children[child.digest], child.platform) for child in wanted)
        return Delivery(Method.SKOPEO, parts, None, manifest.digest, whole_index=True)
    if any(plain.top is None for plain in made):
        raise CannotDeliverError("the manifest list holds an image that only skopeo converts: take one of `platforms`")
    parts = tuple(replace(plain.parts[0], platform=child.platform) for plain, child in zip(made, wanted, strict=True))
    tops = {child: part.target for child, part in zip(wanted, parts, strict=True)}
    return Delivery(Method.CARRY, parts, make_index(manifest, tops, _index_type(manifest, options)), left_out=left_out)


def _left_out(index: ImageManifest, wanted: tuple[Descriptor, ...]) -> tuple[str, ...]:
    taken = {child.platform for child in wanted}
    entries = zip(index.document["manifests"] or (), index.children, strict=True)
    names = {child_name(entry) for entry, child in entries if child not in wanted}
    return tuple(sorted(f"another {name}" if name in taken else name for name in names))


def _check_whole(index: ImageManifest, options: ImageOptions) -> None:
    """Whether skopeo can convert an index by itself: it takes all of it or nothing."""
    if options.platforms != ALL_PLATFORMS:
        raise CannotDeliverError("skopeo cannot make an index of some platforms: `platforms: all`, or `engine: auto`")
    if any(child.media_type in (OCI_INDEX, DOCKER_LIST) for child in index.children):
        raise CannotDeliverError("the manifest list holds another manifest list, which skopeo does not copy")


def _index_type(manifest: ImageManifest, options: ImageOptions) -> str:
    return {"oci": OCI_INDEX, "docker": DOCKER_LIST}.get(options.format, manifest.media_type)


def _plain(manifest: ImageManifest, options: ImageOptions) -> Delivery:
    if manifest.kind is Kind.INDEX:
        raise CannotDeliverError("the manifest list holds another manifest list: name the inner image by its digest")
    if manifest.kind is Kind.ARTIFACT:
        raise CannotDeliverError(
            f"no container image but an artifact ({manifest.artifact_type}): leave it out, or `oras copy` it"
        )
    if any(layer.urls and not layer.is_foreign for layer in manifest.layers):
        raise CannotDeliverError("a layer has `urls` and is kept here too: skopeo does not carry such layers")
    if options.format == "docker" and any("zstd" in layer.media_type for layer in manifest.layers):
        raise CannotDeliverError("podman and CRI-O read no zstd in Docker schema 2: `format: oci`, or `keep`")
    if manifest.kind is Kind.SCHEMA1 and options.format == "keep":
        raise CannotDeliverError("Docker schema 1 does not run on OpenShift 4: `format: oci` or `docker`")
    unchanged = (Part(manifest, manifest),)
    if options.engine == "skopeo":
        return Delivery(Method.SKOPEO, unchanged, None, manifest.digest)
    try:
        target = convert(manifest, options.format)
    except CannotConvertError:
        is_built = manifest.kind is Kind.SCHEMA1 and options.format == "oci" and can_be_built(manifest)
        return Delivery(Method.BUILD if is_built else Method.SKOPEO, unchanged, None, manifest.digest)
    return Delivery(Method.CARRY, (Part(manifest, target),), target)
