"""Images that no entry of the manifest moves: a finding, or (missingImages: bridge) pulled from the old registry."""

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor
from migrate.workloads.findings import Mode
from migrate.workloads.moved import SHARED_PROJECT, is_variable, moved_image
from migrate.workloads.nodes import Map, Node
from migrate.workloads.pods import pod_spec

PULL_SECRET = "rahti1-pull-secret"  # noqa: S105 - a name
"""The Secret that bridged pods pull with; CSC's guide, "How to pull an image from the registry of Rahti 1"."""


def source_project(it: Editor, found: Object, origin: Map) -> str:
    """The source project of a reference to an image stream."""
    project = origin.text("namespace") or found.namespace
    if project and project != it.context.project:
        return project
    sources = sorted(it.context.own_sources)
    return sources[0] if len(sources) == 1 else project or it.context.project


def is_missing(it: Editor, found: Object, origin: Map, name: str) -> bool:
    """Whether nothing brings an image stream's tag to the target: no image of the manifest, no build, no import."""
    project = source_project(it, found, origin)
    stream, _, tag = name.partition(":")
    if is_variable(name) or is_variable(project) or project == SHARED_PROJECT or not origin.has("name"):
        return False
    old_stream, _, old_tag = origin.text("name").partition(":")
    if moved_image(it.context, f"{project}/{old_stream}", old_tag or "latest") is not None:
        return False
    return not _is_made_there(it, found, stream, tag)


def is_unseen(it: Editor, found: Object, name: str, stream: str, tag: str) -> bool:
    """Whether plans found no such tag of a source image stream, and nothing else makes it: no build, no import.

    Args:
        it: what is edited.
        found: the object that names it.
        name: of the stream at the source, with its project.
        stream: its name at the target.
        tag: of the stream.
    """
    if is_variable(name) or is_variable(tag):
        return False
    moved = moved_image(it.context, name, tag)
    return moved is not None and it.context.images.is_unseen(*moved) and not _is_made_there(it, found, stream, tag)


def _is_made_there(it: Editor, found: Object, stream: str, tag: str) -> bool:
    """Whether a BuildConfig pushes the tag, or an image stream imports it."""
    for build in it.world.of_kind("BuildConfig"):
        to = build.spec.map("output", "to")
        if to.text("name").rpartition("/")[2].partition(":")[0] == stream:
            return True
    known = it.world.named(["ImageStream"], stream, found.namespace)
    if known is None:
        return False
    registries = it.context.registries
    for entry in known.spec.maps("tags"):
        origin = entry.map("from")
        if entry.text("name") == tag and origin.text("kind") == "DockerImage":
            return registries.pattern().search(origin.text("name")) is None
    return False


def tell_missing(it: Editor, node: Node, name: str) -> None:
    """A finding for a human."""
    words = (
        f"no entry of `images` moves {name}: add it and copy, or say options.missingImages: bridge to pull it from the"
        " old registry while that is there"
    )
    it.say(node, words, mode=Mode.ASKED)


def tell_unseen(it: Editor, node: Node, name: str) -> None:
    """A finding for a human."""
    words = (
        f"the source has no {name}, as far as the last plan saw, or `tags` in the manifest leaves it out: name an image"
        " that is there, or change the entry and copy"
    )
    it.say(node, words, mode=Mode.ASKED)


def bridge_reference(it: Editor, found: Object, origin: Map) -> str:
    """The reference by the source registry's outside name."""
    name = origin.text("name")
    name = name if ":" in name else f"{name}:latest"
    return f"{it.context.registries.source_external}/{source_project(it, found, origin)}/{name}"


def bridged(it: Editor, found: Object) -> str:
    """Give the pods the pull secret; the words with the command that makes it."""
    spec = pod_spec(found)
    host = it.context.registries.source_external
    if all(each.text("name") != PULL_SECRET for each in spec.maps("imagePullSecrets")):
        it.add_item(spec, "imagePullSecrets", {"name": PULL_SECRET}, after="containers")
    return (
        "pulled from the old registry while that is there (options.missingImages); make its pull secret once, with"
        f" OLD_TOKEN from `oc whoami -t` on the old cluster: oc create secret docker-registry {PULL_SECRET}"
        f" --docker-server={host}"
        f' --docker-username=unused --docker-password="$OLD_TOKEN" -n {it.context.project}'
    )
