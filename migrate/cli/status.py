"""`rahti-migrate status`: where things stand, also while another process copies. Reads the state only."""

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
from migrate.cli.session import state_path
from migrate.errors import ExitCode, UsageError
from migrate.images.verify import FINE
from migrate.lock import holder
from migrate.manifest import check_is_there
from migrate.report.documents import status_document
from migrate.report.text import status_lines
from migrate.state import DONE, SKIPPED, is_wanted, read_state


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
    with read_state(path, manifest, target=None) as opened:
        copies, last = opened.copies(project), opened.last_run()
        known = {row[end] for row in opened.copies() for end in ("source_project", "target_project")} if project else ()
    if project and project not in known:
        raise UsageError(f"--project {project}: nothing of it is in {path}", f"it has {', '.join(sorted(known))}")
    writer = holder(path)
    if output is OutputFormat.JSON:
        json_document(status_document(str(path), copies, last, str(writer) if writer else None))
    else:
        result(status_lines(str(path), copies, last, str(writer) if writer else None))
    return _exit_code(copies, last)


def _exit_code(copies: list[dict[str, Any]], last: dict[str, Any] | None) -> int:
    """0 where all is done, nothing was found wrong, and the last run ended well; else 3."""
    ended_well = last is not None and bool(last["ended_at"]) and last["exit_code"] == ExitCode.OK
    is_done = all(
        row["status"] in (DONE, SKIPPED) and row["verdict"] in (None, *FINE) for row in copies if is_wanted(row)
    )
    return ExitCode.OK if ended_well and is_done else ExitCode.INCOMPLETE
