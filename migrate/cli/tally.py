"""How far a run is, in numbers and in words."""

import threading
import time

from migrate.images.transfer import Event, Finished, JobResult, Retrying
from migrate.quantities import format_duration, format_size

_SHOWN_RETRIES = 10


class Tally:
    """How far a run is: tags, bytes that were sent, bytes under way. Safe to use from many threads."""

    def __init__(self, tags: int, size: int) -> None:
        self.tags, self.size = tags, size
        self.done = self.failed = self.sent = self.retries = 0
        self.started = time.monotonic()
        self._under_way: dict[int, int] = {}
        self._lock = threading.Lock()

    def event(self, event: Event) -> None:
        """Count an event."""
        with self._lock:
            if isinstance(event, Finished):
                self._under_way.pop(event.result.job.number, None)
                self.done += len(event.result.results)
                self.failed += sum(result.failure is not None for result in event.result.results)
                self.sent += sum(result.bytes for result in event.result.results)
            elif isinstance(event, Retrying):
                self._under_way.pop(event.result.job.number, None)

    def moved(self, job: int, moved: int) -> None:
        """Note a running job's bytes."""
        with self._lock:
            self._under_way[job] = moved

    def line(self) -> str:
        """`120 of 500 tags, 1.2 GB of 3.0 GB, 45 MB/s, 40 s left, 2 failed`."""
        with self._lock:
            moved = self.sent + sum(self._under_way.values())
        seconds = max(time.monotonic() - self.started, 0.001)
        rate = moved / seconds
        parts = [f"{self.done:,} of {self.tags:,} tags"]
        if self.size:
            parts += [f"{format_size(min(moved, self.size))} of {format_size(self.size)}", f"{format_size(rate)}/s"]
        left = self._seconds_left(moved, seconds)
        if left is not None:
            parts.append(f"{format_duration(left)} left")
        if self.retries:
            parts.append(f"{self.retries:,} tried again")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        return ", ".join(parts)

    def _seconds_left(self, moved: int, seconds: float) -> float | None:
        """By tags and by bytes, the later of the two; None while nothing tells."""
        by_tags = seconds / self.done * (self.tags - self.done) if self.done else None
        by_bytes = seconds / moved * max(self.size - moved, 0) if moved and self.size else None
        known = [left for left in (by_tags, by_bytes) if left is not None]
        return max(known) if known and self.done < self.tags else None


def troubles(event: Event, tally: Tally) -> list[str]:
    """What went wrong, a line each; of the tries that are repeated only the first: an outage is not a thousand news."""
    if not isinstance(event, Retrying):
        return _failures(event.result) if isinstance(event, Finished) else []
    tally.retries += len(event.result.results)
    if tally.retries > _SHOWN_RETRIES + len(event.result.results):
        return []
    wait = format_duration(max(event.at - time.time(), 0))
    lines = [f"again in {wait}: {words}" for words in _failures(event.result)]
    return lines if tally.retries <= _SHOWN_RETRIES else [*lines, "more is tried again, and not shown one by one"]


def _failures(result: JobResult) -> list[str]:
    return [f"{r.copy.target.short}: {r.failure}" for r in result.results if r.failure]
