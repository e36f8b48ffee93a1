"""What a worker does with one job: mount, carry, put the manifest under each tag, read it back.

"skopeo carries, we finish": a tag appears only when everything it names is there. Touches no database.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from migrate.errors import LoginError
from migrate.images.bench import Bench
from migrate.images.blobs import (
    CopyFailedError,
    at_hand,
    is_light,
    is_suspect,
    is_there,
    link,
    mounted,
    wait_for,
)
from migrate.images.built import build
from migrate.images.clock import Clock
from migrate.images.delivery import Method, Part
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import Descriptor, ImageManifest
from migrate.images.plan import Copy
from migrate.images.registry import RegistryError
from migrate.images.tags import has_already, put, read_back
from migrate.images.through_skopeo import carry, confirm, convert
from migrate.images.transfer import CopyResult, Job, JobResult
from migrate.images.transport import LOGIN_ROUNDS
from migrate.images.unpacking import Learnt, StrangeLayerError
from migrate.reference import Reference

log = logging.getLogger(__name__)

_OWN_ATTEMPTS = 2
FRESH_SECONDS = 30.0
"""So young a plan is as good as a look: a source tag that moves so soon might as well move after the copy."""


def perform(bench: Bench, job: Job) -> JobResult:
    """Do a job: every copy of it ends done or failed, none is left open, nothing is raised."""
    clock = Clock()
    try:
        sent, top = _brought(bench, job)
    except (CopyFailedError, RegistryError, LoginError) as error:
        failure = _with_foreign_layers(job, _with_reason(bench, job, _failure(error)))
        if failure.kind is FailureClass.BLOB_UNKNOWN:
            bench.book.forget(job.target.path, job.blobs)
        failed = (_result(job, copy, _with_move(bench, copy, failure), clock) for copy in job.copies)
        return JobResult(job, tuple(failed), *_learnt(bench, job))
    results = [_finished(bench, job, copy, top, clock) for copy in job.copies]
    size = sum(max(blob.size, 0) for blob in top.blobs)
    results = [replace(each, size=size) for each in results]
    results[0] = replace(results[0], bytes=sent)
    return JobResult(job, tuple(results), *_learnt(bench, job))


def _learnt(bench: Bench, job: Job) -> tuple[tuple[tuple[str, int], ...], tuple[Learnt, ...]]:
    """The blobs that are in the target repository now, also of a job that failed later; what was learnt of layers."""
    landed = ((b.digest, b.size) for b in job.delivery.blobs if bench.book.sure(job.target.path, b.digest))
    return tuple(landed), tuple(bench.diff_ids.fresh())


def _brought(bench: Bench, job: Job) -> tuple[int, ImageManifest]:
    """Bring it; where a login ended on the way (a long run of skopeo), again with the next one: what is there stays.

    Raises:
        CopyFailedError, RegistryError, LoginError: it cannot be brought.
    """
    for _ in range(LOGIN_ROUNDS):
        try:
            return _bring(bench, job)
        except (CopyFailedError, RegistryError, LoginError) as error:
            ended = _failure(error).kind is FailureClass.LOGIN
            sides = (job.source, job.target)
            if not ended or not any(bench.registry(side.registry).wait_for_login(side.path) for side in sides):
                raise
    return _bring(bench, job)


def _failure(error: CopyFailedError | RegistryError | LoginError) -> Failure:
    return Failure(FailureClass.LOGIN, error.what) if isinstance(error, LoginError) else error.failure


def _result(job: Job, copy: Copy, failure: Failure | None, clock: Clock) -> CopyResult:
    return CopyResult(copy, failure, started=clock.started, ended=clock.now, attempt=job.attempt)


def _with_foreign_layers(job: Job, failure: Failure) -> Failure:
    """docker-registry answers 500 without a reason where its settings allow no layers that are kept elsewhere."""
    has_foreign = any(layer.is_foreign for part in job.delivery.parts for layer in part.source.layers)
    if not has_foreign or failure.kind is not FailureClass.UNAVAILABLE or " 500 " not in failure.words:
        return failure
    words = f"{failure.words} (the target may take no layers that are kept elsewhere, which this image has)"
    return replace(failure, kind=FailureClass.UNSUPPORTED, words=words)


def _with_reason(bench: Bench, job: Job, failure: Failure) -> Failure:
    """A bare "denied" of the registry means what the API has said of the image stream."""
    reason = bench.why_denied.get(job.target.path)
    if failure.kind is not FailureClass.DENIED or reason is None:
        return failure
    return replace(failure, words=f"{failure.words}; the image stream could not be made before: {reason}")


def _with_move(bench: Bench, copy: Copy, failure: Failure) -> Failure:
    """What is missing at the source may be missing because its tag names something else by now."""
    if failure.kind not in (FailureClass.NOT_FOUND, FailureClass.BLOB_UNKNOWN):
        return failure
    return replace(failure, words="; ".join(filter(None, (failure.words, _move(bench, copy)))))


def _move(bench: Bench, copy: Copy) -> str:
    """What became of the source tag since the plan, in words; empty where it is as it was, or does not tell."""
    source = copy.source
    if not source.tag:
        return ""
    try:
        found = bench.registry(source.repository.registry).find_manifest(source.repository.path, source.tag)
    except (RegistryError, LoginError):
        return ""
    if found is None:
        return "the source tag is gone since it was planned"
    return "" if found.digest == source.digest else f"the source tag has moved since it was planned, to {found.digest}"


def _bring(bench: Bench, job: Job) -> tuple[int, ImageManifest]:
    """Make everything be at the target but the tags; the bytes sent, and what is to stand under each tag."""
    method = job.delivery.method
    if method is Method.BUILD and job.attempt <= _OWN_ATTEMPTS and not any(copy.suspect for copy in job.copies):
        try:
            return build(bench, job)
        except StrangeLayerError as strange:
            log.info("%s: left to skopeo: %s", job.name, strange)
    if method is not Method.CARRY:
        return convert(bench, job)
    sent = sum(_carry(bench, job, part) for part in job.delivery.parts)
    top = job.delivery.top
    assert top is not None
    if top is not job.delivery.parts[0].target:
        for part in job.delivery.parts:
            with bench.gate.through(job.target):
                bench.target.put_manifest(job.target.path, part.target.digest, part.target)
    return sent, top


# --- carry ------------------------------------------------------------------------------------------------------


def _carry(bench: Bench, job: Job, part: Part) -> int:
    """Bring one image's blobs to the target repository; the bytes that had to be sent."""
    blobs, target = part.source.blobs, job.target
    if is_suspect(bench, job, blobs):  # a registry keeps one copy of a blob: another repository would lend the damaged
        missing = [blob for blob in blobs if not is_there(bench, target, blob, whole=True)]
        sent = _carried(bench, job, part, missing, whole=True) if missing else 0
        while sent is None:
            wait_for(bench, missing)
            sent = _carried(bench, job, part, missing, whole=True)
        return sent
    if _is_light(bench, job, blobs):
        return link(bench, job, blobs)
    absent = [blob for blob in blobs if not is_there(bench, target, blob)]
    missing = [blob for blob in absent if not mounted(bench, target, blob)]
    log.info("%s: %d blobs mounted, %d to send", job.name, len(absent) - len(missing), len(missing))
    while missing and not _is_light(bench, job, missing):
        sent = _carried(bench, job, part, missing)
        if sent is not None:
            return sent
        wait_for(bench, missing)
        missing = [blob for blob in missing if not at_hand(bench, target, blob)]
    return link(bench, job, missing)


def _carried(bench: Bench, job: Job, part: Part, missing: Sequence[Descriptor], *, whole: bool = False) -> int | None:
    """Let skopeo bring what is missing; the bytes sent. None where somebody else brings, or has just brought, some."""
    digests = [blob.digest for blob in missing]
    if not bench.book.claim(digests):
        return None
    try:
        if not whole and any(at_hand(bench, job.target, blob) for blob in missing):
            return None
        sent = carry(bench, job, part, missing)
        confirm(bench, job.target, missing, whole=whole)
    finally:
        bench.book.release(digests)
    return sent


def _is_light(bench: Bench, job: Job, blobs: Sequence[Descriptor]) -> bool:
    """Whether it goes without skopeo; what failed twice that way is left to skopeo."""
    return job.attempt <= _OWN_ATTEMPTS and is_light(bench, job.target, blobs)


# --- finish -----------------------------------------------------------------------------------------------------


def _finished(bench: Bench, job: Job, copy: Copy, top: ImageManifest, clock: Clock) -> CopyResult:
    try:
        with bench.gate.through(job.target):
            if not has_already(bench, copy, top.digest):
                _put(bench, job, copy.target, top)
        read_back(bench, copy.target, top)
    except (CopyFailedError, RegistryError, LoginError) as error:
        failure = _with_reason(bench, job, _failure(error))
        return _result(job, copy, _with_foreign_layers(job, failure), clock)
    log.info("%s: confirmed as %s", copy.target, top.digest)
    done = _result(job, copy, None, clock)
    note = _move(bench, copy) if time.monotonic() - bench.planned_at > FRESH_SECONDS else ""
    return replace(done, target_digest=top.digest, target_media_type=top.media_type, note=note)


def _put(bench: Bench, job: Job, target: Reference, top: ImageManifest) -> None:
    """Put the manifest under the tag; where the registry misses a blob, carry again, once."""
    try:
        put(bench, target, top)
    except RegistryError as error:
        if error.failure.kind is not FailureClass.BLOB_UNKNOWN:
            raise
        bench.book.forget(target.repository.path, [blob.digest for blob in top.blobs])
        if job.delivery.method is not Method.CARRY:
            raise
        for part in job.delivery.parts:  # the registry lost, or never had, what it said it has: skopeo looks itself
            carry(bench, job, part, part.source.blobs)
        put(bench, target, top)
