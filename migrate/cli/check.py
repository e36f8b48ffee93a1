"""`rahti-migrate check`: what would keep a migration from going well, before the first byte."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from migrate.cli.options import (
    FormatOption,
    ManifestArgument,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    json_document,
    result,
    say,
    set_up_logging,
)
from migrate.cli.paths import state_path
from migrate.cli.plan import planned, remembered
from migrate.cli.preflight import first_checks, plan_checks
from migrate.cli.program import command_line, options_given
from migrate.cli.session import Session, open_session, questions
from migrate.errors import ExitCode, LoginError, MigrateError
from migrate.preflight.checks import Check, Verdict, failed
from migrate.report.checks import check_lines, checks_document, checks_summary


def check(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Check that everything is ready: tools, logins and how long they last, rights, projects, quotas; writes nothing.

    Example: rahti-migrate check my-app.yaml
    """
    set_up_logging(verbose)
    as_json = output is OutputFormat.JSON
    with open_session(manifest, project, hasty=True) as session:
        found = list(_checks(session, state_path(manifest, state)))
        code = check_exit_code(found)
        if as_json:
            json_document(checks_document(found, code))
        else:
            result([*check_lines(found), "", checks_summary(found)])
            ready = code == ExitCode.OK
            again = command_line("run" if ready else "check", manifest, options_given(state, project))
            result([f"Next: {again}" if ready else f"Correct what failed, then check again: {again}"])
    return code


def _checks(session: Session, state: Path) -> Iterator[Check]:
    """All checks, as far as they can be asked; of registries that do not answer nothing more is asked."""
    session.requests()
    say("looking at this machine and both ends ...")
    stopped, gone = False, set()
    for each in first_checks(session):
        stopped = stopped or each.stops
        gone |= {each.subject} if each.name == "outside" and each.verdict is Verdict.FAILED else set()
        yield each
    if stopped:
        return
    session.left_out = frozenset(gone)
    try:
        with ExitStack() as stack, questions() as executor:
            memory = remembered(stack, state, session.manifest)
            say("looking at every image ...")
            plan = planned(session, memory, executor)
            yield from plan_checks(session, plan, state, executor)
    except MigrateError as error:
        is_login = isinstance(error, LoginError)
        yield failed("plan", "", f"it cannot be looked at any further: {error.what}", error.advice, login=is_login)


def check_exit_code(found: Sequence[Check]) -> int:
    """0, 4 where a login is missing or refused, 3 where something else failed."""
    bad = [each for each in found if each.verdict is Verdict.FAILED]
    if any(each.login for each in bad):
        return ExitCode.LOGIN
    return ExitCode.INCOMPLETE if bad else ExitCode.OK
