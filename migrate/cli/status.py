"""`rahti-migrate status`: where things stand, also while another process copies. Reads the state only."""

from typing import Any

from migrate.cli.options import (
    FormatOption,
    ManifestArgument,
    OutputFormat,
    StateOption,
    VerboseOption,
    json_document,
    result,
    set_up_logging,
)
from migrate.cli.session import state_path
from migrate.errors import ExitCode
from migrate.images.verify import FINE, Verdict
from migrate.lock import holder
from migrate.report.documents import status_document
from migrate.report.text import status_lines
from migrate.state import read_state

_TROUBLES = ("failed", "conflict", "refused")


def status(
    manifest: ManifestArgument,
    state: StateOption = None,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Say where things stand now, also while another process copies; asks no registry. Exit code 3: not all is well.

    Example: rahti-migrate status my-app.yaml
    """
    set_up_logging(verbose)
    path = state_path(manifest, state)
    with read_state(path, manifest) as opened:
        copies, last = opened.copies(), opened.last_run()
    writer = holder(path)
    if output is OutputFormat.JSON:
        json_document(status_document(str(path), copies, last, str(writer) if writer else None))
    else:
        result(status_lines(str(path), copies, last, str(writer) if writer else None))
    return _exit_code(copies)


def _exit_code(copies: list[dict[str, Any]]) -> int:
    """0 where all is done, 3 where something is left or needs a person."""
    left = any(
        row["status"] in (*_TROUBLES, "waiting", "running") or (row["verdict"] or Verdict.EQUAL) not in FINE
        for row in copies
    )
    return ExitCode.INCOMPLETE if left else ExitCode.OK
