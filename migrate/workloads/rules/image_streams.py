"""Image streams: their tags point at the new registry, or at nothing where the copy brings them."""

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import find_references, is_variable, moved_image, tag_of
from migrate.workloads.nodes import Map, Scalar, Seq, text_of

_LINK = "https://docs.openshift.com/container-platform/4.15/openshift_images/image-streams-manage.html"
_EMPTY = ("generation",)


@rule(
    "stream-server-fields",
    Mode.DONE,
    "Counters and empty policies of an export, which the server fills in by itself.",
    _LINK,
    ["ImageStream"],
)
def stream_server_fields(it: Editor, found: Object) -> None:
    """`generation`, `annotations: null`, `importPolicy: {}`, `referencePolicy: {type: ""}` of tags."""
    for entry in found.spec.maps("tags"):
        it.remove(entry, "generation")
        if entry.index("annotations") >= 0 and not entry.has("annotations"):
            it.remove(entry, "annotations")
        for name in ("importPolicy", "referencePolicy"):
            policy = entry.get(name)
            is_empty = isinstance(policy, Map) and not any(text_of(value) for value in policy.values)
            if is_empty or (isinstance(policy, Scalar) and policy.is_null):
                it.remove(entry, name)
    tags = found.spec.get("tags")
    if isinstance(tags, Scalar) and tags.is_null:
        it.remove(found.spec, "tags")


@rule(
    "stream-tag",
    Mode.NOTED,
    "A tag that imports from the old registry would fail when that is gone; the copy brings the image itself.",
    _LINK,
    ["ImageStream"],
)
def stream_tag(it: Editor, found: Object) -> None:
    """DockerImage of the old registry -> nothing (the same stream), or the image stream it is of."""
    tags = found.spec.get("tags")
    if not isinstance(tags, Seq):
        return
    for entry in found.spec.maps("tags"):
        origin = entry.map("from")
        if origin.text("kind") == "DockerImage":
            _docker_image(it, found, tags, entry, origin)
        elif origin.text("kind") in ("ImageStreamTag", "ImageStreamImage"):
            _stream_reference(it, found, tags, entry, origin)
    if not len(tags):
        found.spec.drop("tags")


def _docker_image(it: Editor, found: Object, tags: Seq, entry: Map, origin: Map) -> None:
    name = origin.text("name").strip()
    references = find_references(name, it.context, it.world.tags_by_digest)
    if not references or references[0].old != name or not references[0].path:
        return
    project, _, stream = references[0].path.partition("/")
    own = {"", found.namespace, *it.context.own_sources}
    if stream == found.name and (project in own or it.context.target_project(project) == it.context.project):
        it.remove_item(tags, entry, words="the copy puts this tag into the stream", mode=Mode.DONE)
        return
    tag = name.rpartition(":")[2] if "@" not in name and ":" in name.rpartition("/")[2] else ""
    tag = tag or tag_of(references[0].path, name.rpartition("@")[2], it.context, it.world.tags_by_digest) or "latest"
    moved = moved_image(it.context, references[0].path, tag)
    if moved is None or is_variable(name):
        return  # the rule for registries says what there is to say
    target, _, new_stream = moved[0].partition("/")
    own_project = {} if target == it.context.project else {"namespace": target}
    it.put(entry, "from", {"kind": "ImageStreamTag", **own_project, "name": f"{new_stream}:{moved[1] or tag}"})


def _stream_reference(it: Editor, found: Object, tags: Seq, entry: Map, origin: Map) -> None:
    stream_namespace(it, found, origin)
    if origin.text("kind") != "ImageStreamImage":
        return
    stream, _, digest = origin.text("name").partition("@")
    project = origin.text("namespace") or found.namespace or it.context.project
    tag = tag_of(f"{project}/{stream}", digest, it.context, it.world.tags_by_digest)
    if tag and stream == found.name and tag == entry.text("name"):
        it.remove_item(tags, entry, words="the copy puts this tag into the stream")
    elif tag:
        it.put(origin, "kind", "ImageStreamTag")
        it.put(origin, "name", f"{stream}:{tag}", words="the tag that had this digest")
    elif stream == found.name:
        it.remove_item(tags, entry, words="a digest of the old registry: the copy puts this tag into the stream")
    else:
        it.say(origin, "a digest of the old registry, and no tag is known to have it: name a tag", mode=Mode.ASKED,
               before=origin.text("name"))  # fmt: skip


def stream_namespace(it: Editor, found: Object, origin: Map) -> None:
    """`namespace` of a reference to an image stream: away where it is the own project, else mapped."""
    node = origin.scalar("namespace")
    if node is None or node.is_null or is_variable(node.value):
        return
    if node.value in (found.namespace, *it.context.own_sources, it.context.project):
        it.remove(origin, "namespace", mode=Mode.DONE)
    else:
        it.change(node, it.context.target_project(node.value))


@rule(
    "stream-repository",
    Mode.DONE,
    "dockerImageRepository imports every tag of a repository; of the old registry there will be nothing to import.",
    _LINK,
    ["ImageStream"],
)
def stream_repository(it: Editor, found: Object) -> None:
    """Removed where it is the old registry's; told where it is another's."""
    name = found.spec.text("dockerImageRepository")
    if not name:
        return
    if it.context.registries.pattern().match(name):
        it.remove(found.spec, "dockerImageRepository")
    elif not is_variable(name):
        it.say(found.spec.get("dockerImageRepository") or found.spec, "deprecated: name the tags that you use",
               mode=Mode.WARNED)  # fmt: skip


@rule(
    "stream-schedule",
    Mode.WARNED,
    "Only tags that import from a registry (DockerImage) can be imported on a schedule; the API refuses others.",
    _LINK,
    ["ImageStream"],
)
def stream_schedule(it: Editor, found: Object) -> None:
    """`scheduled: true` of a tag that follows another tag is taken out."""
    for entry in found.spec.maps("tags"):
        if entry.text("from") == "" and entry.map("from").text("kind") not in ("", "DockerImage"):
            policy = entry.map("importPolicy")
            if policy.text("scheduled") == "true":
                it.remove(policy, "scheduled")
                if not len(policy):
                    entry.drop("importPolicy")


@rule(
    "stream-count",
    Mode.WARNED,
    "The target limits how many image streams there may be: at Rahti 2 20 for all projects of a CSC project together.",
    "https://docs.csc.fi/cloud/rahti/configurations/resource-quota/",
    ["ImageStream"],
)
def stream_count(it: Editor, found: Object) -> None:
    """Told once, at the first stream beyond the limit."""
    limit = it.context.platform.limits.image_streams
    streams = [each for each in it.world.of_kind("ImageStream") if not each.is_left_out]
    if limit is not None and len(streams) > limit and found is streams[limit]:
        words = f"{len(streams)} image streams, and the limit is {limit}: ask for a larger quota, or leave some out"
        it.say(found.root, words, path="kind", before="")


RULES = (stream_tag, stream_schedule, stream_server_fields, stream_repository, stream_count)
