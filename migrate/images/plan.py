"""The values that a plan is made of."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from migrate.images.delivery import Delivery
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest
from migrate.images.graph import BlobGraph, graph_of
from migrate.manifest import ImageOptions
from migrate.reference import Reference, Repository


class Action(StrEnum):
    """What happens with one wanted tag."""

    COPY = "copy"
    LINK = "link"
    SKIP = "skip"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True)
class Copy:
    """One planned unit: one target tag.

    Attributes:
        source: with the tag that was asked for (if any) and the digest that it had when it was looked up.
        target: with a tag; without one where a whole entry could not be looked up.
        action: what is done.
        reason: why, in words.
        failure: the class, for REFUSED and CONFLICT, and for SKIP where `onConflict: skip` leaves other content.
        present: the digest that the target tag had when it was looked up; empty for none.
        warnings: what is lost or changes.
        delivery: what is to stand at the target; None where that is not known.
        suspect: verify found it damaged at the target: what the target says that it has is to be read.
        unseen: whether it is the target that does not let itself be looked at.
        alias: the target tag that this one follows, as an image stream tag, where it is to be made so again.
        replaces: whether the target tag has content of somebody else, which goes.
    """

    source: Reference
    target: Reference
    action: Action
    reason: str
    options: ImageOptions
    failure: FailureClass | None = None
    present: str = ""
    warnings: tuple[str, ...] = ()
    delivery: Delivery | None = field(default=None, repr=False)
    media_type: str = ""
    suspect: bool = False
    unseen: bool = False
    alias: Reference | None = None
    replaces: bool = False

    @property
    def size(self) -> int:
        """Bytes of the image, as far as they are known."""
        return self.delivery.size if self.delivery else 0

    @property
    def moves(self) -> bool:
        """Whether it is copied or linked."""
        return self.action in (Action.COPY, Action.LINK)

    def refused(self, failure: Failure) -> "Copy":
        """The same tag, which cannot be copied."""
        return replace(self, action=Action.REFUSED, reason=str(failure), failure=failure.kind)


Delivered = Mapping[str, str]
"""What this tool put, or began to put, under a target tag: target digest -> the source digest that it was made of."""


@dataclass(frozen=True)
class Plan:
    """Every wanted tag with what happens to it, in the manifest's order, and the image manifests that were read.

    `held` says of blobs (by digest) which target repositories were seen to have them; `notes` what else is to be known.
    """

    copies: tuple[Copy, ...]
    image_manifests: Mapping[str, ImageManifest] = field(default_factory=dict)
    held: Mapping[str, Collection[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def count(self, action: Action) -> int:
        """How many tags have this action."""
        return sum(copy.action is action for copy in self.copies)

    @cached_property
    def graph(self) -> BlobGraph:
        """The blobs of everything that is copied or linked, and which of them the target was seen to have."""
        held: dict[str, set[str]] = defaultdict(set)
        for copy in self.copies:
            if copy.action is Action.SKIP and copy.failure is None and copy.delivery:
                for blob in copy.delivery.blobs:
                    held[blob.digest].add(copy.target.repository.path)
        needs = ((copy.target, copy.delivery.blobs) for copy in self.moving if copy.delivery)
        return graph_of(needs, self.held, held)

    @property
    def images(self) -> Iterator[tuple[Repository, ImageManifest]]:
        """The plain images at the source, each with its repository."""
        return ((c.source.repository, part.source) for c in self.copies if c.delivery for part in c.delivery.parts)

    @property
    def unknown_sizes(self) -> int:
        """How many images to copy do not tell their size (Docker schema 1)."""
        return sum(copy.action is Action.COPY and copy.size == 0 for copy in self.copies)

    @property
    def changed(self) -> list[Copy]:
        """What does not arrive as it is at the source, of all that is copied or linked."""
        return [copy for copy in self.moving if copy.warnings]

    @property
    def replacing(self) -> list[Copy]:
        """What replaces content that no run of this state has put there, as `onConflict: overwrite` says."""
        return [copy for copy in self.moving if copy.replaces]

    @property
    def kept(self) -> int:
        """How many target tags are left as they are although they hold something else."""
        return sum(copy.action is Action.SKIP and copy.failure is not None for copy in self.copies)

    @property
    def needs_attention(self) -> bool:
        """Whether something is refused or conflicts."""
        return any(copy.action in (Action.CONFLICT, Action.REFUSED) for copy in self.copies)

    @property
    def moving(self) -> list[Copy]:
        """What is copied or linked."""
        return [copy for copy in self.copies if copy.moves]
