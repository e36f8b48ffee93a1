"""Applies rewritten workloads: everything is tried first, then sent in order; what others manage is left to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from migrate.cluster import MANAGER, Cluster, ClusterError, Object, Problem
from migrate.kinds import CLAIM, JOB, ROLE, ROLE_BINDING, Kind
from migrate.workloads.objects import WITH_REPLICAS, Item

_SHOWN = 5
_ONCE = (CLAIM, JOB)
"""Kinds whose spec cannot be changed: applied where they are not there yet."""
_WITHOUT_APPLY = ("authorization.openshift.io",)
"""Groups that refuse server-side apply of what is not there (openshift-apiserver 56aa2d96)."""


class Standing(StrEnum):
    """What would happen to an object."""

    NEW = "new"
    CHANGES = "changes"
    SAME = "same"
    THERE = "there"  # and cannot be changed
    WAITS = "waits"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True)
class Planned:
    """What would happen to one object.

    Attributes:
        document: what would be sent.
        before: what stands there now; None where nothing does.
        words: why it waits, conflicts, or is refused; else what is to be known.
    """

    item: Item
    standing: Standing
    document: Mapping[str, Any] = field(repr=False)
    before: Object | None = field(default=None, repr=False)
    words: str = ""

    @property
    def is_sent(self) -> bool:
        """Whether it would be written."""
        return self.standing in (Standing.NEW, Standing.CHANGES)


def plan_items(
    cluster: Cluster, items: Sequence[Item], waits: Callable[[Item], str], *, data_copied: bool
) -> Iterator[Planned]:
    """Look at each object as it is now, and let the server try the new one (dry run). Writes nothing.

    Args:
        cluster: the target's API.
        items: in their order.
        waits: why an object cannot be applied yet; empty where it can.
        data_copied: whether workloads with claims start as they are written; else they are new with no replicas.

    Raises:
        ClusterError: the API is out of reach, or the login is refused.
    """
    new_roles: set[str] = set()
    for item in items:
        planned = _planned(cluster, item, waits(item), new_roles, data_copied=data_copied)
        if item.kind == ROLE and planned.standing is Standing.NEW:
            new_roles.add(item.name)
        yield planned


def _planned(cluster: Cluster, item: Item, why: str, new_roles: set[str], *, data_copied: bool) -> Planned:
    document = dict(item.document)
    try:
        before = cluster.get(item.kind, item.name, item.project)
        document = with_replicas(item, before, data_copied=data_copied)
        if why:
            return Planned(item, Standing.WAITS, document, before, why)
        if before is not None and item.kind in _ONCE:
            return Planned(item, Standing.THERE, document, before, "is there, and cannot be changed: left as it is")
        ref = document.get("roleRef") or {}
        if before is None and item.kind == ROLE_BINDING and ref.get("kind") == "Role" and ref.get("name") in new_roles:
            return Planned(item, Standing.NEW, document, before, "not tried: its Role comes with it")
        tried = _send(cluster, item.kind, document, before, dry_run=True)
    except ClusterError as error:
        if error.problem in (Problem.LOGIN, Problem.UNREACHABLE):
            raise
        standing = Standing.CONFLICT if error.problem is Problem.CONFLICT else Standing.REFUSED
        return Planned(item, standing, document, None, error.words)
    pods = _about_replicas(item, before, document)
    if before is None:
        return Planned(item, Standing.NEW, document, None, pods)
    changed = list(_changes(_without_noise(before), _without_noise(tried), ""))
    if not changed:
        return Planned(item, Standing.SAME, document, before, pods)
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return Planned(item, Standing.CHANGES, document, before, pods or f"{', '.join(changed[:_SHOWN])}{more}")


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    """Where two objects differ: paths, without values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _changes(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _changes(one, other, f"{path}[{index}]")
    elif old != new:
        yield path


def with_replicas(item: Item, before: Object | None, *, data_copied: bool) -> dict[str, Any]:
    """The document, with the replicas that it is to have now.

    What is there keeps the number that somebody else gave it (a person, an autoscaler). What mounts claims begins
    with none until its data is there.
    """
    document = dict(item.document)
    if item.kind.name not in WITH_REPLICAS:
        return document
    spec = dict(document.get("spec") or {})
    live = (before or {}).get("spec") or {}
    is_ours = before is not None and _owns_replicas(before)
    if before is not None and (not is_ours or (item.has_claims and not data_copied)):
        spec["replicas"] = live.get("replicas", 1)
    elif item.has_claims and not data_copied:
        spec["replicas"] = 0
    return {**document, "spec": spec}


def _owns_replicas(live: Mapping[str, Any]) -> bool:
    for entry in (live.get("metadata") or {}).get("managedFields") or ():
        if entry.get("manager") == MANAGER and "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}):
            return True
    return False


def _about_replicas(item: Item, before: Object | None, document: Mapping[str, Any]) -> str:
    """Why another number of pods runs than the file says; empty where it does not."""
    wanted = str((item.document.get("spec") or {}).get("replicas", 1))
    sent = str((document.get("spec") or {}).get("replicas", 1))
    if item.kind.name not in WITH_REPLICAS or sent == wanted:
        return ""
    scale = f"oc scale -n {item.project} {item.kind.name.lower()}/{item.name} --replicas={wanted}"
    if item.has_claims and sent == "0":
        return f"{'starts with' if before is None else 'has'} 0 pods: copy the data, then {scale}"
    return f"keeps the {sent} pods that somebody gave it; for those of the file: {scale}"


def _send(
    cluster: Cluster, kind: Kind, document: Mapping[str, Any], before: Object | None, *, dry_run: bool = False
) -> Object:
    if kind.group in _WITHOUT_APPLY:
        if before is None:
            return cluster.create(kind, document, dry_run=dry_run)
        known = {"resourceVersion": (before.get("metadata") or {}).get("resourceVersion", "")}
        whole = {**document, "metadata": {**document["metadata"], **known}}
        return cluster.replace(kind, whole, dry_run=dry_run)
    return cluster.apply(kind, document, force=False, dry_run=dry_run)


_NOISE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


def _without_noise(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of an object somebody wanted."""
    meta = {key: value for key, value in (document.get("metadata") or {}).items() if key not in _NOISE}
    own = {key: value for key, value in document.items() if key not in ("status", "metadata", "kind", "apiVersion")}
    return {**own, "metadata": meta}


# --- writing ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sending:
    """An object is about to be sent; should this process be killed now, it may have arrived."""

    planned: Planned


@dataclass(frozen=True)
class Sent:
    """An object was sent; `document` is what stands there now, or `error` says why it was not taken."""

    planned: Planned
    document: Object | None = None
    error: ClusterError | None = None


def apply_planned(cluster: Cluster, planned: Iterable[Planned]) -> Iterator[Sending | Sent]:
    """Send what was planned, in its order; where the API is out of reach it ends."""
    for each in planned:
        if not each.is_sent:
            continue
        yield Sending(each)
        try:
            yield Sent(each, _send(cluster, each.item.kind, each.document, each.before))
        except ClusterError as error:
            yield Sent(each, error=error)
            if error.problem is Problem.UNREACHABLE:
                return
