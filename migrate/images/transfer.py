"""Drives an executor: which job next, when to try again, when to stop. Yields each event as it happens.

Knows nothing of skopeo, registries or the database: `perform` does the work, the caller records.
"""

import heapq
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property

from migrate.images.budget import Budget
from migrate.images.delivery import Delivery
from migrate.images.failures import ONCE_MORE, Failure, FailureClass
from migrate.images.plan import Action, Copy, Plan
from migrate.images.schedule import SMALL, Schedule, Unit
from migrate.images.unpacking import Learnt
from migrate.reference import Reference, Repository

_LOOK_SECONDS = 0.2
_LAST_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Job:
    """What one worker does at a time: one image for one target repository, and all of its tags there."""

    number: int
    source: Repository
    target: Repository
    delivery: Delivery
    copies: tuple[Copy, ...]
    attempt: int = 1

    @property
    def name(self) -> str:
        """For people: the first tag, and how many more."""
        more = f" (+{len(self.copies) - 1})" if len(self.copies) > 1 else ""
        return f"{self.copies[0].target.short}{more}"

    @cached_property
    def blobs(self) -> frozenset[str]:
        """Digests of the blobs that must be at the target."""
        return frozenset(blob.digest for blob in self.delivery.blobs)

    @property
    def unit(self) -> Unit:
        """What the schedule is to know of it."""
        return Unit({blob.digest: blob.size for blob in self.delivery.blobs}, self.source.registry)


@dataclass(frozen=True)
class CopyResult:
    """How one copy ended; `failure` is None where the target gave back what was wanted.

    `bytes` were sent for it (a job's bytes count for its first copy); `size` bytes have its layers and config at the
    target, 0 where that is not known; times are seconds since the epoch; `note` is what else is to be known, in words.
    """

    copy: Copy
    failure: Failure | None
    target_digest: str = ""
    target_media_type: str = ""
    bytes: int = 0
    size: int = 0
    started: float = 0.0
    ended: float = 0.0
    attempt: int = 1
    note: str = ""


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Attributes:
        blobs: (digest, bytes) now known to be in its target repository.
        diff_ids: what was learnt of layers since a job ended last.
        arrived: target tag -> digest of what was put there, and is not what was to be (bench.Bench.arrived).
        worker: which machine or process did it; empty for this one.
    """

    job: Job
    results: tuple[CopyResult, ...]
    blobs: tuple[tuple[str, int], ...] = ()
    diff_ids: tuple[Learnt, ...] = ()
    arrived: Mapping[Reference, str] = field(default_factory=dict)
    worker: str = ""


@dataclass(frozen=True)
class Started:
    """A worker has begun with a job."""

    job: Job


@dataclass(frozen=True)
class Finished:
    """A job has ended; its failures are final."""

    result: JobResult


@dataclass(frozen=True)
class Retrying:
    """Some of a job's copies failed in a way that may pass; they are tried again at `at` (seconds since the epoch)."""

    result: JobResult
    at: float


Event = Started | Finished | Retrying


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after how long, a failed copy is tried again: full jitter, doubling, in seconds."""

    attempts: int = 5
    first: float = 2.0
    longest: float = 120.0

    def delay(self, attempt: int, failure: Failure, dice: Callable[[], float] = random.random) -> float:
        """Seconds before the next attempt, at least what the registry asked for."""
        backoff = min(self.first * 2.0 ** (attempt - 1), self.longest)
        return max(failure.retry_after, backoff * (0.5 + dice() / 2))


@dataclass
class Stop:
    """Two wishes: begin nothing new; and end at once what is running. `limit` is the limit that asked, if one did."""

    soon: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)
    grace: float = 30.0
    limit: str = ""


def jobs_of(plan: Plan) -> list[Job]:
    """The plan's copies as jobs, in its order.

    Aliases are none: they are made when everything else is done.
    """
    groups: dict[tuple[object, ...], list[Copy]] = defaultdict(list)
    for copy in plan.copies:
        if copy.action in (Action.COPY, Action.LINK) and copy.delivery and not copy.alias:
            repositories = (copy.source.repository, copy.target.repository)
            groups[
                *repositories, copy.source.digest, copy.options.format, copy.options.engine, copy.options.platforms
            ].append(copy)
    jobs = [
        Job(0, copies[0].source.repository, copies[0].target.repository, copies[0].delivery, tuple(copies))
        for copies in groups.values()
        if copies[0].delivery
    ]
    return [replace(job, number=number) for number, job in enumerate(jobs)]


def run_jobs(
    jobs: Sequence[Job],
    perform: Callable[[Job], JobResult],
    executor: Executor,
    workers: int,
    stop: Stop,
    retries: Retries = Retries(),
    at_target: Iterable[str] = (),
    held: Callable[[Job], bool] = lambda _: False,
    gone: Callable[[Job], bool] = lambda _: False,
    budget: Budget | None = None,
    expected: Callable[[Job], int] = lambda job: job.delivery.size,
    ranks: Sequence[float] | None = None,
    small: int = SMALL,
) -> Iterator[Event]:
    """Do the jobs, `workers` at a time, in the order of schedule.py: each blob crosses once.

    After `stop.soon` nothing begins; what runs may end for `stop.grace` seconds, then `stop.now` is set for it, and
    what does not end even then is left alone.
    A failure of one job never touches the others.

    Args:
        jobs: what is to be done.
        perform: does one, in a worker.
        executor: runs `perform`.
        workers: how many at a time.
        stop: the wishes of whoever watches.
        retries: how often failures that may pass are tried again.
        at_target: digests of blobs that some repository of the target registry has.
        held: whether a job is not to begin now, because a registry of it is to be left alone.
        gone: whether a registry of a job was given up: then nothing of it is tried again.
        budget: bytes that may be sent; what does not fit into it is not begun.
        expected: how many bytes a job would send, as far as is known now.
        ranks: for each job, the higher the earlier; the fastest order where not given.
        small: bytes for which a job may begin although another one brings them: 0 where workers know nothing of each
            other.
    """
    schedule = Schedule(_with_known_sizes([job.unit for job in jobs]), at_target, ranks, small, both_ends=ranks is None)
    return _Run(
        list(jobs), schedule, perform, executor, workers, stop, retries, held, gone, budget or Budget(), expected
    ).events()


class _Run:
    """What is waiting, running, and to be tried again later. Jobs are known to the schedule by their places."""

    def __init__(
        self,
        jobs: list[Job],
        schedule: Schedule,
        perform: Callable[[Job], JobResult],
        executor: Executor,
        workers: int,
        stop: Stop,
        retries: Retries,
        held: Callable[[Job], bool],
        gone: Callable[[Job], bool],
        budget: Budget,
        expected: Callable[[Job], int],
    ) -> None:
        self._jobs = jobs
        self._schedule = schedule
        self._perform = perform
        self._executor = executor
        self._workers = workers
        self._stop = stop
        self._retries = retries
        self._held = held
        self._gone = gone
        self._budget = budget
        self._expected = expected
        self._has_begun = True
        self._running: dict[Future[JobResult], int] = {}
        self._later: list[tuple[float, int]] = []

    def events(self) -> Iterator[Event]:
        stopped_at: float | None = None
        while self._running or (not self._stop.soon.is_set() and self._is_left):
            if self._stop.soon.is_set():
                stopped_at = stopped_at or time.monotonic()
                waited = time.monotonic() - stopped_at
                if waited > self._stop.grace:
                    self._stop.now.set()
                if waited > self._stop.grace + _LAST_SECONDS:
                    return  # a registry that never answers keeps its worker; nobody waits for that one
            else:
                yield from self._begin()
                if not self._running and self._has_begun:  # a last time: nothing more is going to be settled
                    self._has_begun = False
                    self._offer_again(self._budget.waiting)
            yield from self._collect()

    @property
    def _is_left(self) -> bool:
        return bool(len(self._schedule) or self._later or (self._has_begun and self._budget.waiting))

    def _offer_again(self, most: int) -> None:
        """What did not fit into the budget may by now: less was sent than set aside, or blobs of it have landed."""
        for place in self._budget.again(most):
            self._schedule.again(place)

    def _begin(self) -> Iterator[Event]:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._schedule.again(heapq.heappop(self._later)[1])
        while len(self._running) < self._workers:
            place = self._schedule.take(lambda each: self._held(self._jobs[each]))
            if place is None:
                return
            job = self._jobs[place]
            if not self._budget.take(place, self._expected(job)):
                self._schedule.ended(place, ())
                continue
            self._has_begun = True
            self._running[self._executor.submit(self._perform, job)] = place
            yield Started(job)

    def _collect(self) -> Iterator[Event]:
        if not self._running:
            time.sleep(_LOOK_SECONDS)
            return
        done, _ = wait(self._running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            place = self._running.pop(future)
            result = _result(self._jobs[place], future)
            self._budget.settle(place, sum(each.bytes for each in result.results))
            self._schedule.ended(place, (digest for digest, _ in result.blobs))
            yield from self._ended(place, result)
        if done:
            self._offer_again(2 * self._workers)

    def _ended(self, place: int, result: JobResult) -> Iterator[Event]:
        job = self._jobs[place]
        again = [r for r in result.results if r.failure and _may_pass(r.failure, job.attempt)]
        if not again or job.attempt >= self._retries.attempts or self._stop.soon.is_set() or self._gone(job):
            yield Finished(result)
            return
        final = tuple(r for r in result.results if r not in again)
        if final:
            yield Finished(replace(result, results=final))
        delay = max(self._retries.delay(job.attempt, r.failure) for r in again if r.failure)
        self._jobs[place] = replace(job, copies=tuple(r.copy for r in again), attempt=job.attempt + 1)
        heapq.heappush(self._later, (time.monotonic() + delay, place))
        yield Retrying(replace(result, results=tuple(again)), time.time() + delay)


def _with_known_sizes(units: list[Unit]) -> list[Unit]:
    """What schema 1 does not tell of a layer, another image that has it tells."""
    sizes = {digest: size for unit in units for digest, size in unit.blobs.items() if size >= 0}
    return [replace(unit, blobs={digest: sizes.get(digest, -1) for digest in unit.blobs}) for unit in units]


def _may_pass(failure: Failure, attempt: int) -> bool:
    return failure.retry or (failure.kind in ONCE_MORE and attempt == 1)


def _result(job: Job, future: Future[JobResult]) -> JobResult:
    """A worker that raises has a bug or died; that too fails only its own job."""
    if future.cancelled():
        failure = Failure(FailureClass.INTERRUPTED, "")
    elif error := future.exception():
        failure = Failure(FailureClass.UNKNOWN, f"the worker failed: {type(error).__name__}: {error}")
    else:
        return future.result()
    now = time.time()
    results = tuple(CopyResult(c, failure, started=now, ended=now, attempt=job.attempt) for c in job.copies)
    return JobResult(job, results)
