"""The stage as a whole: what each source project holds, who uses it, who may pull from it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from migrate.access.read import ClusterRoles
from migrate.cluster import Cluster, ClusterError
from migrate.discover.found import (
    FoundDigest,
    FoundProject,
    FoundStream,
    Users,
    found_tag,
    name_of,
    users_by_image,
    with_followed,
)
from migrate.discover.read import Allowed, Uses, read_access, read_uses
from migrate.discover.uses import AnyUse, OutsideUse, UnclearUse, Use
from migrate.images.lookups import Lookups, answers
from migrate.images.plan import Copy
from migrate.images.planner import Scope, resolve
from migrate.images.registry import RegistryError
from migrate.images.streams import ImageStream, StreamCatalog
from migrate.manifest import ImageRequest
from migrate.manifest.rahti import SOURCE_REGISTRIES
from migrate.reference import Reference, Repository


@dataclass(frozen=True)
class Source:
    """What is asked.

    Attributes:
        registry: the source registry's host.
        projects: source project -> target project, of all that is looked at.
        scope: of the planner, for resolving.
        look: asks the registries.
        executor: many questions at a time go through it.
        cluster: the source's API; None where there is none.
        catalog: its image streams; None where there is no API.
        hosts: further names of the source registry.
        tell: takes words for a person.
    """

    registry: str
    projects: Mapping[str, str]
    scope: Scope
    look: Lookups
    executor: Executor
    cluster: Cluster | None
    catalog: StreamCatalog | None
    hosts: frozenset[str]
    tell: Callable[[str], None]

    def streams(self, project: str) -> Mapping[str, ImageStream]:
        """A project's image streams by path, where the API tells of them."""
        return (self.catalog.project(self.registry, project) if self.catalog else None) or {}


def discover(source: Source, requests: Sequence[ImageRequest]) -> list[FoundProject]:
    """What the projects hold; `requests` are one for each project, and mean everything in it."""
    uses = {name: _uses(source, name) for name in source.projects}
    users = _users(source, uses)
    roles = ClusterRoles(source.cluster, legacy=True) if source.cluster else None
    return [_project(source, request, users, uses[request.source.repository.path], roles) for request in requests]


def in_use(source: Source) -> Users:
    """What the workloads of the projects name, each image with who names it; nothing where they cannot be read."""
    return _users(source, {name: _uses(source, name) for name in source.projects})


def _users(source: Source, uses: Mapping[str, Uses | None]) -> Users:
    users = users_by_image(use for found in uses.values() if found for use in found.named)
    return with_followed(users, dict(pair for name in source.projects for pair in _aliases(source.streams(name))))


def _aliases(streams: Mapping[str, ImageStream]) -> Iterator[tuple[str, str]]:
    """Alias -> what it follows, both as project/stream:tag."""
    for path, stream in streams.items():
        for tag in stream.tags.values():
            if tag.follows:
                yield f"{path}:{tag.name}", "{}/{}:{}".format(*tag.follows)


def _uses(source: Source, name: str) -> Uses | None:
    if source.cluster is None:
        return None
    streams = source.streams(name)
    hosts = source.hosts.union({source.registry}, SOURCE_REGISTRIES, *(stream.hosts for stream in streams.values()))

    def is_local(project: str, stream: str) -> bool:
        known = streams.get(f"{project}/{stream}")
        return known is not None and known.local_lookup

    try:
        return read_uses(source.cluster, name, hosts, is_local)
    except ClusterError as error:
        source.tell(f"note: the workloads of {name} cannot be read ({error.words})")
        return None


def _access(source: Source, name: str, roles: ClusterRoles | None) -> tuple[Sequence[Allowed] | None, Sequence[str]]:
    if source.cluster is None or roles is None:
        return None, ()
    try:
        return read_access(source.cluster, roles, name, source.projects[name], source.projects)
    except ClusterError as error:
        return None, [f"who may pull from {name} cannot be read ({error.words})"]


def _project(
    source: Source, request: ImageRequest, users: Users, uses: Uses | None, roles: ClusterRoles | None
) -> FoundProject:
    name = request.source.repository.path
    copies, notes = resolve([request], source.scope, source.look, source.executor)
    tags: dict[str, list[Copy]] = {path: [] for path in source.streams(name)}
    for copy in copies:
        if copy.target.tag:
            tags.setdefault(name + copy.target.repository.path.removeprefix(request.target_path), []).append(copy)
    streams = [_stream(source, path, tags[path], users, notes) for path in sorted(tags)]
    refused = [f"{copy.source.short}: {copy.reason}" for copy in copies if not copy.target.tag and not tags]
    named = {name_of(use): use for use in uses.named} if uses else {}
    access, unsaid = _access(source, name, roles)
    return FoundProject(
        name,
        source.projects[name],
        streams,
        access,
        uses.workloads if uses else None,
        outside={image: users[image] for image, use in named.items() if isinstance(use, OutsideUse)},
        elsewhere={image: users[image] for image, use in named.items() if _is_elsewhere(use, source.projects)},
        missing={image: users[image] for image, use in named.items() if _is_missing(use, name, streams)},
        unclear={image: users[image] for image, use in named.items() if isinstance(use, UnclearUse)},
        unread=uses.unread if uses else (),
        notes=[*refused, *_unread(name, uses)],
        access_notes=unsaid,
    )


def _unread(name: str, uses: Uses | None) -> Iterator[str]:
    if uses and uses.unread:
        yield f"the {', '.join(uses.unread)} of {name} cannot be read ({uses.why}): more may be in use"


def _is_elsewhere(use: AnyUse, projects: Iterable[str]) -> bool:
    return isinstance(use, Use) and use.project not in set(projects)


def _is_missing(use: AnyUse, project: str, streams: Iterable[FoundStream]) -> bool:
    """Whether a tag is named that is not there; digests have entries of their own where their image stream is."""
    if not isinstance(use, Use) or use.project != project:
        return False
    found = next((stream for stream in streams if stream.path == f"{project}/{use.stream}"), None)
    return found is None or (bool(use.tag) and use.tag not in {tag.name for tag in found.tags})


def _stream(source: Source, path: str, copies: Sequence[Copy], users: Users, notes: Iterable[str]) -> FoundStream:
    told = source.streams(path.partition("/")[0]).get(path)
    dates: Mapping[Reference, str] = {}
    if told is None:
        dates, _ = answers(source.executor, source.look.created, [copy.source for copy in copies])
    tags = [
        found_tag(copy, path, told.tags.get(copy.target.tag) if told else None, dates.get(copy.source, ""), users)
        for copy in copies
    ]
    never = [note.removeprefix(f"{path}:") for note in notes if note.startswith(f"{path}:") and " never " in note]
    return FoundStream(path, tags, _digests(source, path, {t.digest for t in tags}, users), never)


def _digests(source: Source, path: str, known: set[str], users: Users) -> list[FoundDigest]:
    """What workloads name of an image stream by a digest that no tag has now."""
    named = {image.partition("@")[2]: who for image, who in users.items() if image.startswith(f"{path}@")}
    found = []
    for digest, who in named.items():
        if digest in known:
            continue
        try:
            manifest = source.look.manifest(Repository(source.registry, path), digest)
            size = manifest.config.size + sum(max(layer.size, 0) for layer in manifest.layers) if manifest.layers else 0
            found.append(FoundDigest(digest, who, size))
        except RegistryError as error:
            found.append(FoundDigest(digest, who, problem=str(error.failure)))
    return found
