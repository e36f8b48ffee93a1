"""Where the pods stand in objects that have any."""

from collections.abc import Iterator

from migrate.workloads.documents import Object
from migrate.workloads.nodes import Map

TEMPLATES = {
    "Deployment": ("spec", "template"),
    "DeploymentConfig": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "PetSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "ScheduledJob": ("spec", "jobTemplate", "spec", "template"),
    "PodTemplate": ("template",),
    "Pod": (),
}
"""Kind -> the keys that lead to its pod template."""


def pod_template(found: Object) -> Map:
    """The mapping with the pods' `metadata` and `spec`; an empty one where the kind has none."""
    way = TEMPLATES.get(found.kind)
    return Map() if way is None else found.root.map(*way)


def pod_spec(found: Object) -> Map:
    """The pods' spec; an empty one where the kind has none."""
    return pod_template(found).map("spec")


def containers(spec: Map) -> Iterator[Map]:
    """The containers of a pod's spec, those that run first too."""
    yield from spec.maps("initContainers")
    yield from spec.maps("containers")
