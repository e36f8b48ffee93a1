"""`rahti-migrate report`: what happened, for people, spreadsheets, programs and browsers. Reads the state only."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from migrate.cli.options import (
    AskedArgument,
    FormatOption,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    file_to_stdout,
    json_document,
    result,
    say,
    set_up_logging,
)
from migrate.cli.paths import asked_of, check_project, state_path
from migrate.cli.program import command_line, options_given
from migrate.errors import ExitCode, UsageError
from migrate.lock import holder
from migrate.printable import harmless_json
from migrate.report.build import build_report
from migrate.report.csv_form import csv_text
from migrate.report.json_form import report_document
from migrate.report.model import Report
from migrate.report.text_form import markdown as markdown_text
from migrate.report.text_form import report_lines
from migrate.state.reading import read_records

HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="One page for a browser, complete in this file.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Everything, as one JSON document.")]
CsvOption = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="One row for each target tag.")]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Everything, as Markdown.")]
RunOption = Annotated[
    int,
    typer.Option("--run", min=0, metavar="N", help="As things stood when run N ended.", show_default=False),
]


def report(
    manifest: AskedArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    run: RunOption = 0,
    html: HtmlOption = None,
    json_file: JsonOption = None,
    csv: CsvOption = None,
    markdown: MarkdownOption = None,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show what happened, what needs you, how much was sent and how long it took; FILE may be - for stdout. Asks no
    registry.

    Example: rahti-migrate report my-app.yaml --html report.html
    """
    set_up_logging(verbose)
    manifest, state = asked_of(manifest, state)
    command = partial(command_for, manifest, state, project)
    forms: list[tuple[Path | None, Callable[[], str]]] = [
        (html, lambda: _html(made, command)),
        (json_file, lambda: harmless_json(json.dumps(report_document(made), ensure_ascii=False, indent=1) + "\n")),
        (csv, lambda: csv_text(made)),
        (markdown, lambda: markdown_text(made)),
    ]
    chosen = [(path, make) for path, make in forms if path]
    twice = [path for path, number in Counter(path for path, _ in chosen).items() if number > 1]
    if twice:
        raise UsageError(f"{twice[0]}: only one of the reports can be written there", "name a file for each")
    made = read_report(manifest, state, project, run)
    for path, make in chosen:
        _write(path, make())
    if Path("-") in [path for path, _ in chosen]:
        return ExitCode.OK
    if output is OutputFormat.JSON:
        json_document(report_document(made))
    else:
        result(report_lines(made))
    return ExitCode.OK


def read_report(manifest: Path, state: Path | None, project: str, run: int = 0) -> Report:
    """The report of a manifest's state. The manifest itself need not be there: an auditor may have the state alone.

    Raises:
        UsageError: no such project or run.
        StateError: the state cannot be read.
    """
    path = state_path(manifest, state)
    command = partial(command_for, manifest, state, project)
    with read_records(path, manifest, target=None) as records:
        check_project(project, records)
        return build_report(records, command, project=project, run=run, writer=str(holder(path) or ""))


def command_for(manifest: Path, state: Path | None, project: str, name: str) -> str:
    """What to type for one of our commands, which may have options of its own: `finish --apply`."""
    words = name.split()
    own = tuple(word for word in words if word.startswith("-"))
    options = options_given(state, "" if name == "explain" else project)  # which knows every project
    return command_line(" ".join(word for word in words if word not in own), manifest, (*options, *own))


def _html(made: Report, command: Callable[[str], str]) -> str:
    from migrate.report.html import html  # Jinja2: loaded by who needs it

    return html(made, command)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    if str(path) == "-":
        file_to_stdout(text)
        return
    try:
        if not path.name or path.is_dir():
            raise UsageError(f"{path}: is a folder", "name a file")
        if path.exists() and not path.is_file():  # a pipe, a device
            path.write_bytes(text.encode("utf-8"))
        else:
            _replace(path.resolve(), text.encode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", "name another file") from None
    say(f"written: {path}")


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".rahti-migrate-{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
