"""`rahti-migrate init`: write a manifest from what the source projects hold."""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from migrate.cli.ends import ends_like, named_ends
from migrate.cli.options import VerboseOption, result, say, set_up_logging
from migrate.cli.program import command_line
from migrate.cli.session import Session, questions, session_of
from migrate.cluster import Cluster, ClusterError, Problem, advice
from migrate.discover.found import FoundProject
from migrate.discover.stage import Source, discover
from migrate.discover.text import flow, manifest_text, scalar
from migrate.errors import ExitCode, LoginError, MigrateError, UsageError
from migrate.images.plan import Action, Copy
from migrate.images.planner import Scope, resolve
from migrate.kinds import PROJECT
from migrate.manifest import Manifest, ManifestError, parse_manifest
from migrate.quantities import FEW, count, format_size

ProjectsArgument = Annotated[
    list[str],
    typer.Argument(metavar="PROJECT...", help="Source projects; OLD=NEW where the target project has another name."),
]
ToOption = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="The manifest to write.  [default: <first project>.yaml]"),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
InUseOption = Annotated[
    bool, typer.Option("--only-in-use", help="Take only what workloads name; the rest becomes comments.")
]
LikeOption = Annotated[
    Path | None, typer.Option("--like", metavar="MANIFEST", help="Copy source and target from this manifest.")
]
SourceContextOption = Annotated[
    str, typer.Option("--source-context", metavar="CONTEXT", help="Kubeconfig context of the source.")
]
TargetContextOption = Annotated[
    str, typer.Option("--target-context", metavar="CONTEXT", help="Kubeconfig context of the target.")
]
SourceRegistryOption = Annotated[
    str,
    typer.Option(
        "--source-registry",
        metavar="HOST",
        help="Registry of the source; http://HOST for one without TLS."
        "  [default: that of its context's cluster, else Rahti 1's]",
    ),
]
TargetRegistryOption = Annotated[
    str,
    typer.Option(
        "--target-registry",
        metavar="HOST",
        help="Registry of the target; http://HOST for one without TLS."
        "  [default: that of its context's cluster, else Rahti 2's]",
    ),
]


def init(
    projects: ProjectsArgument,
    to: ToOption = None,
    force: ForceOption = False,
    only_in_use: InUseOption = False,
    like: LikeOption = None,
    source_context: SourceContextOption = "",
    target_context: TargetContextOption = "",
    source_registry: SourceRegistryOption = "",
    target_registry: TargetRegistryOption = "",
    verbose: VerboseOption = 0,
) -> int:
    """Write a manifest from what the source projects hold; reads only.

    Example: rahti-migrate init my-app=my-app-2 --to my-app.yaml
    """
    set_up_logging(verbose)
    names = _names(projects)
    path = to or Path(f"{next(iter(names))}.yaml")
    path = _place(path, force=force)
    own = (source_context, target_context, source_registry, target_registry)
    if like and any(own):
        raise UsageError("--like gives both ends: leave --source-... and --target-... out", "or leave --like out")
    ends = ends_like(like, path) if like else named_ends(*own)
    with session_of(Session(_first_manifest(path, ends, names), "", hasty=True)) as session, questions() as executor:
        found = _found(session, names, executor, only_in_use=only_in_use)
        text = manifest_text(_head(session, path, names), ends, found, only_in_use=only_in_use)
        made = _checked(text, path)
        _write(path, text, force=force)
        wanted = _resolved(session, made, executor)
    return _say(path, found, wanted)


def _place(path: Path, *, force: bool) -> Path:
    """Where the file goes: looked at before anything is read, links followed.

    Raises:
        UsageError: something is there that stays, or nothing can be written there.
    """
    if path.name in ("", "-"):
        raise UsageError(f"--to {str(path)!r} is no file name", "give another with --to FILE")
    path = path.parent / path.name if not path.is_symlink() else path.resolve()
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(
            f"{path} cannot be written: it is a folder, or in none that you may write to", "give another with --to FILE"
        )
    if path.exists() and not force:
        raise UsageError(f"{path} is there already, and nothing was written", "use --force to replace it, or --to FILE")
    return path


def _names(projects: Iterable[str]) -> dict[str, str]:
    """Source project -> target project, of what was typed."""
    names: dict[str, str] = {}
    for text in projects:
        source, equals, target = text.partition("=")
        if not source or (equals and not target):
            raise UsageError(f"{text!r} is no project", "write PROJECT, or OLD=NEW")
        if names.get(source, target or source) != (target or source):
            raise UsageError(f"{source} is named twice, with two names at the target", "name it once")
        names[source] = target or source
    return names


def _first_manifest(path: Path, ends: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> Manifest:
    """The manifest that means everything in the projects.

    Raises:
        UsageError: a name, or an end, cannot be one.
    """
    renamed = "{" + ", ".join(f"{scalar(old)}: {scalar(new)}" for old, new in names.items()) + "}"
    sides = "".join(f"{end}: {flow(side)}\n" for end, side in ends.items())
    return _checked(f"version: 1\n{sides}projects: {renamed}\nimages: {flow(list(names))}\n", path)


def _checked(text: str, path: Path) -> Manifest:
    try:
        return parse_manifest(text.encode(), path)
    except ManifestError as error:
        raise UsageError(error.problems[0].message, "check the names that were given") from None


def _found(session: Session, names: Mapping[str, str], executor: Executor, *, only_in_use: bool) -> list[FoundProject]:
    _check_source(session)
    cluster = session.image_cluster("source")
    if cluster is None and only_in_use:
        words = "--only-in-use needs the source's OpenShift API, which tells of the workloads"
        raise UsageError(words, "log in (oc login), and give --source-context")
    if cluster:
        _check_projects(cluster, names)
    say(f"looking at {', '.join(names) if len(names) <= FEW else f'{len(names):,} projects'} ...")
    look = session.lookups(lambda _: None)
    hosts = frozenset(session.manifest.file.platform.source.registries or ())
    source = Source(
        session.source.host, names, _scope(session), look, executor, cluster, session.planned_streams, hosts, say
    )
    found = discover(source, session.requests())
    if not any(stream.tags or stream.digests for project in found for stream in project.streams):
        reasons = [note for project in found for note in project.notes]
        words = f"nothing was found in {', '.join(names)}{f': {reasons[0]}' if reasons else ''}"
        raise MigrateError(words, "check the names, and whether the login may see them (oc get imagestreams -n ...)")
    if only_in_use:
        _check_in_use(found)
    return found


def _check_in_use(found: Sequence[FoundProject]) -> None:
    """Look whether it is known what is in use: what is left out by mistake would be missed.

    Raises:
        MigrateError: it is not known, or it is nothing.
    """
    unknown = [project.name for project in found if project.unread or project.workloads is None]
    if unknown:
        words = f"not all workloads of {', '.join(unknown)} can be read: what they use would be left out"
        raise MigrateError(words, "leave --only-in-use out, or ask for the right to read them (the role view)")
    if not any(stream.is_used for project in found for stream in project.streams):
        words = f"no workload names an image of {', '.join(project.name for project in found)}: nothing would be moved"
        raise MigrateError(words, "leave --only-in-use out")


def _check_source(session: Session) -> None:
    """Ask the source registry; what a manifest would say of TLS is said in the words of `init`."""
    try:
        session.check_end("source")
    except LoginError as error:
        has_api = session.image_cluster("source") is not None
        way = "log in again (oc login ...), then run again" if has_api else error.advice
        raise LoginError(error.what, way.replace("in the manifest", "in a manifest, and give it with --like")) from None
    except MigrateError as error:
        if "TLS" not in error.what:
            raise
        advice = (
            "--source-registry http://HOST for one without TLS; for `caFile` write a manifest and give it with --like"
        )
        raise MigrateError(error.what, advice) from None


def _scope(session: Session) -> Scope:
    return Scope(session.manifest.file.target.registry, aliases=True)


def _check_projects(cluster: Cluster, names: Iterable[str]) -> None:
    """Look whether the projects are there.

    Raises:
        LoginError: the API does not take the login.
        UsageError: one is not.
    """
    for name in names:
        try:
            there = cluster.get(PROJECT, name) is not None
        except ClusterError as error:
            if error.problem is Problem.LOGIN:
                words = f"the API {cluster.server} does not accept the login ({cluster.origin}): {error.words}"
                raise LoginError(words, "log in again (oc login ...), then run again") from None
            if error.problem is not Problem.FORBIDDEN:
                raise MigrateError(f"{cluster.server}: {error}", advice(error.problem, name)) from None
            there = False
        if not there:
            words = f"there is no project {name} at {cluster.server}, or it is not yours to see"
            raise UsageError(words, "see which there are: oc get projects")


def _head(session: Session, path: Path, names: Iterable[str]) -> list[str]:
    cluster = session.image_cluster("source")
    where = cluster.server if cluster else session.source.host
    commands = [command_line(name, path) for name in ("check", "plan", "run")]
    means = ("is everything ready?", "what would be copied", "copy, verify, show the final step")
    width = max(map(len, commands))
    return [
        f"Made by `rahti-migrate init` on {date.today():%Y-%m-%d} from what {', '.join(names)} held on {where}.",
        "Edit it: take out what need not move, rename with `to:`, choose tags. rahti-migrate only reads it.",
        "",
        *(f"  {command:<{width}}   {meaning}" for command, meaning in zip(commands, means, strict=True)),
        "",
    ]


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write the file whole or not at all; never over one that came meanwhile."""
    try:
        if force:
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as fresh:
                name = Path(fresh.name)
                try:
                    fresh.write(text)
                    fresh.flush()
                    name.chmod(0o644)
                    name.replace(path)
                except OSError:
                    name.unlink(missing_ok=True)
                    raise
            return
        with path.open("x") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink()
                raise
    except FileExistsError:
        raise UsageError(f"{path} is there by now, and was not touched", "use --force to replace it") from None
    except OSError as error:
        raise MigrateError(f"{path} cannot be written: {error.strerror}", "name another place: --to FILE") from None


def _resolved(session: Session, made: Manifest, executor: Executor) -> list[Copy]:
    """What the written manifest means, as `plan` will see it."""
    again = Session(made, "", hasty=True)
    return resolve(again.requests(), _scope(again), session.lookups(lambda _: None), executor)[0] if made.images else []


def _say(path: Path, found: Sequence[FoundProject], wanted: Sequence[Copy]) -> int:
    streams = {copy.source.repository for copy in wanted}
    sizes = {copy.source.digest or str(copy.source): copy.size for copy in wanted}
    tags = [tag for project in found for stream in project.streams for tag in stream.tags]
    size = format_size(sum(sizes.values()))
    lines = [f"wrote {path}: {count(len(wanted), 'tag')} of {count(len(streams), 'image stream')}, {size}"]
    if any(project.workloads is not None for project in found):
        used = sum(bool(tag.users) for tag in tags)
        lines.append(f"  in use by workloads: {used:,} of {count(len(tags), 'tag')}")
    refused = [copy for copy in wanted if copy.action is Action.REFUSED]
    lines += [f"  cannot be copied: {copy.source.short}: {copy.reason}" for copy in refused[:10]]
    lines += [f"  and {len(refused) - 10:,} more"] if len(refused) > 10 else []
    lines += [f"  note: {note}" for project in found for note in (*project.notes, *project.access_notes)]
    result([*lines, f"Next: {command_line('check', path)}"])
    return ExitCode.INCOMPLETE if refused else ExitCode.OK
