"""Takes back what was applied of workloads: only what is ours, and only where nobody changed it since."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from migrate.cluster import MANAGER, Cluster
from migrate.workloads.applied import AppliedObject, digest_of

_NEVER = ("PersistentVolumeClaim", "Secret", "ImageStream", "Namespace", "Project")
"""Kinds that hold data, logins or images: never deleted."""
_SYSTEM = re.compile(
    r".*controller.*|kube-(scheduler|apiserver)|kubelet|.*-operator|openshift-(router|apiserver)|csi-.*|cluster-.*"
    r"|system:serviceaccount:(kube|openshift)-.*"
)
_MISSING: Final = object()


@dataclass(frozen=True)
class UndoObject:
    """What taking one object back means.

    Attributes:
        words: what is done, or why nothing is.
        delete: whether the object goes.
        restored: what is written in its place; None where nothing is.
        live: the object as it is now.
        done: whether it counts as taken back afterwards.
        command: what a person can type instead.
        stays: whether it is left for good: it holds data, logins or images, or is somebody else's.
    """

    applied: AppliedObject
    words: str
    delete: bool = False
    restored: Mapping[str, Any] | None = field(default=None, repr=False)
    live: Mapping[str, Any] | None = field(default=None, repr=False)
    done: bool = True
    command: str = ""
    stays: bool = False


def undo_object(applied: AppliedObject, live: Mapping[str, Any] | None) -> UndoObject:
    """How to take one object back, as it is now."""
    if live is None:
        return UndoObject(applied, "is gone already")
    delete = f"oc delete {applied.kind.plural}/{applied.name} -n {applied.project}"
    if _is_anothers(applied, live):
        return UndoObject(applied, "was made again by somebody else: left as it is", stays=True)
    if applied.kind.name in _NEVER:
        if not applied.created:
            return UndoObject(applied, "left as it is: it was there before", stays=True)
        return UndoObject(applied, "left: data, logins and images are never deleted", stays=True, command=delete)
    others = sorted(set(_people(live))) if applied.created else []
    if others or (applied.digest and digest_of(live, applied.ours, created=applied.created) != applied.digest):
        who = f" ({', '.join(others)})" if others else ""
        command = delete if applied.created else ""
        return UndoObject(applied, f"left: somebody changed it since{who}", done=False, command=command)
    if applied.created:
        return UndoObject(applied, "deleted", delete=True, live=live)
    if not applied.ours or None in applied.changes:
        return UndoObject(applied, "left: what it was before is not known", done=False)
    restored: Any = copy.deepcopy(dict(live))
    for each in filter(None, applied.changes):
        if each["fields"]:
            restored = _restored(restored, each["values"], each["fields"])
    return UndoObject(applied, "as it was before", restored=restored, live=live)


def send_undo_object(cluster: Cluster, undo: UndoObject) -> None:
    """Take one object back.

    Raises:
        ClusterError: refused; CONFLICT where somebody changed it this moment.
    """
    if undo.delete and undo.live is not None:
        cluster.delete(undo.applied.kind, undo.live)
    elif undo.restored is not None:
        cluster.replace(undo.applied.kind, undo.restored)


def _is_anothers(applied: AppliedObject, live: Mapping[str, Any]) -> bool:
    """Whether what stands there is not what we wrote to; after a kill by the time at which it was made."""
    meta = live.get("metadata") or {}
    if applied.uid:
        return str(meta.get("uid", "")) != applied.uid
    is_ours = any(entry.get("manager") == MANAGER for entry in meta.get("managedFields") or ())
    return not is_ours or (applied.created and str(meta.get("creationTimestamp", "")) < applied.begun[:19])


def _people(live: Mapping[str, Any]) -> Iterator[str]:
    """Managers of its fields that are neither we nor parts of the cluster."""
    for entry in (live.get("metadata") or {}).get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        if manager != MANAGER and entry.get("subresource") != "status" and not _SYSTEM.fullmatch(manager):
            yield manager


def _restored(now: Any, before: Any, fields: Mapping[str, Any]) -> Any:
    """A value with what stood in our fields before we wrote them; _MISSING where nothing is left."""
    below = {step: inner for step, inner in fields.items() if step != "."}
    if not below:
        return before
    if isinstance(now, dict):
        for step, inner in below.items():
            if step.startswith("f:"):
                name = step[2:]
                old = before.get(name, _MISSING) if isinstance(before, dict) else _MISSING
                found = _restored(now.get(name, _MISSING), old, inner or {})
                if found is _MISSING:
                    now.pop(name, None)
                else:
                    now[name] = found
        return _MISSING if not now and before is _MISSING else now
    if isinstance(now, list):
        return _restored_list(now, before if isinstance(before, list) else [], below) or (
            _MISSING if before is _MISSING else []
        )
    return before


def _restored_list(now: list[Any], before: list[Any], below: Mapping[str, Any]) -> list[Any]:
    for step, inner in below.items():
        if step.startswith("k:"):
            key = json.loads(step[2:])
            old = next((each for each in before if _has(each, key)), _MISSING)
            at = next((index for index, each in enumerate(now) if _has(each, key)), -1)
            found = _restored(now[at] if at >= 0 else _MISSING, old, inner or {})
            gone = found is _MISSING or (old is _MISSING and set(found) <= set(key))
            if at >= 0 and gone:
                del now[at]
            elif at >= 0:
                now[at] = found
            elif not gone:
                now.append(found)
        elif step.startswith("v:") and json.loads(step[2:]) in now and json.loads(step[2:]) not in before:
            now.remove(json.loads(step[2:]))
    return now


def _has(value: Any, key: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and key.items() <= value.items()
