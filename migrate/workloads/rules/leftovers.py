"""What pods said in annotations before there were fields for it, and labels of nodes that have other names now."""

import json
import re
from collections.abc import Iterator
from typing import Any

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, Node, Scalar, Seq, followed, text_of
from migrate.workloads.pods import TEMPLATES, pod_template

_POD = "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/"
_LABELS = "https://kubernetes.io/docs/reference/labels-annotations-taints/"
_INIT = ("pod.beta.kubernetes.io/init-containers", "pod.alpha.kubernetes.io/init-containers")
_JSON_FIELDS = {
    "scheduler.alpha.kubernetes.io/affinity": "affinity",
    "scheduler.alpha.kubernetes.io/tolerations": "tolerations",
}
_TEXT_FIELDS = {
    "scheduler.alpha.kubernetes.io/name": "schedulerName",
    "pod.beta.kubernetes.io/hostname": "hostname",
    "pod.beta.kubernetes.io/subdomain": "subdomain",
}
_NO_MORE = re.compile(
    r"scheduler\.alpha\.kubernetes\.io/critical-pod|pod\.alpha\.kubernetes\.io/initialized"
    r"|pod\.(alpha|beta)\.kubernetes\.io/init-container-statuses|container\.apparmor\.security\.beta\.kubernetes\.io/.*"
)
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_SYSCTLS = re.compile(r"security\.alpha\.kubernetes\.io/(unsafe-)?sysctls")
_NEW_LABELS = {
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}
_KNOWN_LABELS = (*_NEW_LABELS.values(), "kubernetes.io/hostname", "rahti.csc.fi/local-load-balancer")


def _drop_empty(meta: Map) -> None:
    if isinstance(meta.get("annotations"), Map) and not len(meta.map("annotations")):
        meta.drop("annotations")


def _parsed(node: Node) -> Any:
    try:
        return json.loads(text_of(node))
    except ValueError:
        return None


@rule(
    "pod-annotations",
    Mode.NOTED,
    "What a pod said in annotations has fields of its own now, and the annotations are overlooked.",
    _POD,
    TEMPLATES,
)
def pod_annotations(it: Editor, found: Object) -> None:
    """Init containers, affinity, tolerations, host names -> fields of the pod's spec."""
    meta, spec = pod_template(found).map("metadata"), pod_template(found).map("spec")
    annotations = meta.map("annotations")
    for name, node in list(annotations.items()):
        if _NO_MORE.fullmatch(name):
            it.remove(annotations, name, mode=Mode.DONE)
        elif name in _INIT or name in _JSON_FIELDS:
            _to_field(it, spec, annotations, name, _parsed(node))
        elif name in _TEXT_FIELDS:
            if not spec.has(_TEXT_FIELDS[name]):
                it.put(spec, _TEXT_FIELDS[name], text_of(node))
            it.remove(annotations, name)
        elif _SYSCTLS.fullmatch(name):
            it.say(node, "write it as securityContext.sysctls; most are refused by restricted-v2", mode=Mode.WARNED)
    _drop_empty(meta)


def _to_field(it: Editor, spec: Map, annotations: Map, name: str, data: Any) -> None:
    field = "initContainers" if name in _INIT else _JSON_FIELDS[name]
    wanted = dict if field == "affinity" else list
    if not isinstance(data, wanted):
        it.say(annotations.get(name) or annotations, f"this is no JSON: write it as {field}", mode=Mode.WARNED)
        return
    if not spec.has(field) and data:
        it.put(spec, field, data)
    it.remove(annotations, name)


@rule(
    "pod-seccomp",
    Mode.NOTED,
    "Since Kubernetes 1.27 seccomp profiles are a field; the annotations are overlooked.",
    "https://kubernetes.io/docs/tutorials/security/seccomp/",
    TEMPLATES,
)
def pod_seccomp(it: Editor, found: Object) -> None:
    """`runtime/default` -> `securityContext.seccompProfile`; others are refused by restricted-v2."""
    template = pod_template(found)
    meta, spec = template.map("metadata"), template.map("spec")
    annotations = meta.map("annotations")
    for name, node in list(annotations.items()):
        if name != _SECCOMP and not name.startswith(_SECCOMP_CONTAINER):
            continue
        wanted = name.removeprefix(_SECCOMP_CONTAINER)
        lists = [*spec.maps("containers"), *spec.maps("initContainers")]
        where = spec if name == _SECCOMP else next((each for each in lists if each.text("name") == wanted), None)
        if text_of(node) not in ("runtime/default", "docker/default"):
            it.say(node, "restricted-v2 allows only RuntimeDefault: take it out, or ask for another", mode=Mode.WARNED)
        elif where is not None:
            context = it.ensure(where, "securityContext")
            if not context.has("seccompProfile"):
                it.put(context, "seccompProfile", {"type": "RuntimeDefault"})
            it.remove(annotations, name)
    _drop_empty(meta)


@rule("node-labels", Mode.DONE, "Labels of nodes that Kubernetes sets have other names now.", _LABELS, TEMPLATES)
def node_labels(it: Editor, found: Object) -> None:
    """`beta.kubernetes.io/os` -> `kubernetes.io/os`, in selectors, affinities, tolerations."""
    spec = pod_template(found).map("spec")
    selector = spec.map("nodeSelector")
    for name, node in list(selector.items()):
        if name in _NEW_LABELS:
            it.put(selector, _NEW_LABELS[name], text_of(node), after=name)
            it.remove(selector, name)
    for node in _label_names(spec):
        if node.value in _NEW_LABELS:
            it.change(node, _NEW_LABELS[node.value])


def _label_names(spec: Map) -> Iterator[Scalar]:
    """`key` and `topologyKey` wherever pods are placed."""
    waiting: list[Node] = [spec.map("affinity"), *spec.maps("tolerations"), *spec.maps("topologySpreadConstraints")]
    while waiting:
        here = followed(waiting.pop())
        if isinstance(here, Map):
            for name, value in here.items():
                if name in ("key", "topologyKey") and isinstance(value, Scalar):
                    yield value
                waiting.append(value)
        elif isinstance(here, Seq):
            waiting += here.nodes


@rule(
    "node-selector",
    Mode.WARNED,
    "Nodes of the new cluster have other labels: a pod that asks for one of the old waits forever.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
    (*TEMPLATES, "BuildConfig"),
)
def node_selector(it: Editor, found: Object) -> None:
    """Labels in `nodeSelector` that are the old cluster's own; told, options.stripNodeSelectors takes them out."""
    places = [pod_template(found).map("spec")] if found.kind in TEMPLATES else [found.spec]
    for place in places:
        selector = place.map("nodeSelector")
        for name, node in list(selector.items()):
            if name in _KNOWN_LABELS:
                if name == "kubernetes.io/arch" and text_of(node) != "amd64":
                    it.say(node, "the target's nodes are amd64")
            elif it.context.options.strip_node_selectors:
                it.remove(selector, name, words="options.stripNodeSelectors", mode=Mode.NOTED)
            else:
                it.say(node, f"take {name} out (options.stripNodeSelectors does), or ask which labels there are")
        if isinstance(place.get("nodeSelector"), Map) and not len(selector):
            place.drop("nodeSelector")


RULES = (pod_annotations, pod_seccomp, node_labels, node_selector)
