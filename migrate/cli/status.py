"""`rahti-migrate status`: where things stand, also while another process copies. Reads the state only."""

from collections.abc import Iterable, Mapping
from typing import Any

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
from migrate.cli.paths import check_is_there, state_path
from migrate.errors import ExitCode, UsageError
from migrate.images.verdicts import FINE
from migrate.lock import holder
from migrate.report.status import status_document, status_lines
from migrate.state.reading import Records, read_records
from migrate.state.statuses import DONE, SKIPPED, UNWANTED


def status(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Say where things stand now, also while another process copies; asks no registry.

    Exit code 0: all is done and verified, and the last run ended well; else 3.

    Example: rahti-migrate status my-app.yaml
    """
    set_up_logging(verbose)
    check_is_there(manifest)
    path = state_path(manifest, state)
    with read_records(path, manifest, target=None) as opened:
        _check_is_known(project, opened)
        tallies, last = opened.tallies(project), opened.last_run()
        as_json = output is OutputFormat.JSON
        rows = opened.copies(project) if as_json else opened.troubled(project)
    writer = str(holder(path) or "")
    if as_json:
        json_document(status_document(str(path), rows, last, writer or None))
    else:
        result(status_lines(str(path), tallies, rows, last, writer))
    return _exit_code(tallies, last)


def _check_is_known(project: str, records: Records) -> None:
    known = records.projects() if project else []
    if project and project not in known:
        raise UsageError(f"--project {project}: nothing of it is in {records.path}", f"it has {', '.join(known)}")


def _exit_code(tallies: Iterable[tuple[str, str | None, int]], last: Mapping[str, Any] | None) -> int:
    """0 where all is done, nothing was found wrong, and the last run ended well; else 3."""
    ended_well = last is not None and bool(last["ended_at"]) and last["exit_code"] == ExitCode.OK
    is_done = all(
        status in (DONE, SKIPPED) and verdict in (None, *FINE) for status, verdict, _ in tallies if status != UNWANTED
    )
    return ExitCode.OK if ended_well and is_done else ExitCode.INCOMPLETE
