"""`rahti-migrate verify`: read the target again and compare content with the source."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer

from migrate.cli.limits import LimitReachedError, RateOption, limits
from migrate.cli.options import (
    FormatOption,
    ManifestArgument,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    WaitLoginOption,
    json_document,
    login_wait,
    result,
    say,
    set_up_logging,
)
from migrate.cli.program import wait_given
from migrate.cli.runs import Run, open_run
from migrate.cli.session import questions
from migrate.cli.ticker import now_and_then
from migrate.errors import ExitCode, StoppedError
from migrate.images.failures import FailureClass
from migrate.images.plan import Action
from migrate.images.planner import resolve
from migrate.images.verdicts import FINE
from migrate.images.verify import Verification, Verified, in_streams
from migrate.images.verify import verify as verify_copies
from migrate.quantities import count
from migrate.report.documents import verification_document
from migrate.report.text import verify_hints, verify_lines

DeepOption = Annotated[bool, typer.Option("--deep", help="Read every blob at the target whole and check its digest.")]


def verify(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    deep: DeepOption = False,
    bwlimit: RateOption = "",
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Read the target again and compare the content of every tag with the source.

    Example: rahti-migrate verify my-app.yaml --deep
    """
    set_up_logging(verbose)
    limited = limits(rate=bwlimit)
    own = (*(["--deep"] if deep else []), *limited.given, *wait_given(wait_login))
    with open_run(manifest, state, project, "verify", own, login_wait(wait_login), limited) as run:
        found = verify_images(run, deep=deep)
        code = verify_exit_code(found)
        run.ended(code, verify_counts(found))
    if output is OutputFormat.JSON:
        json_document(verification_document(found))
    else:
        hints = [*verify_hints(found, run.command("copy"))]
        if not hints and (run.session.manifest.file.access or run.session.manifest.file.workloads):
            hints = [f"Next: {run.command('finish')}"]
        result([*verify_lines(found, found.refused), *hints])
    return code


def verify_images(run: Run, *, deep: bool) -> Verification:
    """Compare every wanted tag; the verdicts are kept in the state."""
    say("reading both registries ...")
    source, target = run.session.lookups(lambda _: None), run.session.lookups(lambda _: None, told_by=())
    with questions() as executor:
        wanted, _ = resolve(run.session.requests(), run.session.scope(None), source, executor)
        refused = tuple(copy for copy in wanted if copy.action is Action.REFUSED)
        readable = [copy for copy in wanted if copy.action is not Action.REFUSED]
        ours = run.state.delivered()
        verifying = verify_copies(readable, source, target, run.session.target, executor, ours, deep=deep)
        judged = in_streams(verifying, run.session.target_streams())
        verified = _until_stopped(run, judged, len(readable), deep=deep)
    run.session.check_reach()
    run.state.record_verified(verified, refused, deep=deep)
    return Verification(tuple(verified), refused)


def _until_stopped(run: Run, verifying: Iterator[Verified], wanted: int, *, deep: bool) -> list[Verified]:
    """All verdicts; where a signal or a limit stops it, those reached so far are kept."""
    verified: list[Verified] = []

    def so_far() -> str:
        return f"{len(verified):,} of {count(wanted, 'tag')} verified"

    try:
        with now_and_then(so_far):
            for item in verifying:
                verified.append(item)
                if len(verified) < wanted:
                    run.check_time(so_far())
    except (StoppedError, LimitReachedError):
        seen = [item for item in verified if item.failure is not FailureClass.INTERRUPTED]
        run.state.record_verified(seen, deep=deep)
        raise
    return verified


def verify_counts(found: Verification) -> Counter[str]:
    """Tags by verdict, and those that are refused."""
    return Counter(str(item.verdict) for item in found.tags) + Counter(refused=len(found.refused))


def verify_exit_code(found: Verification) -> int:
    """0 where all is well, 4 where a login ended meanwhile, else 3."""
    if FailureClass.LOGIN in {*(item.failure for item in found.tags), *(copy.failure for copy in found.refused)}:
        return ExitCode.LOGIN
    is_well = not found.refused and all(item.verdict in FINE for item in found.tags)
    return ExitCode.OK if is_well else ExitCode.INCOMPLETE
