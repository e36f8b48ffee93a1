"""What the target says of the projects that a plan brings something to; nothing is changed there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial

from migrate.cluster import Cluster, ClusterError, Object, Problem
from migrate.images.failures import Failure
from migrate.images.plan import Plan
from migrate.images.registry import Registry, RegistryError
from migrate.images.streams import mapping, mappings
from migrate.kinds import IMAGE_STREAM, LIMIT_RANGE, PROJECT, RESOURCE_QUOTA, SHARED_QUOTA, Kind

_IMAGE_GROUP = "image.openshift.io"
_MAKE_STREAMS = {"verb": "create", "group": _IMAGE_GROUP, "resource": "imagestreams"}
_GRANT = {"verb": "create", "group": "rbac.authorization.k8s.io", "resource": "rolebindings"}
_PULL = {"verb": "get", "group": _IMAGE_GROUP, "resource": "imagestreams", "subresource": "layers"}


@dataclass(frozen=True)
class Landing:
    """What goes to one target project.

    Attributes:
        project: its name.
        images: repository -> the digests that it gets, in the plan's order.
        granted: whether it is to be said who may pull from it.
    """

    project: str
    images: Mapping[str, frozenset[str]]
    granted: bool = False


def landings(plan: Plan, granted: Iterable[str]) -> list[Landing]:
    """What a plan brings to each target project; `granted` are those whose access is to be set."""
    found: dict[str, dict[str, frozenset[str]]] = {project: {} for project in granted}
    projects = set(found)
    for copy in plan.copies:
        images = found.setdefault(copy.target.repository.project, {})
        if copy.moves or copy.unseen:
            top = copy.delivery.top.digest if copy.delivery and copy.delivery.top else copy.source.digest
            path = copy.target.repository.path
            images[path] = images.get(path, frozenset()) | {top}
    return [Landing(project, images, project in projects) for project, images in found.items()]


@dataclass(frozen=True)
class Target:
    """The target as checks ask it.

    Attributes:
        registry: where images go.
        cluster: its API; None where the manifest names none, or it does not answer.
        user: who asks; empty where that is not known.
        new_project: the line that makes a project, but for its name.
        streams_known: how many image streams are known to be allowed where no quota tells; 0 for no such limit.
    """

    registry: Registry
    cluster: Cluster | None
    user: str
    new_project: Callable[[str], str]
    streams_known: int = 0


@dataclass(frozen=True)
class Found:
    """What the target says of one project.

    Attributes:
        problem: why the API does not show it; None where it does, or is not asked.
        phase: of the project.
        denied: target repository -> why nothing may be pushed there.
        streams: image stream -> the digests that its tags hold; None where they are not told.
        may_make: whether image streams may be made.
        may_grant: whether it may be said who may pull from it.
        may_pull: whether what is there may be pulled, so that layers can be mounted from it.
        quotas: of both kinds.
        ranges: its LimitRanges.
    """

    problem: Problem | None = None
    phase: str = ""
    denied: Mapping[str, Failure] = field(default_factory=dict)
    streams: Mapping[str, frozenset[str]] | None = None
    may_make: bool = True
    may_grant: bool = True
    may_pull: bool = True
    quotas: Sequence[Object] = ()
    ranges: Sequence[Object] = ()


def look_at(target: Target, landing: Landing) -> Found:
    """Ask the target about one project; nothing is changed there."""
    found = Found(denied=_denied(target.registry, landing.images))
    cluster, project = target.cluster, landing.project
    if cluster is None:
        return found
    try:
        shown = cluster.get(PROJECT, project)
    except ClusterError as error:
        return replace(found, problem=error.problem)
    if shown is None:
        return replace(found, problem=Problem.NOT_FOUND)
    streams = _listed(cluster, IMAGE_STREAM, project)
    return replace(
        found,
        phase=str(mapping(shown.get("status")).get("phase", "")),
        streams=None if streams is None else {f"{project}/{_name(stream)}": _digests(stream) for stream in streams},
        may_make=_may(cluster, project, _MAKE_STREAMS),
        may_grant=not landing.granted or _may(cluster, project, _GRANT),
        may_pull=_may(cluster, project, {**_PULL, "name": next(iter(landing.images), "").partition("/")[2]}),
        quotas=[*(_listed(cluster, RESOURCE_QUOTA, project) or ()), *(_listed(cluster, SHARED_QUOTA, project) or ())],
        ranges=_listed(cluster, LIMIT_RANGE, project) or (),
    )


def _denied(registry: Registry, repositories: Iterable[str]) -> dict[str, Failure]:
    """The repositories that may not be pushed to; where the first one may, the others of its project may too."""
    denied: dict[str, Failure] = {}
    for repository in repositories:
        try:
            registry.check_push(repository)
        except RegistryError as error:
            denied[repository] = error.failure
        if not denied:
            break
    return denied


def _listed(cluster: Cluster, kind: Kind, project: str) -> list[Object] | None:
    try:
        return cluster.list(kind, project)
    except ClusterError:
        return None


def _may(cluster: Cluster, project: str, attributes: Mapping[str, str]) -> bool:
    """Whether something is allowed; where that cannot be asked it is tried later."""
    try:
        return cluster.i_may(project, attributes)
    except ClusterError:
        return True


def _name(document: Object) -> str:
    return str(mapping(document.get("metadata")).get("name", ""))


def _digests(stream: Object) -> frozenset[str]:
    tags = mappings(mapping(stream.get("status")).get("tags"))
    return frozenset(str(item.get("image")) for tag in tags for item in mappings(tag.get("items")))


def look_at_all(target: Target, plan: Plan, granted: Iterable[str], executor: Executor) -> list[tuple[Landing, Found]]:
    """Ask the target about every project that a plan brings something to."""
    wanted = landings(plan, granted)
    return list(zip(wanted, executor.map(partial(look_at, target), wanted), strict=True))
