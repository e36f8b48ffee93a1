"""Routes, the host names of them, and whatever else mentions a host that is another one now."""

import ipaddress
import re
from collections.abc import Iterator

from migrate.manifest.rahti import SOURCE_API_HOST, SOURCE_EGRESS, TARGET_API_HOST, TARGET_EGRESS, TARGET_ROUTER
from migrate.workloads.documents import Object
from migrate.workloads.engine import LAST_APPLIED, Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import is_variable
from migrate.workloads.nodes import Map, Scalar, text_of
from migrate.workloads.rules.template_parameters import change_default, parameter, with_defaults
from migrate.workloads.texts import texts_of

_LINK = "https://docs.csc.fi/cloud/rahti/networking/"
_DOMAIN = "https://docs.csc.fi/cloud/rahti/configurations/custom-domain/"
_GENERATED = "openshift.io/host.generated"
_OLD_LIST = "haproxy.router.openshift.io/ip_whitelist"
_NEW_LIST = "haproxy.router.openshift.io/ip_allowlist"
_PARAMETER = re.compile(r"\$\{(\w+)\}")


def hosts(it: Editor) -> dict[str, str]:
    """Old host -> new host, of the Routes and Ingresses of this run."""
    return it.world.memory.setdefault("hosts", {})  # type: ignore[return-value]


@rule(
    "route-generated",
    Mode.DONE,
    "A host that the old cluster made up is made up again by the new one.",
    _LINK,
    ["Route"],
)
def route_generated(it: Editor, found: Object) -> None:
    """`openshift.io/host.generated`, and `<name>-<project>.<suffix>` without it: `spec.host` goes."""
    node = found.spec.scalar("host")
    annotations = found.meta.map("annotations")
    is_marked = annotations.text(_GENERATED) == "true"
    suffix = it.context.platform.source_suffix
    projects = {found.namespace, it.context.project, *it.context.own_sources} - {""}
    usual = {f"{found.name}-{project}.{suffix}" for project in projects}
    if node is not None and not node.is_null and (is_marked or (found.name and node.value in usual)):
        if not is_variable(node.value + found.name):
            hosts(it)[node.value] = f"{found.name}-{it.context.project}.{it.context.platform.target_suffix}"
        it.remove(found.spec, "host", words="")
    it.remove(annotations, _GENERATED)
    if found.meta.has("annotations") and not len(annotations):
        found.meta.drop("annotations")


@rule(
    "route-host",
    Mode.NOTED,
    "Names below the old cluster's suffix go to the old cluster; options.routeSuffix: keep leaves them.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
    ["Route", "Ingress"],
)
def route_host(it: Editor, found: Object) -> None:
    """`X.rahtiapp.fi` -> `X.2.rahtiapp.fi`; in Templates the parameter with the suffix."""
    for node in _host_nodes(found):
        if is_variable(node.value):
            if it.context.options.route_suffix == "keep":
                it.say(node, "left as it is (options.routeSuffix)", mode=Mode.NOTED)
            else:
                _parameter_host(it, found, node)
            continue
        name = _below(node.value, it)
        if not name:
            continue
        new = f"{name}.{it.context.platform.target_suffix}"
        if it.context.options.route_suffix == "keep":
            hosts(it)[node.value] = node.value
            words = (
                "kept (options.routeSuffix): ask CSC whether it is taken, and move it only when the old Route is gone"
            )
            it.say(node, words, mode=Mode.WARNED)
        else:
            hosts(it)[node.value] = new
            dotted = "its certificate does not cover names with dots: bring one, or use another name"
            it.change(node, new, words=dotted if "." in name else "", mode=Mode.WARNED if "." in name else None)


def _host_nodes(found: Object) -> Iterator[Scalar]:
    """The hosts of a Route; of an Ingress those of its rules, and of its certificates."""
    places = [found.spec] if found.kind == "Route" else found.spec.maps("rules")
    for place in places:
        node = place.scalar("host")
        if node is not None and not node.is_null:
            yield node
    for tls in found.spec.maps("tls") if found.kind == "Ingress" else []:
        yield from (node for node in tls.nodes_of("hosts") if isinstance(node, Scalar))


def _below(host: str, it: Editor) -> str:
    """What stands before the old suffix; empty where the host is not below it, or already below the new one."""
    platform = it.context.platform
    if host.endswith(f".{platform.target_suffix}") or host == platform.target_suffix:
        return ""
    return host.removesuffix(f".{platform.source_suffix}") if host.endswith(f".{platform.source_suffix}") else ""


def _parameter_host(it: Editor, found: Object, node: Scalar) -> None:
    """A host with parameters: the suffix is in one of them, or stands behind them."""
    platform = it.context.platform
    if name := _below(node.value, it):
        it.change(node, f"{name}.{platform.target_suffix}")
        return
    for each in _PARAMETER.findall(node.value):
        known = parameter(found, each)
        value = known.scalar("value") if known is not None else None
        if value is None:
            continue
        before = node.value.partition(f"${{{each}}}")[0]
        if value.value == platform.source_suffix:
            if _is_second(found, each):
                it.say(node, f"some use of {each} has 2. before it already: left as it is", mode=Mode.WARNED)
            else:
                change_default(it, found, f"${{{each}}}", lambda _: platform.target_suffix)
        elif not before.endswith("2.") and (name := _below(value.value, it)):
            new = f"{name}.{platform.target_suffix}"
            hosts(it)[value.value] = new
            change_default(it, found, f"${{{each}}}", lambda _, new=new: new)  # type: ignore[misc]


def _is_second(found: Object, name: str) -> bool:
    """Whether some text of the Template already writes `2.` before a parameter."""
    assert found.template is not None
    pattern = re.compile(rf"(^|\.)2\.\$\{{{name}\}}")
    return any(pattern.search(node.value) for node, _ in texts_of(found.template.root))


@rule(
    "route-domain",
    Mode.WARNED,
    f"A domain of your own must lead to the new cluster: its CNAME is {TARGET_ROUTER} at Rahti 2.",
    _DOMAIN,
    ["Route"],
)
def route_domain(it: Editor, found: Object) -> None:
    """Told; kept, as is its certificate."""
    node = found.spec.scalar("host")
    platform = it.context.platform
    if node is None or node.is_null or is_variable(node.value) or not node.value.strip():
        return
    ends = (platform.source_suffix, platform.target_suffix)
    if not any(node.value == end or node.value.endswith(f".{end}") for end in ends):
        it.say(node, f"change the CNAME to {TARGET_ROUTER} when you switch over, and bring the certificate")


@rule(
    "route-tls",
    Mode.WARNED,
    "What the router refuses, or what is better not in a file.",
    "https://docs.openshift.com/container-platform/4.15/networking/routes/secured-routes.html",
    ["Route"],
)
def route_tls(it: Editor, found: Object) -> None:
    """`tls: {}`, passthrough with a path, a private key in the file, `wildcardPolicy: Subdomain`."""
    tls = found.spec.get("tls")
    if isinstance(tls, Map):
        termination = tls.text("termination")
        if not termination:
            it.say(tls, "termination is missing: edge, reencrypt or passthrough", path="spec.tls.termination",
                   mode=Mode.BLOCKED)  # fmt: skip
        if termination == "passthrough" and found.spec.text("path") not in ("", "/"):
            it.say(found.spec.get("path") or tls, "the router cannot see paths of passthrough", mode=Mode.BLOCKED)
        if termination == "passthrough" and tls.text("insecureEdgeTerminationPolicy") == "Allow":
            node = tls.get("insecureEdgeTerminationPolicy") or tls
            it.say(node, "passthrough takes None or Redirect", mode=Mode.BLOCKED)
        if tls.has("key") and not is_variable(tls.text("key")):
            it.say(tls, "a private key stands in this file: keep it out of Git", path="spec.tls.key", before="")
    if found.spec.text("wildcardPolicy") == "Subdomain":
        it.say(found.spec.get("wildcardPolicy") or found.spec, "routers admit wildcards only where they are told to")


@rule(
    "route-allowlist",
    Mode.DONE,
    "The list of addresses has another name; a malformed one is overlooked, and everybody is let in.",
    _LINK,
    ["Route", "Ingress"],
)
def route_allowlist(it: Editor, found: Object) -> None:
    """`ip_whitelist` -> `ip_allowlist`, with single spaces; addresses of the old cluster replaced."""
    annotations = found.meta.map("annotations")
    if annotations.index(_OLD_LIST) >= 0:
        old = annotations.text(_OLD_LIST)
        if annotations.has(_NEW_LIST):
            if " ".join(old.split()) != " ".join(annotations.text(_NEW_LIST).split()):
                words = f"{_OLD_LIST} says otherwise, and goes: {old}"
                it.say(annotations.get(_NEW_LIST) or annotations, words, mode=Mode.WARNED)
        else:
            it.put(annotations, _NEW_LIST, " ".join(old.split()), after=_OLD_LIST)
        it.remove(annotations, _OLD_LIST)
    node = annotations.scalar(_NEW_LIST)
    if node is None:
        return
    if is_variable(node.value):
        change_default(it, found, node.value, lambda value: _cleaned(value))
    else:
        it.change(node, _cleaned(node.value))
        if SOURCE_EGRESS in node.value.split():
            new = " ".join(TARGET_EGRESS if each == SOURCE_EGRESS else each for each in node.value.split())
            it.change(node, new, mode=Mode.NOTED, words="the address that the new cluster calls from")
    for item in with_defaults(found, node.value).split():
        if not is_variable(item) and not _is_address(item):
            it.say(node, f"{item} is no IPv4 address or range: the whole list is overlooked", mode=Mode.WARNED)


def _cleaned(text: str) -> str:
    return " ".join(text.split())


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return False
    return True


@rule(
    "route-acme",
    Mode.WARNED,
    "openshift-acme is not there any more: certificates are cert-manager's (an Issuer and a Certificate or Ingress).",
    _DOMAIN,
    ["Route"],
)
def route_acme(it: Editor, found: Object) -> None:
    """`kubernetes.io/tls-acme`; told."""
    node = found.meta.map("annotations").get("kubernetes.io/tls-acme")
    if node is not None and text_of(node) == "true":
        it.say(node, "set up cert-manager for this host, or bring a certificate")


@rule(
    "acme-made",
    Mode.LEFT_OUT,
    "Routes and Secrets that openshift-acme made to get certificates.",
    _DOMAIN,
    ["Route", "Secret", "Service", "ConfigMap", "ReplicaSet"],
)
def acme_made(it: Editor, found: Object) -> None:
    """Left out by their annotations and labels."""
    names = [name for part in ("annotations", "labels") for name, _ in found.meta.map(part).items()]
    made = [n for n in names if n.startswith("acme.openshift.io/exposer") or n == "acme.openshift.io/account"]
    is_account = found.kind == "Secret" and found.meta.map("labels").text("kubernetes.io/acme.type") == "account"
    if made or is_account:
        it.leave_out("made by openshift-acme")


# --- mentions ---------------------------------------------------------------------------------------------------


@rule(
    "host-mention",
    Mode.NOTED,
    "Other places name the host of a Route that has another one now: addresses for logins, CORS, links.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
)
def host_mention(it: Editor, found: Object) -> None:
    """Old hosts of this run's Routes in any other text -> the new ones; other hosts of the old cluster are told."""
    if found.kind == "Secret" or not it.is_in_file(re.compile(re.escape(it.context.platform.source_suffix))):
        return
    known = hosts(it)
    for node, key in texts_of(found.root) if found.kind != "Template" else _values(found.root):
        if key == LAST_APPLIED or (key == "host" and found.kind in ("Route", "Ingress")):
            continue
        changes = {each: known[each] for each in _mentioned(it, node.value) if known.get(each, each) != each}
        if changes:
            it.substitute(node, changes)
        for each in _mentioned(it, node.value):
            if each not in known:
                it.say(node, "no Route here has this host: look who is meant", mode=Mode.WARNED, before=each)


def _values(template: Map) -> Iterator[tuple[Scalar, str]]:
    for each in template.maps("parameters"):
        if node := each.scalar("value"):
            yield node, "value"


def _mentioned(it: Editor, text: str) -> list[str]:
    """Hosts below the old suffix in a text, longest first; none that are below the new one."""
    platform = it.context.platform
    if platform.source_suffix not in text:
        return []
    pattern = rf"(?<![\w.-])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+{re.escape(platform.source_suffix)}(?![\w-]|\.\w)"
    found = dict.fromkeys(re.findall(pattern, text, re.IGNORECASE))
    return sorted((each for each in found if _below(each, it)), key=len, reverse=True)


@rule(
    "old-cluster-mention",
    Mode.WARNED,
    "Addresses of the old cluster itself: its API, its console of images, the address that it calls from.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
)
def old_cluster_mention(it: Editor, found: Object) -> None:
    """Told, never changed."""
    if found.kind == "Secret" or not it.is_in_file(_ANY_OF_OLD_CLUSTER):
        return
    for node, key in texts_of(found.root) if found.kind != "Template" else _values(found.root):
        if key == LAST_APPLIED:
            continue
        for pattern, words in _OLD_CLUSTER:
            if each := pattern.search(node.value):
                it.say(node, words, before=each[0])


_OLD_CLUSTER = (
    (re.compile(rf"(?<![\w.-]){re.escape(SOURCE_API_HOST)}(?::8443)?(?![\w-]|\.\w)"),
     f"the old cluster's API: the new one's is https://{TARGET_API_HOST}:6443"),
    (re.compile(rf"registry-console\.{re.escape(SOURCE_API_HOST)}"), "the new cluster has no console for its registry"),
    (re.compile(rf"(?<![\d.]){re.escape(SOURCE_EGRESS)}(?![\d.])"),
     f"the old cluster calls from this address; the new one from {TARGET_EGRESS}"),
)  # fmt: skip

_ANY_OF_OLD_CLUSTER = re.compile("|".join(pattern.pattern for pattern, _ in _OLD_CLUSTER))

RULES = (
    acme_made, route_generated, route_host, route_domain, route_tls, route_allowlist, route_acme, host_mention,
    old_cluster_mention,
)  # fmt: skip
