"""Where nobody looks: cron, systemd, Slurm. No terminal, lines for programs, logs that end, runs that meet."""

import json
import logging
import logging.handlers
import time
from pathlib import Path

import pytest
from conftest import Ends
from registrylab.client import LabClient, missing_from
from registrylab.gateway import gateway
from registrylab.images import Image, make_image, make_layer
from registrylab.registry import PASSWORD

from migrate.cli import options

BASE = make_layer("base", 400_000)


def small(name: str) -> Image:
    return make_image([BASE, make_layer(name, 5_000)])


def test_every_line_is_an_event_and_nothing_is_coloured(ends: Ends, source: LabClient) -> None:
    for name in ("one", "two"):
        source.push("a/web", small(name), name)
    manifest = ends.manifest("images: [a, b/none]\n")
    ran = ends.run("run", manifest, "--format", "json", FORCE_COLOR="1", TERM="xterm-256color")
    assert ran.code == 3
    assert "\x1b" not in ran.text
    events = [event["event"] for event in ran.events]
    assert events[-1] == "summary"
    assert {"check", "planned", "refused", "done", "verified", "cutover"} <= set(events)
    assert ran.events[-1]["exitCode"] == 3
    text = ends.run("run", manifest, FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b" not in text.text
    assert "\r" not in text.text


def test_what_ends_it_before_its_end_is_an_event_too(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    manifest = ends.manifest("images: [a]\n")
    ran = ends.run("copy", manifest, "--format", "json", LAB_PASSWORD="wrong")
    assert ran.code == 4
    (event,) = ran.events
    assert event["event"] == "error"
    assert event["exitCode"] == 4
    assert "does not accept the login" in event["error"]
    assert event["advice"]


def test_the_log_file_has_what_was_said_and_no_secret(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    manifest = ends.manifest("images: [a, b/none]\n")
    ran = ends.run("run", manifest, "--log-file", "logs/night.log", "-vv")
    assert ran.code == 3
    log = (ends.folder / "logs/night.log").read_text()
    assert "said: looking at both registries ..." in log
    assert "said: failed" in log, "the check that found no repository"
    assert "/a/web:1: 200" in log
    assert PASSWORD not in log
    ends.run("copy", manifest, "--log-file", "logs/night.log")
    assert (ends.folder / "logs/night.log").read_text().startswith(log), "the next run goes on in it"


def test_a_log_file_that_cannot_be_written_is_said_before_anything(ends: Ends) -> None:
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--log-file", "/proc/none/x.log")
    assert ran.code == 2
    assert "--log-file /proc/none/x.log: it cannot be written" in ran.err


def test_the_log_begins_anew_where_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_LOG_BYTES", 2_000)
    handler = options._file_handler(tmp_path / "x.log", logging.INFO)
    for number in range(1_000):
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", None, None))
    handler.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + options._LOG_FILES
    assert sum(file.stat().st_size for file in files) <= 2_000 * (1 + options._LOG_FILES)
    assert "line 999" in (tmp_path / "x.log").read_text()


def test_two_runs_at_once_on_two_manifests_do_not_disturb_each_other(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    for project in ("a", "b"):
        for number in range(12):
            source.push(f"{project}/app{number % 4}", small(f"{project}{number}"), f"v{number}")
    manifests = [ends.manifest(f"images: [{project}]\n", f"{project}.yaml") for project in ("a", "b")]
    running = [ends.start("run", manifest, "--format", "json") for manifest in manifests]
    ended = [process.communicate(timeout=120) for process in running]
    for process, (out, err) in zip(running, ended, strict=True):
        assert process.returncode == 0, err
        events = [json.loads(line) for line in out.splitlines()]
        assert events[-1]["counts"]["done"] == 12
        assert sum(event["event"] == "verified" and event["verdict"] == "equal" for event in events) == 12
    assert len(target.images()) == 24
    assert all(missing_from(target, *name.rsplit(":", 1)) == [] for name in target.images())
    assert {path.name for path in (ends.folder / "state").glob("*.db")} == {"a.db", "b.db"}
    leftover = [path for path in (ends.folder / "state").iterdir() if path.is_dir()]
    assert leftover == [], "private folders are gone"


def test_two_runs_on_one_manifest_do_not_meet(ends: Ends, source: LabClient) -> None:
    for number in range(40):
        source.push("a/web", small(f"{number}"), f"v{number}")
    manifest = ends.manifest("images: [a]\n")
    running = [ends.start("copy", manifest) for _ in range(2)]
    for process in running:
        process.communicate(timeout=120)
    codes = sorted(process.returncode for process in running)
    assert codes in ([0, 0], [0, 1])  # one after the other, where the machine is slow


def test_the_status_of_one_project_is_of_one_there_is(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    source.push("b/web", small("two"), "1", "2")
    manifest = ends.manifest("images: [a, b]\n")
    assert ends.run("run", manifest).code == 0
    assert "tags: 2 done" in ends.run("status", manifest, "--project", "b").out
    wrong = ends.run("status", manifest, "--project", "c")
    assert wrong.code == 2
    assert "it has a, b" in wrong.err


def test_a_log_file_on_a_full_disk_is_said_once_and_nothing_else_suffers(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--log-file", "/dev/full")
    assert ran.code == 0, ran.text
    assert ran.err.count("cannot be written any more") == 1
    assert "Logging error" not in ran.err


def test_wrong_usage_and_a_signal_are_events_too(ends: Ends, source: LabClient) -> None:
    manifest = ends.manifest("images: [a]\n")
    (event,) = ends.run("copy", manifest, "--format", "json", "--max-bytes", "many").events
    assert (event["event"], event["exitCode"]) == ("error", 2)
    with gateway(ends.source.host) as near:
        near.handle = lambda request, forward: time.sleep(5) or forward(request)
        ends.through(manifest, source=near.host)
        running = ends.start("copy", manifest, "--format", "json")
        while not near.seen and running.poll() is None:
            time.sleep(0.05)
        running.terminate()
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert json.loads(out.splitlines()[-1])["exitCode"] == 130
