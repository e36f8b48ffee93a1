"""The objects in a folder of rewritten workloads, as they are to be applied to one project."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrate.kinds import Kind, kind_named
from migrate.workloads.documents import Document, Form, Object, objects_of, read_document
from migrate.workloads.folder import names_of
from migrate.workloads.nodes import Scalar, data_of, plain_data
from migrate.workloads.pods import containers, pod_spec

_ORDER = (
    "ImageStream", "Secret", "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim",
    "BuildConfig", "Service", "Endpoints", "NetworkPolicy", "ReplicationController", "Job", "CronJob", "DaemonSet",
    "StatefulSet", "Deployment", "DeploymentConfig", "Pod", "Route", "Ingress", "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
)  # fmt: skip
"""What others need comes first; kinds that are not here come before the workloads, and Templates last."""
_OCTAL = re.compile(r"[-+]?0[oO]?[0-7_]+")
_HEXADECIMAL = re.compile(r"[-+]?0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?")
_FLAG = re.compile(r"(yes|no|on|off)", re.IGNORECASE)
WITH_REPLICAS = ("Deployment", "DeploymentConfig", "StatefulSet", "ReplicationController", "ReplicaSet")


@dataclass(frozen=True)
class Item:
    """One object that is to be applied.

    Attributes:
        place: `file:line`, for people.
        images: what its containers name.
        has_claims: whether its pods mount claims.
    """

    place: str
    kind: Kind
    name: str
    project: str
    document: Mapping[str, Any] = field(repr=False)
    images: tuple[str, ...] = ()
    has_claims: bool = False

    @property
    def label(self) -> str:
        """What a person calls it: `Deployment/web`."""
        return f"{self.kind.name}/{self.name}"


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        items: in the order in which they are applied.
        troubles: `file:line: why` of what cannot be applied as it is.
        passed_over: files without objects.
    """

    items: list[Item] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def read_objects(folder: Path, project: str) -> Found:
    """Every object in a folder of YAML and JSON, Lists opened; a Template is one object.

    Raises:
        UsageError: the folder is not there, or cannot be read.
    """
    found = Found()
    for name, place in names_of(folder):
        if place.is_symlink() or not place.is_file():
            continue
        document = read_document(name, place.read_bytes())
        objects = [each for each in objects_of(document) if each.template is None and not is_for_programs(each)]
        if document.form is Form.BROKEN and document.looks_like_objects:
            found.troubles.append(f"{name}:{document.problem_line}: cannot be read: {document.problem}")
        elif not objects:
            found.passed_over.append(name)
        for each in objects:
            _take(found, document, each, project)
    found.items = _in_order(found)
    return found


def as_sent(node: Scalar) -> Any:
    """A scalar as `oc` sends it, which reads YAML 1.1 (sigs.k8s.io/yaml): `0644` is 420, `yes` true, `0.5` itself."""
    found = plain_data(node)
    if node.is_text or not isinstance(found, str):
        return found
    if _OCTAL.fullmatch(found):
        return int(found.replace("o", "").replace("O", "").replace("_", ""), 8)
    if _HEXADECIMAL.fullmatch(found):
        return int(found, 16)
    if _FLAG.fullmatch(found):
        return found.lower() in ("yes", "on", "y")
    return float(found) if _FLOAT.fullmatch(found) else found


def is_for_programs(each: Object) -> bool:
    """Whether it only looks like an object: kustomize's file, a kubeconfig."""
    return each.group.endswith(".config.k8s.io") or (each.api_version == "v1" and each.kind.endswith("Config"))


def _take(found: Found, document: Document, each: Object, project: str) -> None:
    place = f"{document.name}:{document.line(each.root.nearest_start())}"
    data = data_of(each.root, as_sent)
    meta = data.get("metadata") if isinstance(data.get("metadata"), dict) else {}
    if not each.name or not isinstance(data.get("kind"), str) or not isinstance(data.get("apiVersion"), str):
        found.troubles.append(f"{place}: an object without a name, kind or apiVersion")
        return
    if meta.get("namespace") not in (None, "", project):
        found.troubles.append(f"{place}: {each.label} is for project {meta['namespace']}, not for {project}")
        return
    data = {key: value for key, value in data.items() if key != "status"}
    data["metadata"] = {**meta, "namespace": project}
    spec = pod_spec(each)
    images = tuple(container.text("image") for container in containers(spec))
    claims = any(volume.has("persistentVolumeClaim") for volume in spec.maps("volumes"))
    claims = claims or bool(each.spec.maps("volumeClaimTemplates"))
    kind = kind_named(each.api_version, each.kind)
    found.items.append(Item(place, kind, each.meta.text("name"), project, data, images, claims))


def _in_order(found: Found) -> list[Item]:
    """By what needs what; of two of one name only the first, and the other is trouble."""
    seen: dict[tuple[str, str, str], Item] = {}
    for item in found.items:
        key = (item.kind.group, item.kind.name, item.name)
        if key in seen:
            found.troubles.append(f"{item.place}: {item.label} is in {seen[key].place} too")
        else:
            seen[key] = item
    return sorted(seen.values(), key=lambda item: (_rank(item.kind), item.name))


def _rank(kind: Kind) -> float:
    if kind.name == "Template":
        return len(_ORDER)
    return _ORDER.index(kind.name) if kind.name in _ORDER else _ORDER.index("ReplicationController") - 0.5
