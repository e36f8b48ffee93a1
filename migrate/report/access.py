"""Who may pull: plans, what was applied or taken back, and proofs, as lines and as JSON documents. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from migrate.access.plan import Change, PlannedGrant, ProjectPlan, Standing
from migrate.access.prove import Proof
from migrate.access.rights import pulls_of_rules
from migrate.access.subjects import Subject, subjects_of
from migrate.access.write import Applied, Undo
from migrate.kinds import ROLE
from migrate.quantities import FEW, count
from migrate.report.documents import VERSION

_SIGNS = {Standing.THERE: "=", Standing.ADD: "+", Standing.REFUSED: "!"}


def access_plan_lines(plans: Sequence[ProjectPlan], shorten: str = "") -> list[str]:
    """What `access plan` prints; in the middle of other things `shorten` is the command that shows all of many."""
    if shorten and len(plans) > FEW:
        return [*trouble_lines(plans), access_summary(plans), f"  -> each of them: {shorten}"]
    lines: list[str] = []
    for plan in plans:
        lines += [*_project_lines(plan), ""]
    return [*lines, access_summary(plans)]


def _project_lines(plan: ProjectPlan) -> Iterator[str]:
    known = "" if plan.streams is None else f" ({count(plan.streams, 'image stream')})"
    yield f"{plan.project}{known}"
    if plan.problem:
        yield f"  ! {plan.problem}"
        if plan.advice:
            yield f"      -> {plan.advice}"
    for each in plan.grants:
        yield f"  {_SIGNS[each.standing]} {_words(each)}"
        yield f"      {_where(each)}"
    for note in plan.notes:
        yield f"  note: {note}"
    for change in plan.changes:
        yield from _change_lines(change)


def _words(planned: PlannedGrant) -> str:
    if planned.standing is Standing.REFUSED:
        return f"{planned.grant.subject}: {planned.words}"
    return planned.words


def _where(planned: PlannedGrant) -> str:
    grant = planned.grant
    what = grant.role or f"pulling {', '.join(grant.images)}"
    binding = f", {'by' if planned.standing is Standing.THERE else 'in'} RoleBinding {planned.binding}"
    there = "there already: " if planned.standing is Standing.THERE else ""
    return f"{there}{grant.subject}, {what}{binding if planned.binding else ''} ({grant.why})"


def _change_lines(change: Change) -> Iterator[str]:
    """A diff of the subjects; of a Role, what it lets be pulled."""
    yield f"  {'change' if change.before else 'make'} {change.kind.name} {change.name}"
    if change.kind is ROLE:
        yield from _role_lines(change)
        return
    before = subjects_of(dict(change.before or {}), change.project)
    for subject in subjects_of(dict(change.after), change.project):
        yield f"      {' ' if subject in before else '+'} {subject}"


def _role_lines(change: Change) -> Iterator[str]:
    """What a Role of ours lets be pulled; where somebody changed it, what that takes away again."""
    names = {name for rule in change.after.get("rules", ()) for name in rule["resourceNames"]}
    before = pulls_of_rules((change.before or {}).get("rules") or ())
    for name in sorted(before.images - names):
        yield f"      - pull {name}"
    if before.everything or before.more:
        yield "      - what else it allows"
    for name in sorted(names):
        yield f"      {' ' if name in before.images else '+'} pull {name}"


def access_summary(plans: Sequence[ProjectPlan]) -> str:
    """One line."""
    standings = Counter(grant.standing for plan in plans for grant in plan.grants)
    parts = [f"{count(standings[Standing.ADD], 'grant')} to add", f"{standings[Standing.THERE]} there already"]
    if standings[Standing.REFUSED]:
        parts.append(f"{standings[Standing.REFUSED]} refused")
    broken = sum(bool(plan.problem) for plan in plans)
    trouble = f"; {count(broken, 'project')} could not be looked at" if broken else ""
    return f"{count(len(plans), 'project')}: {', '.join(parts)}{trouble}"


def trouble_lines(plans: Sequence[ProjectPlan]) -> list[str]:
    """What could not be granted, or is not known, of each project that has such things."""
    lines: list[str] = []
    for plan in (each for each in plans if each.needs_attention):
        refused = tuple(each for each in plan.grants if each.standing is Standing.REFUSED)
        lines += [*_project_lines(replace(plan, grants=refused, changes=())), ""]
    return lines


def applied_summary(plans: Sequence[ProjectPlan], written: int, failed: int) -> str:
    """One line: what an apply did."""
    standings = Counter(grant.standing for plan in plans for grant in plan.grants)
    broken = sum(bool(plan.problem) for plan in plans)
    parts = [
        f"{count(written, 'object')} written" if written else "nothing written",
        f"{failed} failed" if failed else "",
        f"{count(standings[Standing.REFUSED], 'grant')} refused" if standings[Standing.REFUSED] else "",
        f"{count(broken, 'project')} could not be looked at" if broken else "",
        f"{count(standings[Standing.THERE], 'grant')} there already" if standings[Standing.THERE] else "",
    ]
    return f"{count(len(plans), 'project')}: {', '.join(filter(None, parts))}"


def written_lines(change: Change, problem: str, advice: str) -> list[str]:
    """One object that was written, or why it was not."""
    name = f"{change.kind.name} {change.project}/{change.name}"
    if problem:
        return [f"  FAILED {name}: {problem}", *([f"      -> {advice}"] if advice else [])]
    added = f": {', '.join(f'+ {subject}' for subject in change.added)}" if change.added else ""
    return [f"  {'changed' if change.before else 'made'} {name}{added}"]


def undo_line(undo: Undo, problem: str = "", *, dry_run: bool = False) -> str:
    """One object that was, or would be, taken back, and who loses it; or why it was not."""
    applied = undo.applied
    acts = undo.delete or undo.left is not None
    words = f"NOT taken back: {problem}" if problem else f"{'would be ' if dry_run and acts else ''}{undo.words}"
    lost = f" (- {', - '.join(map(str, sorted(undo.lost)))})" if undo.lost and not problem else ""
    return f"  {applied.kind} {applied.project}/{applied.name}: {words}{lost}"


def proof_lines(
    proofs: Sequence[Proof], beyond: Mapping[str, Sequence[str]], plans: Sequence[ProjectPlan]
) -> list[str]:
    """What `access verify` prints.

    Args:
        proofs: one for each grant.
        beyond: project -> image streams that anyone can pull although nothing says so.
        plans: of each project: what could not be asked there, and what else is to be known.
    """
    lines = []
    for proof in proofs:
        grant = proof.grant
        what = grant.role or f"pulling {', '.join(grant.images)}"
        lines.append(f"{'holds' if proof.holds else 'FAILS'}  {grant.project}  {grant.subject}, {what}: {proof.words}")
    lines += [f"UNKNOWN  {plan.project}: {plan.problem}" for plan in plans if plan.problem]
    lines += [f"UNKNOWN  {plan.project}: {note}" for plan in plans if plan.incomplete for note in plan.notes]
    lines += [
        f"open beyond the manifest: anyone can pull {', '.join(names)} of {project} without a login"
        for project, names in beyond.items()
        if names
    ]
    held = sum(proof.holds for proof in proofs)
    failed = f", {len(proofs) - held} do not" if held < len(proofs) else ""
    return [*lines, f"{count(len(proofs), 'grant')}: {held} hold{'s' if held == 1 else ''}{failed}"]


def leftover_lines(left: Sequence[tuple[Applied, Subject]]) -> list[str]:
    """What earlier runs granted and the manifest no longer names."""
    return [
        f"granted by an earlier run and no longer in the manifest: {subject} in RoleBinding {applied.project}/"
        f"{applied.name} (`access revert` takes everything back; `access apply` then gives what is named)"
        for applied, subject in left
    ]


def _leftover_documents(left: Sequence[tuple[Applied, Subject]]) -> list[dict[str, Any]]:
    return [
        {"project": applied.project, "binding": applied.name, "subject": subject.document} for applied, subject in left
    ]


# --- documents --------------------------------------------------------------------------------------------------


def access_plan_document(plans: Sequence[ProjectPlan], left: Sequence[tuple[Applied, Subject]] = ()) -> dict[str, Any]:
    """What `access plan --format json` prints."""
    return {
        "version": VERSION,
        "kind": "access-plan",
        "projects": [project_document(plan) for plan in plans],
        "leftOver": _leftover_documents(left),
    }


def project_document(plan: ProjectPlan) -> dict[str, Any]:
    """What would happen in one project."""
    return {
        "project": plan.project,
        "imageStreams": plan.streams,
        "grants": [_planned_document(each) for each in plan.grants],
        "changes": [change_document(change) for change in plan.changes],
        "notes": list(plan.notes),
        "problem": plan.problem or None,
        "advice": plan.advice or None,
    }


def _planned_document(planned: PlannedGrant) -> dict[str, Any]:
    grant = planned.grant
    return {
        "subject": grant.subject.document,
        "role": grant.role or None,
        "images": list(grant.images),
        "standing": str(planned.standing),
        "binding": planned.binding or None,
        "words": planned.words,
        "why": grant.why,
    }


def change_document(change: Change) -> dict[str, Any]:
    """One object that would be, or was, written."""
    return {
        "object": change.kind.name,
        "project": change.project,
        "name": change.name,
        "made": change.before is None,
        "added": [subject.document for subject in change.added],
    }


def undo_document(undo: Undo, problem: str = "") -> dict[str, Any]:
    """One object that was taken back."""
    applied = undo.applied
    return {
        "object": applied.kind,
        "project": applied.project,
        "name": applied.name,
        "deleted": undo.delete and not problem,
        "words": undo.words,
    }


def proofs_document(
    proofs: Sequence[Proof],
    beyond: Mapping[str, Sequence[str]],
    plans: Sequence[ProjectPlan],
    left: Sequence[tuple[Applied, Subject]],
) -> dict[str, Any]:
    """What `access verify --format json` prints."""
    return {
        "version": VERSION,
        "kind": "access-verification",
        "grants": [
            {
                "project": proof.grant.project,
                "subject": proof.grant.subject.document,
                "role": proof.grant.role or None,
                "images": list(proof.grant.images),
                "holds": proof.holds,
                "words": proof.words,
                "denied": list(proof.denied),
            }
            for proof in proofs
        ],
        "openBeyond": [{"project": project, "images": list(names)} for project, names in beyond.items() if names],
        "problems": [{"project": plan.project, "words": plan.problem} for plan in plans if plan.problem],
        "notes": [{"project": plan.project, "words": note} for plan in plans for note in plan.notes],
        "leftOver": _leftover_documents(left),
    }
