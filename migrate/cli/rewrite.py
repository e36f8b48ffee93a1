"""`rahti-migrate rewrite`: workloads of the source as the target runs them, with every change explained."""

import difflib
import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from migrate.access.stage import login_refused
from migrate.cli.clusters import api_advice
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
from migrate.cli.session import Session, session_of
from migrate.cluster import ClusterError, Problem, advice
from migrate.errors import ExitCode, MigrateError, UsageError
from migrate.manifest import Manifest, load_manifest
from migrate.manifest.model import ManifestFile, RewriteOptions, WorkloadEntry, WorkloadSource, valid_project
from migrate.printable import printable
from migrate.quantities import FEW, count, quoted
from migrate.report import workloads as show
from migrate.report.elsewhere import Pointer
from migrate.state.memory import State
from migrate.state.opening import read_state
from migrate.state.reading import NoStateError
from migrate.workloads.context import Context, MovedImages, context_of
from migrate.workloads.findings import Finding
from migrate.workloads.folder import RECORD, Output, Rewritten, check_place, rewrite_all, write
from migrate.workloads.live import Exported, export_project
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
    typer.Option("--option", metavar="NAME=VALUE", help="One of `options` of the manifest, such as hooks=job."),
]
DiffOption = Annotated[bool, typer.Option("--diff", help="Only show what would change, as a diff; write nothing.")]
SecretsOption = Annotated[
    bool, typer.Option("--secrets", help="Read the Secrets of projects too (from: {cluster: source, ...}).")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace rewritten files that were changed by hand since.")]


@dataclass(frozen=True)
class Task:
    """One rewrite: files or folders, a folder to write to, and what the rules are to know.

    `live` is the source project whose objects `texts` are; `unread` are kinds of it that could not be read, and why.
    """

    paths: tuple[Path, ...]
    to: Path | None
    context: Context
    live: str = ""
    texts: Mapping[str, bytes] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Prepared:
    """What `finish` has rewritten.

    Attributes:
        pointers: what else points at the old cluster.
        troubles: folders that are not whole, and why.
        findings: of each folder that was written.
    """

    pointers: list[Pointer] = field(default_factory=list)
    troubles: dict[Path, list[str]] = field(default_factory=dict)
    findings: dict[Path, list[Finding]] = field(default_factory=dict)


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
    """Write workloads anew for the target: API groups, Deployments for DeploymentConfigs, names of images, storage,
    hosts, limits; writes to no cluster, and never to the files it reads.

    Example: rahti-migrate rewrite my-app.yaml
    """
    set_up_logging(verbose)
    manifest = paths[0] if len(paths) == 1 and _is_manifest(paths[0], to) else None
    if manifest is not None:
        _refuse_with_manifest(to, project_map)
        loaded = load_manifest(manifest)
        tasks = _tasks(loaded, project, option or (), _moved(loaded, state), secrets=secrets)
    else:
        tasks = [_loose_task(paths, to, project, project_map or (), option or (), diff=diff)]
    _check_places(tasks)
    reports = [_run(task, diff=diff, force=force) for task in tasks]
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


def _run(task: Task, *, diff: bool, force: bool) -> show.RewriteReport:
    gc.disable()  # trees of millions of nodes that all stay: looking for garbage among them costs a third of the time
    rewritten = rewrite_all(task.paths, task.context, task.texts)
    gc.enable()
    written: Output | None = None
    if not diff:
        assert task.to is not None
        written = write(rewritten, task.to, force=force)
    places = f"project {task.live} of the source" if task.live else ", ".join(map(str, task.paths))
    registry = task.context.registries.target_external
    return show.RewriteReport(places, str(task.to or ""), task.context.project, rewritten, written, registry)


def _check_places(tasks: Sequence[Task]) -> None:
    """Before the first file is written: no folder is an input, or is written to twice."""
    inputs = [path for task in tasks for path in task.paths]
    seen: set[Path] = set()
    for task in tasks:
        if task.to is None:
            continue
        check_place(task.to, inputs)
        place = task.to.resolve()
        if any(place == other or place in other.parents or other in place.parents for other in seen):
            raise UsageError(f"{task.to}: two of `workloads` are written there", "give each a folder of its own")
        seen.add(place)


# --- with a manifest --------------------------------------------------------------------------------------------


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
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return "version" in seen or to is None


def rewrite_for_finish(session: Session, state: Path | None) -> Prepared:
    """Write the workloads of a manifest as they are to be applied, and say what waits for a human.

    A project that was read from the cluster before is not read again: its files are there. One that can be read only in
    part is not written: it would be taken for the whole from then on.
    """
    prepared = Prepared()
    manifest = session.manifest
    chosen = [
        entry
        for entry in entries_for(manifest, session.project)
        if not (isinstance(entry.from_, WorkloadSource) and (manifest.file_path(entry.to) / RECORD).exists())
    ]
    tasks = _tasks_of(session, chosen, (), _moved(manifest, state), secrets=False)
    _check_places(tasks)
    reports = []
    for task in tasks:
        if task.unread and task.to is not None:
            way = f"try again, or go on without: {command_line('rewrite', manifest.path)}"
            prepared.troubles[task.to] = [
                f"{plural} of project {task.live} could not be read: {words}; {way}"
                for plural, words in task.unread.items()
            ]
            continue
        report = _run(task, diff=False, force=False)
        reports.append(report)
        if len(tasks) <= FEW or report.needs_human:
            say(show.rewrite_summary(report))
        if report.needs_human:
            say(f"  -> see: {command_line('rewrite', manifest.path)}")
        prepared.pointers += report.pointers
        if task.to is not None:
            prepared.findings[task.to] = list(report.rewritten.findings)
    if len(tasks) > FEW:
        say(show.rewrites_summary(reports))
    return prepared


def _refuse_with_manifest(to: Path | None, project_map: Sequence[str] | None) -> None:
    if to is not None or project_map:
        raise UsageError(
            "--to and --project-map do not go with a manifest", "write `to` under `workloads`, and `projects`"
        )


def _tasks(
    manifest: Manifest, project: str, changes: Sequence[str], images: MovedImages, *, secrets: bool
) -> list[Task]:
    """The rewrites that a manifest asks for."""
    if not manifest.file.workloads:
        say("nothing to rewrite: the manifest has no `workloads`")
    entries = entries_for(manifest, project)
    if manifest.file.workloads and not entries:
        known = ", ".join(sorted({entry.project for entry in manifest.file.workloads}))
        raise UsageError(f"no entry of `workloads` is for project {quoted(project)}", f"there are: {known}")
    if changes:
        say("note: --option is for this time; `finish` takes what stands under `options` in the manifest")
    with session_of(Session(manifest, "")) as session:
        return _tasks_of(session, entries, changes, images, secrets=secrets)


def entries_for(manifest: Manifest, project: str) -> list[WorkloadEntry]:
    """The entries of `workloads` for a project, by its name at the target or the source; all where none is named."""
    names = ("", project, manifest.file.projects.get(project, project))
    entries = manifest.file.workloads or ()
    return [entry for entry in entries if not project or entry.project in names]


def _tasks_of(
    session: Session, entries: Sequence[WorkloadEntry], changes: Sequence[str], images: MovedImages, *, secrets: bool
) -> list[Task]:
    tasks, manifest = [], session.manifest
    for entry in entries:
        context = context_of(manifest.file, entry.project, _changed(entry.options, changes), images)
        to = manifest.file_path(entry.to)
        if isinstance(entry.from_, WorkloadSource):
            read = _exported(session, entry.from_.project, secrets=secrets)
            context = context.with_source(entry.from_.project)
            tasks.append(Task((), to, context, entry.from_.project, read.files, read.unread))
        else:
            tasks.append(Task((manifest.file_path(str(entry.from_)),), to, context))
    return tasks


def _exported(session: Session, project: str, *, secrets: bool) -> Exported:
    """The objects of a source project, as they are now.

    Raises:
        UsageError: the manifest names no API of the source.
        LoginError: its login is not taken.
        MigrateError: it is out of reach.
    """
    cluster = session.cluster("source")
    if cluster is None:
        words = f"workloads of project {project} are read by the source's OpenShift API, and none is named"
        raise UsageError(words, api_advice("source"))
    try:
        read = export_project(cluster, project, secrets=secrets)
    except ClusterError as error:
        if error.problem is Problem.LOGIN:
            raise login_refused(cluster, error) from None
        raise MigrateError(str(error), advice(error.problem, project)) from None
    for plural, words in read.unread.items():
        say(f"project {project}: {plural} could not be read, and are not rewritten: {words}")
    if read.owned:
        what = "made by others of its objects (pods of deployments and the like)"
        say(f"project {project}: passed over {count(read.owned, 'object')} {what}")
    return read


def _moved(manifest: Manifest, state: Path | None) -> MovedImages:
    """Which images the manifest moves, and the digests that the copies of its state ended with."""
    requests = manifest.images if manifest.file.images is not None else None
    digests: Mapping[tuple[str, str], tuple[str, str]] = {}
    try:
        with read_state(state_path(manifest.path, state), manifest.path, manifest.file.target.registry) as kept:
            digests = kept.digests_of_copies(manifest.file.source.registry)
    except NoStateError:
        if requests is not None:
            say(
                "note: there is no state yet: references by digest stay unsettled until the images are copied:"
                f" {command_line('copy', manifest.path)}"
            )
    return MovedImages(requests, digests)


# --- without a manifest -----------------------------------------------------------------------------------------


def _loose_task(
    paths: Sequence[Path], to: Path | None, project: str, maps: Sequence[str], changes: Sequence[str], *, diff: bool
) -> Task:
    if not project:
        raise UsageError("which project is it for?", "say --project NEW, the target project")
    if not valid_project(project):
        raise UsageError(f"--project: {quoted(project)} is not a project name", "lower-case letters, digits and -")
    if to is None and not diff:
        raise UsageError("where to?", "say --to DIR, a folder for the rewritten files; or --diff to only look")
    context = context_of(ManifestFile(version=1), project, _changed(RewriteOptions(), changes), MovedImages())
    return Task(tuple(paths), to, replace(context, projects=dict(_pair(each) for each in maps)))


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign or not valid_project(old) or not valid_project(new):
        raise UsageError(f"--project-map: {quoted(text)} is not OLD=NEW", "such as --project-map my-app=my-app-2")
    return old, new


def _changed(options: RewriteOptions, changes: Sequence[str]) -> RewriteOptions:
    """Options with those of the command line in them."""
    data: dict[str, object] = options.model_dump(by_alias=True)
    for each in changes:
        name, sign, value = each.partition("=")
        if not sign or name not in data:
            raise UsageError(f"--option: there is no option {quoted(name)}", f"there are: {', '.join(data)}")
        data[name] = {"true": True, "false": False}.get(value, value)
    try:
        return RewriteOptions.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--option {first['loc'][0]}: {first['msg']}", "docs/rules.md lists the options") from None


def _diff(rewritten: Rewritten) -> Iterator[str]:
    """A unified diff of every file that changes; values of Secrets are hidden."""
    for name in sorted([*rewritten.changed, *rewritten.gone]):
        secrets = re.compile("|".join(map(re.escape, sorted(rewritten.secrets.get(name, ()), key=len, reverse=True))))
        old = rewritten.before[name].decode(errors="replace").splitlines()
        new = (rewritten.files.get(name) or b"").decode(errors="replace").splitlines()
        for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm=""):
            line = secrets.sub(HIDDEN, line) if secrets.pattern else line
            yield printable(line, 100_000) if not line.isprintable() and "\t" not in line else line
