"""How many questions and copies a registry gets at a time, from how it answers."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.images.failures import Failure, FailureClass
from migrate.images.pace import LONGEST_WAIT, Lane, Pace, PausedError, workers_for

BUSY = Failure(FailureClass.RATE_LIMITED, "HTTP 429")
DOWN = Failure(FailureClass.NETWORK, "connection refused")
NOT_FOUND = Failure(FailureClass.NOT_FOUND, "HTTP 404")


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pace(clock: Callable[[], float], most: int = 32, **more: object) -> Pace:
    return Pace("r.example", most, most, clock=clock, **more)  # type: ignore[arg-type]


def one(made: Pace, failure: Failure | None = None, lane: Lane = Lane.REQUESTS) -> None:
    with made.place(lane) as place:
        place.ended(failure)


def test_it_starts_low_and_doubles_with_each_round_of_good_answers(clock: Clock) -> None:
    made = pace(clock)
    assert made.limit(Lane.REQUESTS) == 4
    for limit in (8, 16, 32, 32):
        for _ in range(made.limit(Lane.REQUESTS)):
            one(made)
        assert made.limit(Lane.REQUESTS) == limit


def test_an_answer_that_says_no_is_an_answer(clock: Clock) -> None:
    made = pace(clock)
    one(made, NOT_FOUND)
    assert made.limit(Lane.REQUESTS) == 5


def test_a_burst_of_trouble_halves_once_and_after_it_growth_is_slow(clock: Clock) -> None:
    made = pace(clock)
    for _ in range(28):
        one(made)
    barrier = threading.Barrier(8)

    def trouble(_: int) -> None:
        with made.place(Lane.REQUESTS) as place:
            barrier.wait()
            clock.now += 0.001
            place.ended(BUSY)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(trouble, range(8)))
    assert made.limit(Lane.REQUESTS) == 16
    for _ in range(16):
        one(made)
    assert made.limit(Lane.REQUESTS) == 16
    one(made)
    assert made.limit(Lane.REQUESTS) == 17


def test_the_lanes_are_halved_apart(clock: Clock) -> None:
    made = pace(clock)
    one(made, BUSY, Lane.COPIES)
    assert (made.limit(Lane.COPIES), made.limit(Lane.REQUESTS)) == (2, 4)


def test_what_fails_in_skopeo_is_no_outage(clock: Clock) -> None:
    made = pace(clock, patience=1.0)
    for _ in range(20):
        one(made, DOWN, Lane.COPIES)
        clock.now += 10
    assert not made.paused
    assert made.gone is None


def test_retry_after_pauses_both_lanes(clock: Clock) -> None:
    made = pace(clock)
    one(made, Failure(FailureClass.RATE_LIMITED, "later", retry_after=20))
    assert made.paused
    clock.now += 19.9
    assert made.paused
    clock.now += 0.2
    assert not made.paused
    one(made, None, Lane.COPIES)


def test_a_long_retry_after_frees_the_worker(clock: Clock) -> None:
    made = pace(clock)
    made.longest_wait = LONGEST_WAIT
    one(made, Failure(FailureClass.RATE_LIMITED, "later", retry_after=LONGEST_WAIT + 240))
    with pytest.raises(PausedError) as caught:
        one(made)
    assert caught.value.failure.kind is FailureClass.RATE_LIMITED
    assert caught.value.failure.retry_after == LONGEST_WAIT + 240
    assert "r.example asks to be left alone for 5 min" in caught.value.failure.words


def test_an_outage_pauses_longer_and_longer_says_so_once_and_ends(clock: Clock) -> None:
    said: list[str] = []
    made = pace(clock, tell=said.append, patience=300.0)
    began, tries = clock.now, 0
    while made.gone is None:
        clock.now = max(clock.now, made._resume_at) + 0.01
        one(made, DOWN)
        tries += 1
        assert clock.now - began < 400
    assert tries < 25
    assert said == ["r.example: the connection failed or broke: connection refused; trying again for up to 5 min 0 s"]
    with pytest.raises(PausedError, match="no answer for 5 min"):
        one(made)
    clock.now = made._resume_at + 1
    one(made)
    assert said[1].startswith("r.example answers again, after 5 min")
    assert made.gone is None


def test_some_trouble_among_good_answers_is_no_outage(clock: Clock) -> None:
    made = pace(clock, patience=1.0)
    for _ in range(50):
        one(made, BUSY)
        clock.now += 10
        one(made)
        assert not made.paused
        assert made.gone is None


def test_whoever_waits_in_a_pause_is_freed_by_a_stop() -> None:
    stopped = threading.Event()
    made = pace(time.monotonic, stopped=stopped)
    one(made, Failure(FailureClass.RATE_LIMITED, "later", retry_after=50))
    threading.Timer(0.2, stopped.set).start()
    with pytest.raises(PausedError) as caught:
        one(made)
    assert caught.value.failure.kind is FailureClass.INTERRUPTED


def test_a_thread_that_holds_a_place_is_let_through_again(clock: Clock) -> None:
    made = pace(clock, most=1)
    with made.place(Lane.REQUESTS), made.place(Lane.REQUESTS), made.place(Lane.COPIES):
        pass
    one(made)


@given(st.integers(1, 12), st.lists(st.sampled_from([None, BUSY, NOT_FOUND]), max_size=200))
def test_never_more_at_once_than_the_limit_and_never_stuck(most: int, answers: list[Failure | None]) -> None:
    made = Pace("r.example", most, clock=count(step=1000).__next__)
    lock, inside, worst = threading.Lock(), 0, 0

    def ask(failure: Failure | None) -> None:
        nonlocal inside, worst
        with made.place(Lane.REQUESTS) as place:
            with lock:
                inside += 1
                worst = max(worst, inside)
            place.ended(failure)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, answers))
    assert worst <= most
    assert 1 <= made.limit(Lane.REQUESTS) <= most


def test_the_round_trip_is_that_of_the_fastest_good_answer() -> None:
    clock = Clock()
    made = Pace("r.example", clock=clock)
    seen = []
    for seconds, failure in ((0.03, None), (0.02, None), (0.001, Failure(FailureClass.NETWORK, "")), (0.5, None)):
        with made.place(Lane.REQUESTS) as place:
            clock.now += seconds
            place.ended(failure)
        seen.append(round(made.round_trip, 3))
    assert seen == [0.03, 0.02, 0.02, 0.02]


@pytest.mark.parametrize(
    ("milliseconds", "cores", "workers"),
    [(0, 1, 16), (1, 2, 17), (20, 2, 36), (50, 2, 64), (500, 2, 64), (1, 64, 64), (1, 8, 32)],
)
def test_a_long_link_gets_more_workers(milliseconds: int, cores: int, workers: int) -> None:
    assert workers_for(milliseconds / 1000, cores) == workers
