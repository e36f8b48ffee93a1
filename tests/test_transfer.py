"""The pool: every job ends once, no blob is brought twice at a time, failures stay alone, stopping stops."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from migrate.images.delivery import Delivery, Method, Part
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import DOCKER_CONFIG, DOCKER_MANIFEST, manifest_of, sha256
from migrate.images.plan import Action, Copy, Plan
from migrate.images.transfer import (
    CopyResult,
    Event,
    Finished,
    Job,
    JobResult,
    Retries,
    Retrying,
    Started,
    Stop,
    jobs_of,
    run_jobs,
)
from migrate.manifest import ImageOptions
from migrate.reference import Reference, Repository

QUICK = Retries(attempts=3, first=0.001, longest=0.002)


def blob(name: str) -> str:
    return sha256(name.encode())


def delivery(layers: list[str]) -> Delivery:
    manifest = manifest_of(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "digest": sha256("".join(layers).encode()), "size": 2**25},
            "layers": [
                {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": blob(name), "size": 2**25}
                for name in layers
            ],
        }
    )
    return Delivery(Method.CARRY, (Part(manifest, manifest),), manifest)


def copy(name: str, layers: list[str], action: Action = Action.COPY) -> Copy:
    made = delivery(layers)
    assert made.top
    source = Reference(Repository("old", f"p/{name}"), "1", made.top.digest)
    return Copy(source, Reference(Repository("new", f"p/{name}"), "1"), action, "", ImageOptions(), delivery=made)


def jobs(layer_lists: list[list[str]]) -> list[Job]:
    return jobs_of(Plan(tuple(copy(f"i{n}", layers) for n, layers in enumerate(layer_lists))))


def result(job: Job, failure: Failure | None = None) -> JobResult:
    blobs = () if failure else tuple((digest, 1) for digest in job.blobs)
    return JobResult(job, tuple(CopyResult(c, failure, attempt=job.attempt) for c in job.copies), blobs)


POPULATIONS = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True), min_size=1, max_size=25)


class Machine:
    """Performs jobs with random failures, and watches that no blob is brought by two at a time."""

    def __init__(self, seed: int, failing: float) -> None:
        self._dice = random.Random(seed)
        self._failing = failing
        self._lock = threading.Lock()
        self._bringing: Counter[str] = Counter()
        self._there: set[str] = set()
        self.running = self.most = 0
        self.doubled: list[str] = []

    def perform(self, job: Job) -> JobResult:
        with self._lock:
            missing = job.blobs - self._there
            self.doubled += [digest for digest in missing if self._bringing[digest]]
            self._bringing.update(missing)
            self.running += 1
            self.most = max(self.most, self.running)
            fails, kind = self._dice.random() < self._failing, self._dice.choice(list(FailureClass))
        time.sleep(0.0002)
        with self._lock:
            self._bringing.subtract(missing)
            self.running -= 1
            if fails:
                return result(job, Failure(kind, "dice"))
            self._there |= job.blobs
            return result(job)


@given(POPULATIONS, st.integers(1, 8), st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
def test_every_copy_ends_once_and_no_blob_is_brought_twice_at_a_time(
    population: list[list[int]], workers: int, seed: int, failing: float
) -> None:
    machine, todo = Machine(seed, failing), jobs([[str(x) for x in layers] for layers in population])
    with ThreadPoolExecutor(workers) as pool:
        events = list(run_jobs(todo, machine.perform, pool, workers, Stop(), QUICK))
    ended = Counter(r.copy.target for e in events if isinstance(e, Finished) for r in e.result.results)
    assert ended == Counter({c.target: 1 for job in todo for c in job.copies})
    assert machine.doubled == []
    assert machine.most <= workers
    assert attempts(events) <= QUICK.attempts


def attempts(events: list[Event]) -> int:
    return max(event.job.attempt for event in events if isinstance(event, Started))


def test_jobs_that_share_what_is_there_run_side_by_side() -> None:
    machine = Machine(0, 0.0)
    todo = jobs([["base", str(n)] for n in range(20)])
    with ThreadPoolExecutor(4) as pool:
        list(run_jobs(todo, machine.perform, pool, 4, Stop(), QUICK, at_target=[blob("base")]))
    assert machine.most > 1


def test_what_may_pass_is_tried_again_and_what_may_not_is_not() -> None:
    for kind, tries in ((FailureClass.UNAVAILABLE, 3), (FailureClass.DENIED, 2), (FailureClass.UNSUPPORTED, 1)):
        failure = Failure(kind, "")
        with ThreadPoolExecutor(1) as pool:
            events = list(run_jobs(jobs([["a"]]), lambda job, f=failure: result(job, f), pool, 1, Stop(), QUICK))  # type: ignore[misc]
        assert sum(isinstance(event, Started) for event in events) == tries
        assert sum(isinstance(event, Retrying) for event in events) == tries - 1
        assert isinstance(events[-1], Finished)


def test_nothing_is_promised_to_be_tried_again_where_a_registry_was_given_up() -> None:
    todo = jobs([["a"], ["b"]])
    failure = Failure(FailureClass.UNAVAILABLE, "503")
    with ThreadPoolExecutor(1) as executor:
        given_up = lambda job: job.number == 0  # noqa: E731
        events = list(run_jobs(todo, lambda job: result(job, failure), executor, 1, Stop(), QUICK, gone=given_up))
    retried = [event.result.job.number for event in events if isinstance(event, Retrying)]
    assert set(retried) == {1}
    assert Counter(e.result.job.number for e in events if isinstance(e, Finished)) == {0: 1, 1: 1}


def test_only_the_copies_that_failed_are_tried_again() -> None:
    plan = Plan(
        tuple(Copy(**{**copy("x", ["a"]).__dict__, "target": Reference(Repository("new", "p/x"), t)}) for t in "12")
    )
    tried: list[list[str]] = []

    def perform(job: Job) -> JobResult:
        tried.append([c.target.tag for c in job.copies])
        failure = Failure(FailureClass.UNAVAILABLE, "")
        results = [CopyResult(c, failure if c.target.tag == "2" and len(tried) == 1 else None) for c in job.copies]
        return JobResult(job, tuple(results))

    with ThreadPoolExecutor(1) as pool:
        events = list(run_jobs(jobs_of(plan), perform, pool, 1, Stop(), QUICK))
    assert tried == [["1", "2"], ["2"]]
    assert [type(event).__name__ for event in events] == ["Started", "Finished", "Retrying", "Started", "Finished"]


def test_a_worker_that_breaks_fails_only_its_own_job() -> None:
    def perform(job: Job) -> JobResult:
        if job.number == 0:
            raise RuntimeError("a bug")
        return result(job)

    with ThreadPoolExecutor(2) as pool:
        events = list(run_jobs(jobs([["a"], ["b"]]), perform, pool, 2, Stop(), Retries(attempts=1)))
    failures = [r.failure for e in events if isinstance(e, Finished) for r in e.result.results]
    assert sorted(failure.kind if failure else "" for failure in failures) == ["", FailureClass.UNKNOWN]


def test_after_stop_soon_nothing_begins_and_after_the_grace_stop_now_is_set() -> None:
    stop = Stop(grace=0.2)
    stop_now = stop.now

    def perform(job: Job) -> JobResult:
        stop.soon.set()
        assert stop_now.wait(5)
        return result(job, Failure(FailureClass.INTERRUPTED, ""))

    with ThreadPoolExecutor(1) as pool:
        events = list(run_jobs(jobs([["a"], ["b"], ["c"]]), perform, pool, 1, stop, QUICK))
    assert [type(event).__name__ for event in events] == ["Started", "Finished"]


def test_the_registrys_own_waiting_time_is_kept() -> None:
    assert Retries().delay(1, Failure(FailureClass.RATE_LIMITED, "", retry_after=600)) == 600


@given(st.integers(1, 20), st.floats(0, 1))
def test_waiting_grows_and_stays_within_bounds(attempt: int, dice: float) -> None:
    retries = Retries(first=2, longest=120)
    assert 1 <= retries.delay(attempt, Failure(FailureClass.NETWORK, ""), lambda: dice) <= 120


def test_tags_of_one_image_are_one_job() -> None:
    tags = [Copy(**{**copy("x", ["a"]).__dict__, "target": Reference(Repository("new", "p/x"), t)}) for t in "12"]
    made = jobs_of(Plan((*tags, copy("y", ["b", "c"]), copy("z", ["d"], Action.SKIP))))
    assert [[c.target.short for c in job.copies] for job in made] == [["p/x:1", "p/x:2"], ["p/y:1"]]


def test_what_never_ends_is_left_alone_after_the_grace() -> None:
    stop, released = Stop(grace=0.1), threading.Event()

    def perform(job: Job) -> JobResult:
        stop.soon.set()
        released.wait(30)
        return result(job)

    pool = ThreadPoolExecutor(1)
    began = time.monotonic()
    events = list(run_jobs(jobs([["a"], ["b"]]), perform, pool, 1, stop, QUICK))
    assert time.monotonic() - began < 10
    assert stop.now.is_set()
    assert [type(event).__name__ for event in events] == ["Started"]
    released.set()
    pool.shutdown()
