"""What is to stand at the target for one source image, and how it gets there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from migrate.images.formats import (
    DOCKER_LIST,
    OCI_INDEX,
    CannotConvertError,
    Descriptor,
    ImageManifest,
    Kind,
    convert,
    make_index,
)
from migrate.manifest import ALL_PLATFORMS, ImageOptions


class Method(StrEnum):
    """How the bytes move."""

    CARRY = "carry"
    """skopeo carries them as they are; the converted manifest is put by us."""
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


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one source digest becomes.

    Attributes:
        parts: the images to carry, in the index's order; one for a plain image.
        top: what goes under the tag; None where skopeo makes it.
        origin: the digest that skopeo converts; empty for CARRY.
        whole_index: skopeo converts a whole index.
        left_out: platforms of an index that stay behind (`unknown` for children without one).
    """

    method: Method
    parts: tuple[Part, ...]
    top: ImageManifest | None
    origin: str = ""
    whole_index: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob of every part, each once."""
        return tuple({blob.digest: blob for part in self.parts for blob in part.source.blobs}.values())

    @property
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
            there = ", ".join(dict.fromkeys(child.platform for child in named)) or "none that is known"
            raise CannotDeliverError(f"the manifest list has no {platform} (it has {there}): set `platforms`")
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
    platforms = {child.platform for child in wanted}
    left_out = tuple(sorted({c.platform or "unknown" for c in manifest.children if c.platform not in platforms}))
    if options.platforms != ALL_PLATFORMS and len(options.platforms) == 1:
        plain = _plain(children[wanted[0].digest], options)
        return Delivery(plain.method, plain.parts, plain.top, plain.origin, left_out=left_out)
    if options.engine == "skopeo":
        if options.platforms != ALL_PLATFORMS:
            raise CannotDeliverError(
                "skopeo cannot make an index of some platforms: `platforms: all`, or `engine: auto`"
            )
        parts = tuple(Part(children[child.digest], children[child.digest], child.platform) for child in wanted)
        return Delivery(Method.SKOPEO, parts, None, manifest.digest, whole_index=True)
    made = [_plain(children[child.digest], options) for child in wanted]
    if any(plain.top is None for plain in made):
        raise CannotDeliverError("the manifest list holds an image that only skopeo converts: take one of `platforms`")
    parts = tuple(replace(plain.parts[0], platform=child.platform) for plain, child in zip(made, wanted, strict=True))
    tops = {child.digest: part.target for child, part in zip(wanted, parts, strict=True)}
    return Delivery(Method.CARRY, parts, make_index(manifest, tops, _index_type(manifest, options)), left_out=left_out)


def _index_type(manifest: ImageManifest, options: ImageOptions) -> str:
    return {"oci": OCI_INDEX, "docker": DOCKER_LIST}.get(options.format, manifest.media_type)


def _plain(manifest: ImageManifest, options: ImageOptions) -> Delivery:
    if manifest.kind is Kind.INDEX:
        raise CannotDeliverError("the manifest list holds another manifest list: name the inner image by its digest")
    if manifest.kind is Kind.ARTIFACT:
        raise CannotDeliverError(
            f"no container image but an artifact ({manifest.config.media_type}): leave it out, or `oras copy` it"
        )
    if manifest.kind is Kind.SCHEMA1 and options.format == "keep":
        raise CannotDeliverError("Docker schema 1 does not run on OpenShift 4: `format: oci` or `docker`")
    unchanged = (Part(manifest, manifest),)
    if options.engine == "skopeo":
        return Delivery(Method.SKOPEO, unchanged, None, manifest.digest)
    try:
        target = convert(manifest, options.format)
    except CannotConvertError:
        return Delivery(Method.SKOPEO, unchanged, None, manifest.digest)
    return Delivery(Method.CARRY, (Part(manifest, target),), target)
