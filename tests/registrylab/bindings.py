"""Roles and role bindings: nobody gives what he does not have; and OpenShift's older view of bindings."""

import copy
from typing import Any

from registrylab.kuberest import Answered, Collection, merge, yaml_document
from registrylab.kubestatus import (
    Cause,
    Object,
    Resource,
    forbidden,
    invalid,
    not_found,
    required,
    success,
    unsupported,
    wrong_value,
)
from registrylab.kubestore import described
from registrylab.kubeworld import Call, World, check_preconditions
from registrylab.rbac import Caller, Wish, in_words, listed

RBAC_GROUP = "rbac.authorization.k8s.io"
ROLES = Resource(RBAC_GROUP, "roles", "Role", put_creates=True)
ROLE_BINDINGS = Resource(RBAC_GROUP, "rolebindings", "RoleBinding", put_creates=True)
CLUSTER_ROLES = Resource(RBAC_GROUP, "clusterroles", "ClusterRole", namespaced=False, put_creates=True)
CLUSTER_ROLE_BINDINGS = Resource(
    RBAC_GROUP, "clusterrolebindings", "ClusterRoleBinding", namespaced=False, put_creates=True
)
OPENSHIFT_ROLE_BINDINGS = Resource("authorization.openshift.io", "rolebindings", "RoleBinding", stored=False)
_SERVICE_ACCOUNT = "system:serviceaccount:"


class Roles(Collection):
    """Roles and ClusterRoles."""

    def prepare(self, caller: Caller, new: Object, old: Object | None) -> Object:
        """Refuse rules that say nothing, and those that the caller does not hold."""
        name, rules = new["metadata"]["name"], new.get("rules") or []
        causes = [cause for at, rule in enumerate(rules) for cause in _rule_errors(f"rules[{at}]", rule)]
        if causes:
            raise invalid(self.resource, name, *causes)
        if old is None or old.get("rules") != rules:
            namespace = new["metadata"].get("namespace", "")
            wish = Wish("escalate", self.resource.name, RBAC_GROUP, namespace, name)
            if not self.world.rbac.allows(caller, wish):
                _check_held(self.world, self.resource, caller, new, rules)
        return {**new, "rules": rules}


class RoleBindings(Collection):
    """RoleBindings and ClusterRoleBindings."""

    def prepare(self, caller: Caller, new: Object, old: Object | None) -> Object:
        """Fill in API groups; refuse another role than before, and one that the caller may not give."""
        new["roleRef"] = {"apiGroup": RBAC_GROUP, **(new.get("roleRef") or {"kind": "", "name": ""})}
        new["subjects"] = [_with_group(subject) for subject in new.get("subjects") or ()]
        if not new["subjects"]:
            del new["subjects"]
        name = new["metadata"]["name"]
        causes = [*_role_errors(new["roleRef"]), *_subject_errors(new.get("subjects", []))]
        if old and old["roleRef"] != new["roleRef"]:
            causes.append(self._other_role(new["roleRef"]))
        if causes:
            raise invalid(self.resource, name, *causes)
        self._check_role(caller, new)
        return new

    def _other_role(self, role: Object) -> Cause:
        shown: Any = {"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]}
        if not self.world.old:
            return wrong_value("roleRef", shown, "cannot change roleRef")
        said = ", ".join(f'{key}:"{value}"' for key, value in shown.items())
        return Cause("FieldValueInvalid", "roleRef", f"Invalid value: rbac.RoleRef{{{said}}}: cannot change roleRef")

    def _check_role(self, caller: Caller, binding: Object) -> None:
        role, namespace = binding["roleRef"], binding["metadata"].get("namespace", "")
        resource = CLUSTER_ROLES if role["kind"] == "ClusterRole" else ROLES
        wish = Wish("bind", resource.name, RBAC_GROUP, namespace, role["name"])
        if self.world.rbac.allows(caller, wish):
            return
        rules = self.world.rbac.rules_of(role, namespace)
        if rules is None:
            raise not_found(resource, role["name"])
        _check_held(self.world, self.resource, caller, binding, rules)


class OpenShiftRoleBindings(RoleBindings):
    """authorization.openshift.io: the same bindings in the shape that they had in OpenShift before RBAC."""

    def shown(self, item: Object, call: Call) -> Object:
        """With userNames and groupNames, and a role by name alone."""
        subjects = item.get("subjects", [])
        users = [_user_name(s) for s in subjects if s["kind"] != "Group"] or None
        groups = [s["name"] for s in subjects if s["kind"] == "Group"] or None
        role = item["roleRef"]
        place = {"namespace": item["metadata"]["namespace"]} if role["kind"] == "Role" else {}
        shape = {
            "metadata": {key: value for key, value in item["metadata"].items() if key != "managedFields"},
            "userNames": users,
            "groupNames": groups,
            "subjects": [_old_subject(subject) for subject in subjects],
            "roleRef": {**place, "name": role["name"]},
        }
        return described(self.resource, shape, call.api_version)

    def create(self, call: Call) -> Answered:
        """POST: kept as RBAC has it."""
        item = self._checked(call, call.document())
        return 201, self.shown(self._make(call, _to_rbac(item)), call)

    def update(self, call: Call) -> Answered:
        """PUT of one that is there."""
        item = self._checked(call, call.document())
        return 200, self.shown(self._change(call, self.found(call), _to_rbac(item)), call)

    def patch(self, call: Call) -> Answered:
        """PATCH of one that is there: a server-side apply of a new one is 404, unlike anywhere else."""
        old = self.found(call)
        if call.content_type.startswith("application/apply") and not self.world.old:
            wanted = self._checked(call, yaml_document(call))
        elif call.content_type.startswith("application/merge") or call.content_type.startswith("application/strategic"):
            wanted = self._merged(old, call)
        else:
            return super().patch(call)
        return 200, self.shown(self._change(call, old, _to_rbac(wanted)), call)

    def delete(self, call: Call) -> Answered:
        """DELETE."""
        old = self.found(call)
        check_preconditions(self.resource, call, old)
        if not call.dry:
            self.store.delete(self.resource.name, call.namespace, call.name)
        return 200, success(self.resource, call.name, old["metadata"]["uid"])

    def _merged(self, old: Object, call: Call) -> Object:
        """What a patch does not name follows from what it does."""
        patch = call.document()
        merged: Object = merge(self.shown(old, call), patch)
        if "subjects" in patch:
            merged |= {key: patch.get(key) for key in ("userNames", "groupNames")}
        return self._checked(call, merged)


def _check_held(world: World, resource: Resource, caller: Caller, item: Object, rules: list[Object]) -> None:
    metadata = item["metadata"]
    lacking = world.rbac.lacking(caller, metadata.get("namespace", ""), rules)
    if lacking:
        who = f'user "{caller.user}" (groups={listed(caller.groups)})'
        rights = "\n".join(map(in_words, lacking))
        why = f"{who} is attempting to grant RBAC permissions not currently held:\n{rights}"
        raise forbidden(resource, metadata["name"], why)


def _rule_errors(field: str, rule: Object) -> list[Cause]:
    causes = []
    if not rule.get("verbs"):
        causes.append(required(f"{field}.verbs", "verbs must contain at least one value"))
    if rule.get("nonResourceURLs"):
        return causes
    if not rule.get("apiGroups"):
        causes.append(required(f"{field}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        causes.append(required(f"{field}.resources", "resource rules must supply at least one resource"))
    return causes


def _role_errors(role: Object) -> list[Cause]:
    causes = []
    if role.get("kind") not in ("ClusterRole", "Role"):
        causes.append(unsupported("roleRef.kind", role.get("kind", ""), "ClusterRole", "Role"))
    if not role.get("name"):
        causes.append(required("roleRef.name"))
    return causes


def _subject_errors(subjects: list[Object]) -> list[Cause]:
    causes = []
    for at, subject in enumerate(subjects):
        if not subject.get("name"):
            causes.append(required(f"subjects[{at}].name"))
        if subject.get("kind") not in ("Group", "ServiceAccount", "User"):
            causes.append(
                unsupported(f"subjects[{at}].kind", subject.get("kind", ""), "Group", "ServiceAccount", "User")
            )
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
            causes.append(required(f"subjects[{at}].namespace"))
    return causes


def _with_group(subject: Object) -> Object:
    return {"apiGroup": RBAC_GROUP, **subject} if subject.get("kind") in ("User", "Group") else dict(subject)


# --- the older view -----------------------------------------------------------------------------------------------


def _old_subject(subject: Object) -> Object:
    """Names with a colon are the system's: no user or group can be made with one."""
    if subject["kind"] == "ServiceAccount":
        return {key: subject[key] for key in ("kind", "namespace", "name")}
    return {"kind": ("System" if ":" in subject["name"] else "") + subject["kind"], "name": subject["name"]}


def _user_name(subject: Object) -> str:
    if subject["kind"] == "ServiceAccount":
        return f"{_SERVICE_ACCOUNT}{subject['namespace']}:{subject['name']}"
    return str(subject["name"])


def _to_rbac(item: Object) -> Object:
    """An OpenShift binding as RBAC has it; userNames and groupNames, where there are any, are what counts."""
    users, groups = item.get("userNames"), item.get("groupNames")
    if users is None and groups is None:
        subjects = [_new_subject(subject) for subject in item.get("subjects") or ()]
    else:
        subjects = [_named_user(name) for name in users or ()]
        subjects += [{"kind": "Group", "name": name} for name in groups or ()]
    role = item.get("roleRef") or {}
    kind = "Role" if role.get("namespace") else "ClusterRole"
    return {
        "metadata": copy.deepcopy(item["metadata"]),
        "roleRef": {"kind": kind, "name": role.get("name", "")},
        "subjects": subjects,
    }


def _new_subject(subject: Object) -> Object:
    kind = str(subject.get("kind", "")).removeprefix("System")
    return {key: value for key, value in {**subject, "kind": kind}.items() if key in ("kind", "name", "namespace")}


def _named_user(name: str) -> Object:
    if not name.startswith(_SERVICE_ACCOUNT):
        return {"kind": "User", "name": name}
    namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return {"kind": "ServiceAccount", "namespace": namespace, "name": account}
