"""The state where nothing helps it: no file can be locked, a clock goes back; and who only looks is quick."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from conftest import Ends
from nolocks import refuses_locks_here
from prometheus_client.parser import text_string_to_metric_families
from registrylab.client import LabClient
from registrylab.gateway import Answer, Forward, Request, gateway
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
    go_on = threading.Event()

    def held(request: Request, forward: Forward) -> Answer:
        if request.phase == "manifest put" and request.repository.endswith("app5"):
            go_on.wait(60)
        return forward(request)

    with gateway(ends.target.host, held) as near:
        manifest = ends.through(filled, target=near.host)
        with ends.start("copy", manifest) as copying:
            seen = ends.run("status", manifest)
            while "5 done" not in seen.out or "at work: 1 tag" not in seen.out:
                seen = ends.run("status", manifest)
            watching = ends.start("status", manifest, "--watch")
            as_json = json.loads(ends.run("status", manifest, "--format", "json").out)
            metrics = ends.run("status", manifest, "--metrics", "m.prom")
            assert watching.stdout
            watched = next((line for line in watching.stdout if line.startswith("at work: ")), "")
            go_on.set()
            copying.communicate()
            rest = watching.stdout.read()
            watching.communicate()
    assert "`rahti-migrate copy` of " in seen.out
    number = "[0-9.]+"
    line = rf"this run: 5 tags done, {number} kB sent for them, {number} [kM]?B/s, about {number} s left"
    assert re.search(line, seen.out)
    assert re.search(r"at work: 1 tag, the oldest since [0-9:]{8} UTC: a/app5:1", seen.out)
    assert [each["target"] for each in as_json["atWork"]] == [f"{near.host}/a/app5:1"]
    assert metrics.code == 3
    assert watching.returncode == 0
    assert "\nrun: copy, begun " in seen.out
    assert watched.startswith("at work: 1 tag")
    assert "6 done" in rest.rpartition("state: ")[2]


def numbers(text: str) -> dict[str, float]:
    """Metrics by name and own label."""
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    own = [(s, [v for k, v in s.labels.items() if k not in ("manifest", "project")]) for s in samples]
    return {" ".join([sample.name, *labels]): sample.value for sample, labels in own}


def test_numbers_for_prometheus(ends: Ends, filled: Path) -> None:
    filled.write_text(filled.read_text().replace("images: [a]", "images: [a, a/none]"))
    assert ends.run("copy", filled).code == 3
    assert ends.run("status", filled, "--metrics", "m.prom").code == 3
    found = numbers((ends.folder / "m.prom").read_text())
    assert found["rahti_migrate_tags done"] == 6
    assert found["rahti_migrate_tags refused"] == 1
    assert found["rahti_migrate_failed_tags not-found"] == 1
    assert found["rahti_migrate_verified_tags not yet"] == 6
    assert found["rahti_migrate_run_exit_code"] == 3
    assert found["rahti_migrate_running"] == 0
    assert found["rahti_migrate_sent_bytes"] > 10_000
    assert time.time() - found["rahti_migrate_last_attempt_timestamp_seconds"] < 60
    refused = ends.run("status", filled, "--metrics", "nowhere/m.prom")
    assert refused.code == 2
    assert "--metrics nowhere/m.prom: it cannot be written: No such file or directory" in refused.err


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
