"""What is left before the traffic can move to the target: a list to tick off, from what a run has seen. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.access.plan import ProjectPlan
from migrate.access.plan import Standing as GrantStanding
from migrate.images.verdicts import FINE, Verdict
from migrate.images.verify import Verification
from migrate.quantities import count
from migrate.report.finish import WorkloadPlan
from migrate.workloads.apply import Standing

_NAMED = 3


@dataclass(frozen=True)
class Item:
    """One line of the list.

    Attributes:
        topic: images, source, access, workloads, data or elsewhere.
        is_done: whether nothing is left of it.
        words: how things are.
        todo: what to type or to do; empty where nothing is.
    """

    topic: str
    is_done: bool
    words: str
    todo: str = ""


@dataclass(frozen=True)
class Commands:
    """What to type for what is left."""

    run: str
    rewrite: str
    apply: str


def cutover(
    found: Verification,
    moved: int,
    access: Sequence[ProjectPlan] | None,
    workloads: Sequence[WorkloadPlan] | None,
    commands: Commands,
    unseen: str = "",
) -> list[Item]:
    """The list.

    Args:
        found: what the verification saw of every wanted tag.
        moved: source tags that named something else at the end of the run than at its beginning.
        access: what the target's projects grant now; None where the manifest asks for nothing.
        workloads: how the objects stand at the target now; None where the manifest has none.
        commands: what to type.
        unseen: what to do so that workloads can be looked at; empty where they could be, or there are none.
    """
    items = [_images(found, commands)]
    if moved:
        words = f"{count(moved, 'tag')} moved while this ran"
        items.append(Item("source", False, words, commands.run))
    if access is not None:
        items.append(_access(access, commands))
    if unseen:
        items.append(Item("workloads", False, "not looked at: no API of the target is named", unseen))
    if workloads is not None:
        items.append(_workloads(workloads, commands))
        items += _data([name for each in workloads for name in each.empty_claims], commands)
        places = sum(len(each.elsewhere) for each in workloads)
        words = f"{count(places, 'thing')} to change by hand: see the list above"
        items.append(Item("elsewhere", False, words) if places else Item("elsewhere", True, "nothing else was found"))
    return items


def _images(found: Verification, commands: Commands) -> Item:
    fine, kept = sum(found.count(verdict) for verdict in FINE), found.count(Verdict.KEPT)
    if not found.tags and not found.refused:
        return Item("images", True, "the manifest names none")
    if fine == len(found.tags) and not found.refused:
        words = f"{count(fine - kept, 'tag')} at the target {'is' if fine - kept == 1 else 'are'} what the source has"
        return Item(
            "images", True, f"{words}{f'; {kept:,} left with other content (onConflict: skip)' if kept else ''}"
        )
    parts = [
        f"{found.count(verdict):,} {verdict}" for verdict in Verdict if verdict not in FINE and found.count(verdict)
    ]
    parts += [f"{len(found.refused):,} refused"] if found.refused else []
    return Item("images", False, f"{', '.join(parts)}, {fine:,} in order", f"see above; then {commands.run}")


def _access(plans: Sequence[ProjectPlan], commands: Commands) -> Item:
    standings = Counter(grant.standing for plan in plans for grant in plan.grants)
    broken = sum(bool(plan.problem) or plan.incomplete for plan in plans)
    parts = [f"{count(standings[GrantStanding.ADD], 'grant')} not applied yet"] if standings[GrantStanding.ADD] else []
    parts += [f"{standings[GrantStanding.REFUSED]:,} refused"] if standings[GrantStanding.REFUSED] else []
    parts += [f"{count(broken, 'project')} not known"] if broken else []
    if parts:
        return Item("access", False, ", ".join(parts), commands.apply if standings[GrantStanding.ADD] else "see above")
    return Item("access", True, f"{count(standings[GrantStanding.THERE], 'grant')} in force")


def _workloads(plans: Sequence[WorkloadPlan], commands: Commands) -> Item:
    counts = Counter(each.standing for plan in plans for each in plan.planned)
    open_ones = counts[Standing.NEW] + counts[Standing.CHANGES]
    troubles = counts[Standing.REFUSED] + sum(len(plan.found.troubles) for plan in plans)
    parts = [f"{count(open_ones, 'object')} not applied yet"] if open_ones else []
    parts += [f"{counts[Standing.WAITS]:,} wait for their images"] if counts[Standing.WAITS] else []
    parts += [f"{counts[Standing.CONFLICT]:,} in conflict"] if counts[Standing.CONFLICT] else []
    parts += [f"{troubles:,} refused"] if troubles else []
    if parts:
        return Item("workloads", False, ", ".join(parts), commands.apply if open_ones else "see above")
    there = counts[Standing.SAME] + counts[Standing.THERE]
    return Item("workloads", True, f"{count(there, 'object')} as they should be")


def _data(claims: Sequence[str], commands: Commands) -> Iterator[Item]:
    if claims:
        words = f"{count(len(claims), 'claim')} to fill by you: {', '.join(claims[:_NAMED])}"
        words += " ..." if len(claims) > _NAMED else ""
        yield Item("data", False, words, f"{commands.rewrite} says how; then `dataCopied: true` under `options`")


def cutover_lines(items: Sequence[Item]) -> Iterator[str]:
    """The list for people."""
    yield "Before the cutover:"
    for each in items:
        yield f"  [{'x' if each.is_done else ' '}] {each.topic:<10} {each.words}"
        if each.todo:
            yield f"                 -> {each.todo}"
    if all(each.is_done for each in items):
        if any(each.topic == "workloads" for each in items):
            yield "Stop what writes at the source, run this again (it copies what has changed), then move the traffic."
        else:
            yield "What is pushed to the source from now on is copied when you run this again."


def cutover_document(items: Sequence[Item]) -> dict[str, Any]:
    """The list in JSON."""
    return {
        "items": [
            {"topic": each.topic, "done": each.is_done, "words": each.words, "todo": each.todo or None}
            for each in items
        ]
    }
