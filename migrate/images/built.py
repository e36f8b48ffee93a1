"""A Docker schema 1 image, converted here: each layer streamed and unpacked once for its diffID, the config built."""

from dataclasses import replace

from migrate.images.bench import Bench
from migrate.images.blobs import CopyFailedError, Moved, bring, from_source, side_by_side, wait_for
from migrate.images.content import content_of
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import Descriptor, ImageManifest, NotAnImageManifestError
from migrate.images.registry import RegistryError
from migrate.images.schema1 import oci_config, oci_manifest
from migrate.images.transfer import Job
from migrate.images.unpacking import Unpacked, Watcher, owner_of


def build(bench: Bench, job: Job) -> tuple[int, ImageManifest]:
    """Bring a schema 1 image but its tags: the bytes that were sent, and the manifest that is to stand under them.

    Raises:
        StrangeLayerError: a layer is not gzipped, or not whole: skopeo is to decide.
        CopyFailedError, RegistryError, LoginError: it could not be brought.
    """
    manifest = job.delivery.parts[0].source
    moved = Moved(bench, job)
    known: dict[str, Unpacked] = {}
    left = list({layer.digest: layer for layer in manifest.layers}.values())
    while left:
        found = side_by_side(bench, lambda layer: _unpacked(bench, job, layer, moved), left)
        known |= {layer.digest: what for layer, what in zip(left, found, strict=True) if what}
        left = [layer for layer in left if layer.digest not in known]
        wait_for(bench, left[:1])
    config = oci_config(manifest, [known[layer.digest].diff_id for layer in manifest.layers])
    top = oci_manifest(config, [replace(layer, size=known[layer.digest].size) for layer in manifest.layers])
    while not bring(bench, job, top.config, lambda: [config], moved):
        wait_for(bench, [top.config])
    return moved.bytes, top


def _unpacked(bench: Bench, job: Job, layer: Descriptor, moved: Moved) -> Unpacked | None:
    """Bring a layer; what it is, from memory, from another image's config, or by unpacking it on its way.

    None where somebody else is bringing or unpacking it now.
    """
    known = _known(bench, job, layer)
    if known is not None:
        sized = replace(layer, size=known.size)
        return known if bring(bench, job, sized, from_source(bench, job, sized), moved) else None
    watcher = Watcher(from_source(bench, job, layer))
    if bring(bench, job, _sized(bench, job, layer), watcher, moved) and _learn(bench, layer, watcher):
        return watcher.unpacked
    return None


def _known(bench: Bench, job: Job, layer: Descriptor) -> Unpacked | None:
    """What is known of a layer; a config that tells is read now."""
    owner = owner_of(job.source)
    known = bench.diff_ids.get(layer.digest, owner)
    sibling = bench.diff_ids.sibling(layer.digest, owner) if known is None else None
    if sibling is None:
        return known
    repository, manifest = sibling
    try:
        config = bench.registry(repository.registry).small_blob(repository.path, manifest.config.digest)
        told = content_of(manifest, config).diff_ids
    except (RegistryError, NotAnImageManifestError):
        told = None
    if told is None:
        return None
    bench.diff_ids.tell(owner, manifest, told)
    return bench.diff_ids.get(layer.digest, owner)


def _sized(bench: Bench, job: Job, layer: Descriptor) -> Descriptor:
    """A layer with its size, which schema 1 does not tell.

    Raises:
        RegistryError: the source does not have it.
    """
    size = bench.registry(job.source.registry).blob_size(job.source.path, layer.digest)
    if size is None:
        what = str(job.source.at(layer.digest))
        raise RegistryError(what, Failure(FailureClass.BLOB_UNKNOWN, "the source does not have this layer"))
    return replace(layer, size=size)


def _learn(bench: Bench, layer: Descriptor, watcher: Watcher) -> bool:
    """Keep what a layer is that is at the target now; False where somebody else is finding that out.

    Where it was at the target before, or arrived although the connection broke, it is read, and sent nowhere.
    """
    if not watcher.is_whole:
        if not bench.book.claim([layer.digest]):
            return False
        try:
            for _ in watcher():
                if bench.watch.stop.is_set():
                    raise CopyFailedError(Failure(FailureClass.INTERRUPTED, ""))
        finally:
            bench.book.release([layer.digest])
    bench.diff_ids.add(layer.digest, watcher.unpacked)
    return True
