"""Image streams of the target, by its API: made before the push, aliases after it; and what size an image may have."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from migrate.cluster import Cluster, ClusterError, Problem, advice
from migrate.images.clock import Clock
from migrate.images.failures import Failure, FailureClass
from migrate.images.plan import Action, Copy, Plan
from migrate.images.registry import RegistryError
from migrate.images.streams import ImageStream, mapping, mappings
from migrate.images.transfer import CopyResult
from migrate.kinds import IMAGE_STREAM, IMAGE_STREAM_TAG, LIMIT_RANGE
from migrate.quantities import kubernetes_quantity
from migrate.reference import Reference, Repository

_CLASSES = {
    Problem.LOGIN: FailureClass.LOGIN,
    Problem.FORBIDDEN: FailureClass.DENIED,
    Problem.ESCALATION: FailureClass.DENIED,
    Problem.QUOTA: FailureClass.DENIED,
    Problem.NOT_FOUND: FailureClass.NOT_FOUND,
    Problem.CONFLICT: FailureClass.CONFLICT,
    Problem.UNREACHABLE: FailureClass.UNAVAILABLE,
}


def size_limits(cluster: Cluster, projects: Iterable[str], executor: Executor) -> dict[str, int]:
    """Bytes that an image may have, by target project: its LimitRanges for openshift.io/Image, where they are told."""
    names = sorted(set(projects))
    return {
        name: size for name, size in zip(names, executor.map(lambda p: _limit(cluster, p), names), strict=True) if size
    }


def _limit(cluster: Cluster, project: str) -> int:
    try:
        found = cluster.list(LIMIT_RANGE, project)
    except ClusterError:
        return 0  # the registry says it at the end
    limits = [limit for document in found for limit in mappings(mapping(document.get("spec")).get("limits"))]
    sizes = [mapping(limit.get("max")).get("storage") for limit in limits if limit.get("type") == "openshift.io/Image"]
    return min((size for size in map(_bytes, sizes) if size > 0), default=0)


def _bytes(quantity: object) -> int:
    try:
        return kubernetes_quantity(str(quantity))
    except ValueError:
        return 0


def make_streams(
    cluster: Cluster,
    plan: Plan,
    carried: Callable[[Repository], ImageStream | None],
    carry: Iterable[str],
) -> dict[str, str]:
    """Make the image streams that pushes will need and that are not there.

    Args:
        cluster: the target's API.
        plan: what will be pushed.
        carried: the source's image stream of a repository.
        carry: `labels`, `lookupPolicy`: what of it goes along.

    Returns:
        Why one could not be made, by repository path: the push may make it, or will be denied.
    """
    sources = {
        copy.target.repository: copy.source.repository
        for copy in plan.copies
        if copy.action in (Action.COPY, Action.LINK)
    }
    there, failed = _existing(cluster, {repository.project for repository in sources}), dict[str, str]()
    for repository, source in sources.items():
        known = there[repository.project]
        if isinstance(known, ClusterError):
            failed[repository.path] = f"{known.words} -> {advice(known.problem, repository.project)}"
            continue
        if repository.path in known:
            continue
        try:
            cluster.create(IMAGE_STREAM, stream_document(repository, carried(source), tuple(carry)))
        except ClusterError as error:
            if error.problem is not Problem.CONFLICT:
                failed[repository.path] = f"{error.words} -> {advice(error.problem, repository.project)}"
    return failed


def _existing(cluster: Cluster, projects: Iterable[str]) -> dict[str, set[str] | ClusterError]:
    """The image streams of each project as repository paths; or why they cannot be listed."""
    found: dict[str, set[str] | ClusterError] = {}
    for project in projects:
        try:
            listed = cluster.list(IMAGE_STREAM, project)
            found[project] = {f"{project}/{mapping(document.get('metadata')).get('name')}" for document in listed}
        except ClusterError as error:
            found[project] = error
    return found


def stream_document(repository: Repository, source: ImageStream | None, carry: tuple[str, ...]) -> dict[str, Any]:
    """A new image stream, with what goes along of the source's. Pure."""
    name = repository.path.partition("/")[2]
    metadata: dict[str, Any] = {"name": name, "namespace": repository.project}
    if source and "labels" in carry and source.labels:
        metadata["labels"] = dict(source.labels)
    local = bool(source and "lookupPolicy" in carry and source.local_lookup)
    return {"metadata": metadata, "spec": {"lookupPolicy": {"local": local}}}


def aliases_of(plan: Plan) -> list[Copy]:
    """The tags to be made as aliases, each after the one that it follows."""
    waiting = {copy.target: copy for copy in plan.copies if copy.action is Action.LINK and copy.alias}
    ordered: list[Copy] = []
    while waiting:
        free = [copy for copy in waiting.values() if copy.alias not in waiting] or [*waiting.values()]
        ordered += free
        for copy in free:
            del waiting[copy.target]
    return ordered


def make_alias(cluster: Cluster, find: Callable[[Reference], str], copy: Copy, policy: str, arrived: str) -> CopyResult:
    """Make a tag follow another one, where both hold what they should, and look at what stands there then.

    Args:
        cluster: the target's API.
        find: the digest that stands under a tag of the target; empty for none.
        copy: with an alias.
        policy: the referencePolicy that the source's tag has; empty for the default.
        arrived: the digest that what it follows was confirmed with; empty where it was not.
    """
    clock = Clock()
    assert copy.alias
    failure: Failure | None = None
    digest = ""
    try:
        expected = find(copy.alias)
        failure = _in_the_way(copy, copy.alias, expected, arrived, find)
        if failure is None:
            _put(cluster, copy, alias_document(copy.target, copy.alias, policy))
            digest = find(copy.target)
            if digest != expected:
                words = f"{copy.target.short} was made to follow {copy.alias.short} and is {digest or 'not there'}"
                failure = Failure(FailureClass.NOT_CONFIRMED, words)
    except ClusterError as error:
        failure = Failure(_CLASSES.get(error.problem, FailureClass.UNKNOWN), f"{error.what}: {error.words}")
    except RegistryError as error:
        failure = error.failure
    media_type = copy.delivery.top.media_type if copy.delivery and copy.delivery.top else copy.media_type
    return CopyResult(copy, failure, digest, media_type, started=clock.started, ended=clock.now)


def _in_the_way(
    copy: Copy, followed: Reference, expected: str, arrived: str, find: Callable[[Reference], str]
) -> Failure | None:
    """Why a tag must not be made to follow another one: that holds something else, or somebody moved this one."""
    if not expected:
        return Failure(FailureClass.NOT_FOUND, f"what it follows, {followed.short}, is not at the target")
    wanted = copy.delivery.top.digest if copy.delivery and copy.delivery.top else arrived
    if not wanted:
        return Failure(
            FailureClass.NOT_CONFIRMED, f"what it follows, {followed.short}, does not hold the source's image"
        )
    if expected != wanted:
        words = f"what it follows, {followed.short}, holds other content at the target: {expected}, not {wanted}"
        return Failure(FailureClass.CONFLICT, words)
    now = find(copy.target)
    if now in ("", copy.present, expected) or copy.options.on_conflict == "overwrite":
        return None
    return Failure(
        FailureClass.CONFLICT, f"the target tag was {copy.present or 'not there'} when planned, and is {now} now"
    )


def alias_document(target: Reference, followed: Reference, policy: str) -> Mapping[str, Any]:
    """An ImageStreamTag that follows another one, as `oc tag --alias` writes it. Pure."""
    name = followed.repository.path.partition("/")[2]
    origin = {"kind": "ImageStreamTag", "name": f"{name}:{followed.tag}", "namespace": followed.repository.project}
    tag: dict[str, Any] = {"name": target.tag, "from": origin, "referencePolicy": {"type": policy or "Source"}}
    stream = target.repository.path.partition("/")[2]
    return {
        "metadata": {"name": f"{stream}:{target.tag}", "namespace": target.repository.project},
        "tag": tag,
        "lookupPolicy": {"local": False},
    }


def _put(cluster: Cluster, copy: Copy, document: Mapping[str, Any]) -> None:
    """Make it; where there is a tag of that name already, change that, unless somebody makes it follow something else.

    Raises:
        ClusterError: refused; CONFLICT where somebody changes the image stream at the same time, or has another wish.
    """
    try:
        cluster.create(IMAGE_STREAM_TAG, document)
        return
    except ClusterError as error:
        if error.problem is not Problem.CONFLICT:
            raise
        refused = error
    project, _, name = copy.target.repository.path.partition("/")
    live = cluster.get(IMAGE_STREAM, name, project)
    if live is None:
        raise refused
    spec = next((t for t in mappings(mapping(live.get("spec")).get("tags")) if t.get("name") == copy.target.tag), {})
    follows = mapping(spec.get("from"))
    wanted = document["tag"]["from"]
    same = {key: follows.get(key) or (project if key == "namespace" else None) for key in wanted} == wanted
    if follows and not same and copy.options.on_conflict != "overwrite":
        what = f"{follows.get('kind')} {follows.get('name')}"
        raise ClusterError(copy.target.short, Problem.CONFLICT, f"somebody made this tag follow {what}; it is left")
    version = mapping(live.get("metadata")).get("resourceVersion")
    known = {"resourceVersion": version} if version else {}
    cluster.replace(IMAGE_STREAM_TAG, {**document, "metadata": {**document["metadata"], **known}})
