"""Lifecycle hooks of DeploymentConfigs. A Deployment has none, so nothing is equal to them: the user chooses.

Hooks: openshift/api, apps/v1/types.go, LifecycleHook and ExecNewPodHook.
"""

from collections.abc import Iterator
from typing import Any

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, name_of, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, Seq, data_of, fresh, text_of
from migrate.workloads.rules.deployment_configs import GUIDE, conversion, converts, keep
from migrate.workloads.shown import command_shown

_FOR_CONTAINER = ("image", "workingDir", "envFrom", "resources", "imagePullPolicy", "securityContext")
_FOR_POD = ("serviceAccount", "serviceAccountName", "imagePullSecrets", "securityContext", "nodeSelector")


def hooks_of(found: Object) -> Iterator[tuple[str, Map]]:
    """(pre, mid or post; the hook), those of the strategy that is in use."""
    strategy = found.spec.map("strategy")
    params = strategy.map("recreateParams" if strategy.text("type") == "Recreate" else "rollingParams")
    for when in ("pre", "mid", "post"):
        if len(params.map(when)):
            yield when, params.map(when)


@rule(
    "dc-hooks",
    Mode.ASKED,
    "A Deployment has no hooks that run before, between or after its pods.",
    GUIDE,
    ["DeploymentConfig"],
)
def dc_hooks(it: Editor, found: Object) -> None:
    """Without options.hooks a DeploymentConfig with hooks stays what it is."""
    if not converts(it, found) or it.context.options.hooks != "ask":
        return
    hooks = list(hooks_of(found))
    for number, (when, hook) in enumerate(hooks, start=1):
        words = (
            f"its {when} hook {_does(hook)}: options.hooks: initContainer runs that before every start of a pod, job"
            " makes a Job of it that you start by hand"
        )
        if number == len(hooks):
            keep(it, found, words, Mode.ASKED, hook)
        else:
            it.say(hook, words)


def _does(hook: Map) -> str:
    command = [text_of(each) for each in hook.map("execNewPod").nodes_of("command")]
    if command:
        return f"runs `{command_shown(command)}`"
    return "tags images" if hook.has("tagImages") else "runs a pod"


@conversion(
    "dc-hook-init-container",
    Mode.NOTED,
    "An init container runs what the hook ran, but before every start of every pod and not once for each deployment.",
)
def dc_hook_init_container(it: Editor, found: Object) -> None:
    """options.hooks: initContainer; for hooks before the new pods."""
    if it.context.options.hooks != "initContainer":
        return
    spec = found.spec.map("template", "spec")
    for when, hook in hooks_of(found):
        base = _container(spec, hook.map("execNewPod"))
        if when == "post" or base is None:
            continue
        made = _hook_container(hook.map("execNewPod"), base, f"{when}-hook")
        it.add_item(spec, "initContainers", made, words="; ".join(filter(None, ["options.hooks", _failure(hook)])))
        _follow_too(found, name_of(base), f"{when}-hook")


def _follow_too(found: Object, container: str, new: str) -> None:
    """A trigger that fills in the container's image fills in the new one's, too."""
    for each in found.spec.maps("triggers"):
        names = each.map("imageChangeParams").get("containerNames")
        if isinstance(names, Seq) and any(text_of(name) == container for name in names.nodes):
            names.add(fresh(new))


def _failure(hook: Map) -> str:
    policy = hook.text("failurePolicy")
    if policy == "Ignore":
        return "its failure was ignored (failurePolicy: Ignore); now it would keep the pod from starting"
    return f"failurePolicy was {policy}" if policy else ""


def _container(spec: Map, exec_pod: Map) -> Map | None:
    """The container that a hook is like: the named one, or the only one."""
    if not exec_pod.has("command"):
        return None
    wanted = exec_pod.text("containerName")
    known = [each for each in spec.maps("containers") if not wanted or name_of(each) == wanted]
    return known[0] if known else None


def _hook_container(exec_pod: Map, base: Map, name: str) -> dict[str, Any]:
    env = [data_of(each) for each in (*base.nodes_of("env"), *exec_pod.nodes_of("env"))]
    wanted = {text_of(each) for each in exec_pod.nodes_of("volumes")}
    mounts = [data_of(each) for each in base.maps("volumeMounts") if each.text("name") in wanted]
    made: dict[str, Any] = {"name": name}
    made |= {key: data_of(base.get(key) or Map()) for key in _FOR_CONTAINER if base.has(key)}
    made["command"] = [text_of(each) for each in exec_pod.nodes_of("command")]
    by_name = {str(each.get("name")): each for each in env if isinstance(each, dict)}
    return made | ({"env": list(by_name.values())} if env else {}) | ({"volumeMounts": mounts} if mounts else {})


@conversion(
    "dc-hook-job",
    Mode.WARNED,
    "A Job runs what the hook ran, when you start it: it is suspended until then.",
    "https://kubernetes.io/docs/concepts/workloads/controllers/job/#suspending-a-job",
)
def dc_hook_job(it: Editor, found: Object) -> None:
    """options.hooks: job; also for hooks after the new pods, where initContainer was chosen."""
    spec = found.spec.map("template", "spec")
    for when, hook in hooks_of(found):
        base = _container(spec, hook.map("execNewPod"))
        if base is None:
            words = f"options.hooks; its {when} hook {_does(hook)}, and was dropped: do that by hand, or in your"
            it.say(hook, f"{words} pipeline (oc tag)")
        elif when == "post" or it.context.options.hooks == "job":
            _add_job(it, found, when, hook, base)


def _add_job(it: Editor, found: Object, when: str, hook: Map, base: Map) -> None:
    name = f"{found.name}-{when}-hook"
    spec = found.spec.map("template", "spec")
    exec_pod = hook.map("execNewPod")
    wanted = {text_of(each) for each in exec_pod.nodes_of("volumes")}
    volumes = [data_of(each) for each in spec.maps("volumes") if each.text("name") in wanted]
    pod = {key: data_of(spec.get(key) or Map()) for key in _FOR_POD if spec.has(key)}
    pod |= {"restartPolicy": "Never", "containers": [_hook_container(exec_pod, base, "hook")]}
    pod |= {"volumes": volumes} if volumes else {}
    start = f"""oc patch job/{name} -p '{{"spec":{{"suspend":false}}}}'"""
    before = {"pre": "before the first rollout", "mid": "between the old pods and the new"}
    then = "after that, make the Job again for each rollout"
    words = f"options.hooks; run it {before.get(when, 'after the rollout')}: {start}; {then}"
    meta: dict[str, Any] = {"name": name}
    if found.namespace:
        meta["namespace"] = found.namespace
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta}
    retries = {} if hook.text("failurePolicy") == "Retry" else {"backoffLimit": 0}
    it.add(job | {"spec": {"suspend": True, **retries, "template": {"spec": pod}}}, words=words)


RULES_BEFORE = (dc_hooks, dc_hook_init_container)
RULES_AFTER_IMAGES = (dc_hook_job,)
