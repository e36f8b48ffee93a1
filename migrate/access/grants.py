"""Grants: who is to be let in, to what, and why. From the manifest, and from what the source project grants. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from migrate.access.rights import KNOWN_PULLERS, Binding, Pulls, RoleName
from migrate.access.subjects import Subject, only_there, subject_of, words_for
from migrate.manifest.model import AccessEntry

DEFAULT_ROLE = "registry-viewer"
MOVED_ONLY = "that project is not moved by this manifest; name it under `projects`"


@dataclass(frozen=True, slots=True)
class Grant:
    """One subject let in.

    Attributes:
        project: the target project.
        subject: who.
        role: the role's name; empty where `images` says what.
        images: image streams; none for all.
        why: where the wish comes from, for people.
        carried: whether any other way to pull is as good, because it was found at the source and not written down.
    """

    project: str
    subject: Subject
    role: str
    images: tuple[str, ...]
    why: str
    carried: bool = False


def written(index: int, entry: AccessEntry) -> Iterator[Grant]:
    """The grants that one entry of `access` names."""
    images = tuple(sorted(set(entry.images or ())))
    role = "" if images else entry.role or DEFAULT_ROLE
    for word in dict.fromkeys(entry.allow or ()):
        yield Grant(entry.project, subject_of(word), role, images, f"access[{index}]")


def carried(
    index: int,
    entry: AccessEntry,
    source: str,
    bindings: Iterable[Binding],
    pulls: Callable[[RoleName], Pulls],
    projects: Mapping[str, Sequence[str]],
    moved: Callable[[str], Sequence[str]],
) -> tuple[list[Grant], list[str]]:
    """What a source project grants for pulling today, as grants at the target; and in words what cannot go with it.

    Args:
        index: the entry's, for people.
        entry: with `carryOver`.
        source: the source project.
        bindings: its RoleBindings.
        pulls: what a role of the source lets be pulled.
        projects: source project -> its target projects, of all that the manifest moves.
        moved: what an image stream of the source project is called in the target project; nothing where it does not go
            there.
    """
    grants: dict[tuple[Subject, str, tuple[str, ...]], Grant] = {}
    notes: list[str] = []
    for binding in bindings:
        allowed = pulls(binding.role)
        if allowed.unread and binding.subjects:
            who = ", ".join(map(str, binding.subjects))
            role = f"{binding.role.kind} {binding.role.name} in {source}"
            notes.append(f"what {role} allows may not be read (or it is not there); not carried over: {who}")
        stay = sorted(name for name in allowed.images if not moved(name))
        if stay and binding.subjects:
            notes.append(
                f"{binding.role.name} in {source} is for {', '.join(stay)}, which does not go to {entry.project}"
            )
        allowed = replace(allowed, images=frozenset(chain.from_iterable(map(moved, allowed.images))))
        images = _chosen(entry, allowed)
        if allowed.nothing or (images is None):
            continue
        for subject in binding.subjects:
            why = f"access[{index}]: {binding.role.name} in {source}"
            there, problem = _at_target(subject, projects)
            if problem:
                notes.append(f"{subject} has {binding.role.name} in {source} and is not carried over: {problem}")
                continue
            role = "" if images else _carried_role(entry, binding.role.name)
            grant = Grant(entry.project, there, role, images, why, carried=True)
            grants.setdefault((there, role, images), grant)
    return _without_narrower(grants.values()), list(dict.fromkeys(notes))


def _chosen(entry: AccessEntry, allowed: Pulls) -> tuple[str, ...] | None:
    """The image streams of a grant: those of the role, of the entry, of both; empty for all, None for none."""
    named = frozenset(entry.images or ())
    if allowed.everything:
        return tuple(sorted(named))
    both = allowed.images & named if named else allowed.images
    return tuple(sorted(both)) or None


def _carried_role(entry: AccessEntry, found: str) -> str:
    """Pulling is what goes along: a role for more becomes one for pulling."""
    return entry.role or (found if found in KNOWN_PULLERS else DEFAULT_ROLE)


def _at_target(subject: Subject, projects: Mapping[str, Sequence[str]]) -> tuple[Subject, str]:
    """A subject as the target knows it; or why it cannot be there."""
    if problem := only_there(subject):
        return subject, problem
    if not subject.project:
        return subject, ""
    if subject.project not in projects:
        return subject, f"{words_for(subject)}: {MOVED_ONLY}"
    targets = projects[subject.project]
    if len(targets) > 1:
        return subject, f"{words_for(subject)}: that project goes to {', '.join(targets)}; name the one under `allow`"
    return subject.in_project(targets[0]), ""


def _without_narrower(grants: Iterable[Grant]) -> list[Grant]:
    """Who may pull everything needs no grant for single image streams, nor the same by a second role."""
    kept: dict[Subject, Grant] = {}
    listed = sorted(grants, key=lambda grant: (bool(grant.images), grant.role))
    result = []
    for grant in listed:
        whole = kept.get(grant.subject)
        if whole is None or (whole.images and whole.images != grant.images):
            result.append(grant)
            kept.setdefault(grant.subject, grant)
    return result
