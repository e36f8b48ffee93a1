"""What the target says of the projects that a plan brings something to; nothing is changed there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from migrate.cluster import Cluster, ClusterError, Object, Problem
from migrate.images.failures import Failure, FailureClass
from migrate.images.lookups import answers
from migrate.images.plan import Plan
from migrate.images.registry import Registry
from migrate.images.streams import mapping, mappings
from migrate.kinds import IMAGE_STREAM, LIMIT_RANGE, PROJECT, RESOURCE_QUOTA, SELF_REVIEW, SHARED_QUOTA, Kind

_IMAGE_GROUP = "image.openshift.io"
_MAKE_STREAMS = {"verb": "create", "group": _IMAGE_GROUP, "resource": "imagestreams"}
_GRANT_VERBS = ("create", "patch", "list")
_GRANT = {"group": "rbac.authorization.k8s.io", "resource": "rolebindings"}
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
        unsure: target repository -> why it could not be asked whether something may be pushed there.
        streams: image stream -> the digests that its tags hold; None where they are not told.
        may_make: whether image streams may be made.
        may_grant: whether it may be said who may pull from it.
        may_pull: whether what is there may be pulled, so that layers can be mounted from it.
        quotas: of both kinds.
        ranges: its LimitRanges.
        untold: what the API does not tell -> why.
    """

    problem: Problem | None = None
    phase: str = ""
    denied: Mapping[str, Failure] = field(default_factory=dict)
    unsure: Mapping[str, Failure] = field(default_factory=dict)
    streams: Mapping[str, frozenset[str]] | None = None
    may_make: bool = True
    may_grant: bool = True
    may_pull: bool = True
    quotas: Sequence[Object] = ()
    ranges: Sequence[Object] = ()
    untold: Mapping[str, str] = field(default_factory=dict)


def look_at_all(target: Target, plan: Plan, granted: Iterable[str], executor: Executor) -> list[tuple[Landing, Found]]:
    """Ask the target about every project that a plan brings something to; nothing is changed there."""
    wanted = landings(plan, granted)
    repositories = [repository for landing in wanted for repository in landing.images]
    _, refused = answers(executor, target.registry.check_push, repositories)
    asked = _Asked(target.cluster) if target.cluster else None
    return list(zip(wanted, executor.map(lambda landing: _look_at(asked, landing, refused), wanted), strict=True))


def _look_at(asked: "_Asked | None", landing: Landing, refused: Mapping[str, Failure]) -> Found:
    own = {path: refused[path] for path in landing.images if path in refused}
    found = Found(
        denied={path: failure for path, failure in own.items() if failure.kind in _REFUSALS},
        unsure={path: failure for path, failure in own.items() if failure.kind not in _REFUSALS},
    )
    return asked.about(landing, found) if asked else found


_REFUSALS = {FailureClass.DENIED, FailureClass.LOGIN, FailureClass.TOO_LARGE, FailureClass.UNSUPPORTED}
"""What is an answer to whether one may push; anything else is trouble on the way, and may pass."""


class _Asked:
    """Questions to the API; a kind that did not answer at all is not asked of the next project."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._silent: dict[Kind, str] = {}

    def about(self, landing: Landing, found: Found) -> Found:
        """What the API says of a project, besides what is known."""
        project, phase = landing.project, ""
        problem: Problem | None = None
        try:
            shown = self._cluster.get(PROJECT, project)
            phase = str(mapping(mapping(shown).get("status")).get("phase", ""))
            problem = None if shown is not None else Problem.NOT_FOUND
        except ClusterError as error:
            problem = error.problem
        if problem is Problem.NOT_FOUND:
            return replace(found, problem=problem)
        untold: dict[str, str] = {}
        streams = self._listed(IMAGE_STREAM, project, untold)
        quotas = self._listed(RESOURCE_QUOTA, project, untold)
        shared = self._listed(SHARED_QUOTA, project, untold)
        ranges = self._listed(LIMIT_RANGE, project, untold)
        return replace(
            found,
            problem=problem,
            phase=phase,
            streams=None if streams is None else {f"{project}/{_name(stream)}": _digests(stream) for stream in streams},
            may_make=self._may(project, _MAKE_STREAMS),
            may_grant=not landing.granted or all(self._may(project, {**_GRANT, "verb": verb}) for verb in _GRANT_VERBS),
            may_pull=self._may(project, {**_PULL, "name": next(iter(landing.images), "").partition("/")[2]}),
            quotas=[*(quotas or ()), *(shared or ())],
            ranges=ranges or (),
            untold=untold,
        )

    def _listed(self, kind: Kind, project: str, untold: dict[str, str]) -> list[Object] | None:
        """All of a kind; None where that is not told (a server without the kind tells of none)."""
        if kind in self._silent:
            untold[kind.plural] = self._silent[kind]
            return None
        try:
            return self._cluster.list(kind, project)
        except ClusterError as error:
            if error.problem is Problem.NOT_FOUND:
                return []
            if error.problem not in (Problem.FORBIDDEN, Problem.LOGIN):
                self._silent[kind] = error.words
            untold[kind.plural] = error.words
            return None

    def _may(self, project: str, attributes: Mapping[str, str]) -> bool:
        """Whether something is allowed; where that cannot be asked it is tried later."""
        try:
            return SELF_REVIEW in self._silent or self._cluster.i_may(project, attributes)
        except ClusterError as error:
            if error.problem not in (Problem.FORBIDDEN, Problem.LOGIN):
                self._silent[SELF_REVIEW] = error.words
            return True


def _name(document: Object) -> str:
    return str(mapping(document.get("metadata")).get("name", ""))


def _digests(stream: Object) -> frozenset[str]:
    tags = mappings(mapping(stream.get("status")).get("tags"))
    return frozenset(str(item.get("image")) for tag in tags for item in mappings(tag.get("items")))
