"""Get, list, create, update, patch and delete, as every resource of a Kubernetes API has them."""

import copy
from collections.abc import Callable
from typing import Any

from registrylab import serverside
from registrylab.kubestatus import (
    Object,
    Objects,
    Resource,
    already_exists,
    bad_request,
    conflict,
    failure,
    forbidden,
    invalid,
    not_found,
    required,
    success,
    wrong_value,
)
from registrylab.kubestore import described
from registrylab.kubeworld import Call, World, check_namespace, check_preconditions, check_quota, denied
from registrylab.rbac import Caller, Wish

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_IDENTITY = ("uid", "creationTimestamp", "namespace", "name", "resourceVersion", "generation")

Answered = tuple[int, Object]


class Collection:
    """One resource: what is kept under it, and what may be done with it.

    Kinds with rules of their own override `prepare`; those that are kept as something else, the verbs themselves.
    """

    def __init__(self, world: World, resource: Resource) -> None:
        self.world, self.store, self.resource = world, world.store, resource

    def prepare(self, caller: Caller, new: Object, old: Object | None) -> Object:
        """Check what is to be kept, and fill in what the user leaves out. It may change `new`, and nothing else."""
        return new

    def shown(self, item: Object, call: Call) -> Object:
        """An object as one call sees it."""
        return described(self.resource, item, call.api_version)

    # --- reading ------------------------------------------------------------------------------------------------

    def get(self, call: Call) -> Answered:
        """One object."""
        return 200, self.shown(self.found(call), call)

    def found(self, call: Call) -> Object:
        """The object that is meant."""
        item = self.store.peek(self.resource.name, call.namespace, call.name)
        if item is None:
            raise not_found(self.resource, call.name)
        return item

    def list(self, call: Call) -> Answered:
        """All that fit the selectors, in pages where a limit is given. Items have no kind, as in real lists."""
        chosen = [item for item in self.all(call) if _fits(item, call.query)]
        page = self.store.page(chosen, int(call.query.get("limit") or 0), call.query.get("continue", ""))
        metadata: Object = {"resourceVersion": str(page.revision)}
        if page.following:
            metadata["continue"] = page.following
        if page.remaining and not {"labelSelector", "fieldSelector"} & set(call.query):
            metadata["remainingItemCount"] = page.remaining
        items = [_without(self.shown(item, call), "kind", "apiVersion") for item in page.objects]
        head = {"kind": f"{self.resource.kind}List", "apiVersion": call.api_version}
        return 200, {**head, "metadata": metadata, "items": items}

    def all(self, call: Call) -> Objects:
        """What a list is chosen from."""
        everywhere = not call.namespace and self.resource.namespaced
        return self.store.list(self.resource.name, None if everywhere else call.namespace)

    # --- writing ------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answered:
        """POST."""
        item = self._checked(call, call.document())
        metadata = item["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{self.store.revision:05d}"
        if not metadata.get("name"):
            raise invalid(self.resource, "", required("metadata.name", "name or generateName is required"))
        if metadata.get("resourceVersion"):
            raise failure(500, "", "resourceVersion should not be set on objects to be created")
        return 201, self.shown(self._make(call, item), call)

    def update(self, call: Call) -> Answered:
        """PUT."""
        item = self._checked(call, call.document())
        old = self.store.peek(self.resource.name, call.namespace, call.name)
        if old is None and self.resource.put_creates:
            return 201, self.shown(self._make(call, item), call)
        if old is None:
            raise not_found(self.resource, call.name)
        revision = item["metadata"].get("resourceVersion")
        if not revision and not self.resource.blind_update:
            cause = wrong_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(self.resource, call.name, cause)
        return 200, self.shown(self._change(call, old, item), call)

    def patch(self, call: Call) -> Answered:
        """PATCH: a server-side apply, or a merge."""
        kind = call.content_type.partition(";")[0].strip()
        if kind == APPLY_PATCH and not self.world.old:
            return self._apply(call)
        if kind not in MERGE_PATCHES:
            known = ["application/json-patch+json", *MERGE_PATCHES, *([] if self.world.old else [APPLY_PATCH])]
            words = "the body of the request was in an unknown format - accepted media types include: "
            raise failure(415, "UnsupportedMediaType", words + ", ".join(known))
        old = self.found(call)
        merged = merge(self.shown(old, call), call.document())
        return 200, self.shown(self._change(call, old, self._checked(call, merged)), call)

    def delete(self, call: Call) -> Answered:
        """DELETE, if it is still what the preconditions say."""
        old = self.found(call)
        check_preconditions(self.resource, call, old)
        if not call.dry:
            self.store.delete(self.resource.name, call.namespace, call.name)
        return 200, success(self.resource, call.name, old["metadata"]["uid"])

    def seed(self, item: Object, caller: Caller) -> Object:
        """Make or replace an object without asking for rights."""
        place = item["metadata"].get("namespace", "") if self.resource.namespaced else ""
        old = self.store.peek(self.resource.name, place, item["metadata"]["name"])
        kept = _without(item, "kind", "apiVersion")
        kept["metadata"] = {**_identity(old), **kept["metadata"]}
        return self.store.put(self.resource.name, self.prepare(caller, kept, old))

    def _apply(self, call: Call) -> Answered:
        if not call.query.get("fieldManager"):
            options = Resource("meta.k8s.io", "patchoptions", "PatchOptions")
            raise invalid(options, "", required("fieldManager", "is required for apply patch"))
        wanted = self._checked(call, yaml_document(call))
        if wanted["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        self._check_fields(wanted)
        live = self.store.peek(self.resource.name, call.namespace, call.name)
        force = call.query.get("force") == "true"
        if live is None:
            if wanted["metadata"].get("uid") or wanted["metadata"].get("resourceVersion"):
                raise conflict(self.resource, call.name)
            self._check_create(call)
            new = serverside.apply({}, wanted, call.manager, force)
            new["metadata"].update({"name": call.name, "namespace": call.namespace} if call.namespace else {})
            return 201, self.shown(self._make(call, new, tracked=True), call)
        self._check_current(live, wanted)
        new = serverside.apply(live, wanted, call.manager, force)
        return 200, self.shown(self._change(call, live, new, tracked=True), call)

    def _check_create(self, call: Call) -> None:
        """An apply that makes something needs the right to make it."""
        wish = Wish("create", self.resource.name, call.group, call.namespace)
        if not self.world.rbac.allows(call.caller, wish):
            raise forbidden(self.resource, call.name, denied(self.world, call.caller, wish))

    def _check_fields(self, wanted: Object) -> None:
        known = FIELDS.get(self.resource.kind)
        unknown = [
            key for key in wanted if known and key not in known and key not in ("apiVersion", "kind", "metadata")
        ]
        if unknown:
            metadata = wanted["metadata"]
            name = f"{metadata['namespace']}/{metadata['name']}"
            words = f"failed to create typed patch object ({name}; {wanted['apiVersion']}, Kind={wanted['kind']}): "
            raise failure(500, "", f"{words}.{unknown[0]}: field not declared in schema")

    def _checked(self, call: Call, item: Object) -> Object:
        """A body that is of this resource, and fits the path."""
        own = {self.resource.api_version, call.api_version}
        if item.get("kind", self.resource.kind) != self.resource.kind or item.get("apiVersion", "") not in own:
            said = f"{item.get('apiVersion', '')}, Kind={item.get('kind', '')}"
            raise bad_request(
                f"the API version in the data ({said}) does not match the expected API version ({call.api_version})"
            )
        metadata = {**(item.get("metadata") or {})}
        if call.name and metadata.setdefault("name", call.name) != call.name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
            )
        if call.namespace and metadata.setdefault("namespace", call.namespace) != call.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        return {**item, "metadata": metadata}

    def _make(self, call: Call, item: Object, tracked: bool = False) -> Object:
        name = item["metadata"]["name"]
        check_namespace(self.world, self.resource, call.namespace, name)
        if self.store.peek(self.resource.name, call.namespace, name):
            raise already_exists(self.resource, name)
        metadata = {
            k: v for k, v in item["metadata"].items() if k not in ("uid", "creationTimestamp", "resourceVersion")
        }
        new = {**_without(copy.deepcopy(item), "kind", "apiVersion", "status"), "metadata": metadata}
        new = self.prepare(call.caller, new, None)
        check_quota(self.world, self.resource, call.namespace, name)
        return self._keep(call, new, {}, tracked)

    def _change(self, call: Call, old: Object, item: Object, tracked: bool = False) -> Object:
        self._check_current(old, item)
        new = _without(copy.deepcopy(item), "kind", "apiVersion", "status")
        new["metadata"] = {**new["metadata"], **_identity(old)}
        if "status" in old:
            new["status"] = copy.deepcopy(old["status"])
        return self._keep(call, self.prepare(call.caller, new, old), old, tracked)

    def _keep(self, call: Call, new: Object, old: Object, tracked: bool) -> Object:
        if not tracked and not self.world.old:
            new["metadata"].pop("managedFields", None)
            new = serverside.tracked(old, new, call.manager, call.api_version)
        if new == old or call.dry:
            return new
        return self.store.put(self.resource.name, new)

    def _check_current(self, old: Object, item: Object) -> None:
        revision, uid = item["metadata"].get("resourceVersion"), item["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            found = old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
            raise conflict(self.resource, old["metadata"]["name"], why)
        if revision and revision != old["metadata"]["resourceVersion"]:
            raise conflict(self.resource, old["metadata"]["name"])


FIELDS = {
    "RoleBinding": {"subjects", "roleRef"},
    "ClusterRoleBinding": {"subjects", "roleRef"},
    "Role": {"rules"},
    "ImageStream": {"spec", "status"},
}
"""What objects of a kind may have, for those whose unknown fields an apply refuses."""


def merge(item: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(item) if isinstance(item, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def yaml_document(call: Call) -> Object:
    """The body of an apply, which must say what it is."""
    document = call.document()
    if not document.get("kind") or not document.get("apiVersion"):
        raise bad_request(
            f"couldn't get version/kind; json parse error: Object 'Kind' is missing in {call.body[:80]!r}"
        )
    return document


def _identity(old: Object | None) -> Object:
    return {key: old["metadata"][key] for key in _IDENTITY if key in old["metadata"]} if old else {}


def _without(item: Object, *keys: str) -> Object:
    return {key: value for key, value in item.items() if key not in keys}


def _fits(item: Object, query: dict[str, str]) -> bool:
    labels = item["metadata"].get("labels") or {}
    wanted = [_label_test(part.strip()) for part in query.get("labelSelector", "").split(",") if part.strip()]
    named = [part.partition("metadata.name=")[2].lstrip("=") for part in query.get("fieldSelector", "").split(",")]
    return all(test(labels) for test in wanted) and all(not n or n == item["metadata"]["name"] for n in named)


def _label_test(part: str) -> Callable[[dict[str, str]], bool]:
    """`a=b`, `a!=b`, `a`, `!a`."""
    if "!=" in part:
        key, _, value = part.partition("!=")
        return lambda labels: labels.get(key) != value
    if "=" in part:
        key, _, value = part.partition("=")
        return lambda labels: labels.get(key) == value.lstrip("=")
    if part.startswith("!"):
        return lambda labels: part[1:] not in labels
    return lambda labels: part in labels
