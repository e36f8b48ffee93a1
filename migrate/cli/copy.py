"""`rahti-migrate copy`: copy what the plan lists; run it again to continue."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from migrate.cli.copying import copy_events
from migrate.cli.in_use import check_can_tell
from migrate.cli.interrupt import stoppable
from migrate.cli.limits import MaxBytesOption, MaxDurationOption, OrderOption, RateOption, limits, reached
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
from migrate.cli.outcome import Outcome, outcome_document, outcome_lines
from migrate.cli.plan import changed_since, lookups_for_plan, planned
from migrate.cli.pool import check_pool
from migrate.cli.program import dask_given, jobs_given, wait_given
from migrate.cli.runs import Run, open_run
from migrate.cli.session import Session, questions
from migrate.cli.streams import make_missing
from migrate.errors import ExitCode, LoginError, MigrateError
from migrate.images.budget import Budget
from migrate.images.failures import Failure, FailureClass
from migrate.images.order import Order
from migrate.images.pace import TROUBLE
from migrate.images.plan import Action, Copy, Plan
from migrate.images.transfer import CopyResult, Event, Finished, Retrying, Started
from migrate.quantities import format_size
from migrate.report.delta import Since, since_document, since_summary
from migrate.report.documents import copy_document, plan_document, result_document
from migrate.report.text import change_lines, note_lines, plan_summary
from migrate.state.memory import State

_OUTAGE = {*TROUBLE, FailureClass.INTERRUPTED}


def copy(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    jobs: JobsOption = 0,
    order: OrderOption = Order.FASTEST,
    max_duration: MaxDurationOption = "",
    max_bytes: MaxBytesOption = "",
    bwlimit: RateOption = "",
    dask: DaskOption = None,
    wait_login: WaitLoginOption = "",
    log_file: LogFileOption = None,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Copy what the plan lists, converted and confirmed; run it again to continue.

    Example: rahti-migrate copy my-app.yaml --jobs 8
    """
    as_json = output is OutputFormat.JSON
    with told_as_events(as_json=as_json):
        set_up_logging(verbose, log_file)
        limited = limits(max_duration, max_bytes, bwlimit, order)
        patience = login_wait(wait_login)
        check_pool(dask, limited.rate, wait_login, patience)
    own = (*jobs_given(jobs), *limited.given, *dask_given(dask or ""), *wait_given(wait_login))
    opening = open_run(manifest, state, project, "copy", own, patience, limited)
    with told_as_events(as_json=as_json), opening as run:
        run.dask = dask or ""
        outcome = copy_images(run, jobs, as_json=as_json)
        say_outcome(run, outcome, as_json=as_json)
        run.ended(outcome.exit_code, outcome.counts, outcome.error)
    return outcome.exit_code


def copy_images(
    run: Run, jobs: int, *, as_json: bool, checked: Callable[[Plan, Executor], Plan] = lambda plan, _: plan
) -> Outcome:
    """Plan, copy, record; the state holds every result before the next one comes. `checked` may hold something back."""
    started = time.monotonic()
    if run.limits.order is Order.IN_USE:
        check_can_tell(run.session)
    say("looking at both registries ...")
    with questions() as executor:
        look = lookups_for_plan(run.session, run.state)
        plan = checked(planned(run.session, run.state, executor, look), executor)
        run.check_time("nothing was begun")
        since = changed_since(plan, run.state, look, executor)
    run.state.record_plan(plan, run.session.project)
    for line in (*note_lines(plan.notes), *change_lines(plan), plan_summary(plan)):
        say(line)
    if since:
        say(since_summary(since))
    unmade = make_missing(run.session, plan)
    if as_json:
        _print_plan(plan, since)
    counts = _planned_counts(plan)
    failures = {c.failure for c in plan.copies if c.failure and c.action is Action.REFUSED}
    sent = 0
    gone: dict[str, Failure] = {}
    error: MigrateError | None = None
    moved: list[str] = []
    ended: list[CopyResult] = []
    budget = Budget(run.limits.bytes)
    with _stop_on_errors(run):
        for event in copy_events(run, plan, jobs, unmade, budget, quiet=as_json):
            _record(run.state, event)
            if as_json:
                _print_event(event)
            sent += _sent(event)
            if isinstance(event, Finished):
                moved += [f"{r.copy.target.short}: {r.note}" for r in event.result.results if r.note]
                failures |= {r.failure.kind for r in event.result.results if r.failure}
                _count(counts, event)
                ended += event.result.results
                if FailureClass.LOGIN in failures and (error := _ended_login(run.session)):
                    run.session.stop.soon.set()
            gone = gone or _out_of_reach(run.session)
    if gone:
        _leave(run.state, plan, ended, gone, counts)
        error = _as_error(*next(iter(gone.items())))
    seconds = time.monotonic() - started
    stopped = run.session.stop.soon.is_set()
    refused = frozenset(c.target for c in plan.copies if c.action is Action.REFUSED)
    return Outcome(
        counts, sent, seconds, frozenset(failures), stopped, plan.kept, tuple(moved), bool(gone), refused,
        len(plan.changed), reached(run.session.stop, budget, run.limits),
        budget.least if not sent and budget.least > run.limits.bytes else 0, error,
    )  # fmt: skip


def _ended_login(session: Session) -> LoginError | None:
    """What is to be said where one of the two ends no longer takes its login: then nothing more can be copied."""
    try:
        session.check_ends()
    except LoginError as error:
        say(f"rahti-migrate: {error}")
        return error
    except MigrateError:
        pass
    return None


def _out_of_reach(session: Session) -> dict[str, Failure]:
    """The registries that have not answered for so long that going on makes no sense; then the run stops."""
    gone = session.out_of_reach()
    for host, failure in gone.items():
        say(f"rahti-migrate: {_as_error(host, failure)}")
        session.stop.soon.set()
    return gone


def _as_error(host: str, failure: Failure) -> MigrateError:
    return MigrateError(f"registry {host}: {failure}", failure.advice)


def _leave(state: State, plan: Plan, ended: list[CopyResult], gone: dict[str, Failure], counts: Counter[str]) -> None:
    """What an outage kept from being done is left to do, in the same words for every tag, tried or not."""
    settled = {r.copy.target for r in ended if not r.failure or r.failure.kind not in _OUTAGE}
    left = {copy.target: _gone_of(copy, gone) for copy in plan.moving if copy.target not in settled}
    state.record_left({str(target): failure for target, failure in left.items() if failure})
    tried = sum(r.failure.kind in TROUBLE for r in ended if r.failure and left.get(r.copy.target))
    counts.update(failed=-tried, left=tried)


def _gone_of(copy: Copy, gone: dict[str, Failure]) -> Failure | None:
    hosts = (copy.target.repository.registry, copy.source.repository.registry)
    return next((replace(gone[host], words=f"{host}: {gone[host].words}") for host in hosts if host in gone), None)


@contextmanager
def _stop_on_errors(run: Run) -> Iterator[None]:
    """Signals stop the run; so does an error here (a full disk, a bug): nothing is copied that cannot be recorded."""
    stop = run.session.stop
    with stoppable(stop, lambda: shutil.rmtree(run.private, ignore_errors=True)):
        try:
            yield
        except BaseException:
            stop.soon.set()
            stop.now.set()
            raise


def _record(state: State, event: Event) -> None:
    if isinstance(event, Started):
        state.record_started(event.job)
    elif isinstance(event, Retrying):
        state.record(event.result, event.at)
    else:
        state.record(event.result)


def _sent(event: Event) -> int:
    """Bytes of a try that ended, well or not."""
    return 0 if isinstance(event, Started) else sum(copied.bytes for copied in event.result.results)


def _planned_counts(plan: Plan) -> Counter[str]:
    counts = Counter(left=plan.count(Action.COPY) + plan.count(Action.LINK))
    counts.update(
        skipped=plan.count(Action.SKIP), conflict=plan.count(Action.CONFLICT), refused=plan.count(Action.REFUSED)
    )
    return counts


def _count(counts: Counter[str], event: Finished) -> None:
    for copied in event.result.results:
        kind = copied.failure.kind if copied.failure else None
        if kind is FailureClass.INTERRUPTED:
            continue
        counts["left"] -= 1
        counts["done" if kind is None else "conflict" if kind is FailureClass.CONFLICT else "failed"] += 1


def say_outcome(run: Run, outcome: Outcome, *, as_json: bool) -> None:
    """What came of it, what failed and what to do now."""
    if as_json:
        json_line({"event": "summary", **outcome_document(outcome)})
    else:
        result([*what_came(run, outcome), *next_step(run, outcome)])


def what_came(run: Run, outcome: Outcome) -> Iterator[str]:
    """What came of it, for people."""
    return outcome_lines(outcome, [row for row in run.state.copies() if _troubled(row, run.state.run_id)])


def _troubled(row: dict[str, Any], run_id: int) -> bool:
    return row["run_id"] == run_id and row["status"] in ("failed", "conflict", "refused")


def next_step(run: Run, outcome: Outcome) -> list[str]:
    """What to do now."""
    if outcome.exit_code == ExitCode.OK:
        return [f"Next: {run.command('verify')}"] if run.name == "copy" else []
    if outcome.too_large:
        smallest = f"the smallest image that is left needs {format_size(outcome.too_large)}"
        return [f"Nothing fits into {outcome.limit}: {smallest}. Raise it, or leave it out: {run.command()}"]
    if outcome.exit_code == ExitCode.LIMIT:
        return [f"Stopped at {outcome.limit}; what is done is recorded. To continue: {run.command()}"]
    if outcome.exit_code in (ExitCode.INTERRUPTED, ExitCode.FAILED):
        return [f"Stopped; what is done is recorded. To continue: {run.command()}"]
    return [f"Correct what is named above, then run again: {run.command()}"]


def _print_plan(plan: Plan, since: Since | None) -> None:
    document = plan_document(plan)
    json_line({"event": "planned", "counts": document["counts"], "bytes": document["bytes"]})
    if since:
        json_line({"event": "since", **since_document(since)})
    for planned_copy in plan.copies:
        if planned_copy.action not in (Action.COPY, Action.LINK):
            json_line({"event": str(planned_copy.action), **copy_document(planned_copy)})


def _print_event(event: Event) -> None:
    if isinstance(event, Started):
        return
    name = "retrying" if isinstance(event, Retrying) else ""
    for copied in event.result.results:
        json_line({"event": name or ("failed" if copied.failure else "done"), **result_document(copied)})
