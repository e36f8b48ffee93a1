"""An OpenShift cluster of tests: an API server and a registry that share users, projects, rights and image streams."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from registrylab import clusterroles, projects
from registrylab.gateway import gateway
from registrylab.kubeapi import KubeApi
from registrylab.kubestatus import Object, Refusal
from registrylab.kubestore import Store
from registrylab.kubeworld import World, check_quota
from registrylab.openshift import OpenShiftRegistry, Pushed, openshift_registry
from registrylab.rbac import ANONYMOUS, Caller, Rbac, Wish
from registrylab.registry import Tls
from registrylab.streams import IMAGE_GROUP, STREAMS, Repositories
from registrylab.streamtags import image_object

INTERNAL_HOSTS = {
    "4": "image-registry.openshift-image-registry.svc:5000",
    "3.11": "docker-registry.default.svc:5000",
}
_SYSTEM = Caller("system:admin", ("system:masters", "system:authenticated"))
_ON_LAYERS = {"get", "update"}


@dataclass
class OpenShiftCluster:
    """A running cluster; what tests do to it they do as the system, which may do everything.

    Attributes:
        api: the API server, with its `faults` and what it has `seen`.
        registry: the registry; its streams, projects and limits are those of the API.
        api_url: where to connect.
    """

    api: KubeApi = field(repr=False)
    registry: OpenShiftRegistry = field(repr=False)
    api_url: str
    tls: Tls | None

    @property
    def world(self) -> World:
        """What is kept."""
        return self.api.world

    @property
    def users(self) -> dict[str, str]:
        """Token -> user name; a token that is taken out is expired."""
        return self.world.users

    @property
    def quotas(self) -> dict[tuple[str, str], int]:
        """(project, kind) -> how many there may be."""
        return self.world.quotas

    def add_user(self, name: str, token: str = "", groups: Iterable[str] = (), cluster_role: str = "") -> None:
        """A user, with a login, in some groups, with a ClusterRole everywhere."""
        self.apply({"kind": "User", "metadata": {"name": name}})
        if token:
            self.users[token] = name
        for group in groups:
            members = (self.get("Group", "", group) or {"users": []})["users"]
            self.apply({"kind": "Group", "metadata": {"name": group}, "users": sorted({*members, name})})
        if cluster_role:
            subject = {"kind": "User", "name": name}
            role = {"kind": "ClusterRole", "name": cluster_role}
            metadata = {"name": f"{cluster_role}-{name}"}
            self.apply({"kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]})

    def add_project(self, name: str, admin: str = "") -> None:
        """A project, with what stands in each from the beginning."""
        with self.world.store.lock:
            projects.make_project(self.world, name, admin)

    def add_service_account(self, project: str, name: str, token: str = "") -> str:
        """A service account, with a login; the user that it is."""
        self.apply({"kind": "ServiceAccount", "metadata": {"name": name, "namespace": project}})
        user = projects.service_account(project, name)
        if token:
            self.users[token] = user
        return user

    def bind(self, project: str, role: str, *subjects: Object, name: str = "") -> None:
        """A RoleBinding to a ClusterRole."""
        self.apply({"kind": "RoleBinding", **clusterroles.role_binding(project, name or role, role, *subjects)})

    def apply(self, item: Object) -> Object:
        """Make or replace any object. An image stream keeps the `status.tags` that it comes with."""
        with self.world.store.lock:
            return self.api.of_kind(item["kind"]).seed(item, _SYSTEM)

    def get(self, kind: str, project: str, name: str) -> Object | None:
        """A copy of an object; the project is empty for those of the cluster."""
        return self.world.store.get(self.api.of_kind(kind).resource.name, project, name)

    def list(self, kind: str, project: str | None = None) -> list[Object]:
        """All objects of a kind; read only."""
        return self.world.store.list(self.api.of_kind(kind).resource.name, project)

    def delete(self, kind: str, project: str, name: str) -> None:
        """Take an object away."""
        self.world.store.delete(self.api.of_kind(kind).resource.name, project, name)

    def allows(self, user: str | None, wish: Wish) -> bool:
        """Whether somebody may; None is one without a login."""
        caller = projects.caller_in(self.world.store, user or ANONYMOUS)
        return bool(self.world.rbac.allows(caller, wish))

    def can_pull(self, user: str | None, repository: str) -> bool:
        """Whether somebody may pull project/stream, by the bindings; None is one without a login."""
        return self.registry.may(user or ANONYMOUS, repository, "get")

    def kubeconfig(self, contexts: Mapping[str, str], namespace: str = "", insecure: bool = False) -> str:
        """A kubeconfig: context -> token (empty: no login); the first context is the current one.

        It is JSON, which is YAML too: parsers of YAML differ on what names such as `n` are.
        """
        name = self.api_url.partition("//")[2].replace(".", "-")
        server: dict[str, object] = {"server": self.api_url}
        if insecure:
            server["insecure-skip-tls-verify"] = True
        elif self.tls:
            server["certificate-authority-data"] = base64.b64encode(self.tls.certificate.read_bytes()).decode()
        place = {"namespace": namespace} if namespace else {}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": server}],
            "contexts": [
                {"name": key, "context": {"cluster": name, "user": f"{key}/{name}", **place}} for key in contexts
            ],
            "current-context": next(iter(contexts), ""),
            "users": [
                {"name": f"{key}/{name}", "user": {"token": token} if token else {}} for key, token in contexts.items()
            ],
        }  # fmt: skip
        return json.dumps(document, indent=2)


class _Authority:
    """What the registry asks the API."""

    def __init__(self, api: KubeApi) -> None:
        self._api, self._world = api, api.world

    def may(self, user: str, repository: str, verb: str) -> bool:
        project, _, name = repository.partition("/")
        resource, name = ("imagestreams/layers", name) if verb in _ON_LAYERS else ("imagestreams", "")
        return self._allows(user, Wish(verb, resource, IMAGE_GROUP, project, name))

    def may_list(self, user: str) -> bool:
        return self._allows(user, Wish("list", "imagestreams", IMAGE_GROUP))

    def tagged(self, repository: str, tag: str, pushed: Pushed) -> bool:
        project, _, name = repository.partition("/")
        store = self._world.store
        with store.lock:
            try:
                if store.peek("imagestreams", project, name) is None:
                    check_quota(self._world, STREAMS, project, name)
            except Refusal:
                return False
            if store.peek("images", "", pushed.digest) is None:
                reference = f"{self._world.internal_host}/{repository}@{pushed.digest}"
                item = image_object(reference, pushed.digest, pushed.media_type, pushed.manifest, pushed.config)
                store.put("images", item)
            self._api.streams.pushed(project, name, tag, pushed.digest)
        return True

    def _allows(self, user: str, wish: Wish) -> bool:
        return bool(self._world.rbac.allows(projects.caller_in(self._world.store, user), wish))


def _world(version: str, users: Mapping[str, str], default_bindings: bool) -> World:
    store = Store()
    for role in clusterroles.cluster_roles():
        store.put("clusterroles", role)
    for binding in clusterroles.cluster_role_bindings(version):
        store.put("clusterrolebindings", binding)
    host = INTERNAL_HOSTS[version]
    return World(store, Rbac(store), version, host, dict(users), default_bindings=default_bindings)


@contextmanager
def openshift_cluster(
    folder: Path,
    version: str = "4",
    tls: Tls | None = None,
    users: Mapping[str, str] | None = None,
    default_bindings: bool = True,
) -> Iterator[OpenShiftCluster]:
    """A cluster without projects on two free loopback ports; the registry's files are in `folder`.

    Args:
        version: "4" or "3.11".
        tls: for both; None for plain HTTP.
        users: token -> user name.
        default_bindings: new projects get what OpenShift's controllers give their service accounts.
    """
    world = _world(version, users or {}, default_bindings)
    api = KubeApi(world)
    with openshift_registry(folder, tls) as registry, gateway("", api.handle, tls) as listening:
        world.public_host = registry.host
        registry.users = world.users
        registry.projects = projects.Phases(world)
        registry.image_limits = projects.ImageLimits(world.store)
        registry.streams = Repositories(api.streams, world)
        registry.authority = _Authority(api)
        cluster = OpenShiftCluster(api, registry, f"{'https' if tls else 'http'}://{listening.host}", tls)
        for name in dict.fromkeys(world.users.values()):
            if not name.startswith("system:"):
                cluster.add_user(name)
        yield cluster
