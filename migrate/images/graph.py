"""Which blobs a plan needs, who needs them, which of them the target has: what must cross, what sharing saves."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from migrate.images.formats import Descriptor, ImageManifest, Kind
from migrate.images.unpacking import owner_of
from migrate.reference import Reference, Repository


@dataclass
class Blob:
    """One blob of a plan.

    Attributes:
        size: bytes; 0 where it is not known (Docker schema 1).
        needed_by: the target tags that are copied or linked and need it.
        held_in: paths of target repositories that were seen to have it. A hint: it is asked for before it is used.
    """

    size: int
    needed_by: list[Reference] = field(default_factory=list)
    held_in: frozenset[str] = frozenset()

    @property
    def repositories(self) -> set[str]:
        """Paths of the target repositories that need it."""
        return {target.repository.path for target in self.needed_by}


@dataclass(frozen=True)
class BlobGraph:
    """The blobs of everything that a plan copies or links, by digest."""

    blobs: Mapping[str, Blob]

    @cached_property
    def crossing(self) -> Mapping[str, Blob]:
        """Those that no target repository is known to have: each of them crosses, once."""
        return {digest: blob for digest, blob in self.blobs.items() if not blob.held_in}

    @property
    def crossing_bytes(self) -> int:
        """Bytes that must cross, as far as sizes are known."""
        return sum(blob.size for blob in self.crossing.values())

    @property
    def bytes(self) -> int:
        """Bytes of all distinct blobs."""
        return sum(blob.size for blob in self.blobs.values())

    @property
    def total_bytes(self) -> int:
        """Bytes of everything, each tag counted by itself: what a tool sends that knows of no sharing."""
        return sum(blob.size * len(blob.needed_by) for blob in self.blobs.values())

    @property
    def saved_bytes(self) -> int:
        """Bytes that need not cross, because they are shared or there already."""
        return self.total_bytes - self.crossing_bytes


def graph_of(
    needs: Iterable[tuple[Reference, Iterable[Descriptor]]], *held: Mapping[str, Collection[str]]
) -> BlobGraph:
    """The blobs that target tags need. Pure; time grows with the blobs of all tags.

    Args:
        needs: tags that are copied or linked, with their blobs.
        held: digest -> paths of target repositories that were seen to have it.
    """
    found: dict[str, Blob] = {}
    for target, blobs in needs:
        for blob in blobs:
            if blob.digest not in found:
                holders = frozenset(name for memory in held for name in memory.get(blob.digest, ()))
                found[blob.digest] = Blob(max(blob.size, 0), held_in=holders)
            found[blob.digest].needed_by.append(target)
    return BlobGraph(found)


def siblings_of(
    images: Iterable[tuple[Repository, ImageManifest]],
) -> dict[tuple[str, str], tuple[Repository, ImageManifest]]:
    """(owner, layer digest) -> an image of that owner whose config tells the layer's diffID, for schema 1's layers.

    Args:
        images: plain ones, with the repository that each is in.
    """
    images = list(images)
    wanted = {(owner_of(r), x.digest) for r, m in images if m.kind is Kind.SCHEMA1 for x in m.layers}
    told = ((r, m) for r, m in images if wanted and m.kind is Kind.IMAGE)
    return {key: (r, m) for r, m in told for x in m.layers if (key := (owner_of(r), x.digest)) in wanted}
