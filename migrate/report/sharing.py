"""How many bytes did not have to cross, and why. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from migrate.images.formats import Kind, NotAnImageManifestError, parse_image_manifest
from migrate.report.model import Image, Sharing

Bodies = Mapping[str, tuple[str, bytes]]


def sharing_of(images: Sequence[Image], bodies: Bodies) -> Sharing:
    """Where the bytes went of images that are at the target.

    Args:
        images: those at the target.
        bodies: digest -> media type and body, of image manifests of the source.
    """
    sizes = [max(image.size, image.sent) for image in images]  # what schema 1 does not tell, the copy has counted
    once = {image.source_digest: size for image, size in zip(images, sizes, strict=True)}
    blobs: dict[str, int] = {}
    for digest in once:
        blobs.update(blobs_of(digest or "", bodies))
    total, distinct = sum(sizes), sum(once.values())
    sent = sum(image.sent for image in images)
    there = max(min(sum(blobs.values()) or distinct, distinct) - sent, 0)
    layers = max(distinct - there - sent, 0)
    return Sharing(total, max(total - there - layers - sent, 0), layers, there, min(sent, total))


def blobs_of(digest: str, bodies: Bodies) -> Iterator[tuple[str, int]]:
    """Layers and configs of an image (of an index: of those images of it that were read), with their sizes."""
    if digest not in bodies:
        return
    media_type, body = bodies[digest]
    try:
        manifest = parse_image_manifest(body, media_type)
    except NotAnImageManifestError:
        return
    if manifest.kind is Kind.INDEX:
        for child in manifest.children:
            yield from blobs_of(child.digest, bodies)
    else:
        yield from ((blob.digest, max(blob.size, 0)) for blob in manifest.blobs)
