"""API groups of OpenShift kinds (rewrites: apiVersion), typed lists, and kinds that only administrators have."""

import re

from migrate.workloads.documents import Document, Form, Object, is_list
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, Scalar, walk

_GROUPS = {
    "apps.openshift.io/v1": "DeploymentConfig DeploymentConfigRollback DeploymentRequest DeploymentLog",
    "build.openshift.io/v1": "BuildConfig Build BuildRequest BuildLog BinaryBuildRequestOptions",
    "image.openshift.io/v1": "Image ImageSignature ImageStream ImageStreamTag ImageStreamImage ImageStreamImport"
    " ImageStreamMapping",
    "route.openshift.io/v1": "Route",
    "template.openshift.io/v1": "Template ProcessedTemplate TemplateConfig",
    "project.openshift.io/v1": "Project ProjectRequest",
    "authorization.openshift.io/v1": "Role RoleBinding ClusterRole ClusterRoleBinding RoleBindingRestriction"
    " SubjectAccessReview LocalSubjectAccessReview ResourceAccessReview LocalResourceAccessReview"
    " SelfSubjectRulesReview SubjectRulesReview",
    "oauth.openshift.io/v1": "OAuthClient OAuthAccessToken OAuthAuthorizeToken OAuthClientAuthorization",
    "user.openshift.io/v1": "User Group Identity UserIdentityMapping",
    "network.openshift.io/v1": "ClusterNetwork HostSubnet NetNamespace EgressNetworkPolicy",
    "security.openshift.io/v1": "SecurityContextConstraints PodSecurityPolicyReview"
    " PodSecurityPolicySubjectReview PodSecurityPolicySelfSubjectReview",
    "quota.openshift.io/v1": "ClusterResourceQuota AppliedClusterResourceQuota",
}
OPENSHIFT_GROUP = {kind: group for group, kinds in _GROUPS.items() for kind in kinds.split()}
"""OpenShift's kinds that once had no group -> the group they have (openshift/library-go, legacygroupification)."""
_QUESTIONS = (
    "SubjectAccessReview LocalSubjectAccessReview ResourceAccessReview LocalResourceAccessReview SelfSubjectRulesReview"
    " SubjectRulesReview PodSecurityPolicyReview PodSecurityPolicySubjectReview PodSecurityPolicySelfSubjectReview"
    " BuildRequest BuildLog BinaryBuildRequestOptions DeploymentRequest DeploymentLog DeploymentConfigRollback"
    " ImageStreamImport ImageStreamMapping ImageSignature TemplateConfig"
)
_CLUSTERS = (
    "RoleBindingRestriction OAuthClient OAuthAccessToken OAuthAuthorizeToken OAuthClientAuthorization User Group"
    " Identity UserIdentityMapping ClusterNetwork HostSubnet NetNamespace SecurityContextConstraints"
    " ClusterResourceQuota AppliedClusterResourceQuota PersistentVolume StorageClass ClusterRole ClusterRoleBinding"
    " PodSecurityPolicy IngressClass CustomResourceDefinition MutatingWebhookConfiguration"
    " ValidatingWebhookConfiguration APIService CSIDriver CSINode CSIStorageCapacity VolumeAttachment PriorityClass"
    " CertificateSigningRequest RuntimeClass FlowSchema PriorityLevelConfiguration"
)
_PROJECT = "create the project yourself: at Rahti its description must hold csc_project: and the number"
_NOBODYS = {
    **dict.fromkeys(("Project", "ProjectRequest", "Namespace"), _PROJECT),
    **dict.fromkeys(_QUESTIONS.split(), "a question to the API, and no object"),
    **dict.fromkeys(_CLUSTERS.split(), "only administrators of a cluster can make it"),
}
_KNOWN_GROUP = re.compile(r"v1|(apps|batch|extensions|autoscaling|policy|[a-z.]+\.(k8s|openshift)\.io)/v\w+")
_GROUPS_OF_CLUSTERS = {group.partition("/")[0] for group in _GROUPS}
_OF_CLUSTERS = ("v1", "extensions/v1beta1", "policy/v1beta1")
_LINK = "https://docs.openshift.com/container-platform/4.1/release_notes/ocp-4-1-release-notes.html"


@rule(
    "typed-list",
    Mode.DONE,
    "A list of one kind (DeploymentConfigList) becomes a List: its members may be of other kinds afterwards.",
    "https://kubernetes.io/docs/reference/using-api/api-concepts/#collections",
    on_documents=True,
)
def typed_list(it: Editor, document: Document) -> None:
    """`kind: XList` -> `kind: List`, and its members say their own kind."""
    if document.form not in (Form.YAML, Form.JSON):
        return
    for root in document.roots:
        for node in walk(root, lambda node: not isinstance(node, Scalar)):
            if isinstance(node, Map) and _is_typed(node):
                _to_list(it, node)


def _is_typed(node: Map) -> bool:
    kind = node.text("kind")
    of_cluster = bool(_KNOWN_GROUP.fullmatch(node.text("apiVersion")))
    return is_list(node) and kind != "List" and of_cluster


def _to_list(it: Editor, node: Map) -> None:
    kind, version = node.text("kind").removesuffix("List"), node.text("apiVersion")
    for item in node.maps("items"):
        if not item.has("kind"):
            it.put(item, "kind", kind, first=True)
        if not item.has("apiVersion"):
            it.put(item, "apiVersion", version, first=True)
    it.put(node, "kind", "List")
    it.put(node, "apiVersion", "v1")


@rule(
    "openshift-group",
    Mode.DONE,
    "OpenShift's kinds have API groups of their own; the forms without a group are gone in OpenShift 4.",
    _LINK,
    OPENSHIFT_GROUP.keys() - {"Role", "RoleBinding"},  # rbac.py
)
def openshift_group(it: Editor, found: Object) -> None:
    """`apiVersion: v1` of an OpenShift kind -> its group's."""
    if found.api_version == "v1":
        it.put(found.root, "apiVersion", OPENSHIFT_GROUP[found.kind])
    if found.kind == "ProcessedTemplate":
        it.put(found.root, "kind", "Template")


@rule(
    "old-openshift-version",
    Mode.BLOCKED,
    "v1beta1 and v1beta3 are of OpenShift 3.0 and older; nothing converts them any more.",
    _LINK,
)
def old_openshift_version(it: Editor, found: Object) -> None:
    """OpenShift 3.0's versions."""
    if found.api_version in ("v1beta1", "v1beta2", "v1beta3"):
        it.say(found.root, "rewrite it as v1, or leave it out", path="apiVersion", before=found.api_version)


@rule(
    "not-yours",
    Mode.LEFT_OUT,
    "Objects that belong to a cluster and not to a project cannot be made by its users.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
    _NOBODYS,
)
def not_yours(it: Editor, found: Object) -> None:
    """Cluster-scoped kinds and questions to the API are left out."""
    if found.group in _GROUPS_OF_CLUSTERS or found.group.endswith(".k8s.io") or found.api_version in _OF_CLUSTERS:
        it.leave_out(_NOBODYS[found.kind])


@rule(
    "egress-network-policy",
    Mode.WARNED,
    "EgressNetworkPolicy is of the old network; the new one has EgressFirewall, which administrators make.",
    "https://docs.openshift.com/container-platform/4.15/networking/ovn_kubernetes_network_provider/migrate-from-openshift-sdn.html",
    ["EgressNetworkPolicy"],
)
def egress_network_policy(it: Editor, found: Object) -> None:
    """Told; the object stays."""
    it.say(found.root, "ask CSC for the rule, and leave this object out when applying", path="kind", before=found.kind)


RULES = (typed_list, openshift_group, old_openshift_version, not_yours, egress_network_policy)
