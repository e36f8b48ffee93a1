"""The ClusterRoles that OpenShift brings along, and what everybody is bound to.

Of each role only rules on resources that a fake cluster has, or that rights on images hang on, and enough of the rest
for `admin` to hold all that `edit`, `view` and the registry's roles have.
"""

from typing import Any

from registrylab.kubestatus import Object
from registrylab.rbac import AUTHENTICATED, UNAUTHENTICATED

_READ = "get list watch"
_WRITE = "create update patch delete deletecollection"
_ALL = f"{_READ} {_WRITE}"
_RBAC, _REVIEWS, _USER = "rbac.authorization.k8s.io", "authorization.k8s.io", "user.openshift.io"


def _rule(verbs: str, group: str, resources: str, *names: str) -> Object:
    """A rule; of OpenShift's own groups the old one without a name goes along, as in the real roles."""
    groups = [group, ""] if group.endswith("openshift.io") else [group]
    only = {"resourceNames": list(names)} if names else {}
    return {"verbs": verbs.split(), "apiGroups": groups, "resources": resources.split(), **only}


def _image(verbs: str, resources: str) -> Object:
    return _rule(verbs, "image.openshift.io", resources)


def _paths(verbs: str, *paths: str) -> Object:
    return {"verbs": verbs.split(), "nonResourceURLs": list(paths)}


_STREAMS = "imagestreamimages imagestreammappings imagestreams imagestreamtags imagetags"
_LAYERS = "imagestreams/layers"

_PULLER = [_image("get", _LAYERS)]
_PUSHER = [_image("get update", _LAYERS)]
_BUILDER = [
    *_PUSHER,
    _image("create", "imagestreams"),
    _rule("update", "build.openshift.io", "builds/details"),
    _rule("get", "build.openshift.io", "builds"),
]
_SEE_PROJECT = [_rule("get", "", "namespaces"), _rule("get", "project.openshift.io", "projects")]
_REGISTRY_VIEWER = [_image(_READ, _STREAMS), *_PULLER, *_SEE_PROJECT]
_REGISTRY_EDITOR = [
    _rule(_ALL, "", "serviceaccounts secrets"),
    _image(_ALL, f"{_STREAMS} imagestreams/secrets"),
    _image("create", "imagestreamimports"),
    *_PUSHER,
    *_SEE_PROJECT,
]
_REGISTRY_ADMIN = [
    *_REGISTRY_EDITOR,
    _rule(_ALL, "authorization.openshift.io", "rolebindings roles"),
    _rule(_ALL, _RBAC, "roles rolebindings"),
    _rule("create", "authorization.openshift.io", "localresourceaccessreviews localsubjectaccessreviews"),
    _rule("create", _REVIEWS, "localsubjectaccessreviews"),
    _rule("get delete", "project.openshift.io", "projects"),
]
_WORKLOADS = [
    ("apps.openshift.io", "deploymentconfigs deploymentconfigs/scale"),
    ("build.openshift.io", "builds buildconfigs buildconfigs/webhooks"),
    ("route.openshift.io", "routes"),
    ("template.openshift.io", "templates processedtemplates templateinstances"),
    ("apps", "deployments statefulsets daemonsets replicasets deployments/scale"),
    ("batch", "jobs cronjobs"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("networking.k8s.io", "ingresses networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("", "configmaps endpoints persistentvolumeclaims pods replicationcontrollers services"),
]
_VIEW = [
    *_REGISTRY_VIEWER,
    *(_rule(_READ, group, resources) for group, resources in _WORKLOADS),
    _rule(_READ, "", "bindings events limitranges namespaces namespaces/status pods/log pods/status serviceaccounts"),
    _rule(_READ, "", "resourcequotas resourcequotas/status replicationcontrollers/status"),
    _image(_READ, "imagestreams/status"),
    _rule(_READ, "quota.openshift.io", "appliedclusterresourcequotas"),
]
_EDIT = [
    *_VIEW,
    *_REGISTRY_EDITOR,
    *_BUILDER,
    *(_rule(_WRITE, group, resources) for group, resources in _WORKLOADS),
    _rule("create", "", "serviceaccounts/token"),
    _rule("impersonate", "", "serviceaccounts"),
    _rule("get list watch", "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    _rule("create", "route.openshift.io", "routes/custom-host"),
    _rule("create", "", "events pods/eviction"),
]
_ADMIN = [
    *_EDIT,
    *_REGISTRY_ADMIN,
    _rule("create", "authorization.openshift.io", "resourceaccessreviews subjectaccessreviews subjectrulesreviews"),
    _rule("get patch update delete", "project.openshift.io", "projects"),
]
_DEPLOYER = [
    _rule("delete get list update watch", "", "replicationcontrollers"),
    _rule("get list watch create", "", "pods"),
    _rule("get", "", "pods/log"),
    _rule("create list", "", "events"),
    _image("create update", "imagestreamtags imagetags"),
]
_CLUSTER_READER = [
    *_VIEW,
    _rule(_READ, _RBAC, "roles rolebindings clusterroles clusterrolebindings"),
    _rule(_READ, "authorization.openshift.io", "roles rolebindings clusterroles clusterrolebindings"),
    _image(_READ, "images imagesignatures"),
    _rule(_READ, "project.openshift.io", "projects projectrequests"),
    _rule(_READ, _USER, "groups identities users"),
    _rule("create", _REVIEWS, "selfsubjectaccessreviews subjectaccessreviews localsubjectaccessreviews"),
    _paths("get", "*"),
]
_SELF_REVIEWER = [_rule("create", _REVIEWS, "selfsubjectaccessreviews")]
_BASIC_USER = [
    *_SELF_REVIEWER,
    _rule("get", _USER, "users", "~"),
    _rule("get list watch delete", "oauth.openshift.io", "useroauthaccesstokens"),
    _rule("list", "project.openshift.io", "projectrequests"),
    _rule("list watch", "project.openshift.io", "projects"),
    _rule("get list", "authorization.openshift.io", "clusterroles"),
    _rule(_READ, _RBAC, "clusterroles"),
    _rule("get list", "storage.k8s.io", "storageclasses"),
]
_DISCOVERY = [_paths("get", "/version", "/version/*", "/api", "/api/*", "/apis", "/apis/*", "/oapi", "/oapi/*",
                     "/openapi", "/openapi/*", "/healthz", "/livez", "/readyz", "/.well-known",
                     "/.well-known/*", "/")]  # fmt: skip

_ROLES: dict[str, list[Object]] = {
    "cluster-admin": [_rule("*", "*", "*"), _paths("*", "*")],
    "cluster-reader": _CLUSTER_READER,
    "admin": _ADMIN,
    "edit": _EDIT,
    "view": _VIEW,
    "basic-user": _BASIC_USER,
    "self-access-reviewer": _SELF_REVIEWER,
    "self-provisioner": [_rule("create", "project.openshift.io", "projectrequests")],
    "registry-viewer": _REGISTRY_VIEWER,
    "registry-editor": _REGISTRY_EDITOR,
    "registry-admin": _REGISTRY_ADMIN,
    "system:image-puller": _PULLER,
    "system:image-pusher": _PUSHER,
    "system:image-builder": _BUILDER,
    "system:deployer": _DEPLOYER,
    "system:discovery": _DISCOVERY,
    "system:public-info-viewer": [_paths("get", "/healthz", "/livez", "/readyz", "/version", "/version/")],
}


def cluster_roles() -> list[Object]:
    """Every ClusterRole of a new cluster."""
    return [{"metadata": {"name": name}, "rules": rules} for name, rules in _ROLES.items()]


def cluster_role_bindings(version: str) -> list[Object]:
    """What everybody may; since 4.16 those without a login may neither discover nor ask what they may."""
    everybody = (AUTHENTICATED, UNAUTHENTICATED)
    asking = everybody if version == "3.11" else (AUTHENTICATED,)
    return [
        _binding("cluster-admins", "cluster-admin", "system:masters", "system:cluster-admins"),
        _binding("cluster-readers", "cluster-reader", "system:cluster-readers"),
        _binding("basic-users", "basic-user", AUTHENTICATED),
        _binding("self-access-reviewers", "self-access-reviewer", *asking),
        _binding("self-provisioners", "self-provisioner", "system:authenticated:oauth"),
        _binding("system:discovery", "system:discovery", *asking),
        _binding("system:public-info-viewer", "system:public-info-viewer", *everybody),
    ]


def default_bindings(project: str) -> list[Object]:
    """What OpenShift's controllers put into each new project, for its service accounts."""
    accounts = {"kind": "Group", "name": f"system:serviceaccounts:{project}", "apiGroup": _RBAC}
    return [
        role_binding(project, "system:image-pullers", "system:image-puller", accounts),
        role_binding(project, "system:image-builders", "system:image-builder", _account(project, "builder")),
        role_binding(project, "system:deployers", "system:deployer", _account(project, "deployer")),
    ]


def role_binding(project: str, name: str, role: str, *subjects: Object) -> Object:
    """A RoleBinding to a ClusterRole."""
    return {
        "metadata": {"name": name, "namespace": project},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


def _account(project: str, name: str) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "name": name, "namespace": project}


def _binding(name: str, role: str, *groups: str) -> Object:
    subjects = [{"kind": "Group", "name": group, "apiGroup": _RBAC} for group in groups]
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }
