"""What a cluster has of rights: the bindings and roles of a project, the cluster's roles, image streams with a tag."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from migrate.access.plan import ProjectAccess
from migrate.access.rights import (
    CLUSTER_ROLE,
    ROLE,
    Binding,
    Pulls,
    RoleName,
    binding_of,
    pulls_of_rules,
    pulls_of_unread,
)
from migrate.cluster import Cluster, ClusterError, Object, Problem
from migrate.kinds import CLUSTER_ROLE as CLUSTER_ROLE_KIND
from migrate.kinds import IMAGE_STREAM, LEGACY_ROLE_BINDING, PROJECT, ROLE_BINDING
from migrate.kinds import ROLE as ROLE_KIND

_ROUNDABOUT = (Problem.NOT_FOUND, Problem.FORBIDDEN, Problem.UNSUPPORTED)


class ClusterRoles:
    """The cluster's roles, each read once. Safe to use from many threads.

    Args:
        cluster: whose.
        legacy: whether rules for the group "" let pull, as on 3.11.
    """

    def __init__(self, cluster: Cluster, *, legacy: bool = False) -> None:
        self._cluster = cluster
        self.legacy = legacy
        self._known: dict[str, Object | ClusterError | None] = {}
        self._lock = threading.Lock()

    def exists(self, name: str) -> bool | None:
        """Whether there is one of that name; None where that may not be asked."""
        found = self._read(name)
        return None if isinstance(found, ClusterError) else found is not None

    def pulls(self, name: str) -> Pulls:
        """What it lets be pulled."""
        found = self._read(name)
        if isinstance(found, ClusterError):
            return pulls_of_unread(RoleName(CLUSTER_ROLE, name))
        return pulls_of_rules((found or {}).get("rules") or (), legacy=self.legacy)

    def _read(self, name: str) -> Object | ClusterError | None:
        with self._lock:
            if name not in self._known:
                try:
                    self._known[name] = self._cluster.get(CLUSTER_ROLE_KIND, name)
                except ClusterError as error:
                    if error.problem not in _ROUNDABOUT:
                        raise
                    self._known[name] = error
            return self._known[name]


@dataclass(frozen=True, slots=True)
class Stream:
    """An image stream, and one of its tags (empty where nothing can be pulled yet)."""

    name: str
    tag: str


def read_project(cluster: Cluster, project: str, roles: ClusterRoles) -> ProjectAccess:
    """What a project has.

    Raises:
        ClusterError: it cannot be read; NOT_FOUND where there is no such project.
    """
    if cluster.get(PROJECT, project) is None:
        raise ClusterError(f"project {project}", Problem.NOT_FOUND, "there is no such project")
    bindings = read_bindings(cluster, project)
    local = read_roles(cluster, project)
    streams = read_streams(cluster, project)
    return ProjectAccess(
        project,
        bindings,
        local,
        partial(pulls_of, roles, local),
        partial(_role_kind, roles, local),
        None if streams is None else tuple(stream.name for stream in streams),
    )


def read_bindings(cluster: Cluster, project: str) -> list[Binding]:
    """The RoleBindings of a project, from whichever API gives them.

    Raises:
        ClusterError: none does.
    """
    try:
        listed = cluster.list(ROLE_BINDING, project)
    except ClusterError as error:
        if error.problem not in _ROUNDABOUT:
            raise
        try:
            listed = cluster.list(LEGACY_ROLE_BINDING, project)
        except ClusterError:
            raise error from None
    return [binding_of(document, project) for document in listed]


def read_roles(cluster: Cluster, project: str) -> dict[str, Object]:
    """The project's own Roles by name; none where they may not be read.

    Raises:
        ClusterError: the API is out of reach, or the login is refused.
    """
    try:
        return {_name(role): role for role in cluster.list(ROLE_KIND, project)}
    except ClusterError as error:
        if error.problem not in _ROUNDABOUT:
            raise
        return {}


def read_streams(cluster: Cluster, project: str) -> list[Stream] | None:
    """The project's image streams; None where they may not be listed.

    Raises:
        ClusterError: the API is out of reach, or the login is refused.
    """
    try:
        return [_stream(document) for document in cluster.list(IMAGE_STREAM, project)]
    except ClusterError as error:
        if error.problem not in _ROUNDABOUT:
            raise
        return None


def _stream(document: Mapping[str, Any]) -> Stream:
    status = document.get("status")
    tags = status.get("tags") or () if isinstance(status, Mapping) else ()
    filled = [str(tag.get("tag", "")) for tag in tags if isinstance(tag, dict) and tag.get("items")]
    return Stream(_name(document), filled[0] if filled else "")


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""


def pulls_of(roles: ClusterRoles, local: Mapping[str, Mapping[str, Any]], role: RoleName) -> Pulls:
    """What a role lets be pulled in the project that these local roles are of."""
    if role.kind == CLUSTER_ROLE:
        return roles.pulls(role.name)
    if role.name not in local:
        return pulls_of_unread(role)
    return pulls_of_rules(local[role.name].get("rules") or (), legacy=roles.legacy)


def _role_kind(roles: ClusterRoles, local: Mapping[str, Mapping[str, Any]], name: str) -> str:
    exists = roles.exists(name)
    if exists is None:
        return ROLE if name in local else CLUSTER_ROLE
    return CLUSTER_ROLE if exists else ROLE if name in local else ""
