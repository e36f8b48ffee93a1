"""Projects and what stands in each from the beginning; users, groups, service accounts; limits of images."""

import re
import secrets
from collections.abc import Iterator, MutableMapping

from registrylab.bindings import RBAC_GROUP
from registrylab.clusterroles import default_bindings, role_binding
from registrylab.kuberest import Answered, Collection
from registrylab.kubestatus import (
    Object,
    Resource,
    already_exists,
    forbidden,
    not_found,
    success,
)
from registrylab.kubestore import Store, described
from registrylab.kubeworld import NAMESPACES, Call, World, denied
from registrylab.rbac import Caller, Wish, caller_of

PROJECTS = Resource("project.openshift.io", "projects", "Project", namespaced=False, stored=False)
PROJECT_REQUESTS = Resource("project.openshift.io", "projectrequests", "ProjectRequest", namespaced=False, stored=False)
SERVICE_ACCOUNTS = Resource("", "serviceaccounts", "ServiceAccount")
LIMIT_RANGES = Resource("", "limitranges", "LimitRange")
RESOURCE_QUOTAS = Resource("", "resourcequotas", "ResourceQuota")
SHARED_QUOTAS = Resource("quota.openshift.io", "appliedclusterresourcequotas", "AppliedClusterResourceQuota")
OWN_TOKENS = Resource("oauth.openshift.io", "useroauthaccesstokens", "UserOAuthAccessToken", namespaced=False)
USERS = Resource("user.openshift.io", "users", "User", namespaced=False)
GROUPS = Resource("user.openshift.io", "groups", "Group", namespaced=False)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def make_project(world: World, name: str, owner: str = "") -> Object:
    """A namespace with its service accounts and bindings."""
    annotations = {"openshift.io/requester": owner, "openshift.io/display-name": "", "openshift.io/description": ""}
    metadata: Object = {"name": name, "annotations": annotations}
    if not world.old:
        metadata["labels"] = {"kubernetes.io/metadata.name": name}
    kept = world.store.put(
        "namespaces",
        {"metadata": metadata, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
    )
    for account in ("builder", "default", "deployer"):
        world.store.put("serviceaccounts", {"metadata": {"name": account, "namespace": name}})
    bindings = default_bindings(name) if world.default_bindings else []
    if owner:
        bindings.append(role_binding(name, "admin", "admin", {"apiGroup": RBAC_GROUP, "kind": "User", "name": owner}))
    for binding in bindings:
        world.store.put("rolebindings", binding)
    return kept


class Namespaces(Collection):
    """Namespaces and projects: two views of one thing. Deleting one leaves it Terminating, as long as a test likes."""

    def found(self, call: Call) -> Object:
        """The namespace; who may read all of them learns that there is none."""
        item = self.store.peek("namespaces", "", call.name)
        if item is None:
            raise not_found(NAMESPACES, call.name)
        return item

    def all(self, call: Call) -> list[Object]:
        """Of projects those that the caller may see."""
        every = self.store.list("namespaces", "")
        if self.resource is NAMESPACES:
            return every
        return [item for item in every if self._sees(call.caller, item["metadata"]["name"])]

    def _sees(self, caller: Caller, name: str) -> bool:
        return bool(self.world.rbac.allows(caller, Wish("get", "namespaces", "", name, name)))

    def delete(self, call: Call) -> Answered:
        """From now on it is Terminating."""
        item = self.found(call)
        if not call.dry:
            self.store.put("namespaces", {**item, "status": {"phase": "Terminating"}})
        return 200, success(self.resource, call.name, item["metadata"]["uid"])

    def create(self, call: Call) -> Answered:
        """For administrators: bare, as Kubernetes does it."""
        item = self._checked(call, call.document())
        name = item["metadata"]["name"]
        if self.store.peek("namespaces", "", name):
            raise already_exists(self.resource, name)
        return 201, self.shown(make_project(self.world, name), call)


class ProjectRequests(Collection):
    """How an ordinary user makes a project."""

    def create(self, call: Call) -> Answered:
        """The caller becomes its admin."""
        name = self._checked(call, call.document())["metadata"]["name"]
        if self.store.peek("namespaces", "", name):
            raise already_exists(PROJECTS, name, "project")
        return 201, described(PROJECTS, make_project(self.world, name, call.caller.user))

    def list(self, call: Call) -> Answered:
        """Asked only to learn whether projects may be made."""
        wish = Wish("create", "projectrequests", PROJECTS.group)
        if not self.world.rbac.allows(call.caller, wish):
            raise forbidden(self.resource, "", denied(self.world, call.caller, wish))
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


class Users(Collection):
    """Users; `~` is who asks."""

    def found(self, call: Call) -> Object:
        """A user; the one who asks need not be kept."""
        if call.name != "~":
            return super().found(call)
        kept = self.store.peek("users", "", call.caller.user) or {"metadata": {"name": call.caller.user}}
        return {**kept, "groups": sorted(call.caller.groups)}


class OwnTokens(Collection):
    """What the API tells of logins: everybody sees their own."""

    def found(self, call: Call) -> Object:
        """One of the caller's logins; those of others are not there."""
        item = super().found(call)
        if item.get("userName") != call.caller.user:
            raise not_found(self.resource, call.name)
        return item

    def all(self, call: Call) -> list[Object]:
        """The caller's logins."""
        return [item for item in super().all(call) if item.get("userName") == call.caller.user]


class ServiceAccounts(Collection):
    """Service accounts; their `token` subresource makes a login."""

    def create(self, call: Call) -> Answered:
        """POST of an account, or of a request for its token."""
        if call.subresource != "token":
            return super().create(call)
        self.found(call)
        token = f"sa-{call.namespace}-{call.name}-{secrets.token_hex(8)}"
        self.world.users[token] = service_account(call.namespace, call.name)
        item = {**call.document(), "metadata": {"name": call.name, "namespace": call.namespace}}
        kept = {**item, "status": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}}
        return 201, {**kept, "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}


def service_account(project: str, name: str) -> str:
    """The user that a service account is."""
    return f"system:serviceaccount:{project}:{name}"


def caller_in(store: Store, user: str) -> Caller:
    """A user with the groups that an administrator made."""
    named = [g["metadata"]["name"] for g in store.list("groups", "") if user in (g.get("users") or ())]
    return caller_of(user, named)


def image_limit(ranges: list[Object]) -> int | None:
    """Bytes that an image may have by these LimitRanges."""
    limits = [
        quantity(str(limit["max"]["storage"]))
        for item in ranges
        for limit in item.get("spec", {}).get("limits") or ()
        if limit.get("type") == "openshift.io/Image" and "storage" in (limit.get("max") or {})
    ]
    return min(limits, default=None)


def quantity(text: str) -> int:
    """`1Gi`, `500M`, `1024`."""
    found = re.fullmatch(r"([0-9.]+)([kKMGT]?i?)", text)
    if not found or found[2] not in _UNITS:
        raise ValueError(f"no quantity: {text}")
    return int(float(found[1]) * _UNITS[found[2]])


class Phases(MutableMapping[str, str]):
    """Project -> phase, for the registry: kept in the namespaces. Setting one makes the project."""

    def __init__(self, world: World) -> None:
        self._world, self._store = world, world.store

    def __getitem__(self, name: str) -> str:
        item = self._store.peek("namespaces", "", name)
        if item is None:
            raise KeyError(name)
        return str(item["status"]["phase"])

    def __setitem__(self, name: str, phase: str) -> None:
        with self._store.lock:
            item = self._store.peek("namespaces", "", name) or make_project(self._world, name)
            self._store.put("namespaces", {**item, "status": {"phase": phase}})

    def __delitem__(self, name: str) -> None:
        self._store.delete_namespace(name)

    def __iter__(self) -> Iterator[str]:
        return iter([item["metadata"]["name"] for item in self._store.list("namespaces", "")])

    def __len__(self) -> int:
        return len(self._store.list("namespaces", ""))


class ImageLimits(MutableMapping[str, int]):
    """Project -> bytes that an image may have, for the registry: kept in LimitRanges."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, project: str) -> int:
        limit = image_limit(self._store.list("limitranges", project))
        if limit is None:
            raise KeyError(project)
        return limit

    def __setitem__(self, project: str, limit: int) -> None:
        limits = [{"type": "openshift.io/Image", "max": {"storage": str(limit)}}]
        item = {"metadata": {"name": "images", "namespace": project}, "spec": {"limits": limits}}
        self._store.put("limitranges", item)

    def __delitem__(self, project: str) -> None:
        for item in self._store.list("limitranges", project):
            self._store.delete("limitranges", project, item["metadata"]["name"])

    def __iter__(self) -> Iterator[str]:
        projects = [item["metadata"]["namespace"] for item in self._store.list("limitranges")]
        return iter([project for project in dict.fromkeys(projects) if project in self])

    def __contains__(self, project: object) -> bool:
        return image_limit(self._store.list("limitranges", str(project))) is not None

    def __len__(self) -> int:
        return len(list(iter(self)))
