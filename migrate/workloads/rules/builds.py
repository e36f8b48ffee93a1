"""BuildConfigs: where they push, what they build from, and what has changed around them."""

import re
from collections.abc import Iterator

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import SHARED_PROJECT, find_references, is_variable, moved_image
from migrate.workloads.nodes import Map, Node, Seq, text_of
from migrate.workloads.pods import pod_spec
from migrate.workloads.rules.hub import with_hub
from migrate.workloads.rules.image_streams import stream_namespace

_LINK = "https://docs.openshift.com/container-platform/4.15/cicd/builds/understanding-buildconfigs.html"
_PLATFORM_SECRET = re.compile(r"(default|builder|deployer)-dockercfg-\w+")
_STAGE = re.compile(r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*\S+[ \t]+AS[ \t]+(\S+)", re.IGNORECASE | re.MULTILINE)
_FROM = re.compile(
    r"^[ \t]*(?:FROM[ \t]+(?:--\S+[ \t]+)*|COPY[ \t]+(?:--\S+[ \t]+)*?--from=)(?P<name>[^\s-]\S*)",
    re.IGNORECASE | re.MULTILINE,
)
_STRATEGIES = ("sourceStrategy", "dockerStrategy", "customStrategy")


def _origins(spec: Map) -> Iterator[Map]:
    """Every reference to an image in a build: base images, images with files, triggers, output."""
    for name in _STRATEGIES:
        yield spec.map("strategy", name, "from")
    yield spec.map("strategy", "sourceStrategy", "runtimeImage")
    for image in spec.map("source").maps("images"):
        yield image.map("from")
    for trigger in spec.maps("triggers"):
        yield trigger.map("imageChange", "from")
    yield spec.map("output", "to")


@rule(
    "build-output",
    Mode.DONE,
    "A build pushes into an image stream; the old registry's address is not needed for that, and is gone.",
    _LINK,
    ["BuildConfig"],
)
def build_output(it: Editor, found: Object) -> None:
    """`output.to` DockerImage of the old registry -> ImageStreamTag; the stream is added where it is missing."""
    to = found.spec.map("output", "to")
    name = to.text("name").strip()
    if to.text("kind") != "DockerImage":
        return
    references = find_references(name, it.context, {})
    if not references or references[0].old != name or "@" in name or not references[0].path:
        return
    tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "latest"
    moved = moved_image(it.context, references[0].path, tag) or (references[0].path, tag)
    project, _, stream = moved[0].partition("/")
    project = it.context.target_project(project)
    it.put(to, "kind", "ImageStreamTag")
    it.put(to, "name", f"{stream}:{moved[1] or tag}")
    if project != it.context.project and not is_variable(project):
        it.put(to, "namespace", project)
    elif not is_variable(stream) and it.world.named(["ImageStream"], stream, found.namespace) is None:
        meta = {"name": stream} | ({"namespace": found.namespace} if found.namespace else {})
        it.add({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream", "metadata": meta}, mode=Mode.NOTED,
               words="the build pushes into it")  # fmt: skip


@rule(
    "build-images",
    Mode.DONE,
    "Image streams of the source project are the target project's now; the image that was last seen is the old one's.",
    _LINK,
    ["BuildConfig"],
)
def build_images(it: Editor, found: Object) -> None:
    """Namespaces of `from` mapped, `lastTriggeredImageID` removed."""
    for origin in _origins(found.spec):
        stream_namespace(it, found, origin)
    for trigger in found.spec.maps("triggers"):
        it.remove(trigger.map("imageChange"), "lastTriggeredImageID")


@rule(
    "shared-stream",
    Mode.WARNED,
    "Image streams of the project openshift are the cluster's own: the new cluster has other tags than the old one.",
    _LINK,
    ["BuildConfig"],
)
def shared_stream(it: Editor, found: Object) -> None:
    """Told, for each image that a build starts from."""
    for origin in _origins(found.spec):
        node = origin.get("name")
        if node is not None and origin.text("namespace") == SHARED_PROJECT and origin.text("kind") == "ImageStreamTag":
            it.say(node, f"is it there? oc get istag -n openshift {text_of(node)}")


@rule(
    "build-nulls",
    Mode.DONE,
    "Server's counters and empty fields of an export.",
    _LINK,
    ["BuildConfig"],
)
def build_nulls(it: Editor, found: Object) -> None:
    """`nodeSelector: null`."""
    if found.spec.index("nodeSelector") >= 0 and not found.spec.has("nodeSelector"):
        it.remove(found.spec, "nodeSelector")


@rule(
    "platform-pull-secret",
    Mode.DONE,
    "The dockercfg secrets of service accounts are of the old cluster; the new one gives its accounts new ones.",
    "https://docs.openshift.com/container-platform/4.15/openshift_images/managing_images/using-image-pull-secrets.html",
)
def platform_pull_secret(it: Editor, found: Object) -> None:
    """References to `default-dockercfg-x` and the like, in pods and builds."""
    places: list[Map] = []
    if found.kind == "BuildConfig":
        strategy, source = found.spec.map("strategy"), found.spec.map("source")
        places = [found.spec.map("output"), *(strategy.map(name) for name in _STRATEGIES), *source.maps("images")]
    for where in places:
        for name in ("pushSecret", "pullSecret"):
            if _PLATFORM_SECRET.fullmatch(where.map(name).text("name")):
                it.remove(where, name)
    _pods_secrets(it, found)


def _pods_secrets(it: Editor, found: Object) -> None:

    spec = pod_spec(found)
    secrets: Node | None = spec.get("imagePullSecrets")
    if not isinstance(secrets, Seq):
        return
    had = len(secrets)
    for each in spec.maps("imagePullSecrets"):
        if _PLATFORM_SECRET.fullmatch(each.text("name")):
            it.remove_item(secrets, each)
    if had and not len(secrets):
        spec.drop("imagePullSecrets")


@rule(
    "build-jenkins",
    Mode.WARNED,
    "Pipelines by Jenkins are deprecated since OpenShift 4.1, and no Jenkins starts by itself.",
    "https://docs.openshift.com/container-platform/4.15/cicd/jenkins/important-changes-to-openshift-jenkins-images.html",
    ["BuildConfig"],
)
def build_jenkins(it: Editor, found: Object) -> None:
    """Told; kept."""
    if found.spec.map("strategy").has("jenkinsPipelineStrategy"):
        it.say(found.spec.map("strategy", "jenkinsPipelineStrategy"), "run a Jenkins of your own, or another pipeline",
               before="jenkinsPipelineStrategy")  # fmt: skip


@rule(
    "build-docker-socket",
    Mode.WARNED,
    "There is no docker socket on OpenShift 4: its nodes run CRI-O, and builds use buildah.",
    "https://docs.openshift.com/container-platform/4.15/cicd/builds/custom-builds-buildah.html",
    ["BuildConfig"],
)
def build_docker_socket(it: Editor, found: Object) -> None:
    """`exposeDockerSocket: true`, and the extended builds of 3.x."""
    custom = found.spec.map("strategy", "customStrategy")
    if custom.text("exposeDockerSocket") == "true":
        it.say(custom.get("exposeDockerSocket") or custom, "build with buildah")
    source = found.spec.map("strategy", "sourceStrategy")
    if source.has("runtimeImage"):
        it.say(source, "extended builds (runtimeImage) are gone: use a multi-stage Dockerfile or a second build",
               before="runtimeImage")  # fmt: skip


@rule(
    "build-webhooks",
    Mode.WARNED,
    "The addresses that webhooks call are the old API's.",
    "https://docs.openshift.com/container-platform/4.15/cicd/builds/triggering-builds-build-hooks.html",
    ["BuildConfig"],
)
def build_webhooks(it: Editor, found: Object) -> None:
    """Told: the new address is in `oc describe bc`."""
    names = {text_of(each.get("type") or Map()) for each in found.spec.maps("triggers")}
    hooks = sorted(names & {"GitHub", "Generic", "GitLab", "Bitbucket", "github", "generic"})
    if hooks:
        words = f"give the new address to your Git server: oc describe bc/{found.name}"
        it.say(found.spec.get("triggers") or found.spec, words, before=", ".join(hooks))


@rule(
    "build-resources",
    Mode.WARNED,
    "Builds run within the target's default limits, which are smaller: 500m and 1Gi at Rahti 2 (2 and 8Gi before).",
    "https://docs.csc.fi/cloud/rahti/images/creating/",
    ["BuildConfig"],
)
def build_resources(it: Editor, found: Object) -> None:
    """Told where a build says nothing of its own."""
    resources = found.spec.get("resources")
    pipeline = found.spec.map("strategy").has("jenkinsPipelineStrategy")
    if not pipeline and not (isinstance(resources, Map) and len(resources)):
        it.say(found.spec, "if it is killed or slow, write `resources` into its spec", path="spec.resources", before="")


@rule(
    "build-dockerfile",
    Mode.NOTED,
    "Names without a registry in a Dockerfile mean Docker Hub only by a setting of the builder; docker.io says it.",
    "https://docs.docker.com/docker-hub/usage/pulls/",
    ["BuildConfig"],
)
def build_dockerfile(it: Editor, found: Object) -> None:
    """`FROM` and `COPY --from=` of an inline Dockerfile."""
    node = found.spec.map("source").scalar("dockerfile")
    if node is None or found.spec.map("strategy", "dockerStrategy", "from").has("name"):
        return  # `from` of the strategy takes the place of the last FROM, and image-registry has changed the others
    stages = {name.lower() for name in _STAGE.findall(node.value)} | {"scratch"}
    changes = {}
    for line in _FROM.finditer(node.value):
        name = line["name"]
        new = "" if name.lower() in stages or name.isdigit() else with_hub(name)
        if new and new != name:
            changes[line[0]] = line[0][: line.start("name") - line.start()] + new
    if changes:
        it.substitute(node, changes)


RULES = (
    build_output, build_images, shared_stream, build_nulls, platform_pull_secret, build_jenkins, build_docker_socket,
    build_webhooks, build_resources, build_dockerfile,
)  # fmt: skip
