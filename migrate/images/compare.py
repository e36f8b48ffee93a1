"""Does the target hold what the source holds? The comparison that plan, copy and verify share."""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.images.content import Content, differences
from migrate.images.delivery import Delivery, Method, Part
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Kind,
    NotAnImageManifestError,
)
from migrate.images.lookups import Lookups
from migrate.images.plan import Copy
from migrate.images.registry import RegistryError
from migrate.reference import Repository

_FORMAT_TYPES = {"oci": (OCI_MANIFEST, OCI_INDEX), "docker": (DOCKER_MANIFEST, DOCKER_LIST)}
_FORMAT_NAMES = {
    OCI_MANIFEST: "OCI",
    OCI_INDEX: "OCI index",
    DOCKER_MANIFEST: "Docker schema 2",
    DOCKER_LIST: "Docker manifest list",
}


@dataclass(frozen=True)
class Place:
    """A repository, and who answers questions about it."""

    look: Lookups
    repository: Repository

    def content(self, manifest: ImageManifest) -> Content:
        """What an image here holds.

        Raises:
            RegistryError: its config cannot be read, or is none.
        """
        try:
            return self.look.content(self.repository, manifest)
        except NotAnImageManifestError as error:
            what = str(self.repository.at(manifest.digest))
            raise RegistryError(what, Failure(FailureClass.INVALID, f"its config is broken: {error}")) from None


def target_differences(delivery: Delivery, source: Place, target: Place, found: ImageManifest) -> list[str]:
    """How what stands at the target differs from what was to be delivered, in words; empty where it does not.

    Equal digests are equal content; else layers (by digest or diff_id) and runtime config are compared, so that a
    conversion by another tool counts as the same.

    Raises:
        RegistryError: something of it cannot be read.
    """
    if delivery.top is not None and delivery.top.digest == found.digest:
        return []
    if (found.kind is Kind.INDEX) != delivery.is_index:
        return ["one is a plain image, the other a list of several"]
    if not delivery.is_index:
        return _image_differences(delivery, delivery.parts[0].source, source, target, found)
    children = [child for child in found.children if child.platform or len(found.children) == 1]
    wanted, there = _platforms(delivery.parts), _platforms(children)
    alone = len(delivery.parts) == len(children) == 1  # then skopeo gives a child without a platform one of its own
    if wanted != there and not alone:
        return [f"it lists {', '.join(there) or 'no image'}, and {', '.join(wanted)} is wanted"]
    return [
        f"{child.platform or child.digest[:19]}: {words}"
        for part, child in zip(sorted(delivery.parts, key=_platform), sorted(children, key=_platform), strict=True)
        for words in _image_differences(delivery, part.source, source, target, _child(target, child))
    ]


def _platform(item: Part | Descriptor) -> str:
    return item.platform


def _platforms(items: Sequence[Part | Descriptor]) -> list[str]:
    return [_platform(item) or "an unknown platform" for item in sorted(items, key=_platform)]


def _child(target: Place, child: Descriptor) -> ImageManifest:
    return target.look.manifest(target.repository, child.digest)


def _image_differences(
    delivery: Delivery, wanted: ImageManifest, source: Place, target: Place, found: ImageManifest
) -> list[str]:
    if found.kind not in (Kind.IMAGE, Kind.SCHEMA1):
        return ["it is no container image"]
    if _same_blobs(wanted, found):
        return []
    recompressed = delivery.method is not Method.CARRY
    return differences(source.content(wanted), target.content(found), recompressed=recompressed)


def _same_blobs(a: ImageManifest, b: ImageManifest) -> bool:
    """The same config and layers by digest: the same image, whatever its manifest says of types."""
    if Kind.SCHEMA1 in (a.kind, b.kind):
        return False
    return a.config.digest == b.config.digest and [x.digest for x in a.layers] == [x.digest for x in b.layers]


def wrong_format(copy: Copy, media_type: str) -> str:
    """What is wrong with the format of what stands at the target, in words; empty where nothing is."""
    wanted = _FORMAT_TYPES.get(copy.options.format) or _kept_types(copy.delivery)
    if media_type in wanted:
        return ""
    return f"it is {_FORMAT_NAMES.get(media_type, media_type)}, not {_FORMAT_NAMES.get(wanted[0], wanted[0])}"


def _kept_types(delivery: Delivery | None) -> tuple[str, ...]:
    """Under `format: keep` the target has the source's type: of the whole, or of the one image of a list."""
    if delivery is None:
        return ()
    if delivery.top is not None:
        return (delivery.top.media_type,)
    return (DOCKER_LIST, OCI_INDEX) if delivery.whole_index else (delivery.parts[0].source.media_type,)
