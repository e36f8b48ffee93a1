"""Requests and limits of containers, within what the target takes.

How one makes the other: Kubernetes, pkg/apis/core/v1/defaults.go, SetDefaults_Pod; LimitRange fills in what is left.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from migrate.manifest.model import Limits
from migrate.quantities import exact_quantity
from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, name_of, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import is_variable
from migrate.workloads.nodes import Map, Node, text_of
from migrate.workloads.pods import TEMPLATES, containers, pod_spec
from migrate.workloads.rules.template_parameters import change_default, with_defaults

_LINK = "https://docs.csc.fi/cloud/rahti/configurations/resource-quota/"
_MIGRATION = "https://docs.csc.fi/cloud/rahti/rahti-migration/"
_OLD_LIMITS = {"limits": {"cpu": "2", "memory": "8Gi"}, "requests": {"cpu": "400m", "memory": "1638Mi"}}
"""What Rahti 1 gave to a container that asked for nothing, with requests within the target's ratio."""
_GPUS = ("nvidia.com/gpu", "alpha.kubernetes.io/nvidia-gpu")


@dataclass(frozen=True)
class _Range:
    """What the target takes of one resource; None where it does not say."""

    least: Fraction | None
    most: Fraction | None
    default: Fraction | None
    default_request: Fraction | None


def _ranges(limits: Limits) -> dict[str, _Range]:
    def number(text: str | None) -> Fraction | None:
        return exact_quantity(text) if text else None

    return {
        "cpu": _Range(number(limits.min_cpu), number(limits.max_cpu), number(limits.default_cpu),
                      number(limits.default_cpu_request)),
        "memory": _Range(number(limits.min_memory), number(limits.max_memory), number(limits.default_memory),
                         number(limits.default_memory_request)),
    }  # fmt: skip


def _value(found: Object, node: Node | None) -> Fraction | None:
    """A quantity, with the defaults of parameters; None where there is none, or it cannot be told."""
    if node is None:
        return None
    try:
        return exact_quantity(with_defaults(found, text_of(node)).strip())
    except ValueError:
        return None


def _written(name: str, value: Fraction) -> str:
    """A quantity as people write it: `400m`, `2`, `512Mi`."""
    if name == "cpu":
        return str(int(value)) if value.denominator == 1 else f"{math.ceil(value * 1000)}m"
    for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if value % size == 0:
            return f"{int(value / size)}{unit}"
    return f"{math.ceil(value / 2**20)}Mi"


@rule(
    "default-limits",
    Mode.WARNED,
    "A container that asks for nothing gets less than before: at Rahti 2 500m and 1Gi, at Rahti 1 2 cores and 8Gi.",
    _MIGRATION,
    TEMPLATES,
)
def default_limits(it: Editor, found: Object) -> None:
    """Told; options.keepOldLimits writes what it had."""
    for container in containers(pod_spec(found)):
        resources = container.map("resources")
        if len(resources.map("limits")) or len(resources.map("requests")):
            continue
        if it.context.options.keep_old_limits:
            it.put(container, "resources", _OLD_LIMITS, words="options.keepOldLimits", mode=Mode.NOTED)
        else:
            words = "if it is killed (OOMKilled) or slow, write `resources`, or say options.keepOldLimits"
            it.say(container, words, path=f"{it.path(container)}.resources", before=name_of(container))


@rule(
    "cpu-range",
    Mode.NOTED,
    "The target refuses pods whose requests and limits are out of its range, or too far from each other.",
    _LINK,
    TEMPLATES,
)
def cpu_range(it: Editor, found: Object) -> None:
    """Requests are raised and limits written where that is needed; what would change a limit is told."""
    limits = it.context.platform.limits
    for container in containers(pod_spec(found)):
        for name, allowed in _ranges(limits).items():
            _fit(it, found, container, name, allowed, limits)
    _tell_gpus(it, found)


def _fit(it: Editor, found: Object, container: Map, name: str, allowed: _Range, limits: Limits) -> None:
    resources = container.map("resources")
    asked, most = resources.map("requests"), resources.map("limits")
    request, limit = _value(found, asked.get(name)), _value(found, most.get(name))
    for node, value in ((asked.get(name), request), (most.get(name), limit)):
        if node is not None and value is not None and allowed.most is not None and value > allowed.most:
            words = f"more than the target takes, {_written(name, allowed.most)}: ask for less"
            it.say(node, words, mode=Mode.WARNED)
    if allowed.least is not None and limit is not None and limit < allowed.least:
        limit = allowed.least
        _set(it, found, most, name, limit, "the least that the target takes")
    if request is None or (limit is None and most.has(name)):
        return
    wanted, words = _wanted(it, found, name, request, limit, allowed, limits)
    if wanted != request:
        _set(it, found, asked, name, wanted, words)
    elif words:
        it.say(asked.get(name) or asked, words, mode=Mode.WARNED)
    if limit is None and allowed.default is not None and wanted > allowed.default:
        where = it.ensure(resources, "limits", after="requests")
        words = f"without a limit the default, {_written(name, allowed.default)}, would be below what is asked for"
        it.put(where, name, _written(name, wanted), words=words)


def _wanted(
    it: Editor, found: Object, name: str, request: Fraction, limit: Fraction | None, allowed: _Range, limits: Limits
) -> tuple[Fraction, str]:
    """The request that the target takes, and why it is another one; or the same, and what is to be said."""
    ratio, most = limits.max_cpu_ratio, limit if limit is not None else allowed.default
    if ratio and most is not None and request * ratio < most and (name == "cpu" or limit is not None):
        words = f"the limit ({_written(name, most)}) may be {ratio} times the request at most"
        if name == "memory" and not it.context.options.strict_memory_ratio:
            return request, f"{words}, perhaps: if pods are refused, options.strictMemoryRatio raises the request"
        words = f"{words} (options.strictMemoryRatio)" if name == "memory" else words
        least = _ceil(name, most / ratio)
        return max(least, allowed.least or least), f"{words}{_scaled(it, found)}"
    if allowed.least is not None and request < allowed.least:
        return allowed.least, "the least that the target takes"
    return request, ""


def _set(it: Editor, found: Object, where: Map, name: str, value: Fraction, words: str) -> None:
    """A quantity in its place, or as the default of the parameter that stands there."""
    written = _written(name, value)
    if is_variable(where.text(name)):
        change_default(it, found, where.text(name), lambda _: written, words)
    else:
        it.put(where, name, written, words=words)


def _ceil(name: str, value: Fraction) -> Fraction:
    """Rounded up to what is written: thousandths of a core, whole Mi."""
    step = Fraction(1, 1000) if name == "cpu" else Fraction(2**20)
    return math.ceil(value / step) * step


def _scaled(it: Editor, found: Object) -> str:
    for each in it.world.of_kind("HorizontalPodAutoscaler"):
        if each.spec.map("scaleTargetRef").text("name") == found.name:
            return f"; {each.label} scales by the request, so at another load than before"
    return ""


def _tell_gpus(it: Editor, found: Object) -> None:
    for container in containers(pod_spec(found)):
        for part in ("limits", "requests"):
            for name in _GPUS:
                node = container.map("resources", part).get(name)
                if node is not None:
                    it.say(node, "ask CSC whether there are GPUs: without one the pod waits forever", mode=Mode.WARNED)


@rule(
    "quota",
    Mode.NOTED,
    "The quota of a CSC project (Rahti 2: 4 cores, 16Gi, 5Gi of ephemeral storage) is shared by all its projects.",
    _LINK,
)
def quota(it: Editor, found: Object) -> None:
    """The sum of all limits, told once, where it is more."""
    if it.world.memory.get("quota") or found.is_left_out:
        return
    it.world.memory["quota"] = True
    totals = {"cpu": Fraction(0), "memory": Fraction(0), "ephemeral-storage": Fraction(0)}
    usual = _ranges(it.context.platform.limits)
    for each in it.world.of_kind("Deployment", "DeploymentConfig", "StatefulSet", "ReplicationController"):
        count = with_defaults(each, each.spec.text("replicas")) or "1"
        for container in pod_spec(each).maps("containers"):
            for name, total in totals.items():
                given = _value(each, container.map("resources", "limits").get(name))
                default = usual[name].default if name in usual else None
                totals[name] = total + (given or default or 0) * (int(count) if count.isdigit() else 1)
    above = [f"{_written(name, totals[name])} {name}" for name, most in _QUOTA.items() if totals[name] > most]
    if above:
        words = f"all workloads together: {', '.join(above)}: ask for a larger quota, or run less at a time"
        it.say(found.root, words, path="spec", before="")


_QUOTA = {"cpu": Fraction(4), "memory": Fraction(16 * 2**30), "ephemeral-storage": Fraction(5 * 2**30)}
"""Of a CSC project on Rahti 2, where nothing else was agreed."""

RULES = (default_limits, cpu_range, quota)
