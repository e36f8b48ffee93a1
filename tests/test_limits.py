"""Runs that are to end: after so long, after so many bytes; and what comes first."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from clusters import OLD_TOKEN, two_clusters
from conftest import Ends
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient, missing_from
from registrylab.forward import forward_proxy
from registrylab.gateway import Answer, Forward, Gateway, Request, gateway
from registrylab.images import Image, make_image, make_layer
from registrylab.registry import registry
from test_transfer import QUICK, jobs, result

from migrate.images.budget import Budget
from migrate.images.transfer import Job, JobResult, Stop, run_jobs

KB = 1000


def image(name: str, size: int) -> Image:
    return make_image([make_layer(name, size)])


def fill(source: LabClient, sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        source.push(f"a/app{number}", image(f"app{number}", size * KB), "1")


def tags(target: LabClient) -> set[str]:
    return set(target.images())


# --- bytes ------------------------------------------------------------------------------------------------------


def test_nights_of_so_many_bytes_end_with_everything_and_send_nothing_twice(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    fill(source, [300, 310, 320, 330, 340, 350, 360])
    manifest = ends.manifest("images: [a]\n")
    sent, there, nights = [], 0, 0
    while True:
        ran = ends.run("copy", manifest, "--max-bytes", "1MB", "--format", "json", "--jobs", "3")
        summary = ran.events[-1]
        sent.append(summary["bytes"])
        assert len(tags(target)) == there + summary["counts"]["done"]
        there, nights = len(tags(target)), nights + 1
        if ran.code == 0:
            break
        assert ran.code == 5, ran.text
        assert summary["limit"] == "--max-bytes 1.0 MB"
        assert summary["counts"]["left"] == 7 - there
        assert nights < 8
    assert nights >= 3
    assert all(bytes_ <= 1_000_000 for bytes_ in sent)
    assert all(missing_from(target, f"a/app{number}", "1") == [] for number in range(7))
    uploads = [line for line in ends.target.log.splitlines() if "blobs/uploads" in line and " 201 " in line]
    assert len(uploads) == len(set(uploads)) == 14, "a layer and a config each, once"


def test_what_is_left_is_said_and_how_to_go_on(ends: Ends, source: LabClient) -> None:
    fill(source, [300, 310, 320, 330])
    ran = ends.run("run", ends.manifest("images: [a]\n"), "--max-bytes", "700kB", "--project", "a")
    assert ran.code == 5
    assert "2 done, 2 left to do" in ran.out
    assert "Stopped at --max-bytes 700 kB; what is done is recorded. To continue: rahti-migrate run " in ran.out
    assert "--max-bytes 700kB" in ran.out.splitlines()[-1]
    assert "verified" not in ran.out, "nothing is verified of what is half done"
    stood = ends.run("status", ends.folder / "m.yaml")
    assert stood.code == 3
    assert "2 done, 2 waiting" in stood.out


def test_an_image_that_never_fits_is_said(ends: Ends, source: LabClient, target: LabClient) -> None:
    fill(source, [300])
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--max-bytes", "100kB")
    assert ran.code == 3, "no further night would do anything"
    assert "Nothing fits into --max-bytes 100 kB: the smallest image that is left needs 301 kB" in ran.out
    assert tags(target) == set()


def test_a_limit_that_is_not_reached_changes_nothing(ends: Ends, source: LabClient) -> None:
    fill(source, [30, 31])
    ran = ends.run("run", ends.manifest("images: [a]\n"), "--max-bytes", "1GB", "--max-duration", "1h")
    assert ran.code == 0, ran.text


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--max-bytes", "many", "is not a size"),
        ("--max-bytes", "0", "nothing can be done in that"),
        ("--max-duration", "6", "is not a duration"),
        ("--max-duration", "0s", "nothing can be done in that"),
        ("--order", "random", "Invalid value"),
        ("--bwlimit", "5kB", "give at least 10.0 kB, or leave it out"),
    ],
)
def test_a_limit_that_is_none_is_refused_before_anything(ends: Ends, option: str, value: str, words: str) -> None:
    ran = ends.run("copy", ends.manifest("images: [a]\n"), option, value)
    assert ran.code == 2
    assert words in ran.err
    assert not (ends.folder / "state").exists()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60), st.booleans()), max_size=40), st.integers(1, 200))
def test_no_more_is_begun_than_fits(asked: list[tuple[int, int, bool]], limit: int) -> None:
    """Jobs send at most what they expect, some tell of it only on the way; some end at once, others at the end."""
    budget, running, sent = Budget(limit), [], 0
    for number, (expected, part, at_once) in enumerate(asked):
        if budget.take(number, expected):
            running.append((number, min(expected, part)))
            if at_once:
                job, moved = running.pop(0)
                budget.moved(job, moved)
                budget.settle(job, 0)
                sent += moved
    sent += sum(moved for _, moved in running)
    assert sent <= limit
    fits = [expected for expected, _, _ in asked if expected <= limit]
    assert not fits or budget.waiting < len(asked), "something is begun where anything fits"


def test_what_does_not_fit_is_not_begun_and_the_rest_is() -> None:
    todo = jobs([["a"], ["b"], ["c"]])
    begun: list[str] = []

    def perform(job: Job) -> JobResult:
        begun.append(job.name)
        done = result(job)
        return replace(done, results=(replace(done.results[0], bytes=job.unit.size),))

    budget = Budget(2 * todo[0].unit.size)
    with ThreadPoolExecutor(1) as pool:
        list(run_jobs(todo, perform, pool, 1, Stop(), QUICK, budget=budget))
    assert (len(begun), budget.waiting) == (2, 1)


def test_what_was_set_aside_and_not_sent_is_for_others(ends: Ends, source: LabClient, target: LabClient) -> None:
    """Ten images that share all but a little fit together, and nobody knows that before the first has landed."""
    base = make_layer("base", 590 * KB)
    for number in range(10):
        source.push(f"a/app{number}", make_image([base, make_layer(f"own{number}", 10 * KB)]), "1")
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--max-bytes", "1MB", "--format", "json")
    assert ran.code == 0, ran.text
    assert len(tags(target)) == 10
    assert ran.events[-1]["bytes"] <= 1_000_000


def test_images_that_do_not_tell_their_size_are_begun(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push_schema1("a/old", image("old", 30 * KB), "1")
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--max-bytes", "1MB")
    assert ran.code == 0, ran.text
    assert tags(target) == {"a/old:1"}


def test_a_signal_is_one_also_under_a_limit_of_bytes(ends: Ends, source: LabClient) -> None:
    fill(source, [30] * 12 + [2_000])
    manifest = ends.manifest("images: [a]\n")
    with gateway(ends.target.host) as near:
        near.handle = slow(0.5, "manifest put")
        ends.through(manifest, target=near.host)
        running = ends.start("copy", manifest, "--max-bytes", "1MB", "--jobs", "1")
        wait_for_tags(ends, near)
        running.terminate()
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 130, out
    assert "Stopped; what is done is recorded" in out


def wait_for_tags(ends: Ends, near: Gateway) -> None:
    """Until the first tag has been put."""
    deadline = time.monotonic() + 30
    while not any(request.phase == "manifest put" for request in near.seen):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- time -------------------------------------------------------------------------------------------------------


def slow(seconds: float, phase: str):
    def handle(request: Request, forward: Forward) -> Answer:
        if request.phase == phase:
            time.sleep(seconds)
        return forward(request)

    return handle


def test_nights_of_so_long_end_with_everything(ends: Ends, source: LabClient, target: LabClient) -> None:
    fill(source, [20] * 16)
    manifest = ends.manifest("images: [a]\n")
    with gateway(ends.target.host) as near:
        near.handle = slow(0.7, "manifest put")
        ends.through(manifest, target=near.host)
        began = time.monotonic()
        ran = ends.run("copy", manifest, "--max-duration", "3s", "--jobs", "2")
        took = time.monotonic() - began
        assert ran.code == 5, ran.text
        assert took < 30, "running copies end, nothing else begins"
        assert "--max-duration 3s is over: nothing new begins, running copies may end for 30 s" in ran.err
        assert "Stopped at --max-duration 3s; what is done is recorded. To continue: rahti-migrate copy" in ran.out
        first = tags(target)
        assert 0 < len(first) < 16
        near.handle = slow(0, "")
        again = ends.run("copy", manifest, "--max-duration", "10m", "--format", "json")
    assert again.code == 0, again.text
    assert again.events[-1]["counts"]["done"] == 16 - len(first), "what was done is not done again"


def test_the_time_counts_for_the_verification_too(ends: Ends, source: LabClient) -> None:
    for number in range(2):
        source.push(f"a/app{number}", image(f"app{number}", 20 * KB), *(f"t{tag}" for tag in range(60)))
    manifest = ends.manifest("images: [a]\n")
    assert ends.run("copy", manifest).code == 0
    with gateway(ends.target.host) as near:

        def slow_after_the_plan(request: Request, forward: Forward) -> Answer:
            if sum(asked.phase == "manifest" for asked in near.seen) > 130:
                time.sleep(1)
            return forward(request)

        near.handle = slow_after_the_plan
        ends.through(manifest, target=near.host)
        ran = ends.run("run", manifest, "--max-duration", "5s")
    assert ran.code == 5, ran.text
    assert "--max-duration 5s is over; " in ran.err
    assert "of 120 tags verified" in ran.err


def test_the_time_counts_while_a_registry_is_waited_for(ends: Ends, source: LabClient) -> None:
    fill(source, [20, 20])
    manifest = ends.manifest("images: [a/app0, a/app1]\ntransfer: {patience: 60s}\n")
    with gateway(ends.source.host) as near:
        near.handle = lambda request, forward: Answer(503, (), b"") if request.phase == "tags" else forward(request)
        ends.through(manifest, source=near.host)
        began = time.monotonic()
        ran = ends.run("copy", manifest, "--max-duration", "3s", "--format", "json")
        took = time.monotonic() - began
    assert ran.code == 5, ran.text
    assert took < 40
    assert ran.events[-1]["event"] == "error"
    assert "--max-duration 3s is over; nothing was begun" in ran.events[-1]["error"]
    assert f"rahti-migrate copy {manifest} --max-duration 3s" in ran.events[-1]["advice"]
    assert "refused" not in (ends.run("status", manifest).out)


def test_a_signal_after_the_time_is_the_first_one(ends: Ends, source: LabClient) -> None:
    fill(source, [20] * 6)
    manifest = ends.manifest("images: [a]\n")
    with gateway(ends.target.host) as near:
        near.handle = slow(5, "manifest put")
        ends.through(manifest, target=near.host)
        running = ends.start("copy", manifest, "--max-duration", "3s", "--jobs", "2")
        assert running.stderr
        before = next(line for line in running.stderr if "nothing new begins" in line)
        running.terminate()
        out, err = running.communicate(timeout=60)
    assert before.startswith("--max-duration 3s is over")
    assert running.returncode == 5, err
    assert "left to do" in out, "what ran has ended well"
    assert "Ctrl-C (again) stops at once" in err


# --- order ------------------------------------------------------------------------------------------------------


def begun(ends: Ends, order: str) -> list[str]:
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--order", order, "--jobs", "1", "--format", "json")
    assert ran.code == 0, ran.text
    return [event["target"].partition("/a/")[2] for event in ran.events if event["event"] == "done"]


def test_the_smallest_first(ends: Ends, source: LabClient) -> None:
    fill(source, [50, 20, 40, 10, 30])
    assert begun(ends, "smallest") == ["app3:1", "app1:1", "app4:1", "app2:1", "app0:1"]


def test_the_largest_first(ends: Ends, source: LabClient) -> None:
    fill(source, [50, 20, 40, 10, 30])
    assert begun(ends, "largest") == ["app0:1", "app2:1", "app4:1", "app1:1", "app3:1"]


def test_what_is_in_use_first(ends: Ends, source: LabClient) -> None:
    with two_clusters(ends.folder.parent / "two") as both:
        for name in ("a", "b", "used", "z"):
            both.push(both.old, OLD_TOKEN, f"my-app/{name}", "1")
        container = {"name": "c", "image": f"{both.old.registry.host}/my-app/used:1"}
        template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 1, "selector": {"app": "x"}, "template": template}
        both.old.apply({"kind": "DeploymentConfig", "metadata": {"name": "x", "namespace": "my-app"}, "spec": spec})
        manifest = both.manifest("images: [my-app]\n")
        ran = both.run("copy", manifest, "--order", "in-use", "--jobs", "1", "--format", "json")
    assert ran.code == 0, ran.text
    done = [event["target"].rpartition("/")[2] for event in ran.events if event["event"] == "done"]
    assert done[0] == "used:1"
    assert len(done) == 4
    assert "1 image in use by workloads" in ran.err


def test_in_use_without_an_api_is_explained(ends: Ends, source: LabClient) -> None:
    fill(source, [10])
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--order", "in-use")
    assert ran.code == 2
    assert "--order in-use needs the source's OpenShift API" in ran.err
    assert "looking at" not in ran.err, "nothing was attempted"


# --- bytes a second ---------------------------------------------------------------------------------------------


def test_a_rate_is_held_by_all_workers_together_and_by_skopeo(own_address: str, tmp_path: Path) -> None:
    """9 MB at 3 MB a second: half by skopeo (one large layer), half by us; Go uses proxies for this address."""
    with (
        registry(address=own_address, folder=tmp_path / "source") as near,
        registry(address=own_address, folder=tmp_path / "target") as far,
        LabClient(near) as source,
        LabClient(far) as target,
    ):
        ends = Ends(near, far, tmp_path)
        source.push("a/large", image("large", 4_500 * KB), "1")
        for number in range(9):
            source.push(f"a/app{number}", image(f"app{number}", 500 * KB), "1")
        manifest = tmp_path / "m.yaml"
        manifest.write_text(
            f"version: 1\nsource: {{registry: '{near.host}', plainHttp: true}}\n"
            f"target: {{registry: '{far.host}', plainHttp: true}}\ntransfer: {{linkMaxMissing: 1MB}}\nimages: [a]\n"
        )
        began = time.monotonic()
        ran = ends.run("copy", manifest, "--bwlimit", "3MB/s", "-v")
        took = time.monotonic() - began
        assert ran.code == 0, ran.text
        assert len(tags(target)) == 10
        assert missing_from(target, "a/large", "1") == []
        assert took > 9 / 3 * 0.95, "9 MB came, and 9 MB went"
        assert "not held back" not in ran.text
        agents = {line.rpartition('"skopeo')[1] for line in far.log.splitlines() if "blobs/uploads" in line}
        assert agents == {'"skopeo', ""}, "both have carried"
        again = ends.run("verify", manifest, "--deep", "--bwlimit", "3MB")
        assert again.code == 0, again.text


def test_what_the_rate_does_not_hold_is_said(ends: Ends, source: LabClient) -> None:
    fill(source, [20])
    ran = ends.run("copy", ends.manifest("images: [a]\n"), "--bwlimit", "400Mbit")
    assert ran.code == 0, ran.text
    near = " and ".join(sorted((ends.source.host, ends.target.host)))
    assert f"does not slow what skopeo itself moves to or from this machine: {near}" in ran.err


def test_the_users_own_proxy_stays_in_force(own_address: str, tmp_path: Path) -> None:
    with (
        registry(address=own_address, folder=tmp_path / "source") as near,
        registry(address=own_address, folder=tmp_path / "target") as far,
        LabClient(near) as source,
        LabClient(far) as target,
        forward_proxy({near.host: near.host, far.host: far.host}, "Basic YW5uOnMzY3IzdA==") as proxy,
    ):
        for name, size in (("large", 4_500), ("small", 20)):
            source.push(f"a/{name}", image(name, size * KB), "1")
        manifest = tmp_path / "m.yaml"
        manifest.write_text(
            f"version: 1\nsource: {{registry: '{near.host}', plainHttp: true}}\n"
            f"target: {{registry: '{far.host}', plainHttp: true}}\ntransfer: {{linkMaxMissing: 1MB}}\nimages: [a]\n"
        )
        url = proxy.url.replace("http://", "http://ann:s3cr3t@")
        ran = Ends(near, far, tmp_path).run("copy", manifest, "--bwlimit", "50MB", "-vv", HTTP_PROXY=url)
        assert ran.code == 0, ran.text
        assert "s3cr3t" not in ran.text
        assert len(tags(target)) == 2
        asked = {line.partition(" ")[2] for line in proxy.asked}
        assert asked == {near.host, far.host}, "everything went through it"


def test_a_proxy_of_the_users_that_cannot_be_used_is_said_as_without_a_rate(ends: Ends, source: LabClient) -> None:
    fill(source, [20])
    manifest = ends.manifest("images: [a]\n")
    manifest.write_text(manifest.read_text().replace(ends.target.host, "registry.example.org"))
    ran = ends.run("copy", manifest, "--bwlimit", "1MB", HTTP_PROXY="socks5://ann:s3cr3t@10.0.0.1:1080")
    assert ran.code == 2
    assert "a SOCKS proxy in the environment" in ran.err
    assert "s3cr3t" not in ran.text


def test_where_the_proxy_gets_nobody_through_the_reason_is_said(ends: Ends, source: LabClient) -> None:
    fill(source, [20])
    manifest = ends.manifest("images: [a]\n")
    manifest.write_text(manifest.read_text().replace(ends.target.host, "registry.invalid"))
    ran = ends.run("copy", manifest, "--bwlimit", "1MB")
    assert ran.code == 1
    assert "the target registry registry.invalid: the connection failed or broke: registry.invalid: " in ran.err
    assert "ame or service not known" in ran.err or "name resolution" in ran.err or "No address" in ran.err
