"""What a gzipped layer is once it is unpacked: its diffID, computed while its bytes pass by."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from migrate.images.formats import ImageManifest
from migrate.reference import Repository

Origin = Callable[[], Iterable[bytes]]
"""Gives a blob's bytes from the beginning, each time it is called."""
_GZIP = 16 + zlib.MAX_WBITS
_AT_A_TIME = 2**20


class StrangeLayerError(Exception):
    """A layer that is not gzipped, or not whole: skopeo decides what becomes of it."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A layer: the digest of what it is unpacked (OCI config.md, "Layer DiffID"), and the bytes that it is packed."""

    diff_id: str
    size: int


Learnt = tuple[str, str, Unpacked]
"""Whose config told it (`owner_of`; empty for what was unpacked here), the layer's digest, what it is."""


def owner_of(repository: Repository) -> str:
    """Whose images these are: a project of a registry."""
    return f"{repository.registry}/{repository.project}"


class Watcher:
    """Passes a layer's bytes on, and knows its diffID when all have passed."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._begin()

    def _begin(self) -> None:
        self._unpacker, self._hash, self._size = zlib.decompressobj(_GZIP), hashlib.sha256(), 0

    def __call__(self) -> Iterator[bytes]:
        """The bytes, from the beginning.

        Raises:
            StrangeLayerError: they are not gzipped.
        """
        self._begin()
        for chunk in filter(None, self._origin()):
            self._see(chunk)
            yield chunk

    @property
    def is_whole(self) -> bool:
        """Whether all of it has passed."""
        return self._unpacker.eof

    @property
    def unpacked(self) -> Unpacked:
        """What it is.

        Raises:
            StrangeLayerError: not all of it has passed.
        """
        if not self.is_whole:
            raise StrangeLayerError("a layer that ends in the middle")
        return Unpacked(f"sha256:{self._hash.hexdigest()}", self._size)

    def _see(self, chunk: bytes) -> None:
        self._size += len(chunk)
        while True:
            if self._unpacker.eof:  # gzip files may stand one behind the other (RFC 1952, 2.2)
                self._unpacker = zlib.decompressobj(_GZIP)
            try:
                data = self._unpacker.decompress(chunk, _AT_A_TIME)
            except zlib.error as error:
                raise StrangeLayerError(f"a layer that is not gzipped: {error}") from None
            self._hash.update(data)
            chunk = self._unpacker.unused_data if self._unpacker.eof else self._unpacker.unconsumed_tail
            if not chunk and (self._unpacker.eof or len(data) < _AT_A_TIME):
                return


class DiffIds:
    """The diffIDs that are known: unpacked by this program, now or before, or told by the configs of other images.

    Nobody but the unpacking proves a diffID, so a config is believed only for images of its own owner (`owner_of`).
    Safe to use from many threads.

    Args:
        known: (owner, layer digest) -> what it is, of earlier runs; the owner is empty for what was unpacked.
        siblings: (owner, layer digest) -> an image with a config that has this layer.
    """

    def __init__(
        self,
        known: Mapping[tuple[str, str], Unpacked] | None = None,
        siblings: Mapping[tuple[str, str], tuple[Repository, ImageManifest]] | None = None,
    ) -> None:
        self._known = dict(known or {})
        self._siblings = siblings or {}
        self._fresh: list[Learnt] = []
        self._lock = Lock()

    def get(self, digest: str, owner: str) -> Unpacked | None:
        """What a layer is, for an image of an owner."""
        with self._lock:
            return self._known.get(("", digest)) or self._known.get((owner, digest))

    def sibling(self, digest: str, owner: str) -> tuple[Repository, ImageManifest] | None:
        """An image of that owner whose config tells."""
        return self._siblings.get((owner, digest))

    def tell(self, owner: str, manifest: ImageManifest, diff_ids: Sequence[str]) -> None:
        """A config has told what the gzipped layers of its image are; the others are left to skopeo anyway."""
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            if layer.media_type.endswith("gzip") and layer.size >= 0:
                self._add(owner, layer.digest, Unpacked(diff_id, layer.size))

    def add(self, digest: str, unpacked: Unpacked) -> None:
        """A layer was unpacked."""
        self._add("", digest, unpacked)

    def _add(self, owner: str, digest: str, unpacked: Unpacked) -> None:
        with self._lock:
            if self._known.get((owner, digest)) != unpacked:
                self._known[owner, digest] = unpacked
                self._fresh.append((owner, digest, unpacked))

    def hint(self, learnt: Iterable[Learnt]) -> None:
        """What somebody else has learnt."""
        with self._lock:
            self._known.update({(owner, digest): unpacked for owner, digest, unpacked in learnt})

    def about(self, digests: Iterable[str]) -> tuple[Learnt, ...]:
        """What is known of layers, whoever their owner is."""
        wanted = set(digests)
        with self._lock:
            return tuple((owner, digest, it) for (owner, digest), it in self._known.items() if digest in wanted)

    def fresh(self) -> list[Learnt]:
        """What was learnt since this was asked last."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            return fresh
