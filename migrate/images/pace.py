"""How much at a time one registry is asked, from how it answers: start low, grow, halve on trouble, pause when told.

Additive increase and multiplicative decrease, as TCP does it: until the first trouble every good answer adds one place
(so the number doubles with each round), after it every round adds one. Holds no connection and knows no HTTP.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum

from migrate.images.failures import Failure, FailureClass
from migrate.quantities import format_duration

FEWEST, MOST = 16, 64
"""Workers by default, on a link of no length and on a long one."""
_WORKERS_A_SECOND = 1000.0
"""Of a round trip: 36 workers on a link of 20 ms (docs/benchmarks.md)."""
LONGEST_WAIT = 60.0
"""Seconds that a worker waits by itself; where a registry asks for more, the worker does something else meanwhile."""
PATIENCE = 600.0
_START = 4
_ROUNDS_BEFORE_PAUSE = 3
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LOOK_SECONDS = 0.5
_NEVER = float("-inf")
TROUBLE = {
    FailureClass.RATE_LIMITED,
    FailureClass.UNAVAILABLE,
    FailureClass.TIMEOUT,
    FailureClass.STALLED,
    FailureClass.NETWORK,
}
"""What a registry says, or does not, that has too much to do or cannot be reached."""


class Lane(Enum):
    """What is counted apart: our own requests (short), and runs of skopeo (long, each with requests of its own)."""

    REQUESTS = "requests"
    COPIES = "copies"


class PausedError(Exception):
    """Nothing may be asked now; `failure` says why, and in how many seconds again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass
class _Places:
    """A lane's places: how many may be taken now, how many at most, how many are, and when they were last halved."""

    limit: float
    most: int
    taken: int = 0
    halved: float = _NEVER

    @property
    def is_full(self) -> bool:
        return self.taken >= int(self.limit)

    def grow(self) -> None:
        self.limit = min(self.limit + (1 if self.halved == _NEVER else 1 / self.limit), self.most)

    def halve(self, now: float) -> None:
        self.limit, self.halved = max(self.limit / 2, 1.0), now


class _Held(threading.local):
    """The lanes in which this thread holds a place."""

    def __init__(self) -> None:
        self.lanes: set[Lane] = set()


class Pace:
    """The places at one registry. Safe to use from many threads.

    Args:
        host: for messages.
        requests: requests at a time at most.
        copies: runs of skopeo at a time at most.
        patience: seconds without one good answer after which the registry counts as gone.
        stopped: set where waiting makes no sense any more.
        tell: told when the registry stops and begins to answer.
        clock: seconds, monotonic.

    Attributes:
        longest_wait: seconds that a thread waits in a pause; where the registry asks for more, its work is put off.
        round_trip: seconds that the fastest good answer took; 0 before the first.
        answers: good answers so far.
    """

    def __init__(
        self,
        host: str,
        requests: int = MOST,
        copies: int = 1024,
        patience: float = PATIENCE,
        stopped: threading.Event | None = None,
        tell: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._lanes = {
            lane: _Places(min(_START, most), most) for lane, most in ((Lane.REQUESTS, requests), (Lane.COPIES, copies))
        }
        self._patience = patience
        self.longest_wait = float("inf")
        self._stopped = stopped or threading.Event()
        self._tell = tell
        self._clock = clock
        self._changed = threading.Condition()
        self._held = _Held()
        self._resume_at = _NEVER
        self._rounds = 0
        self._trouble_since = 0.0
        self._last: Failure | None = None
        self.round_trip = 0.0
        self.answers = 0

    @contextmanager
    def place(self, lane: Lane) -> Iterator["Place"]:
        """Wait for a place and hold it; a thread that holds one in this lane already is let through.

        Raises:
            PausedError: the wait would be long, or makes no sense any more.
        """
        if lane in self._held.lanes:
            yield Place(self, lane, self._clock())
            return
        self._enter(lane)
        self._held.lanes.add(lane)
        try:
            yield Place(self, lane, self._clock())
        finally:
            self._held.lanes.discard(lane)
            with self._changed:
                self._lanes[lane].taken -= 1
                self._changed.notify_all()

    @property
    def paused(self) -> bool:
        """Whether nothing new should begin now."""
        return self._clock() < self._resume_at

    @property
    def stopped(self) -> bool:
        """Whether waiting makes no sense any more."""
        return self._stopped.is_set()

    @property
    def in_outage(self) -> bool:
        """Whether nothing was answered well lately; tries that fail now say nothing of what was asked."""
        return self._rounds > _ROUNDS_BEFORE_PAUSE

    @property
    def gone(self) -> Failure | None:
        """Why the registry counts as gone; None where it does not."""
        silent = self._clock() - self._trouble_since
        if self._last is None or not self.in_outage or silent <= self._patience:
            return None
        return replace(self._last, words=f"no answer for {format_duration(silent)}; the last try: {self._last.words}")

    def limit(self, lane: Lane) -> int:
        """How many places a lane has now."""
        return int(self._lanes[lane].limit)

    def _enter(self, lane: Lane) -> None:
        with self._changed:
            while self.paused or self._lanes[lane].is_full:
                pause = self._resume_at - self._clock()
                if pause > 0:
                    self._check_wait(pause)
                self._changed.wait(min(pause, _LOOK_SECONDS) if pause > 0 else _LOOK_SECONDS)
            self._lanes[lane].taken += 1

    def _check_wait(self, pause: float) -> None:
        if self._stopped.is_set():
            raise PausedError(Failure(FailureClass.INTERRUPTED, ""))
        if gone := self.gone:
            raise PausedError(gone)
        if pause > self.longest_wait:
            words = f"{self._host} asks to be left alone for {format_duration(pause)}"
            raise PausedError(Failure(FailureClass.RATE_LIMITED, words, pause))

    def _answered(self, lane: Lane, began: float) -> None:
        with self._changed:
            if lane is Lane.REQUESTS:
                took = self._clock() - began
                self.answers += 1
                self.round_trip = min(self.round_trip or took, took)
            silent, rounds = self._clock() - self._trouble_since, self._rounds
            self._rounds = 0
            self._lanes[lane].grow()
            self._changed.notify_all()
        if rounds > _ROUNDS_BEFORE_PAUSE:
            self._tell(f"{self._host} answers again, after {format_duration(silent)}")

    def _troubled(self, lane: Lane, began: float, failure: Failure) -> None:
        with self._changed:
            now, places = self._clock(), self._lanes[lane]
            new_round = began >= places.halved
            if new_round:
                places.halve(now)
            if lane is Lane.COPIES:
                return  # what fails in skopeo may be one repository's, or the other registry's
            if new_round:
                self._trouble_since = self._trouble_since if self._rounds else now
                self._rounds += 1
            beyond = self._rounds - _ROUNDS_BEFORE_PAUSE
            pause = min(_FIRST_PAUSE * 2.0 ** min(beyond, 30), _LONGEST_PAUSE) if beyond > 0 else 0.0
            self._resume_at = max(self._resume_at, now + max(failure.retry_after, pause))
            self._last = failure
        if new_round and beyond == 1:
            self._tell(f"{self._host}: {failure}; trying again for up to {format_duration(self._patience)}")


@dataclass(frozen=True, slots=True)
class Place:
    """A place that is held, and what came of the work."""

    _pace: Pace
    _lane: Lane
    _began: float

    def ended(self, failure: Failure | None) -> None:
        """The registry answered; or it said that it has too much to do, said nothing, or could not be reached."""
        if failure is None or failure.kind not in TROUBLE:
            self._pace._answered(self._lane, self._began)
        else:
            self._pace._troubled(self._lane, self._began, failure)


def workers_for(round_trip: float, cores: int) -> int:
    """How many workers keep a link busy whose round trip takes so many seconds. Pure.

    A worker mostly waits for answers, one after another: on a long link many do so side by side; on a short one they
    only wait for each other, and for the registries.
    """
    near = min(max(FEWEST, 4 * cores), MOST)
    return min(max(near, FEWEST + int(round_trip * _WORKERS_A_SECOND)), MOST)
