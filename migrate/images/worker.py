"""What a worker does with one job: mount, carry, put the manifest under each tag, read it back.

"skopeo carries, we finish": a tag appears only when everything it names is there. Touches no database.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from migrate.errors import LoginError
from migrate.images import skopeo
from migrate.images.bench import Bench
from migrate.images.blobs import CopyFailedError, is_light, is_there, link, mounted, wait_for
from migrate.images.compare import Place, target_differences, wrong_format
from migrate.images.delivery import Method, Part
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import OCI_MANIFEST, Descriptor, ImageManifest
from migrate.images.pace import TROUBLE, Lane, PausedError
from migrate.images.plan import Copy
from migrate.images.registry import RegistryError
from migrate.images.transfer import CopyResult, Job, JobResult
from migrate.images.transport import LOGIN_ROUNDS
from migrate.reference import Reference, Repository

log = logging.getLogger(__name__)

_SOURCE_BROKE = "happened during read"
"""With these words containers/image, of skopeo, wraps every error of the stream that it reads from the source."""
_READING = "reading from the source"
_LINK_ATTEMPTS = 2
FRESH_SECONDS = 30.0
"""So young a plan is as good as a look: a source tag that moves so soon might as well move after the copy."""


def perform(bench: Bench, job: Job) -> JobResult:
    """Do a job: every copy of it ends done or failed, none is left open, nothing is raised."""
    started = time.time()
    try:
        sent, top = _brought(bench, job)
    except (CopyFailedError, RegistryError, LoginError) as error:
        failure = _with_foreign_layers(job, _with_reason(bench, job, _failure(error)))
        if failure.kind is FailureClass.BLOB_UNKNOWN:
            bench.book.forget(job.target.path, job.blobs)
        failed = (_result(job, copy, _with_move(bench, copy, failure), started) for copy in job.copies)
        return JobResult(job, tuple(failed), _landed(bench, job))
    results = [_finished(bench, job, copy, top, started) for copy in job.copies]
    results[0] = replace(results[0], bytes=sent)
    return JobResult(job, tuple(results), _landed(bench, job))


def _landed(bench: Bench, job: Job) -> tuple[tuple[str, int], ...]:
    """The blobs that are in the target repository now, also of a job that failed later."""
    return tuple((b.digest, b.size) for b in job.delivery.blobs if bench.book.sure(job.target.path, b.digest))


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


def _result(job: Job, copy: Copy, failure: Failure | None, started: float) -> CopyResult:
    return CopyResult(copy, failure, started=started, ended=time.time(), attempt=job.attempt)


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
    if job.delivery.method is Method.SKOPEO:
        return _convert(bench, job)
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
    suspect = _is_suspect(bench, job, part.source.blobs)
    if not suspect and _is_light(bench, job, part.source.blobs):
        return link(bench, job, part.source.blobs)
    missing = [blob for blob in part.source.blobs if not is_there(bench, job.target, blob, whole=suspect)]
    absent = len(missing)
    if not suspect:  # a registry keeps one copy of a blob: another repository would lend the damaged one
        missing = [blob for blob in missing if not mounted(bench, job.target, blob)]
    log.info("%s: %d blobs mounted, %d to send", job.name, absent - len(missing), len(missing))
    if not missing:
        return 0
    if not suspect and _is_light(bench, job, missing):
        return link(bench, job, missing)
    with _claimed(bench, job.target, missing, may_mount=not suspect) as ours:
        if ours:
            _run_skopeo(bench, job, _carry_arguments(bench, job, part))
            _confirm(bench, job.target, ours, whole=suspect)
    return _bytes(ours)


def _is_light(bench: Bench, job: Job, blobs: Sequence[Descriptor]) -> bool:
    """Whether it goes without skopeo; what failed twice that way is left to skopeo."""
    return job.attempt <= _LINK_ATTEMPTS and is_light(bench, blobs)


@contextmanager
def _claimed(
    bench: Bench, repository: Repository, missing: list[Descriptor], *, may_mount: bool
) -> Iterator[list[Descriptor]]:
    """Wait until nobody else brings any of these blobs, mount those, and be the one who brings the others."""
    while not bench.book.claim(blob.digest for blob in missing):
        wait_for(bench, missing)
        missing = [blob for blob in missing if not (may_mount and mounted(bench, repository, blob))]
    try:
        yield missing
    finally:
        bench.book.release(blob.digest for blob in missing)


def _carry_arguments(bench: Bench, job: Job, part: Part) -> tuple[str, ...]:
    source, target = job.source.at(part.source.digest), job.target.at(part.source.digest)
    sides = bench.access(job.source), bench.access(job.target)
    return skopeo.carry_arguments(bench.program, source, target, *sides, bench.watch.timeout)


def _is_suspect(bench: Bench, job: Job, blobs: Sequence[Descriptor]) -> bool:
    """Whether verify found this image damaged; then nothing that was seen of its blobs counts."""
    suspect = any(copy.suspect for copy in job.copies)
    if suspect:
        bench.book.forget(job.target.path, (blob.digest for blob in blobs))
    return suspect


def _confirm(bench: Bench, repository: Repository, blobs: Sequence[Descriptor], *, whole: bool = False) -> None:
    """An exit code of 0 is not enough: ask for each blob, or read it `whole`.

    Raises:
        CopyFailedError: one is not there, or is damaged.
    """
    for blob in blobs:
        if not is_there(bench, repository, blob, whole=whole):
            kind = FailureClass.DAMAGED if whole else FailureClass.NOT_CONFIRMED
            words = f"skopeo ended well, and blob {blob.digest} is not{' whole' if whole else ''} in {repository}"
            raise CopyFailedError(Failure(kind, words))


def _bytes(blobs: Sequence[Descriptor]) -> int:
    return sum(max(blob.size, 0) for blob in blobs)


def _run_skopeo(bench: Bench, job: Job, argv: tuple[str, ...]) -> None:
    watch = replace(bench.watch, on_bytes=lambda moved: bench.on_bytes(job.number, moved))
    environment = skopeo.child_environment(os.environ, bench.data_home)
    with _places(bench, job) as tell:
        failure = _naming_the_source(job, skopeo.run(bench.program, argv, environment, watch))
        tell(failure)
    if failure and failure.kind in TROUBLE:
        _ask_both(bench, job)
    if failure and failure.kind is FailureClass.DENIED:
        failure = _login_or_right(bench, job, failure)
        if "writing manifest" in failure.words:
            failure = bench.target.explain_denied_put(failure)
    if failure:
        raise CopyFailedError(failure)


@contextmanager
def _places(bench: Bench, job: Job) -> Iterator[Callable[[Failure | None], None]]:
    """Hold a place for a copy at both registries, always in the same order; what is yielded takes how it ended.

    Raises:
        CopyFailedError: one of them is to be left alone now.
    """
    hosts = sorted({job.source.registry, job.target.registry})
    with ExitStack() as stack:
        try:
            places = {host: stack.enter_context(bench.registry(host).pace.place(Lane.COPIES)) for host in hosts}
        except PausedError as paused:
            raise CopyFailedError(paused.failure) from None

        def tell(failure: Failure | None) -> None:
            for host in _concerned(job, hosts, failure):
                places[host].ended(failure)

        yield tell


def _concerned(job: Job, hosts: list[str], failure: Failure | None) -> list[str]:
    """The registries that an end of skopeo tells something about: those it names, else both."""
    if failure and failure.words.startswith(_READING):
        return [job.source.registry]
    return [host for host in hosts if failure and host in failure.words] or hosts


def _naming_the_source(job: Job, failure: Failure | None) -> Failure | None:
    """Where reading a blob fails, skopeo names only the upload at the target that was fed with it."""
    if failure is None or _SOURCE_BROKE not in failure.words:
        return failure
    return replace(failure, words=f"{_READING} {job.source.registry}: {failure.words}")


def _ask_both(bench: Bench, job: Job) -> None:
    """Let both registries say whether they are there: what skopeo ran into may have been an outage of either."""
    for side in (job.source, job.target):
        with suppress(RegistryError, LoginError):
            bench.registry(side.registry).ping(side.path)


def _login_or_right(bench: Bench, job: Job, denied: Failure) -> Failure:
    """skopeo says the same of a refused login, a missing right and a login page: the registries know which it is."""
    for side in (job.source, job.target):
        try:
            bench.registry(side.registry).ping(side.path)
        except RegistryError as error:
            if error.failure.kind in (FailureClass.LOGIN, FailureClass.INVALID):
                return replace(denied, kind=error.failure.kind, words=f"{side.registry}: {denied.words}")
    return denied


# --- finish -----------------------------------------------------------------------------------------------------


def _finished(bench: Bench, job: Job, copy: Copy, top: ImageManifest, started: float) -> CopyResult:
    try:
        with bench.gate.through(job.target):
            if not _has(bench, copy, top.digest):
                _put(bench, job, copy.target, top)
        _read_back(bench, copy.target, top)
    except (CopyFailedError, RegistryError, LoginError) as error:
        failure = _with_reason(bench, job, _failure(error))
        return _result(job, copy, _with_foreign_layers(job, failure), started)
    log.info("%s: confirmed as %s", copy.target, top.digest)
    done = _result(job, copy, None, started)
    note = _move(bench, copy) if time.monotonic() - bench.planned_at > FRESH_SECONDS else ""
    return replace(done, target_digest=top.digest, target_media_type=top.media_type, note=note)


def _has(bench: Bench, copy: Copy, digest: str) -> bool:
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


def _put(bench: Bench, job: Job, target: Reference, top: ImageManifest) -> None:
    """Put the manifest under the tag; where the registry misses a blob, carry again, once."""
    try:
        _put_once(bench, target, top)
    except RegistryError as error:
        if error.failure.kind is not FailureClass.BLOB_UNKNOWN or job.delivery.method is not Method.CARRY:
            raise
        _carry_again(bench, job)
        _put_once(bench, target, top)


def _put_once(bench: Bench, target: Reference, top: ImageManifest) -> None:
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


def _carry_again(bench: Bench, job: Job) -> None:
    """The registry lost, or never had, a blob that it said it has: skopeo looks again itself."""
    for part in job.delivery.parts:
        _run_skopeo(bench, job, _carry_arguments(bench, job, part))


def _read_back(bench: Bench, target: Reference, top: ImageManifest) -> None:
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


# --- skopeo's own conversion ------------------------------------------------------------------------------------


def _convert(bench: Bench, job: Job) -> tuple[int, ImageManifest]:
    """Let skopeo convert and tag one of the copies, and look at what came of it; the others get the same manifest."""
    copy = _first_free(bench, job)
    known = _arrived(bench, job, copy)
    if known is not None:
        return 0, known
    sides = bench.access(job.source), bench.access(job.target)
    argv = skopeo.convert_arguments(
        bench.program,
        job.source.at(job.delivery.origin),
        copy.target,
        *sides,
        bench.watch.timeout,
        _skopeo_format(job, copy),
        whole_index=job.delivery.whole_index,
    )
    with bench.gate.through(job.target):
        _run_skopeo(bench, job, argv)
    top = bench.target.manifest(job.target.path, copy.target.tag)
    bench.arrived[copy.target] = top.digest
    wrong = _differences(bench, job, copy, top)
    if wrong:
        raise CopyFailedError(Failure(FailureClass.NOT_CONFIRMED, f"after skopeo's conversion: {'; '.join(wrong)}"))
    children = [bench.target.manifest(job.target.path, child.digest) for child in top.children]
    blobs = [blob for manifest in (top, *children) for blob in manifest.blobs]
    fresh = [blob for blob in blobs if not bench.book.origins(blob.digest, but="")]
    _confirm(bench, job.target, blobs, whole=_is_suspect(bench, job, blobs))
    return _bytes(fresh), top


def _skopeo_format(job: Job, copy: Copy) -> str:
    """What skopeo is told to make; `keep` is said too, for by itself it falls back to other formats."""
    if copy.options.format != "keep" or job.delivery.whole_index:
        return copy.options.format
    return "oci" if job.delivery.parts[0].source.media_type == OCI_MANIFEST else "docker"


def _differences(bench: Bench, job: Job, copy: Copy, found: ImageManifest) -> list[str]:
    words = target_differences(job.delivery, Place(bench.look, job.source), Place(bench.look, job.target), found)
    wrong = wrong_format(copy, found.media_type)
    return [*words, wrong] if wrong else words


def _arrived(bench: Bench, job: Job, copy: Copy) -> ImageManifest | None:
    """What an earlier try, whose answer got lost, has put under the tag already; None where it has not."""
    found = bench.target.find_manifest(copy.target.repository.path, copy.target.tag)
    if found is None or found.digest == copy.present:
        return None
    manifest = bench.target.manifest(copy.target.repository.path, copy.target.tag)
    return None if _differences(bench, job, copy, manifest) else manifest


def _first_free(bench: Bench, job: Job) -> Copy:
    """The first copy whose target tag is still as it was planned, or has by now what is wanted.

    Raises:
        CopyFailedError: none is.
    """
    taken: CopyFailedError | None = None
    for copy in job.copies:
        try:
            _has(bench, copy, copy.present)
        except CopyFailedError as error:
            if _arrived(bench, job, copy) is not None:
                return copy
            taken = error
            continue
        return copy
    assert taken
    raise taken
