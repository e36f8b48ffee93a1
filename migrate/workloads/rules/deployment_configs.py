"""DeploymentConfig -> apps/v1 Deployment: everything but its triggers (triggers.py) and hooks (hooks.py).

How the old defaults were is read in openshift-apiserver, pkg/apps/apis/apps/v1/defaults.go and conversion.go; the new
ones in Kubernetes, pkg/apis/apps/v1/defaults.go.
"""

from collections.abc import Callable

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, Rule, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import is_variable
from migrate.workloads.nodes import Map, Node, Scalar, data_of, text_of

GUIDE = "https://access.redhat.com/articles/7041372"
_STRATEGY = "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#strategy"
_KEPT = "kept DeploymentConfigs"
_DEFAULT_TIMEOUT = 600
_DEFAULT_SHARE = "25%"
LABEL = "deploymentconfig"


def converts(it: Editor, found: Object) -> bool:
    """Whether a DeploymentConfig becomes a Deployment."""
    is_wanted = it.context.options.deployment_config == "convert"
    is_one = found.kind == "DeploymentConfig" and found.group == "apps.openshift.io"
    return is_wanted and is_one and found not in _kept(it)


def _kept(it: Editor) -> list[Object]:
    return it.world.memory.setdefault(_KEPT, [])  # type: ignore[return-value]


def keep(it: Editor, found: Object, words: str, mode: Mode, where: Node | None = None) -> None:
    """Leave one as it is, and say why."""
    it.say(where or found.root, f"{words}; it stays a DeploymentConfig, which OKD 4 still runs", mode=mode)
    _kept(it).append(found)


def conversion(name: str, mode: Mode, says: str, link: str = GUIDE) -> Callable[[Callable[..., None]], Rule]:
    """A rule for DeploymentConfigs that become Deployments."""

    def of(act: Callable[..., None]) -> Rule:
        def on_converted(it: Editor, found: Object) -> None:
            if converts(it, found):
                act(it, found)

        on_converted.__doc__ = act.__doc__
        return rule(name, mode, says, link, ["DeploymentConfig"])(on_converted)

    return of


@rule(
    "dc-keep",
    Mode.ASKED,
    "DeploymentConfigs are deprecated since OpenShift 4.14; what no Deployment can do is for you to decide.",
    GUIDE,
    ["DeploymentConfig"],
)
def dc_keep(it: Editor, found: Object) -> None:
    """Which DeploymentConfigs stay what they are."""
    if it.context.options.deployment_config == "keep":
        keep(it, found, "options.deploymentConfig is keep", Mode.NOTED)
        return
    strategy, template = found.spec.map("strategy"), found.spec.map("template")
    other = it.world.beside(found, "Deployment")
    restart = template.map("spec").text("restartPolicy")
    if not isinstance(found.spec.get("template"), Map):
        keep(it, found, "it has no spec.template, so it can start nothing: correct it, or leave it out", Mode.BLOCKED)
    elif other is not None:
        place = f"{other.document.name}:{other.document.line(other.root.nearest_start())}"
        keep(it, found, f"there is a Deployment of the same name ({place}): rename one of them", Mode.BLOCKED)
    elif restart not in ("", "Always") and not is_variable(restart):
        keep(it, found, f"restartPolicy is {restart}, and a Deployment takes only Always", Mode.BLOCKED)
    elif strategy.text("type") == "Custom":
        words = "the strategy Custom runs an image of yours to deploy, and no Deployment does that: choose Rolling or"
        keep(it, found, f"{words} Recreate", Mode.ASKED, strategy.get("type"))
    elif strategy.has("customParams"):
        it.say(strategy, "customParams (an image of yours that deploys) has no equal: dropped", mode=Mode.WARNED)


@conversion(
    "dc-selector",
    Mode.DONE,
    "A Deployment needs its selector in matchLabels; without one a DeploymentConfig took the template's labels.",
)
def dc_selector(it: Editor, found: Object) -> None:
    """`selector: {a: b}` -> `selector: {matchLabels: {a: b}}`."""
    template = found.spec.map("template")
    labels = template.map("metadata", "labels")
    selector = found.spec.get("selector")
    if not isinstance(selector, Map) or not len(selector):
        own = {name: text_of(value) for name, value in labels.items()}
        it.put(found.spec, "selector", {"matchLabels": own}, after="replicas")
        return
    for name, value in selector.items():
        if text_of(value) != labels.text(name) and name != LABEL:
            words = f"the pods do not have this label (they have {name}={labels.text(name)})"
            words = words if labels.has(name) else f"the pods have no label {name}"
            it.say(value, f"{words}, and the API refuses that: correct the selector or the labels", mode=Mode.BLOCKED)
    it.put(found.spec, "selector", {"matchLabels": selector})


@conversion(
    "dc-label",
    Mode.NOTED,
    "The pods of a DeploymentConfig had the label deploymentconfig=<name> without being told; what selects them by it"
    " (Services, NetworkPolicies) still can.",
)
def dc_label(it: Editor, found: Object) -> None:
    """Label and selector get `deploymentconfig: <name>`."""
    template = found.spec.map("template")
    meta = it.ensure(template, "metadata") if template.has("metadata") else _new_meta(template)
    labels = it.ensure(meta, "labels")
    match = it.ensure(it.ensure(found.spec, "selector"), "matchLabels")
    had = labels.text(LABEL)
    if had and had != found.name:
        words = f"the label has another value than the DeploymentConfig's name, {found.name}: it stays yours"
        it.say(labels.get(LABEL) or labels, words, mode=Mode.WARNED)
        if match.has(LABEL):
            it.put(match, LABEL, had)
        return
    it.put(labels, LABEL, found.name)
    it.put(match, LABEL, found.name)


def _new_meta(template: Map) -> Map:
    made = Map()
    old = template.get("metadata")
    template.put("metadata", made, first=old is None)
    return made


@conversion(
    "dc-replicas",
    Mode.WARNED,
    "Without `replicas` a DeploymentConfig runs no pods, and a Deployment runs one.",
)
def dc_replicas(it: Editor, found: Object) -> None:
    """Told; nothing is written, for an autoscaler may own it."""
    if not found.spec.has("replicas"):
        it.say(found.spec, "write `replicas: 0` if it is to stay stopped", path="spec.replicas")


@conversion("dc-test", Mode.WARNED, "A DeploymentConfig with `test: true` runs pods only while it deploys.")
def dc_test(it: Editor, found: Object) -> None:
    """`test: true` -> `replicas: 0`."""
    if found.spec.text("test") == "true":
        it.put(found.spec, "replicas", 0, words="it ran nothing between deployments, so it is stopped")
    it.remove(found.spec, "test", mode=Mode.DONE)


@conversion(
    "dc-strategy",
    Mode.DONE,
    "Rolling is called RollingUpdate, unless a claim makes it Recreate; what is for the deployer's pod alone goes.",
    _STRATEGY,
)
def dc_strategy(it: Editor, found: Object) -> None:
    """`Rolling` -> `RollingUpdate` with both shares written, `Recreate` without any."""
    strategy = found.spec.get("strategy")
    if strategy is None:
        return
    if not isinstance(strategy, Map):
        it.remove(found.spec, "strategy")
        return
    _timeout(it, found, strategy)
    rolling = strategy.map("rollingParams")
    is_recreate = strategy.text("type") == "Recreate"
    shares = None if is_recreate else _shares(it, rolling)
    for name in ("rollingParams", "recreateParams", "customParams", "rollingUpdate"):
        it.remove(strategy, name)
    if shares:
        it.put(strategy, "rollingUpdate", shares)
    if not is_recreate:
        kind = strategy.text("type")
        if not is_variable(kind):
            it.put(strategy, "type", "RollingUpdate")
        else:
            words = "a parameter decides the strategy: Rolling must be RollingUpdate now"
            it.say(strategy.get("type") or strategy, words, mode=Mode.WARNED)
    for name in ("resources", "labels", "annotations", "activeDeadlineSeconds"):
        it.remove(strategy, name)


def _shares(it: Editor, params: Map) -> dict[str, object] | None:
    """maxUnavailable and maxSurge as the DeploymentConfig meant them; None where both have their defaults."""
    given = {name: params.get(name) for name in ("maxUnavailable", "maxSurge") if params.has(name)}
    for name, limit in (("intervalSeconds", 1), ("updatePeriodSeconds", 1)):
        if params.has(name) and params.text(name) != str(limit):
            it.say(params.get(name) or params, "a Deployment has no such pause: dropped", mode=Mode.NOTED)
    if not given:
        return None
    if len(given) == 1:
        ((name, value),) = given.items()
        assert value is not None
        other = "maxSurge" if name == "maxUnavailable" else "maxUnavailable"
        if is_variable(text_of(value)):
            words = f"a parameter: {other} is written as 0, which is right unless the parameter is 0"
            it.say(value, words, mode=Mode.NOTED)
        given[other] = _number(_DEFAULT_SHARE if text_of(value) in ("0", "0%") else 0)
    elif all(text_of(value) in ("0", "0%") for value in given.values() if value is not None):
        it.say(params, "maxUnavailable and maxSurge are both 0, so nothing can ever roll: the API refuses it",
               mode=Mode.BLOCKED)  # fmt: skip
    return dict(given)


def _number(value: int | str) -> Scalar:
    return Scalar(str(value), "" if isinstance(value, int) else '"')


def _timeout(it: Editor, found: Object, strategy: Map) -> None:
    """timeoutSeconds -> progressDeadlineSeconds."""
    kind = "recreateParams" if strategy.text("type") == "Recreate" else "rollingParams"
    value = strategy.map(kind).get("timeoutSeconds")
    ready = found.spec.text("minReadySeconds")
    least = int(ready) if ready.isdigit() else 0
    given = text_of(value) if value is not None else ""
    seconds = int(given) if given.isdigit() else _DEFAULT_TIMEOUT
    words = "a DeploymentConfig went back to the last version at that time; a Deployment only says that it failed"
    if given and not given.isdigit():
        it.put(found.spec, "progressDeadlineSeconds", value, after="strategy", mode=Mode.NOTED, words=words)
    elif seconds <= least:
        words = f"must be more than minReadySeconds, {least}"
        it.put(found.spec, "progressDeadlineSeconds", least + _DEFAULT_TIMEOUT, after="strategy", mode=Mode.NOTED,
               words=words)  # fmt: skip
    elif seconds != _DEFAULT_TIMEOUT:
        it.put(found.spec, "progressDeadlineSeconds", seconds, after="strategy", mode=Mode.NOTED, words=words)


@conversion(
    "dc-service-account",
    Mode.DONE,
    "serviceAccount is the old name of serviceAccountName; both are kept alike.",
    "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
)
def dc_service_account(it: Editor, found: Object) -> None:
    """`serviceAccount` alone -> `serviceAccountName` too."""
    spec = found.spec.map("template", "spec")
    if spec.has("serviceAccount") and not spec.has("serviceAccountName"):
        it.put(spec, "serviceAccountName", data_of(spec.get("serviceAccount") or Map()), after="serviceAccount")


@conversion(
    "dc-to-deployment",
    Mode.DONE,
    "A DeploymentConfig becomes a Deployment, which is what OpenShift 4 and CSC recommend.",
)
def dc_to_deployment(it: Editor, found: Object) -> None:
    """apiVersion and kind."""
    it.put(found.root, "apiVersion", "apps/v1", first=True)
    it.put(found.root, "kind", "Deployment")


RULES_BEFORE = (dc_keep,)
RULES = (
    dc_selector, dc_label, dc_replicas, dc_test, dc_strategy, dc_service_account, dc_to_deployment,
)  # fmt: skip
