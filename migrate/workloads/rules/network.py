"""Services and NetworkPolicies."""

import re

from migrate.manifest.rahti import SOURCE_EGRESS, TARGET_EGRESS
from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, text_of, walk

_SERVICE = "https://kubernetes.io/docs/concepts/services-networking/service/"
_BALANCER = "https://docs.csc.fi/cloud/rahti/configurations/loadbalancer-service/"
_POLICY = "https://docs.csc.fi/cloud/rahti/configurations/netpol/"
_GIVEN = (
    "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort", "externalIPs", "deprecatedPublicIPs",
    "portalIP",
)  # fmt: skip
_PROJECT_LABEL = "kubernetes.io/metadata.name"
_INGRESS_LABEL = "network.openshift.io/policy-group"
_NEW_INGRESS_LABEL = "policy-group.network.openshift.io/ingress"


@rule(
    "service-addresses",
    Mode.DONE,
    "Addresses and ports of nodes that the old cluster gave to a Service are not free on the new one.",
    _SERVICE,
    ["Service"],
)
def service_addresses(it: Editor, found: Object) -> None:
    """`clusterIP` (but `None`), `nodePort` and the like."""
    spec = found.spec
    if spec.text("clusterIP") != "None":
        it.remove(spec, "clusterIP")
    for name in _GIVEN:
        it.remove(spec, name)
    if spec.text("internalTrafficPolicy") == "Cluster":
        it.remove(spec, "internalTrafficPolicy")
    it.remove(spec, "loadBalancerIP", words="ask CSC for an address", mode=Mode.NOTED)
    for port in spec.maps("ports"):
        it.remove(port, "nodePort")


@rule(
    "service-port-names",
    Mode.BLOCKED,
    "A Service with several ports has a name for each; old clusters may hold some that were never checked.",
    "https://kubernetes.io/docs/concepts/services-networking/service/#multi-port-services",
    ["Service"],
)
def service_port_names(it: Editor, found: Object) -> None:
    """Told: what calls the Service may know its ports by name."""
    ports = found.spec.maps("ports")
    if len(ports) > 1:
        for port in ports:
            if not port.text("name"):
                it.say(port, "give each port a name", before="")


@rule("service-type", Mode.NOTED, "Ports of nodes cannot be reached on the target.", _BALANCER, ["Service"])
def service_type(it: Editor, found: Object) -> None:
    """`NodePort` -> `ClusterIP`; `LoadBalancer` is told, or (options.loadBalancer) written as the target takes it."""
    node = found.spec.get("type")
    if found.spec.text("type") == "NodePort":
        it.put(found.spec, "type", "ClusterIP", words="reach it by a Route, or ask CSC for a LoadBalancer")
        it.remove(found.spec, "externalTrafficPolicy")
    if found.spec.text("type") != "LoadBalancer" or node is None:
        return
    if not it.context.options.load_balancer:
        words = "given on request only: ask CSC, then say options.loadBalancer"
        it.say(node, words, mode=Mode.WARNED)
        return
    if found.spec.text("allocateLoadBalancerNodePorts") != "false":
        it.put(found.spec, "allocateLoadBalancerNodePorts", False, words="options.loadBalancer", after="type")
    for port in found.spec.maps("ports"):
        number = port.text("port")
        if number.isdigit() and not 30000 <= int(number) <= 35000:
            it.say(port.get("port") or port, "the target takes ports from 30000 to 35000", mode=Mode.BLOCKED)


@rule("service-annotations", Mode.DONE, "Annotations that became fields, or have other names.", _SERVICE, ["Service"])
def service_annotations(it: Editor, found: Object) -> None:
    """`tolerate-unready-endpoints` -> `publishNotReadyAddresses`; the name of serving certificates."""
    annotations = found.meta.map("annotations")
    name = "service.alpha.kubernetes.io/tolerate-unready-endpoints"
    if annotations.text(name) == "true" and not found.spec.has("publishNotReadyAddresses"):
        it.put(found.spec, "publishNotReadyAddresses", True)
    it.remove(annotations, name)
    old, new = (f"service.{version}.openshift.io/serving-cert-secret-name" for version in ("alpha", "beta"))
    if annotations.has(old):
        if not annotations.has(new):
            it.put(annotations, new, annotations.text(old), after=old)
        it.remove(annotations, old)
    if found.meta.has("annotations") and not len(annotations):
        found.meta.drop("annotations")


@rule(
    "policy-labels",
    Mode.NOTED,
    "Projects are told apart by other labels: their name, and that of the routers.",
    _BALANCER,
    ["NetworkPolicy"],
)
def policy_labels(it: Editor, found: Object) -> None:
    """`name: P` -> `kubernetes.io/metadata.name: P`; the routers' policy group."""
    for node in walk(found.spec):
        if not isinstance(node, Map) or not isinstance(node.get("namespaceSelector"), Map):
            continue
        labels = node.map("namespaceSelector", "matchLabels")
        project = labels.text("name")
        if project in {*it.context.projects, *it.context.projects.values(), it.context.project}:
            it.put(labels, _PROJECT_LABEL, it.context.target_project(project), after="name", mode=Mode.DONE)
            it.remove(labels, "name", mode=Mode.DONE)
        if labels.text(_INGRESS_LABEL) == "ingress":
            it.put(labels, _NEW_INGRESS_LABEL, "", after=_INGRESS_LABEL)
            it.remove(labels, _INGRESS_LABEL)


@rule(
    "policy-default",
    Mode.WARNED,
    "Every project of the target has NetworkPolicies of its own from the beginning.",
    _POLICY,
    ["NetworkPolicy"],
)
def policy_default(it: Editor, found: Object) -> None:
    """Those that are named as such are told; one that denies all and lets no router in, too."""
    if re.match(r"allow-from-|deny-by-default", found.name):
        it.say(found.root, "compare it with the project's own (oc get networkpolicy) before you apply it",
               path="metadata.name", before=found.name)  # fmt: skip
    spec = found.spec
    types = {text_of(each) for each in spec.nodes_of("policyTypes")} or {"Ingress"}
    if "Ingress" in types and not spec.nodes_of("ingress") and not len(spec.map("podSelector")) and len(spec):
        allows = any(_lets_routers_in(each) for each in it.world.of_kind("NetworkPolicy"))
        if not allows:
            words = f"nothing lets the routers in ({_NEW_INGRESS_LABEL}), so no Route will work"
            it.say(spec, words, path="spec.ingress", before="")


def _lets_routers_in(found: Object) -> bool:
    selectors = (node for node in walk(found.spec) if isinstance(node, Map))
    return any(node.index(name) >= 0 for node in selectors for name in (_NEW_INGRESS_LABEL, _INGRESS_LABEL))


@rule(
    "policy-address",
    Mode.NOTED,
    "The old cluster's own address in a range that is let in.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
    ["NetworkPolicy"],
)
def policy_address(it: Editor, found: Object) -> None:
    """Told."""
    for node in walk(found.spec):
        if isinstance(node, Map) and node.text("cidr").partition("/")[0] == SOURCE_EGRESS:
            it.say(node.get("cidr") or node, f"the new cluster calls from {TARGET_EGRESS}")


RULES = (
    service_addresses, service_port_names, service_type, service_annotations, policy_labels, policy_default,
    policy_address,
)  # fmt: skip
