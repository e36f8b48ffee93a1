"""A report as a JSON document, and the schema that it keeps (docs/report.schema.json)."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from inspect import cleandoc
from typing import Any

from migrate.report import model
from migrate.report.model import VERSION, Report

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def report_document(report: Report) -> dict[str, Any]:
    """The document; keys as JSON has them: `madeAt` for `made_at`."""
    return {"version": VERSION, "kind": "report", **_plain(report, {"version": "toolVersion"})}


def plain(value: Any) -> Any:
    """Any of the report's values as JSON has it."""
    return _plain(value, {})


def _plain(value: Any, names: Mapping[str, str]) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        keys = _keys(value.__class__)
        return {names.get(name, key): _plain(getattr(value, name), {}) for name, key in keys.items()}
    if isinstance(value, tuple):
        return [_plain(each, {}) for each in value]
    return value


@cache
def _keys(kind: type[Any]) -> dict[str, str]:
    """Fields of a dataclass, and what JSON calls them."""
    return {each.name: _key(each.name) for each in fields(kind)}


def _key(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document: every key is there, and no other."""
    from pydantic import TypeAdapter  # takes longer to load than most reports need

    schema = TypeAdapter(Report).json_schema(mode="serialization")
    shapes = {name: _explained(getattr(model, name), _renamed(shape)) for name, shape in schema["$defs"].items()}
    whole = _explained(Report, _renamed(schema))
    whole["properties"]["toolVersion"] = whole["properties"].pop("version")
    whole["properties"] = {"version": {"const": VERSION}, "kind": {"const": "report"}, **whole["properties"]}
    whole["required"] = list(whole["properties"])
    return {"$schema": SCHEMA_ID, "title": "rahti-migrate report", **whole, "$defs": shapes}


def _explained(kind: type[Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """The shape of an object, with what the docstring of its class says of it and of each attribute."""
    words, _, attributes = cleandoc(kind.__doc__ or "").partition("Attributes:")
    properties = shape["properties"]
    for name, said in _said(attributes).items():
        properties[_key(name)] = {"description": said, **properties[_key(name)]}
    return {
        "type": "object",
        "description": " ".join(words.split()),
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _said(attributes: str) -> dict[str, str]:
    """What a docstring says of each attribute: `name, other: words`, which may run over several lines."""
    found: dict[str, str] = {}
    for part in re.split(r"\n(?=    \S)", attributes):
        names, _, words = " ".join(part.split()).partition(": ")
        found |= {name: words for name in names.split(", ") if words}
    return found


def _renamed(shape: Any) -> Any:
    """A schema with keys as JSON has them."""
    if isinstance(shape, list):
        return [_renamed(each) for each in shape]
    if not isinstance(shape, dict):
        return shape
    kept = {key: _renamed(value) for key, value in shape.items() if key not in ("properties", "default", "title")}
    if "properties" in shape:
        kept["properties"] = {_key(name): _renamed(value) for name, value in shape["properties"].items()}
    return kept
