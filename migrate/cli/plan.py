"""`rahti-migrate plan`: what would be copied, linked, skipped, refused, and why. Writes nothing."""

from concurrent.futures import Executor
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
    set_up_logging,
)
from migrate.cli.session import ENDS, Session, open_session, questions, state_path
from migrate.errors import ExitCode
from migrate.images.failures import FailureClass
from migrate.images.plan import Plan
from migrate.images.planner import make_plan
from migrate.manifest import Manifest
from migrate.report.documents import plan_document
from migrate.report.text import plan_lines
from migrate.state import NoStateError, State, read_state


def plan(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Say what would be copied, linked, skipped or refused, and why; writes nothing.

    Example: rahti-migrate plan my-app.yaml
    """
    set_up_logging(verbose)
    with open_session(manifest, project) as session, ExitStack() as stack:
        memory = remembered(stack, state_path(manifest, state), session.manifest)
        session.check_ends()
        made = planned(session, memory, stack.enter_context(questions()))
    if output is OutputFormat.JSON:
        json_document(plan_document(made))
    else:
        result(plan_lines(made))
    return plan_exit_code(made)


def remembered(stack: ExitStack, path: Path, manifest: Manifest) -> State | None:
    """The state for reading, where there is one: a plan without it is right too."""
    try:
        return stack.enter_context(read_state(path, manifest.path, manifest.file.target.registry))
    except NoStateError:
        return None


def planned(session: Session, memory: State | None, executor: Executor) -> Plan:
    """The plan of a session's entries, with what a state remembers.

    Raises:
        MigrateError: a registry went out of reach meanwhile: the plan would say so of every tag.
    """
    look = session.lookups(memory.image_manifest if memory else lambda _: None, told_by=ENDS)
    made = make_plan(session.requests(), session.scope(memory), look, executor)
    session.check_reach()
    return made


def plan_exit_code(made: Plan) -> int:
    """0, 4 where a login ended while planning, or 3 where something needs a person."""
    if any(copy.failure is FailureClass.LOGIN for copy in made.copies):
        return ExitCode.LOGIN
    return ExitCode.INCOMPLETE if made.needs_attention else ExitCode.OK
