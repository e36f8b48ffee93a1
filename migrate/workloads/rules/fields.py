"""Fields that no Kubernetes knows, and values that it cannot take: 3.11 overlooked much, today's API refuses it."""

import re
from collections.abc import Iterator
from typing import Any

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import is_variable
from migrate.workloads.nodes import Map, Node, Scalar, Seq, followed, text_of
from migrate.workloads.pods import TEMPLATES, pod_template
from migrate.workloads.schema import FieldType, Takes, fields_of, metadata_model, model_of, pod_template_model

_LINK = "https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation"
_MEANT = {"livelinessProbe": "livenessProbe", "capabilities": "securityContext.capabilities"}
_NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?|0o?[0-7]+|0x[0-9a-fA-F]+")
_FLAG = re.compile(r"true|false|yes|no|on|off|y|n", re.IGNORECASE)
_DEFAULTED = frozenset(("podSelector", "apiGroup"))
"""Demanded by the description, but not by the API."""
_SURE_FLAG = re.compile(r"true|True|TRUE|false|False|FALSE")
_WHOLE_PARAMETER = re.compile(r"\$\{\{\w+\}\}")


def _known(found: Object) -> Iterator[tuple[Map, Any]]:
    """(mapping, model) of what an object has that Kubernetes defines."""
    model = model_of(found.api_version, found.kind)
    if model is not None:
        yield found.root, model
        return
    if "openshift.io" in found.group:
        yield found.meta, metadata_model()
    if found.kind in TEMPLATES:
        yield pod_template(found), pod_template_model()


@rule(
    "unknown-field",
    Mode.WARNED,
    "OpenShift 3.11 overlooked fields that it did not know; since Kubernetes 1.27 `oc apply` refuses the whole object.",
    _LINK,
)
def unknown_field(it: Editor, found: Object) -> None:
    """Told, never taken out: it may be a slip of the pen in something that matters."""
    for where, model in _known(found):
        for key in _unknown(where, model):
            name = text_of(key)
            meant = f"{_MEANT[name]} is meant" if name in _MEANT else "take it out, or put it where it belongs"
            it.say(key, meant, before=name)


def _unknown(where: Map, model: Any) -> Iterator[Node]:
    for below, inner in _below(where, model):
        known = fields_of(inner)
        for key in below.keys:
            name = text_of(key)
            if name not in known and name != "<<" and not is_variable(name):
                yield key


def _below(where: Map, model: Any) -> Iterator[tuple[Map, Any]]:
    """Every mapping with fields of its own, itself first, and its model."""
    yield where, model
    for _, value, field in _entries(where, model):
        for each, kind in _values(value, field):
            if isinstance(each, Map) and kind.model is not None:
                yield from _below(each, kind.model)


def _entries(where: Map, model: Any) -> Iterator[tuple[str, Node, FieldType]]:
    known = fields_of(model)
    return ((name, value, known[name]) for name, value in where.items() if name in known)


def _values(value: Node, field: FieldType) -> Iterator[tuple[Node, FieldType]]:
    """A value, and those in it where it is a list, or a mapping with names of the user's."""
    yield value, field
    if field.of is None:
        return
    inside = value.nodes if isinstance(value, Seq) else value.values if isinstance(value, Map) else []
    for each in inside:
        yield from _values(followed(each), field.of)


@rule(
    "wrong-type",
    Mode.BLOCKED,
    "A number in quotes is a text, and a bare number is none: the API takes neither for the other.",
    "https://kubernetes.io/docs/concepts/configuration/overview/",
)
def wrong_type(it: Editor, found: Object) -> None:
    """`replicas: "2"`, `value: 5`, `tags: web`; in Templates `${X}` where only `${{X}}` can give a number."""
    for where, model in _known(found):
        for below, inner in _below(where, model):
            for _, value, field in _entries(below, inner):
                for each, kind in _values(value, field):
                    _tell_wrong(it, each, kind)


def _tell_wrong(it: Editor, node: Node, field: FieldType) -> None:
    if fits(node, field):
        return
    if isinstance(node, Scalar) and is_variable(node.value):
        words = f"{field.takes} must stand here, and ${{X}} gives a text: ${{{{X}}}} gives a number or true or false"
        it.say(node, words, mode=Mode.WARNED)
    else:
        it.say(node, f"{field.takes} must stand here: correct it", before=None if isinstance(node, Scalar) else "")


def fits(node: Node, field: FieldType) -> bool:
    """Whether a value is of the sort that a field takes; null always is."""
    if isinstance(node, Map):
        return field.takes in (Takes.MAP, Takes.ANYTHING)
    if isinstance(node, Seq):
        return field.takes in (Takes.LIST, Takes.ANYTHING)
    assert isinstance(node, Scalar)
    if node.is_null or field.takes in (Takes.SCALAR, Takes.ANYTHING) or _WHOLE_PARAMETER.fullmatch(node.value):
        return True
    if field.takes is Takes.TEXT:
        return node.is_text or not (_NUMBER.fullmatch(node.value) or _SURE_FLAG.fullmatch(node.value))
    if field.takes is Takes.NUMBER:
        return not node.is_text and _NUMBER.fullmatch(node.value) is not None
    return field.takes is Takes.FLAG and not node.is_text and _FLAG.fullmatch(node.value) is not None


@rule(
    "missing-field",
    Mode.WARNED,
    "Kubernetes' description of the kind demands a field that is not there.",
    "https://kubernetes.io/docs/reference/kubernetes-api/",
)
def missing_field(it: Editor, found: Object) -> None:
    """Without which a thing is nothing: names of containers, ports, the containers."""
    for where, model in _known(found):
        for below, inner in _below(where, model):
            for name, field in fields_of(inner).items():
                if (
                    field.is_required
                    and name not in _DEFAULTED
                    and below.get(name) is None
                    and not _is_variable_below(below)
                ):
                    it.say(below, "write it", path=f"{it.path(below)}.{name}".removeprefix("."), before="")
    is_of_api = any(True for _ in _known(found))
    if not found.name and is_of_api and found.kind not in ("List", "Template"):
        it.say(found.root, "an object needs a name", path="metadata.name", before="")


def _is_variable_below(where: Map) -> bool:
    """Whether keys are only known when a template is processed."""
    return any(is_variable(text_of(key)) for key in where.keys)


RULES = (unknown_field, wrong_type, missing_field)
