"""Whether the source projects give their images."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial

from migrate.cluster import Cluster, ClusterError
from migrate.errors import LoginError
from migrate.images.failures import MEANINGS, Failure, FailureClass
from migrate.images.plan import Copy, Plan
from migrate.images.registry import Registry, RegistryError
from migrate.images.streams import mapping
from migrate.kinds import POD
from migrate.preflight.checks import Check, failed, ok
from migrate.quantities import count


def check_pulls(plan: Plan, registry: Callable[[str], Registry], executor: Executor) -> Iterator[Check]:
    """Whether each source project gives its images; those of outside registries go by their host."""
    groups: dict[tuple[str, str], list[Copy]] = {}
    for copy in plan.copies:
        groups.setdefault((copy.source.repository.registry, copy.source.repository.project), []).append(copy)
    asked = {key: next((copy for copy in copies if copy.moves or copy.unseen), None) for key, copies in groups.items()}
    refusals = executor.map(partial(_refusal, registry), asked.values())
    for (host, project), refusal in zip(groups, refusals, strict=True):
        yield _judge_pull(f"{host}/{project}", groups[host, project], refusal, registry(host))


def _refusal(registry: Callable[[str], Registry], copy: Copy | None) -> Failure | None:
    """Why the registry does not give an image now: what a plan knows may come from its memory, or from the API."""
    if copy is None:
        return None
    source = copy.source
    try:
        found = registry(source.repository.registry).find_manifest(source.repository.path, source.identifier)
    except RegistryError as error:
        return error.failure
    except LoginError as error:
        return Failure(FailureClass.LOGIN, error.what)
    return None if found else Failure(FailureClass.NOT_FOUND, "")


def _judge_pull(subject: str, copies: Sequence[Copy], refusal: Failure | None, registry: Registry) -> Check:
    bad = [copy for copy in copies if copy.failure in _UNREADABLE and not copy.unseen]
    words = f"{count(len(copies) - len(bad), 'tag')} can be pulled"
    if refusal:
        return failed("pull", subject, f"nothing can be pulled: {refusal}", refusal.advice)
    if not bad:
        return ok("pull", subject, words)
    denied = any(copy.failure in (FailureClass.DENIED, FailureClass.LOGIN) for copy in bad)
    project = copies[0].source.repository.project
    advice = (bad[0].failure and MEANINGS[bad[0].failure].advice) or ""
    if denied and registry.is_openshift:
        advice = f"ask an admin of it: oc policy add-role-to-user system:image-puller <your user name> -n {project}"
    such = ", such as" if len(bad) > 1 else ":"
    return failed("pull", subject, f"{words}, {len(bad):,} cannot{such} {bad[0].source.short}: {bad[0].reason}", advice)


_UNREADABLE = {
    FailureClass.LOGIN, FailureClass.DENIED, FailureClass.NOT_FOUND, FailureClass.NETWORK, FailureClass.TLS,
    FailureClass.UNAVAILABLE, FailureClass.TIMEOUT, FailureClass.BLOB_UNKNOWN, FailureClass.CORRUPT,
    FailureClass.INVALID,
}  # fmt: skip


def running_pods(cluster: Cluster, project: str) -> int | None:
    """How many pods a project has that run or are to run; None where that is not told."""
    try:
        pods = cluster.list(POD, project)
    except ClusterError:
        return None
    return sum(mapping(pod.get("status")).get("phase") in ("Running", "Pending") for pod in pods)
