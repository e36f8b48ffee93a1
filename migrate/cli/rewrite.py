"""`rahti-migrate rewrite`: workloads of the source as the target runs them, with every change explained."""

import difflib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from migrate.cli.memory import keep
from migrate.cli.options import (
    FormatOption,
    OutputFormat,
    StateOption,
    VerboseOption,
    json_document,
    result,
    say,
    set_up_logging,
)
from migrate.cli.paths import state_path
from migrate.cli.program import command_line, options_given
from migrate.cli.rewriting import check_places, loose_task, moved_images, rewrite_task, tasks_of
from migrate.errors import ExitCode, UsageError
from migrate.manifest import load_manifest
from migrate.printable import printable
from migrate.report import workloads as show
from migrate.state.memory import State
from migrate.workloads.folder import Rewritten
from migrate.workloads.parse import UnreadableError, top_keys
from migrate.workloads.shown import HIDDEN

PathsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="MANIFEST|PATH...", help="A manifest; or files and folders, with --to and --project."),
]
ToOption = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="Without a manifest: the folder for the rewritten files.")
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--project", metavar="NEW", help="Without a manifest: the target project; with one: only what is for it."
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--project-map", metavar="OLD=NEW", help="Without a manifest: a source project and its target."),
]
OptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option", metavar="NAME=VALUE", help="Set one of the rules' options (docs/rules.md), such as hooks=job."
    ),
]
DiffOption = Annotated[bool, typer.Option("--diff", help="Only show what would change, as a diff; writes nothing.")]
SecretsOption = Annotated[
    bool, typer.Option("--secrets", help="Where workloads are read from a cluster: its Secrets, too.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace rewritten files that were edited since.")]


def rewrite(
    paths: PathsArgument,
    to: ToOption = None,
    project: TargetOption = "",
    project_map: MapOption = None,
    option: OptionOption = None,
    diff: DiffOption = False,
    force: ForceOption = False,
    secrets: SecretsOption = False,
    state: StateOption = None,
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Rewrite workloads for the target: API groups, Deployments for DeploymentConfigs, names of images, storage,
    hosts, limits; writes to no cluster, and never to the files it reads.

    Example: rahti-migrate rewrite my-app.yaml
    """
    set_up_logging(verbose)
    manifest = paths[0] if len(paths) == 1 and _is_manifest(paths[0], to) else None
    if manifest is not None:
        _refuse_with_manifest(to, project_map)
        loaded = load_manifest(manifest)
        tasks = tasks_of(loaded, project, option or (), moved_images(loaded, state), secrets=secrets)
    else:
        tasks = [loose_task(paths, to, project, project_map or (), option or (), diff=diff)]
    check_places(tasks)
    reports = [rewrite_task(task, diff=diff, force=force) for task in tasks]
    if manifest is not None and not diff:
        keep(loaded, state_path(manifest, state), "rewrite", partial(_record, reports))
    needs_human = any(report.needs_human for report in reports) or any(task.unread for task in tasks)
    code = ExitCode.INCOMPLETE if needs_human else ExitCode.OK
    if output is OutputFormat.JSON:
        json_document(show.rewrite_document(reports, code))
    elif diff:
        for report in reports:
            result(_diff(report.rewritten))
            for line in show.rewrite_lines(report, verbose=verbose):
                say(line)
    else:
        for report in reports:
            result(show.rewrite_lines(report, verbose=verbose))
        if manifest is not None and reports:
            last = command_line("finish", manifest, options_given(state, project))
            result([f"{'Then' if needs_human else 'Next'}: {last}"])
    return code


def _record(reports: Sequence[show.RewriteReport], kept: State) -> None:
    for report in reports:
        kept.record_findings(report.to, report.project, report.rewritten.findings, show.SAYS)


def _is_manifest(path: Path, to: Path | None) -> bool:
    """Whether a file is a manifest: it has `version` and no `kind`. What cannot be told is one, without --to."""
    if not path.is_file():
        return to is None and not path.exists()
    try:
        seen = []
        for key in top_keys(path.read_text()):
            if key == "kind":
                return False
            seen.append(key)
    except (UnreadableError, UnicodeDecodeError):
        return to is None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", "check its name and mode") from None
    return "version" in seen or to is None


def _refuse_with_manifest(to: Path | None, project_map: Sequence[str] | None) -> None:
    if to is not None or project_map:
        raise UsageError(
            "--to and --project-map do not go with a manifest", "write `to` under `workloads`, and `projects`"
        )


def _diff(rewritten: Rewritten) -> Iterator[str]:
    """A unified diff of every file that changes; values of Secrets are hidden."""
    for name in sorted([*rewritten.changed, *rewritten.gone]):
        secrets = re.compile("|".join(map(re.escape, sorted(rewritten.secrets.get(name, ()), key=len, reverse=True))))
        old = rewritten.before[name].decode(errors="replace").splitlines()
        new = (rewritten.files.get(name) or b"").decode(errors="replace").splitlines()
        for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm=""):
            line = secrets.sub(HIDDEN, line) if secrets.pattern else line
            yield printable(line, 100_000) if not line.isprintable() and "\t" not in line else line
