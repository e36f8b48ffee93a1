"""The manifest's grants: planned, applied, and those that nobody names any more."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from migrate.access.plan import ProjectPlan, Standing, role_of
from migrate.access.stage import Ends, Entry, apply_project, plan_access, trouble
from migrate.access.subjects import Subject
from migrate.access.write import Applied, Writing, Written
from migrate.cli.clusters import AccessRun
from migrate.cli.options import json_line, result
from migrate.cli.program import command_line
from migrate.cli.session import Session, questions
from migrate.errors import ExitCode, UsageError
from migrate.report import access as show
from migrate.state.opening import read_state
from migrate.state.reading import NoStateError


def entries_of(session: Session, project: str) -> list[Entry]:
    """The manifest's entries for a target project."""
    return [(i, entry) for i, entry in enumerate(session.manifest.file.access or ()) if entry.project == project]


def planned_access(session: Session, ends: Ends) -> list[ProjectPlan]:
    """The plan of every project that the manifest grants something in, or of the chosen one.

    Raises:
        UsageError: there is none.
    """
    entries = session.manifest.file.access
    if not entries:
        raise UsageError(
            f"{session.manifest.path}: there is no `access` in this manifest", "add one; see docs/access.md"
        )
    plans = plans_of(session, ends)
    if not plans:
        known = ", ".join(sorted({entry.project for entry in entries}))
        raise UsageError(f"--project {session.project}: nothing is granted there", f"`access` has {known}")
    return plans


def plans_of(session: Session, ends: Ends) -> list[ProjectPlan]:
    """The same, where there may be none."""
    with questions() as executor:
        return plan_access(ends, session.manifest.file.access or [], session.project, executor)


def leftovers(path: Path, manifest: Path, plans: Sequence[ProjectPlan] | None) -> list[tuple[Applied, Subject]]:
    """What earlier runs granted and the manifest no longer names: nothing takes it back by itself.

    Without plans the manifest names nothing; of a project that could not be looked at nothing is said.
    """
    if plans is None:
        with suppress(NoStateError), read_state(path, manifest) as memory:
            return [(item, subject) for item in memory.applied() for subject in sorted(item.added)]
        return []
    grants = [(each.project, p) for each in plans for p in each.grants]
    wanted = {(project, p.grant.subject, name) for project, p in grants for name in (role_of(p.grant), p.binding)}
    looked_at = {each.project for each in plans if not each.problem and not each.incomplete}
    with suppress(NoStateError), read_state(path, manifest) as memory:
        return [
            (item, subject)
            for item in memory.applied()
            for subject in sorted(item.added)
            if item.project in looked_at
            and wanted.isdisjoint((item.project, subject, name) for name in (_role_bound(item), item.name))
        ]
    return []


def _role_bound(item: Applied) -> str:
    return str((item.after.get("roleRef") or {}).get("name", ""))


def access_exit_code(plans: Sequence[ProjectPlan]) -> int:
    """0, or 3 where something cannot be granted."""
    return ExitCode.INCOMPLETE if any(each.needs_attention for each in plans) else ExitCode.OK


def apply_access(run: AccessRun, plans: Sequence[ProjectPlan], *, as_json: bool, last: str = "summary") -> int:
    """Write what is missing, project by project; one project's trouble does not stop the others.

    Args:
        run: what writes.
        plans: of each project.
        as_json: print JSON lines.
        last: what the last of them is called.
    """
    failed, written = 0, 0
    whole = {each.project for each in plans}
    final = {each.project: each for each in plans}
    for each in plans:
        for event in apply_project(run.ends, each, entries_of(run.session, each.project)):
            if isinstance(event, ProjectPlan):
                final[each.project] = event
                continue
            if isinstance(event, Writing):
                row = run.state.record_writing(event.change, run.ends.target.server)
                continue
            run.state.record_written(row, event)
            if event.again:
                continue
            failed += event.error is not None
            written += event.error is None
            if event.error is not None:
                whole.discard(each.project)
            _say_written(run.ends, event, as_json=as_json)
    again = list(final.values()) != list(plans)
    plans = list(final.values())
    run.state.record_granted([_written_out(each) if each.project in whole else each for each in plans])
    code = ExitCode.INCOMPLETE if failed or access_exit_code(plans) else ExitCode.OK
    if as_json:
        for each in (plan for plan in plans if plan.needs_attention):
            json_line({"event": "project", **show.project_document(each)})
        counts = {str(s): sum(g.standing is s for each in plans for g in each.grants) for s in Standing}
        json_line({"event": last, "counts": counts, "written": written, "exitCode": int(code)})
    else:
        _say_applied(run, plans, written, failed, again=again)
    return code


def _written_out(plan: ProjectPlan) -> ProjectPlan:
    """A project's plan once everything of it was written."""
    return replace(
        plan,
        grants=tuple(replace(g, standing=Standing.THERE) if g.standing is Standing.ADD else g for g in plan.grants),
    )


def _say_written(ends: Ends, event: Written, *, as_json: bool) -> None:
    problem, way_out = trouble(ends, event.change.project, event.error) if event.error else ("", "")
    if as_json:
        name = "failed" if problem else "written"
        document = show.change_document(event.change)
        json_line({"event": name, **document, "problem": problem or None, "advice": way_out or None})
    else:
        result(show.written_lines(event.change, problem, way_out))


def _say_applied(run: AccessRun, plans: Sequence[ProjectPlan], written: int, failed: int, *, again: bool) -> None:
    result(show.trouble_lines(plans))
    if written or failed or again or access_exit_code(plans):
        result([show.applied_summary(plans, written, failed)])
    else:
        result([f"{show.access_summary(plans)}; nothing to write: every grant is there already"])
    if written or any(grant.standing is Standing.THERE for each in plans for grant in each.grants):
        result([f"To prove it: {command_line('access verify', run.session.manifest.path, run.options)}"])
