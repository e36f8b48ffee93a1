"""A blob's way into a target repository: it is there, is mounted from another one, or is streamed from the source.

Each blob crosses once, whoever needs it: who brings one says so in the `BlobBook`, and the others wait and mount it.
"""

from collections.abc import Callable, Iterator, Sequence

from migrate.images.bench import Bench
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import Descriptor
from migrate.images.registry import RegistryError, Upload
from migrate.images.transfer import Job
from migrate.reference import Repository


class CopyFailedError(Exception):
    """A step of a job failed; the rest of the job is pointless."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def is_there(bench: Bench, repository: Repository, blob: Descriptor, *, whole: bool = False) -> bool:
    """Whether the target repository has a blob, of the right size; `whole` reads it."""
    if bench.book.sure(repository.path, blob.digest):
        return True
    size = bench.target.blob_size(repository.path, blob.digest)
    if whole and size is not None and not _is_whole(bench, repository, blob):
        return False
    if size is None or (size >= 0 and blob.size >= 0 and size != blob.size):
        return False
    bench.book.add(repository.path, blob.digest)
    return True


def _is_whole(bench: Bench, repository: Repository, blob: Descriptor) -> bool:
    try:
        bench.target.check_blob(repository.path, blob.digest)
    except RegistryError as error:
        if error.failure.kind in (FailureClass.CORRUPT, FailureClass.BLOB_UNKNOWN):
            return False
        raise
    return True


def mounted(bench: Bench, repository: Repository, blob: Descriptor) -> bool:
    """Whether a blob could be taken from another repository of the target."""
    for origin in bench.book.origins(blob.digest, but=repository.path):
        try:
            upload = bench.target.mount(repository.path, blob.digest, origin)
        except RegistryError:
            return False  # bringing it works without
        if upload is not None:
            bench.target.cancel(upload)
        elif _is_mounted(bench, repository, blob, origin):
            return True
    return False


def _is_mounted(bench: Bench, repository: Repository, blob: Descriptor, origin: str) -> bool:
    """A 201 is believed where this process has seen the blob at its origin."""
    if not bench.book.sure(origin, blob.digest):
        return is_there(bench, repository, blob)
    bench.book.add(repository.path, blob.digest)
    return True


def is_light(bench: Bench, blobs: Sequence[Descriptor]) -> bool:
    """Whether so few bytes of these are missing at the target, as far as is known, that skopeo is not needed."""
    unknown = [blob for blob in blobs if not bench.book.origins(blob.digest, but="")]
    return all(blob.size >= 0 for blob in blobs) and sum(blob.size for blob in unknown) <= bench.link_max


def link(bench: Bench, job: Job, blobs: Sequence[Descriptor]) -> int:
    """Bring blobs without skopeo: mount what the target has, stream the rest; the bytes that were sent.

    Raises:
        CopyFailedError: it was stopped.
        RegistryError, LoginError: a blob could not be brought.
    """
    sent = 0

    def moved(more: int) -> None:
        nonlocal sent
        sent += more
        bench.on_bytes(job.number, sent)

    postponed = [blob for blob in blobs if not _brought(bench, job, blob, moved)]
    for blob in postponed:
        while not _brought(bench, job, blob, moved):
            wait_for(bench, [blob])
    return sent


def wait_for(bench: Bench, blobs: Sequence[Descriptor]) -> None:
    """Wait until nobody else brings any of these.

    Raises:
        CopyFailedError: it was stopped.
    """
    if not bench.book.wait((blob.digest for blob in blobs), bench.watch.stop):
        raise CopyFailedError(Failure(FailureClass.INTERRUPTED, ""))


def _brought(bench: Bench, job: Job, blob: Descriptor, moved: Callable[[int], None]) -> bool:
    """Make a blob be in the target repository; False where somebody else is bringing it to the target now."""
    if bench.book.sure(job.target.path, blob.digest) or mounted(bench, job.target, blob):
        return True
    if not bench.book.claim([blob.digest]):
        return False
    try:
        if not mounted(bench, job.target, blob):  # it may have landed before it was ours
            _send_missing(bench, job, blob, moved)
    finally:
        bench.book.release([blob.digest])
    return True


def _send_missing(bench: Bench, job: Job, blob: Descriptor, moved: Callable[[int], None]) -> None:
    """Ask for the blob and for an upload in one request, by mounting it from the repository itself."""
    upload = bench.target.mount(job.target.path, blob.digest, job.target.path)
    if upload is None and is_there(bench, job.target, blob):
        return
    _send(bench, job, blob, upload or bench.target.open_upload(job.target.path), moved)


def _send(bench: Bench, job: Job, blob: Descriptor, upload: Upload, moved: Callable[[int], None]) -> None:
    """Stream a blob from the source; where an answer got lost it may have arrived all the same."""
    try:
        _stream(bench, job, blob, upload, moved)
    except RegistryError as error:
        if is_there(bench, job.target, blob):
            return
        if not error.failure.retry:
            raise
        _stream(bench, job, blob, bench.target.open_upload(job.target.path), moved)
    bench.book.add(job.target.path, blob.digest)


def _stream(bench: Bench, job: Job, blob: Descriptor, upload: Upload, moved: Callable[[int], None]) -> None:
    source = bench.registry(job.source.registry)

    def content() -> Iterator[bytes]:
        for chunk in source.blob(job.source.path, blob.digest):
            if bench.watch.stop.is_set():
                raise CopyFailedError(Failure(FailureClass.INTERRUPTED, ""))
            yield chunk
            moved(len(chunk))

    bench.target.send_blob(upload, blob.digest, blob.size, content)
