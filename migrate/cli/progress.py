"""What a person sees while copies run: live bars on a terminal, a plain line now and then elsewhere. On stderr."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from migrate.cli.options import say
from migrate.images.plan import Plan
from migrate.images.transfer import Event, Finished, JobResult, Retrying, Started
from migrate.quantities import format_duration, format_size

_PLAIN_SECONDS = 30.0
_NAME_WIDTH = 44
_SHOWN_RETRIES = 10


class Show(Protocol):
    """Something that shows how far a run is."""

    def event(self, event: Event) -> None:
        """A job began, ended, or is tried again later."""

    def moved(self, job: int, moved: int) -> None:
        """A running job has moved so many bytes so far; called from any thread."""


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


class _Plain:
    """A line every half minute, and one for each thing that goes wrong."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._next = time.monotonic() + _PLAIN_SECONDS

    def event(self, event: Event) -> None:
        self._tally.event(event)
        for words in _troubles(event, self._tally):
            say(words)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _PLAIN_SECONDS
            say(self._tally.line())

    def moved(self, job: int, moved: int) -> None:
        self._tally.moved(job, moved)


class _WholeBar(BarColumn):
    """A bar for the whole; workers have their bytes as text."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        return super().render(task) if task.fields["whole"] else Text("")


class _Live:
    """Bars: one for the whole, one line for what each worker does."""

    def __init__(self, tally: Tally, progress: Progress) -> None:
        self._tally, self._progress = tally, progress
        self._whole = progress.add_task("tags", total=tally.tags, words="", whole=True)
        self._workers: dict[int, TaskID] = {}

    def event(self, event: Event) -> None:
        self._tally.event(event)
        if isinstance(event, Started):
            name = escape(event.job.name[:_NAME_WIDTH])
            self._workers[event.job.number] = self._progress.add_task(f"  {name}", total=None, words="", whole=False)
        else:
            task = self._workers.pop(event.result.job.number, None)
            if task is not None:
                self._progress.remove_task(task)
        for words in _troubles(event, self._tally):
            self._progress.console.print(escape(words), highlight=False)
        self._progress.update(self._whole, completed=self._tally.done, words=self._tally.line())

    def moved(self, job: int, moved: int) -> None:
        self._tally.moved(job, moved)
        task = self._workers.get(job)
        if task is not None:
            self._progress.update(task, words=format_size(moved))
            self._progress.update(self._whole, words=self._tally.line())


class _Silent:
    """Nothing: where the output is for programs, each result is a line of its own."""

    def event(self, event: Event) -> None:
        pass

    def moved(self, job: int, moved: int) -> None:
        pass


@contextmanager
def progress(plan: Plan, tags: int, *, quiet: bool) -> Iterator[Show]:
    """Show a run's progress on stderr, as suits what stderr is."""
    tally = Tally(tags, plan.graph.crossing_bytes)
    if quiet or not tags:
        yield _Silent()
    elif not sys.stderr.isatty():
        yield _Plain(tally)
    else:
        columns = (
            TextColumn("{task.description}"),
            _WholeBar(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _Live(tally, bars)


def _troubles(event: Event, tally: Tally) -> list[str]:
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
