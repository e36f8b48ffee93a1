"""What stands under a target tag: looked at right before the put, put, and read back."""

from migrate.images.bench import Bench
from migrate.images.blobs import CopyFailedError
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest
from migrate.images.plan import Copy
from migrate.images.registry import RegistryError
from migrate.reference import Reference


def has_already(bench: Bench, copy: Copy, digest: str) -> bool:
    """Whether the target tag has this already. Between plan and put it may have been moved by somebody else.

    Raises:
        CopyFailedError: it was, and `onConflict` does not say to overwrite.
    """
    found = bench.target.find_manifest(copy.target.repository.path, copy.target.tag)
    ours = (copy.present, digest, bench.arrived.get(copy.target))
    if found is None or found.digest in ours or copy.options.on_conflict == "overwrite":
        return found is not None and found.digest == digest
    words = f"the target tag was {copy.present or 'not there'} when planned, and is {found.digest} now"
    raise CopyFailedError(Failure(FailureClass.CONFLICT, words))


def put(bench: Bench, target: Reference, top: ImageManifest) -> None:
    """Put; an answer that got lost, or a 500, may be a put that succeeded.

    Raises:
        CopyFailedError: it arrived damaged; the next try may put it again, for what stands there now is ours.
        RegistryError: it was not taken.
    """
    path, tag = target.repository.path, target.tag
    try:
        arrived = bench.target.put_manifest(path, tag, top)
        if arrived != top.digest:
            bench.arrived[target] = arrived
            raise CopyFailedError(Failure(FailureClass.CORRUPT, f"{target.short} was put, and arrived as {arrived}"))
    except RegistryError as error:
        try:
            found = bench.target.find_manifest(path, tag)
        except RegistryError:
            raise error from None
        if found is None or found.digest != top.digest:
            raise


def read_back(bench: Bench, target: Reference, top: ImageManifest) -> None:
    """Ask the target what stands under the tag: the same bytes, of the wanted type, with every child behind it.

    Raises:
        CopyFailedError: something else, or not all of it.
        RegistryError: it cannot be read.
    """
    try:
        found = bench.target.manifest(target.repository.path, target.tag)
    except RegistryError as error:
        if error.failure.kind is not FailureClass.NOT_FOUND:
            raise
        words = f"{target.short} was put, and is not there"
        raise CopyFailedError(Failure(FailureClass.NOT_CONFIRMED, words)) from None
    if found.digest != top.digest or found.media_type != top.media_type:
        words = f"{target.short} gives back {found.digest} ({found.media_type}) and not {top.digest}"
        raise CopyFailedError(Failure(FailureClass.NOT_CONFIRMED, words))
    for child in top.children:
        bench.target.manifest(target.repository.path, child.digest)
