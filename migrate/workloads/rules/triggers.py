"""Image triggers of DeploymentConfigs -> the annotation `image.openshift.io/triggers`, and the images they fill in.

The annotation's form is the decoder's (library-go, image/trigger/types.go and annotations.go): a JSON list, `paused` a
JSON boolean, containers named by exactly `[?(@.name=="NAME")]`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, name_of, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import SHARED_PROJECT, is_variable, moved_image
from migrate.workloads.nodes import Map, text_of
from migrate.workloads.pods import TEMPLATES, containers, pod_spec
from migrate.workloads.rules.bridge import (
    bridge_reference,
    bridged,
    is_missing,
    is_unseen,
    source_project,
    tell_missing,
    tell_unseen,
)
from migrate.workloads.rules.deployment_configs import conversion, converts
from migrate.workloads.rules.template_parameters import default_of, own_project, with_defaults

ANNOTATION = "image.openshift.io/triggers"
_LINK = (
    "https://docs.openshift.com/container-platform/4.15/openshift_images/triggering-updates-on-imagestream-changes.html"
)
_HUMAN = "https://docs.csc.fi/cloud/rahti/images/"
_PATH = re.compile(
    r"(spec\.(?:jobTemplate\.spec\.)?(?:template\.)?(?:spec\.)?)(containers|initContainers)\[(.*)\]\.image"
)
_BY_NAME = re.compile(r"\?\(\s*@\.name\s*==\s*([\"'])(.*)\1\s*\)")


@dataclass(frozen=True)
class Follows:
    """An image change trigger, in the words of the target.

    `stream` and `tag` may hold parameters; `project` is empty for the object's own.
    """

    containers: tuple[str, ...]
    project: str
    name: str
    is_automatic: bool
    source: Map

    @property
    def entry(self) -> dict[str, str]:
        """`from` of the annotation."""
        own = {"namespace": self.project} if self.project else {}
        return {"kind": "ImageStreamTag", "name": self.name, **own}


def triggers_of(it: Editor, found: Object) -> list[Follows]:
    """The image change triggers of a DeploymentConfig."""
    return [
        _follows(it, found, each.map("imageChangeParams"))
        for each in found.spec.maps("triggers")
        if each.text("type") == "ImageChange" and each.map("imageChangeParams").map("from").has("name")
    ]


def _follows(it: Editor, found: Object, params: Map) -> Follows:
    origin = params.map("from")
    name = _with_tag(found, origin)
    project = origin.text("namespace")
    source = project or found.namespace
    is_own = not project or project == found.namespace or project in it.context.own_sources
    project = "" if is_own or it.context.target_project(project) == it.context.project else project
    if not is_variable(name) and source != SHARED_PROJECT and not is_variable(source):
        stream, _, tag = name.partition(":")
        moved = moved_image(it.context, f"{source or _only_source(it)}/{stream}", tag)
        if moved and moved[0].partition("/")[0] == it.context.target_project(source or _only_source(it)):
            name = f"{moved[0].partition('/')[2]}:{moved[1] or tag}"
    target = project if not project or is_variable(project) else it.context.target_project(project)
    names = tuple(text_of(each) for each in params.nodes_of("containerNames"))
    return Follows(names, target, name, params.text("automatic") == "true", origin)


def _only_source(it: Editor) -> str:
    """The source project of objects that name none."""
    sources = it.context.own_sources
    return next(iter(sources)) if len(sources) == 1 else it.context.project


def _with_tag(found: Object, origin: Map) -> str:
    name = origin.text("name")
    if ":" in re.sub(r"\$\{\w+\}", "", name):
        return name
    for parameter in re.findall(r"\$\{(\w+)\}", name):
        if ":" in default_of(found, parameter):
            return name
    is_tag_by_parameter = origin.text("kind") == "ImageStreamTag" and re.fullmatch(r"\$\{\w+\}", name)
    return name if is_tag_by_parameter else f"{name}:latest"


# --- the container's image --------------------------------------------------------------------------------------


@conversion(
    "dc-image",
    Mode.NOTED,
    "A Deployment needs an image to begin with, where a DeploymentConfig waited for its trigger; it is the one that the"
    " trigger fills in.",
    _HUMAN,
)
def dc_image(it: Editor, found: Object) -> None:
    """Images that a trigger resolves -> the image stream's tag in the target's registry."""
    spec = pod_spec(found)
    done: set[str] = set()
    for follows in triggers_of(it, found):
        for container in containers(spec):
            name = name_of(container)
            if name in follows.containers and name not in done:
                done.add(name)
                _give_image(it, found, container, follows)
    for container in spec.maps("containers"):
        if not container.text("image").strip() and name_of(container) not in done:
            words = "no image, and no trigger that names one: write the image that it is to run"
            it.say(container, words, mode=Mode.BLOCKED, before="")


def _give_image(it: Editor, found: Object, container: Map, follows: Follows) -> None:
    image = container.text("image")
    if not follows.is_automatic and image.strip() and "@" not in image and "/" in image:
        return  # the trigger is paused: what runs is what stands there, and rules for images look at it
    if not follows.is_automatic and "@" in image and it.context.registries.pattern().search(image) is None:
        return
    if is_missing(it, found, follows.source, follows.name):
        if it.context.options.missing_images == "bridge":
            reference = bridge_reference(it, found, follows.source)
            it.put(container, "image", reference, after="name", words=bridged(it, found), mode=Mode.WARNED)
            return
        tell_missing(it, follows.source, _name_there(it, found, follows))
    elif is_unseen(it, found, *_parts_there(it, found, follows)):
        tell_unseen(it, follows.source, _name_there(it, found, follows))
    project = follows.project or own_project(it, found)
    reference = f"{it.context.registries.target_internal}/{project}/{follows.name}"
    it.put(container, "image", reference, after="name")


def _name_there(it: Editor, found: Object, follows: Follows) -> str:
    """What a trigger's image is called at the source."""
    return f"{source_project(it, found, follows.source)}/{follows.source.text('name')}"


def _parts_there(it: Editor, found: Object, follows: Follows) -> tuple[str, str, str]:
    """The image stream at the source, with its project; its name at the target; the tag at the source."""
    path, _, tag = _name_there(it, found, follows).partition(":")
    return path, follows.name.partition(":")[0], tag or "latest"


# --- the annotation ---------------------------------------------------------------------------------------------


@conversion(
    "dc-triggers",
    Mode.DONE,
    "A Deployment follows an image stream by the annotation image.openshift.io/triggers.",
    _LINK,
)
def dc_triggers(it: Editor, found: Object) -> None:
    """`spec.triggers` -> the annotation."""
    _config_change(it, found)
    _annotate(it, found)
    it.remove(found.spec, "triggers")


def _annotate(it: Editor, found: Object) -> None:
    entries = list(_entries(it, found))
    if entries:
        meta = found.meta if found.root.has("metadata") else it.ensure(found.root, "metadata", after="kind")
        annotations = it.ensure(meta, "annotations")
        it.put(annotations, ANNOTATION, json.dumps(entries, ensure_ascii=False, separators=(",", ":")))


@rule(
    "pasted-triggers",
    Mode.WARNED,
    "Only DeploymentConfigs have `triggers`; elsewhere 3.11 overlooked them, and today's API refuses the object.",
    _LINK,
    ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"],
)
def pasted_triggers(it: Editor, found: Object) -> None:
    """Taken out; an image stream is followed by the annotation, which now works."""
    if found.old_kind == "DeploymentConfig" or found.spec.index("triggers") < 0:
        return
    if found.kind in ("Deployment", "StatefulSet", "DaemonSet") and not found.meta.map("annotations").has(ANNOTATION):
        _annotate(it, found)
    it.remove(found.spec, "triggers")


def _config_change(it: Editor, found: Object) -> None:
    """What a DeploymentConfig without ConfigChange did: nothing, until somebody said so."""
    if not found.spec.has("triggers") or any(
        each.text("type") in ("ConfigChange", "") or is_variable(each.text("type"))
        for each in found.spec.maps("triggers")
    ):
        return
    node = found.spec.get("triggers")
    assert node is not None
    if it.context.options.keep_manual_rollout:
        words = "paused, as options.keepManualRollout says: `oc rollout resume deployment/NAME` starts it"
        it.put(found.spec, "paused", True, words=words, mode=Mode.NOTED)
    else:
        words = "changes of the template did not roll out by themselves; those of a Deployment do"
        it.say(node, words, mode=Mode.WARNED, after="options.keepManualRollout would pause it")


def _entries(it: Editor, found: Object) -> Iterator[dict[str, Any]]:
    spec = pod_spec(found)
    lists = {name_of(each): "containers" for each in spec.maps("containers")}
    lists = {name_of(each): "initContainers" for each in spec.maps("initContainers")} | lists
    done: set[str] = set()
    for follows in triggers_of(it, found):
        is_bridged = it.context.options.missing_images == "bridge"
        if is_bridged and is_missing(it, found, follows.source, follows.name):
            continue  # there will be no image stream to follow
        for name in follows.containers:
            if name not in lists:
                it.say(follows.source, f"there is no container {name}: dropped", mode=Mode.WARNED)
            elif name in done:
                it.say(follows.source, f"container {name} follows another image already: dropped", mode=Mode.WARNED)
            else:
                done.add(name)
                path = f'spec.template.spec.{lists[name]}[?(@.name=="{name}")].image'
                yield {"from": follows.entry, "fieldPath": path} | ({} if follows.is_automatic else {"paused": True})
        _tell_of_others(it, found, follows)


def _tell_of_others(it: Editor, found: Object, follows: Follows) -> None:
    """A stream of another project must be there, and be allowed."""
    if with_defaults(found, follows.project) == SHARED_PROJECT:
        words = f"is it there on the new cluster? oc get istag -n openshift {with_defaults(found, follows.name)}"
        it.say(follows.source, words, mode=Mode.WARNED, before=f"openshift/{follows.name}")
    elif follows.project and not is_variable(follows.project):
        who = f"system:serviceaccounts:{it.context.project}"
        words = f"allow it: oc policy add-role-to-group system:image-puller {who} -n {follows.project}"
        it.say(follows.source, words, mode=Mode.WARNED, before=f"{follows.project}/{follows.name}")


# --- DeploymentConfigs that stay --------------------------------------------------------------------------------


@rule(
    "dc-kept-triggers",
    Mode.DONE,
    "Triggers name image streams of the old projects, and the image that was last run there.",
    _LINK,
    ["DeploymentConfig"],
)
def dc_kept_triggers(it: Editor, found: Object) -> None:
    """`lastTriggeredImage` goes, `from.namespace` is mapped."""
    if converts(it, found):
        return
    for each in found.spec.maps("triggers"):
        params = each.map("imageChangeParams")
        it.remove(params, "lastTriggeredImage")
        origin = params.map("from")
        project = origin.scalar("namespace")
        if project is not None and project.value in (found.namespace, *it.context.own_sources):
            it.remove(origin, "namespace")
        elif project is not None and not is_variable(project.value):
            it.change(project, it.context.target_project(project.value))


# --- annotations that are there already -------------------------------------------------------------------------


@rule(
    "trigger-annotation",
    Mode.DONE,
    "OpenShift reads image.openshift.io/triggers strictly: one wrong sign, and every trigger of the object is off.",
    _LINK,
    [kind for kind in TEMPLATES if kind not in ("DeploymentConfig", "PodTemplate")],
)
def trigger_annotation(it: Editor, found: Object) -> None:
    """`paused` a boolean, containers in double quotes, projects mapped."""
    node = found.meta.map("annotations").scalar(ANNOTATION)
    if node is None or not node.value.strip():
        return
    try:
        entries = json.loads(node.value)
        assert isinstance(entries, list)
        corrected = [_corrected(it, found, each) for each in entries]
    except (ValueError, AssertionError, TypeError, AttributeError):
        it.say(node, "this is no JSON list of triggers, so none of them works: correct it", mode=Mode.WARNED)
        return
    if corrected != entries:
        it.change(node, json.dumps(corrected, ensure_ascii=False, separators=(",", ":")))


def _corrected(it: Editor, found: Object, entry: dict[str, Any]) -> dict[str, Any]:
    new = dict(entry)
    paused = entry.get("paused")
    if isinstance(paused, str) or paused is False:
        new.pop("paused")
        new |= {"paused": True} if str(paused).lower() == "true" else {}
    path = _PATH.fullmatch(entry.get("fieldPath", ""))
    by_name = _BY_NAME.fullmatch(path[3]) if path else None
    if path and by_name:
        new["fieldPath"] = f'{path[1]}{path[2]}[?(@.name=="{by_name[2]}")].image'
    new["from"] = dict(entry["from"])
    project = new["from"].get("namespace", "")
    if project and (project in (found.namespace, *it.context.own_sources)):
        del new["from"]["namespace"]
    elif project and not is_variable(project):
        new["from"]["namespace"] = it.context.target_project(project)
    return new


RULES_BEFORE_JOBS = (dc_kept_triggers, dc_image)
RULES = (dc_triggers, pasted_triggers, trigger_annotation)


def followed_containers(found: Object) -> set[str]:
    """The containers whose image an annotation or a trigger fills in."""
    names = {
        text_of(each)
        for trigger in found.spec.maps("triggers")
        if trigger.map("imageChangeParams").text("automatic") == "true"
        for each in trigger.map("imageChangeParams").nodes_of("containerNames")
    }
    text = found.meta.map("annotations").text(ANNOTATION)
    spec = pod_spec(found)
    numbers = re.findall(r"\b(containers|initContainers)\[(\d+)\]", text)
    by_number = {name_of(spec.maps(key)[int(at)]) for key, at in numbers if int(at) < len(spec.maps(key))}
    return names | by_number | set(re.findall(r'@\.name==\\?"([^"\\]*)\\?"', text))
