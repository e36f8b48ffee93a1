"""The values that a plan is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from migrate.images.delivery import Delivery
from migrate.images.failures import FailureClass
from migrate.images.formats import ImageManifest
from migrate.manifest import ImageOptions
from migrate.reference import Reference


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
        failure: the class, for REFUSED.
        present: the digest that the target tag had when it was looked up; empty for none.
        warnings: what is lost or changes.
        delivery: what is to stand at the target; None where that is not known.
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

    @property
    def size(self) -> int:
        """Bytes of the image, as far as they are known."""
        return self.delivery.size if self.delivery else 0


Delivered = Mapping[str, str]
"""What this tool put, or began to put, under a target tag: target digest -> the source digest that it was made of."""


@dataclass(frozen=True)
class Plan:
    """Every wanted tag with what happens to it, in the manifest's order, and the image manifests that were read."""

    copies: tuple[Copy, ...]
    image_manifests: Mapping[str, ImageManifest] = field(default_factory=dict)

    def count(self, action: Action) -> int:
        """How many tags have this action."""
        return sum(copy.action is action for copy in self.copies)

    @property
    def total_bytes(self) -> int:
        """Bytes of everything that is copied or linked, each tag counted by itself."""
        return sum(copy.size for copy in self._moving())

    @property
    def unique_bytes(self) -> int:
        """Bytes of the distinct blobs among what is copied: what must cross at most."""
        copied = (copy for copy in self.copies if copy.action is Action.COPY and copy.delivery)
        return sum({b.digest: max(b.size, 0) for copy in copied if copy.delivery for b in copy.delivery.blobs}.values())

    @property
    def needs_attention(self) -> bool:
        """Whether something is refused or conflicts."""
        return any(copy.action in (Action.CONFLICT, Action.REFUSED) for copy in self.copies)

    def _moving(self) -> list[Copy]:
        return [copy for copy in self.copies if copy.action in (Action.COPY, Action.LINK)]
