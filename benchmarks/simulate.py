"""Orders of copying compared on a simulated link: how long, against the least that is possible, and what crosses twice.

Run: python benchmarks/simulate.py [--images 182 5000 100000] [--workers 16 1000] [--order ours] [--seed 1]

Everything is computed: a clock that jumps from event to event, one link that all transfers share evenly, and a fixed
time for the requests of each image and of each blob. The same arguments give the same figures on every machine.
The least possible is the longer of: all distinct bytes at the link's rate; the requests of all images, by all workers;
the slowest image alone.
"""

import argparse
import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from migrate.images.schedule import Schedule, Unit, ranked

MB = 1_000_000


@dataclass(frozen=True)
class Link:
    """Bytes a second for all (`rate`) and for one transfer (`one`); seconds of requests for each image and blob."""

    rate: float = 100 * MB
    image: float = 0.16
    blob: float = 0.06
    one: float = 100 * MB


@dataclass(frozen=True)
class Outcome:
    """What came of a simulated run: seconds, bytes sent, and how often the blob was sent that was sent most often."""

    seconds: float
    sent: int
    worst: int


def population(images: int, seed: int) -> list[Unit]:
    """Applications over a few bases: few large shared layers, many small ones of their own; a few giants."""
    dice = random.Random(seed)
    bases = [_layers(dice, f"base{number}", dice.randint(1, 5), 17, 1.1) for number in range(max(2, images // 60))]
    units: list[Unit] = []
    stacks: list[dict[str, int]] = []
    while len(units) < images:
        base = bases[min(int(dice.paretovariate(0.7)) - 1, len(bases) - 1)]
        stack = {**base, **_layers(dice, f"app{len(stacks)}", dice.randint(0, 3), 15, 1.3)}
        stacks.append(stack)
        for _ in range(min(dice.randint(1, 12), images - len(units))):
            own = _layers(dice, f"image{len(units)}", dice.randint(1, 3), 13, 1.8)
            config = {f"config{len(units)}": dice.randint(1_000, 9_000)}
            units.append(Unit({**stack, **own, **config}))
    return units


def _layers(dice: random.Random, name: str, number: int, middle: float, spread: float) -> dict[str, int]:
    return {f"{name}.{each}": int(min(dice.lognormvariate(middle, spread), 2_000 * MB)) for each in range(number)}


def least(units: Sequence[Unit], workers: int, link: Link) -> float:
    """Seconds below which no order can come."""
    distinct = {digest: size for unit in units for digest, size in unit.blobs.items()}
    requests = len(units) * link.image + len(distinct) * link.blob
    slowest = max(link.image + sum(size for size in unit.blobs.values()) / link.one for unit in units)
    longest = max(max(unit.blobs.values()) / link.one for unit in units) + link.image
    return max(sum(distinct.values()) / link.rate, requests / workers, longest if slowest > longest else slowest)


class Naive:
    """What `xargs -P` does: the next in the list, whatever is under way."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._left = list(range(len(units)))[::-1]

    def take(self) -> int | None:
        """The next."""
        return self._left.pop() if self._left else None

    def ended(self, number: int, landed: Sequence[str]) -> None:
        """Nothing follows."""


def simulate(units: Sequence[Unit], workers: int, link: Link, schedule: Schedule | Naive) -> Outcome:
    """Run a schedule on a link.

    How long sending takes is counted in bytes that each transfer has been given: with evenly shared rates a transfer
    that begins at that count ends at it plus its bytes, whoever comes and goes meanwhile. An image that began although
    another one was bringing a blob of it waits for that blob at its end; the naive pool sends it once more.
    """
    waits = isinstance(schedule, Schedule)
    now = given = 0.0
    talking: list[tuple[float, int]] = []  # (when the requests are done, image)
    sending: list[tuple[float, int]] = []  # (how much is given by then, image)
    waiting: dict[int, set[str]] = {}  # image -> blobs that others bring
    brings: dict[int, set[str]] = {}
    flying: Counter[str] = Counter()
    landed: set[str] = set()
    uploads: Counter[str] = Counter()
    sent, free = 0, workers

    def done(number: int) -> None:
        nonlocal free
        schedule.ended(number, list(units[number].blobs))
        free += 1

    while True:
        while free and (number := schedule.take()) is not None:
            free -= 1
            missing = {digest for digest in units[number].blobs if digest not in landed}
            waiting[number] = {digest for digest in missing if flying[digest]} if waits else set()
            brings[number] = missing - waiting[number]
            flying.update(brings[number])
            heapq.heappush(talking, (now + link.image + link.blob * len(missing), number))
        if not talking and not sending:
            return Outcome(now, sent, max(uploads.values(), default=0))
        rate = min(link.rate / len(sending), link.one) if sending else 0.0
        next_sent = now + (sending[0][0] - given) / rate if sending else float("inf")
        next_talk = talking[0][0] if talking else float("inf")
        given += rate * (min(next_sent, next_talk) - now)
        now = min(next_sent, next_talk)
        if next_talk <= next_sent:
            number = heapq.heappop(talking)[1]
            uploads.update(brings[number])
            size = sum(units[number].blobs[digest] for digest in brings[number])
            sent += size
            heapq.heappush(sending, (given + size, number))
            continue
        given, number = heapq.heappop(sending)
        flying.subtract(brings[number])
        landed |= brings.pop(number)
        waiting[number] -= landed
        for each in [each for each, blobs in waiting.items() if each not in brings and blobs <= landed]:
            del waiting[each]
            done(each)


def orders(units: Sequence[Unit], seed: int) -> dict[str, Callable[[], Schedule | Naive]]:
    """The orders that are compared."""
    size = [float(sum(unit.blobs.values())) for unit in units]
    shared = Counter(digest for unit in units for digest in unit.blobs)
    unlocks = [float(sum(shared[digest] for digest in unit.blobs)) for unit in units]
    dice = random.Random(seed)
    shuffled = [dice.random() for _ in units]
    rank = ranked(units)

    def one_end(ranks: Sequence[float]) -> Callable[[], Schedule]:
        return lambda: Schedule(units, ranks=ranks, both_ends=False)

    return {
        "as listed, nobody waits (xargs -P)": lambda: Naive(units),
        "as listed": one_end([-float(number) for number in range(len(units))]),
        "shuffled": one_end(shuffled),
        "smallest first": one_end([-each for each in size]),
        "largest first": one_end(size),
        "most unlocked first": one_end(unlocks),
        "bytes x images that miss them, first": one_end(rank),
        "largest, and smallest": lambda: Schedule(units, ranks=size),
        "bytes x images that miss them, and least (ours)": lambda: Schedule(units),
        "the same, never beginning early": lambda: Schedule(units, small=-1),
    }


def main() -> None:
    """Print a Markdown table for each population and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[182, 5_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 1_000])
    parser.add_argument("--rate", type=float, default=100.0, help="MB a second of the whole link")
    parser.add_argument("--one", type=float, default=100.0, help="MB a second that one transfer gets at most")
    parser.add_argument("--order", default="", help="only orders whose name has this in it")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    link = Link(rate=asked.rate * MB, one=asked.one * MB)
    for images in asked.images:
        units = population(images, asked.seed)
        distinct = sum({digest: size for unit in units for digest, size in unit.blobs.items()}.values())
        for workers in asked.workers:
            bound = least(units, workers, link)
            print(f"\n{images} images, {workers} workers; {distinct / MB:,.0f} MB distinct; at least {bound:,.1f} s\n")
            print("| order | s | against the least | written / distinct | worst re-upload | s to compute |")
            print("|---|---|---|---|---|---|")
            chosen = {name: made for name, made in orders(units, asked.seed).items() if asked.order in name}
            for name, made in chosen.items():
                began = time.perf_counter()
                got = simulate(units, workers, link, made())
                spent = time.perf_counter() - began
                print(
                    f"| {name} | {got.seconds:,.1f} | x{got.seconds / bound:.3f} | {got.sent / distinct:.3f}"
                    f" | x{got.worst} | {spent:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
