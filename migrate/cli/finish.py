"""`rahti-migrate finish`: the final step. Shows what it would do to the target cluster; with --apply does it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from migrate.cli.access import (
    AccessRun,
    access_exit_code,
    apply_access,
    leftovers,
    open_access,
    open_ends,
    planned_access,
    plans_of,
)
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
    say,
    set_up_logging,
)
from migrate.cli.program import command_line, options_given
from migrate.cli.session import Session, open_session, state_path
from migrate.report import access as show
from migrate.report.documents import VERSION

ApplyOption = Annotated[bool, typer.Option("--apply", help="Do it; without this nothing is written to a cluster.")]


def finish(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    apply: ApplyOption = False,
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show the final step, who may pull from the target projects; with --apply do it.

    Example: rahti-migrate finish my-app.yaml --apply
    """
    set_up_logging(verbose)
    as_json = output is OutputFormat.JSON
    with open_session(manifest, project, login_wait(wait_login)) as session:
        has_access = bool(session.manifest.file.access)
        say_what_is_missing(session)
        if not apply or not has_access:
            path = state_path(manifest, state)
            return show_finish(session, path, options_given(state, project), as_json=as_json)
    with open_access(manifest, state, project, "finish", wait_login) as run:
        code = apply_access(run, planned_access(run.session, run.ends), as_json=as_json)
        run.state.end_run(code, {})
    return code


def show_finish(session: Session, state: Path, options: Sequence[str], *, as_json: bool) -> int:
    """What the final step would do."""
    has_access = bool(session.manifest.file.access)
    plans = planned_access(session, open_ends(session)) if has_access else []
    left = leftovers(state, session.manifest.path, plans if has_access else None)
    if as_json:
        document = show.access_plan_document(plans, left) if plans or left else None
        json_document({"version": VERSION, "kind": "finish", "access": document, "workloads": None})
    elif plans:
        result(["Who may pull:", "", *show.access_plan_lines(plans), *show.leftover_lines(left)])
        apply = f" To apply: {_to_apply(session, options)}" if any(each.changes for each in plans) else ""
        result([f"Nothing was written.{apply}"])
    else:
        result(["nothing to finish: the manifest has no `access`", *show.leftover_lines(left)])
    return access_exit_code(plans)


def finish_run(run: AccessRun, *, apply: bool, as_json: bool) -> int:
    """The final step of `run`."""
    plans = plans_of(run.session, run.ends)
    if apply and plans:
        return apply_access(run, plans, as_json=as_json, last="access")
    if as_json:
        for project in show.access_plan_document(plans)["projects"]:
            json_line({"event": "project", **project})
    elif plans:
        result(["", "Who may pull:", "", *show.access_plan_lines(plans)])
        result([f"To apply: {_to_apply(run.session, run.options)}"] if any(p.changes for p in plans) else [])
    return access_exit_code(plans)


def _to_apply(session: Session, options: Sequence[str]) -> str:
    return command_line("finish", session.manifest.path, (*options, "--apply"))


def say_what_is_missing(session: Session) -> None:
    """A stage that the manifest asks for and that this version does not have."""
    if session.manifest.file.workloads:
        rewrite = command_line("rewrite", session.manifest.path)
        say(f"note: this version does not apply workloads yet: {rewrite} writes them, for you to look at and apply")
