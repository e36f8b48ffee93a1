"""Grants and what a target project has, to what would change there. Pure.

Nothing of others is touched: what this tool adds stands in RoleBindings (and, for single image streams, Roles) of its
own, and who has the same grant through somebody else's binding needs no second one.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from itertools import count as count_from
from typing import Any

from migrate.access.grants import Grant
from migrate.access.rights import KNOWN_PULLERS, ROLE, Binding, Pulls, RoleName
from migrate.access.subjects import AUTHENTICATED, WITHOUT_LOGIN, Subject, nobody, words_for
from migrate.cluster import MANAGED_BY, MANAGER
from migrate.kinds import ROLE as ROLE_KIND
from migrate.kinds import ROLE_BINDING, Kind
from migrate.quantities import count

_LONGEST_NAME = 60
_RBAC = "rbac.authorization.k8s.io"


class Standing(StrEnum):
    """How things are with one grant."""

    THERE = "there"
    ADD = "add"
    REFUSED = "refused"


@dataclass(frozen=True)
class PlannedGrant:
    """A grant, and how things are with it.

    Attributes:
        grant: the wish.
        standing: there already, to be added, or impossible.
        binding: the RoleBinding that has it, or would have it.
        words: what it opens; of a refused one, why.
        images: the image streams that it opens; none for all.
    """

    grant: Grant
    standing: Standing
    binding: str
    words: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """One object that would be written.

    Attributes:
        kind: RoleBinding or Role.
        project: where.
        name: its name.
        before: as it is now; None where there is none.
        after: what is applied, whole.
        added: the subjects that are new in it.
    """

    kind: Kind
    project: str
    name: str
    before: Mapping[str, Any] | None = field(repr=False)
    after: Mapping[str, Any] = field(repr=False)
    added: tuple[Subject, ...] = ()


@dataclass(frozen=True)
class ProjectAccess:
    """What a target project has now.

    Attributes:
        project: its name.
        bindings: its RoleBindings.
        roles: its Roles, as documents, by name.
        pulls: what a role lets be pulled there.
        role_kind: the kind of role that a name means there; empty where there is none of that name.
        streams: its image streams; None where they cannot be listed.
    """

    project: str
    bindings: Sequence[Binding]
    roles: Mapping[str, Mapping[str, Any]]
    pulls: Callable[[RoleName], Pulls]
    role_kind: Callable[[str], str]
    streams: tuple[str, ...] | None


@dataclass(frozen=True)
class ProjectPlan:
    """What would happen in one target project.

    Attributes:
        project: its name.
        grants: everything that the manifest wants there.
        changes: what would be written, in this order.
        notes: what else is to be known: narrower roles, what opens less than it sounds, what was not carried over.
        problem: why nothing can be planned there; empty where it can.
        advice: what to do about that.
        streams: how many image streams it has; None where that is not known.
        incomplete: whether something that was to be carried over could not be read.
    """

    project: str
    grants: tuple[PlannedGrant, ...] = ()
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    advice: str = ""
    streams: int | None = None
    incomplete: bool = False

    @property
    def needs_attention(self) -> bool:
        """Whether something cannot be granted, or is not known."""
        return bool(self.problem) or self.incomplete or any(grant.standing is Standing.REFUSED for grant in self.grants)


def plan_project(found: ProjectAccess, wanted: Iterable[Grant], notes: Iterable[str] = ()) -> ProjectPlan:
    """What would be added to a project so that every grant holds.

    Args:
        found: what it has.
        wanted: the grants, most important first.
        notes: what was found out before.
    """
    grants = list(dict.fromkeys(wanted))
    planned = [_planned(found, grant) for grant in _once(grants)]
    return ProjectPlan(
        found.project,
        tuple(planned),
        tuple(_changes(found, [p.grant for p in planned if p.standing is Standing.ADD])),
        (*dict.fromkeys((*notes, *_hints(found, planned))),),
        streams=None if found.streams is None else len(found.streams),
    )


def _once(grants: Iterable[Grant]) -> list[Grant]:
    """The same grant wished twice is one; what is written comes before what is carried over."""
    kept: dict[tuple[Subject, str, tuple[str, ...]], Grant] = {}
    for grant in sorted(grants, key=lambda grant: grant.carried):
        if not (grant.carried and any(_lets_pull_as_much(other, grant) for other in kept.values())):
            kept.setdefault((grant.subject, grant.role, grant.images), grant)
    return list(kept.values())


def _lets_pull_as_much(written: Grant, carried: Grant) -> bool:
    """Whether a grant that is written down lets the same subject pull what another would, whatever is there now."""
    if written.subject != carried.subject or written.carried:
        return False
    if written.images:
        return bool(carried.images) and set(carried.images) <= set(written.images)
    return written.role in KNOWN_PULLERS


def _planned(found: ProjectAccess, grant: Grant) -> PlannedGrant:
    if not grant.images and not found.role_kind(grant.role):
        words = f"there is no role {grant.role}, neither in the cluster nor in {found.project}"
        return PlannedGrant(grant, Standing.REFUSED, "", words)
    if words := nobody(grant.subject):
        return PlannedGrant(grant, Standing.REFUSED, "", words)
    role = _role(found, grant)
    holder = next((b for b in found.bindings if grant.subject in b.subjects and _holds(found, b, grant)), None)
    if holder:
        has = holder.role if grant.carried else role
        named = grant if grant.images else replace(grant, role=has.name)
        only = grant.images or tuple(sorted(found.pulls(has).images))
        return PlannedGrant(named, Standing.THERE, holder.name, opens(found, named, has), only)
    only = grant.images or tuple(sorted(found.pulls(role).images))
    return PlannedGrant(grant, Standing.ADD, _binding_name(found, role), opens(found, grant, role), only)


def _holds(found: ProjectAccess, binding: Binding, grant: Grant) -> bool:
    """Whether a binding grants this already."""
    if grant.carried:
        return found.pulls(binding.role).cover(grant.images)
    if grant.images:
        allowed = found.pulls(binding.role)
        return not allowed.everything and allowed.cover(grant.images)
    return binding.role == _role(found, grant)


def _role(found: ProjectAccess, grant: Grant) -> RoleName:
    if grant.images:
        return RoleName(ROLE, _role_name(found, grant.images))
    return RoleName(found.role_kind(grant.role), grant.role)


def role_of(grant: Grant) -> str:
    """The name of the role that a grant's binding points at, where nobody else has taken it."""
    return pull_role_name(grant.images) if grant.images else grant.role


def pull_role_name(images: Sequence[str]) -> str:
    """The name of the Role for pulling these image streams: the same for the same streams, and for no others."""
    name = f"{MANAGER}-pull-{images[0][:_LONGEST_NAME]}"
    if len(images) == 1 and len(images[0]) <= _LONGEST_NAME:
        return name
    more = f"-and-{len(images) - 1}-more" if len(images) > 1 else ""
    return f"{name}{more}-{hashlib.sha256('/'.join(images).encode()).hexdigest()[:12]}"


def _role_name(found: ProjectAccess, images: tuple[str, ...]) -> str:
    """The Role for pulling these image streams; another name where somebody else has another Role of that name."""
    base, rules = pull_role_name(images), _rules(images)
    taken = {name for name, role in found.roles.items() if not is_ours(role) and role.get("rules") != rules}
    return next(name for name in _names(base) if name not in taken)


def _names(base: str) -> Iterator[str]:
    return chain([base], (f"{base}-{number}" for number in count_from(2)))


def _rules(images: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "apiGroups": ["image.openshift.io"],
            "resources": ["imagestreams/layers"],
            "resourceNames": [*images],
            "verbs": ["get"],
        }
    ]


def _binding_name(found: ProjectAccess, role: RoleName) -> str:
    """The binding of ours for a role; another name where somebody else has a binding of that name."""
    base = role.name if role.name.startswith(f"{MANAGER}-") else f"{MANAGER}-{role.name}"
    taken = {binding.name for binding in found.bindings if not is_ours(binding.document) or binding.role != role}
    return next(name for name in _names(base) if name not in taken)


def is_ours(document: Mapping[str, Any]) -> bool:
    """Whether this tool made an object, as its label says."""
    labels = (document.get("metadata") or {}).get("labels") or {}
    return bool(labels.get(MANAGED_BY) == MANAGER)


# --- what is written --------------------------------------------------------------------------------------------


def _changes(found: ProjectAccess, missing: Sequence[Grant]) -> Iterator[Change]:
    for images in dict.fromkeys(grant.images for grant in missing if grant.images):
        yield from _role_change(found, images)
    added: dict[RoleName, list[Subject]] = {}
    for grant in missing:
        added.setdefault(_role(found, grant), []).append(grant.subject)
    for role, subjects in added.items():
        change = _binding_change(found, role, tuple(dict.fromkeys(subjects)))
        if change.added:  # else it is the Role alone that somebody changed
            yield change


def _role_change(found: ProjectAccess, images: tuple[str, ...]) -> Iterator[Change]:
    name, rules = _role_name(found, images), _rules(images)
    before = found.roles.get(name)
    if before is None or before.get("rules") != rules:
        after = {"metadata": _metadata(found, name, before), "rules": rules}
        yield Change(ROLE_KIND, found.project, name, before, after)


def _binding_change(found: ProjectAccess, role: RoleName, added: tuple[Subject, ...]) -> Change:
    name = _binding_name(found, role)
    before = next((binding for binding in found.bindings if binding.name == name), None)
    subjects = dict.fromkeys((*(before.subjects if before else ()), *added))
    after = {
        "metadata": _metadata(found, name, before.document if before else None),
        "roleRef": {"apiGroup": _RBAC, "kind": role.kind, "name": role.name},
        "subjects": [subject.document for subject in subjects],
    }
    new = tuple(subject for subject in added if before is None or subject not in before.subjects)
    return Change(ROLE_BINDING, found.project, name, before.document if before else None, after, new)


def _metadata(found: ProjectAccess, name: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    version = str(((before or {}).get("metadata") or {}).get("resourceVersion", ""))
    known = {"resourceVersion": version} if version else {}
    return {"name": name, "namespace": found.project, "labels": {MANAGED_BY: MANAGER}, **known}


# --- what it means ----------------------------------------------------------------------------------------------


def opens(found: ProjectAccess, grant: Grant, role: RoleName) -> str:
    """What a grant opens by a role, and to whom."""
    who = words_for(grant.subject)
    if grant.images:
        return f"{who} can pull {_streams(grant.images)} of {found.project}"
    allowed = found.pulls(role)
    if allowed.unread:
        return f"{who} gets the role {grant.role}; what it allows may not be read here"
    if allowed.nothing:
        return f"{who} gets the role {grant.role}, which lets nobody pull"
    if allowed.images:
        return f"{who} can pull {_streams(sorted(allowed.images))} of {found.project}"
    every = f"all {count(len(found.streams), 'image stream')}" if found.streams else "every image stream"
    more = ", and more than that" if allowed.more else ""
    return f"{who} can pull {every} of {found.project}{more}"


def _streams(images: Sequence[str]) -> str:
    if len(images) == 1:
        return f"image stream {images[0]}"
    return f"{count(len(images), 'image stream')} ({', '.join(images[:5])}{', ...' if len(images) > 5 else ''})"


def _hints(found: ProjectAccess, planned: Sequence[PlannedGrant]) -> Iterator[str]:
    good = [each.grant for each in planned if each.standing is not Standing.REFUSED]
    found_there = [each.grant for each in planned if each.grant.carried and each.standing is Standing.THERE]
    for role in dict.fromkeys(grant.role for grant in good if grant.role and grant not in found_there):
        yield from _hint_of_role(found, role)
    logged_in = [grant for grant in good if grant.subject == AUTHENTICATED]
    for grant in good:
        covered = any(_covers(other, grant) for other in logged_in) or _logged_in_may(found, grant)
        if grant.subject in WITHOUT_LOGIN and not covered:
            what = _streams(grant.images) if grant.images else "there"
            yield (
                "a grant to callers without a login opens less than it sounds: who shows a login and is no member of"
                f" {found.project} still cannot pull {what}; allow `authenticated` too if they should"
            )
    yield from _missing_streams(found, good)


def _covers(wide: Grant, grant: Grant) -> bool:
    return not wide.images or (bool(grant.images) and set(grant.images) <= set(wide.images))


def _logged_in_may(found: ProjectAccess, grant: Grant) -> bool:
    return any(AUTHENTICATED in b.subjects and found.pulls(b.role).cover(grant.images) for b in found.bindings)


def _hint_of_role(found: ProjectAccess, role: str) -> Iterator[str]:
    allowed = found.pulls(RoleName(found.role_kind(role), role))
    if allowed.unread:
        yield f"what role {role} allows may not be read: whether it lets anybody pull is not known"
    elif allowed.nothing:
        yield f"role {role} lets nobody pull images: for pulling say registry-viewer or system:image-puller"
    elif allowed.more and role not in KNOWN_PULLERS:
        yield f"role {role} opens more than pulling: registry-viewer would do for that"


def _missing_streams(found: ProjectAccess, grants: Iterable[Grant]) -> Iterator[str]:
    """Image streams that are named and not there (yet): the grant holds once they are."""
    if found.streams is None:
        return
    named = {image for grant in grants for image in grant.images}
    if missing := sorted(named - set(found.streams)):
        yield f"not in {found.project} yet: {_streams(missing)}"
