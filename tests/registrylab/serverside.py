"""Server-side apply: who owns which fields of an object, kept in metadata.managedFields.

A path is a tuple of steps as FieldsV1 has them: `f:subjects`, or `k:{"name":"latest"}` for an element of a keyed list.
Lists are taken whole, but for the tags of image streams; so are roleRef and a tag's `from`.
"""

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

from registrylab.kubestatus import Object, apply_conflict
from registrylab.kubestore import now

APPLY, UPDATE = "Apply", "Update"

Path = tuple[str, ...]
_Who = tuple[str, str]
_WHOLE = {"f:roleRef", "f:from"}
_KEYED: dict[Path, str] = {("f:spec", "f:tags"): "name"}
_SYSTEM = {
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
}
_NOTHING = object()


def apply(live: Object, wanted: Object, manager: str, force: bool) -> Object:
    """The live object (empty where there is none) with what a manager wants, or a conflict."""
    owned, own = _owned(live), (manager, APPLY)
    mine = leaves(wanted)
    changed = {path for path in mine if _look(live, path) != _look(wanted, path)}
    others = {who: paths for who, paths in owned.items() if who != own}
    clashes = [(who, path) for who, paths in others.items() for path in sorted(paths) if _touched(path, changed)]
    if clashes and not force:
        raise apply_conflict([(_named(live, who), _dotted(path)) for who, path in clashes])
    for who, path in clashes:
        others[who].discard(path)
    made = copy.deepcopy(live) or {"metadata": {}}
    for path in owned.get(own, set()) - mine:
        if not _touched(path, set().union(*others.values())):
            _drop(made, path)
    for path in sorted(mine):
        _write(made, path, _look(wanted, path))
    return _with_owners(made, wanted["apiVersion"], {**others, own: mine}, own)


def tracked(live: Object, new: Object, manager: str, api_version: str) -> Object:
    """A new object that came by POST, PUT or a plain patch: what it changes belongs to its manager."""
    owned, own = _owned(live), (manager, UPDATE)
    paths, before = leaves(new), leaves(live)
    changed = {path for path in paths | before if _look(live, path) != _look(new, path)}
    others = {who: {p for p in had if not _touched(p, changed)} for who, had in owned.items() if who != own}
    mine = {path for path in owned.get(own, set()) | changed if path in paths}
    kept = {**new, "metadata": {**new["metadata"], "managedFields": live.get("metadata", {}).get("managedFields", [])}}
    return _with_owners(kept, api_version, {**others, own: mine}, own)


def leaves(item: Object) -> set[Path]:
    """Every field that can have an owner."""
    own = {key: value for key, value in item.items() if key not in ("kind", "apiVersion", "status")}
    metadata = {key: value for key, value in item.get("metadata", {}).items() if key not in _SYSTEM}
    return set(_leaves({**own, "metadata": metadata or None}, ()))


def _leaves(value: Any, path: Path) -> Iterator[Path]:
    if value is None:
        return
    if isinstance(value, dict) and (not path or (value and path[-1] not in _WHOLE)):
        for key, child in value.items():
            yield from _leaves(child, (*path, f"f:{key}"))
    elif isinstance(value, list) and path in _KEYED:
        for element in value:
            step = "k:" + json.dumps({_KEYED[path]: element.get(_KEYED[path])}, separators=(",", ":"))
            yield from _leaves(element, (*path, step))
    else:
        yield path


def _touched(path: Path, changed: Iterable[Path]) -> bool:
    """Whether a change is there, below it, or above it."""
    return any(path[: len(other)] == other[: len(path)] for other in changed)


def _child(value: Any, step: str) -> Any:
    if step.startswith("f:"):
        return value.get(step[2:], _NOTHING) if isinstance(value, dict) else _NOTHING
    key = json.loads(step[2:])
    elements = value if isinstance(value, list) else []
    return next((element for element in elements if key.items() <= element.items()), _NOTHING)


def _look(item: Any, path: Path) -> Any:
    for step in path:
        item = _child(item, step)
    return item


def _write(item: Any, path: Path, value: Any) -> None:
    for at, step in enumerate(path[:-1], 1):
        found = _child(item, step)
        if found is _NOTHING or found is None:
            found = [] if path[:at] in _KEYED else {}
            if step.startswith("f:"):
                item[step[2:]] = found
            else:
                found = json.loads(step[2:])
                item.append(found)
        item = found
    item[path[-1][2:]] = copy.deepcopy(value)


def _drop(item: Any, path: Path) -> None:
    """Take a field away, and what is empty then above it, but for `spec` and `metadata` themselves."""
    parent = _look(item, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1][2:], None)
    if len(path) > 2 and not set(parent if isinstance(parent, dict) else ()) - _key_of(path[-2]):
        _drop_child(item, path[:-1])


def _drop_child(item: Any, path: Path) -> None:
    parent = _look(item, path[:-1])
    if path[-1].startswith("f:"):
        _drop(item, path)
    elif isinstance(parent, list):
        element = _child(parent, path[-1])
        parent[:] = [other for other in parent if other is not element]


def _key_of(step: str) -> set[str]:
    return set(json.loads(step[2:])) if step.startswith("k:") else set()


def _owned(item: Object) -> dict[_Who, set[Path]]:
    entries = item.get("metadata", {}).get("managedFields") or ()
    return {(entry["manager"], entry["operation"]): set(_paths(entry["fieldsV1"], ())) for entry in entries}


def _paths(fields: Object, path: Path) -> Iterator[Path]:
    if not fields and path:
        yield path
    for step, below in fields.items():
        yield from _paths(below, (*path, step))


def _with_owners(item: Object, api_version: str, owned: dict[_Who, set[Path]], own: _Who) -> Object:
    """With managedFields; entries that say what they said stay as they were, time and all."""
    before = {(e["manager"], e["operation"]): e for e in item["metadata"].get("managedFields") or ()}
    entries = []
    for (manager, operation), paths in owned.items():
        entry = before.get((manager, operation), {"apiVersion": api_version})
        fields = _nested(paths)
        if (manager, operation) == own:
            entry = {**entry, "apiVersion": api_version}
        if fields and entry.get("fieldsV1") != fields:
            entry = {
                "manager": manager, "operation": operation, "apiVersion": entry["apiVersion"], "time": now(),
                "fieldsType": "FieldsV1", "fieldsV1": fields,
            }  # fmt: skip
        entries += [entry] if fields else []
    return {**item, "metadata": {**item["metadata"], "managedFields": entries}}


def _nested(paths: Iterable[Path]) -> Object:
    fields: Object = {}
    for path in sorted(paths):
        place = fields
        for step in path:
            place = place.setdefault(step, {})
    return fields


def _named(live: Object, who: _Who) -> str:
    """A manager as conflicts name it: one that did not apply, with the version that it used."""
    if who[1] == APPLY:
        return f'"{who[0]}"'
    entries = live["metadata"]["managedFields"]
    version = next(e["apiVersion"] for e in entries if (e["manager"], e["operation"]) == who)
    return f'"{who[0]}" using {version}'


def _dotted(path: Path) -> str:
    """A path as conflicts show it: `.spec.tags[name="latest"].from`."""
    steps = []
    for step in path:
        if step.startswith("f:"):
            steps.append(f".{step[2:]}")
        else:
            key, value = next(iter(json.loads(step[2:]).items()))
            steps.append(f'[{key}="{value}"]')
    return "".join(steps)
