"""What a person sees while copies run: live bars on a terminal, a plain line now and then elsewhere. On stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from migrate.cli.options import say
from migrate.cli.tally import Tally, troubles
from migrate.cli.ticker import now_and_then
from migrate.images.plan import Plan
from migrate.images.transfer import Event, Stop


class Show(Protocol):
    """Something that shows how far a run is."""

    def event(self, event: Event) -> None:
        """A job began, ended, or is tried again later."""

    def moved(self, job: int, moved: int) -> None:
        """A running job has moved so many bytes so far; called from any thread."""


class _Plain:
    """A line for each thing that goes wrong."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def event(self, event: Event) -> None:
        self._tally.event(event)
        for words in troubles(event, self._tally):
            say(words)

    def moved(self, job: int, moved: int) -> None:
        self._tally.moved(job, moved)


class _Silent:
    """Nothing: where the output is for programs, each result is a line of its own."""

    def event(self, event: Event) -> None:
        pass

    def moved(self, job: int, moved: int) -> None:
        pass


@contextmanager
def progress(plan: Plan, tags: int, stop: Stop, *, quiet: bool) -> Iterator[Show]:
    """Show a run's progress on stderr, as suits what stderr is, and that it is stopping."""
    tally = Tally(tags, plan.graph.crossing_bytes)
    if quiet or not tags:
        yield _Silent()
    elif not sys.stderr.isatty():
        with now_and_then(tally.line):
            yield _Plain(tally)
    else:
        from migrate.cli.bars import live  # the drawing takes longer to load than a small run lasts

        with live(tally, stop) as bars:
            yield bars
