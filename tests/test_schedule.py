"""The order of copying, by simulation: each blob once, nobody idle without need, everything in the end."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.images.schedule import SMALL, UNKNOWN_SIZE, Schedule, Unit, ranked

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from simulate import Link, Naive, least, population, simulate

BLOB = st.tuples(st.integers(0, 9), st.sampled_from([-1, 10, SMALL, SMALL + 1, 10**9]))
UNITS = st.lists(
    st.builds(
        lambda blobs, source: Unit({f"b{digest}": size for digest, size in blobs}, source),
        st.lists(BLOB, max_size=5, unique_by=lambda each: each[0]), st.sampled_from("xy"),
    ),
    max_size=30,
)  # fmt: skip


def same_sizes(units: list[Unit]) -> list[Unit]:
    """A digest has one size, whoever names it."""
    known: dict[str, int] = {}
    return [Unit({d: known.setdefault(d, s) for d, s in unit.blobs.items()}, unit.source) for unit in units]


def played(units: list[Unit], workers: int, seed: int, failing: float, there: set[str]) -> Iterator[tuple[str, int]]:
    """Run a schedule with ends in any order and jobs that fail twice at most; what happens, as it happens."""
    dice = random.Random(seed)
    schedule, landed = Schedule(units, there), set(there)
    running: list[int] = []
    failures = [0] * len(units)
    while True:
        while len(running) < workers and (number := schedule.take()) is not None:
            bringing = {d: units[n].blobs[d] for n in running for d in units[n].blobs if d not in landed}
            twice = [s if s >= 0 else UNKNOWN_SIZE for d, s in bringing.items() if d in units[number].blobs]
            assert sum(twice) <= SMALL, "it would send again what another one is bringing"
            running.append(number)
            yield "begun", number
        if not running:
            assert len(schedule) == 0, "nothing runs, nothing may begin, and not all is done"
            return
        number = running.pop(dice.randrange(len(running)))
        if dice.random() < failing and failures[number] < 2:
            failures[number] += 1
            arrived = {digest for digest in units[number].blobs if dice.random() < 0.5}
            landed |= arrived
            schedule.ended(number, arrived)
            schedule.again(number)
        else:
            landed |= set(units[number].blobs)
            schedule.ended(number, units[number].blobs)
            yield "done", number


@given(UNITS, st.integers(1, 40), st.integers(), st.sampled_from([0, 0.3]), st.sets(st.integers(0, 9)))
def test_everything_ends_once_and_nothing_large_is_brought_by_two(
    units: list[Unit], workers: int, seed: int, failing: float, there: set[int]
) -> None:
    units = same_sizes(units)
    events = list(played(units, workers, seed, failing, {f"b{each}" for each in there}))
    assert sorted(number for what, number in events if what == "done") == list(range(len(units)))


@given(UNITS, st.integers(1, 40))
def test_a_worker_is_idle_only_where_every_image_waits_for_many_bytes_under_way(
    units: list[Unit], workers: int
) -> None:
    units = same_sizes(units)
    schedule = Schedule(units)
    running = []
    while len(running) < workers and (number := schedule.take()) is not None:
        running.append(number)
    flying = {digest for number in running for digest in units[number].blobs}
    waiting = [unit for number, unit in enumerate(units) if number not in running]
    if len(running) < workers:
        sizes = [sum(s if s >= 0 else UNKNOWN_SIZE for d, s in u.blobs.items() if d in flying) for u in waiting]
        assert all(size > SMALL for size in sizes)


def test_of_several_sources_the_least_busy_one_is_next() -> None:
    schedule = Schedule([Unit({"a": 9}, "x"), Unit({"b": 8}, "x"), Unit({"c": 1}, "y"), Unit({"d": 7}, "x")])
    assert [schedule.take() for _ in range(3)] == [0, 2, 3]
    schedule.ended(2, ["c"])
    assert [schedule.take() for _ in range(2)] == [1, None]


def test_what_is_held_back_keeps_nobody_else_waiting() -> None:
    schedule = Schedule([Unit({"a": 9}, "x"), Unit({"b": 8}, "y")])
    assert schedule.take(lambda number: number == 0) == 1
    assert schedule.take(lambda number: number == 0) is None
    assert schedule.take() == 0


def test_half_of_the_workers_begin_with_the_largest_and_half_with_the_smallest() -> None:
    schedule = Schedule([Unit({f"b{size}": size}) for size in (3, 1, 5, 2, 4, 6)])
    assert [schedule.take() for _ in range(6)] == [5, 1, 2, 3, 4, 0]


def test_a_giant_at_the_end_of_the_list_begins_at_once() -> None:
    units = [*(Unit({f"b{number}": 1000}) for number in range(1000)), Unit({"giant": 10**10})]
    assert Schedule(units).take() == 1000


def test_a_shared_layer_counts_for_everyone_who_waits_for_it() -> None:
    units = [Unit({"own": 150}), Unit({"base": 100}), Unit({"base": 100, "x": 1}), Unit({"there": 10**9})]
    assert ranked(units, ["there"]) == [150, 200, 201, 0]


def test_who_tries_again_comes_first() -> None:
    schedule = Schedule([Unit({"a": 1}), Unit({"b": 2}), Unit({"c": 3})])
    assert schedule.take() == 2
    schedule.ended(2, [])
    schedule.again(2)
    assert schedule.take() == 2


@pytest.mark.parametrize(("images", "workers"), [(182, 16), (3000, 16), (3000, 700)])
def test_a_simulated_link_is_kept_full_and_every_byte_crosses_once(images: int, workers: int) -> None:
    units, link = population(images, seed=7), Link()
    distinct = sum({digest: size for unit in units for digest, size in unit.blobs.items()}.values())
    ours = simulate(units, workers, link, Schedule(units))
    assert (ours.sent, ours.worst) == (distinct, 1)
    assert ours.seconds <= 1.1 * least(units, workers, link)
    assert simulate(units, workers, link, Naive(units)).sent > 2 * distinct
