"""The manifest's JSON Schema: for editors, and for saying which keys a place in the file knows."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from migrate.manifest.model import ManifestFile
from migrate.manifest.yaml_source import Loc

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


@cache
def manifest_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a manifest."""
    schema = ManifestFile.model_json_schema(by_alias=True)
    return {"$schema": SCHEMA_ID, **schema, "title": "rahti-migrate manifest"}


def known_keys(loc: Loc) -> list[str]:
    """The keys that the mapping at `loc` may have; empty where any key is allowed or none is known."""
    return [key for node in _nodes(loc) for key in node.get("properties", {})]


def is_required(loc: Loc) -> bool:
    """Whether the mapping around the key at the end of `loc` needs that key."""
    return any(loc[-1] in node.get("required", ()) for node in _nodes(loc[:-1]))


def description(loc: Loc) -> str:
    """What the schema says of the key at the end of `loc`; empty where it says nothing."""
    found = [node["properties"][loc[-1]] for node in _nodes(loc[:-1]) if loc[-1] in node.get("properties", {})]
    return str(found[0].get("description", "")) if found else ""


def _nodes(loc: Loc) -> list[dict[str, Any]]:
    """The schemas that the value at `loc` may have."""
    nodes = [manifest_schema()]
    for step in loc:
        nodes = [found for node in nodes for found in _step(node, step)]
    return nodes


def _step(node: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    if isinstance(step, int):
        found = node.get("items")
    else:
        found = node.get("properties", {}).get(step, node.get("additionalProperties"))
    if isinstance(found, dict):
        yield from _alternatives(found)


def _alternatives(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in node:
        node = manifest_schema()["$defs"][node["$ref"].rpartition("/")[2]]
    choices = node.get("anyOf") or node.get("oneOf")
    if not choices:
        yield node
        return
    for choice in choices:
        yield from _alternatives(choice)
