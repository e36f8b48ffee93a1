"""Drives an executor: which job next, when to try again, when to stop. Yields each event as it happens.

Knows nothing of skopeo, registries or the database: `perform` does the work, the caller records.
"""

import heapq
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count

from migrate.images.delivery import Delivery
from migrate.images.failures import Failure, FailureClass
from migrate.images.plan import Action, Copy, Plan
from migrate.reference import Repository

_LOOK_SECONDS = 0.2
_LAST_SECONDS = 5.0
_ONCE_MORE = {FailureClass.DENIED, FailureClass.NOT_FOUND}
"""Nothing tells a "no" that passes (a router's, a replica's) from one that stays: these are tried twice."""


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


@dataclass(frozen=True)
class CopyResult:
    """How one copy ended; `failure` is None where the target gave back what was wanted.

    `bytes` were sent for it (a job's bytes count for its first copy); times are seconds since the epoch; `note` is what
    else is to be known, in words.
    """

    copy: Copy
    failure: Failure | None
    target_digest: str = ""
    target_media_type: str = ""
    bytes: int = 0
    started: float = 0.0
    ended: float = 0.0
    attempt: int = 1
    note: str = ""


@dataclass(frozen=True)
class JobResult:
    """How a job ended; `blobs` are (digest, bytes) now known to be in its target repository."""

    job: Job
    results: tuple[CopyResult, ...]
    blobs: tuple[tuple[str, int], ...] = ()


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
    """Two wishes: begin nothing new; and end at once what is running."""

    soon: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)
    grace: float = 30.0


def jobs_of(plan: Plan) -> list[Job]:
    """The plan's copies as jobs, the largest first: a long one begun last would keep everybody waiting.

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
    jobs.sort(key=lambda job: (-job.delivery.size, str(job.target)))
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
) -> Iterator[Event]:
    """Do the jobs, `workers` at a time; a job waits while another one brings a blob that it needs too.

    After `stop.soon` nothing begins; what runs may end for `stop.grace` seconds, then `stop.now` is set for it, and
    what does not end even then is left alone.
    A failure of one job never touches the others.

    Args:
        jobs: in the order in which they are wanted.
        perform: does one, in a worker.
        executor: runs `perform`.
        workers: how many at a time.
        stop: the wishes of whoever watches.
        retries: how often failures that may pass are tried again.
        at_target: digests of blobs that some repository of the target registry has.
        held: whether a job is not to begin now, because a registry of it is to be left alone.
        gone: whether a registry of a job was given up: then nothing of it is tried again.
    """
    return _Run(list(jobs), perform, executor, workers, stop, retries, set(at_target), held, gone).events()


class _Run:
    """What is waiting, running, and to be tried again later; and which blobs the target is known to have."""

    def __init__(
        self,
        waiting: list[Job],
        perform: Callable[[Job], JobResult],
        executor: Executor,
        workers: int,
        stop: Stop,
        retries: Retries,
        at_target: set[str],
        held: Callable[[Job], bool],
        gone: Callable[[Job], bool],
    ) -> None:
        self._waiting = waiting
        self._perform = perform
        self._executor = executor
        self._workers = workers
        self._stop = stop
        self._retries = retries
        self._at_target = at_target
        self._held = held
        self._gone = gone
        self._sources = Counter(job.source.registry for job in waiting)
        self._running: dict[Future[JobResult], Job] = {}
        self._later: list[tuple[float, int, Job]] = []
        self._order = count()

    def events(self) -> Iterator[Event]:
        stopped_at: float | None = None
        while self._running or (not self._stop.soon.is_set() and (self._waiting or self._later)):
            if self._stop.soon.is_set():
                stopped_at = stopped_at or time.monotonic()
                waited = time.monotonic() - stopped_at
                if waited > self._stop.grace:
                    self._stop.now.set()
                if waited > self._stop.grace + _LAST_SECONDS:
                    return  # a registry that never answers keeps its worker; nobody waits for that one
            else:
                yield from self._begin()
            yield from self._collect()

    def _begin(self) -> Iterator[Event]:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            again = heapq.heappop(self._later)[2]
            self._waiting.insert(0, again)
            self._sources[again.source.registry] += 1
        while len(self._running) < self._workers:
            free = (job for job in self._waiting if not self._held(job))
            job = next_job(free, self._running.values(), self._at_target, len(+self._sources))
            if job is None:
                return
            self._waiting.remove(job)
            self._sources[job.source.registry] -= 1
            self._running[self._executor.submit(self._perform, job)] = job
            yield Started(job)

    def _collect(self) -> Iterator[Event]:
        if not self._running:
            time.sleep(_LOOK_SECONDS)
            return
        done, _ = wait(self._running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            job = self._running.pop(future)
            yield from self._ended(job, _result(job, future))

    def _ended(self, job: Job, result: JobResult) -> Iterator[Event]:
        self._at_target.update(digest for digest, _ in result.blobs)
        again = [r for r in result.results if r.failure and _may_pass(r.failure, job.attempt)]
        if not again or job.attempt >= self._retries.attempts or self._stop.soon.is_set() or self._gone(job):
            yield Finished(result)
            return
        final = tuple(r for r in result.results if r not in again)
        if final:
            yield Finished(replace(result, results=final))
        delay = max(self._retries.delay(job.attempt, r.failure) for r in again if r.failure)
        retry = replace(job, copies=tuple(r.copy for r in again), attempt=job.attempt + 1)
        heapq.heappush(self._later, (time.monotonic() + delay, next(self._order), retry))
        yield Retrying(replace(result, results=tuple(again)), time.time() + delay)


def _may_pass(failure: Failure, attempt: int) -> bool:
    return failure.retry or (failure.kind in _ONCE_MORE and attempt == 1)


def next_job(waiting: Iterable[Job], running: Iterable[Job], at_target: Set[str], sources: int = 1) -> Job | None:
    """The first job that misses no blob which a running one brings; of several sources, the least busy one's. Pure.

    A blob that is being uploaded cannot be mounted yet: two jobs at once would send it twice. A source that is slow
    or silent must not take all workers.

    Args:
        waiting: in the order in which they are wanted.
        running: under way.
        at_target: digests of blobs that some repository of the target registry has.
        sources: how many source registries the waiting jobs have; no more are looked for.
    """
    running = list(running)
    in_flight = {digest for job in running for digest in job.blobs if digest not in at_target}
    busy = Counter(job.source.registry for job in running)
    free: dict[str, Job] = {}
    for job in waiting:
        if job.source.registry not in free and in_flight.isdisjoint(job.blobs):
            free[job.source.registry] = job
            if len(free) == sources:
                break
    return min(free.values(), key=lambda job: busy[job.source.registry], default=None)


def _result(job: Job, future: Future[JobResult]) -> JobResult:
    """A worker that raises has a bug or died; that too fails only its own job."""
    error = future.exception()
    if error is None:
        return future.result()
    failure = Failure(FailureClass.UNKNOWN, f"the worker failed: {type(error).__name__}: {error}")
    now = time.time()
    results = tuple(CopyResult(c, failure, started=now, ended=now, attempt=job.attempt) for c in job.copies)
    return JobResult(job, results)
