"""What skopeo does of a job: carries an image's blobs as they are, or converts and tags the whole of it."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from migrate.errors import LoginError
from migrate.images import skopeo
from migrate.images.bench import Bench
from migrate.images.blobs import CopyFailedError, byte_count, claimed, is_suspect, is_there
from migrate.images.compare import Place, target_differences, wrong_format
from migrate.images.delivery import Part
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import OCI_MANIFEST, Descriptor, ImageManifest
from migrate.images.pace import TROUBLE, Lane, PausedError
from migrate.images.plan import Copy
from migrate.images.registry import RegistryError
from migrate.images.tags import has_already
from migrate.images.transfer import Job
from migrate.reference import Repository

_SOURCE_BROKE = "happened during read"
"""With these words containers/image, of skopeo, wraps every error of the stream that it reads from the source."""
_READING = "reading from the source"


def carry(bench: Bench, job: Job, part: Part, missing: Sequence[Descriptor]) -> int:
    """Let skopeo bring one image's blobs, by digest and without a tag; it asks itself which are there.

    Args:
        bench: what it works with.
        job: for messages, and where from and to.
        part: the image.
        missing: what the target lacks, as far as is known: skopeo may know who lends it (root's has a memory).

    Returns:
        How many bytes were sent.

    Raises:
        CopyFailedError: it could not.
    """
    source, target = job.source.at(part.source.digest), job.target.at(part.source.digest)
    sides = bench.access(job.source), bench.access(job.target)
    written = _run(bench, job, skopeo.carry_arguments(bench.program, source, target, *sides, bench.watch.timeout))
    return min(byte_count(missing), written)


def confirm(bench: Bench, repository: Repository, blobs: Sequence[Descriptor], *, whole: bool = False) -> None:
    """An exit code of 0 is not enough: ask for each blob, or read it `whole`.

    Raises:
        CopyFailedError: one is not there, or is damaged.
    """
    for blob in blobs:
        if not is_there(bench, repository, blob, whole=whole):
            kind = FailureClass.DAMAGED if whole else FailureClass.NOT_CONFIRMED
            words = f"skopeo ended well, and blob {blob.digest} is not{' whole' if whole else ''} in {repository}"
            raise CopyFailedError(Failure(kind, words))


def convert(bench: Bench, job: Job) -> tuple[int, ImageManifest]:
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
    layers = _layers(job)
    may_mount = not any(copy.suspect for copy in job.copies)
    with claimed(bench, job.target, layers, may_mount=may_mount) as missing, bench.gate.through(job.target):
        written = _run(bench, job, argv)
        for layer in missing if may_mount else ():
            is_there(bench, job.target, layer)  # whoever waits for it mounts it
    top = bench.target.manifest(job.target.path, copy.target.tag)
    bench.arrived[copy.target] = top.digest
    wrong = _differences(bench, job, copy, top)
    if wrong:
        raise CopyFailedError(Failure(FailureClass.NOT_CONFIRMED, f"after skopeo's conversion: {'; '.join(wrong)}"))
    children = [bench.target.manifest(job.target.path, child.digest) for child in top.children]
    blobs = [blob for manifest in (top, *children) for blob in manifest.blobs]
    sent = {layer.digest for layer in missing}
    fresh = [blob for blob in blobs if blob.digest in sent or not bench.book.expects(blob.digest, job.target.path)]
    confirm(bench, job.target, blobs, whole=is_suspect(bench, job, blobs))
    return min(byte_count(fresh), written), top


def _layers(job: Job) -> list[Descriptor]:
    layers = (layer for part in job.delivery.parts for layer in part.source.layers if not layer.is_foreign)
    return list({layer.digest: layer for layer in layers}.values())


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
            has_already(bench, copy, copy.present)
        except CopyFailedError as error:
            if _arrived(bench, job, copy) is not None:
                return copy
            taken = error
            continue
        return copy
    assert taken
    raise taken


# --- a run ----------------------------------------------------------------------------------------------------------


def _run(bench: Bench, job: Job, argv: tuple[str, ...]) -> int:
    """Run skopeo; how many bytes it has written, or could have, where the system does not tell."""
    written: list[int] = []
    watch = replace(bench.watch, on_bytes=lambda moved: bench.on_bytes(job.number, moved), on_written=written.append)
    ours = bench.way.environment(os.environ) if bench.way else os.environ
    environment = skopeo.child_environment(ours, bench.data_home)
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
    return written[0] if written else sys.maxsize


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
