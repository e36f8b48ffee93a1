"""Claims of storage, who mounts them, and what their data needs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from migrate.quantities import kubernetes_quantity
from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, World, name_of, rule, same_project
from migrate.workloads.findings import Mode
from migrate.workloads.moved import is_variable
from migrate.workloads.nodes import Map, Node, Scalar, Seq, text_of
from migrate.workloads.pods import TEMPLATES, containers, pod_spec
from migrate.workloads.rules.template_parameters import change_default, with_defaults

_LINK = "https://docs.csc.fi/cloud/rahti/storage/persistent/"
_MIGRATION = "https://docs.csc.fi/cloud/rahti/rahti-migration/"
_MADE = re.compile(
    r"pv\.kubernetes\.io/.*|pv\.beta\.kubernetes\.io/gid"
    r"|volume(\.beta|\.alpha)?\.kubernetes\.io/(storage-provisioner|selected-node|storage-resizer|storage-class)"
)
_CLASS_ANNOTATIONS = ("volume.beta.kubernetes.io/storage-class", "volume.alpha.kubernetes.io/storage-class")
_GROWS_BY = 8 * 2**30
_OTHERS = (
    "hostPath", "nfs", "glusterfs", "iscsi", "cephfs", "rbd", "gitRepo", "flexVolume", "flocker", "fc", "cinder",
    "awsElasticBlockStore", "gcePersistentDisk", "azureDisk", "azureFile", "vsphereVolume", "quobyte", "scaleIO",
    "portworxVolume", "photonPersistentDisk", "storageos",
)  # fmt: skip
"""Volumes that restricted-v2 does not list."""
_ROLLING = ("Deployment", "DeploymentConfig")
_DATABASES = (
    ("postgres", "PostgreSQL", "pg_dump"), ("postgis", "PostgreSQL", "pg_dump"), ("mariadb", "MariaDB", "mysqldump"),
    ("mysql", "MySQL", "mysqldump"), ("mongo", "MongoDB", "mongodump"), ("redis", "Redis", ""),
    ("elasticsearch", "Elasticsearch", ""), ("opensearch", "OpenSearch", ""), ("influxdb", "InfluxDB", "influx backup"),
    ("cassandra", "Cassandra", ""), ("couchdb", "CouchDB", ""), ("neo4j", "Neo4j", "neo4j-admin dump"),
    ("etcd", "etcd", "etcdctl snapshot save"), ("clickhouse", "ClickHouse", ""),
    ("timescale", "PostgreSQL", "pg_dump"), ("mssql", "SQL Server", ""), ("solr", "Solr", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A claim in a file: of its own, or a template of one.

    Attributes:
        name: of the claim; of the template, where a workload makes several.
        top: the mapping with `metadata` and `spec`.
    """

    name: str
    top: Map

    @property
    def meta(self) -> Map:
        """Its metadata."""
        return self.top.map("metadata")

    @property
    def spec(self) -> Map:
        """Its spec."""
        return self.top.map("spec")


def claims_in(found: Object) -> Iterator[Claim]:
    """The claim that an object is, or the templates of claims in it."""
    if found.kind == "PersistentVolumeClaim":
        yield Claim(found.name, found.root)
    for each in found.spec.maps("volumeClaimTemplates"):
        yield Claim(each.map("metadata").text("name"), each)
    for volume in pod_spec(found).maps("volumes"):
        if isinstance(volume.map("ephemeral").get("volumeClaimTemplate"), Map):
            yield Claim(name_of(volume), volume.map("ephemeral", "volumeClaimTemplate"))


_WITH_CLAIMS = ("PersistentVolumeClaim", *TEMPLATES)


# --- claims -----------------------------------------------------------------------------------------------------


@rule(
    "claim-class",
    Mode.NOTED,
    "The storage classes of the old cluster are not there; the annotation of older versions wins over the field.",
    _LINK,
    _WITH_CLAIMS,
)
def claim_class(it: Editor, found: Object) -> None:
    """`storageClassName` and its annotations -> the target's class; none where none was said."""
    for claim in claims_in(found):
        annotations = claim.meta.map("annotations")
        noted = next((annotations.get(name) for name in _CLASS_ANNOTATIONS if annotations.text(name)), None)
        node = claim.spec.get("storageClassName")
        if noted is None and not isinstance(node, Scalar):
            continue
        _change_class(it, found, claim, noted, node)


def _change_class(it: Editor, found: Object, claim: Claim, noted: Node | None, node: Node | None) -> None:
    wanted = it.context.platform.storage_class
    decides = noted if noted is not None else node
    assert decides is not None
    old = text_of(decides)
    _old_classes(it.world)[id(claim.top)] = with_defaults(found, old)
    if isinstance(decides, Scalar) and not decides.is_null and not decides.value.strip():
        words = "an empty class means that somebody makes the volume by hand, which users of the target cannot: take"
        it.say(decides, f"{words} storageClassName out for the usual one", mode=Mode.WARNED)
    elif is_variable(old) and noted is None:
        change_default(it, found, old, lambda value: wanted if value not in ("", "null", wanted) else value)
    elif old and old != wanted:
        it.put(claim.spec, "storageClassName", wanted, after="accessModes", words=f"it was {old}" if noted else "")


@rule(
    "claim-made",
    Mode.DONE,
    "Which volume a claim got, and how, is the old cluster's; with it the new one cannot make another.",
    _LINK,
    _WITH_CLAIMS,
)
def claim_made(it: Editor, found: Object) -> None:
    """`volumeName`, `selector`, `dataSource: null`, `status`, and the annotations of provisioners."""
    for claim in claims_in(found):
        for name in ("volumeName", "selector"):
            it.remove(claim.spec, name)
        if claim.spec.index("dataSource") >= 0 and not claim.spec.has("dataSource"):
            it.remove(claim.spec, "dataSource")
        it.remove(claim.top, "status")
        annotations = claim.meta.map("annotations")
        names = [name for name, _ in annotations.items() if _MADE.fullmatch(name)]
        for name in names:
            it.remove(annotations, name)
        if names and not len(annotations):
            claim.meta.drop("annotations")


@rule(
    "claim-access",
    Mode.NOTED,
    "The target's volumes are mounted on one node at a time (ReadWriteOnce); there is no ReadWriteMany.",
    _LINK,
    _WITH_CLAIMS,
)
def claim_access(it: Editor, found: Object) -> None:
    """`ReadWriteMany` and `ReadOnlyMany` -> `ReadWriteOnce`."""
    for claim in claims_in(found):
        modes = claim.spec.get("accessModes")
        if isinstance(modes, Seq):
            _one_node(it, found, modes)


def _one_node(it: Editor, found: Object, modes: Seq) -> None:
    known = {text_of(each) for each in modes.nodes}
    has_once = bool(known & {"ReadWriteOnce", "ReadWriteOncePod"})
    for each in list(modes.nodes):
        if not isinstance(each, Scalar):
            continue
        if is_variable(each.value):
            change_default(it, found, each.value, lambda value: "ReadWriteOnce" if value.endswith("Many") else value)
        elif each.value in ("ReadWriteMany", "ReadOnlyMany"):
            mode = Mode.WARNED if each.value == "ReadOnlyMany" else None
            words = "its data came from elsewhere: who writes it now?" if mode else ""
            if has_once:
                it.remove_item(modes, each, words=words, mode=mode)
            else:
                it.change(each, "ReadWriteOnce", words=words, mode=mode)
                has_once = True


@rule(
    "claim-size",
    Mode.NOTED,
    "The target limits the size of a claim, and its volumes grow in steps of 8Gi.",
    "https://docs.csc.fi/cloud/rahti/configurations/resource-quota/",
    _WITH_CLAIMS,
)
def claim_size(it: Editor, found: Object) -> None:
    """Told; a size beyond the limit blocks."""
    limit = it.context.platform.limits.claim_size
    for claim in claims_in(found):
        node = claim.spec.map("resources", "requests").get("storage")
        size = _bytes(with_defaults(found, text_of(node))) if node is not None else None
        if node is None or size is None:
            continue
        if limit is not None and size > limit:
            words = f"more than {limit // 2**30}Gi, which a claim may have: make it smaller, or ask for more"
            it.say(node, words, mode=Mode.BLOCKED)
        elif size % _GROWS_BY:
            it.say(node, "no multiple of 8Gi: to grow it later, ask for one")


def _bytes(text: str) -> int | None:
    try:
        return kubernetes_quantity(text)
    except ValueError:
        return None


# --- who mounts them --------------------------------------------------------------------------------------------


def mounted(found: Object) -> dict[str, Map]:
    """Claims that an object's pods mount by name -> the volume."""
    volumes = pod_spec(found).maps("volumes")
    named = {each.map("persistentVolumeClaim").text("claimName"): each for each in volumes}
    return {name: each for name, each in named.items() if name}


def _made_by(found: Object, claim: str) -> str:
    """The template that a StatefulSet made a claim of (`<template>-<name>-<number>`); empty where it did not."""
    for each in found.spec.maps("volumeClaimTemplates"):
        template = each.map("metadata").text("name")
        if template and re.fullmatch(rf"{re.escape(f'{template}-{found.name}')}-\d+", claim):
            return template
    return ""


def _mounting(world: World, name: str, found: Object) -> list[Object]:
    """The workloads that mount a claim; where its name has parameters, of the same Template."""
    by_name: dict[str, list[Object]] = world.memory.get("mounts")  # type: ignore[assignment]
    if by_name is None:
        by_name = {}
        for each in world.of_kind(*TEMPLATES):
            for claim in mounted(each):
                by_name.setdefault(claim, []).append(each)
        world.memory["mounts"] = by_name
    known = [each for each in by_name.get(name, ()) if not each.is_left_out]
    known += [each for each in world.of_kind("StatefulSet") if _made_by(each, name) and each not in known]
    if is_variable(name):
        return [each for each in known if each.template is found.template]
    return [each for each in known if same_project(each.namespace, found.namespace)]


@rule(
    "claim-recreate",
    Mode.NOTED,
    "A rolling update starts the new pod while the old one holds the volume: on another node it waits forever.",
    _MIGRATION,
    _ROLLING,
)
def claim_recreate(it: Editor, found: Object) -> None:
    """A workload that mounts a claim -> `Recreate`."""
    strategy = found.spec.map("strategy")
    kind = strategy.text("type")
    if not mounted(found) or kind == "Recreate" or is_variable(kind) or kind == "Custom":
        return
    if found.kind == "Deployment":
        strategy = it.ensure(found.spec, "strategy", after="selector")
        it.remove(strategy, "rollingUpdate")
        it.put(strategy, "type", "Recreate")
    elif found.group == "apps.openshift.io":
        _recreate_config(it, found)


def _recreate_config(it: Editor, found: Object) -> None:
    strategy = it.ensure(found.spec, "strategy", after="selector")
    params = strategy.get("rollingParams")
    if isinstance(params, Map) and any(len(params.map(when)) for when in ("pre", "post")):
        it.say(params, "it has hooks: make it Recreate with recreateParams by hand", mode=Mode.WARNED)
        return
    it.remove(strategy, "rollingParams")
    it.put(strategy, "type", "Recreate")


@rule(
    "claim-shared",
    Mode.WARNED,
    "A volume is on one node at a time: all pods that mount it must run there.",
    "https://docs.csc.fi/cloud/rahti/tutorials/",
    [kind for kind in TEMPLATES if kind not in ("PodTemplate", "ReplicaSet")],
)
def claim_shared(it: Editor, found: Object) -> None:
    """Several replicas, several workloads, a DaemonSet on one claim: told."""
    for name, volume in mounted(found).items():
        node = volume.map("persistentVolumeClaim").get("claimName") or volume
        if found.kind == "DaemonSet":
            it.say(node, "a DaemonSet runs on every node: give it no claim", mode=Mode.BLOCKED)
            continue
        others = [each for each in _mounting(it.world, name, found) if each is not found]
        if others:
            listed = ", ".join(sorted({each.label for each in others}))
            words = f"{listed} mounts it too: keep them on one node (podAffinity on kubernetes.io/hostname), or share"
            it.say(node, f"{words} data another way (Allas, WebDAV)")
        elif _replicas(it, found) > 1:
            words = f"{_replicas(it, found)} pods mount it: run one, or keep them on one node (podAffinity on"
            it.say(node, f"{words} kubernetes.io/hostname)")


def _replicas(it: Editor, found: Object) -> int:
    """How many pods there may be, an autoscaler's most too."""
    given = with_defaults(found, found.spec.text("replicas"))
    most = int(given) if given.isdigit() and found.kind not in ("Pod", "Job") else 1
    for each in it.world.of_kind("HorizontalPodAutoscaler"):
        if each.spec.map("scaleTargetRef").text("name") == found.name and each.template is found.template:
            scaled = with_defaults(each, each.spec.text("maxReplicas"))
            most = max(most, int(scaled) if scaled.isdigit() else 1)
    return most


@rule(
    "claim-data",
    Mode.ASKED,
    "A claim arrives empty: its data is copied by you, while nothing writes it.",
    _MIGRATION,
    ["PersistentVolumeClaim"],
)
def claim_data(it: Editor, found: Object) -> None:
    """Who mounts it, its size and class, and the commands to copy it; options.dataCopied settles it."""
    users = _mounting(it.world, found.name, found)
    spec = found.spec
    modes = ", ".join(text_of(each) for each in spec.nodes_of("accessModes"))
    facts = f"{spec.map('resources', 'requests').text('storage') or 'no size'}, {modes or 'no access mode'}"
    old = _old_classes(it.world).get(id(found.root), "") or "(the usual one)"
    facts += f", class {old} -> {spec.text('storageClassName') or it.context.platform.storage_class}"
    who = ", ".join(sorted({each.label for each in users})) or "no workload here"
    words = f"{facts}; mounted by {who}"
    if it.context.options.data_copied:
        it.say(found.root, f"{words}; options.dataCopied says that its data is there", mode=Mode.NOTED,
               path="spec", before="")  # fmt: skip
        return
    words += "".join(f"; {each}" for each in _databases(users, found.name))
    it.say(found.root, "\n".join([words, *_commands(it, found, users)]), path="spec", before="")


def _old_classes(world: World) -> dict[int, str]:
    """The class that each claim had, by the identity of its mapping."""
    return world.memory.setdefault("classes of claims", {})  # type: ignore[return-value]


def _databases(users: list[Object], claim: str) -> Iterator[str]:
    for each in users:
        for container in containers(pod_spec(each)):
            image = container.text("image").rpartition("/")[2]
            for word, name, tool in _DATABASES:
                if word in image and _mount_path(each, claim, container):
                    how = f" ({tool})" if tool else ""
                    yield f"{each.label} is a database ({name}): dump it and load the dump{how}, files may not fit"
                    break


def _mount_path(found: Object, claim: str, container: Map | None = None) -> str:
    """Where a container (any) has a claim mounted."""
    volume = mounted(found).get(claim)
    name = name_of(volume) if volume is not None else _made_by(found, claim)
    for each in [container] if container is not None else containers(pod_spec(found)):
        for mount in each.maps("volumeMounts"):
            if name and mount.text("name") == name:
                return mount.text("mountPath")
    return ""


def _commands(it: Editor, found: Object, users: list[Object]) -> Iterator[str]:
    """How to bring the data over, for a human with both logins."""
    claim, project = with_defaults(found, found.name), it.context.project
    sources = sorted(it.context.own_sources - {project})
    old = sources[0] if len(sources) == 1 else found.namespace or "OLD-PROJECT"
    path = next((path for each in users if (path := _mount_path(each, found.name))), "/PATH")
    image, pod = "registry.access.redhat.com/ubi9/ubi", f"copy-{claim}"
    mount = '"volumeMounts":[{"name":"data","mountPath":"/data"}]'
    volume = f'"volumes":[{{"name":"data","persistentVolumeClaim":{{"claimName":"{claim}"}}}}]'
    container = f'"containers":[{{"name":"copy","image":"{image}","command":["sleep","86400"],{mount}}}]'
    yield f"old cluster: oc rsync -n {old} POD:{path.rstrip('/')}/ ./{claim}/   (POD mounts it, and writes no more)"
    yield f"new cluster: oc run {pod} -n {project} --image={image} --overrides='{{\"spec\":{{{container},{volume}}}}}'"
    yield f"             oc rsync -n {project} ./{claim}/ {pod}:/data/ && oc delete pod -n {project} {pod}"
    for each in users:
        if each.kind in ("Deployment", "DeploymentConfig", "StatefulSet", "ReplicationController"):
            count, name = with_defaults(each, each.spec.text("replicas")) or "1", with_defaults(each, each.name)
            yield (
                f"then: oc scale -n {project} {each.kind.lower()}/{name} --replicas={count}"
                "   (`finish` applies it with 0; options.dataCopied: true applies it as it is)"
            )


# --- other volumes ----------------------------------------------------------------------------------------------


@rule(
    "volume-type",
    Mode.WARNED,
    "The target's restricted-v2 allows no volumes of the node or of a storage of your own in pods.",
    "https://docs.csc.fi/cloud/rahti/security-guide/",
    TEMPLATES,
)
def volume_type(it: Editor, found: Object) -> None:
    """`hostPath`, `nfs`, `gitRepo` and the like; told."""
    for volume in pod_spec(found).maps("volumes"):
        for key in volume.keys:
            name = text_of(key)
            if name not in _OTHERS:
                continue
            words = "clone in an init container into an emptyDir" if name == "gitRepo" else "use a claim or a Secret"
            it.say(key, f"pods with it are refused: {words}", before=name)


@rule(
    "scratch-space",
    Mode.NOTED,
    "An emptyDir counts against the quota for ephemeral storage (Rahti 2: 5Gi for all projects of a CSC project).",
    "https://docs.csc.fi/cloud/rahti/configurations/resource-quota/",
    TEMPLATES,
)
def scratch_space(it: Editor, found: Object) -> None:
    """Told, for those without `sizeLimit`."""
    empty = [each for each in pod_spec(found).maps("volumes") if each.index("emptyDir") >= 0]
    for volume in [each for each in empty if not each.map("emptyDir").has("sizeLimit")][:1]:
        it.say(volume, "a sizeLimit keeps it small", before=f"emptyDir {name_of(volume)}")


RULES = (
    claim_class, claim_made, claim_access, claim_size, claim_recreate, claim_shared, claim_data,
    volume_type, scratch_space,
)  # fmt: skip
