"""What a rewrite works on, from a manifest or from what was named: folders and projects, options, images that moved."""

import gc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from migrate.access.stage import login_refused
from migrate.cli.clusters import api_advice
from migrate.cli.options import say
from migrate.cli.paths import state_path
from migrate.cli.program import command_line
from migrate.cli.session import Session, session_of
from migrate.cluster import ClusterError, Problem, advice
from migrate.errors import MigrateError, UsageError
from migrate.manifest import Manifest
from migrate.manifest.model import ManifestFile, RewriteOptions, WorkloadEntry, WorkloadSource
from migrate.manifest.values import valid_project
from migrate.quantities import FEW, count, quoted
from migrate.report import workloads as show
from migrate.report.elsewhere import Pointer
from migrate.state.opening import read_state
from migrate.state.reading import NoStateError
from migrate.workloads.context import Context, MovedImages, context_of
from migrate.workloads.findings import Finding
from migrate.workloads.folder import RECORD, Output, check_place, rewrite_all, write
from migrate.workloads.live import Exported, export_project


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
    tasks = _of_entries(session, chosen, (), moved_images(manifest, state), secrets=False)
    check_places(tasks)
    reports = []
    for task in tasks:
        if task.unread and task.to is not None:
            way = f"try again, or continue without: {command_line('rewrite', manifest.path)}"
            prepared.troubles[task.to] = [
                f"{plural} of project {task.live} could not be read: {words}; {way}"
                for plural, words in task.unread.items()
            ]
            continue
        report = rewrite_task(task, diff=False, force=False)
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


def tasks_of(
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
        return _of_entries(session, entries, changes, images, secrets=secrets)


def entries_for(manifest: Manifest, project: str) -> list[WorkloadEntry]:
    """The entries of `workloads` for a project, by its name at the target or the source; all where none is named."""
    names = ("", project, manifest.file.projects.get(project, project))
    entries = manifest.file.workloads or ()
    return [entry for entry in entries if not project or entry.project in names]


def _of_entries(
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


def moved_images(manifest: Manifest, state: Path | None) -> MovedImages:
    """Which images the manifest moves, and what its state knows: the tags that plans found, the digests of copies."""
    requests = manifest.images if manifest.file.images is not None else None
    digests: Mapping[tuple[str, str], tuple[str, str]] = {}
    planned: Mapping[str, Collection[str] | None] = {}
    try:
        with read_state(state_path(manifest.path, state), manifest.path, manifest.file.target.registry) as kept:
            digests = kept.digests_of_copies(manifest.file.source.registry)
            planned = kept.planned_tags()
    except NoStateError:
        if requests is not None:
            say(
                "note: there is no state yet: references by digest stay unsettled until the images are copied:"
                f" {command_line('copy', manifest.path)}"
            )
    return MovedImages(requests, digests, planned)


# --- without a manifest -----------------------------------------------------------------------------------------


def loose_task(
    paths: Sequence[Path], to: Path | None, project: str, maps: Sequence[str], changes: Sequence[str], *, diff: bool
) -> Task:
    """What a rewrite without a manifest works on, by what was typed."""
    if not project:
        raise UsageError("which project is it for?", "give --project NEW, the target project")
    if not valid_project(project):
        raise UsageError(f"--project: {quoted(project)} is not a project name", "lower-case letters, digits and -")
    if to is None and not diff:
        raise UsageError("where to?", "give --to DIR, a folder for the rewritten files; or --diff to only look")
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
        right = first.get("ctx", {}).get("expected") or "true or false"
        words = f"--option {first['loc'][0]}: {quoted(str(first['input']))} is not right here: give {right}"
        raise UsageError(words, "docs/rules.md says what each option does") from None


def rewrite_task(task: Task, *, diff: bool, force: bool) -> show.RewriteReport:
    """Do one; `diff` writes nothing, `force` replaces what somebody changed by hand."""
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


def check_places(tasks: Sequence[Task]) -> None:
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
