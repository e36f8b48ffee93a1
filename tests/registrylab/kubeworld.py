"""What all resources of a fake cluster share, a call of one of them, and what is checked for each."""

import json
from dataclasses import dataclass, field

import yaml

from registrylab.kubestatus import Object, Resource, bad_request, conflict, failure, forbidden, not_found
from registrylab.kubestore import Store
from registrylab.rbac import Caller, Rbac, Wish

NAMESPACES = Resource("", "namespaces", "Namespace", namespaced=False)


@dataclass
class World:
    """What all resources of a cluster share.

    Attributes:
        users: token -> user name.
        version: "4" or "3.11".
        internal_host: how image streams call the registry.
        public_host: how others do.
        quotas: (project, kind) -> how many there may be.
        default_bindings: new projects get those for their service accounts.
    """

    store: Store
    rbac: Rbac
    version: str
    internal_host: str
    users: dict[str, str] = field(default_factory=dict)
    public_host: str = ""
    quotas: dict[tuple[str, str], int] = field(default_factory=dict)
    default_bindings: bool = True

    @property
    def old(self) -> bool:
        """Kubernetes 1.11: no server-side apply, and other words where something is forbidden."""
        return self.version == "3.11"


@dataclass(frozen=True)
class Call:
    """A request to a resource.

    Attributes:
        group: as in the path: empty under /oapi/v1, whatever the resource's own group is.
        manager: who is to own what this changes.
    """

    caller: Caller
    verb: str
    group: str
    api_version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    body: bytes = b""
    agent: str = ""

    @property
    def manager(self) -> str:
        """The field manager: named, or the client's program."""
        return self.query.get("fieldManager") or self.agent.partition("/")[0] or "unknown"

    @property
    def dry(self) -> bool:
        """Nothing is kept."""
        return self.query.get("dryRun") == "All"

    def document(self) -> Object:
        """The body: JSON or YAML."""
        if "protobuf" in self.content_type:
            known = "application/json, application/yaml"
            words = f"the body of the request was in an unknown format - accepted media types include: {known}"
            raise failure(415, "UnsupportedMediaType", words)
        try:
            read = yaml.safe_load(self.body) if "yaml" in self.content_type else json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise bad_request(f"the object provided is unrecognized: {error}") from None
        if not isinstance(read, dict):
            raise bad_request("the object provided is unrecognized (must be of type Object)")
        return read


def denied(world: World, caller: Caller, wish: Wish) -> str:
    """Why somebody may not, in the words of the version."""
    where = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    if world.old:
        full = f"{wish.resource}.{wish.group}" if wish.group else wish.resource
        return f'User "{caller.user}" cannot {wish.verb} {full} {where}: no RBAC policy matched'
    what = f'resource "{wish.resource}" in API group "{wish.group}"'
    return f'User "{caller.user}" cannot {wish.verb} {what} {where}'


def check_namespace(world: World, resource: Resource, namespace: str, name: str) -> None:
    """Nothing is made in a project that is not there, or not for long."""
    if not resource.namespaced:
        return
    found = world.store.peek("namespaces", "", namespace)
    if found is None:
        raise not_found(NAMESPACES, namespace)
    if found["status"]["phase"] != "Active":
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise forbidden(resource, name, why)


def check_quota(world: World, resource: Resource, namespace: str, name: str) -> None:
    """As many of a kind as the project may have."""
    allowed = world.quotas.get((namespace, resource.kind))
    used = len(world.store.list(resource.name, namespace))
    if allowed is None or used < allowed:
        return
    counted = f"openshift.io/{resource.name}" if resource.kind == "ImageStream" else f"count/{resource.full}"
    why = f"exceeded quota: quota, requested: {counted}=1, used: {counted}={used}, limited: {counted}={allowed}"
    raise forbidden(resource, name, why)


def check_preconditions(resource: Resource, call: Call, item: Object) -> None:
    """A DELETE may say which uid and resourceVersion it means."""
    wanted = (call.document() if call.body else {}).get("preconditions") or {}
    for key, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        found = item["metadata"][key]
        if wanted.get(key) and wanted[key] != found:
            said = f"{word} in precondition: {wanted[key]}, {word} in object meta: {found}"
            raise conflict(resource, call.name, f"Precondition failed: {said}")
