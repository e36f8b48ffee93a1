"""Names of images, wherever they hide: fields of containers and builds, and any other text."""

import base64
import binascii
import json
import re
from collections.abc import Iterator

from migrate.workloads.documents import Object
from migrate.workloads.engine import LAST_APPLIED, Editor, name_of, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import Found, Trouble, changed_text, find_references
from migrate.workloads.nodes import Map, Node, Scalar, Seq, followed
from migrate.workloads.pods import containers, pod_spec
from migrate.workloads.rules.bridge import bridged, is_unseen, tell_missing, tell_unseen
from migrate.workloads.rules.hub import with_hub
from migrate.workloads.rules.triggers import followed_containers
from migrate.workloads.shown import HIDDEN
from migrate.workloads.texts import texts_of

_LINK = "https://docs.csc.fi/cloud/rahti/images/"
_HUB = "https://docs.docker.com/docker-hub/usage/pulls/"
_BY_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}:\d+/")
_UNMAINTAINED = "nobody maintains it any more"
_ENDED = (
    (re.compile(r"(docker\.io/)?bitnami/"), "bitnami"),
    (re.compile(r"registry\.redhat\.io/"), "registry.redhat.io gives nothing without a login: make a pull secret"),
    (re.compile(r"registry\.access\.redhat\.com/(rhscl|openshift3|jboss|rhel7)"), _UNMAINTAINED),
    (re.compile(r"(docker\.io/)?(centos/[\w.-]*centos7|openshift/(origin|jenkins)|centos:[67])"), _UNMAINTAINED),
    (re.compile(r"gcr\.io/google[_-]containers/"), "that registry is frozen: look for it at registry.k8s.io"),
)  # fmt: skip


@rule(
    "image-registry",
    Mode.DONE,
    "The image is in the target's registry now: another host, the target's project, the digest that it has there.",
    _LINK,
)
def image_registry(it: Editor, found: Object) -> None:
    """References to the source's registry in any text of an object, keys and the server's own copies left out."""
    if not it.is_in_file(it.context.registries.pattern()):
        return
    if found.kind in ("Template", "Secret"):
        nodes: Iterator[tuple[Scalar, str]] = _of_template(found) if found.kind == "Template" else iter(())
    else:
        nodes = ((node, key) for node, key in texts_of(found.root) if key != LAST_APPLIED)
    in_pods = {id(each.get("image")): each for each in containers(pod_spec(found))}
    for node, key in nodes:
        references = find_references(node.value, it.context, it.world.tags_by_digest)
        if references:
            _change(it, found, node, references, in_pods.get(id(node)), key)


def _of_template(found: Object) -> Iterator[tuple[Scalar, str]]:
    for parameter in found.root.maps("parameters"):
        for key in ("value", "from", "description", "displayName"):
            if node := parameter.scalar(key):
                yield node, key
    if node := found.root.scalar("message"):
        yield node, "message"


def _change(it: Editor, found: Object, node: Scalar, references: list[Found], container: Map | None, key: str) -> None:
    missing = [each for each in references if each.trouble in (Trouble.NOT_MOVED, Trouble.DIGEST_UNKNOWN)]
    for each in missing:
        if each.trouble is Trouble.DIGEST_UNKNOWN:
            words = "nothing recorded what this digest became: copy the image first (its state is asked), or name a tag"
            it.say(node, words, mode=Mode.ASKED, before=each.old)
        elif it.context.options.missing_images == "bridge":
            _bridge(it, found, node, each, in_pod=container is not None)
        else:
            tell_missing(it, node, each.old.partition("/")[2])
    for each in references:
        path, _, tag = each.path.partition(":")
        if each.trouble is Trouble.UNSEEN and is_unseen(it, found, path, path.rpartition("/")[2], tag):
            tell_unseen(it, node, each.path)
    changes = {each.old: each.new for each in references if each.old != each.new}
    if key in ("description", "displayName", "message") and found.kind == "Template":
        for old, new in changes.items():
            it.say(node, "words for people: left as they are", mode=Mode.NOTED, before=old, after=new)
        return
    is_whole = len(changes) == 1 and node.value.strip() in changes
    if is_whole:
        it.change(node, changed_text(node.value.strip(), references), told=next(iter(changes.items())))
    elif changes:
        it.substitute(node, changes, mode=Mode.NOTED if found.kind == "ConfigMap" else None)
    _tell(it, node, references)


def _bridge(it: Editor, found: Object, node: Scalar, each: Found, *, in_pod: bool) -> None:
    """The reference by the outside name of the old registry, and the secret to pull with."""
    host = each.old.partition("/")[0]
    outside = it.context.registries.source_external
    words = bridged(it, found) if in_pod else "left at the old registry, while that is there (options.missingImages)"
    if host == outside:
        it.say(node, words, mode=Mode.WARNED, before=each.old)
    else:
        it.substitute(node, {each.old: each.old.replace(host, outside, 1)}, words=words, mode=Mode.WARNED)


def _tell(it: Editor, node: Scalar, references: list[Found]) -> None:
    for each in references:
        if each.trouble is Trouble.SHARED:
            words = "an image of the cluster's own: look whether the new one has that tag (oc get is -n openshift)"
            it.say(node, words, mode=Mode.WARNED, before=each.old, after=each.new)
        elif each.trouble is Trouble.PROJECT_UNKNOWN:
            project = each.path.partition("/")[0]
            words = f"project {project} is taken to keep its name; if not, give --project-map {project}=NEW"
            it.say(node, words, mode=Mode.WARNED, before=each.old, after=each.new)


@rule(
    "secret-registry",
    Mode.WARNED,
    "A Secret names the old registry; what is in it is not shown and, without options.secrets, not changed.",
    _LINK,
    ["Secret"],
)
def secret_registry(it: Editor, found: Object) -> None:
    """Told by key, never with the value; options.secrets changes it, but no logins: those are of the old cluster."""
    pattern = it.context.registries.pattern()
    is_login = found.root.text("type").startswith("kubernetes.io/dockerc")
    for where in ("data", "stringData"):
        for name, node in found.root.map(where).items():
            if not isinstance(node, Scalar):
                continue
            text = _decoded(node.value) if where == "data" else node.value
            if not pattern.search(text):
                continue
            if it.context.options.secrets and not is_login and ".docker" not in name:
                new = changed_text(text, find_references(text, it.context, it.world.tags_by_digest))
                new = base64.b64encode(new.encode()).decode() if where == "data" else new
                it.change(node, new, words="options.secrets", mode=Mode.NOTED, told=(HIDDEN, HIDDEN))
            else:
                words = "a login or setting for the old registry: make one for the new one"
                it.say(node, words, before=HIDDEN, path=f"{where}[{name}]")


@rule(
    "old-pull-secret",
    Mode.NOTED,
    "A login for the old registry only is of no use to pods whose images have all left it.",
    _LINK,
)
def old_pull_secret(it: Editor, found: Object) -> None:
    """`imagePullSecrets` with a Secret of this run that has logins of the old registry only."""
    secrets = pod_spec(found).get("imagePullSecrets")
    if not isinstance(secrets, Seq):
        return
    pattern = it.context.registries.pattern()
    stays = any(pattern.search(each.text("image")) for each in containers(pod_spec(found)))
    for each in pod_spec(found).maps("imagePullSecrets"):
        secret = it.world.named(["Secret"], each.text("name"), found.namespace)
        logins = _logins(secret) if secret is not None else []
        if logins and all(pattern.search(host) for host in logins) and not stays:
            it.remove_item(secrets, each)
    if not len(secrets):
        pod_spec(found).drop("imagePullSecrets")


def _logins(secret: Object) -> list[str]:
    """The registries that a pull secret has logins for."""
    for name in (".dockerconfigjson", ".dockercfg"):
        text = _decoded(secret.root.map("data").text(name)) or secret.root.map("stringData").text(name)
        try:
            data = json.loads(text)
            return [*(data["auths"] if name == ".dockerconfigjson" else data)]
        except (ValueError, KeyError, TypeError):
            continue
    return []


def _decoded(text: str) -> str:
    """The text in base64; empty where it holds none."""
    try:
        return base64.b64decode(text).decode()
    except (binascii.Error, ValueError):
        return ""


# --- names without a registry -----------------------------------------------------------------------------------


@rule(
    "docker-hub",
    Mode.NOTED,
    "A name without a registry means Docker Hub only by a setting of the node; docker.io says it. Docker Hub limits"
    " pulls without a login.",
    _HUB,
)
def docker_hub(it: Editor, found: Object) -> None:
    """`nginx` -> `docker.io/library/nginx`; not for what a trigger or a local image stream resolves."""
    followed_names = followed_containers(found)
    for container in containers(pod_spec(found)):
        node = container.scalar("image")
        if node is None or name_of(container) in followed_names:
            continue
        new = with_hub(node.value.strip())
        if new and not _is_local_stream(it, found, node.value.strip()):
            it.change(node, new)


def _is_local_stream(it: Editor, found: Object, name: str) -> bool:
    """Whether a bare name can be an image stream of the project (by `lookupPolicy.local`, or a placeholder)."""
    if "/" in name:
        return False
    stream = re.split("[:@]", name)[0]
    return it.world.named(["ImageStream"], stream, found.namespace) is not None


@rule(
    "moved-registry",
    Mode.DONE,
    "k8s.gcr.io is frozen since 2023; registry.k8s.io has the same images.",
    "https://kubernetes.io/blog/2023/02/06/k8s-gcr-io-freeze-announcement/",
)
def moved_registry(it: Editor, found: Object) -> None:
    """`k8s.gcr.io/x` -> `registry.k8s.io/x`."""
    for node in _image_fields(found):
        if node.value.strip().startswith("k8s.gcr.io/"):
            it.change(node, "registry.k8s.io/" + node.value.strip().removeprefix("k8s.gcr.io/"))


@rule(
    "ended-image",
    Mode.WARNED,
    "Some images are no longer where they were, or nobody maintains them any more.",
    "https://docs.csc.fi/cloud/rahti/catalog/",
)
def ended_image(it: Editor, found: Object) -> None:
    """bitnami (options.bitnami: legacy rewrites it) and images whose maintenance has ended."""
    for node in _image_fields(found):
        for pattern, words in _ENDED:
            if pattern.match(node.value.strip()):
                _tell_ended(it, node, words)


def _tell_ended(it: Editor, node: Scalar, words: str) -> None:
    if words != "bitnami":
        it.say(node, words)
        return
    tag = node.value.strip().rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest"):
        return
    if it.context.options.bitnami == "legacy":
        new = re.sub(r"^(docker\.io/)?bitnami/", "docker.io/bitnamilegacy/", node.value.strip())
        it.change(node, new, mode=Mode.NOTED, words="options.bitnami: the old images, which nobody maintains any more")
    else:
        words = "tags other than latest are gone from Docker Hub since 2025-09-29: options.bitnami: legacy takes the"
        it.say(node, f"{words} old images (bitnamilegacy), which nobody maintains")


def _image_fields(found: Object) -> Iterator[Scalar]:
    """Scalars that are images: of containers, and `name` of a DockerImage."""
    for container in containers(pod_spec(found)):
        if node := container.scalar("image"):
            yield node
    if found.kind in ("BuildConfig", "ImageStream", "DeploymentConfig"):
        waiting: list[Node] = [found.spec]
        while waiting:
            here = followed(waiting.pop())
            if isinstance(here, Map):
                if here.text("kind") == "DockerImage" and (node := here.scalar("name")):
                    yield node
                waiting += here.values
            elif isinstance(here, Seq):
                waiting += here.nodes


@rule(
    "other-internal-registry",
    Mode.WARNED,
    "A registry that is named by its address is often the internal one of an old cluster.",
    _LINK,
)
def other_internal_registry(it: Editor, found: Object) -> None:
    """Told: `platform.source.registries` takes it."""
    for node in _image_fields(found):
        if _BY_ADDRESS.match(node.value.strip()):
            it.say(node, "if it is the source's registry, add it to platform.source.registries")


# --- projects in other texts ------------------------------------------------------------------------------------

_ACCOUNTS = re.compile(r"system:serviceaccounts?:([a-z0-9][a-z0-9-]*)")
_SERVICE_HOST = re.compile(r"(?<![\w.-])([a-z0-9][a-z0-9-]*)\.([a-z0-9][a-z0-9-]*)\.svc(?=$|[^\w-])")


@rule(
    "project-name",
    Mode.NOTED,
    "A Service, a service account or a role binding's subject of a project that has another name now.",
    "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/",
)
def project_name(it: Editor, found: Object) -> None:
    """`web.old.svc`, `system:serviceaccounts:old`, `namespace: old` of subjects -> the target project."""
    projects = {old: new for old, new in it.context.projects.items() if old != new}
    if not projects or found.kind in ("Secret", "Template"):
        return
    for node, key in texts_of(found.root):
        changes = {}
        for pattern, group in ((_ACCOUNTS, 1), (_SERVICE_HOST, 2)):
            for each in pattern.finditer(node.value):
                if each[group] in projects:
                    start, end = each.start(group) - each.start(), each.end(group) - each.start()
                    changes[each[0]] = each[0][:start] + projects[each[group]] + each[0][end:]
        if changes:
            it.substitute(node, changes)
        elif key == "namespace" and node.value in projects and node is not found.meta.get("namespace"):
            it.change(node, projects[node.value])


@rule(
    "project-parameter",
    Mode.NOTED,
    "A parameter for a project has the source project as its value, and would lead back there.",
    "https://docs.openshift.com/container-platform/4.15/openshift_images/using-templates.html",
    ["Template"],
)
def project_parameter(it: Editor, found: Object) -> None:
    """The value of a parameter with NAMESPACE or PROJECT in its name -> the target project."""
    for parameter in found.root.maps("parameters"):
        value, name = parameter.scalar("value"), parameter.text("name").upper()
        if value is not None and ("NAMESPACE" in name or "PROJECT" in name):
            it.change(value, it.context.target_project(value.value))


RULES = (
    image_registry, secret_registry, old_pull_secret, moved_registry, ended_image, docker_hub,
    other_internal_registry, project_name, project_parameter,
)  # fmt: skip
