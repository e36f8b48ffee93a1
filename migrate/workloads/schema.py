"""Which fields Kubernetes' kinds have, and what may stand in them, by lightkube's models (of Kubernetes' OpenAPI)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Any


class Takes(StrEnum):
    """What a field takes, in words."""

    TEXT = "a text"
    NUMBER = "a number"
    FLAG = "true or false"
    SCALAR = "a number or a text"
    MAP = "a mapping"
    LIST = "a list"
    ANYTHING = "anything"


@dataclass(frozen=True)
class FieldType:
    """What a field takes; of a mapping its fields (`model`) or what each value is (`of`), of a list each item."""

    takes: Takes
    is_required: bool = False
    of: "FieldType | None" = None
    model: Any = None


_PLAIN = {
    "str": Takes.TEXT,
    "int": Takes.NUMBER,
    "float": Takes.NUMBER,
    "bool": Takes.FLAG,
    "util_intstr.IntOrString": Takes.SCALAR,
    "resource.Quantity": Takes.SCALAR,
    "Dict": Takes.MAP,
    "meta_v1.Time": Takes.TEXT,
    "meta_v1.MicroTime": Takes.TEXT,
}
_OF_TEXTS = frozenset(
    ("labels", "annotations", "nodeSelector", "matchLabels", "selector", "data", "stringData", "binaryData")
)
"""Mappings whose values are texts; lightkube says only that they are mappings."""
_WRAPPED = re.compile(r"(Optional|List|Dict)\[(?:str, )?(.*)\]")


def model_of(api_version: str, kind: str) -> Any:
    """The model of a kind; None where Kubernetes does not serve it (any more)."""
    group, _, version = api_version.rpartition("/")
    try:
        module = import_module(f"lightkube.models.{group.partition('.')[0] or 'core'}_{version}")
    except ImportError:
        return None
    known = "." not in group or group.endswith(".k8s.io")
    model = getattr(module, kind, None) if known and kind.isalpha() else None
    return model if "apiVersion" in getattr(model, "__annotations__", {}) else None


def pod_template_model() -> Any:
    """The model of a pod template, for kinds of OpenShift that have one."""
    return import_module("lightkube.models.core_v1").PodTemplateSpec


def metadata_model() -> Any:
    """The model of `metadata`."""
    return import_module("lightkube.models.meta_v1").ObjectMeta


@cache
def fields_of(model: Any) -> Mapping[str, FieldType]:
    """A model's fields by the names they have in YAML."""
    names = dict(zip(model.__struct_fields__, model.__struct_encode_fields__, strict=True))
    found = {names[name]: _field_type(text, model.__module__) for name, text in model.__annotations__.items()}
    return {name: _of_texts(field) if name in _OF_TEXTS else field for name, field in found.items()}


def _of_texts(field: FieldType) -> FieldType:
    is_plain = field.takes is Takes.MAP and field.model is None and field.of is None
    return replace(field, of=FieldType(Takes.TEXT)) if is_plain else field


def _field_type(text: str, module: str) -> FieldType:
    found = _WRAPPED.fullmatch(text)
    if found and found[1] == "Optional":
        inner = _field_type(found[2], module)
        return FieldType(inner.takes, False, inner.of, inner.model)
    if found:
        return FieldType(Takes.LIST if found[1] == "List" else Takes.MAP, True, _field_type(found[2], module))
    if text in _PLAIN:
        return FieldType(_PLAIN[text], True)
    model: Any = import_module(module)
    for step in text.split("."):
        model = getattr(model, step, None)
    if model in (str, int, bool, dict):
        return FieldType({str: Takes.TEXT, int: Takes.NUMBER, bool: Takes.FLAG, dict: Takes.MAP}[model], True)
    is_struct = hasattr(model, "__struct_fields__")
    return FieldType(Takes.MAP, True, None, model) if is_struct else FieldType(Takes.ANYTHING, True)
