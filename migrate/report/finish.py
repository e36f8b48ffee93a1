"""The final step for workloads as lines and as documents."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrate.kinds import CLAIM
from migrate.quantities import FEW, count
from migrate.report.elsewhere import Pointer, pointer_document
from migrate.workloads.apply import Planned, Standing
from migrate.workloads.findings import Finding
from migrate.workloads.objects import Found
from migrate.workloads.rollout import Progress, Rollout

_WORDS = {
    Standing.NEW: "new",
    Standing.CHANGES: "changes",
    Standing.SAME: "unchanged",
    Standing.THERE: "is there",
    Standing.WAITS: "waits",
    Standing.CONFLICT: "conflict",
    Standing.REFUSED: "refused",
}
_NEEDS = (Standing.WAITS, Standing.CONFLICT, Standing.REFUSED)


@dataclass
class WorkloadPlan:
    """What the final step would do for one entry of `workloads`.

    `data_copied` is as its options say; `findings` are those of its rewrite, None where it was not rewritten this time.
    """

    folder: str
    project: str
    found: Found
    planned: list[Planned] = field(default_factory=list)
    elsewhere: list[Pointer] = field(default_factory=list)
    data_copied: bool = False
    findings: Sequence[Finding] | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the server refused something when it tried: nothing is applied then."""
        return bool(self.found.troubles) or any(each.standing is Standing.REFUSED for each in self.planned)

    @property
    def empty_claims(self) -> list[str]:
        """The claims whose data nobody has said to be there."""
        claims = [each.item.name for each in self.planned if each.item.kind == CLAIM]
        return [] if self.data_copied else claims

    @property
    def needs_attention(self) -> bool:
        """Whether something is left that a person must deal with."""
        return self.is_refused or any(each.standing in _NEEDS for each in self.planned)


def plans_lines(plans: Sequence[WorkloadPlan], shorten: str = "") -> Iterator[str]:
    """What would be written; in the middle of other things `shorten` is the command that shows all of many."""
    if not shorten or len(plans) <= FEW:
        for number, plan in enumerate(plans):
            yield from [""] if number else []
            yield from _plan_lines(plan)
        return
    for plan in plans:
        if plan.needs_attention:
            yield from _plan_lines(plan)
    yield f"Workloads for {count(len(plans), 'project')}: {_counted(each for p in plans for each in p.planned)}"
    yield f"  -> each of them: {shorten}"


def _counted(planned: Iterable[Planned]) -> str:
    counts = Counter(each.standing for each in planned)
    parts = [f"{counts[standing]:,} {_WORDS[standing]}" for standing in Standing if counts[standing]]
    return ", ".join(parts) or "nothing"


def _plan_lines(plan: WorkloadPlan) -> Iterator[str]:
    """What would be written, and what not and why."""
    yield f"Workloads for project {plan.project}, from {plan.folder}: {_counted(plan.planned)}"
    for each in plan.planned:
        if each.standing is Standing.THERE or (each.standing is Standing.SAME and not each.words):
            continue
        place = f" ({each.item.place})" if each.standing in _NEEDS else ""
        yield f"  {_WORDS[each.standing]:<9} {each.item.label}{place}"
        if each.words:
            yield f"            -> {each.words}"
    for trouble in plan.found.troubles:
        yield f"  refused   {trouble}"
    if plan.found.passed_over:
        yield f"  {count(len(plan.found.passed_over), 'file')} without objects: not applied"


def plan_document(plan: WorkloadPlan) -> dict[str, Any]:
    """One entry of `workloads` in JSON."""
    return {
        "folder": plan.folder,
        "project": plan.project,
        "objects": [_object_document(each) for each in plan.planned],
        "troubles": plan.found.troubles,
        "elsewhere": [pointer_document(each) for each in plan.elsewhere],
    }


def _object_document(each: Planned) -> dict[str, Any]:
    words = each.words or None
    return {"object": each.item.label, "place": each.item.place, "standing": str(each.standing), "words": words}


def rollout_lines(rollouts: Sequence[Rollout]) -> Iterator[str]:
    """How far each workload is."""
    for each in rollouts:
        yield f"  {each.progress:<8} {each.label}: {each.words}" if each.words else f"  {each.progress:<8} {each.label}"


def rollout_summary(rollouts: Sequence[Rollout]) -> str:
    """One line."""
    counts = Counter(each.progress for each in rollouts)
    parts = [f"{counts[progress]} {progress}" for progress in Progress if counts[progress]]
    return f"{count(len(rollouts), 'workload')}: {', '.join(parts)}"
