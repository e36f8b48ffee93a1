"""Which images a workload names: by tag, by digest, by what triggers it. Pure.

Read are the kinds of Kubernetes 1.11 and OpenShift 3.11 that run or build images.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from migrate.images.streams import mapping, mappings
from migrate.reference import InvalidReference, parse_reference, valid_digest, valid_tag

_TRIGGERS = "image.openshift.io/triggers"
_SERVICE_ADDRESS = re.compile(r"172\.30\.[0-9]{1,3}\.[0-9]{1,3}:5000")
"""The registry's address in OpenShift's network of services: projects of old versions name it so."""
_SHORT = {
    "DeploymentConfig": "dc", "Deployment": "deployment", "StatefulSet": "statefulset", "DaemonSet": "daemonset",
    "ReplicaSet": "rs", "ReplicationController": "rc", "Job": "job", "CronJob": "cronjob", "Pod": "pod",
    "BuildConfig": "bc",
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """A workload names an image of the registry that is moved.

    Attributes:
        project: of the image stream.
        stream: its name.
        tag: empty where it is named by digest.
        digest: empty where it is named by tag.
        workload: as `oc` writes it: dc/web; with the project in front where that is another one.
    """

    project: str
    stream: str
    tag: str
    digest: str
    workload: str


@dataclass(frozen=True, slots=True, order=True)
class OutsideUse:
    """A workload names an image of another registry."""

    image: str
    workload: str


@dataclass(frozen=True, slots=True, order=True)
class UnclearUse:
    """A workload names something that is no image's name: a parameter that nobody filled in, say."""

    image: str
    workload: str


AnyUse = Use | OutsideUse | UnclearUse


def uses_of(
    document: Mapping[str, Any], kind: str, hosts: Collection[str], is_local: Callable[[str, str], bool]
) -> Iterator[AnyUse]:
    """What one workload names; nothing where another one made it (that one names the same).

    Args:
        document: of the API.
        kind: lists of the API do not say it in each item.
        hosts: the names of the registry that is moved.
        is_local: whether a bare name means an image stream of the project (project, image stream): its lookupPolicy.
    """
    metadata, spec = mapping(document.get("metadata")), mapping(document.get("spec"))
    if mappings(metadata.get("ownerReferences")):
        return
    project = str(metadata.get("namespace", ""))
    workload = f"{_SHORT.get(kind, kind.lower())}/{metadata.get('name')}"
    triggered = [*_triggers(spec), *_annotated(metadata)]
    for item in [*triggered, *(_build_images(spec) if kind == "BuildConfig" else ())]:
        yield from _named(item, project, workload, hosts)
    for image in _container_images(_pod_spec(kind, document)):
        yield from _image(image, project, workload, hosts, is_local)


def _triggers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a DeploymentConfig's or BuildConfig's image change triggers follow."""
    for trigger in mappings(spec.get("triggers")):
        yield mapping(mapping(trigger.get("imageChangeParams")).get("from"))
        yield mapping(mapping(trigger.get("imageChange")).get("from"))


def _annotated(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the trigger annotation of Kubernetes' own kinds follows."""
    text = mapping(metadata.get("annotations")).get(_TRIGGERS)
    try:
        found = json.loads(text) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return
    for trigger in mappings(found):
        yield mapping(trigger.get("from"))


def _build_images(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a build begins with, copies from, and pushes to."""
    strategy = mapping(spec.get("strategy"))
    for name in ("sourceStrategy", "dockerStrategy", "customStrategy"):
        yield mapping(mapping(strategy.get(name)).get("from"))
    for image in mappings(mapping(spec.get("source")).get("images")):
        yield mapping(image.get("from"))
    yield mapping(mapping(spec.get("output")).get("to"))


def _named(item: Mapping[str, Any], project: str, workload: str, hosts: Collection[str]) -> Iterator[AnyUse]:
    """An ObjectReference: ImageStreamTag, ImageStreamImage or DockerImage."""
    name, place = str(item.get("name", "")), str(item.get("namespace") or project)
    who = _who(project, place, workload)
    match item.get("kind"):
        case "ImageStreamTag":
            stream, _, tag = name.partition(":")
            if stream and valid_tag(tag):
                yield Use(place, stream, tag, "", who)
        case "ImageStreamImage":
            stream, _, digest = name.partition("@")
            if stream and valid_digest(digest):
                yield Use(place, stream, "", digest, who)
        case "DockerImage":
            yield from _image(name, project, workload, hosts, lambda _project, _stream: False)


def _pod_spec(kind: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = mapping(document.get("spec"))
    if kind == "Pod":
        return spec
    if kind == "CronJob":
        spec = mapping(mapping(spec.get("jobTemplate")).get("spec"))
    return mapping(mapping(spec.get("template")).get("spec"))


def _container_images(pod: Mapping[str, Any]) -> Iterator[str]:
    for key in ("initContainers", "containers"):
        for container in mappings(pod.get(key)):
            image = container.get("image")
            if isinstance(image, str) and image.strip():
                yield image.strip()


def _image(
    image: str, project: str, workload: str, hosts: Collection[str], is_local: Callable[[str, str], bool]
) -> Iterator[AnyUse]:
    first = image.partition("@")[0].partition(":")[0]
    if "/" not in image and is_local(project, first):
        image = f"{min(hosts)}/{project}/{image}"
    try:
        found = parse_reference(image, "docker.io")
    except InvalidReference:
        yield UnclearUse(image, workload)
        return
    host = found.repository.registry
    if host not in hosts and not _SERVICE_ADDRESS.fullmatch(host):
        yield OutsideUse(str(found) if found.digest or found.tag else f"{found}:latest", workload)
        return
    place, _, stream = found.repository.path.partition("/")
    if stream:
        tag = "" if found.digest else found.tag or "latest"
        yield Use(place, stream, tag, found.digest, _who(project, place, workload))


def _who(project: str, place: str, workload: str) -> str:
    """A workload, with its project where it uses an image of another one."""
    return workload if place == project else f"{workload} in {project}"
