"""Kubernetes' API versions that ended between 1.11 and today, and the fields that changed with them.

Versions: https://kubernetes.io/docs/reference/using-api/deprecation-guide/. Old defaults: Kubernetes 1.11,
pkg/apis/extensions/v1beta1/defaults.go, pkg/apis/apps/v1beta1/defaults.go.
"""

import re
from collections.abc import Iterator

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, Scalar, text_of
from migrate.workloads.pods import pod_template
from migrate.workloads.rules.template_parameters import with_defaults
from migrate.workloads.schema import model_of

_LINK = "https://kubernetes.io/docs/reference/using-api/deprecation-guide/"
_INGRESS = "https://docs.openshift.com/container-platform/4.15/networking/routes/route-configuration.html"
_APPS = ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet")
_OLD_APPS = ("extensions/v1beta1", "apps/v1beta1", "apps/v1beta2")
_OLD_RBAC = ("rbac.authorization.k8s.io/v1alpha1", "rbac.authorization.k8s.io/v1beta1")
_NOW = {
    **{(version, kind): "apps/v1" for version in _OLD_APPS for kind in _APPS},
    ("apps/v1alpha1", "PetSet"): "apps/v1",
    ("extensions/v1beta1", "NetworkPolicy"): "networking.k8s.io/v1",
    ("extensions/v1beta1", "Ingress"): "networking.k8s.io/v1",
    ("networking.k8s.io/v1beta1", "Ingress"): "networking.k8s.io/v1",
    ("extensions/v1beta1", "Job"): "batch/v1",
    ("batch/v2alpha1", "Job"): "batch/v1",
    ("batch/v1beta1", "CronJob"): "batch/v1",
    ("batch/v2alpha1", "CronJob"): "batch/v1",
    ("batch/v2alpha1", "ScheduledJob"): "batch/v1",
    ("policy/v1beta1", "PodDisruptionBudget"): "policy/v1",
    ("extensions/v1beta1", "HorizontalPodAutoscaler"): "autoscaling/v1",
    ("autoscaling/v2alpha1", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): "autoscaling/v2",
    **{(version, kind): "rbac.authorization.k8s.io/v1" for version in _OLD_RBAC for kind in ("Role", "RoleBinding")},
}
_RENAMED = {"PetSet": "StatefulSet", "ScheduledJob": "CronJob"}
_OF_KUBERNETES = re.compile(
    r"v\d\w*|(apps|batch|extensions|autoscaling|policy|(networking|rbac\.authorization|storage|scheduling|settings|node"
    r"|apiextensions|admissionregistration|apiregistration|certificates|coordination|discovery|events"
    r"|flowcontrol\.apiserver|authentication|authorization)\.k8s\.io)/v\w+"
)
"""Groups that Kubernetes' API serves or has served; files for other programs (kustomize's) have others."""
_FOR_PROGRAMS = re.compile(r"\w*Config")
_OTHER_CLASS = re.compile(r"(nginx|traefik|haproxy|gce|alb|kong)")


# --- fields, before the version goes ----------------------------------------------------------------------------


@rule(
    "old-selector",
    Mode.DONE,
    "apps/v1 needs a selector; the old versions took the labels of the pods.",
    _LINK,
    [*_APPS, "PetSet"],
)
def old_selector(it: Editor, found: Object) -> None:
    """`selector.matchLabels` from the template's labels."""
    if (found.api_version, found.kind) not in _NOW:
        return
    selector = found.spec.get("selector")
    labels = {name: text_of(value) for name, value in pod_template(found).map("metadata", "labels").items()}
    if labels and (not isinstance(selector, Map) or not len(selector)):
        it.put(found.spec, "selector", {"matchLabels": labels}, after="replicas")


@rule(
    "old-defaults",
    Mode.DONE,
    "What an old version did where nothing was said, the new one does otherwise; so it is said now.",
    _LINK,
    [*_APPS, "PetSet"],
)
def old_defaults(it: Editor, found: Object) -> None:
    """Shares of a rolling update, history, and OnDelete."""
    version, spec = found.api_version, found.spec
    if (version, found.kind) not in _NOW:
        return
    if found.kind == "Deployment" and version == "extensions/v1beta1":
        _rolling_by_one(it, spec)
    if found.kind == "Deployment" and version == "apps/v1beta1" and not spec.has("revisionHistoryLimit"):
        it.put(spec, "revisionHistoryLimit", 2)
    if found.kind == "StatefulSet" and spec.has("strategy") and version in _OLD_APPS:
        it.remove(spec, "strategy", words="a StatefulSet has none, so it was overlooked", mode=Mode.WARNED)
    was_on_delete = {"DaemonSet": "extensions/v1beta1", "StatefulSet": "apps/v1beta1"}.get(found.kind) == version
    if was_on_delete and not spec.has("updateStrategy"):
        words = "its pods are replaced when you delete them, as before: RollingUpdate would do it by itself"
        it.put(spec, "updateStrategy", {"type": "OnDelete"}, words=words, mode=Mode.NOTED)
    for name in ("rollbackTo", "templateGeneration"):
        it.remove(spec, name)


def _rolling_by_one(it: Editor, spec: Map) -> None:
    strategy = spec.map("strategy")
    if strategy.text("type") not in ("", "RollingUpdate"):
        return
    rolling = strategy.map("rollingUpdate")
    missing = [name for name in ("maxUnavailable", "maxSurge") if not rolling.has(name)]
    if not missing:
        return
    strategy = it.ensure(spec, "strategy", after="selector")
    rolling = it.ensure(strategy, "rollingUpdate")
    for name in missing:
        it.put(rolling, name, 1)


@rule("old-job", Mode.DONE, "The field of extensions/v1beta1 is gone.", _LINK, ["Job"])
def old_job(it: Editor, found: Object) -> None:
    """`autoSelector`."""
    if found.api_version in ("extensions/v1beta1", "batch/v2alpha1"):
        it.remove(found.spec, "autoSelector")


@rule(
    "disruption-selector",
    Mode.WARNED,
    "In policy/v1beta1 an empty selector was of no pods, in policy/v1 it is of every pod of the project.",
    _LINK,
    ["PodDisruptionBudget"],
)
def disruption_selector(it: Editor, found: Object) -> None:
    """`selector: {}`."""
    selector = found.spec.get("selector")
    if found.api_version == "policy/v1beta1" and (
        selector is None or (isinstance(selector, Map) and not len(selector))
    ):
        it.say(selector or found.spec, "say which pods are meant", path="spec.selector", before="")


@rule(
    "old-subject",
    Mode.DONE,
    "A subject says the group of its kind in apiGroup; apiVersion was the name in v1alpha1.",
    _LINK,
    ["RoleBinding"],
)
def old_subject(it: Editor, found: Object) -> None:
    """`apiVersion` of subjects."""
    if found.api_version not in _OLD_RBAC:
        return
    for subject in found.root.maps("subjects"):
        if subject.has("apiVersion"):
            group = "" if subject.text("kind") == "ServiceAccount" else "rbac.authorization.k8s.io"
            it.remove(subject, "apiVersion")
            if group and not subject.has("apiGroup"):
                it.put(subject, "apiGroup", group)


# --- Ingress ----------------------------------------------------------------------------------------------------


@rule(
    "ingress-backend", Mode.DONE, "networking.k8s.io/v1 names a Service and its port another way.", _LINK, ["Ingress"]
)
def ingress_backend(it: Editor, found: Object) -> None:
    """`serviceName`, `servicePort` -> `service`; `pathType`; `spec.backend` -> `defaultBackend`; the class."""
    if (found.api_version, found.kind) not in _NOW:
        return
    spec = found.spec
    if isinstance(spec.get("backend"), Map):
        _backend(it, found, spec.map("backend"))
        it.put(spec, "defaultBackend", spec.map("backend"), after="backend")
        it.remove(spec, "backend")
    for path in _paths(spec):
        _backend(it, found, path.map("backend"))
        if not path.has("pathType"):
            it.put(path, "pathType", "ImplementationSpecific", after="path" if path.index("path") >= 0 else "")
    annotations = found.meta.map("annotations")
    if not spec.has("ingressClassName") and not annotations.has("kubernetes.io/ingress.class") and len(spec):
        it.put(spec, "ingressClassName", "openshift-default", first=True)


def _paths(spec: Map) -> Iterator[Map]:
    for each in spec.maps("rules"):
        yield from each.map("http").maps("paths")


def _backend(it: Editor, found: Object, backend: Map) -> None:
    name, port = backend.get("serviceName"), backend.get("servicePort")
    if name is None:
        return
    service: dict[str, object] = {"name": name}
    if isinstance(port, Scalar) and not port.is_null:
        default = with_defaults(found, port.value)
        if port.value.isdigit():
            service["port"] = {"number": int(port.value)}
        elif default.isdigit():
            service["port"] = {"number": re.sub(r"^\$\{(\w+)\}$", r"${{\1}}", port.value)}
        else:
            service["port"] = {"name": port}
    it.put(backend, "service", service)
    it.remove(backend, "serviceName")
    it.remove(backend, "servicePort")


@rule(
    "ingress-route",
    Mode.WARNED,
    "OpenShift makes Routes of an Ingress, and reads not all that other controllers read.",
    _INGRESS,
    ["Ingress"],
)
def ingress_route(it: Editor, found: Object) -> None:
    """Classes and annotations of other controllers, `pathType: Exact`, backends that are no Service."""
    for name, value in found.meta.map("annotations").items():
        if name == "kubernetes.io/ingress.class" and _OTHER_CLASS.match(text_of(value)):
            it.say(value, "OpenShift overlooks an Ingress of this class: take it out, or write a Route")
        elif re.match(r"(nginx|traefik)\.|haproxy\.ingress", name):
            it.say(value, "it has no effect: a Route has annotations of its own (haproxy.router.openshift.io/...)")
    if _OTHER_CLASS.match(found.spec.text("ingressClassName")):
        words = "OpenShift overlooks an Ingress of this class: openshift-default is its own"
        it.say(found.spec.get("ingressClassName") or found.spec, words)
    for path in _paths(found.spec):
        if path.text("pathType") == "Exact":
            it.say(path.get("pathType") or path, "the router does not do Exact: no Route is made")
        if path.map("backend").has("resource"):
            it.say(path.map("backend"), "the router knows only Services: no Route is made", before="resource")
    if found.spec.has("defaultBackend") and not found.spec.maps("rules"):
        it.say(found.spec, "no Route is made of a default backend alone: write a Route", path="spec.defaultBackend")


# --- autoscalers ------------------------------------------------------------------------------------------------


@rule(
    "autoscaler-metrics",
    Mode.DONE,
    "autoscaling/v2 names metrics and their targets another way.",
    _LINK,
    ["HorizontalPodAutoscaler"],
)
def autoscaler_metrics(it: Editor, found: Object) -> None:
    """Metrics of v2beta1; `scaleRef` and `cpuUtilization` of extensions/v1beta1."""
    if found.api_version == "extensions/v1beta1":
        _first_autoscaler(it, found.spec)
    elif found.api_version in ("autoscaling/v2alpha1", "autoscaling/v2beta1"):
        for metric in found.spec.maps("metrics"):
            for kind in ("resource", "containerResource"):
                _resource(it, metric.map(kind))
            _named(it, metric.map("pods"), "metricName", "selector", {"targetAverageValue": "averageValue"})
            _object(it, metric.map("object"))
            values = {"targetValue": "value", "targetAverageValue": "averageValue"}
            _named(it, metric.map("external"), "metricName", "metricSelector", values)


_TYPES = {"value": "Value", "averageValue": "AverageValue", "averageUtilization": "Utilization"}


def _resource(it: Editor, where: Map) -> None:
    _target(it, where, {"targetAverageUtilization": "averageUtilization", "targetAverageValue": "averageValue"})


def _object(it: Editor, where: Map) -> None:
    if where.has("metricName") and where.has("target"):
        it.put(where, "describedObject", where.map("target"), after="target")
        it.remove(where, "target")
    _named(it, where, "metricName", "selector", {"averageValue": "averageValue", "targetValue": "value"})


def _named(it: Editor, where: Map, name: str, selector: str, values: dict[str, str]) -> None:
    if not where.has(name):
        return
    metric = {"name": where.get(name)}
    if where.has(selector):
        metric["selector"] = where.get(selector)
    it.put(where, "metric", metric)
    _target(it, where, values)
    for each in dict.fromkeys((name, selector)):
        it.remove(where, each)


def _target(it: Editor, where: Map, values: dict[str, str]) -> None:
    given = [old for old in values if where.has(old)]
    if given:
        new = values[given[0]]
        it.put(where, "target", {"type": _TYPES[new], new: where.get(given[0])})
    for old in values:
        it.remove(where, old)


def _first_autoscaler(it: Editor, spec: Map) -> None:
    if isinstance(spec.get("scaleRef"), Map):
        it.put(spec, "scaleTargetRef", spec.map("scaleRef"), after="scaleRef")
        it.remove(spec, "scaleRef")
        it.remove(spec.map("scaleTargetRef"), "subresource")
    wanted = spec.map("cpuUtilization").get("targetPercentage")
    if wanted is not None:
        it.put(spec, "targetCPUUtilizationPercentage", wanted, after="cpuUtilization")
    it.remove(spec, "cpuUtilization")


@rule(
    "autoscaler-annotations",
    Mode.DONE,
    "An autoscaler that was read as autoscaling/v1 carries the rest of itself in annotations.",
    _LINK,
    ["HorizontalPodAutoscaler"],
)
def autoscaler_annotations(it: Editor, found: Object) -> None:
    """Conditions and what was measured go; metrics and behavior are part of what was wanted."""
    annotations = found.meta.map("annotations")
    for name in ("conditions", "current-metrics"):
        it.remove(annotations, f"autoscaling.alpha.kubernetes.io/{name}")
    for name in ("metrics", "behavior"):
        node = annotations.get(f"autoscaling.alpha.kubernetes.io/{name}")
        if node is not None:
            words = f"part of the autoscaler: write it as autoscaling/v2 with spec.{name}, or export it as v2"
            it.say(node, words, mode=Mode.WARNED)
    if found.meta.has("annotations") and not len(annotations):
        found.meta.drop("annotations")


# --- the version ------------------------------------------------------------------------------------------------


@rule("old-api", Mode.DONE, "This version of the API has ended; the object is of the one that took its place.", _LINK)
def old_api(it: Editor, found: Object) -> None:
    """apiVersion, and kinds with another name."""
    new = _NOW.get((found.api_version, found.kind))
    if new is None:
        return
    kind = _RENAMED.get(found.kind)
    it.put(found.root, "apiVersion", new)
    if kind:
        it.put(found.root, "kind", kind, mode=Mode.WARNED if kind == "StatefulSet" else None)


@rule(
    "unknown-api",
    Mode.BLOCKED,
    "Kubernetes has no such kind in this version of the API (any more), and no rule here turns it into another.",
    _LINK,
)
def unknown_api(it: Editor, found: Object) -> None:
    """Kinds of Kubernetes' own groups that are not served."""
    version, kind = found.api_version, found.kind
    is_known = "$" in version + kind or not _OF_KUBERNETES.fullmatch(version) or model_of(version, kind) is not None
    is_file = version == "v1" and _FOR_PROGRAMS.fullmatch(kind)  # such as a kubeconfig
    if not is_known and not is_file and version not in ("v1beta1", "v1beta2", "v1beta3"):
        it.say(found.root, "write it as a version that is served (oc api-resources), or leave it out",
               path="apiVersion", before=f"{version} {kind}")  # fmt: skip


RULES = (
    old_selector, old_defaults, old_job, disruption_selector, old_subject, ingress_backend,
    autoscaler_metrics, autoscaler_annotations, old_api, ingress_route,
)  # fmt: skip
RULES_AT_THE_END = (unknown_api,)
