"""Wanted images to a plan: what to copy, link, skip, refuse, and why.

Asks through Lookups only; every decision is a pure function of the answers. The registries are the truth, the memory
of earlier runs only saves questions.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from migrate.images.actions import decide, mark_links, mark_nearly_there, repair
from migrate.images.compare import Place, target_differences, wrong_format
from migrate.images.content import docker_only_fields
from migrate.images.delivery import CannotDeliverError, Delivery, Method, deliver, wanted_children
from migrate.images.expand import expand, merge, refuse_clashes, tags_there
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest, Kind
from migrate.images.lookups import Lookups, answers
from migrate.images.plan import Action, Copy, Delivered, Plan
from migrate.images.registry import Found, RegistryError
from migrate.manifest import ImageOptions, ImageRequest
from migrate.quantities import format_size
from migrate.reference import Reference, Repository, valid_image_stream

_WORTH_A_LIST = 3
"""Tags of one repository that are looked at by asking for the list of all: it may have many more."""


@dataclass(frozen=True)
class Scope:
    """What a plan is made for, besides the entries.

    Attributes:
        target: host of the target registry.
        delivered: what earlier runs put under target tags, by `str(target)`.
        damaged: what `verify` last found wrong with target tags, by `str(target)`.
        held: digest of a blob -> target repositories (paths) that were seen to have it.
        project: only copies from or to this project (clashes with the others are seen all the same); empty for all.
        max_image_size: bytes that the target takes at most; 0 for no limit.
        size_limits: the same for single target projects.
        image_streams: whether the target is OpenShift's registry, whose repositories are image streams.
        aliases: whether image stream tags can be made at the target that follow others.
        link_max: bytes that an image may miss at the target and is still linked (`transfer.linkMaxMissing`).
    """

    target: str
    delivered: Mapping[str, Delivered] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, Collection[str]] = field(default_factory=dict)
    project: str = ""
    max_image_size: int = 0
    size_limits: Mapping[str, int] = field(default_factory=dict)
    image_streams: bool = False
    aliases: bool = False
    link_max: int = 0

    def limit(self, project: str) -> int:
        """Bytes that an image may have in a target project; 0 for no limit."""
        return min((size for size in (self.max_image_size, self.size_limits.get(project, 0)) if size), default=0)


def make_plan(requests: Sequence[ImageRequest], scope: Scope, look: Lookups, executor: Executor) -> Plan:
    """Everything the requests ask for, and what is to be done about each tag.

    Args:
        requests: the manifest's entries.
        scope: where to, and what is remembered.
        look: asks the registries.
        executor: many questions at a time go through it.
    """
    wanted, notes = resolve(requests, scope, look, executor)
    present, failed = _present([copy.target for copy in wanted if copy.action is Action.COPY], scope, look, executor)
    looked = [_refuse_unreadable(copy, failed) for copy in wanted]
    unsure = {copy.target: copy for copy in looked if _needs_comparison(copy, present, scope)}
    different, failed = answers(executor, lambda target: _compared(look, present, unsure[target]), unsure)
    looked = [_refuse_unreadable(copy, failed) for copy in looked]
    decided = [
        decide(copy, present[copy.target], scope.delivered.get(str(copy.target), {}), different.get(copy.target))
        if copy.action is Action.COPY
        else copy
        for copy in looked
    ]
    repaired = [repair(copy, scope.damaged.get(str(copy.target), "")) for copy in decided]
    plan = Plan(tuple(mark_links(repaired)), look.read, scope.held, tuple(notes))
    return mark_nearly_there(plan, scope.link_max)


# --- from entries to source images ------------------------------------------------------------------------------


def resolve(
    requests: Sequence[ImageRequest], scope: Scope, look: Lookups, executor: Executor
) -> tuple[list[Copy], list[str]]:
    """Every wanted tag with its source digest and delivery; COPY where it can be delivered, else REFUSED.

    The second list is what else is to be known, in words.
    """
    expanded, notes = expand(requests, scope.target, look, executor)
    everything = [_refuse_name(copy, scope) for copy in refuse_clashes(merge(expanded))]
    wanted = [copy for copy in everything if not scope.project or scope.project in _projects(copy)]
    sources = {copy.source: str(copy.target) in scope.delivered for copy in wanted if copy.action is Action.COPY}
    found, failed = answers(executor, lambda source: _find_source(look, source, seen=sources[source]), sources)
    failed |= _other_tags(look, failed, executor)
    named = [_with_digest(copy, found, failed) for copy in wanted]
    elsewhere = {copy.target: copy for copy in named if _is_external(look, copy)}
    located, _ = answers(executor, lambda target: _located(look, elsewhere[target]), elsewhere)
    named = [located.get(copy.target, copy) for copy in named]
    manifests, unreadable = _read_manifests(named, look, executor)
    delivered = [_with_delivery(copy, manifests, unreadable, scope) for copy in named]
    losing = {copy.target: copy for copy in delivered if copy.delivery and copy.delivery.method is not Method.CARRY}
    losses, _ = answers(executor, lambda target: _losses(look, losing[target]), losing)
    complete = [replace(copy, warnings=(*copy.warnings, *losses.get(copy.target, ()))) for copy in delivered]
    return mark_aliases(complete, look, scope), notes


def _projects(copy: Copy) -> set[str]:
    return {copy.source.repository.project, copy.target.repository.project}


def _refuse_name(copy: Copy, scope: Scope) -> Copy:
    """A name that no image stream can have: the registry would take every byte and then fail."""
    path = copy.target.repository.path
    if copy.action is not Action.COPY or not scope.image_streams or valid_image_stream(path):
        return copy
    words = f"{path} can be no image stream: <project>/<name> is needed, of a-z 0-9 with single . _ - between; use `to`"
    return copy.refused(Failure(FailureClass.UNSUPPORTED, words))


def _find_source(look: Lookups, source: Reference, *, seen: bool) -> Found:
    """The digest of now. A source that is named by digest is known, but whether it is there is asked too."""
    found = look.find(source) if seen else look.find_and_read(source)
    if found is None:
        raise RegistryError(str(source), Failure(FailureClass.NOT_FOUND, ""))
    return found


def _other_tags(look: Lookups, failed: Mapping[Reference, Failure], executor: Executor) -> dict[Reference, Failure]:
    """The tags that are not there, with those that their repositories have."""
    missing = [source for source, why in failed.items() if why.kind is FailureClass.NOT_FOUND and source.tag]
    lists, _ = answers(executor, look.tags_or_none, (source.repository for source in missing))
    named = {source: names for source in missing if (names := lists.get(source.repository))}
    return {
        source: Failure(FailureClass.NOT_FOUND, tags_there(source.repository.path, names))
        for source, names in named.items()
    }


def _with_digest(copy: Copy, found: Mapping[Reference, Found], failed: Mapping[Reference, Failure]) -> Copy:
    if copy.action is not Action.COPY:
        return copy
    if copy.source in failed:
        return copy.refused(failed[copy.source])
    answer = found[copy.source]
    digest = copy.source.digest or answer.digest
    return replace(copy, source=copy.source.with_digest(digest), media_type=answer.media_type)


def _is_external(look: Lookups, copy: Copy) -> bool:
    tag = look.stream_tag(_asked(copy)) if copy.action is Action.COPY else None
    return tag is not None and tag.upstream is not None


def _asked(copy: Copy) -> Reference:
    """The source tag as it was asked for."""
    return replace(copy.source, digest="")


def _located(look: Lookups, copy: Copy) -> Copy:
    """An image that its stream only points at: read through the old registry while that gives it, else from there."""
    tag = look.stream_tag(_asked(copy))
    assert tag
    assert tag.upstream
    if look.readable(copy.source):
        words = f"kept at {tag.upstream.repository}, and read through the old registry"
        return replace(copy, warnings=(*copy.warnings, words))
    words = f"kept at {tag.upstream.repository}, and read from there: the old registry does not give it"
    return replace(copy, source=tag.upstream, warnings=(*copy.warnings, words))


def mark_aliases(copies: Sequence[Copy], look: Lookups, scope: Scope) -> list[Copy]:
    """Tags that follow another tag follow it at the target again, where that one goes there too."""
    targets = {_asked(copy): copy for copy in copies if copy.source.tag}
    return _without_cycles([_with_alias(copy, look, targets, scope) for copy in copies])


def _without_cycles(copies: Sequence[Copy]) -> list[Copy]:
    """Tags that follow each other in a circle: the first one becomes a tag of its own, and the others follow it."""
    follows = {copy.target: copy.alias for copy in copies if copy.alias}
    found = []
    for copy in copies:
        seen, at = {copy.target}, follows.get(copy.target)
        while at is not None and at not in seen:
            seen.add(at)
            at = follows.get(at)
        if copy.alias and at == copy.target:
            del follows[copy.target]
            words = f"it followed {copy.alias.short}, which follows it; here a tag of its own"
            copy = replace(copy, alias=None, warnings=(*copy.warnings, words))
        found.append(copy)
    return found


def _with_alias(copy: Copy, look: Lookups, targets: Mapping[Reference, Copy], scope: Scope) -> Copy:
    tag = look.stream_tag(_asked(copy)) if copy.action is Action.COPY else None
    if tag is None or tag.follows is None:
        return copy
    project, stream, name = tag.follows
    followed = Repository(copy.source.repository.registry, f"{project}/{stream}").tagged(name)
    now = look.stream_tag(followed)
    if now is not None and now.digest != tag.digest:
        return copy  # something else was pushed over the alias: it is a tag of its own by now
    base = targets.get(followed)
    if base is None:
        why = f"{followed.short} is not moved"
    elif not scope.aliases:
        why = "the target's API is not in reach"
    elif _top(copy) != _top(base) and _top(copy) and _top(base):
        why = f"{followed.short} is converted in another way"
    else:
        return replace(copy, alias=base.target)
    return replace(copy, warnings=(*copy.warnings, f"it followed {followed.short}; here a tag of its own, for {why}"))


def _top(copy: Copy) -> str:
    """The digest that is to stand at the target; empty where it is not known."""
    return copy.delivery.top.digest if copy.delivery and copy.delivery.top else ""


def _read_manifests(
    copies: Sequence[Copy], look: Lookups, executor: Executor
) -> tuple[dict[str, ImageManifest], dict[str, Failure]]:
    """Each distinct source manifest once, wanted children of indexes included, by digest."""
    holders = {copy.source.digest: copy.source.repository for copy in copies if copy.action is Action.COPY}
    manifests, failed = _by_digest(look, executor, holders)
    children: dict[str, Repository] = {}
    for copy in copies:
        manifest = manifests.get(copy.source.digest)
        if manifest is not None and manifest.kind is Kind.INDEX and copy.action is Action.COPY:
            children.update(dict.fromkeys(_child_digests(manifest, copy.options), copy.source.repository))
    more, more_failed = _by_digest(look, executor, children)
    return {**manifests, **more}, {**failed, **more_failed}


def _by_digest(
    look: Lookups, executor: Executor, holders: Mapping[str, Repository]
) -> tuple[dict[str, ImageManifest], dict[str, Failure]]:
    return answers(executor, lambda digest: look.manifest(holders[digest], digest), holders)


def _child_digests(index: ImageManifest, options: ImageOptions) -> list[str]:
    try:
        return [child.digest for child in wanted_children(index, options.platforms)]
    except CannotDeliverError:
        return []


def _with_delivery(
    copy: Copy, manifests: Mapping[str, ImageManifest], failed: Mapping[str, Failure], scope: Scope
) -> Copy:
    if copy.action is not Action.COPY:
        return copy
    digest = copy.source.digest
    if digest in failed:
        where = f"the source image cannot be read from {copy.source.repository.registry}"
        return copy.refused(replace(failed[digest], words=f"{where}: {failed[digest].words}"))
    manifest = manifests[digest]
    copy = replace(copy, media_type=manifest.media_type)
    needed = _child_digests(manifest, copy.options) if manifest.kind is Kind.INDEX else []
    broken = next((failed[child] for child in needed if child in failed), None)
    if broken:
        return copy.refused(replace(broken, words=f"a part of the manifest list: {broken.words}"))
    try:
        delivery = deliver(manifest, manifests, copy.options)
    except CannotDeliverError as error:
        return copy.refused(Failure(FailureClass.UNSUPPORTED, str(error)))
    copy = replace(copy, delivery=delivery, warnings=(*copy.warnings, *_changes(manifest, delivery)))
    limit = scope.limit(copy.target.repository.project)
    if limit and delivery.size > limit:
        sizes = f"{format_size(delivery.size)}, and the target takes {format_size(limit)} at most"
        return copy.refused(Failure(FailureClass.TOO_LARGE, sizes))
    return copy


def _changes(manifest: ImageManifest, delivery: Delivery) -> tuple[str, ...]:
    """What of an image does not arrive, as far as its manifests tell."""
    found = []
    if manifest.kind is Kind.INDEX and not delivery.is_index:
        found.append(f"the list becomes a single image{_platform_of(manifest, delivery)}")
    if delivery.left_out:
        found.append(f"left out of the list: {', '.join(delivery.left_out)}")
    pairs = [(part.source, part.target) for part in delivery.parts if delivery.method is Method.CARRY]
    if delivery.is_index and delivery.top is not None:
        pairs.append((manifest, delivery.top))
    if any(_annotated(before) and not _annotated(after) for before, after in pairs):
        found.append("Docker's format has no place for annotations: they are left out")
    if any(layer.is_foreign for part in delivery.parts for layer in part.source.layers):
        found.append("some layers are kept elsewhere by their makers (foreign layers): only their addresses are copied")
    return tuple(found)


def _platform_of(index: ImageManifest, delivery: Delivery) -> str:
    taken = delivery.parts[0].source.digest
    platform = next((child.platform for child in index.children if child.digest == taken), "")
    return f" ({platform})" if platform else ""


def _annotated(manifest: ImageManifest) -> bool:
    return bool(manifest.document.get("annotations"))


def _losses(look: Lookups, copy: Copy) -> tuple[str, ...]:
    """What the conversion of the config drops of this image: skopeo's own, and ours of schema 1, which equals it."""
    assert copy.delivery
    lost: set[str] = set()
    for part in copy.delivery.parts:
        if copy.options.format == "oci":
            lost.update(docker_only_fields(part.source, look.config(copy.source.repository, part.source)))
    whose = "skopeo's conversion" if copy.delivery.method is Method.SKOPEO else "the conversion of Docker schema 1"
    return (f"{whose} drops {', '.join(sorted(lost))}",) if lost else ()


# --- from source images to actions ------------------------------------------------------------------------------


def _present(
    targets: Sequence[Reference], scope: Scope, look: Lookups, executor: Executor
) -> tuple[dict[Reference, Found | None], dict[Reference, Failure]]:
    """What stands under each target tag, None for nothing.

    A repository of which nothing is known is asked for its tags, once; then only those are looked at that it has. One
    that leaves some out of its list harms nothing: before a tag is put it is looked at again.
    """
    unknown: dict[Repository, list[Reference]] = defaultdict(list)
    for target in targets:
        if str(target) not in scope.delivered:
            unknown[target.repository].append(target)
    several = [repository for repository, tags in unknown.items() if len(tags) >= _WORTH_A_LIST]
    lists, unlisted = answers(executor, look.tags, several)
    lists |= {repository: [] for repository, why in unlisted.items() if why.kind is FailureClass.NOT_FOUND}
    tags = {repository: set(names) for repository, names in lists.items()}
    absent = {each for repository in tags for each in unknown[repository] if each.tag not in tags[repository]}
    present, failed = answers(executor, look.find, [target for target in targets if target not in absent])
    return {**present, **dict.fromkeys(absent)}, failed


def _refuse_unreadable(copy: Copy, failed: Mapping[Reference, Failure]) -> Copy:
    if copy.action is Action.COPY and copy.target in failed:
        failure = failed[copy.target]
        words = f"the target tag cannot be looked up: {failure.words}"
        return replace(copy.refused(replace(failure, words=words)), unseen=True)
    return copy


def _needs_comparison(copy: Copy, present: Mapping[Reference, Found | None], scope: Scope) -> bool:
    """Whether the target has something that digests alone do not tell to be what is wanted."""
    found = present.get(copy.target)
    if copy.action is not Action.COPY or found is None or copy.delivery is None:
        return False
    if copy.delivery.top is not None:
        return copy.delivery.top.digest != found.digest
    made_of = scope.delivered.get(str(copy.target), {}).get(found.digest)
    return made_of != copy.source.digest or bool(wrong_format(copy, found.media_type))


def _compared(look: Lookups, present: Mapping[Reference, Found | None], copy: Copy) -> tuple[str, ...]:
    found = present[copy.target]
    assert found and copy.delivery
    manifest = look.manifest(copy.target.repository, found.digest)
    ends = Place(look, copy.source.repository), Place(look, copy.target.repository)
    words = target_differences(copy.delivery, *ends, manifest)
    wrong = wrong_format(copy, manifest.media_type)
    return (*words, *([wrong] if wrong else []))
