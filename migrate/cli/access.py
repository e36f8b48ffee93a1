"""`rahti-migrate access`: who may pull from the target projects; plan, apply, revert, verify."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from migrate.access.plan import ProjectPlan
from migrate.access.prove import Proof
from migrate.cli.clusters import open_access, open_ends
from migrate.cli.grants import access_exit_code, apply_access, leftovers, planned_access
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
from migrate.cli.proofs import proved
from migrate.cli.revert import Tally, nothing_applied, revert_access
from migrate.cli.session import open_session
from migrate.errors import ExitCode
from migrate.report import access as show
from migrate.state.memory import State

DryOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be taken back.")]

app = typer.Typer(
    name="access",
    help="""Who may pull from the target projects, as `access` in the manifest says.

    Example: rahti-migrate access plan my-app.yaml""",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def plan(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show what is granted now and what would be; writes nothing.

    Example: rahti-migrate access plan my-app.yaml
    """
    set_up_logging(verbose)
    with open_session(manifest, project) as session:
        plans = planned_access(session, open_ends(session))
        path = state_path(manifest, state)
        keep(session.manifest, path, "access plan", lambda kept: kept.record_granted(plans))
    left = leftovers(state_path(manifest, state), manifest, plans)
    if output is OutputFormat.JSON:
        json_document(show.access_plan_document(plans, left))
    else:
        result([*show.access_plan_lines(plans), *show.leftover_lines(left)])
        if any(each.changes for each in plans):
            result([f"To apply: {command_line('access apply', manifest, options_given(state, project))}"])
    return access_exit_code(plans)


def apply(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Grant what is missing. Nothing of others is changed, and `access revert` takes it back.

    Example: rahti-migrate access apply my-app.yaml
    """
    set_up_logging(verbose)
    as_json = output is OutputFormat.JSON
    with open_access(manifest, state, project, "access apply", wait_login) as run:
        code = apply_access(run, planned_access(run.session, run.ends), as_json=as_json)
        run.state.end_run(code, {})
    return code


def revert(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    dry_run: DryOption = False,
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Take back what `access apply` did. What others did since stays.

    Example: rahti-migrate access revert my-app.yaml
    """
    set_up_logging(verbose)
    with open_access(manifest, state, project, "access revert", wait_login) as run:
        tally, as_json = Tally(), output is OutputFormat.JSON
        revert_access(run, tally, dry_run=dry_run, as_json=as_json)
        code = tally.exit_code
        if as_json:
            json_line({"event": "summary", "reverted": tally.back, "left": tally.left, "exitCode": int(code)})
        else:
            result([tally.words(dry_run=dry_run) if tally != Tally() else nothing_applied(run)])
        run.state.end_run(code, {})
    return code


def verify(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Prove each grant. It pulls as those who were granted would, where it can, and else asks the API.

    Example: rahti-migrate access verify my-app.yaml
    """
    set_up_logging(verbose)
    with open_session(manifest, project, login_wait(wait_login)) as session:
        ends = open_ends(session)
        plans = planned_access(session, ends)
        proofs, beyond = proved(session, ends, plans)
        keep(session.manifest, state_path(manifest, state), "access verify", partial(_record, plans, proofs))
    left = leftovers(state_path(manifest, state), manifest, plans)
    if output is OutputFormat.JSON:
        json_document(show.proofs_document(proofs, beyond, plans, left))
    else:
        result([*show.proof_lines(proofs, beyond, plans), *show.leftover_lines(left)])
    if any(proof.login for proof in proofs):
        return ExitCode.LOGIN
    if access_exit_code(plans) or not all(proof.holds for proof in proofs):
        return ExitCode.INCOMPLETE
    return ExitCode.OK


def _record(plans: Sequence[ProjectPlan], proofs: Sequence[Proof], kept: State) -> None:
    kept.record_granted(plans)
    kept.record_proofs(proofs)


COMMANDS = (plan, apply, revert, verify)
