"""`rahti-migrate explain`: everything known about one image. Reads the state only."""

from functools import partial
from typing import Annotated

import typer

from migrate.cli.options import (
    AskedArgument,
    FormatOption,
    OutputFormat,
    StateOption,
    VerboseOption,
    json_document,
    result,
    set_up_logging,
)
from migrate.cli.paths import asked_of, state_path
from migrate.cli.report import command_for
from migrate.errors import ExitCode
from migrate.lock import holder
from migrate.report.build import build_report, dropped_images
from migrate.report.explain import explain as explained
from migrate.report.explain import explain_document, explain_lines, find_image
from migrate.state.reading import read_records

ImageArgument = Annotated[
    str, typer.Argument(metavar="IMAGE", help="A target or source, with or without its registry; or a digest.")
]


def explain(
    manifest: AskedArgument,
    image: ImageArgument,
    state: StateOption = None,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show everything known about one image: what it is, what became of it and why, tries, digests, who may pull it,
    which workloads name it. Asks no registry.

    Example: rahti-migrate explain my-app.yaml my-app-2/web:1.4
    """
    set_up_logging(verbose)
    manifest, state = asked_of(manifest, state)
    path = state_path(manifest, state)
    command = partial(command_for, manifest, state, "")
    with read_records(path, manifest, target=None) as records:
        report = build_report(records, command, writer=str(holder(path) or ""))
        found = explained(report, records, find_image(report, image, dropped_images(records)))
    if output is OutputFormat.JSON:
        json_document(explain_document(found))
    else:
        result(explain_lines(found))
    return ExitCode.OK
