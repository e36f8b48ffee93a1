"""`rahti-migrate status`: where things stand, also while another process copies. Reads the state only."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from migrate.cli.options import (
    AskedArgument,
    FormatOption,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    json_document,
    json_line,
    result,
    set_up_logging,
)
from migrate.cli.paths import asked_of, check_is_there, check_project, state_path
from migrate.cli.program import command_line, options_given
from migrate.errors import ExitCode, UsageError
from migrate.images.verdicts import FINE
from migrate.lock import holder
from migrate.report.status import NOT_YET, Standing, next_command, standing_of, status_document, status_lines
from migrate.state.reading import read_records
from migrate.state.statuses import AT_TARGET, UNWANTED

_EVERY_SECONDS = 2.0

WatchOption = Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until the run has ended.")]
MetricsOption = Annotated[
    Path | None,
    typer.Option("--metrics", metavar="FILE", help="Also write numbers for Prometheus' textfile collector."),
]


def status(
    manifest: AskedArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    watch: WatchOption = False,
    metrics: MetricsOption = None,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show where things stand now, also while another process copies; asks no registry.

    Exit code 0: all is done, verify found nothing wrong (it need not have run), and the last run ended well; else 3.

    Example: rahti-migrate status my-app.yaml --watch
    """
    set_up_logging(verbose)
    check_is_there(manifest)
    manifest, state = asked_of(manifest, state)
    path = state_path(manifest, state)
    as_json = output is OutputFormat.JSON
    show = _in_place() if watch and not as_json else nullcontext(result)
    with show as shown:
        while True:
            standing, copies = _read(manifest, path, project, with_copies=as_json)
            if metrics:
                _write_metrics(metrics, standing, manifest.stem, project)
            if as_json:
                (json_line if watch else json_document)(status_document(standing, copies))
            else:
                again = next_command(standing)
                typed = [f"Next: {command_line(again, manifest, options_given(state, project))}"] if again else []
                shown([*status_lines(standing, _since(standing)), *typed])
            if not (watch and standing.writer):
                return _exit_code(standing)
            time.sleep(_EVERY_SECONDS)


def _read(manifest: Path, path: Path, project: str, *, with_copies: bool) -> tuple[Standing, list[dict[str, Any]]]:
    with read_records(path, manifest, target=None) as records:
        check_project(project, records)
        standing = standing_of(records, project, str(holder(path) or ""))
        return standing, records.copies(project) if with_copies else []


def _since(standing: Standing) -> float:
    """Seconds that the run has been on."""
    begun = standing.last_run["started_at"] if standing.last_run else ""
    return time.time() - datetime.fromisoformat(begun).timestamp() if begun else 0.0


@contextmanager
def _in_place() -> Iterator[Any]:
    """Show lines where the last ones stood, on a terminal; else one after another, with an empty line between."""
    from rich.console import Console  # the drawing takes longer to load than the rest
    from rich.live import Live
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        yield lambda lines: result([*lines, ""])
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda lines: live.update(Text("\n".join(lines)), refresh=True)


def _write_metrics(path: Path, standing: Standing, manifest: str, project: str) -> None:
    from migrate.report.metrics import write_metrics  # prometheus-client: loaded by who needs it

    try:
        write_metrics(path, standing, manifest, project)
    except OSError as error:
        raise UsageError(f"--metrics {path}: it cannot be written: {error.strerror}", "name another file") from None


def _exit_code(standing: Standing) -> int:
    """0 where all is done, nothing was found wrong, and the last run ended well; else 3."""
    last = standing.last_run
    ended_well = last is not None and bool(last["ended_at"]) and last["exit_code"] == ExitCode.OK
    is_done = set(standing.counts) <= {*AT_TARGET, UNWANTED} and set(standing.verdicts) <= {NOT_YET, *FINE}
    return ExitCode.OK if ended_well and is_done else ExitCode.INCOMPLETE
