"""What points at DeploymentConfigs that are Deployments now, and at labels that their pods no longer have."""

import json
import re

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, Scalar, scalars, text_of
from migrate.workloads.pods import pod_spec
from migrate.workloads.shown import command_shown

_LINK = "https://docs.openshift.com/container-platform/4.15/applications/deployments/what-deployments-are.html"
DC_COMMAND = re.compile(
    r"\boc\b[^\n|;&]*?\b(?:dc|deploymentconfigs?)(?:/|\s+)[\w.${}-]+|\boc\s+deploy\s+[\w.${}-]+"
    r"|\boc\b[^\n|;&]*\brollout\s+latest\b[^\n|;&]*"
)
"""Commands of `oc` on DeploymentConfigs."""
_APPS = ("Deployment", "StatefulSet", "ReplicaSet")
_OLD_APPS = ("extensions/v1beta1", "apps/v1beta1", "apps/v1beta2")
_VERSIONED = re.compile(r".+-\d+")


def _is_kept(it: Editor, name: str, namespace: str) -> bool:
    """Whether a DeploymentConfig of that name is here and stays one."""
    found = it.world.named(["DeploymentConfig"], name, namespace)
    if found is not None:
        return found.kind == "DeploymentConfig"
    return it.context.options.deployment_config == "keep"


@rule(
    "scale-target",
    Mode.DONE,
    "An autoscaler names what it scales by API group and kind.",
    "https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/",
    ["HorizontalPodAutoscaler", "ScaledObject", "VerticalPodAutoscaler"],
)
def scale_target(it: Editor, found: Object) -> None:
    """`scaleTargetRef` of a DeploymentConfig -> the Deployment; of an ended API version -> apps/v1."""
    for key in ("scaleTargetRef", "targetRef"):
        target = found.spec.map(key)
        if target.text("kind") in _APPS and target.text("apiVersion") in _OLD_APPS:
            it.put(target, "apiVersion", "apps/v1")
            it.remove(target, "subresource")
        if target.text("kind") != "DeploymentConfig":
            continue
        if _is_kept(it, target.text("name"), found.namespace):
            it.put(target, "apiVersion", "apps.openshift.io/v1", first=True)
            continue
        it.put(target, "apiVersion", "apps/v1", first=True)
        it.put(target, "kind", "Deployment")
        it.remove(target, "subresource")


@rule(
    "annotation-target",
    Mode.DONE,
    "Annotations that draw lines between workloads, or wake them, name them by kind.",
    _LINK,
)
def annotation_target(it: Editor, found: Object) -> None:
    """`app.openshift.io/connects-to` and `idling.alpha.openshift.io/unidle-targets`."""
    for name, node in found.meta.map("annotations").items():
        if name not in ("app.openshift.io/connects-to", "idling.alpha.openshift.io/unidle-targets"):
            continue
        if not isinstance(node, Scalar) or "DeploymentConfig" not in node.value:
            continue
        try:
            entries = json.loads(node.value)
        except ValueError:
            continue
        changed = [_target(it, found, each) for each in entries] if isinstance(entries, list) else entries
        if changed != entries:
            it.change(node, json.dumps(changed, ensure_ascii=False, separators=(",", ":")))


def _target(it: Editor, found: Object, entry: object) -> object:
    if not isinstance(entry, dict) or entry.get("kind") != "DeploymentConfig":
        return entry
    if _is_kept(it, str(entry.get("name", "")), found.namespace):
        return entry
    version = {"apiVersion": "apps/v1"} if "apiVersion" in entry else {}
    group = {"group": "apps"} if "group" in entry else {}
    return entry | version | group | {"kind": "Deployment"}


@rule(
    "idled",
    Mode.WARNED,
    "An idled Service wakes its workloads when somebody asks it; the new cluster does not know of that.",
    "https://docs.openshift.com/container-platform/4.15/applications/idling-applications.html",
    ["Service", "Endpoints", "DeploymentConfig", "Deployment"],
)
def idled(it: Editor, found: Object) -> None:
    """Told, with the replicas it had."""
    annotations = found.meta.map("annotations")
    node = annotations.get("idling.alpha.openshift.io/idled-at")
    if node is not None:
        had = annotations.text("idling.alpha.openshift.io/previous-scale")
        words = f"it had {had} replicas: scale it up by hand" if had else "scale its workloads up by hand"
        it.say(node, words)


@rule(
    "rbac-deployments",
    Mode.WARNED,
    "Who may work with DeploymentConfigs is not allowed to do the same with Deployments.",
    "https://kubernetes.io/docs/reference/access-authn-authz/rbac/",
    ["Role"],
)
def rbac_deployments(it: Editor, found: Object) -> None:
    """Rules on `deploymentconfigs` get `deployments` of the group `apps` beside them."""
    for each in found.root.maps("rules"):
        names = {text_of(name) for name in each.nodes_of("resources")}
        wanted = [name for name in ("deploymentconfigs", "deploymentconfigs/scale") if name in names]
        new = [name.replace("deploymentconfigs", "deployments") for name in wanted]
        groups = {text_of(group) for group in each.nodes_of("apiGroups")}
        for name in new:
            if name not in names:
                it.add_item(each, "resources", name)
        if wanted and "apps" not in groups and "*" not in groups and each.has("apiGroups"):
            it.add_item(each, "apiGroups", "apps")


@rule(
    "deployment-label",
    Mode.WARNED,
    "The label deployment=<name>-<number> was of the DeploymentConfig's rollouts; no pod has it any more.",
    _LINK,
    ["Service", "NetworkPolicy", "PodDisruptionBudget"],
)
def deployment_label(it: Editor, found: Object) -> None:
    """Selectors by that label select nothing."""
    for where in (found.spec.map("selector"), found.spec.map("podSelector", "matchLabels"),
                  found.spec.map("selector", "matchLabels")):  # fmt: skip
        node = where.get("deployment")
        if node is not None and _VERSIONED.fullmatch(text_of(node)):
            it.say(node, "it selects nothing now: use deploymentconfig=<name>, which the pods keep")


@rule(
    "dc-in-scripts",
    Mode.WARNED,
    "Commands on dc/NAME find nothing when NAME is a Deployment; `oc rollout latest` has no form for it.",
    "https://docs.openshift.com/container-platform/4.15/cli_reference/openshift_cli/developer-cli-commands.html",
)
def dc_in_scripts(it: Editor, found: Object) -> None:
    """`oc ... dc/NAME` in ConfigMaps, commands, builds: told, not changed."""
    places: list[Map] = []
    if found.kind == "ConfigMap":
        places = [found.root.map("data")]
    elif found.kind == "BuildConfig":
        places = [found.spec]
    elif len(pod_spec(found)):
        places = [pod_spec(found)]
    for place in places:
        for node in scalars(place):
            if "oc" in node.value and (command := DC_COMMAND.search(node.value)):
                it.say(node, "write deployment/NAME; `oc rollout latest dc/X` is `oc rollout restart deployment/X`",
                       before=command_shown(command[0].split()))  # fmt: skip


RULES = (scale_target, annotation_target, idled, rbac_deployments, deployment_label, dc_in_scripts)
