"""What a run did over its time: bytes a second, and copies at work, in slots of equal length. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from migrate.report.model import Slot

SLOTS = 120
_SHORTEST = 0.001


def timeline_of(attempts: Sequence[Mapping[str, Any]], slots: int = SLOTS) -> Iterator[Slot]:
    """The slots of some tries; the bytes of each are spread over its time evenly.

    Args:
        attempts: with `started_at`, `ended_at` (RFC 3339) and `bytes`; the times of jobs of several tags count once.
        slots: how many there are.
    """
    spans = _spans(attempts)
    if not spans:
        return
    first, last = min(begin for begin, _, _ in spans), max(end for _, end, _ in spans)
    width = max((last - first) / slots, _SHORTEST)
    moved, busy = [0.0] * slots, [0.0] * slots
    for begin, end, size in spans:
        for place in range(int((begin - first) / width), min(int((end - first) / width), slots - 1) + 1):
            start = first + place * width
            share = max(min(end, start + width) - max(begin, start), 0.0)
            busy[min(place, slots - 1)] += share
            moved[min(place, slots - 1)] += size * share / (end - begin)
    zero = datetime.fromtimestamp(first, UTC)
    for place in range(slots):
        at = (zero + timedelta(seconds=place * width)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        yield Slot(at, round(width, 6), round(moved[place] / width, 1), round(busy[place] / width, 3))


def _spans(attempts: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, int]]:
    """Begin, end (seconds since the epoch) and bytes of each job: its tags began together, the first has the bytes."""
    jobs: dict[tuple[str, str], tuple[float, int]] = {}
    for row in attempts:
        key = (str(row["target"]).rpartition(":")[0], str(row["started_at"]))
        end, size = jobs.get(key, (0.0, 0))
        jobs[key] = (max(end, _seconds(row["ended_at"])), size + (row["bytes"] or 0))
    begun = {key: _seconds(key[1]) for key in jobs}
    return [(begun[key], max(end, begun[key] + _SHORTEST), size) for key, (end, size) in jobs.items()]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
