"""Kill it anywhere, stop it any way: the next run goes on, and nothing is done twice or lost."""

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ends
from processes import skopeos
from registrylab.client import LabClient, missing_from
from registrylab.gateway import Answer, Forward, Request, gateway
from registrylab.images import Image, make_image, make_index, make_layer
from registrylab.proxy import slow_link

BASE = make_layer("base", 300_000)


def fill(source: LabClient, images: int) -> int:
    """Projects with shared layers, several tags a digest, and a list; how many tags."""
    for number in range(images):
        image = make_image([BASE, make_layer(f"own-{number}", 150_000)])
        source.push(f"shop/app{number % 5}", image, f"v{number}", *(["latest"] if number % 4 == 0 else []))
    children: dict[str, Image] = {
        f"linux/{arch}": make_image([BASE, make_layer(arch, 100_000)], architecture=arch) for arch in ("amd64", "arm64")
    }
    source.push("shop/multi", make_index(children), "1")
    source.push_schema1("shop/old", make_image([BASE, make_layer("old", 50_000)]), "1")
    return len(source.images())


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def kill_group(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def recorded(ends: Ends) -> dict[str, str]:
    """Target -> digest, of what the state says is done."""
    path = ends.folder / "state/m.db"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as db:
        try:
            return dict(db.execute("select target, target_digest from copies where status = 'done'").fetchall())
        except sqlite3.OperationalError:
            return {}


def assert_recorded_is_true(ends: Ends, target: LabClient) -> None:
    for name, digest in recorded(ends).items():
        repository, _, tag = name.partition("/")[2].rpartition(":")
        stored = target.manifest(repository, tag)
        assert stored, f"{name} is recorded done and not there"
        assert stored.digest == digest
        assert missing_from(target, repository, tag) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(
    ends: Ends, source: LabClient, target: LabClient, seed: int
) -> None:
    tags = fill(source, 16)
    dice = random.Random(seed)
    with slow_link(ends.target.host, rate=3_000_000, delay=0.002) as link:
        ends.target.host, real = link.host, ends.target.host
        manifest = ends.manifest("images: [{from: 'shop/multi:1', to: 'shop/multi:1', platforms: all}, shop]")
        for _ in range(6):
            process = ends.start("copy", manifest, "--jobs", "4")
            time.sleep(dice.uniform(0.5, 2.5))
            kill_group(process)
            until(lambda: not skopeos(link.host), 5)
            assert_recorded_is_true(ends, target)
        before = recorded(ends)
        done_tags = {name.partition("/")[2] for name in before}
        logged = len(ends.target.log)
        last = ends.run("copy", manifest)
        ends.target.host = real
    assert last.code == 0, last.text
    assert len(target.images()) == tags
    assert len(recorded(ends)) == tags
    assert_recorded_is_true(ends, target)
    puts = {line.split('"PUT ')[1].split()[0] for line in ends.target.log[logged:].splitlines() if '"PUT /v2/' in line}
    again = {name for name in done_tags if f"/v2/{name.replace(':', '/manifests/')}" in puts}
    assert again == set()


def start_on_a_slow_link(ends: Ends, source: LabClient, host: str) -> tuple["subprocess.Popen[str]", Path]:
    """A copy that is in the middle of its first images, which skopeo carries."""
    for number in range(6):
        source.push(f"a/app{number}", make_image([make_layer(f"big-{number}", 2_000_000)]), "1")
    ends.target.host = host
    manifest = ends.manifest("images: [a]\ntransfer: {linkMaxMissing: 0}")
    process = ends.start("copy", manifest, "--jobs", "2")
    until(lambda: len(skopeos(host)) == 2)
    return process, manifest


def test_one_signal_lets_running_copies_end(ends: Ends, source: LabClient, target: LabClient) -> None:
    with slow_link(ends.target.host, rate=1_500_000) as link:
        process, manifest = start_on_a_slow_link(ends, source, link.host)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=40)
        assert process.returncode == 130, out + err
        assert "Traceback" not in err
        assert "2 done" in out
        assert "4 left to do" in out
        assert f"To continue: rahti-migrate copy {manifest} --jobs 2" in out
        assert len(target.images()) == 2
        link.rate = 0
        assert ends.run("copy", manifest).code == 0
    assert len(target.images()) == 6


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_two_signals_stop_at_once_and_leave_nothing_running(
    ends: Ends, source: LabClient, target: LabClient, first: signal.Signals
) -> None:
    with slow_link(ends.target.host, rate=20_000) as link:
        process, manifest = start_on_a_slow_link(ends, source, link.host)
        os.kill(process.pid, first)
        time.sleep(0.5)
        asked = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=10)
        assert time.monotonic() - asked < 5
        assert process.returncode == 130
        assert "Traceback" not in err
        until(lambda: not skopeos(link.host), 5)
        link.rate = 0
        assert ends.run("copy", manifest).code == 0
    assert len(target.images()) == 6


@pytest.mark.parametrize("signals", [1, 2])
def test_signals_end_a_copy_without_skopeo_too(ends: Ends, source: LabClient, target: LabClient, signals: int) -> None:
    for number in range(6):
        source.push(f"a/app{number}", make_image([make_layer(f"big-{number}", 1_000_000)]), "1")
    with slow_link(ends.target.host, rate=500_000) as link:
        ends.target.host = link.host
        manifest = ends.manifest("images: [a]")
        process = ends.start("copy", manifest, "--jobs", "2")
        until(lambda: ends.target.log.count("/blobs/uploads/") >= 2)
        began = time.monotonic()
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert time.monotonic() - began < (15 if signals == 1 else 5)
        assert "Traceback" not in err
        assert signals == 2 or "2 done" in out
        link.rate = 0
        assert ends.run("copy", manifest).code == 0
    assert len(target.images()) == 6


def test_interrupted_while_planning_it_says_so(ends: Ends, source: LabClient) -> None:
    source.push("a/b", make_image([BASE]), "1")
    with slow_link(ends.target.host) as link:
        ends.target.host = link.host
        manifest = ends.manifest("images: [a]")
        link.open.clear()
        process = ends.start("copy", manifest)
        while not (ends.folder / "state/m.db").exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "run again to continue" in err


def test_an_interrupted_verify_keeps_what_it_found_and_says_how_to_go_on(ends: Ends, source: LabClient) -> None:
    source.push("a/b", make_image([make_layer("one", 2_000)]), *(f"v{n:03}" for n in range(130)))
    asked, over = threading.Event(), threading.Event()

    def handle(request: Request, forward: Forward) -> Answer:
        if request.phase == "manifest" and request.path.endswith("v129"):
            asked.set()
            over.wait(30)
        return forward(request)

    with gateway(ends.target.host, handle) as near:
        manifest = ends.through(ends.manifest("images: [a/b]"), target=near.host)
        process = ends.start("verify", manifest, "--deep", "--project", "a", "--state", "s.db")
        assert asked.wait(30)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
        over.set()
    assert process.returncode == 130, err
    assert f"run again to continue: rahti-migrate verify {manifest} --state s.db --project a --deep\n" in err
    with sqlite3.connect(ends.folder / "s.db") as db:
        assert db.execute("select verdict, count(*) from copies group by verdict").fetchall() == [("missing", 100)]
        assert db.execute("select exit_code from runs").fetchall() == [(130,)]
    seen = ends.run("status", manifest, "--state", "s.db")
    assert "with exit code 130" in seen.out


def test_kill_9_of_the_program_alone_takes_its_skopeos_along(ends: Ends, source: LabClient) -> None:
    with slow_link(ends.target.host, rate=20_000) as link:
        process, _ = start_on_a_slow_link(ends, source, link.host)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        until(lambda: not skopeos(link.host), 5)


def test_a_second_process_is_told_who_is_at_work(ends: Ends, source: LabClient) -> None:
    with slow_link(ends.target.host, rate=20_000) as link:
        process, manifest = start_on_a_slow_link(ends, source, link.host)
        second = ends.run("copy", manifest)
        assert second.code == 1
        assert f"process {process.pid}" in second.err
        seen = ends.run("status", manifest)
        assert f"process {process.pid}" in seen.out
        assert "running" in seen.out
        assert ends.run("plan", manifest).code == 0
        kill_group(process)


def test_bytes_that_stand_still_are_noticed_and_the_copy_is_tried_again(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    with slow_link(ends.target.host, rate=1_000_000) as link:
        for number in range(2):
            source.push(f"a/app{number}", make_image([make_layer(f"big-{number}", 2_000_000)]), "1")
        ends.target.host = link.host
        manifest = ends.manifest("images: [a]\ntransfer: {copyTimeout: 3s, linkMaxMissing: 0}")
        process = ends.start("copy", manifest)
        until(lambda: len(skopeos(link.host)) == 2)
        link.open.clear()
        time.sleep(6)
        link.rate = 0
        link.open.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "again in" in err
    assert len(target.images()) == 2
