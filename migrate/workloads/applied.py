"""What is remembered of objects that were applied: enough to tell whether somebody changed them, nothing of Secrets."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from migrate.cluster import MANAGER
from migrate.kinds import Kind
from migrate.workloads.shown import holds_secret

_TRIGGERS = "image.openshift.io/triggers"


@dataclass(frozen=True)
class AppliedObject:
    """One object that this tool wrote and has not taken back, over all of its writes.

    Attributes:
        rows: the state's rows, oldest first.
        changes: of each write that changed what was there, newest first: the fields that it changed, and what stood in
            them; None where that was not kept (a Secret, or a kill in between).
        created: whether this tool made it.
        uid: of what stood there after the last write; empty where that is not known (a kill in between).
        ours: the fields that were ours after the last write (`fieldsV1`), and a digest of what stood in them.
        begun: when the last write was sent.
    """

    rows: tuple[int, ...]
    server: str
    kind: Kind
    project: str
    name: str
    created: bool
    uid: str
    ours: Mapping[str, Any] = field(repr=False)
    digest: str
    begun: str
    changes: tuple[Mapping[str, Any] | None, ...] = field(default=(), repr=False)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"{self.kind.name}/{self.name}"


def our_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an object that the server knows as ours: applied, else (where that is refused) written."""
    entries = (document.get("metadata") or {}).get("managedFields") or ()
    ours = [entry for entry in entries if entry.get("manager") == MANAGER and entry.get("subresource") != "status"]
    ours.sort(key=lambda entry: entry.get("operation") != "Apply")
    return dict(ours[0].get("fieldsV1") or {}) if ours else {}


def digest_of(document: Mapping[str, Any], fields: Mapping[str, Any], *, created: bool) -> str:
    """A digest of what stands in some fields.

    Left out: images that a trigger fills in; and, of what this tool made, the number of replicas, which autoscalers
    change (a person who does is seen among the managers).
    """
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    found = list(_values(document, fields, (), skip_images=_TRIGGERS in annotations))
    found = [(path, value) for path, value in found if not (created and path == "f:spec/f:replicas")]
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


def _values(
    value: Any, fields: Mapping[str, Any], path: tuple[str, ...], *, skip_images: bool
) -> Iterator[tuple[str, Any]]:
    below = {step: inner for step, inner in fields.items() if step != "."}
    if not below:
        if not (skip_images and path and path[-1] == "f:image"):
            yield "/".join(path), value
        return
    for step, inner in sorted(below.items()):
        yield from _values(_at(value, step), inner or {}, (*path, step), skip_images=skip_images)


def _at(value: Any, step: str) -> Any:
    """What a step of `fieldsV1` leads to: `f:name`, `k:{"name":"a"}`, `v:"text"`."""
    if step.startswith("f:"):
        return value.get(step[2:]) if isinstance(value, dict) else None
    if step.startswith("k:") and isinstance(value, list):
        key = json.loads(step[2:])
        return next((e for e in value if isinstance(e, dict) and key.items() <= e.items()), None)
    if step.startswith("v:") and isinstance(value, list):
        wanted = json.loads(step[2:])
        return wanted if wanted in value else None
    return None


def replaced(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], fields: Mapping[str, Any], kind: Kind
) -> dict[str, Any] | None:
    """The fields of ours that a write changed, and what stood in them; None where nothing was there, or a secret.

    What stayed as it was is not kept: it needs no restoring, and may be a password.
    """
    if before is None or kind.name == "Secret":
        return None
    changed = _changed(before, after, fields)
    values = _only(before, changed)
    return None if holds_secret(values) else {"fields": changed, "values": values}


def _changed(old: Any, new: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for step, inner in fields.items():
        if step == ".":
            continue
        one, other = _at(old, step), _at(new, step)
        below = {name: each for name, each in (inner or {}).items() if name != "."}
        if below:
            deeper = _changed(one, other, below)
            if deeper:
                found[step] = deeper
        elif one != other:
            found[step] = {}
    return found


def _only(value: Any, fields: Mapping[str, Any]) -> Any:
    """A value with nothing but some fields of it, and the keys by which elements of lists are known."""
    if not fields:
        return value
    if isinstance(value, dict):
        known = {step[2:]: inner for step, inner in fields.items() if step.startswith("f:")}
        return {name: _only(value[name], inner) for name, inner in known.items() if name in value}
    if isinstance(value, list):
        kept = []
        for step, inner in fields.items():
            each = _at(value, step)
            if step.startswith("k:") and each is not None:
                kept.append({**json.loads(step[2:]), **(_only(each, inner) if inner else each)})
            elif step.startswith("v:") and each is not None:
                kept.append(each)
        return kept
    return value
