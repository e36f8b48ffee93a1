"""A stateful stand-in for the API of OpenShift 4 and 3.11, over real HTTP: RBAC decides each request first.

What is imitated was seen on kube-apiserver 1.36 with openshift-apiserver 56aa2d96; of 3.11 nothing was seen, and what
is here is what Kubernetes 1.11 is known for. Not imitated: watches, JSON patches, protobuf, OpenAPI, tables, admission
but that of namespaces and quotas, and controllers: nothing imports images, and a deleted project stays Terminating.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from registrylab import bindings, projects, reviews, streams, streamtags
from registrylab.gateway import Answer, Forward, Request, Reset
from registrylab.kuberest import Answered, Collection
from registrylab.kubestatus import (
    Object,
    Refusal,
    Resource,
    bad_request,
    failure,
    forbidden,
    unauthorized,
)
from registrylab.kubeworld import NAMESPACES, Call, World, denied
from registrylab.rbac import ANONYMOUS, Caller, Wish, caller_of

WORKLOADS = (
    Resource("apps.openshift.io", "deploymentconfigs", "DeploymentConfig"),
    Resource("build.openshift.io", "buildconfigs", "BuildConfig"),
    Resource("apps", "deployments", "Deployment"),
    Resource("apps", "statefulsets", "StatefulSet"),
    Resource("apps", "daemonsets", "DaemonSet"),
    Resource("apps", "replicasets", "ReplicaSet"),
    Resource("batch", "jobs", "Job"),
    Resource("batch", "cronjobs", "CronJob"),
    Resource("", "replicationcontrollers", "ReplicationController"),
    Resource("", "services", "Service"),
    Resource("", "endpoints", "Endpoints"),
    Resource("", "configmaps", "ConfigMap"),
    Resource("", "secrets", "Secret"),
    Resource("", "events", "Event"),
    Resource("", "persistentvolumeclaims", "PersistentVolumeClaim"),
    Resource("route.openshift.io", "routes", "Route"),
    Resource("template.openshift.io", "templates", "Template"),
    Resource("networking.k8s.io", "ingresses", "Ingress"),
    Resource("networking.k8s.io", "networkpolicies", "NetworkPolicy"),
    Resource("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    Resource("policy", "poddisruptionbudgets", "PodDisruptionBudget"),
)
"""Kept and given back; nothing runs."""
PODS = Resource("", "pods", "Pod")
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OWN_PLACE = {"projects", "namespaces"}
"""Who gets one of these by name asks for a right inside it."""

Fault = Callable[[Request], Answer | None]
"""Answers in the API's place, or gives None; may raise Reset, which drops the connection."""


class Pods(Collection):
    """Pods, which pretend that a node took them."""

    def prepare(self, caller: Caller, new: Object, old: Object | None) -> Object:
        """A new one runs at once, if no test says something else."""
        running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        return new if old else {"status": running, **new}


@dataclass(frozen=True)
class Seen:
    """A request that came; `user` is empty where the token was not known or a fault struck first."""

    method: str
    path: str
    user: str
    status: int


@dataclass(frozen=True)
class Target:
    """What a path names."""

    group: str
    api_version: str
    resource: str
    namespace: str
    name: str
    subresource: str
    legacy: bool

    def wish(self, verb: str) -> Wish:
        """The right that a verb on it needs."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        place = self.namespace or (self.name if self.resource in _OWN_PLACE else "")
        return Wish(verb, resource, self.group, place, self.name)


@dataclass
class KubeApi:
    """The API server: a gateway's handler.

    Attributes:
        faults: asked first, in this order; may be changed at any time.
        seen: every request, in the order in which they were answered.
    """

    world: World
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.streams = streams.Streams(self.world, streams.STREAMS)
        self.collections = {(made.resource.group, made.resource.name): made for made in self._make_collections()}
        self._legacy = {made.resource.name: made for made in self.collections.values() if _of_openshift(made.resource)}

    def _make_collections(self) -> list[Collection]:
        world = self.world
        return [
            self.streams,
            streamtags.StreamTags(self.streams),
            streamtags.StreamImages(world, streamtags.STREAM_IMAGES),
            bindings.Roles(world, bindings.ROLES),
            bindings.Roles(world, bindings.CLUSTER_ROLES),
            bindings.RoleBindings(world, bindings.ROLE_BINDINGS),
            bindings.RoleBindings(world, bindings.CLUSTER_ROLE_BINDINGS),
            bindings.OpenShiftRoleBindings(world, bindings.OPENSHIFT_ROLE_BINDINGS),
            projects.Namespaces(world, NAMESPACES),
            projects.Namespaces(world, projects.PROJECTS),
            projects.ProjectRequests(world, projects.PROJECT_REQUESTS),
            projects.ServiceAccounts(world, projects.SERVICE_ACCOUNTS),
            projects.Users(world, projects.USERS),
            Pods(world, PODS),
            projects.OwnTokens(world, projects.OWN_TOKENS),
            *(reviews.Reviews(world, resource) for resource in (reviews.LOCAL, reviews.OF_CLUSTER, reviews.OF_SELF)),
            *(Collection(world, resource) for resource in (
                streams.IMAGES, projects.GROUPS, projects.LIMIT_RANGES, projects.RESOURCE_QUOTAS,
                projects.SHARED_QUOTAS, *WORKLOADS,
            )),
        ]  # fmt: skip

    def of_kind(self, kind: str) -> Collection:
        """The collection of a kind that is kept."""
        return next(made for made in self.collections.values() if made.resource.kind == kind and made.resource.stored)

    def handle(self, request: Request, _: Forward) -> Answer:
        """Answer one request."""
        user = ""
        try:
            answer = next((struck for fault in list(self.faults) if (struck := fault(request))), None)
            if answer is None:
                caller = self._caller(request)
                user = caller.user
                answer = self._answer(caller, request)
        except Refusal as refused:
            answer = _json(refused.status["code"], refused.status)
        except Reset:
            self._note(request, user, 0)
            raise
        self._note(request, user, answer.status)
        return answer

    def _note(self, request: Request, user: str, status: int) -> None:
        with self._lock:
            self.seen.append(Seen(request.method, request.path, user, status))

    def _caller(self, request: Request) -> Caller:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return caller_of(ANONYMOUS)
        if token not in self.world.users:
            raise unauthorized()
        return projects.caller_in(self.world.store, self.world.users[token])

    def _answer(self, caller: Caller, request: Request) -> Answer:
        address = urlsplit(request.path)
        target = parse(address.path, self.world.old)
        if target is None:
            return self._other(caller, request.method, address.path)
        query = dict(parse_qsl(address.query))
        verb = _verb(request.method, target, query)
        with self.world.store.lock:
            return self._resource(caller, verb, target, query, request)

    def _resource(self, caller: Caller, verb: str, target: Target, query: dict[str, str], request: Request) -> Answer:
        collection = self._find(target)
        wish = target.wish(verb)
        if not self.world.rbac.allows(caller, wish):
            raise forbidden(Resource(target.group, target.resource, ""), target.name, denied(self.world, caller, wish))
        if collection is None:
            return _page_not_found()
        call = Call(
            caller, verb, target.group, target.api_version, target.namespace, target.name, target.subresource, query,
            request.headers.get("content-type", ""), request.body, request.headers.get("user-agent", ""),
        )  # fmt: skip
        return _json(*_perform(collection, call))

    def _find(self, target: Target) -> Collection | None:
        if target.legacy:
            return self._legacy.get(target.resource)
        found = self.collections.get((target.group, target.resource))
        cluster_wide = not target.namespace
        fits = found and (cluster_wide or found.resource.namespaced) and _has(found, target.subresource)
        return found if fits else None

    # --- what is no resource ------------------------------------------------------------------------------------

    def _other(self, caller: Caller, method: str, path: str) -> Answer:
        verb = method.lower()
        if not self.world.rbac.allows(caller, Wish(verb, path=path)):
            words = f'forbidden: User "{caller.user}" cannot {verb} path "{path}"'
            raise failure(403, "Forbidden", words, {})
        if path in ("/healthz", "/livez", "/readyz"):
            return Answer(200, (("Content-Type", "text/plain"),), b"ok")
        document = self._discovered(path.rstrip("/"))
        return _json(200, document) if document else _page_not_found()

    def _discovered(self, path: str) -> Object | None:
        groups = sorted({resource.group for resource in self._resources() if resource.group})
        match path.split("/")[1:]:
            case ["version"]:
                return _version(self.world.old)
            case ["api"] | ["oapi"] if path == "/api" or self.world.old:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups]}
            case ["apis", group] if group in groups:
                return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
            case ["apis", group, "v1"] if group in groups:
                return self._listed(f"{group}/v1", [r for r in self._resources() if r.group == group])
            case ["api", "v1"]:
                return self._listed("v1", [r for r in self._resources() if not r.group])
            case ["oapi", "v1"] if self.world.old:
                return self._listed("v1", [made.resource for made in self._legacy.values()])
        return None

    def _resources(self) -> list[Resource]:
        return [made.resource for made in self.collections.values()]

    def _listed(self, version: str, resources: list[Resource]) -> Object:
        verbs = ["create", "delete", "get", "list", "patch", "update"]
        rows = [
            {"name": r.name, "singularName": r.kind.lower(), "namespaced": r.namespaced, "kind": r.kind, "verbs": verbs}
            for r in resources
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": rows}


def parse(path: str, old: bool) -> Target | None:
    """The resource that a path names; None for all other paths, such as those of discovery."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    match parts:
        case ["api", "v1", *rest] if rest:
            group, legacy, version = "", False, "v1"
        case ["apis", "batch", version, "namespaces", project, "cronjobs", *_] if old == (version == "v1"):
            # Not a kind of this version: `legacy` makes it one that is not there, once the rights were asked.
            return Target("batch", f"batch/{version}", "cronjobs", project, "", "", legacy=True)
        case ["apis", group, "v1" | "v1beta1", *rest] if rest and (parts[2] == "v1" or group == "batch"):
            legacy, version = False, f"{group}/v1"
        case ["oapi", "v1", *rest] if rest and old:
            group, legacy, version = "", True, "v1"
        case _:
            return None
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = [*rest, "", ""][:3]
    return Target(group, version, resource, namespace, name, subresource, legacy)


def strike(method: str, path: str, answer: Answer | None, times: int = 1) -> Fault:
    """A fault for the first so many requests of a method (empty: any) whose path a regular expression finds.

    No answer drops the connection.
    """
    left, lock = [times], threading.Lock()

    def fault(request: Request) -> Answer | None:
        if method not in ("", request.method) or not re.search(path, request.path):
            return None
        with lock:
            left[0] -= 1
        if left[0] < 0:
            return None
        if answer is None:
            raise Reset
        return answer

    return fault


def server_error(code: int = 500) -> Answer:
    """An answer of a server that is not well."""
    return _json(code, failure(code, "InternalError", "Internal error occurred: etcdserver: leader changed").status)


def throttled(seconds: int) -> Answer:
    """429: ask again later."""
    words = "Too many requests, please try again later."
    status = failure(429, "TooManyRequests", words, {"retryAfterSeconds": seconds}).status
    return _json(429, status).with_headers(Retry_After=str(seconds))


def login_page() -> Answer:
    """What a proxy in between says to everything."""
    return Answer(200, (("Content-Type", "text/html"),), b"<html><title>Log in</title></html>")


def _of_openshift(resource: Resource) -> bool:
    """Whether /oapi/v1 has it, too."""
    return resource.group.endswith("openshift.io")


def _has(collection: Collection, subresource: str) -> bool:
    return not subresource or (collection.resource, subresource) == (projects.SERVICE_ACCOUNTS, "token")


def _verb(method: str, target: Target, query: dict[str, str]) -> str:
    verb = _VERBS.get(method, method.lower())
    if not target.name and verb == "get":
        return "watch" if query.get("watch") in ("true", "1") else "list"
    return "deletecollection" if verb == "delete" and not target.name else verb


def _perform(collection: Collection, call: Call) -> Answered:
    if call.verb in ("watch", "deletecollection") or (call.verb == "create" and call.name and not call.subresource):
        words = "the server does not allow this method on the requested resource"
        raise failure(405, "MethodNotAllowed", words, {})
    if collection.resource.namespaced and not call.namespace and call.verb != "list":
        raise bad_request("an empty namespace may not be set during creation")
    perform: Callable[[Call], Answered] = getattr(collection, call.verb)
    return perform(call)


def _json(status: int, document: Object) -> Answer:
    return Answer(status, (("Content-Type", "application/json"),), json.dumps(document).encode())


def _page_not_found() -> Answer:
    return Answer(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")


def _version(old: bool) -> Object:
    minor, git = ("11+", "v1.11.0+d4cacc0") if old else ("36", "v1.36.2")
    return {"major": "1", "minor": minor, "gitVersion": git, "platform": "linux/amd64"}


def _group(name: str) -> Object:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}
