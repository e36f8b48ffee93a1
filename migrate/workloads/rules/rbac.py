"""Roles and who has them: OpenShift's old forms, what every project has from its beginning, and other people's names.

The old forms: openshift-apiserver, pkg/authorization/apis/authorization: rbacconversion, v1/conversion.go.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import is_variable
from migrate.workloads.nodes import Map, Node, Seq, text_of
from migrate.workloads.pods import containers, pod_spec
from migrate.workloads.rules.template_parameters import own_project

_LINK = "https://kubernetes.io/docs/reference/access-authn-authz/rbac/"
_OLD = "https://docs.openshift.com/container-platform/4.15/authentication/using-rbac.html"
RBAC = "rbac.authorization.k8s.io"
_LEGACY = ("v1", "authorization.openshift.io/v1")
_KINDS = {
    "User": "User",
    "SystemUser": "User",
    "Group": "Group",
    "SystemGroup": "Group",
    "ServiceAccount": "ServiceAccount",
}
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
_DEFAULTS = {
    "system:image-pullers": ("Group", re.compile(r"system:serviceaccounts:.*")),
    "system:image-builders": ("ServiceAccount", re.compile(r"builder")),
    "system:deployers": ("ServiceAccount", re.compile(r"deployer")),
    "admin": ("User", re.compile(r".*")),
}
"""RoleBindings of every project -> the subject that they have from the beginning."""
_GROUPS = {
    "apps.openshift.io": "deploymentconfigs deploymentconfigrollbacks",
    "build.openshift.io": "builds buildconfigs buildlogs jenkins",
    "image.openshift.io": "images imagestreams imagestreamtags imagestreamimages imagestreamimports imagestreammappings"
    " imagesignatures",
    "route.openshift.io": "routes",
    "template.openshift.io": "templates processedtemplates templateinstances templateconfigs",
    "project.openshift.io": "projects projectrequests",
    "authorization.openshift.io": "roles rolebindings clusterroles clusterrolebindings rolebindingrestrictions"
    " localresourceaccessreviews localsubjectaccessreviews subjectaccessreviews resourceaccessreviews",
}
_GROUP_OF = {resource: group for group, resources in _GROUPS.items() for resource in resources.split()}
_LEFT_EXTENSIONS = {
    "apps": ("deployments", "replicasets", "daemonsets"),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
}


# --- bindings ---------------------------------------------------------------------------------------------------


@rule(
    "legacy-binding",
    Mode.DONE,
    "OpenShift's own form of a RoleBinding became Kubernetes': one list of subjects, and a role with its kind.",
    _OLD,
    ["RoleBinding"],
)
def legacy_binding(it: Editor, found: Object) -> None:
    """`userNames`, `groupNames` and a `roleRef` without kind -> `subjects`, `roleRef`."""
    root = found.root
    if found.api_version not in _LEGACY:
        if root.map("roleRef").has("name") and found.group == RBAC:
            it.put(root.map("roleRef"), "apiGroup", RBAC)
        for name in ("userNames", "groupNames"):
            if not root.has(name):
                it.remove(root, name)
        return
    it.put(root, "apiVersion", f"{RBAC}/v1")
    if root.has("userNames") or root.has("groupNames"):
        subjects = [*_users(root), *_groups(root)]
        if subjects != [_known(each) for each in root.maps("subjects")]:
            it.put(root, "subjects", subjects)
    for name in ("userNames", "groupNames"):
        it.remove(root, name)
    for subject in root.maps("subjects"):
        _subject(it, subject)
    _role_ref(it, root.map("roleRef"))
    annotations = found.meta.map("annotations")
    if annotations.text("openshift.io/reconcile-protect") == "true":
        it.remove(annotations, "openshift.io/reconcile-protect")
        it.put(annotations, f"{RBAC.replace('k8s', 'kubernetes')}/autoupdate", "false")


def _users(root: Map) -> Iterator[dict[str, str]]:
    for each in map(text_of, root.nodes_of("userNames")):
        account = _ACCOUNT.fullmatch(each)
        if account:
            yield {"kind": "ServiceAccount", "namespace": account[1], "name": account[2]}
        else:
            yield {"kind": "User", "apiGroup": RBAC, "name": each}


def _groups(root: Map) -> Iterator[dict[str, str]]:
    for each in map(text_of, root.nodes_of("groupNames")):
        yield {"kind": "Group", "apiGroup": RBAC, "name": each}


def _known(subject: Map) -> dict[str, Any]:
    """A subject as `_users` and `_groups` write it."""
    kind = _KINDS.get(subject.text("kind"), subject.text("kind"))
    of_kind = {"namespace": subject.text("namespace")} if kind == "ServiceAccount" else {"apiGroup": RBAC}
    return {"kind": kind, **of_kind, "name": subject.text("name")}


def _subject(it: Editor, subject: Map) -> None:
    kind = _KINDS.get(subject.text("kind"))
    if kind is None:
        return
    it.put(subject, "kind", kind)
    it.remove(subject, "apiVersion")
    if kind == "ServiceAccount":
        it.remove(subject, "apiGroup")
    else:
        it.put(subject, "apiGroup", RBAC)
        it.remove(subject, "namespace")


def _role_ref(it: Editor, ref: Map) -> None:
    if not ref.has("kind") and len(ref):
        it.put(ref, "kind", "Role" if ref.has("namespace") else "ClusterRole")
    if len(ref):
        it.put(ref, "apiGroup", RBAC)
    for name in ("namespace", "apiVersion", "uid", "resourceVersion"):
        it.remove(ref, name)


@rule(
    "account-namespace",
    Mode.DONE,
    "A service account in a RoleBinding needs its project; the old form took the binding's.",
    _LINK,
    ["RoleBinding"],
)
def account_namespace(it: Editor, found: Object) -> None:
    """`namespace` of subjects."""
    for subject in found.root.maps("subjects"):
        if subject.text("kind") == "ServiceAccount" and not subject.has("namespace"):
            it.put(subject, "namespace", found.namespace or own_project(it, found), after="kind")


@rule(
    "default-binding",
    Mode.LEFT_OUT,
    "Every project has these bindings from its beginning; what somebody added to one goes into a binding of its own.",
    _OLD,
    ["RoleBinding"],
)
def default_binding(it: Editor, found: Object) -> None:
    """`system:image-pullers` and the like; `admin`, whose users are the members of the CSC project."""
    known = _DEFAULTS.get(found.name)
    subjects = found.root.get("subjects")
    if known is None or found.template is not None:
        return
    members = found.root.maps("subjects")
    own = [each for each in members if not _is_default(it, found, each, known)]
    if not own:
        it.leave_out("every project has it")
        return
    assert isinstance(subjects, Seq)
    it.put(found.meta, "name", f"{found.name}-migrated", words="for what was added to it", mode=Mode.NOTED)
    for each in members:
        if each not in own:
            it.remove_item(subjects, each, words="every project has it", mode=Mode.DONE)
    it.world.forget_names()


def _is_default(it: Editor, found: Object, subject: Map, known: tuple[str, re.Pattern[str]]) -> bool:
    kind, pattern = known
    if subject.text("kind") != kind or not pattern.fullmatch(subject.text("name")):
        return False
    if found.name != "system:image-pullers":
        return True
    projects = {found.namespace, it.context.project, *it.context.own_sources}
    others = [each for each in found.root.maps("subjects") if pattern.fullmatch(each.text("name"))]
    is_only = not it.context.own_sources and len(others) == 1
    return is_only or subject.text("name").rpartition(":")[2] in projects


@rule(
    "other-names",
    Mode.WARNED,
    "The new cluster has another login: names of users and groups differ, and members of a CSC project have their"
    " rights by themselves.",
    "https://docs.csc.fi/cloud/rahti/access/",
    ["RoleBinding"],
)
def other_names(it: Editor, found: Object) -> None:
    """Users and groups that are no `system:` names; told."""
    for subject in found.root.maps("subjects"):
        name = subject.text("name")
        if subject.text("kind") in ("User", "Group") and not name.startswith("system:") and not is_variable(name):
            it.say(subject.get("name") or subject, "look what the name is there, or leave it out")


@rule(
    "open-images",
    Mode.WARNED,
    "Whoever has no login may pull every image of the project.",
    "https://docs.csc.fi/cloud/rahti/images/",
    ["RoleBinding"],
)
def open_images(it: Editor, found: Object) -> None:
    """`system:image-puller` for `system:anonymous` or `system:unauthenticated`."""
    if found.root.map("roleRef").text("name") not in ("system:image-puller", "registry-viewer"):
        return
    for subject in found.root.maps("subjects"):
        if subject.text("name") in ("system:anonymous", "system:unauthenticated"):
            it.say(subject.get("name") or subject, "kept: is that still what you want?")


# --- roles ------------------------------------------------------------------------------------------------------


@rule(
    "legacy-role",
    Mode.DONE,
    "OpenShift's own form of a Role became Kubernetes', without attributeRestrictions and with API groups always.",
    _OLD,
    ["Role"],
)
def legacy_role(it: Editor, found: Object) -> None:
    """`attributeRestrictions`, `apiGroups: null`."""
    if found.api_version not in _LEGACY:
        return
    it.put(found.root, "apiVersion", f"{RBAC}/v1")
    rules = found.root.get("rules")
    for each in found.root.maps("rules"):
        if each.has("attributeRestrictions") and isinstance(rules, Seq):
            words = "a rule with attributeRestrictions never allowed anything: dropped"
            it.remove_item(rules, each, words=words, mode=Mode.WARNED)
            continue
        it.remove(each, "attributeRestrictions")
        if not each.has("apiGroups") and each.nodes_of("resources"):
            it.put(each, "apiGroups", _groups_of(map(text_of, each.nodes_of("resources"))), first=True)
        if each.has("nonResourceURLs"):
            it.remove(each, "nonResourceURLs", words="only a ClusterRole can have them", mode=Mode.WARNED)


def _groups_of(resources: Iterable[str]) -> list[str]:
    """The API groups of resources that were named without: the core's, and OpenShift's."""
    names = [each.partition("/")[0].lower() for each in resources]
    if "*" in names:
        return ["", *_GROUPS]
    return sorted({_GROUP_OF.get(name, "") for name in names})


@rule(
    "role-groups",
    Mode.NOTED,
    "What was in the API group extensions is in apps and networking.k8s.io now.",
    _LINK,
    ["Role"],
)
def role_groups(it: Editor, found: Object) -> None:
    """`extensions` gets its successors beside it."""
    for each in found.root.maps("rules"):
        groups = {text_of(group) for group in each.nodes_of("apiGroups")}
        resources = {text_of(name).partition("/")[0] for name in each.nodes_of("resources")}
        if "extensions" not in groups:
            continue
        for group, moved in _LEFT_EXTENSIONS.items():
            if group not in groups and "*" not in groups and resources & {*moved, "*"}:
                it.add_item(each, "apiGroups", group)


# --- service accounts -------------------------------------------------------------------------------------------


@rule(
    "account-secrets",
    Mode.DONE,
    "Tokens and logins of a service account are of the old cluster; the new one gives it others.",
    "https://docs.openshift.com/container-platform/4.15/authentication/using-service-accounts-in-applications.html",
    ["ServiceAccount"],
)
def account_secrets(it: Editor, found: Object) -> None:
    """`<account>-token-x`, `<account>-dockercfg-x`; the user's own pull secrets stay."""
    made = re.compile(rf"{re.escape(found.name)}-(token|dockercfg)-\w+")
    for name in ("secrets", "imagePullSecrets"):
        seq = found.root.get(name)
        if not isinstance(seq, Seq):
            continue
        for each in found.root.maps(name):
            if made.fullmatch(each.text("name")):
                it.remove_item(seq, each)
        if not len(seq):
            found.root.drop(name)


_TOKEN = re.compile(r"(?P<account>.+)-token-[a-z0-9]{5}")


@rule(
    "account-token",
    Mode.WARNED,
    "Since Kubernetes 1.24 no Secret with a token is made for a service account.",
    "https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets",
)
def account_token(it: Editor, found: Object) -> None:
    """A pod that names such a Secret; told."""
    spec = pod_spec(found)
    places: list[Node | None] = [each.map("secret").get("secretName") for each in spec.maps("volumes")]
    for container in containers(spec):
        places += [each.map("valueFrom", "secretKeyRef").get("name") for each in container.maps("env")]
    for node in places:
        if node is not None and _TOKEN.fullmatch(text_of(node)):
            words = "use the token that is mounted by itself, or make a Secret of type"
            it.say(node, f"{words} kubernetes.io/service-account-token with another name")


RULES = (
    legacy_binding, account_namespace, default_binding, other_names, open_images, legacy_role, role_groups,
    account_secrets, account_token,
)  # fmt: skip
