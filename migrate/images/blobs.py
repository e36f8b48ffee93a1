"""A blob's way into a target repository: it is there, is mounted from another one, or is streamed from the source.

Each blob crosses once, whoever needs it: who brings one says so in the `BlobBook`, and the others wait and mount it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from migrate.images.bench import Bench
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import Descriptor
from migrate.images.registry import RegistryError, Upload
from migrate.images.transfer import Job
from migrate.images.unpacking import Origin
from migrate.reference import Repository

SIDE_BY_SIDE = 2**20
"""Bytes from which on a blob is brought at the same time as others of its image."""
T = TypeVar("T")


class CopyFailedError(Exception):
    """A step of a job failed; the rest of the job is pointless."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def byte_count(blobs: Sequence[Descriptor]) -> int:
    """Bytes of blobs, as far as they are known."""
    return sum(max(blob.size, 0) for blob in blobs)


def is_suspect(bench: Bench, job: Job, blobs: Sequence[Descriptor]) -> bool:
    """Whether verify found this image damaged; then nothing that was seen of its blobs counts."""
    suspect = any(copy.suspect for copy in job.copies)
    if suspect:
        bench.book.forget(job.target.path, (blob.digest for blob in blobs))
    return suspect


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
    """Whether a blob could be taken from another repository of the target.

    Two at a time would write the same link, and docker-registry 2.8 may answer DIGEST_INVALID to a manifest of the
    first that is put meanwhile.
    """
    turn = [f"{repository.path}@{blob.digest}"]
    while not bench.book.claim(turn):
        if not bench.book.wait(turn, bench.watch.stop):
            return False
    try:
        return bench.book.sure(repository.path, blob.digest) or _lent(bench, repository, blob)
    finally:
        bench.book.release(turn)


def _lent(bench: Bench, repository: Repository, blob: Descriptor) -> bool:
    for origin in bench.book.origins(blob.digest, repository.path):
        try:
            upload = bench.target.mount(repository.path, blob.digest, origin)
        except RegistryError:
            return False  # bringing it works without
        bench.book.gave(origin, repository.path, gave=upload is None)
        if upload is not None:
            bench.target.cancel(upload)
        elif _is_mounted(bench, repository, blob, origin):
            return True
    return False


def at_hand(bench: Bench, repository: Repository, blob: Descriptor) -> bool:
    """Whether a target repository has a blob by now: it was seen there, or can be mounted."""
    return bench.book.sure(repository.path, blob.digest) or mounted(bench, repository, blob)


def _is_mounted(bench: Bench, repository: Repository, blob: Descriptor, origin: str) -> bool:
    """A 201 is believed where this process has seen the blob at its origin."""
    if not bench.book.sure(origin, blob.digest):
        return is_there(bench, repository, blob)
    bench.book.add(repository.path, blob.digest)
    return True


def is_light(bench: Bench, repository: Repository, blobs: Sequence[Descriptor]) -> bool:
    """Whether so few bytes of these are missing at the target, as far as is known, that skopeo is not needed."""
    unknown = [blob for blob in blobs if not bench.book.expects(blob.digest, repository.path)]
    return all(blob.size >= 0 for blob in blobs) and sum(blob.size for blob in unknown) <= bench.link_max


def link(bench: Bench, job: Job, blobs: Sequence[Descriptor]) -> int:
    """Bring blobs without skopeo: mount what the target has, stream the rest; the bytes that were sent.

    Raises:
        CopyFailedError: it was stopped.
        RegistryError, LoginError: a blob could not be brought.
    """
    moved = Moved(bench, job)
    left = list(blobs)
    while left:
        brought = side_by_side(bench, lambda blob: bring(bench, job, blob, from_source(bench, job, blob), moved), left)
        left = [blob for blob, is_there_now in zip(left, brought, strict=True) if not is_there_now]
        wait_for(bench, left[:1])
    return moved.bytes


class Moved:
    """Counts the bytes that are sent for a job, and tells them. Safe to use from many threads."""

    def __init__(self, bench: Bench, job: Job) -> None:
        self.bytes = 0
        self._tell = partial(bench.on_bytes, job.number)
        self._lock = threading.Lock()

    def __call__(self, more: int) -> None:
        """So many more."""
        with self._lock:
            self.bytes += more
            self._tell(self.bytes)


def side_by_side(bench: Bench, do: Callable[[Descriptor], T], blobs: Sequence[Descriptor]) -> list[T]:
    """Do something for each blob: the large ones at the same time, the small ones one after another.

    For small ones there are enough other images to do at the same time, and a thread costs as much as such a blob.
    """
    large = [blob for blob in blobs if not 0 <= blob.size < SIDE_BY_SIDE]
    others = {blob.digest: bench.streams.submit(do, blob) for blob in large[1:]} if bench.streams else {}
    try:
        own = {blob.digest: do(blob) for blob in blobs if blob.digest not in others}
    finally:
        wait(others.values())
    return [others[blob.digest].result() if blob.digest in others else own[blob.digest] for blob in blobs]


@contextmanager
def claimed(
    bench: Bench, repository: Repository, blobs: Sequence[Descriptor], *, may_mount: bool
) -> Iterator[list[Descriptor]]:
    """Have what of these blobs can be mounted, and be the one who brings the others, which are yielded.

    Raises:
        CopyFailedError: it was stopped.
    """
    missing = list(blobs)
    while True:
        missing = [blob for blob in missing if not (may_mount and at_hand(bench, repository, blob))]
        digests = [blob.digest for blob in missing]
        if not bench.book.claim(digests):
            wait_for(bench, missing)
            continue
        try:
            if not may_mount or not any(at_hand(bench, repository, blob) for blob in missing):
                yield missing
                return
        finally:  # also where one has landed before it was ours
            bench.book.release(digests)


def wait_for(bench: Bench, blobs: Sequence[Descriptor]) -> None:
    """Wait until nobody else brings any of these.

    Raises:
        CopyFailedError: it was stopped.
    """
    if not bench.book.wait((blob.digest for blob in blobs), bench.watch.stop):
        raise CopyFailedError(Failure(FailureClass.INTERRUPTED, ""))


def from_source(bench: Bench, job: Job, blob: Descriptor) -> Origin:
    """The blob as the source has it."""
    source = bench.registry(job.source.registry)
    return lambda: source.blob(job.source.path, blob.digest)


def bring(bench: Bench, job: Job, blob: Descriptor, origin: Origin, moved: Moved) -> bool:
    """Make a blob be in the target repository; False where somebody else is bringing it to the target now.

    Args:
        bench: of all workers.
        job: whose it is.
        blob: its size may be unknown.
        origin: gives its bytes, if they must be sent.
        moved: told of bytes that were sent.

    Raises:
        CopyFailedError: it was stopped.
        RegistryError, LoginError: it could not be brought.
        What `origin` raises.
    """
    if at_hand(bench, job.target, blob):
        return True
    if not bench.book.claim([blob.digest]):
        return False
    try:
        if not at_hand(bench, job.target, blob):  # it may have landed before it was ours
            _send_missing(bench, job, blob, origin, moved)
    finally:
        bench.book.release([blob.digest])
    return True


def _send_missing(bench: Bench, job: Job, blob: Descriptor, origin: Origin, moved: Moved) -> None:
    """Ask for the blob and for an upload in one request, by mounting it from the repository itself."""
    upload = bench.target.mount(job.target.path, blob.digest, job.target.path)
    if upload is None and is_there(bench, job.target, blob):
        return
    upload = upload or bench.target.open_upload(job.target.path)
    try:
        _stream(bench, blob, upload, origin, moved)
    except RegistryError as error:  # an answer that got lost may be that of a blob that arrived
        if is_there(bench, job.target, blob):
            return
        if not error.failure.retry:
            raise
        _stream(bench, blob, bench.target.open_upload(job.target.path), origin, moved)
    bench.book.add(job.target.path, blob.digest)


def _stream(bench: Bench, blob: Descriptor, upload: Upload, origin: Origin, moved: Moved) -> None:
    def content() -> Iterator[bytes]:
        left = blob.size
        for chunk in origin():
            if bench.watch.stop.is_set():
                raise CopyFailedError(Failure(FailureClass.INTERRUPTED, ""))
            left -= len(chunk)
            if blob.size >= 0 > left:
                words = f"{blob.digest}: more than its {blob.size} bytes came"
                raise CopyFailedError(Failure(FailureClass.CORRUPT, words))
            yield chunk
            moved(len(chunk))

    bench.target.send_blob(upload, blob.digest, blob.size, content)
