"""The witness of the workload tests finds what it is to find."""

import copy
from typing import Any

import pytest
from kubecheck import objects_of, problems

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "annotations": {}},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
    },
}
ENTRY = '{"from":{"kind":"ImageStreamTag","name":"%s"},"fieldPath":"spec.template.spec.%s"%s}'
PATH = 'containers[?(@.name==\\"a\\")].image'


def test_good_objects_pass() -> None:
    assert problems(DEPLOYMENT) == []
    assert problems({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}}) == []
    route = {"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "a"}}
    assert problems(route | {"spec": {"to": {"kind": "Service", "name": "a"}}}) == []
    assert problems({"apiVersion": "example.org/v1", "kind": "Own", "metadata": {"name": "a"}, "status": {}}) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.selector.matchLabels.app", "other"),
        ("spec.selector", {}),
        ("spec.template.spec.containers", [{"name": "a", "image": " "}]),
        ("spec.template.spec.containers", [{"name": "a"}]),
        ("spec.template.spec.containers", [{"name": "a", "image": "b"}, {"name": "a", "image": "b"}]),
        ("spec.template.spec.restartPolicy", "Never"),
        ("spec.strategy.type", "Recreate"),
        ("spec.strategy.rollingUpdate.maxUnavailable", 0),
        ("spec.minReadySeconds", 600),
        ("spec.triggers", []),
        ("spec.replicas", "2"),
        ("metadata.uid", "x"),
        ("status", {"replicas": 1}),
        ("apiVersion", "extensions/v1beta1"),
        ("apiVersion", "v1"),
    ],
)
def test_what_the_target_refuses_is_found(path: str, value: Any) -> None:
    wrong = copy.deepcopy(DEPLOYMENT)
    *way, last = path.split(".")
    place = wrong
    for step in way:
        place = place[step]
    place[last] = value
    assert problems(wrong)


def test_a_good_trigger_passes() -> None:
    good = copy.deepcopy(DEPLOYMENT)
    good["metadata"]["annotations"]["image.openshift.io/triggers"] = f"[{ENTRY % ('web:1', PATH, '')}]"
    assert problems(good) == []


def test_templates_are_processed() -> None:
    inner = {"kind": "List", "items": [{"kind": "A", "metadata": {"name": "${X}-${Y}"}, "n": "${{N}}", "m": "${{M}}"}]}
    template = {"kind": "Template", "labels": {"t": "${X}"}, "objects": [inner]}
    template["parameters"] = [{"name": "X", "value": "x"}, {"name": "N", "value": "3"}, {"name": "M", "value": "a b"}]
    (found,) = objects_of({"kind": "List", "items": [template]})
    assert found == {"kind": "A", "metadata": {"name": "x-${Y}", "labels": {"t": "x"}}, "n": 3, "m": "a b"}


@pytest.mark.parametrize(
    ("name", "path", "more"),
    [
        ("web", PATH, ""),
        ("web:1", "containers[?(@.name==x)].image", ""),
        ("web:1", PATH.replace("a", "z"), ""),
        ("web:1", PATH, ',"paused":"false"'),
    ],
)
def test_triggers_that_would_be_off_are_found(name: str, path: str, more: str) -> None:
    wrong = copy.deepcopy(DEPLOYMENT)
    wrong["metadata"]["annotations"]["image.openshift.io/triggers"] = f"[{ENTRY % (name, path, more)}]"
    assert problems(wrong)
