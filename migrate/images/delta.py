"""What has changed at the source since an earlier run, and what the target has that the source no longer has."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from migrate.images.failures import Failure, FailureClass
from migrate.images.lookups import Lookups, answers
from migrate.images.plan import Action, Copy, Plan
from migrate.reference import Reference, Repository


@dataclass(frozen=True, slots=True)
class Seen:
    """A tag as the runs before saw it.

    Attributes:
        source: where it came from.
        target: where it went.
        digest: of the source, as it was seen last; empty where it could not be read.
        arrived: whether this tool has put it there.
        wanted: whether the last run that looked at its projects wanted it.
    """

    source: Reference
    target: Reference
    digest: str
    arrived: bool
    wanted: bool


@dataclass(frozen=True)
class Delta:
    """What has changed at the source since the last run.

    Attributes:
        new: tags that it did not see.
        moved: tags that name another image now, each with the digest that it saw.
        gone: tags that are no longer wanted; after `confirmed` those that the source does not have any more.
        unchanged: how many are as they were.
    """

    new: tuple[Copy, ...] = ()
    moved: tuple[tuple[Copy, str], ...] = ()
    gone: tuple[Seen, ...] = ()
    unchanged: int = 0


def delta(plan: Plan, seen: Iterable[Seen]) -> Delta:
    """What of a plan the last run did not see so. Pure.

    A tag that cannot be read now is neither: nobody knows what it names.
    """
    before = {each.target: each for each in seen if each.wanted and each.digest}
    known = [copy for copy in plan.copies if copy.source.digest and copy.target.tag]
    new = tuple(copy for copy in known if copy.target not in before)
    moved = tuple(
        (copy, before[copy.target].digest)
        for copy in known
        if copy.target in before and before[copy.target].digest != copy.source.digest
    )
    wanted, places = _wanted(plan), unread(plan)
    looked_at = {_projects(copy) for copy in plan.copies}
    gone = tuple(
        each
        for each in before.values()
        if each.target not in wanted
        and _projects(each) in looked_at
        and not any(_is_under(each.source.repository, place) for place in places)
    )
    return Delta(new, moved, gone, len(known) - len(new) - len(moved))


def confirmed(found: Delta, plan: Plan, look: Lookups, executor: Executor) -> Delta:
    """The same, where of what is gone only that is left which the source says it does not have.

    A tag may also be asked for no more, under another name, or of a registry that the manifest names no more.
    """
    registries = {copy.source.repository.registry for copy in plan.copies}
    asked = [each.source for each in found.gone if each.source.repository.registry in registries]
    there, _ = answers(executor, look.find, asked)
    return replace(found, gone=tuple(each for each in found.gone if there.get(each.source, each) is None))


def _wanted(plan: Plan) -> set[Reference]:
    """The target tags whose source is there, or may be."""
    return {c.target for c in plan.copies if c.source.digest or c.failure is not FailureClass.NOT_FOUND}


def unread(plan: Plan) -> set[Repository]:
    """The source repositories, and projects, whose tags could not be listed."""
    return {
        copy.source.repository
        for copy in plan.copies
        if copy.action is Action.REFUSED and not copy.target.tag and copy.failure is not FailureClass.NOT_FOUND
    }


def _projects(each: Copy | Seen) -> tuple[str, str]:
    return each.source.repository.project, each.target.repository.project


def _is_under(repository: Repository, place: Repository) -> bool:
    """Whether a repository is another one, or is in the project that this names."""
    inside = repository.path == place.path or repository.path.startswith(f"{place.path}/")
    return inside and repository.registry == place.registry


@dataclass(frozen=True)
class Leftover:
    """A target tag whose source does not have it any more.

    Attributes:
        target: the tag.
        why: what the source no longer has, in words.
        ours: whether this tool has put it there, as far as the state knows.
    """

    target: Reference
    why: str
    ours: bool


def leftovers(
    plan: Plan, whole: Plan, seen: Sequence[Seen], look: Lookups, executor: Executor
) -> tuple[list[Leftover], list[str]]:
    """The tags of the plan's target repositories that the source no longer has; and what could not be looked at.

    Args:
        plan: says which target repositories are looked at.
        whole: everything that is wanted in these, by other projects too.
        seen: what runs before saw.
        look: asks the registries.
        executor: many questions at a time go through it.
    """
    origins = _origins(plan, whole, seen)
    at_target, no_target = answers(executor, look.tags, origins)
    sources = {source for each in origins.values() for source in each}
    at_source, no_source = answers(executor, look.tags_or_none, sources)
    unlisted = {repository: failure for repository, failure in no_target.items() if not _is_gone(failure)} | no_source
    notes = [f"{repository}: {failure}" for repository, failure in unlisted.items()]
    wanted, before = _wanted(whole), {each.target: each for each in seen}
    tags = (repository.tagged(tag) for repository, names in at_target.items() for tag in names)
    reasons = {
        target: _why(target, before.get(target), origins[target.repository], at_source)
        for target in tags
        if target not in wanted
    }
    ours = {each.target for each in seen if each.arrived}
    return [Leftover(target, why, target in ours) for target, why in reasons.items() if why], notes


def _origins(plan: Plan, whole: Plan, seen: Sequence[Seen]) -> dict[Repository, set[Repository]]:
    """Target repository -> the source repositories whose tags go, or went, there."""
    looked_at = {_projects(copy) for copy in plan.copies}
    mine: list[Copy | Seen] = [*plan.copies, *(each for each in seen if _projects(each) in looked_at)]
    found: dict[Repository, set[Repository]] = {each.target.repository: set() for each in mine if each.target.tag}
    everything: list[Copy | Seen] = [*whole.copies, *seen]
    for each in everything:
        if each.target.repository in found:
            found[each.target.repository].add(each.source.repository)
    return found


def _why(
    target: Reference,
    seen: Seen | None,
    sources: Iterable[Repository],
    at_source: Mapping[Repository, Sequence[str] | None],
) -> str:
    """Why a tag is one that the source no longer has; empty where it has it, or that is not known."""
    if seen is not None and seen.source.repository in at_source:
        if not seen.source.tag:
            return ""  # by digest: what nobody asks for any more may well be there
        return "" if seen.source.tag in (at_source[seen.source.repository] or ()) else f"{seen.source.short} is gone"
    if any(source not in at_source or target.tag in (at_source[source] or ()) for source in sources):
        return ""
    return f"{', '.join(sorted(source.path for source in sources))} has no tag {target.tag}"


def _is_gone(failure: Failure) -> bool:
    return failure.kind is FailureClass.NOT_FOUND
