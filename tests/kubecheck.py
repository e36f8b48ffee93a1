"""Whether the target would take an object: Kubernetes kinds by kubernetes-validate's schemas, OpenShift's by our own.

Written without the program's code: it is the witness of what comes out.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
from referencing import Registry, Resource

TARGET_VERSION = "1.35"
_SCHEMAS = files(kubernetes_validate) / "kubernetes-json-schema" / f"v{TARGET_VERSION}.0-local-strict"
_KUBERNETES = re.compile(r"v\w+|(apps|batch|extensions|autoscaling|policy|(?!.*config\.k8s\.io)[a-z.]+\.k8s\.io)/v\w+")
_TRIGGERS = "image.openshift.io/triggers"
_FIELD_PATH = re.compile(r'(containers|initContainers)\[(?:(\d+)|\?\(@\.name=="([^"]+)"\))\]\.image')
_SERVER_MADE = (
    "uid", "resourceVersion", "selfLink", "creationTimestamp", "generation", "managedFields", "ownerReferences",
)  # fmt: skip
_MISSING = object()

TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
COUNT = {"type": "integer"}
ANY: dict[str, Any] = {}


def shape(required: str = "", **properties: Any) -> dict[str, Any]:
    """A mapping with these keys and no others."""
    known = {name.rstrip("_"): value for name, value in properties.items()}
    return {"type": "object", "properties": known, "required": required.split(), "additionalProperties": False}


def many(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


NAMED = shape("name", name=TEXT)
ORIGIN = shape(
    "kind name", kind={"enum": ["ImageStreamTag", "ImageStreamImage", "ImageStream", "DockerImage"]}, name=TEXT,
    namespace=TEXT, apiVersion=TEXT,
)  # fmt: skip
OUTPUT = shape(
    "kind name", kind={"enum": ["ImageStreamTag", "DockerImage"]}, name=TEXT, namespace=TEXT, apiVersion=TEXT
)
HOOK = shape(failurePolicy={"enum": ["Abort", "Retry", "Ignore"]}, execNewPod=ANY, tagImages=ANY)
SHARE = {"type": ["integer", "string"]}
ROLLING = shape(
    updatePeriodSeconds=COUNT, intervalSeconds=COUNT, timeoutSeconds=COUNT, maxUnavailable=SHARE, maxSurge=SHARE,
    pre=HOOK, post=HOOK,
)  # fmt: skip
DEPLOYMENT_CONFIG = shape(
    "template",
    strategy=shape(
        type={"enum": ["Rolling", "Recreate", "Custom"]}, rollingParams=ROLLING, resources=ANY, labels=ANY,
        recreateParams=shape(timeoutSeconds=COUNT, pre=HOOK, mid=HOOK, post=HOOK), customParams=ANY,
        annotations=ANY, activeDeadlineSeconds=COUNT,
    ),
    minReadySeconds=COUNT, replicas=COUNT, revisionHistoryLimit=COUNT, test=FLAG, paused=FLAG, template=ANY,
    selector={"type": ["object", "null"], "additionalProperties": TEXT},
    triggers={"type": ["array", "null"], "items": shape("type", type=TEXT, imageChangeParams=shape(
        automatic=FLAG, containerNames=many(TEXT), from_=ORIGIN, lastTriggeredImage=TEXT))},
)  # fmt: skip
STRATEGY = shape(type=TEXT, sourceStrategy=ANY, dockerStrategy=ANY, customStrategy=ANY, jenkinsPipelineStrategy=ANY)
BUILD_CONFIG = shape(
    "strategy",
    triggers={"type": ["array", "null"]}, runPolicy=TEXT, serviceAccount=TEXT, source=ANY, revision=ANY,
    strategy=STRATEGY, output=shape(to=OUTPUT, pushSecret=NAMED, imageLabels=ANY), resources=ANY, postCommit=ANY,
    completionDeadlineSeconds=COUNT, nodeSelector={"type": "object"}, mountTrustedCA=FLAG,
    successfulBuildsHistoryLimit=COUNT, failedBuildsHistoryLimit=COUNT,
)  # fmt: skip
IMAGE_STREAM = shape(
    dockerImageRepository=TEXT, lookupPolicy=shape(local=FLAG),
    tags=many(shape("name", name=TEXT, annotations={"type": ["object", "null"]}, from_=ORIGIN, reference=FLAG,
                    importPolicy=shape(insecure=FLAG, scheduled=FLAG, importMode=TEXT),
                    referencePolicy=shape(type={"enum": ["Source", "Local"]}))),
)  # fmt: skip
BACKEND = shape("name", kind=TEXT, name=TEXT, weight={"type": ["integer", "null"]})
ROUTE = shape(
    "to",
    host=TEXT, subdomain=TEXT, path=TEXT, to=BACKEND, alternateBackends=many(BACKEND), port=shape(targetPort=SHARE),
    tls=ANY, wildcardPolicy={"enum": ["None", "Subdomain", ""]}, httpHeaders=ANY,
)  # fmt: skip
OPENSHIFT = {
    "apps.openshift.io/v1/DeploymentConfig": DEPLOYMENT_CONFIG,
    "build.openshift.io/v1/BuildConfig": BUILD_CONFIG,
    "image.openshift.io/v1/ImageStream": IMAGE_STREAM,
    "route.openshift.io/v1/Route": ROUTE,
}


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is wrong with an object; empty where the target takes it."""
    found = _with_texts(found)
    if not isinstance(found.get("metadata") or {}, Mapping):
        return ["metadata is no mapping"]
    version, kind = found.get("apiVersion"), found.get("kind")
    if "config.k8s.io" in str(version):
        return []  # a file for kustomize
    told = list(_metadata(found))
    if _KUBERNETES.fullmatch(str(version)):
        told += _by_schema(found, _schema_of(str(kind), str(version)))
        told += _workload(found)
    elif (spec := OPENSHIFT.get(f"{version}/{kind}")) is not None:
        told += _by_schema(found.get("spec") or {}, spec)
        if kind == "DeploymentConfig":
            told += _by_schema((found.get("spec") or {}).get("template") or {}, "podtemplatespec-v1.json")
    return [*told, *_triggers(found)]


def _with_texts(value: Any) -> Any:
    """PyYAML makes dates of some texts; JSON has none."""
    if isinstance(value, Mapping):
        return {str(key): _with_texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_texts(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def _schema_of(kind: str, version: str) -> str:
    group, slash, number = version.rpartition("/")
    return f"{kind}-{group.partition('.')[0]}{'-' if slash else ''}{number}.json".lower()


@cache
def _validator(name: str) -> Any:
    path = _SCHEMAS / name
    if not path.is_file():
        return None
    schema = json.loads(path.read_text())
    definitions = json.loads((_SCHEMAS / "_definitions.json").read_text())
    registry: Registry[Any] = Resource.from_contents(schema) @ Registry()
    registry = Resource.from_contents(definitions) @ registry
    return jsonschema.Draft202012Validator(schema, registry=registry)


def _by_schema(found: Mapping[str, Any], schema: str | dict[str, Any]) -> Iterator[str]:
    validator = _validator(schema) if isinstance(schema, str) else jsonschema.Draft202012Validator(schema)
    if validator is None:
        yield f"the target has no {found.get('kind')} of {found.get('apiVersion')}"
        return
    for error in validator.iter_errors(found):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"


def _metadata(found: Mapping[str, Any]) -> Iterator[str]:
    meta = found.get("metadata") or {}
    if not meta.get("name") and not meta.get("generateName"):
        yield "metadata.name is missing"
    yield from (f"metadata.{name} is the server's" for name in _SERVER_MADE if name in meta)
    known = _KUBERNETES.fullmatch(str(found.get("apiVersion"))) or "openshift.io" in str(found.get("apiVersion"))
    if found.get("status") is not None and known:
        yield "status is the server's"


def _pod_template(found: Mapping[str, Any]) -> dict[str, Any]:
    spec = found.get("spec") or {}
    if found.get("kind") == "CronJob":
        spec = ((spec.get("jobTemplate") or {}).get("spec")) or {}
    return spec.get("template") or {}


def _workload(found: Mapping[str, Any]) -> Iterator[str]:
    """What the API server checks beyond the schema."""
    if found.get("kind") not in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        return
    spec, template = found.get("spec") or {}, _pod_template(found)
    labels = (template.get("metadata") or {}).get("labels") or {}
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    if not wanted and not (spec.get("selector") or {}).get("matchExpressions"):
        yield "spec.selector is empty"
    for name, value in wanted.items():
        if labels.get(name, _MISSING) != value:
            yield f"spec.selector: the pods do not have {name}={value}"
    yield from _containers(template.get("spec") or {}, _filled_in(found))
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    if strategy.get("type") == "Recreate" and rolling:
        yield "spec.strategy: Recreate has no rollingUpdate"
    if [str(rolling.get(name)) in ("0", "0%") for name in ("maxSurge", "maxUnavailable")] == [True, True]:
        yield "spec.strategy: both shares are 0"
    deadline = spec.get("progressDeadlineSeconds", 600)
    if isinstance(deadline, int) and deadline <= spec.get("minReadySeconds", 0):
        yield "spec.progressDeadlineSeconds is not above minReadySeconds"


def _filled_in(found: Mapping[str, Any]) -> set[str]:
    """The containers whose image an image stream's trigger fills in: a blank will do until then."""
    text = ((found.get("metadata") or {}).get("annotations") or {}).get(_TRIGGERS) or "[]"
    pod = _pod_template(found).get("spec") or {}
    try:
        entries = json.loads(text)
    except ValueError:
        return set()
    ways = [_FIELD_PATH.search(entry.get("fieldPath", "")) for entry in entries if not entry.get("paused")]
    return {way[3] or pod[way[1]][int(way[2])]["name"] for way in ways if way}


def _containers(pod: Mapping[str, Any], filled_in: set[str]) -> Iterator[str]:
    if pod.get("restartPolicy", "Always") != "Always":
        yield "restartPolicy is not Always"
    names = [each.get("name") for key in ("initContainers", "containers") for each in pod.get(key) or ()]
    if len(names) != len(set(names)):
        yield "two containers of one name"
    for key in ("initContainers", "containers"):
        for each in pod.get(key) or ():
            image = str(each.get("image") or "")
            is_fit = image == image.strip() or (not image.strip() and each.get("name") in filled_in)
            if not image or not is_fit:
                yield f"container {each.get('name')}: image {image!r}"


def _triggers(found: Mapping[str, Any]) -> Iterator[str]:
    text = ((found.get("metadata") or {}).get("annotations") or {}).get(_TRIGGERS)
    if text is None:
        return
    prefix = "spec.jobTemplate.spec.template.spec." if found.get("kind") == "CronJob" else "spec.template.spec."
    pod = _pod_template(found).get("spec") or {}
    seen = set()
    try:
        entries = json.loads(text)
    except ValueError:
        yield "triggers: no JSON"
        return
    for entry in entries:
        path = entry.get("fieldPath", "")
        way = _FIELD_PATH.fullmatch(path.removeprefix(prefix)) if path.startswith(prefix) else None
        if way is None or path in seen:
            yield f"triggers: fieldPath {path}"
            continue
        seen.add(path)
        names = [each.get("name") for key in ("initContainers", "containers") for each in pod.get(key) or ()]
        if way[3] and way[3] not in names:
            yield f"triggers: there is no container {way[3]}"
        origin = entry.get("from") or {}
        if set(entry) - {"from", "fieldPath", "paused"} or not isinstance(entry.get("paused", True), bool):
            yield f"triggers: {entry}"
        if origin.get("kind") != "ImageStreamTag" or ":" not in origin.get("name", ""):
            yield f"triggers: from {origin}"


# --- what a file's objects are once templates are processed -------------------------------------------------------


def objects_of(document: Any) -> Iterator[dict[str, Any]]:
    """The objects in a parsed document; those of Templates as `oc process` makes them, with the defaults."""
    if isinstance(document, list):
        for item in document:
            yield from objects_of(item)
    elif isinstance(document, dict) and document.get("kind"):
        if document["kind"] == "List":
            yield from objects_of(document.get("items") or [])
        elif document["kind"] == "Template":
            yield from process(document)
        else:
            yield document


def process(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects of a Template with its parameters' defaults; parameters without one are 1 (a name, a number)."""
    values = values_of(template)
    for each in template.get("objects") or ():
        for found in objects_of(filled(each, values)):
            meta = found["metadata"] = found.get("metadata") or {}
            if template.get("labels"):
                meta["labels"] = {**(meta.get("labels") or {}), **filled(template["labels"], values)}
            yield found


def values_of(template: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a Template and their values."""
    return {str(each["name"]): _value(each) for each in template.get("parameters") or ()}


def _value(parameter: Mapping[str, Any]) -> str:
    return str(parameter["value"]) if parameter.get("value") is not None else "1"


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """The same with values for parameters."""
    if isinstance(value, dict):
        return {filled(key, values): filled(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, values) for each in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\$\{\{(\w+)\}\}", value)
    if whole and whole[1] in values:
        try:
            return json.loads(values[whole[1]])
        except ValueError:
            return values[whole[1]]
    return re.sub(r"\$\{(\w+)\}", lambda name: values.get(name[1], name[0]), value)
