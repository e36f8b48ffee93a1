"""Which image next, so that each blob crosses once and neither the link nor a worker waits. Pure: no clock, no threads.

What takes long is of two sorts: bytes, which the link limits, and requests, which its latency limits and which many
workers do side by side. So half of the workers take the images that bring most (`ranked`), which keeps the link full
and brings early what others wait for; the other half take the ones that bring least. They meet in the middle, where
both sorts end together. The rules, in the order in which they are asked:

1. Of several source registries, the one with the fewest images under way: one that is slow or silent must not take
   all workers.
2. From the end that fewer workers are at, the first image that misses no blob which another one is bringing now: a blob
   under way cannot be mounted yet, so two images at once would send it twice. An image that cannot begin is set aside
   under that blob, and comes back when the blob has landed or its bringer has ended.
3. Where nothing may begin and a worker is free: one that was set aside for few bytes (`SMALL`). It does everything
   else meanwhile, and waits for those bytes at the end.

Nothing starves: an image is set aside only for a blob that an image under way brings, and comes back when that one
ends, however it ends; each blob lands once. The two ends take every image that is ready sooner or later.
One `take` costs O(blobs of the images looked at): in all O(all blobs), whatever the number of workers.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

SMALL = 16 * 2**20
"""Bytes for which an image may begin although another one is bringing them."""
UNKNOWN_SIZE = 64 * 2**20
"""What a blob counts for whose size nobody tells (Docker schema 1)."""
_AT_ONCE = float("inf")


@dataclass(frozen=True, slots=True)
class Unit:
    """One image as the schedule sees it: its blobs (digest -> bytes, -1 where not known), and where it comes from."""

    blobs: Mapping[str, int]
    source: Hashable = ""

    @property
    def size(self) -> int:
        """Bytes of all of its blobs."""
        return sum(_bytes(size) for size in self.blobs.values())


def ranked(units: Sequence[Unit], at_target: Iterable[str] = ()) -> list[float]:
    """How much is to be gained by beginning each image early: bytes that it misses, each as often as it is missed.

    A base layer that a hundred images wait for counts a hundredfold; a large image comes before a small one, for begun
    last it would keep everybody waiting.
    """
    there = set(at_target)
    wanted = Counter(digest for unit in units for digest in unit.blobs if digest not in there)
    return [
        float(sum(_bytes(size) * wanted[digest] for digest, size in unit.blobs.items() if digest not in there))
        for unit in units
    ]


def _bytes(size: int) -> int:
    return size if size >= 0 else UNKNOWN_SIZE


class _State(Enum):
    READY = "ready"
    ASIDE = "set aside"
    UNDER_WAY = "under way"
    ENDED = "ended"


@dataclass
class _Queue:
    """The images of one source that are ready, from both ends; entries whose image is no longer ready are passed over.

    `largest` and `smallest` are heaps of (key, number); `busy` counts the images under way by end.
    """

    largest: list[tuple[float, int]] = field(default_factory=list)
    smallest: list[tuple[float, int]] = field(default_factory=list)
    busy: list[int] = field(default_factory=lambda: [0, 0])


class Schedule:
    """The images that wait and those under way. Not for many threads: whoever hands out work asks it.

    Args:
        units: the images; they are known by their places in this list.
        ranks: the higher, the earlier; `ranked` where not given. Equal ones go in the order of the list.
        at_target: digests that some repository of the target registry has: these are mounted and cross no more.
        small: bytes for which nobody waits to begin.
        both_ends: whether half of the workers begin with the smallest.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        at_target: Iterable[str] = (),
        ranks: Sequence[float] | None = None,
        small: int = SMALL,
        *,
        both_ends: bool = True,
    ) -> None:
        self._units = units
        self._landed = set(at_target)
        self._ranks = list(ranks if ranks is not None else ranked(units, self._landed))
        self._small = small
        self._both_ends = both_ends
        self._state = [_State.READY] * len(units)
        self._queues: dict[Hashable, _Queue] = defaultdict(_Queue)
        self._aside: dict[str, list[int]] = defaultdict(list)
        self._nearly: list[tuple[float, int]] = []
        self._flying: Counter[str] = Counter()
        self._brings: dict[int, tuple[int, tuple[str, ...]]] = {}
        self._waiting = len(units)
        for number in range(len(units)):
            self._make_ready(number)

    def __len__(self) -> int:
        """How many images have not begun, or wait to be tried again."""
        return self._waiting

    def take(self, held: Callable[[int], bool] = lambda _: False) -> int | None:
        """The image to begin with now; None where none may. `held` says which are not to begin now."""
        for queue in sorted(self._queues.values(), key=lambda each: sum(each.busy)):
            end = int(self._both_ends and queue.busy[0] > queue.busy[1])
            number = self._next_of(queue.smallest if end else queue.largest, held)
            if number is not None:
                return self._begun(number, end)
        number = self._nearly_free(held)
        return None if number is None else self._begun(number, 1)

    def ended(self, number: int, landed: Iterable[str]) -> None:
        """An image is no longer under way, and these of its blobs are at the target."""
        self._landed.update(landed)
        self._state[number] = _State.ENDED
        end, brought = self._brings.pop(number)
        self._queues[self._units[number].source].busy[end] -= 1
        for digest in brought:
            self._flying[digest] -= 1
            if not self._flying[digest]:
                del self._flying[digest]
            for waiting in self._aside.pop(digest, ()):
                if self._state[waiting] is _State.ASIDE:
                    self._make_ready(waiting)

    def again(self, number: int) -> None:
        """An image that has ended is to be tried again; before all others, for it has waited."""
        self._waiting += 1
        self._ranks[number] = _AT_ONCE
        self._make_ready(number)

    def _make_ready(self, number: int) -> None:
        self._state[number] = _State.READY
        queue, rank = self._queues[self._units[number].source], self._ranks[number]
        heapq.heappush(queue.largest, (-rank, number))
        heapq.heappush(queue.smallest, (rank if rank < _AT_ONCE else -_AT_ONCE, number))

    def _next_of(self, heap: list[tuple[float, int]], held: Callable[[int], bool]) -> int | None:
        """The first of a queue that may begin; those before it that may not are set aside."""
        while heap:
            number = heap[0][1]
            if self._state[number] is not _State.READY:
                heapq.heappop(heap)
            elif held(number):
                return None  # a registry is left alone as a whole
            elif under_way := self._under_way(number):
                heapq.heappop(heap)
                self._set_aside(number, under_way)
            else:
                heapq.heappop(heap)
                return number
        return None

    def _under_way(self, number: int) -> list[str]:
        return [d for d in self._units[number].blobs if d in self._flying and d not in self._landed]

    def _size(self, number: int, digests: Iterable[str]) -> int:
        return sum(_bytes(self._units[number].blobs[digest]) for digest in digests)

    def _set_aside(self, number: int, under_way: Sequence[str]) -> None:
        self._state[number] = _State.ASIDE
        self._aside[max(under_way, key=lambda digest: self._size(number, [digest]))].append(number)
        if self._size(number, under_way) <= self._small:
            heapq.heappush(self._nearly, (-self._ranks[number], number))

    def _nearly_free(self, held: Callable[[int], bool]) -> int | None:
        """The first of those that were set aside for few bytes."""
        passed: list[tuple[float, int]] = []
        found: int | None = None
        while self._nearly and found is None:
            entry = heapq.heappop(self._nearly)
            number = entry[1]
            is_aside = self._state[number] is _State.ASIDE
            if not is_aside or self._size(number, self._under_way(number)) > self._small:
                continue
            if held(number):
                passed.append(entry)
            else:
                found = number
        for entry in passed:
            heapq.heappush(self._nearly, entry)
        return found

    def _begun(self, number: int, end: int) -> int:
        self._waiting -= 1
        self._state[number] = _State.UNDER_WAY
        self._queues[self._units[number].source].busy[end] += 1
        brings = tuple(digest for digest in self._units[number].blobs if digest not in self._landed)
        self._brings[number] = (end, brings)
        self._flying.update(brings)
        return number
