"""Access reviews: questions whether somebody may do something."""

from registrylab.kuberest import Answered, Collection
from registrylab.kubestatus import Object, Resource, bad_request, invalid, wrong_value
from registrylab.kubeworld import Call
from registrylab.rbac import Caller, Wish

_GROUP = "authorization.k8s.io"
LOCAL = Resource(_GROUP, "localsubjectaccessreviews", "LocalSubjectAccessReview", stored=False)
OF_CLUSTER = Resource(_GROUP, "subjectaccessreviews", "SubjectAccessReview", namespaced=False, stored=False)
OF_SELF = Resource(_GROUP, "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False, stored=False)


class Reviews(Collection):
    """What is asked is answered and not kept; the groups are those that are asked for, and no others."""

    def create(self, call: Call) -> Answered:
        """POST of a review."""
        item = self._checked(call, call.document())
        spec = item.get("spec") or {}
        attributes = spec.get("resourceAttributes") or {}
        if self.resource is LOCAL and attributes.get("namespace") != call.namespace:
            raise bad_request(f"spec.resourceAttributes.namespace must match namespace: {call.namespace}")
        reason = self.world.rbac.allows(self._who(call, spec), _wish(spec))
        status: Object = {"allowed": bool(reason)}
        if reason or self.world.old:
            status["reason"] = reason or "no RBAC policy matched"
        return 201, {**item, "status": status}

    def _who(self, call: Call, spec: Object) -> Caller:
        if self.resource is OF_SELF:
            return call.caller
        user, groups = spec.get("user", ""), tuple(spec.get("groups") or ())
        if not user and not groups:
            why = "at least one of user or group must be specified"
            raise invalid(self.resource, "", wrong_value("spec.user", "", why))
        return Caller(user, groups)


def _wish(spec: Object) -> Wish:
    if "nonResourceAttributes" in spec:
        asked = spec["nonResourceAttributes"]
        return Wish(asked.get("verb", ""), path=asked.get("path", ""))
    asked = spec.get("resourceAttributes") or {}
    parts = [asked.get("resource", ""), *([asked["subresource"]] if asked.get("subresource") else [])]
    return Wish(
        asked.get("verb", ""),
        "/".join(parts),
        asked.get("group", ""),
        asked.get("namespace", ""),
        asked.get("name", ""),
    )
