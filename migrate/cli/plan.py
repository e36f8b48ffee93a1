"""`rahti-migrate plan`: what would be copied, linked, skipped, refused, and why. Writes nothing."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from migrate.cli.options import (
    FormatOption,
    ManifestArgument,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    json_document,
    result,
    set_up_logging,
)
from migrate.cli.paths import state_path
from migrate.cli.program import command_line, options_given
from migrate.cli.session import ENDS, Session, open_session, questions
from migrate.cli.ticker import now_and_then
from migrate.errors import ExitCode, UsageError
from migrate.images.delta import Leftover, confirmed, delta, leftovers
from migrate.images.failures import FailureClass
from migrate.images.lookups import Lookups
from migrate.images.plan import Plan
from migrate.images.planner import make_plan
from migrate.manifest import Manifest
from migrate.quantities import count
from migrate.report.delta import Since, leftover_document, leftover_lines, since_document, since_lines
from migrate.report.documents import plan_document
from migrate.report.text import advice_lines, plan_lines, plan_summary
from migrate.state.memory import State
from migrate.state.opening import read_state
from migrate.state.reading import NoStateError

SinceOption = Annotated[
    bool,
    typer.Option(
        "--since-last-run", help="List only what has changed at the source since the last run: new, moved, gone."
    ),
]
PruneOption = Annotated[
    bool,
    typer.Option("--prune-report", help="List target tags that the source no longer has; deletes nothing."),
]


def plan(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    since_last_run: SinceOption = False,
    prune_report: PruneOption = False,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show what would be copied, linked, skipped or refused, and why; writes nothing.

    Example: rahti-migrate plan my-app.yaml
    """
    set_up_logging(verbose)
    with open_session(manifest, project) as session, ExitStack() as stack:
        path = state_path(manifest, state)
        memory = remembered(stack, path, session.manifest)
        if since_last_run and memory is None:
            raise NoStateError(path)
        if since_last_run and memory and not memory.seen():
            copy = command_line("copy", manifest, options_given(state, project))
            raise UsageError(f"{path}: no run has found an image at the source yet", f"copy first: {copy}")
        session.check_ends()
        executor = stack.enter_context(questions())
        look = lookups_for_plan(session, memory)
        made = planned(session, memory, executor, look)
        since = changed_since(made, memory, look, executor) if since_last_run and memory else None
        found, notes = only_at_target(session, memory, made, look, executor) if prune_report else ([], [])
    if output is OutputFormat.JSON:
        more: dict[str, Any] = {"since": since_document(since)} if since else {}
        if prune_report:
            more["leftovers"] = [leftover_document(each) for each in found]
            more["notes"] = [*made.notes, *notes]
        json_document({**plan_document(made), **more})
    else:
        shown = [*since_lines(since), ""] if since else []
        shown += [*leftover_lines(found, notes), ""] if prune_report else []
        result([*shown, plan_summary(made)] if shown else plan_lines(made))
        result(_next_lines(made, manifest, options_given(state, project)))
    return plan_exit_code(made)


def _next_lines(made: Plan, manifest: Path, given: Sequence[str]) -> Iterator[str]:
    """What to do now."""
    yield from advice_lines(made)
    if made.moving:
        yield f"Next: {command_line('copy', manifest, given)}"
    elif not made.needs_attention:
        yield f"Nothing is left to copy. To compare with the source: {command_line('verify', manifest, given)}"


def lookups_for_plan(session: Session, memory: State | None) -> Lookups:
    """Ask the registries, and the APIs of both ends, with what a state remembers."""
    return session.lookups(memory.image_manifest if memory else lambda _: None, told_by=ENDS)


def changed_since(made: Plan, memory: State, look: Lookups, executor: Executor) -> Since | None:
    """What of a plan the runs before did not see so; None where there was none."""
    seen, last = memory.seen(), memory.last_run_that_planned()
    return Since(last, confirmed(delta(made, seen), made, look, executor)) if seen and last else None


def only_at_target(
    session: Session, memory: State | None, made: Plan, look: Lookups, executor: Executor
) -> tuple[list[Leftover], list[str]]:
    """The tags that the source no longer has; where one project is looked at, others may fill its repositories too."""
    whole = made
    if session.project:
        scope = replace(session.scope(memory), project="")
        whole = make_plan(session.requests(), scope, look, executor)
    return leftovers(made, whole, memory.seen() if memory else [], look, executor)


def remembered(stack: ExitStack, path: Path, manifest: Manifest) -> State | None:
    """The state for reading, where there is one: a plan without it is right too."""
    try:
        return stack.enter_context(read_state(path, manifest.path, manifest.file.target.registry))
    except NoStateError:
        return None


def planned(session: Session, memory: State | None, executor: Executor, look: Lookups | None = None) -> Plan:
    """The plan of a session's entries, with what a state remembers; `look` where more is asked afterwards.

    Raises:
        MigrateError: a registry went out of reach meanwhile: the plan would say so of every tag.
    """
    look = look or lookups_for_plan(session, memory)
    with now_and_then(lambda: f"still looking: {count(session.answers, 'answer')} so far"):
        made = make_plan(session.requests(), session.scope(memory), look, executor)
    session.check_reach()
    return made


def plan_exit_code(made: Plan) -> int:
    """0, 4 where a login ended while planning, or 3 where something needs a person."""
    if any(copy.failure is FailureClass.LOGIN for copy in made.copies):
        return ExitCode.LOGIN
    return ExitCode.INCOMPLETE if made.needs_attention else ExitCode.OK
