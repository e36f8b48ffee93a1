"""Does the target hold what the source holds? Reads both afresh; remembers nothing and writes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from migrate.images.compare import Place, target_differences, wrong_format
from migrate.images.failures import FailureClass
from migrate.images.formats import Descriptor, ImageManifest
from migrate.images.lookups import Lookups, answers
from migrate.images.plan import Copy, Delivered
from migrate.images.registry import Registry, RegistryError
from migrate.images.streams import StreamCatalog
from migrate.images.verdicts import Verdict
from migrate.reference import Reference, Repository


@dataclass(frozen=True)
class Verified:
    """One wanted tag, what stands at the target for it, and how it differs.

    `failure` is why that is not known; of a tag that is DIFFERENT it is CONFLICT where a copy would leave it alone.
    """

    copy: Copy
    verdict: Verdict
    words: str = ""
    target_digest: str = ""
    failure: FailureClass | None = None


@dataclass(frozen=True)
class Verification:
    """What verify found of everything that is wanted; `refused` cannot be copied, and so is not verified."""

    tags: tuple[Verified, ...]
    refused: tuple[Copy, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """How many tags have this verdict."""
        return sum(item.verdict is verdict for item in self.tags)


BlobKey = tuple[Repository, Descriptor]
_AT_A_TIME = 100
"""Tags; what was found of them is known before the next are looked at, and kept where somebody stops it."""


def verify(
    wanted: Sequence[Copy],
    source: Lookups,
    target: Lookups,
    blobs: Registry,
    executor: Executor,
    delivered: Mapping[str, Delivered],
    *,
    deep: bool,
) -> Iterator[Verified]:
    """Compare every wanted tag with what the target gives back, some at a time.

    Args:
        wanted: resolved against the source (planner.resolve), none of them refused.
        source: asks the source.
        target: asks the target, and remembers nothing of earlier runs or of the source.
        blobs: the target registry, for the blobs.
        executor: many questions at a time go through it.
        delivered: what earlier runs put under target tags, by `str(target)`: whose they are, never what they hold.
        deep: read every blob and check its digest, instead of asking for its size only.
    """
    look = partial(_blob_problem, blobs, deep=deep)
    differ = partial(_different, source, target)
    problems: dict[BlobKey, str] = {}
    for first in range(0, len(wanted), _AT_A_TIME):
        yield from _verify_some(wanted[first : first + _AT_A_TIME], blobs, executor, delivered, look, differ, problems)


def _verify_some(
    wanted: Sequence[Copy],
    blobs: Registry,
    executor: Executor,
    delivered: Mapping[str, Delivered],
    look: Callable[[BlobKey], str],
    differ: Callable[[Copy, ImageManifest], list[str]],
    problems: dict[BlobKey, str],
) -> Iterator[Verified]:
    """Compare some tags; `problems` of blobs are looked for once, and added."""
    found, failed = answers(executor, partial(_found, blobs), [copy.target for copy in wanted])
    keys = {key for there in found.values() for key in _blobs(there)} - problems.keys()
    broken, unread = answers(executor, look, keys)
    problems |= {**broken, **{key: str(failure) for key, failure in unread.items()}}
    compared = {copy.target: copy for copy in wanted if copy.target in found and found[copy.target].manifests}
    different, incomparable = answers(executor, lambda tag: differ(compared[tag], found[tag].manifests[0]), compared)
    for copy in wanted:
        if copy.target in failed or copy.target in incomparable:
            failure = failed.get(copy.target) or incomparable[copy.target]
            yield Verified(copy, Verdict.UNKNOWN, str(failure), failure=failure.kind)
        elif copy.target not in compared:
            yield Verified(copy, Verdict.MISSING, "the target has no such tag")
        else:
            there = found[copy.target]
            lost = [f"its part {child} is missing" for child in there.lost]
            damage = [*lost, *(problems[k] for k in _blobs(there) if problems[k])]
            ours = delivered.get(str(copy.target), {})
            yield _verified(copy, there.manifests[0].digest, different[copy.target], damage, ours)


def _verified(copy: Copy, digest: str, different: list[str], damage: list[str], ours: Delivered) -> Verified:
    """The verdict on what stands under a tag: how it differs from what is wanted, and what of it is broken."""
    words = "; ".join([*different, *damage])
    if not words:
        return Verified(copy, Verdict.EQUAL, "", digest)
    is_conflict = different and digest not in ours and copy.options.on_conflict != "overwrite"
    if is_conflict and copy.options.on_conflict == "skip":
        return Verified(copy, Verdict.KEPT, f"left as it is (onConflict: skip): {words}", digest)
    return Verified(copy, Verdict.DIFFERENT, words, digest, FailureClass.CONFLICT if is_conflict else None)


@dataclass(frozen=True)
class _There:
    """What stands under a target tag: its manifest and, of an index, the children; and the children that are lost."""

    repository: Repository
    manifests: tuple[ImageManifest, ...] = ()
    lost: tuple[str, ...] = ()


def _found(target: Registry, tag: Reference) -> _There:
    """Ask by the tag, and for each child in this very repository: another one having it proves nothing."""
    repository = tag.repository
    top = _manifest(target, repository, tag.tag)
    if top is None:
        return _There(repository)
    children = {child.digest: _manifest(target, repository, child.digest) for child in top.children}
    lost = tuple(digest[:19] for digest, manifest in children.items() if manifest is None)
    return _There(repository, (top, *(manifest for manifest in children.values() if manifest)), lost)


def _manifest(target: Registry, repository: Repository, identifier: str) -> ImageManifest | None:
    try:
        return target.manifest(repository.path, identifier)
    except RegistryError as error:
        if error.failure.kind is FailureClass.NOT_FOUND:
            return None
        raise


def _blobs(there: _There) -> list[BlobKey]:
    return [(there.repository, blob) for manifest in there.manifests for blob in manifest.blobs]


def _blob_problem(target: Registry, key: BlobKey, *, deep: bool) -> str:
    """What is wrong with a blob at the target, in words; empty where nothing is."""
    repository, blob = key
    if deep:
        try:
            target.check_blob(repository.path, blob.digest)
        except RegistryError as error:
            return f"blob {blob.digest[:19]}: {error.failure}"
        return ""
    size = target.blob_size(repository.path, blob.digest)
    if size is None:
        return f"blob {blob.digest[:19]} is missing"
    if size >= 0 and blob.size >= 0 and size != blob.size:
        return f"blob {blob.digest[:19]} has {size} bytes and should have {blob.size}"
    return ""


def _different(source: Lookups, target: Lookups, copy: Copy, found: ImageManifest) -> list[str]:
    assert copy.delivery
    ends = Place(source, copy.source.repository), Place(target, copy.target.repository)
    try:
        words = target_differences(copy.delivery, *ends, found)
    except RegistryError as error:
        if error.failure.kind not in (FailureClass.NOT_FOUND, FailureClass.BLOB_UNKNOWN):
            raise
        words = [f"{error.what} is missing"]
    if wrong := wrong_format(copy, found.media_type):
        words.append(wrong)
    return words


def in_streams(verified: Iterable[Verified], streams: StreamCatalog | None) -> Iterator[Verified]:
    """The same, with what the target's API says of each tag: pods pull what the image stream tag names.

    Args:
        verified: by the registry.
        streams: the target's image streams; None where its API is not known.
    """
    return (_in_stream(item, streams) if streams else item for item in verified)


def _in_stream(item: Verified, streams: StreamCatalog) -> Verified:
    target = item.copy.target
    if (
        item.verdict is not Verdict.EQUAL
        or streams.project(target.repository.registry, target.repository.project) is None
    ):
        return item
    tag = streams.tag(replace(target, digest=""))
    if tag is not None and tag.digest == item.target_digest:
        return item
    found = f"names {tag.digest or 'no image'}" if tag else "is not there"
    return replace(item, verdict=Verdict.DIFFERENT, words=f"the registry has it, but its image stream tag {found}")
