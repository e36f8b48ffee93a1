"""Objects of an export that a cluster makes by itself: they would only be in the way."""

import re

from migrate.workloads.documents import Object
from migrate.workloads.engine import LAST_APPLIED, Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map

_LINK = "https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/"
_ALWAYS = {
    "Build": "builds start again from their BuildConfig",
    "Event": "what happened on the old cluster",
    "ControllerRevision": "the history of a StatefulSet or DaemonSet",
    "EndpointSlice": "made by the cluster for each Service",
    "Lease": "a lock of the old cluster",
    "Image": "the images themselves are copied, not their descriptions",
    "ImageStreamImage": "the images themselves are copied, not their descriptions",
    "LimitRange": "set by those who run the cluster",
    "ResourceQuota": "set by those who run the cluster",
    "ComponentStatus": "the state of the old cluster",
    "Node": "belongs to the old cluster",
    "PodMetrics": "measured on the old cluster",
}
_MADE_BY = {
    "Pod": re.compile(
        r"openshift\.io/(deployer-pod.*|build\.name|deployment\.name|deployment-config\..*)|kubernetes\.io/created-by"
    ),
    "ReplicationController": re.compile(r"openshift\.io/deployment-config\..*|openshift\.io/encoded-deployment-config"),
    "ReplicaSet": re.compile(r"deployment\.kubernetes\.io/revision"),
    "Job": re.compile(r"(?!)"),
}
"""Kinds that others make -> the annotation that shows it where an export took ownerReferences away."""
_FOREIGN = re.compile(r"(?!.*(^|\.)(k8s|openshift)\.io$)[a-z0-9-]+(\.[a-z0-9-]+)+")
_THERE = re.compile(r"(acme\.)?cert-manager\.io")
"""Groups of others that Rahti 2 has (its guide on custom domains)."""
_OWN_ACCOUNTS = ("builder", "deployer")
_OWN_CONFIG_MAPS = ("kube-root-ca.crt", "openshift-service-ca.crt")
_SERVING = re.compile(r"service\.(alpha|beta)\.openshift\.io/originating-service-name")
_TOKEN_ANNOTATION = re.compile(r"kubernetes\.io/service-account\.name|openshift\.io/token-secret\..*")


@rule("always-made", Mode.LEFT_OUT, "A cluster makes and keeps these objects by itself.", _LINK, _ALWAYS)
def always_made(it: Editor, found: Object) -> None:
    """Builds, events, limits and the like."""
    it.leave_out(_ALWAYS[found.kind])


@rule(
    "made-by-another",
    Mode.LEFT_OUT,
    "What a Deployment, DeploymentConfig, CronJob or build made is made again by it on the new cluster.",
    _LINK,
    _MADE_BY,
)
def made_by_another(it: Editor, found: Object) -> None:
    """Pods, ReplicationControllers, ReplicaSets and Jobs that have an owner."""
    owners = [f"{owner.text('kind')}/{owner.text('name')}" for owner in found.meta.maps("ownerReferences")]
    signs = [name for name, _ in found.meta.map("annotations").items() if _MADE_BY[found.kind].fullmatch(name)]
    if owners:
        it.leave_out(f"made by {owners[0]}")
    elif signs:
        it.leave_out(f"made by another object, as its annotation {signs[0]} shows")
    elif found.kind == "Pod" and not found.meta.has("name") and found.meta.has("generateName") and not found.template:
        it.leave_out("made by another object: it has generateName and no name")
    elif found.kind == "Pod" and not found.template:
        it.say(found.root, "a Pod of its own: nothing starts it again when its node goes", mode=Mode.NOTED, path="kind")
    elif found.kind == "ReplicationController" and not found.template:
        it.say(found.root, "no DeploymentConfig made it: it stays; a Deployment also rolls out changes",
               mode=Mode.NOTED, path="kind")  # fmt: skip


@rule(
    "glusterfs-service",
    Mode.LEFT_OUT,
    "GlusterFS made a Service and Endpoints for each of its volumes; there is no GlusterFS on the new cluster.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
    ["Service", "Endpoints"],
)
def glusterfs_service(it: Editor, found: Object) -> None:
    """`glusterfs-dynamic-<claim>` and `glusterfs-cluster*`."""
    if found.name.startswith(("glusterfs-dynamic-", "glusterfs-cluster")):
        it.leave_out("of a GlusterFS volume")


@rule(
    "endpoints",
    Mode.LEFT_OUT,
    "The Endpoints of a Service with a selector are made by the new cluster; those of one without are kept.",
    "https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors",
    ["Endpoints"],
)
def endpoints(it: Editor, found: Object) -> None:
    """Left out where the Service selects pods, or where a leader lock or trigger time shows that a machine wrote it."""
    service = it.world.named(["Service"], found.name, found.namespace)
    machine_made = re.compile(r"control-plane\.alpha\.kubernetes\.io/leader|endpoints\.kubernetes\.io/.*")
    if service is not None and len(service.spec.map("selector")):
        it.leave_out(f"of Service/{found.name}, which selects its pods")
    elif any(machine_made.fullmatch(name) for name, _ in found.meta.map("annotations").items()):
        it.leave_out("written by a machine")
    elif service is None:
        it.say(found.root, "no Service of that name is here: look whether you need it", mode=Mode.WARNED, path="kind")


@rule(
    "image-stream-tag",
    Mode.LEFT_OUT,
    "An ImageStreamTag is a view of an ImageStream; the stream is what is kept.",
    "https://docs.openshift.com/container-platform/4.15/openshift_images/image-streams-manage.html",
    ["ImageStreamTag"],
)
def image_stream_tag(it: Editor, found: Object) -> None:
    """Left out beside its ImageStream; alone it becomes one."""
    stream, _, tag = found.name.partition(":")
    if it.world.named(["ImageStream"], stream, found.namespace):
        it.leave_out(f"a view of ImageStream/{stream}")
        return
    root, given = found.root, found.root.get("tag")
    entry = {"name": tag or "latest"} | (
        {"from": given.get("from")} if isinstance(given, Map) and given.has("from") else {}
    )
    it.put(root, "kind", "ImageStream", mode=Mode.NOTED, words="an ImageStream with this one tag")
    it.put(found.meta, "name", stream, mode=Mode.NOTED)
    it.put(root, "spec", {"tags": [entry]}, mode=Mode.NOTED, after="metadata")
    for name in ("tag", "image", "generation", "conditions", "lookupPolicy"):
        it.remove(root, name, mode=Mode.NOTED)
    it.world.forget_names()


@rule(
    "service-account-secret",
    Mode.LEFT_OUT,
    "Tokens of service accounts and certificates of Services are of the old cluster; the new one makes its own.",
    "https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets",
    ["Secret"],
)
def service_account_secret(it: Editor, found: Object) -> None:
    """Token and dockercfg Secrets of service accounts, serving certificates."""
    kind = found.root.text("type")
    is_token = any(_TOKEN_ANNOTATION.fullmatch(name) for name, _ in found.meta.map("annotations").items())
    if kind == "kubernetes.io/service-account-token" or (kind == "kubernetes.io/dockercfg" and is_token):
        it.leave_out("a login of the old cluster")
    elif any(_SERVING.fullmatch(name) for name, _ in found.meta.map("annotations").items()):
        it.leave_out("a certificate that the cluster makes for a Service")


@rule(
    "default-account",
    Mode.LEFT_OUT,
    "Every project has these from its beginning.",
    "https://docs.openshift.com/container-platform/4.15/authentication/using-service-accounts-in-applications.html",
    ["ServiceAccount", "ConfigMap"],
)
def default_account(it: Editor, found: Object) -> None:
    """The accounts and ConfigMaps that come with a project."""
    if found.kind == "ConfigMap":
        if found.name in _OWN_CONFIG_MAPS:
            it.leave_out("every project has one")
    elif found.name in _OWN_ACCOUNTS or (found.name == "default" and not _is_changed_by_user(found)):
        it.leave_out("every project has one")


def _is_changed_by_user(found: Object) -> bool:
    """Whether a default account has pull secrets, labels or annotations that somebody gave it."""
    made = re.compile(rf"{re.escape(found.name)}-(token|dockercfg)-\w+")
    secrets = [*found.root.maps("secrets"), *found.root.maps("imagePullSecrets")]
    own = [secret for secret in secrets if not made.fullmatch(secret.text("name"))]
    annotations = [n for n, _ in found.meta.map("annotations").items() if n != LAST_APPLIED]
    return bool(own or annotations or len(found.meta.map("labels")))


@rule(
    "unknown-kind",
    Mode.WARNED,
    "A kind of somebody's own (a CustomResourceDefinition), which users of the target cannot make.",
    "https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/custom-resources/",
)
def unknown_kind(it: Editor, found: Object) -> None:
    """Told; options.dropUnknown leaves it out."""
    if not _FOREIGN.fullmatch(found.group) or _THERE.fullmatch(found.group) or found.kind in ("List", "Template"):
        return
    if it.context.options.drop_unknown:
        it.leave_out("options.dropUnknown")
    else:
        it.say(found.root, f"is it there? oc api-resources --api-group={found.group}; if not, options.dropUnknown"
               " leaves it out", path="kind", before=f"{found.api_version} {found.kind}")  # fmt: skip


RULES = (
    always_made, made_by_another, glusterfs_service, endpoints, image_stream_tag, service_account_secret,
    default_account, unknown_kind,
)  # fmt: skip
