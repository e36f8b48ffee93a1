"""Fields that no Kubernetes knows: 3.11 overlooked them, `oc apply` of today refuses the object."""

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, text_of
from migrate.workloads.pods import containers, pod_spec

_POD_FIELDS = (
    "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy "
    "enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname "
    "hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead preemptionPolicy "
    "priority priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName "
    "schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN "
    "shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints "
    "volumes workloadRef"
)
"""Of PodSpec, Kubernetes 1.35."""
_CONTAINER_FIELDS = (
    "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe "
    "resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce "
    "terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir"
)
_POD, _CONTAINER = frozenset(_POD_FIELDS.split()), frozenset(_CONTAINER_FIELDS.split())
_OF_ITEMS = {
    "env": frozenset(("name", "value", "valueFrom")),
    "ports": frozenset(("name", "containerPort", "protocol", "hostPort", "hostIP")),
    "volumeMounts": frozenset(
        ("name", "mountPath", "subPath", "subPathExpr", "readOnly", "mountPropagation", "recursiveReadOnly")
    ),
}
_MEANT = {"livelinessProbe": "livenessProbe", "capabilities": "securityContext.capabilities"}


@rule(
    "unknown-field",
    Mode.WARNED,
    "OpenShift 3.11 overlooked fields that it did not know; since Kubernetes 1.27 `oc apply` refuses the whole object.",
    "https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation",
)
def unknown_field(it: Editor, found: Object) -> None:
    """Told, never taken out: it may be a slip of the pen in something that matters."""
    spec = pod_spec(found)
    _tell(it, spec, _POD)
    for container in containers(spec):
        _tell(it, container, _CONTAINER)
        for name, known in _OF_ITEMS.items():
            for item in container.maps(name):
                _tell(it, item, known)


def _tell(it: Editor, where: Map, known: frozenset[str]) -> None:
    for key in where.keys:
        name = text_of(key)
        if name not in known and name != "<<" and "{" not in name:
            meant = f"{_MEANT[name]} is meant" if name in _MEANT else "take it out, or put it where it belongs"
            it.say(key, meant, before=name)


RULES = (unknown_field,)
