"""Ends that do not hold still: tags that move, repositories that vanish, somebody else at the target."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Ends, Ran
from registrylab.client import LabClient
from registrylab.gateway import Answer, Forward, Gateway, Request, gateway
from registrylab.images import Image, make_image, make_layer, sha256
from registrylab.strange import compose, layer

OLD_PLAN = "from migrate.images import worker; worker.FRESH_SECONDS = 0.0; from migrate.cli import main; main()"
"""The program, with a plan that is never fresh: as if hours lay between plan and copy."""


def hours_later(ends: Ends, *arguments: object) -> Ran:
    argv = [sys.executable, "-c", OLD_PLAN, *map(str, arguments)]
    done = subprocess.run(argv, cwd=ends.folder, env=ends.environment(), capture_output=True, text=True, timeout=120)
    return Ran(done.returncode, done.stdout, done.stderr)


def small(name: str) -> Image:
    return make_image([make_layer("base", 20_000), make_layer(name, 2_000)])


@contextmanager
def at_first(host: str, phase: str, happens: Callable[[], object]) -> Iterator[Gateway]:
    """A gateway in which something happens just before the first request of a phase is answered."""
    waiting, happening = [happens], threading.Lock()

    def handle(request: Request, forward: Forward) -> Answer:
        with happening:  # others of this phase wait until it has happened
            if request.phase == phase and waiting:
                waiting.pop()()
        return forward(request)

    with gateway(host, handle) as made:
        yield made


def config_of(client: LabClient, repository: str, tag: str) -> str:
    stored = client.manifest(repository, tag)
    assert stored
    digest: str = stored.document["config"]["digest"]
    return digest


def test_a_tag_that_moves_after_the_plan_arrives_as_planned_and_the_move_is_said(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    source.push("a/app", small("old"), "latest")
    source.push("a/other", small("other"), "1")
    planned = config_of(source, "a/app", "latest")
    with at_first(ends.source.host, "blob", lambda: source.push("a/app", small("new"), "latest")) as near:
        manifest = ends.through(ends.manifest("images: [a]"), source=near.host)
        ran = hours_later(ends, "copy", manifest)
        assert ran.code == 0, ran.text
        assert config_of(target, "a/app", "latest") == planned
        now = source.images()["a/app:latest"]
        assert "Moved while this ran (what was planned is copied; run again" in ran.out
        assert f"a/app:latest: the source tag has moved since it was planned, to {now}" in ran.out
        assert "a/other:1: the source" not in ran.out
        again = ends.run("copy", manifest)
    assert again.code == 0, again.text
    assert "Moved" not in again.out
    assert config_of(target, "a/app", "latest") == config_of(source, "a/app", "latest") != planned


def test_the_move_is_an_event_and_is_kept_in_the_state(ends: Ends, source: LabClient) -> None:
    source.push("a/app", small("old"), "1", "2")
    with at_first(ends.source.host, "blob", lambda: source.push("a/app", small("new"), "1")) as near:
        through = ends.through(ends.manifest("images: [a]"), source=near.host)
        ran = hours_later(ends, "copy", through, "--format", "json", "--jobs", "1")
    notes = {event["target"].rpartition(":")[2]: event["note"] for event in ran.events if event["event"] == "done"}
    assert notes["2"] is None
    assert "has moved since it was planned" in notes["1"]
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        kept = dict(db.execute("select target, warnings from copies").fetchall())
    assert [("has moved" in words) for _, words in sorted(kept.items())] == [True, False]


def test_a_repository_that_vanishes_fails_alone(ends: Ends, source: LabClient, target: LabClient) -> None:
    for name in ("gone", "one", "two"):
        source.push(f"a/{name}", small(name), "1")

    def vanish() -> None:
        shutil.rmtree(repository(ends, "a/gone"))

    with at_first(ends.source.host, "blob", vanish) as near:
        ran = ends.run(
            "copy", ends.through(ends.manifest("images: [a/gone, a/one, a/two]"), source=near.host), "--jobs", "1"
        )
    assert ran.code == 3
    assert set(target.images()) == {"a/one:1", "a/two:1"}
    assert "a/gone:1" in ran.out
    assert "the source tag is gone since it was planned" in ran.out


def repository(ends: Ends, name: str) -> Path:
    return ends.source.storage / "docker/registry/v2/repositories" / name


def test_a_repository_that_vanishes_between_the_list_and_its_tags_is_named(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    source.push("a/gone", small("gone"), "1")
    source.push("a/stays", small("stays"), "1")
    with gateway(ends.source.host) as near:
        done: list[Path] = []

        def handle(request: Request, forward: Forward) -> Answer:
            answer = forward(request)
            if "_catalog" in request.path and not done:
                done.append(repository(ends, "a/gone"))
                shutil.rmtree(done[0])
            return answer

        near.handle = handle
        ran = ends.run("copy", ends.through(ends.manifest("images: [a]"), source=near.host))
    assert ran.code == 3
    assert "a/gone" in ran.out
    assert set(target.images()) == {"a/stays:1"}


@pytest.mark.parametrize(("phase", "link_max"), [("upload", 0), ("mount", "1MiB")])
def test_a_target_tag_that_somebody_else_takes_meanwhile_is_theirs(
    ends: Ends, source: LabClient, target: LabClient, phase: str, link_max: object
) -> None:
    source.push("a/app", small("ours"), "1")
    theirs = small("theirs")
    with at_first(ends.target.host, phase, lambda: target.push("a/app", theirs, "1")) as near:
        manifest = ends.through(
            ends.manifest(f"images: [a]\ntransfer: {{linkMaxMissing: {link_max}}}"), target=near.host
        )
        ran = ends.run("copy", manifest)
        assert ran.code == 3
        assert "conflict" in ran.out
        assert "the target tag was not there when planned" in ran.out
        assert target.images() == {"a/app:1": theirs.digest}
        assert ends.run("copy", manifest).code == 3
    assert target.images() == {"a/app:1": theirs.digest}


def test_an_empty_repository_of_a_project_is_said_and_is_no_trouble(ends: Ends, source: LabClient) -> None:
    source.push("a/app", small("one"), "1")
    source.push("a/empty", small("two"), "1")
    source.delete_manifest("a/empty", small("two").digest)
    assert source.tags("a/empty") == []
    ran = ends.run("copy", ends.manifest("images: [a]"))
    assert ran.code == 0, ran.text
    assert "a/empty: the repository has no tags" in ran.text
    named = ends.run("plan", ends.manifest("images: [a/empty]", "named.yaml"))
    assert named.code == 3


def test_a_manifest_that_arrives_damaged_under_its_tag_is_put_again(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    padded = compose([layer("one", family="oci")], "oci", more={"annotations": {"note": "x" * 5_000}})
    source.push("a/app", padded, "1")
    damaged: list[str] = []

    def handle(request: Request, forward: Forward) -> Answer:
        if request.method == "PUT" and request.path.endswith("/manifests/1") and not damaged:
            body = request.body.replace(b"xxx", b"xyx", 1)
            damaged.append(sha256(body))
            request = replace(request, body=body)
        return forward(request)

    with gateway(ends.target.host, handle) as far:
        ran = ends.run("copy", ends.through(ends.manifest("images: [a]"), target=far.host))
    assert ran.code == 0, ran.text
    assert damaged
    assert target.images() == {"a/app:1": padded.digest}
