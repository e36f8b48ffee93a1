"""What was found in the source's projects, put together: each tag with who uses it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from migrate.discover.read import Allowed
from migrate.discover.uses import AnyUse, Use
from migrate.images.plan import Action, Copy
from migrate.images.streams import Kept, StreamTag


@dataclass(frozen=True)
class FoundTag:
    """A tag of the source.

    Attributes:
        name: the tag.
        digest: of its image; empty where that is not known.
        size: bytes of the image; 0 where that is not known.
        created: when it became what it is; empty where that is not known.
        kept: stored, external or an alias; None where no API tells.
        also: of an external one where it is kept, of an alias what it follows.
        users: the workloads that name it.
        problem: why it cannot be read; empty where it can.
    """

    name: str
    digest: str = ""
    size: int = 0
    created: str = ""
    kept: Kept | None = None
    also: str = ""
    users: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class FoundDigest:
    """An image that workloads name by a digest which no tag has now; `problem` is why it cannot be read."""

    digest: str
    users: tuple[str, ...]
    size: int = 0
    problem: str = ""


@dataclass(frozen=True)
class FoundStream:
    """An image stream, or repository, of the source."""

    path: str
    tags: Sequence[FoundTag]
    digests: Sequence[FoundDigest] = ()
    never: Sequence[str] = ()

    @property
    def is_used(self) -> bool:
        """Whether a workload names something of it."""
        return bool(self.digests) or any(tag.users for tag in self.tags)


@dataclass(frozen=True)
class FoundProject:
    """A source project.

    Attributes:
        name: at the source.
        target: at the target.
        streams: its image streams, by name.
        access: who may pull today; None where that could not be read.
        workloads: how many there are; None where they could not be read.
        outside: images of other registries that workloads name.
        elsewhere: images of projects that are not moved, which workloads here name.
        missing: what workloads name and is not there.
        unclear: what workloads name and is no image's name.
        unread: kinds of workloads that could not be read: more may be in use.
        notes: what else is to be known.
        access_notes: what of the rights of today cannot be said in `access`.
    """

    name: str
    target: str
    streams: Sequence[FoundStream]
    access: Sequence[Allowed] | None = None
    workloads: int | None = None
    outside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unclear: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unread: Sequence[str] = ()
    notes: Sequence[str] = ()
    access_notes: Sequence[str] = ()


Users = Mapping[str, tuple[str, ...]]
"""What is named -> who names it: project/stream:tag, project/stream@digest, or a whole reference."""


def users_by_image(uses: Iterable[AnyUse]) -> dict[str, tuple[str, ...]]:
    """Who names which image."""
    found: dict[str, list[str]] = {}
    for use in uses:
        found.setdefault(name_of(use), []).append(use.workload)
    return {name: tuple(dict.fromkeys(sorted(users))) for name, users in sorted(found.items())}


def with_followed(users: Users, follows: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Who names which image, where what an alias in use follows is in use, too.

    Args:
        users: project/stream:tag -> who names it.
        follows: alias -> the tag that it follows, both as project/stream:tag.
    """
    found = {image: list(who) for image, who in users.items()}
    for alias in follows:
        seen, at = {alias}, follows[alias]
        while at not in seen:  # aliases of aliases, too
            found.setdefault(at, []).extend(users.get(alias, ()))
            seen.add(at)
            at = follows.get(at, alias)
    return {image: tuple(dict.fromkeys(who)) for image, who in found.items() if who}


def name_of(use: AnyUse) -> str:
    """What is named, as `Users` has it."""
    if not isinstance(use, Use):
        return use.image
    return f"{use.project}/{use.stream}{f'@{use.digest}' if use.digest else f':{use.tag}'}"


def found_tag(copy: Copy, path: str, tag: StreamTag | None, created: str, users: Users) -> FoundTag:
    """A tag, from what the planner resolved and the API told.

    Args:
        copy: of that tag.
        path: of the image stream at the source.
        tag: what the API tells of it.
        created: when its image was made, where the API does not tell of it.
        users: who names which image.
    """
    name, digest = copy.target.tag, tag.digest if tag else copy.source.digest
    named = (*users.get(f"{path}:{name}", ()), *(users.get(f"{path}@{digest}", ()) if digest else ()))
    also = ""
    if tag and tag.follows:
        also = "{}/{}:{}".format(*tag.follows)
    elif tag and tag.upstream:
        also = str(tag.upstream.repository)
    return FoundTag(
        name,
        digest,
        copy.size,
        tag.created if tag and tag.created else created,
        tag.kept if tag else None,
        also,
        tuple(dict.fromkeys(named)),
        copy.reason if copy.action is Action.REFUSED else "",
    )
