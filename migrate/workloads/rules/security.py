"""Security contexts, within what restricted-v2 lets in (its manifest: openshift/cluster-kube-apiserver-operator)."""

import re
from collections.abc import Iterator

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, Node, Seq, text_of
from migrate.workloads.pods import TEMPLATES, containers, pod_spec

_LINK = "https://docs.csc.fi/cloud/rahti/security-guide/"
_USERS = ("runAsUser", "runAsGroup", "fsGroup")
_FIRST_OF_PROJECTS = 1_000_000_000
"""User numbers from here on are those that a cluster gave to a project."""
_OLD_DROPS = frozenset(("KILL", "MKNOD", "SETGID", "SETUID"))
_HARD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _contexts(found: Object) -> Iterator[Map]:
    spec = pod_spec(found)
    for each in (spec, *containers(spec)):
        if isinstance(each.get("securityContext"), Map):
            yield each.map("securityContext")


@rule(
    "user-range",
    Mode.NOTED,
    "User numbers that the old cluster gave are out of the new project's range; it gives its own.",
    _LINK,
    TEMPLATES,
)
def user_range(it: Editor, found: Object) -> None:
    """Numbers from 1000000000 on, and what an admitted Pod was given, are taken out; others are told."""
    for context in _contexts(found):
        for name in _USERS:
            value = context.text(name)
            if not value.isdigit():
                continue
            if int(value) >= _FIRST_OF_PROJECTS or it.context.options.strip_uids:
                it.remove(context, name, words="options.stripUids" if int(value) < _FIRST_OF_PROJECTS else "")
            else:
                is_root = name == "runAsUser" and value == "0"
                words = "pods that run as root are refused" if is_root else "out of the project's range, so refused"
                words = f"{words}: options.stripUids takes it out, if the image can run as any user"
                it.say(context.get(name) or context, words, mode=Mode.WARNED)
        if found.kind == "Pod":
            _admitted(it, context)
        elif context.map("seLinuxOptions").has("level"):
            it.remove(context, "seLinuxOptions", words="the level is the old project's")
    _tell_gids(it, found)


def _admitted(it: Editor, context: Map) -> None:
    """What admission wrote into a Pod of its own."""
    it.remove(context, "seLinuxOptions", mode=Mode.DONE)
    capabilities = context.map("capabilities")
    if {text_of(each) for each in capabilities.nodes_of("drop")} == _OLD_DROPS:
        it.remove(capabilities, "drop", mode=Mode.DONE)
        if not len(capabilities):
            context.drop("capabilities")


def _tell_gids(it: Editor, found: Object) -> None:
    annotations = found.meta.map("annotations")
    node = annotations.get("pv.beta.kubernetes.io/gid")
    if node is not None and found.kind != "PersistentVolumeClaim":
        it.say(node, "a group of GlusterFS: pointless now")


@rule(
    "restricted",
    Mode.WARNED,
    "The target's restricted-v2 refuses pods that ask for more than it gives.",
    _LINK,
    TEMPLATES,
)
def restricted(it: Editor, found: Object) -> None:
    """Privileges, capabilities, the host's network; told: each must go, or CSC must allow it."""
    spec = pod_spec(found)
    ask = "take it out, or ask CSC whether it can be allowed"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.text(name) == "true":
            it.say(spec.get(name) or spec, ask)
    for context in _contexts(found):
        for node in _refused(context):
            it.say(node, ask)
    for container in containers(spec):
        for port in container.maps("ports"):
            if port.text("hostPort") not in ("", "0"):
                it.say(port.get("hostPort") or port, ask)


def _refused(context: Map) -> Iterator[Node]:
    for name in ("privileged", "allowPrivilegeEscalation"):
        if context.text(name) == "true":
            yield context.get(name) or context
    added = context.map("capabilities").get("add")
    for each in added.nodes if isinstance(added, Seq) else []:
        if text_of(each) != "NET_BIND_SERVICE":
            yield each
    if context.text("procMount") not in ("", "Default"):
        yield context.get("procMount") or context
    if context.map("seccompProfile").text("type") in ("Unconfined", "Localhost"):
        yield context.map("seccompProfile").get("type") or context


@rule(
    "harden",
    Mode.NOTED,
    "restricted-v2 gives these by itself; written down they are so everywhere (options.harden).",
    _LINK,
    TEMPLATES,
)
def harden(it: Editor, found: Object) -> None:
    """No escalation, no capabilities, RuntimeDefault, not root; where nothing is said of them."""
    if not it.context.options.harden:
        return
    for container in containers(pod_spec(found)):
        context = it.ensure(container, "securityContext")
        for name, value in _HARD.items():
            if not context.has(name):
                it.put(context, name, value)


@rule(
    "scc-rights",
    Mode.WARNED,
    "Rights to run with more than restricted-v2 are given by administrators only.",
    _LINK,
    ["RoleBinding", *TEMPLATES],
)
def scc_rights(it: Editor, found: Object) -> None:
    """Bindings to `system:openshift:scc:*`, annotations that demand an SCC; told."""
    ref = found.root.map("roleRef")
    if found.kind == "RoleBinding":
        if ref.text("name").startswith("system:openshift:scc:"):
            it.say(ref.get("name") or ref, "ask CSC; most images run without it")
        return
    node = found.meta.map("annotations").get("openshift.io/required-scc")
    if node is not None and not text_of(node).startswith("restricted"):
        it.say(node, "ask CSC; most images run without it")


@rule(
    "oauth-proxy",
    Mode.WARNED,
    "The login before a program (oauth-proxy) has another image and other certificates on OpenShift 4.",
    "https://github.com/openshift/oauth-proxy",
    TEMPLATES,
)
def oauth_proxy(it: Editor, found: Object) -> None:
    """`openshift/oauth-proxy`; told."""
    for container in containers(pod_spec(found)):
        if re.search(r"(^|/)(origin-)?oauth-proxy(:|@|$)", container.text("image")):
            words = "take quay.io/openshift/origin-oauth-proxy, drop -openshift-ca, and look at the redirect of its"
            it.say(container.get("image") or container, f"{words} service account")


RULES = (user_range, restricted, harden, scc_rights, oauth_proxy)
