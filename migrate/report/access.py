"""Who may pull: plans, what was applied or taken back, and proofs, as lines and as JSON documents. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from migrate.access.plan import Change, PlannedGrant, ProjectPlan, Standing
from migrate.access.prove import Proof
from migrate.access.subjects import Subject, subjects_of
from migrate.access.write import Applied, Undo
from migrate.quantities import count
from migrate.report.documents import VERSION

_SIGNS = {Standing.THERE: "=", Standing.ADD: "+", Standing.REFUSED: "!"}


def access_plan_lines(plans: Sequence[ProjectPlan]) -> list[str]:
    """What `access plan` prints."""
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
    for rule in change.after.get("rules", ()):
        yield f"      + pull {', '.join(rule['resourceNames'])}"
    before = subjects_of(dict(change.before or {}), change.project)
    for subject in subjects_of(dict(change.after), change.project):
        yield f"      {' ' if subject in before else '+'} {subject}"


def access_summary(plans: Sequence[ProjectPlan]) -> str:
    """One line."""
    standings = Counter(grant.standing for plan in plans for grant in plan.grants)
    parts = [f"{count(standings[Standing.ADD], 'grant')} to add", f"{standings[Standing.THERE]} there already"]
    if standings[Standing.REFUSED]:
        parts.append(f"{standings[Standing.REFUSED]} refused")
    broken = sum(bool(plan.problem) for plan in plans)
    trouble = f"; {count(broken, 'project')} could not be looked at" if broken else ""
    return f"{count(len(plans), 'project')}: {', '.join(parts)}{trouble}"


def written_lines(change: Change, problem: str, advice: str) -> list[str]:
    """One object that was written, or why it was not."""
    name = f"{change.kind.name} {change.project}/{change.name}"
    if problem:
        return [f"  FAILED {name}: {problem}", *([f"      -> {advice}"] if advice else [])]
    added = f": {', '.join(f'+ {subject}' for subject in change.added)}" if change.added else ""
    return [f"  {'changed' if change.before else 'made'} {name}{added}"]


def undo_line(undo: Undo, problem: str = "") -> str:
    """One object that was, or would be, taken back; or why it was not."""
    applied = undo.applied
    words = f"NOT taken back: {problem}" if problem else undo.words
    return f"  {applied.kind} {applied.project}/{applied.name}: {words}"


def proof_lines(proofs: Sequence[Proof], beyond: Mapping[str, Sequence[str]], unread: Mapping[str, str]) -> list[str]:
    """What `access verify` prints.

    Args:
        proofs: one for each grant.
        beyond: project -> image streams that anyone can pull although nothing says so.
        unread: project -> why nothing could be asked there.
    """
    lines = []
    for proof in proofs:
        grant = proof.grant
        what = grant.role or f"pulling {', '.join(grant.images)}"
        lines.append(f"{'holds' if proof.holds else 'FAILS'}  {grant.project}  {grant.subject}, {what}: {proof.words}")
    lines += [f"UNKNOWN  {project}: {words}" for project, words in unread.items()]
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
        "projects": [_project_document(plan) for plan in plans],
        "leftOver": _leftover_documents(left),
    }


def _project_document(plan: ProjectPlan) -> dict[str, Any]:
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
    unread: Mapping[str, str],
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
        "problems": [{"project": project, "words": words} for project, words in unread.items()],
        "leftOver": _leftover_documents(left),
    }
