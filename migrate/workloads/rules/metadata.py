"""What a server wrote into objects: it is of the old cluster, and is in the way on the new one."""

import re

from migrate.workloads.documents import Document, Form, Object, is_list
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.nodes import Map, Node, Scalar, Seq, text_of, walk
from migrate.workloads.pods import TEMPLATES, pod_spec

_LINK = "https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/"
_SERVER_MADE = (
    "uid", "resourceVersion", "selfLink", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generation", "managedFields", "clusterName", "ownerReferences", "initializers",
)  # fmt: skip
_ANNOTATIONS = re.compile(
    r"kubectl\.kubernetes\.io/last-applied-configuration|openshift\.io/generated-by|deployment\.kubernetes\.io/.*"
    r"|control-plane\.alpha\.kubernetes\.io/leader|openshift\.io/scc|openshift\.io/image\.dockerRepositoryCheck"
    r"|openshift\.io/build\..*|k8s\.v1\.cni\.cncf\.io/.*|kubernetes\.io/limit-ranger|kubernetes\.io/created-by"
    r"|openshift\.io/deployment.*|openshift\.io/encoded-deployment-config|openshift\.io/sa\.scc\..*"
    r"|openshift\.io/container\..*\.image\.entrypoint"
)
_LABELS = re.compile(r"pod-template-hash|controller-uid|template-instance-owner|openshift\.io/deployer-pod-for\.name")
_JOB_LABELS = re.compile(r"(batch\.kubernetes\.io/)?(controller-uid|job-name)")
_FINALIZERS = re.compile(r"foregroundDeletion|orphan|kubernetes\.io/.*")
_OWN_GROUPS = re.compile(r"|[a-z]*|[a-z.]+\.(k8s|openshift)\.io")
"""Groups of Kubernetes and OpenShift themselves: their `status` is the server's."""


@rule(
    "list-metadata",
    Mode.DONE,
    "The resourceVersion and selfLink of a List are of the moment when it was read.",
    _LINK,
    on_documents=True,
)
def list_metadata(it: Editor, document: Document) -> None:
    """Taken out of Lists: at the top, and in their metadata."""
    if document.form not in (Form.YAML, Form.JSON):
        return
    for root in document.roots:
        for node in walk(root, lambda node: not isinstance(node, Scalar)):
            if isinstance(node, Map) and node.text("kind") == "List" and is_list(node):
                for where in (node, node.map("metadata")):
                    for name in ("resourceVersion", "selfLink"):
                        it.remove(where, name)


@rule(
    "server-metadata",
    Mode.DONE,
    "Written by the server of the old cluster, which the new one writes by itself.",
    _LINK,
)
def server_metadata(it: Editor, found: Object) -> None:
    """uid, resourceVersion and the like, in the object and in the templates inside it; and `status`."""
    for meta in _metas(found):
        for name in _SERVER_MADE:
            it.remove(meta, name)
        if meta.has("name"):
            it.remove(meta, "generateName")
        _remove_matching(it, meta, "annotations", _ANNOTATIONS)
        _remove_matching(it, meta, "labels", _LABELS)
        for item in meta.nodes_of("finalizers"):
            if _FINALIZERS.fullmatch(text_of(item)):
                _remove_item(it, meta, "finalizers", item)
    if found.root.index("status") >= 0:
        if _OWN_GROUPS.fullmatch(found.group):
            it.remove(found.root, "status")
        else:
            it.say(found.root.get("status") or found.root, "kept: the kind is not known here", mode=Mode.NOTED)


def _metas(found: Object) -> list[Map]:
    """The metadata of an object and of every template inside it; those of a Template's objects are their own."""
    if found.kind == "Template":
        return [found.meta]
    return [found.meta, *_inner_metas(found.spec), *_inner_metas(found.root.map("template"), is_template=True)]


def _inner_metas(node: Node | None, *, is_template: bool = False) -> list[Map]:
    """`metadata` of pod, job and claim templates below a spec."""
    if not isinstance(node, Map):
        return []
    inside = [node.map("metadata")] if is_template else []
    for name in ("template", "jobTemplate"):
        inside += _inner_metas(node.get(name), is_template=True)
    for claim in node.maps("volumeClaimTemplates"):
        inside.append(claim.map("metadata"))
    return inside + (_inner_metas(node.get("spec")) if node.has("spec") else [])


def _remove_matching(it: Editor, meta: Map, name: str, pattern: re.Pattern[str]) -> None:
    """Keys of a mapping; the mapping too, where nothing is left in it."""
    where = meta.map(name)
    names = [key for key, _ in where.items() if pattern.fullmatch(key)]
    for key in names:
        it.remove(where, key)
    if names and not len(where):
        meta.drop(name)


def _remove_item(it: Editor, where: Map, name: str, item: Node) -> None:
    seq = where.get(name)
    if isinstance(seq, Seq):
        it.remove_item(seq, item)
        if not len(seq):
            where.drop(name)


@rule(
    "job-selector",
    Mode.DONE,
    "The selector and labels of an exported Job name the uid of the old one; with them it cannot be created.",
    "https://kubernetes.io/docs/concepts/workloads/controllers/job/#specifying-your-own-pod-selector",
    ["Job"],
)
def job_selector(it: Editor, found: Object) -> None:
    """`controller-uid` and `job-name`, where `manualSelector` does not say that they are the user's."""
    if found.spec.text("manualSelector") == "true":
        return
    selector = found.spec.map("selector")
    labels = selector.map("matchLabels")
    if labels.has("controller-uid") or labels.has("batch.kubernetes.io/controller-uid"):
        it.remove(found.spec, "selector")
    for meta in (found.meta, found.spec.map("template", "metadata")):
        _remove_matching(it, meta, "labels", _JOB_LABELS)


@rule(
    "namespace",
    Mode.DONE,
    "Objects of the source project belong to the target project.",
    "https://docs.csc.fi/cloud/rahti/rahti-migration/",
)
def namespace(it: Editor, found: Object) -> None:
    """`metadata.namespace` -> the target project."""
    node = found.meta.scalar("namespace")
    if node is None or node.is_null or "${" in node.value or "{{" in node.value:
        return
    target = it.context.target_project(node.value)
    it.change(node, target)
    if target != it.context.project:
        words = f"another project than {it.context.project}; if it is to go there, give --project-map {node.value}="
        words = f"{words}{it.context.project} (`projects:` in the manifest)"
        it.say(node, words, mode=Mode.WARNED)


@rule(
    "ephemeral-containers",
    Mode.DONE,
    "Containers that somebody added to a running Pod to look into it; no object can be made with them.",
    "https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/",
    TEMPLATES,
)
def ephemeral_containers(it: Editor, found: Object) -> None:
    """`ephemeralContainers` of a pod's spec."""
    it.remove(pod_spec(found), "ephemeralContainers")


RULES = (list_metadata, server_metadata, job_selector, namespace, ephemeral_containers)
