"""`rahti-migrate run`: check, plan, copy, verify and the final step in one go."""

from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path

from migrate.cli.check import check_exit_code
from migrate.cli.clusters import AccessRun, api_advice, open_ends
from migrate.cli.copy import copy_images, next_step, say_outcome, what_came
from migrate.cli.finish import ApplyOption, FinalStep, WaitOption, finish_run, to_apply, wait_seconds
from migrate.cli.limits import MaxBytesOption, MaxDurationOption, OrderOption, RateOption, limits
from migrate.cli.options import (
    DaskOption,
    FormatOption,
    JobsOption,
    LogFileOption,
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
    told_as_events,
)
from migrate.cli.outcome import outcome_document
from migrate.cli.paths import state_path
from migrate.cli.pool import check_pool
from migrate.cli.preflight import blocked_by, first_checks, plan_checks
from migrate.cli.program import command_line, dask_given, jobs_given, wait_given
from migrate.cli.runs import Run, open_run
from migrate.cli.session import ENDS
from migrate.cli.verify import verify_counts, verify_exit_code, verify_images
from migrate.errors import CheckError, ExitCode, LoginError, MigrateError
from migrate.images.actions import hold_back
from migrate.images.order import Order
from migrate.images.plan import Plan
from migrate.preflight.checks import Check, Verdict
from migrate.report.checks import check_document, check_lines, checks_summary
from migrate.report.cutover import Commands, cutover, cutover_document, cutover_lines
from migrate.report.documents import verification_document
from migrate.report.text import verify_hints, verify_lines


def run(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    jobs: JobsOption = 0,
    order: OrderOption = Order.FASTEST,
    max_duration: MaxDurationOption = "",
    max_bytes: MaxBytesOption = "",
    bwlimit: RateOption = "",
    dask: DaskOption = None,
    apply: ApplyOption = False,
    wait: WaitOption = "",
    wait_login: WaitLoginOption = "",
    log_file: LogFileOption = None,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Check, plan, copy, verify, and show the final step (with --apply: do it), in one go; run it again to continue.

    Example: rahti-migrate run my-app.yaml
    """
    as_json = output is OutputFormat.JSON
    with told_as_events(as_json=as_json):
        set_up_logging(verbose, log_file)
        limited = limits(max_duration, max_bytes, bwlimit, order)
        patience, seconds = login_wait(wait_login), wait_seconds(wait, apply=apply)
        check_pool(dask, limited.rate, wait_login, patience)
    finishing = [*(["--apply"] if apply else []), *(["--wait", wait] if wait else [])]
    own = (*jobs_given(jobs), *limited.given, *finishing, *dask_given(dask or ""), *wait_given(wait_login))
    opening = open_run(manifest, state, project, "run", own, patience, limited)
    with told_as_events(as_json=as_json), opening as opened:
        opened.dask = dask or ""
        return _everything(opened, state, jobs, seconds, apply=apply, as_json=as_json)


def _everything(opened: Run, state: Path | None, jobs: int, seconds: float, *, apply: bool, as_json: bool) -> int:
    """All steps of it; the exit code."""
    file = opened.session.manifest.file
    has_api = opened.session.cluster("target") is not None
    ends = open_ends(opened.session) if file.access or (file.workloads and has_api) else None
    if file.workloads and not has_api:
        say(f"note: workloads are left: no API of the target is named ({api_advice('target')})")
    checks = _said(first_checks(opened.session), as_json=as_json)
    opened.check_time("nothing was begun")
    _stop_at_once(checks)

    def checked(plan: Plan, executor: Executor) -> Plan:
        more = _said(
            plan_checks(opened.session, plan, state_path(opened.session.manifest.path, state), executor),
            as_json=as_json,
        )
        checks.extend(more)
        opened.check_time("nothing was begun")
        say(checks_summary(checks))
        _stop_at_once(more)
        return hold_back(plan, blocked_by(checks))

    outcome = copy_images(opened, jobs, as_json=as_json, checked=checked)
    if outcome.cut_short:
        say_outcome(opened, outcome, as_json=as_json)
        opened.ended(outcome.exit_code, outcome.counts, outcome.error)
        return outcome.exit_code
    if not as_json:
        result([*what_came(opened, outcome), ""])
    found = verify_images(opened, deep=False)
    code = max(outcome.exit_code, verify_exit_code(found), check_exit_code(checks))
    if not as_json:
        news = [copy for copy in found.refused if copy.target not in outcome.refused]
        hints = next_step(opened, outcome) or verify_hints(found, opened.command())
        result([*verify_lines(found, news), *hints])
    step = FinalStep(ExitCode.OK, None, None)
    opened.check_time("the final step was not begun")
    if ends:
        access = AccessRun(opened.session, opened.state, ends, opened.options)
        step = finish_run(access, state, seconds, apply=apply, as_json=as_json)
        code = max(code, step.code)
    unseen = api_advice("target") if file.workloads and not has_api else ""
    code = max(code, ExitCode.INCOMPLETE) if unseen and apply else code
    items = cutover(found, len(outcome.moved), step.access, step.workloads, _commands(opened), unseen)
    if not as_json:
        result(["", *cutover_lines(items)])
    opened.ended(code, outcome.counts | verify_counts(found))
    if as_json:
        for item in verification_document(found)["tags"]:
            json_line({"event": "verified", **item})
        json_line({"event": "cutover", **cutover_document(items)})
        json_line({"event": "summary", **outcome_document(outcome), "exitCode": code})
    return code


def _place(check: Check) -> str:
    if check.name in ENDS:
        return f"the {check.name} registry {check.subject}: "
    return f"{check.name} {check.subject}: " if check.subject else ""


def _commands(run: Run) -> Commands:
    rewrite = command_line("rewrite", run.session.manifest.path)
    return Commands(run.command(), rewrite, to_apply(run.session, run.options))


def _said(checks: Iterable[Check], *, as_json: bool) -> list[Check]:
    """Say what is not ready, as it comes; what ends the run is said at its end."""
    found = []
    for each in checks:
        found.append(each)
        if as_json:
            json_line({"event": "check", **check_document(each)})
        for line in check_lines([each]) if each.verdict is not Verdict.OK and not each.stops else ():
            say(line)
    return found


def _stop_at_once(checks: Iterable[Check]) -> None:
    """End the run where nothing at all can be done before something is put right.

    Raises:
        LoginError: a login is not taken.
        MigrateError: a registry does not answer.
        CheckError: something else.
    """
    stopping = [each for each in checks if each.stops]
    if not stopping:
        return
    first = next((each for each in stopping if each.login), stopping[0])
    said = "; ".join(f"{_place(each)}{each.words}" for each in stopping)
    kind = LoginError if first.login else MigrateError if first.name in ENDS else CheckError
    raise kind(
        f"nothing was attempted: {said}", "; ".join(dict.fromkeys(each.advice for each in stopping if each.advice))
    )
