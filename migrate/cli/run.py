"""`rahti-migrate run`: check, plan, copy, verify and the final step in one go."""

from concurrent.futures import Executor
from pathlib import Path

from migrate.cli.access import AccessRun, open_ends
from migrate.cli.check import check_exit_code
from migrate.cli.copy import Run, copy_images, next_step, open_run, say_outcome, what_came
from migrate.cli.finish import ApplyOption, finish_run, say_what_is_missing
from migrate.cli.options import (
    FormatOption,
    JobsOption,
    ManifestArgument,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    WaitLoginOption,
    json_line,
    login_wait,
    result,
    say,
    set_up_logging,
)
from migrate.cli.outcome import outcome_document
from migrate.cli.preflight import blocked_by, first_checks, plan_checks
from migrate.cli.program import jobs_given, wait_given
from migrate.cli.session import state_path
from migrate.cli.verify import verify_counts, verify_exit_code, verify_images
from migrate.errors import CheckError, LoginError
from migrate.images.plan import Plan
from migrate.images.planner import hold_back
from migrate.preflight.checks import Check, Verdict
from migrate.report.checks import check_document, check_lines, checks_summary
from migrate.report.documents import verification_document
from migrate.report.text import verify_hints, verify_lines


def run(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    jobs: JobsOption = 0,
    apply: ApplyOption = False,
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Check, plan, copy, verify, and show the final step (with --apply: do it), in one go; run it again to go on.

    Example: rahti-migrate run my-app.yaml
    """
    set_up_logging(verbose)
    as_json = output is OutputFormat.JSON
    own = (*jobs_given(jobs), *(["--apply"] if apply else []), *wait_given(wait_login))
    with open_run(manifest, state, project, "run", own, login_wait(wait_login)) as opened:
        say_what_is_missing(opened.session)
        ends = open_ends(opened.session) if opened.session.manifest.file.access else None
        checks: list[Check] = []

        def checked(plan: Plan, executor: Executor) -> Plan:
            checks.extend(_checks(opened, state_path(manifest, state), plan, executor, as_json=as_json))
            return hold_back(plan, blocked_by(checks))

        outcome = copy_images(opened, jobs, as_json=as_json, checked=checked)
        if outcome.cut_short:
            say_outcome(opened, outcome, as_json=as_json)
            opened.ended(outcome.exit_code, outcome.counts)
            return outcome.exit_code
        if not as_json:
            result([*what_came(opened, outcome), ""])
        found = verify_images(opened, deep=False)
        code = max(outcome.exit_code, verify_exit_code(found), check_exit_code(checks))
        if not as_json:
            news = [copy for copy in found.refused if copy.target not in outcome.refused]
            hints = next_step(opened, outcome) or verify_hints(found, opened.command())
            result([*verify_lines(found, news), *hints])
        if ends:
            access = AccessRun(opened.session, opened.state, ends, opened.options)
            code = max(code, finish_run(access, apply=apply, as_json=as_json))
        opened.ended(code, outcome.counts | verify_counts(found))
        if as_json:
            for item in verification_document(found)["tags"]:
                json_line({"event": "verified", **item})
            json_line({"event": "summary", **outcome_document(outcome), "exitCode": code})
    return code


def _checks(opened: Run, state: Path, plan: Plan, executor: Executor, *, as_json: bool) -> list[Check]:
    """Look whether all is ready, and say what is not.

    Raises:
        MigrateError: nothing at all can be done before something is mended.
    """
    found = [*first_checks(opened.session), *plan_checks(opened.session, plan, state, executor)]
    if as_json:
        for each in found:
            json_line({"event": "check", **check_document(each)})
    for line in (checks_summary(found), *check_lines([each for each in found if each.verdict is not Verdict.OK])):
        say(line)
    stopping = next((each for each in found if each.stops), None)
    if stopping:
        words = f"{stopping.name}{stopping.subject and f' ({stopping.subject})'}: {stopping.words}"
        raise LoginError(words, stopping.advice) if stopping.login else CheckError(words, stopping.advice)
    return found
