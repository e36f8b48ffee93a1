"""A registry that has too much to do, goes away, and comes back: the run slows down, waits, goes on, or says why."""

import re
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Ends
from pipeline import pipeline, request
from registrylab.client import LabClient
from registrylab.faults import Faults, Rule, faulty
from registrylab.gateway import Answer, Forward, Request, Reset, gateway
from registrylab.images import Image, make_image, make_layer
from registrylab.registry import PASSWORD, USER

from migrate.credentials import Credential
from migrate.images.pace import Lane
from migrate.images.registry import RegistryError

BASE = make_layer("base", 20_000)


def small(name: str) -> Image:
    return make_image([BASE, make_layer(name, 2_000)])


def fill(source: LabClient, number: int) -> None:
    for n in range(number):
        source.push(f"a/app{n % 5}", small(f"app-{n}"), f"v{n}")


TOO_MANY = Answer(429, (), b"Too many requests, please try again later.")
BUSY = Answer(503, (("Content-Type", "text/html"),), b"<html>503 Service Temporarily Unavailable</html>")
"""What nginx says beyond its `limit_conn`."""


class Crowded:
    """A registry that has no good answer while more than `most` requests are under way; None resets the connection."""

    def __init__(self, most: int, answer: Answer | None = TOO_MANY) -> None:
        self.most, self.now, self.refused, self.asked = most, 0, 0, 0
        self._answer = answer
        self._lock = threading.Lock()

    def __call__(self, request: Request, forward: Forward) -> Answer:
        with self._lock:
            self.now, self.asked = self.now + 1, self.asked + 1
            crowded = self.now > self.most
            self.refused += crowded
        try:
            time.sleep(0.01)
            if not crowded:
                return forward(request)
            if self._answer is None:
                raise Reset
            return self._answer
        finally:
            with self._lock:
                self.now -= 1


def test_a_crowded_registry_gets_fewer_questions_and_everything_arrives(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    fill(source, 60)
    crowded = Crowded(most=5)
    with gateway(ends.target.host, crowded) as near:
        manifest = ends.through(ends.manifest("images: [a]"), target=near.host)
        ran = ends.run("copy", manifest, "--jobs", "8")
        assert ran.code == 0, ran.text
        refused, asked = crowded.refused, crowded.asked
        crowded.refused = crowded.asked = 0
        assert ends.run("copy", manifest).code == 0
    assert len(target.images()) == 60
    assert refused < asked / 10, f"{refused} of {asked}"
    assert crowded.refused < crowded.asked / 4, f"{crowded.refused} of {crowded.asked}"


@pytest.mark.parametrize("answer", [TOO_MANY, BUSY, None], ids=["429", "503", "reset"])
def test_sixty_four_workers_settle_with_a_registry_that_has_eight_places(
    ends: Ends, source: LabClient, target: LabClient, answer: Answer | None
) -> None:
    fill(source, 100)
    crowded = Crowded(8, answer)
    with gateway(ends.target.host, crowded) as near:
        manifest = ends.through(ends.manifest("images: [a]"), target=near.host)
        ran = ends.run("copy", manifest, "--jobs", "64")
        assert ran.code == 0, ran.text
        assert ends.run("verify", manifest).code == 0
    assert len(target.images()) == 100
    assert "100 done;" in ran.out
    assert crowded.refused < crowded.asked / 4, f"{crowded.refused} of {crowded.asked}"


def test_retry_after_is_kept_by_every_worker(ends: Ends, source: LabClient) -> None:
    fill(source, 12)
    struck: list[float] = []
    asked: list[float] = []

    def handle(request: Request, forward: Forward) -> Answer:
        asked.append(time.monotonic())
        if request.phase == "manifest put" and "sha256:" not in request.path and not struck:
            struck.append(time.monotonic())
            return Answer(429, (("Retry-After", "3"),), b"later")
        return forward(request)

    with gateway(ends.target.host, handle) as near:
        ran = ends.run("copy", ends.through(ends.manifest("images: [a]"), target=near.host), "--jobs", "1")
    assert ran.code == 0, ran.text
    assert [t for t in asked if struck[0] + 0.2 < t < struck[0] + 2.9] == []


def test_a_registry_that_goes_away_and_comes_back_costs_time_and_no_tag(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    fill(source, 20)
    faults = Faults([])
    with gateway(ends.target.host, faults) as near:
        manifest = ends.through(ends.manifest("images: [a]"), target=near.host)
        process = ends.start("copy", manifest, "--jobs", "2")
        while not near.asked("manifest put"):
            time.sleep(0.02)
        faults.rules = [Rule("reset")]
        time.sleep(5)
        faults.rules = []
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "trying again for up to 10 min" in err
    assert re.search(rf"{near.host} answers again, after \d", err)
    assert len(target.images()) == 20


def test_a_registry_that_stays_away_ends_the_run_with_everything_kept(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    fill(source, 20)
    with faulty(ends.target.host) as (near, faults):
        body = "images: [a]\ntransfer: {patience: 2s}"
        manifest = ends.through(ends.manifest(body), target=near.host)
        process = ends.start("copy", manifest, "--jobs", "2")
        while not near.asked("manifest put"):
            time.sleep(0.02)
        faults.rules = [Rule("503")]
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, out + err
        assert f"registry {near.host}: the registry answered that it cannot answer now: no answer for" in err
        assert "left to do" in out
        assert "To continue: rahti-migrate copy" in out
        _, _, after = err.partition(f"registry {near.host}: ")
        assert "again in" not in after
        assert "failed" not in out
        seen = ends.run("status", manifest, "--format", "json").json["copies"]
        left = {(row["status"], row["class"], row["error"], row["retryAt"]) for row in seen if row["status"] != "done"}
        assert len(left) == 1, left
        assert {(status, kind) for status, kind, _, _ in left} == {("waiting", "unavailable")}
        assert all(near.host in error for _, _, error, _ in left)
        why = f"registry {near.host}: the registry answered that it cannot answer now: no answer for"
        assert f"\n  {why}" in ends.run("status", manifest).out
        assert f"run 1 (copy): {why}" in ends.run("report", manifest).out
        faults.rules = []
        ran = ends.run("run", manifest)
        assert ran.code == 0, ran.text
    assert len(target.images()) == 20


def test_a_plan_ends_too_where_a_registry_went_away(ends: Ends, source: LabClient) -> None:
    fill(source, 5)
    with faulty(ends.source.host, Rule("503", "manifest")) as (near, _):
        body = "images: [a/app0, a/app1]\ntransfer: {patience: 1s}"
        ran = ends.run("plan", ends.through(ends.manifest(body), source=near.host))
    assert ran.code == 1, ran.text
    assert f"registry {near.host}" in ran.err


def test_ctrl_c_ends_a_wait(ends: Ends, source: LabClient) -> None:
    fill(source, 5)
    rule = Rule("429, Retry-After", "mount")
    with faulty(ends.target.host, rule) as (near, faults):
        process = ends.start("copy", ends.through(ends.manifest("images: [a]"), target=near.host))
        while faults.struck.total() < 4:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(("longest_wait", "refused", "seconds"), [(float("inf"), 0, "2"), (1.0, 6, "60")])
def test_whoever_plans_waits_as_long_as_asked_and_a_worker_does_not(
    ends: Ends, source: LabClient, tmp_path: Path, longest_wait: float, refused: int, seconds: str
) -> None:
    for number in range(6):
        source.push(f"a/app{number}", small(f"app-{number}"), "1")
    struck: list[Request] = []

    def handle(request: Request, forward: Forward) -> Answer:
        if not struck:
            struck.append(request)
            return Answer(429, (("Retry-After", seconds),), b"later")
        return forward(request)

    with (
        gateway(ends.source.host, handle) as near,
        pipeline(near.host, ends.target.host, tmp_path / "p", credential=Credential(USER, PASSWORD)) as made,
    ):
        made.registry(near.host).pace.longest_wait = longest_wait
        with suppress(RegistryError):
            made.registry(near.host).ping()
        plan = made.plan([request(f"{near.host}/a/app{number}:1", f"a/app{number}:1") for number in range(6)])
    assert sum(copy.failure is not None for copy in plan.copies) == refused


def test_what_fails_at_some_repositories_of_the_target_is_no_outage_of_anybody(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    for name in ("bad0", "bad1", "bad2", "good0", "good1"):
        source.push(f"a/{name}", small(name), "1")

    def handle(request: Request, forward: Forward) -> Answer:
        from_skopeo = "rahti-migrate" not in request.headers.get("user-agent", "")
        bad = request.phase == "blob" and "/bad" in request.path and from_skopeo
        return Answer(503, (), b"") if bad else forward(request)

    with gateway(ends.target.host, handle) as near:
        body = "images: [a]\ntransfer: {patience: 1s, linkMaxMissing: 0}"
        ran = ends.run("copy", ends.through(ends.manifest(body), target=near.host))
    assert ran.code == 3, ran.text
    assert "2 done, 3 failed" in ran.out
    assert set(target.images()) == {"a/good0:1", "a/good1:1"}


def test_a_source_that_breaks_off_is_named_and_slowed_down_and_not_the_target_that_was_fed(
    ends: Ends, source: LabClient, tmp_path: Path
) -> None:
    source.push("a/b", make_image([make_layer("large", 300_000)]), "1")
    with (
        faulty(ends.source.host, Rule("reset within the body", "blob")) as (near, _),
        pipeline(near.host, ends.target.host, tmp_path / "p", credential=Credential(USER, PASSWORD)) as made,
    ):
        (copied,) = made.copy(made.plan([request(f"{near.host}/a/b:1", "a/b:1")]))
        paces = [made.registry(host).pace.limit(Lane.COPIES) for host in (near.host, ends.target.host)]
    assert copied.failure
    assert "happened during read" in copied.failure.words
    assert copied.failure.words.startswith(f"reading from the source {near.host}: "), copied.failure
    assert paces == [1, 4]
