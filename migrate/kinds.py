"""The kinds of Kubernetes and OpenShift objects that are read or written, and where the API has them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: where the API has it."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool = True


IMAGE_STREAM = Kind("image.openshift.io", "v1", "ImageStream", "imagestreams")
IMAGE_STREAM_TAG = Kind("image.openshift.io", "v1", "ImageStreamTag", "imagestreamtags")
ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False)
LEGACY_ROLE_BINDING = Kind("authorization.openshift.io", "v1", "RoleBinding", "rolebindings")
LIMIT_RANGE = Kind("", "v1", "LimitRange", "limitranges")
PROJECT = Kind("project.openshift.io", "v1", "Project", "projects", namespaced=False)
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
USER = Kind("user.openshift.io", "v1", "User", "users", namespaced=False)
GROUP = Kind("user.openshift.io", "v1", "Group", "groups", namespaced=False)
LOCAL_REVIEW = Kind("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews")
SELF_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)
RESOURCE_QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas")
SHARED_QUOTA = Kind("quota.openshift.io", "v1", "AppliedClusterResourceQuota", "appliedclusterresourcequotas")
"""What a project may use of a ClusterResourceQuota, which several projects share."""
OWN_TOKEN = Kind("oauth.openshift.io", "v1", "UserOAuthAccessToken", "useroauthaccesstokens", namespaced=False)
"""A login of whoever asks; OKD 4.7 and newer."""
POD = Kind("", "v1", "Pod", "pods")
DEPLOYMENT_CONFIG = Kind("apps.openshift.io", "v1", "DeploymentConfig", "deploymentconfigs")
BUILD_CONFIG = Kind("build.openshift.io", "v1", "BuildConfig", "buildconfigs")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")
DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets")
REPLICATION_CONTROLLER = Kind("", "v1", "ReplicationController", "replicationcontrollers")
JOB = Kind("batch", "v1", "Job", "jobs")
CRON_JOB = Kind("batch", "v1", "CronJob", "cronjobs")
OLD_CRON_JOB = Kind("batch", "v1beta1", "CronJob", "cronjobs")
"""Before Kubernetes 1.21, and so in OKD 3.11."""
SERVICE = Kind("", "v1", "Service", "services")
ENDPOINTS = Kind("", "v1", "Endpoints", "endpoints")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SECRET = Kind("", "v1", "Secret", "secrets")
CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENT = Kind("", "v1", "Event", "events")
ROUTE = Kind("route.openshift.io", "v1", "Route", "routes")
TEMPLATE = Kind("template.openshift.io", "v1", "Template", "templates")
INGRESS = Kind("networking.k8s.io", "v1", "Ingress", "ingresses")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
POD_AUTOSCALER = Kind("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
OLDER = {
    CRON_JOB: OLD_CRON_JOB,
    INGRESS: Kind("extensions", "v1beta1", "Ingress", "ingresses"),
    DISRUPTION_BUDGET: Kind("policy", "v1beta1", "PodDisruptionBudget", "poddisruptionbudgets"),
}
"""What OKD 3.11 (Kubernetes 1.11) has instead."""


def kind_named(api_version: str, name: str) -> Kind:
    """The kind of an object, by what stands in it; one that is not known here gets the usual plural."""
    group, _, version = api_version.rpartition("/")
    known = next((kind for kind in _KNOWN if (kind.group, kind.name) == (group, name)), None)
    if known is not None:
        return known if known.version == version else Kind(group, version, name, known.plural, known.namespaced)
    lower = name.lower()
    if lower.endswith("y"):
        return Kind(group, version, name, f"{lower[:-1]}ies")
    return Kind(group, version, name, f"{lower}es" if lower.endswith(("s", "x", "ch")) else f"{lower}s")


_KNOWN = [each for each in list(globals().values()) if isinstance(each, Kind)]
