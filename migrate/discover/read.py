"""What the source's API tells of a project: its workloads, and who may pull from it today."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from migrate.access.grants import carried
from migrate.access.read import ClusterRoles, pulls_of, read_bindings, read_roles
from migrate.access.subjects import word_of
from migrate.cluster import Cluster, ClusterError, Object, Problem
from migrate.discover.uses import AnyUse, uses_of
from migrate.kinds import (
    BUILD_CONFIG,
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    DEPLOYMENT_CONFIG,
    JOB,
    OLDER,
    POD,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    Kind,
)
from migrate.manifest.model import AccessEntry

_WORKLOADS = (
    DEPLOYMENT_CONFIG, DEPLOYMENT, STATEFUL_SET, DAEMON_SET, REPLICA_SET, REPLICATION_CONTROLLER, CRON_JOB, JOB, POD,
    BUILD_CONFIG,
)  # fmt: skip
_ALWAYS_MAY = ("builder", "deployer")
"""Service accounts that every project of OpenShift lets pull, besides the group of all its own."""


@dataclass(frozen=True)
class Uses:
    """What the workloads of a project name.

    Attributes:
        named: each once.
        workloads: how many there are; None where none could be read.
        unread: kinds that could not be read.
        why: the words of the first of them.
    """

    named: Sequence[AnyUse]
    workloads: int | None = 0
    unread: Sequence[str] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may pull today, as an entry of `access` says it.

    Attributes:
        words: of `allow`.
        role: empty where `images` says what.
        images: image streams; none for all.
    """

    words: tuple[str, ...]
    role: str
    images: tuple[str, ...]


def read_uses(cluster: Cluster, project: str, hosts: Collection[str], is_local: Callable[[str, str], bool]) -> Uses:
    """Which images the workloads of a project name.

    Raises:
        ClusterError: the API is out of reach, or the login is refused.
    """
    named: list[AnyUse] = []
    unread: dict[str, str] = {}
    count = 0
    for kind in _WORKLOADS:
        try:
            documents = _listed(cluster, kind, project)
        except ClusterError as error:
            if error.problem is Problem.LOGIN or not error.connected:
                raise
            unread[kind.plural] = error.words
            continue
        for document in documents:
            named += uses_of(document, kind.name, hosts, is_local)
        count += sum(not (document.get("metadata") or {}).get("ownerReferences") for document in documents)
    known = None if len(unread) == len(_WORKLOADS) else count
    return Uses(sorted(set(named), key=str), known, [*unread], next(iter(unread.values()), ""))


def _listed(cluster: Cluster, kind: Kind, project: str) -> list[Object]:
    """All of a kind; none where this API does not have the kind."""
    try:
        return cluster.list(kind, project)
    except ClusterError as error:
        if error.problem is not Problem.NOT_FOUND:
            raise
    return _listed(cluster, OLDER[kind], project) if kind in OLDER else []


def read_access(
    cluster: Cluster, roles: ClusterRoles, project: str, target: str, projects: Mapping[str, str]
) -> tuple[list[Allowed], list[str]]:
    """Who may pull from a source project today, in the words of `access`; and what cannot be said in them.

    Args:
        cluster: the source's API.
        roles: its roles.
        project: the source project.
        target: what it is called at the target.
        projects: source project -> target project, of all that is moved.

    Raises:
        ClusterError: the bindings cannot be read.
    """
    bindings, local = read_bindings(cluster, project), read_roles(cluster, project)
    entry = AccessEntry(project=target, carryOver=True)
    renamed = {source: (name,) for source, name in projects.items()}
    grants, notes = carried(
        0, entry, project, bindings, partial(pulls_of, roles, local), renamed, lambda stream: (stream,)
    )
    by_default = {f"project:{target}", *(f"serviceaccount:{target}/{name}" for name in _ALWAYS_MAY)}
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for grant in grants:
        word = word_of(grant.subject)
        if word in by_default:
            continue
        if word:
            grouped.setdefault((grant.role, grant.images), []).append(word)
        else:
            notes.append(f"{grant.subject} may pull, and there is no word for that in `access`")
    return [Allowed(tuple(sorted(words)), *key) for key, words in sorted(grouped.items())], notes
