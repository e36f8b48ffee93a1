"""Applies what a plan says, and takes back what was applied: one object at a time, told before and after."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from migrate.access.plan import Change, is_ours
from migrate.access.subjects import Subject, subjects_of
from migrate.cluster import MANAGED_BY, MANAGER, Cluster, ClusterError, Object, Problem
from migrate.kinds import ROLE, ROLE_BINDING

_MADE = "rahti-migrate/made"
"""An annotation of what this tool makes, another one for each."""

KINDS = {kind.name: kind for kind in (ROLE_BINDING, ROLE)}


@dataclass(frozen=True)
class Writing:
    """A change is about to be sent; should this process be killed now, it may have arrived."""

    change: Change


@dataclass(frozen=True)
class Written:
    """A change was sent; `document` is what stands there now, or `error` says why it was not taken.

    With `again` it is planned again, because somebody changed something at the same time.
    """

    change: Change
    document: Object | None = None
    error: ClusterError | None = None
    again: bool = False


def apply_changes(cluster: Cluster, changes: Iterable[Change]) -> Iterator[Writing | Written]:
    """Send the changes of one project in their order; a binding to a Role that was not taken is left out."""
    refused: set[str] = set()
    for change in changes:
        role = change.after.get("roleRef") or {}
        if role.get("kind") == ROLE.name and role.get("name") in refused:
            continue
        change = _named(change)
        yield Writing(change)
        try:
            yield Written(change, _send(cluster, change))
        except ClusterError as error:
            yield Written(change, error=error)
            if error.problem in (Problem.CONFLICT, Problem.UNREACHABLE):
                return
            refused.add(change.name if change.kind is ROLE else "")


def _named(change: Change) -> Change:
    """What is made gets a name of its own, by which it is known again even where the answer got lost."""
    if change.before:
        return change
    metadata = {**change.after["metadata"], "annotations": {_MADE: uuid.uuid4().hex}}
    return replace(change, after={**change.after, "metadata": metadata})


def _send(cluster: Cluster, change: Change) -> Object:
    """Server-side where the server can (3.11 cannot); what is not there yet is created, which never takes over."""
    if not change.before:
        return cluster.create(change.kind, change.after)
    try:
        return cluster.apply(change.kind, change.after)
    except ClusterError as error:
        if error.problem is not Problem.UNSUPPORTED:
            raise
    return cluster.replace(change.kind, change.after)


# --- taking back ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Applied:
    """One object that this tool wrote and has not taken back, over all of its writes.

    Attributes:
        ids: the state's rows, oldest first.
        project: where.
        kind: RoleBinding or Role.
        name: its name.
        created: whether this tool made it.
        uid: of what stood there after the last write; empty where that is not known (a kill in between).
        added: the subjects that this tool added.
        after: what was applied last.
        server: the API that it was sent to; empty where that was not kept.
    """

    ids: tuple[int, ...]
    project: str
    kind: str
    name: str
    created: bool
    uid: str
    added: frozenset[Subject]
    after: Mapping[str, Any] = field(repr=False)
    server: str = ""


@dataclass(frozen=True)
class Undo:
    """What taking one object back means.

    Attributes:
        applied: what was written.
        words: what is done, or why nothing is.
        delete: whether the object goes.
        left: what stays of it, as a whole document; None where nothing is written.
        live: the object as it is now.
        done: whether it counts as taken back afterwards.
        lost: the subjects that have it no longer.
    """

    applied: Applied
    words: str
    delete: bool = False
    left: Mapping[str, Any] | None = field(default=None, repr=False)
    live: Mapping[str, Any] | None = field(default=None, repr=False)
    done: bool = True
    lost: tuple[Subject, ...] = ()


def undo_binding(applied: Applied, live: Mapping[str, Any] | None) -> Undo:
    """How to take back a RoleBinding: exactly our subjects go, what others did since stays. Pure."""
    if live is None:
        return Undo(applied, "is gone already")
    if _is_anothers(live, applied):
        return Undo(applied, "was made by somebody else: left as it is")
    here = subjects_of(dict(live), applied.project)
    kept = [subject for subject in here if subject not in applied.added]
    lost = tuple(subject for subject in here if subject in applied.added)
    if not kept and (applied.created or applied.name.startswith(f"{MANAGER}-")):
        return Undo(applied, "deleted", delete=True, live=live, lost=here)
    if len(kept) == len(here):
        return Undo(applied, "has nothing of ours in it any more")
    document = {**live, "subjects": [subject.document for subject in kept], "metadata": _not_ours(live, applied)}
    return Undo(applied, f"kept for {', '.join(map(str, kept)) or 'nobody'}", left=document, live=live, lost=lost)


def undo_role(applied: Applied, live: Mapping[str, Any] | None, used_by: Sequence[str]) -> Undo:
    """How to take back a Role. Pure.

    Args:
        applied: what was written.
        live: the Role as it is now.
        used_by: bindings that point at it once ours are gone.
    """
    if live is None:
        return Undo(applied, "is gone already")
    if _is_anothers(live, applied):
        return Undo(applied, "was made by somebody else: left as it is")
    if used_by:
        return Undo(applied, f"left: {', '.join(used_by)} uses it", done=False)
    if not applied.created:
        return Undo(applied, "left: it was there before")
    if live.get("rules") != applied.after.get("rules"):
        return Undo(applied, "left: somebody else has changed it since")
    return Undo(applied, "deleted", delete=True, live=live)


def send_undo(cluster: Cluster, undo: Undo) -> None:
    """Take one object back.

    Raises:
        ClusterError: refused; CONFLICT where somebody changed it this moment.
    """
    kind = KINDS[undo.applied.kind]
    if undo.delete and undo.live is not None:
        cluster.delete(kind, undo.live)
    elif undo.left is not None:
        cluster.replace(kind, undo.left)


def _is_anothers(live: Mapping[str, Any], applied: Applied) -> bool:
    """Whether what stands there is not what this state made: another of that name, made before or since."""
    if applied.uid:
        return _uid(live) != applied.uid
    made = _made(applied.after)  # the answer got lost, or a kill came between
    return bool(applied.created and made and _made(live) != made)


def _made(document: Mapping[str, Any]) -> str:
    return str(((document.get("metadata") or {}).get("annotations") or {}).get(_MADE, ""))


def _uid(document: Mapping[str, Any]) -> str:
    return str((document.get("metadata") or {}).get("uid", ""))


def _not_ours(live: Mapping[str, Any], applied: Applied) -> dict[str, Any]:
    """The metadata of what stays; without our label and mark, for it is somebody else's now."""
    metadata = dict(live.get("metadata") or {})
    if applied.created and is_ours(live):
        for part, mark in (("labels", MANAGED_BY), ("annotations", _MADE)):
            metadata[part] = {k: v for k, v in (metadata.get(part) or {}).items() if k != mark}
    return metadata
