"""The state where nothing helps it: no file can be locked, a clock goes back; and who only looks is quick."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from conftest import Ends
from nolocks import refuses_locks_here
from registrylab.client import LabClient
from registrylab.images import make_image, make_layer

from migrate.cli import ticker

IMAGES = [make_image([make_layer(f"layer-{number}", 2_000)]) for number in range(6)]
TESTS = Path(__file__).parent
CLOCK_THAT_GOES_BACK = """
import random, runpy, sys, time
real, at = time.time, time.monotonic() + 0.5
time.time = lambda: real() - (7200 if time.monotonic() > at else 0)
runpy.run_module("migrate", run_name="__main__")
"""
LOADED = "import sys, migrate.cli.status; print(*sys.modules)"


def run_by(ends: Ends, *argv: object) -> "subprocess.CompletedProcess[str]":
    """Run Python with these arguments as `Ends.run` would run us."""
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=ends.folder, env=ends.environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture
def filled(ends: Ends, source: LabClient) -> Path:
    """A manifest of a few images."""
    for number, image in enumerate(IMAGES):
        source.push(f"a/app{number}", image, "1")
    return ends.manifest("images: [a]")


# --- a file system without locks --------------------------------------------------------------------------------


@pytest.mark.skipif(not refuses_locks_here(), reason="the kernel lets nobody refuse calls here")
@pytest.mark.parametrize("answer", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_where_nothing_can_be_locked_nothing_is_begun_and_it_is_said(
    ends: Ends, target: LabClient, filled: Path, answer: str
) -> None:
    done = run_by(ends, TESTS / "nolocks.py", answer, "-m", "migrate", "copy", filled)
    assert done.returncode == 1, done.stderr
    assert "state/m.db.lock: cannot be locked: its file system has no locks" in done.stderr
    assert "put the state on a local disk with --state" in done.stderr
    assert "Traceback" not in done.stderr
    assert target.images() == {}
    assert ends.run("copy", filled).code == 0


@pytest.mark.skipif(not refuses_locks_here(), reason="the kernel lets nobody refuse calls here")
def test_a_state_that_was_put_where_nothing_can_be_locked_is_not_harmed(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 0
    kept = (ends.folder / "state/m.db").read_bytes()
    for command in ("status", "copy"):
        done = run_by(ends, TESTS / "nolocks.py", "ENOSYS", "-m", "migrate", command, filled)
        assert done.returncode == 1, done.stderr
        assert "put the state on a local disk with --state" in done.stderr
        assert "Traceback" not in done.stderr
    assert (ends.folder / "state/m.db").read_bytes() == kept


# --- a clock that goes back -------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_two_hours_costs_nothing(ends: Ends, target: LabClient, filled: Path) -> None:
    done = run_by(ends, "-c", CLOCK_THAT_GOES_BACK, "copy", filled)
    assert done.returncode == 0, done.stderr
    assert len(target.images()) == len(IMAGES)
    with closing(connect(ends.folder / "state/m.db")) as db:
        assert db.execute("select min(seconds) >= 0, max(seconds) < 60 from copies").fetchone() == (1, 1)
        assert db.execute("select count(*) from attempts where ended_at < started_at").fetchone() == (0,)
    assert "nothing to do" in run_by(ends, "-c", CLOCK_THAT_GOES_BACK, "copy", filled).stdout
    assert ends.run("status", filled).code == 0


# --- whoever only looks -----------------------------------------------------------------------------------------


def test_status_loads_nothing_that_it_does_not_need() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()
    slow = {"pydantic", "yaml", "urllib3", "httpx2", "rich", "migrate.manifest", "migrate.images.transfer", "asyncio"}
    assert slow.isdisjoint(loaded)


def test_status_while_another_process_is_at_work(ends: Ends, filled: Path) -> None:
    with ends.start("copy", filled) as copying:
        seen = ends.run("status", filled)
        while copying.poll() is None and "at work" not in seen.out:
            seen = ends.run("status", filled)
        copying.communicate()
    assert "`rahti-migrate copy` of " in seen.out


# --- words now and then -----------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ticker, "SECONDS", 0.01)
    yield


@pytest.mark.usefixtures("quick")
def test_whoever_waits_is_told_how_far_it_is_though_nothing_ends(capsys: pytest.CaptureFixture[str]) -> None:
    done = 0
    with ticker.now_and_then(lambda: f"{done} of 3 done"):
        for done in (1, 2, 3):  # noqa: B007 - the words read it
            time.sleep(0.1)
    said = capsys.readouterr().err.splitlines()
    assert said
    assert all(re.fullmatch(r"\d of 3 done", line) for line in said)
    assert {"1 of 3 done", "2 of 3 done", "3 of 3 done"} <= set(said)
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
