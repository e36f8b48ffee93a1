"""`rahti-migrate finish`: the final step. Shows what it would do to the target cluster; with --apply does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from migrate.access.plan import ProjectPlan
from migrate.cli.clusters import AccessRun, open_access, open_ends
from migrate.cli.grants import access_exit_code, apply_access, leftovers, planned_access, plans_of
from migrate.cli.memory import keep
from migrate.cli.options import (
    FormatOption,
    ManifestArgument,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    WaitLoginOption,
    json_document,
    json_line,
    login_wait,
    result,
    set_up_logging,
)
from migrate.cli.paths import state_path
from migrate.cli.program import command_line, options_given
from migrate.cli.session import Session, open_session
from migrate.cli.workloads import (
    apply_workloads,
    looked_at_again,
    plan_workloads,
    record_workloads,
    wait_for_rollouts,
)
from migrate.errors import ExitCode, UsageError
from migrate.quantities import parse_duration
from migrate.report import access as show
from migrate.report.documents import VERSION
from migrate.report.elsewhere import pointer_lines
from migrate.report.finish import WorkloadPlan, plan_document, plans_lines
from migrate.state.memory import State

ApplyOption = Annotated[
    bool, typer.Option("--apply", help="Do the final step; without this option nothing is written to a cluster.")
]
WaitOption = Annotated[
    str,
    typer.Option("--wait", metavar="TIME", help="With --apply: wait for the rollouts, at most this time, such as 10m."),
]

_NOTHING = "nothing to finish: the manifest has neither `access` nor `workloads`"


def finish(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    apply: ApplyOption = False,
    wait: WaitOption = "",
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show the final step, who may pull from the target projects and which workloads are applied; with --apply do it.

    Example: rahti-migrate finish my-app.yaml --apply --wait 10m
    """
    set_up_logging(verbose)
    as_json = output is OutputFormat.JSON
    seconds = wait_seconds(wait, apply=apply)
    with open_session(manifest, project, login_wait(wait_login)) as session:
        if not apply:
            return _show(session, state, options_given(state, project), as_json=as_json)
        if not session.manifest.file.access and not session.manifest.file.workloads:
            if as_json:
                json_line({"event": "summary", "exitCode": int(ExitCode.OK)})
            else:
                result([_NOTHING])
            return ExitCode.OK
    with open_access(manifest, state, project, "finish", wait_login) as run:
        code, _ = apply_final_step(run, state, seconds, as_json=as_json)
        if as_json:
            json_line({"event": "summary", "exitCode": int(code)})
        run.state.end_run(code, {})
    return code


def wait_seconds(wait: str, *, apply: bool) -> float:
    """The seconds of `--wait`; 0 where it was not said.

    Raises:
        UsageError: no time, or without --apply.
    """
    if not wait:
        return 0.0
    if not apply:
        raise UsageError("--wait follows what was applied", "use --apply too")
    try:
        return parse_duration(wait)
    except ValueError as error:
        raise UsageError(f"--wait: {error}", "give a time such as 10m") from None


def apply_final_step(
    run: AccessRun, state: Path | None, seconds: float, *, as_json: bool
) -> tuple[int, list[WorkloadPlan]]:
    """Try everything, then access, then workloads, then (for so many seconds) wait for them; what was planned."""
    workloads = plan_workloads(run.session, state)
    record_workloads(run.state, workloads)
    _say_workloads(run, workloads, as_json=as_json)
    if any(plan.is_refused for plan in workloads):
        return apply_workloads(run.session, run.state, workloads, as_json=as_json), workloads
    code: int = ExitCode.OK
    if run.session.manifest.file.access:
        code = apply_access(run, planned_access(run.session, run.ends), as_json=as_json, last="access")
    if workloads:
        code = max(code, apply_workloads(run.session, run.state, workloads, as_json=as_json))
    if workloads and seconds:
        code = max(code, wait_for_rollouts(run.session, workloads, seconds, as_json=as_json))
    if not as_json:
        result(pointer_lines([each for plan in workloads for each in plan.elsewhere]))
    return code, workloads


def _say_workloads(run: AccessRun, plans: Sequence[WorkloadPlan], *, as_json: bool) -> None:
    if not as_json:
        result(plans_lines(plans, _to_see(run)))
        return
    for plan in plans:
        json_line({"event": "workloads", **plan_document(plan)})


def _to_see(run: AccessRun) -> str:
    """What to type to see what of many projects is not listed one by one."""
    return command_line("finish", run.session.manifest.path, run.options)


def _show(session: Session, state: Path | None, options: Sequence[str], *, as_json: bool) -> int:
    """What the final step would do."""
    file, path = session.manifest.file, state_path(session.manifest.path, state)
    plans = planned_access(session, open_ends(session)) if file.access else []
    left = leftovers(path, session.manifest.path, plans if file.access else None)
    workloads = plan_workloads(session, state)
    keep(session.manifest, path, "finish", partial(_record, plans, workloads))
    code = access_exit_code(plans)
    if any(plan.needs_attention for plan in workloads):
        code = ExitCode.INCOMPLETE
    if as_json:
        document = show.access_plan_document(plans, left) if plans or left else None
        listed = [plan_document(plan) for plan in workloads] if workloads else None
        json_document({"version": VERSION, "kind": "finish", "access": document, "workloads": listed})
        return code
    if plans:
        result(["Who may pull:", "", *show.access_plan_lines(plans), *show.leftover_lines(left)])
    if workloads:
        result(["", *plans_lines(workloads)])
    if not plans and not workloads:
        result([_NOTHING, *show.leftover_lines(left)])
        return code
    changes = any(each.changes for each in plans) or any(each.is_sent for plan in workloads for each in plan.planned)
    result([*pointer_lines([each for plan in workloads for each in plan.elsewhere]), ""])
    result([f"Nothing was written.{f' To apply: {to_apply(session, options)}' if changes else ''}"])
    return code


@dataclass(frozen=True)
class FinalStep:
    """How the final step ended: what the target grants and holds now; None for what the manifest does not ask for."""

    code: int
    access: Sequence[ProjectPlan] | None
    workloads: Sequence[WorkloadPlan] | None


def finish_run(run: AccessRun, state: Path | None, seconds: float, *, apply: bool, as_json: bool) -> FinalStep:
    """The final step of `run`."""
    file = run.session.manifest.file
    if apply:
        code, workloads = apply_final_step(run, state, seconds, as_json=as_json)
        workloads = looked_at_again(run.session, state, workloads)
        record_workloads(run.state, workloads)
        plans = plans_of(run.session, run.ends) if file.access else []
    else:
        code, plans, workloads = _shown(run, state, as_json=as_json)
    return FinalStep(code, plans if file.access else None, workloads if file.workloads else None)


def _record(plans: Sequence[ProjectPlan], workloads: Sequence[WorkloadPlan], state: State) -> None:
    state.record_granted(plans)
    record_workloads(state, workloads)


def _shown(run: AccessRun, state: Path | None, *, as_json: bool) -> tuple[int, list[ProjectPlan], list[WorkloadPlan]]:
    plans = plans_of(run.session, run.ends) if run.session.manifest.file.access else []
    workloads = plan_workloads(run.session, state)
    _record(plans, workloads, run.state)
    if as_json:
        for project in show.access_plan_document(plans)["projects"]:
            json_line({"event": "project", **project})
    elif plans:
        result(["", "Who may pull:", "", *show.access_plan_lines(plans, _to_see(run))])
    _say_workloads(run, workloads, as_json=as_json)
    if not as_json:
        result(pointer_lines([each for plan in workloads for each in plan.elsewhere]))
    code = access_exit_code(plans)
    return ExitCode.INCOMPLETE if any(plan.needs_attention for plan in workloads) else code, plans, workloads


def to_apply(session: Session, options: Sequence[str]) -> str:
    """What to type to apply the final step."""
    return command_line("finish", session.manifest.path, (*options, "--apply"))
