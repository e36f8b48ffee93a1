"""What has changed at the source since an earlier run, and what the target has that the source no longer has."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

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
        gone: tags that are no longer wanted: the source does not have them any more, or the manifest does not ask.
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
    wanted, unread = _wanted(plan), _unread(plan)
    looked_at = {_projects(copy) for copy in plan.copies}
    gone = tuple(
        each
        for each in before.values()
        if each.target not in wanted
        and _projects(each) in looked_at
        and not any(_is_under(each.source.repository, place) for place in unread)
    )
    return Delta(new, moved, gone, len(known) - len(new) - len(moved))


def _wanted(plan: Plan) -> set[Reference]:
    """The target tags whose source is there, or may be."""
    return {copy.target for copy in plan.copies if copy.failure is not FailureClass.NOT_FOUND}


def _unread(plan: Plan) -> set[Repository]:
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


def leftovers(plan: Plan, seen: Sequence[Seen], look: Lookups, executor: Executor) -> tuple[list[Leftover], list[str]]:
    """The tags of the plan's target repositories that the source no longer has; and what could not be looked at.

    Args:
        plan: what is wanted now.
        seen: what runs before saw.
        look: asks the registries.
        executor: many questions at a time go through it.
    """
    origins = _origins(plan, seen)
    at_target, no_target = answers(executor, look.tags, origins)
    sources = {source for each in origins.values() for source in each}
    at_source, no_source = answers(executor, look.tags_or_none, sources)
    unlisted = {repository: failure for repository, failure in no_target.items() if not _is_gone(failure)} | no_source
    notes = [f"{repository}: {failure}" for repository, failure in unlisted.items()]
    wanted, ours, found = _wanted(plan), {each.target: each for each in seen}, []
    for repository, tags in at_target.items():
        if any(source in no_source for source in origins[repository]):
            continue
        for target in (repository.tagged(tag) for tag in tags):
            why = "" if target in wanted else _why(target, ours.get(target), origins[repository], at_source)
            if why:
                found.append(Leftover(target, why, target in ours and ours[target].arrived))
    return found, notes


def _origins(plan: Plan, seen: Iterable[Seen]) -> dict[Repository, set[Repository]]:
    """Target repository -> the source repositories whose tags go, or went, there."""
    found: dict[Repository, set[Repository]] = defaultdict(set)
    looked_at = {_projects(copy) for copy in plan.copies}
    everything: list[Copy | Seen] = [*plan.copies, *seen]
    for each in everything:
        if each.target.tag and _projects(each) in looked_at:
            found[each.target.repository].add(each.source.repository)
    return dict(found)


def _why(
    target: Reference,
    seen: Seen | None,
    sources: Iterable[Repository],
    at_source: Mapping[Repository, Sequence[str] | None],
) -> str:
    """Why a tag is one that the source no longer has; empty where it has it, or that is not known."""
    if seen is not None:
        if not seen.source.tag:
            return ""  # by digest: what nobody asks for any more may well be there
        names = at_source.get(seen.source.repository)
        return "" if names and seen.source.tag in names else f"{seen.source.short} is gone"
    if any(target.tag in (at_source.get(source) or ()) for source in sources):
        return ""
    return f"{', '.join(sorted(source.path for source in sources))} has no tag {target.tag}"


def _is_gone(failure: Failure) -> bool:
    return failure.kind is FailureClass.NOT_FOUND
