"""The state: what was done is remembered through anything, and nothing that was not."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registrylab.images import make_image, make_layer

from migrate.errors import StateError, UsageError
from migrate.images.delivery import Delivery, Method, Part, deliver
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import OCI_MANIFEST, parse_image_manifest, sha256
from migrate.images.plan import Action, Copy, Delivered, Plan
from migrate.images.transfer import CopyResult, Job, JobResult, jobs_of
from migrate.images.verdicts import Verdict
from migrate.images.verify import Verified
from migrate.manifest import ImageOptions
from migrate.reference import Repository
from migrate.state.memory import State
from migrate.state.opening import open_state, read_state
from migrate.state.reading import NoStateError

SOURCE, TARGET = Repository("old.fi", "shop/web"), Repository("new.fi", "shop-2/web")
BASE = make_layer("base", 100)
SOMEBODY_ELSES = sha256(b"somebody else's")


def delivery(name: str) -> Delivery:
    """An image of that name, converted by media type."""
    made = make_image([BASE, make_layer(name, 100)])
    return deliver(parse_image_manifest(made.body, made.media_type), {}, ImageOptions())


def by_skopeo(name: str) -> Delivery:
    """The same, but skopeo converts it: what it will make is not known before."""
    source = delivery(name).parts[0].source
    return Delivery(Method.SKOPEO, (Part(source, source),), None, source.digest)


def wanted(what: Delivery, action: Action = Action.COPY, tag: str = "1", **more: Any) -> Copy:
    source = SOURCE.tagged(tag).with_digest(what.parts[0].source.digest)
    return Copy(source, TARGET.tagged(tag), action, "because", ImageOptions(), delivery=what, **more)


def job_of(*copies: Copy, attempt: int = 1) -> Job:
    return replace(jobs_of(Plan(copies))[0], attempt=attempt)


def made_of(copy: Copy) -> str:
    """The digest of what the target gets."""
    assert copy.delivery
    return copy.delivery.top.digest if copy.delivery.top else sha256(copy.source.digest.encode())


def done(copy: Copy, **more: Any) -> CopyResult:
    arrived = {"target_digest": made_of(copy), "target_media_type": OCI_MANIFEST, "bytes": 700}
    return CopyResult(copy, None, **{**arrived, "started": 1_700_000_000.0, "ended": 1_700_000_002.5, **more})


def failed(copy: Copy, kind: FailureClass = FailureClass.UNAVAILABLE, attempt: int = 1) -> CopyResult:
    failure = Failure(kind, "HTTP 500")
    return CopyResult(copy, failure, started=1_700_000_000.0, ended=1_700_000_001.0, attempt=attempt)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "my-app.db"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tmp_path / "my-app.yaml"


@pytest.fixture
def state(path: Path, manifest: Path) -> Iterator[State]:
    with open_state(path, manifest) as opened:
        opened.begin_run("copy", "old.fi", "new.fi", "1.9.3")
        yield opened


def row(state: State, tag: str = "1") -> dict[str, Any]:
    return next(row for row in state.copies() if row["target"] == f"new.fi/shop-2/web:{tag}")


def plan(state: State, *copies: Copy) -> None:
    state.record_plan(Plan(copies))


def put(state: State, copy: Copy) -> None:
    """Plan it, do it, record it."""
    plan(state, copy)
    state.record_started(job_of(copy))
    state.record(JobResult(job_of(copy), (done(copy),)))


def cut_off(state: State, copy: Copy) -> None:
    """Plan it and begin; what came of it nobody saw."""
    plan(state, copy)
    state.record_started(job_of(copy))


def ours(state: State) -> Delivered:
    return state.delivered().get("new.fi/shop-2/web:1", {})


# --- a run ------------------------------------------------------------------------------------------------------


def test_what_is_planned_waits(state: State) -> None:
    copy = wanted(delivery("a"), warnings=("loses OnBuild",))
    plan(state, copy, wanted(delivery("a"), tag="2"))
    assert state.counts() == {"waiting": 2}
    found = row(state)
    assert (found["source"], found["action"], found["reason"]) == (str(copy.source), "copy", "because")
    assert (found["source_project"], found["target_project"]) == ("shop", "shop-2")
    assert (found["expected_digest"], found["size"]) == (made_of(copy), copy.size)
    assert (found["warnings"], found["run_id"]) == (["loses OnBuild"], 1)
    assert ours(state) == {}


def test_what_is_done_is_kept_with_its_digests_bytes_and_time(state: State) -> None:
    copy = wanted(delivery("a"))
    put(state, copy)
    found = row(state)
    assert (found["status"], found["attempts"], found["bytes"], found["seconds"]) == ("done", 1, 700, 2.5)
    assert (found["target_digest"], found["target_media_type"]) == (made_of(copy), OCI_MANIFEST)
    assert found["ended_at"] == "2023-11-14T22:13:22.500Z"
    assert (state.counts(), row(state)["bytes"]) == ({"done": 1}, 700)
    assert ours(state) == {made_of(copy): copy.source.digest}


@pytest.mark.parametrize(
    ("kind", "status"),
    [(FailureClass.DENIED, "failed"), (FailureClass.CONFLICT, "conflict"), (FailureClass.INTERRUPTED, "waiting")],
)
def test_a_failure_is_kept_with_what_to_do(state: State, kind: FailureClass, status: str) -> None:
    copy = wanted(delivery("a"))
    plan(state, copy)
    state.record(JobResult(job_of(copy), (failed(copy, kind),)))
    found, failure = row(state), Failure(kind, "HTTP 500")
    assert (found["status"], found["error_class"], found["retry_at"]) == (status, str(kind), None)
    assert (found["error"], found["advice"]) == (str(failure), failure.advice)


def test_when_it_is_tried_again_is_kept_until_it_is(state: State) -> None:
    copy = wanted(delivery("a"))
    plan(state, copy)
    state.record(JobResult(job_of(copy), (failed(copy),)), retry_at=1_700_000_060.0)
    assert (row(state)["status"], row(state)["retry_at"]) == ("waiting", "2023-11-14T22:14:20.000Z")
    state.record_started(job_of(copy, attempt=2))
    assert (row(state)["status"], row(state)["attempts"], row(state)["retry_at"]) == ("running", 2, None)
    state.record(JobResult(job_of(copy), (done(copy, attempt=2),)))
    assert (row(state)["status"], row(state)["error"], row(state)["advice"]) == ("done", None, None)


def test_what_failed_tries_have_sent_counts(state: State) -> None:
    copy = wanted(delivery("a"))
    plan(state, copy)
    state.record(JobResult(job_of(copy), (replace(failed(copy), bytes=700),)), retry_at=1_700_000_060.0)
    state.record(JobResult(job_of(copy), (done(copy, attempt=2, bytes=20),)))
    assert row(state)["bytes"] == 720


def test_every_attempt_is_kept(state: State, path: Path) -> None:
    copy = wanted(delivery("a"))
    plan(state, copy)
    state.record(JobResult(job_of(copy), (failed(copy),)), retry_at=1_700_000_060.0)
    state.record(JobResult(job_of(copy), (done(copy, attempt=2),)))
    with sqlite3.connect(path) as db:
        found = db.execute("select number, outcome, error_class, retry_at from attempts order by id").fetchall()
    db.close()
    assert found == [(1, "failed", "unavailable", "2023-11-14T22:14:20.000Z"), (2, "done", None, None)]


@pytest.mark.parametrize(
    ("action", "failure", "status"),
    [
        (Action.SKIP, None, "skipped"),
        (Action.CONFLICT, FailureClass.CONFLICT, "conflict"),
        (Action.REFUSED, FailureClass.UNSUPPORTED, "refused"),
    ],
)
def test_what_is_not_copied_says_why_once(
    state: State, action: Action, failure: FailureClass | None, status: str
) -> None:
    reason = str(Failure(failure, "no linux/amd64")) if failure else "the target has it already"
    plan(state, replace(wanted(delivery("a"), action, failure=failure), reason=reason))
    found = row(state)
    assert (found["status"], found["reason"]) == (status, reason)
    assert (found["error_class"], found["error"]) == ((str(failure), reason) if failure else (None, None))
    assert bool(found["advice"]) is bool(failure)


def test_a_new_plan_forgets_old_failures_and_not_what_was_done(state: State) -> None:
    one, two = wanted(delivery("a")), wanted(delivery("b"), tag="2")
    plan(state, one, two)
    state.record(JobResult(job_of(one), (done(one),)))
    state.record(JobResult(job_of(two), (failed(two),)))
    state.begin_run("copy", "old.fi", "new.fi")
    plan(state, replace(one, action=Action.SKIP, present=made_of(one)), two)
    assert state.counts() == {"done": 1, "waiting": 1}
    assert (row(state)["bytes"], row(state)["run_id"], row(state, "2")["error"]) == (700, 2, None)


def test_a_verdict_is_kept_until_something_else_is_put(state: State) -> None:
    copy, newer = wanted(delivery("a")), wanted(delivery("b"))
    put(state, copy)
    state.record_verified([Verified(copy, Verdict.DIFFERENT, "Env differs", made_of(copy))], deep=False)
    found = row(state)
    assert (found["verdict"], found["verdict_words"], bool(found["verified_at"])) == ("different", "Env differs", True)
    put(state, newer)
    found = row(state)
    assert (found["verdict"], found["verdict_words"], found["verified_at"]) == (None, None, None)


def test_what_was_found_equal_is_no_longer_so_once_something_else_is_wanted(state: State) -> None:
    copy, newer = wanted(delivery("a")), wanted(delivery("b"))
    put(state, copy)
    state.record_verified([Verified(copy, Verdict.EQUAL, "", made_of(copy))], deep=False)
    plan(state, replace(copy, action=Action.SKIP, present=made_of(copy)))
    assert row(state)["verdict"] == "equal"
    plan(state, replace(newer, present=made_of(copy)))
    assert (row(state)["status"], row(state)["verdict"]) == ("waiting", None)


def test_runs_are_kept_with_how_they_ended(state: State) -> None:
    begun = state.last_run()
    assert begun
    assert (begun["command"], begun["skopeo_version"], begun["pid"]) == ("copy", "1.9.3", os.getpid())
    assert begun["ended_at"] is None
    state.end_run(3, {"failed": 1})
    ended = state.last_run()
    assert ended
    assert (ended["exit_code"], ended["counts"]) == (3, '{"failed": 1}')
    assert ended["ended_at"] >= ended["started_at"]


def test_image_manifests_that_were_read_are_remembered_byte_for_byte(state: State) -> None:
    found = delivery("a").parts[0].source
    state.record_plan(Plan((), {found.digest: found}))
    state.record_plan(Plan((), {found.digest: found}))
    assert state.image_manifest(found.digest) == found
    assert state.image_manifest(SOMEBODY_ELSES) is None


def test_blobs_that_were_seen_are_remembered_with_their_repository(state: State) -> None:
    copy = wanted(delivery("a"))
    plan(state, copy)
    for _ in range(2):
        state.record(JobResult(job_of(copy), (done(copy),), ((BASE.digest, 100), (SOMEBODY_ELSES, -1))))
    assert state.blobs() == {BASE.digest: {"shop-2/web"}, SOMEBODY_ELSES: {"shop-2/web"}}


def test_a_job_is_recorded_whole_or_not_at_all(state: State) -> None:
    one, two = wanted(delivery("a")), wanted(delivery("a"), tag="2")
    plan(state, one, two)
    broken = replace(done(two), bytes=2**70)
    with pytest.raises(OverflowError):
        state.record(JobResult(job_of(one, two), (done(one), broken)))
    assert state.counts() == {"waiting": 2}
    assert ours(state) == {}


def test_thousands_of_tags_are_planned_at_once(state: State) -> None:
    image = delivery("a")
    plan(state, *[wanted(image, tag=f"v{number}") for number in range(3_000)])
    put(state, wanted(image, tag="v7"))
    plan(state, *[wanted(image, tag=f"v{number}") for number in range(3_000)])
    assert state.counts() == {"waiting": 3_000}
    assert list(state.delivered()) == ["new.fi/shop-2/web:v7"]


# --- whose content stands under a tag ---------------------------------------------------------------------------


def seen(state: State, copy: Copy, present: str) -> None:
    """A new plan that finds this at the target."""
    same = present == made_of(copy)
    plan(state, replace(copy, action=Action.SKIP if same else Action.COPY, present=present))


def test_a_put_that_a_kill_cut_off_counts_as_ours(state: State) -> None:
    copy = wanted(delivery("a"))
    cut_off(state, copy)
    assert ours(state) == {made_of(copy): copy.source.digest}
    seen(state, copy, made_of(copy))
    assert row(state)["status"] == "done"
    assert ours(state) == {made_of(copy): copy.source.digest}


def test_a_put_that_never_happened_is_planned_again(state: State) -> None:
    copy = wanted(delivery("a"))
    cut_off(state, copy)
    plan(state, copy)
    assert state.counts() == {"waiting": 1}


def test_a_tag_that_moved_keeps_what_was_put_before(state: State) -> None:
    before, after = wanted(delivery("a")), wanted(delivery("b"))
    put(state, before)
    seen(state, after, made_of(before))
    assert ours(state) == {made_of(before): before.source.digest}


@pytest.mark.parametrize("make", [delivery, by_skopeo])
def test_killed_before_the_put_of_a_moved_tag_the_old_content_is_still_ours(state: State, make: Any) -> None:
    before, after = wanted(make("a")), wanted(make("b"))
    put(state, before)
    seen(state, after, made_of(before))
    state.record_started(job_of(after))
    for _ in range(2):
        assert ours(state)[made_of(before)] == before.source.digest
        seen(state, after, made_of(before))


@pytest.mark.parametrize("make", [delivery, by_skopeo])
def test_killed_after_the_put_of_a_moved_tag_the_new_content_is_ours_once_it_is_seen(state: State, make: Any) -> None:
    before, after = wanted(make("a")), wanted(make("b"))
    put(state, before)
    seen(state, after, made_of(before))
    state.record_started(job_of(after))
    seen(state, after, made_of(after))
    assert row(state)["status"] == "done"
    assert ours(state) == {made_of(after): after.source.digest}


def test_a_put_whose_answer_was_lost_is_ours_once_it_is_seen(state: State) -> None:
    copy = wanted(delivery("a"))
    cut_off(state, copy)
    state.record(JobResult(job_of(copy), (failed(copy, FailureClass.NETWORK),)))
    assert row(state)["status"] == "failed"
    seen(state, copy, made_of(copy))
    assert row(state)["status"] == "done"


def test_a_run_that_could_not_look_forgets_nothing(state: State) -> None:
    copy = wanted(delivery("a"))
    cut_off(state, copy)
    plan(state, replace(copy, action=Action.REFUSED, failure=FailureClass.NETWORK))
    assert ours(state) == {made_of(copy): copy.source.digest}
    seen(state, copy, made_of(copy))
    assert row(state)["status"] == "done"


def test_a_moved_tag_that_a_kill_cut_off_is_ours_at_the_next_move_too(state: State) -> None:
    one, two, three = (wanted(delivery(name)) for name in "abc")
    put(state, one)
    seen(state, two, made_of(one))
    state.record_started(job_of(two))
    seen(state, three, made_of(two))
    assert ours(state) == {made_of(two): two.source.digest}


@pytest.mark.parametrize("make", [delivery, by_skopeo])
def test_what_somebody_else_put_is_never_ours(state: State, make: Any) -> None:
    copy = wanted(make("a"))
    cut_off(state, copy)
    for action in (Action.CONFLICT, Action.COPY):
        plan(state, replace(copy, action=action, present=SOMEBODY_ELSES))
        assert SOMEBODY_ELSES not in ours(state)


def test_what_is_left_as_it_is_does_not_become_ours(state: State) -> None:
    skip = replace(wanted(by_skopeo("a")), options=ImageOptions(on_conflict="skip"))
    cut_off(state, skip)
    plan(state, replace(skip, action=Action.SKIP, present=SOMEBODY_ELSES))
    assert (row(state)["status"], ours(state)) == ("skipped", {})


# --- files that are not what they should be ---------------------------------------------------------------------


def test_it_is_there_again_after_it_was_closed(path: Path, manifest: Path) -> None:
    copy = wanted(delivery("a"))
    with open_state(path, manifest) as state:
        put(state, copy)
    with open_state(path, manifest) as state:
        assert ours(state) == {made_of(copy): copy.source.digest}
    assert [file.name for file in path.parent.iterdir()] == ["my-app.db"]
    with read_state(path, manifest) as state:
        assert state.counts() == {"done": 1}
        assert state.manifest_path() == str(manifest)


def test_another_manifest_is_refused_with_the_way_out(path: Path, manifest: Path, tmp_path: Path) -> None:
    with open_state(path, manifest):
        pass
    with pytest.raises(UsageError) as caught, open_state(path, tmp_path / "other.yaml"):
        pass
    assert caught.value.what == f"{path}: this state belongs to the manifest {manifest}, not to {tmp_path}/other.yaml"
    assert "--state" in caught.value.advice
    with open_state(path, tmp_path / "x" / ".." / "my-app.yaml"):
        pass


def future(path: Path, manifest: Path) -> None:
    with open_state(path, manifest):
        pass
    with sqlite3.connect(path) as db:
        db.execute("insert into _sqlite_migrations values (null, 'rahti-migrate', 'm999_future', '2030-01-01')")
    db.close()


def somebody_elses(path: Path, manifest: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("create table wine (name text)")
    db.close()


def garbage(path: Path, manifest: Path) -> None:
    path.write_bytes(b"not a database, though it is long enough to be one" * 100)


def damaged(path: Path, manifest: Path) -> None:
    with open_state(path, manifest):
        pass
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))


@pytest.mark.parametrize(
    ("make", "words", "advice"),
    [
        (future, "made by a newer rahti-migrate than this", "update"),
        (somebody_elses, "a database, but not a state of rahti-migrate", "--state"),
        (garbage, "file is not a database", "move the file away"),
        (damaged, "malformed", "move the file away"),
    ],
)
def test_a_file_that_is_no_state_of_ours_is_said_and_left_alone(
    path: Path, manifest: Path, make: Any, words: str, advice: str
) -> None:
    make(path, manifest)
    before = path.read_bytes()
    for opened in (open_state(path, manifest), read_state(path, manifest)):
        with pytest.raises(StateError) as caught, opened as state:
            state.copies()
        assert str(path) in caught.value.what
        assert words in caught.value.what
        assert advice in caught.value.advice
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_state(path: Path, manifest: Path) -> None:
    path.touch()
    with pytest.raises(NoStateError), read_state(path, manifest):
        pass
    with open_state(path, manifest) as state:
        assert state.copies() == []


def test_a_state_that_is_not_there_is_said(path: Path, manifest: Path) -> None:
    with pytest.raises(UsageError, match=r"my-app.db: there is no state yet") as caught, read_state(path, manifest):
        pass
    assert "--state" in caught.value.advice
    assert not path.exists()


@pytest.mark.parametrize("name", ["gone/my-app.db", "."])
def test_a_place_where_no_file_can_be_is_said(tmp_path: Path, manifest: Path, name: str) -> None:
    with (
        pytest.raises(StateError, match=r"cannot be used: unable to open") as caught,
        open_state(tmp_path / name, manifest),
    ):
        pass
    assert "name another place with --state" in caught.value.advice


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "#1.db", "sää.db"])
def test_any_file_name_will_do(tmp_path: Path, manifest: Path, name: str) -> None:
    with open_state(tmp_path / name, manifest) as state:
        plan(state, wanted(delivery("a")))
    with read_state(tmp_path / name, manifest) as state:
        assert state.counts() == {"waiting": 1}


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_in_a_read_only_folder_it_can_be_read_and_not_written(tmp_path: Path, manifest: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        with open_state(disk / "my-app.db", manifest) as state:
            put(state, wanted(delivery("a")))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with read_state(disk / "my-app.db", manifest) as state:
            assert state.counts() == {"done": 1}
        with pytest.raises(StateError, match=r"cannot be used") as caught, open_state(disk / "my-app.db", manifest):
            pass
        assert "must be writable" in caught.value.advice


def test_on_a_full_disk_what_was_recorded_is_kept_and_the_rest_is_not(tmp_path: Path, manifest: Path) -> None:
    first = wanted(delivery("a"))
    image = delivery("b")
    many = Plan(tuple(wanted(image, tag=f"v{number}") for number in range(5_000)))
    with mounted(tmp_path / "disk", "size=512k") as disk:
        with pytest.raises(StateError, match=r"cannot be used: .*full|disk I/O") as caught:
            fill(disk / "my-app.db", manifest, first, many)
        assert "make room on the disk" in caught.value.advice
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        with open_state(disk / "my-app.db", manifest) as state:
            assert state.counts() == {"done": 1}
            state.record_plan(many)
            assert state.counts() == {"no longer wanted": 1, "waiting": 5_000}


def fill(path: Path, manifest: Path, first: Copy, many: Plan) -> None:
    with open_state(path, manifest) as state:
        put(state, first)
        state.record_plan(many)


# --- other processes --------------------------------------------------------------------------------------------

WRITING = """
import sys
from pathlib import Path
import test_state
test_state.write_for_ever(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def write_for_ever(path: Path, manifest: Path) -> None:
    """Plan 40 tags and record them two by two, again and again."""
    copies = [wanted(delivery("a"), tag=f"v{number}") for number in range(40)]
    with open_state(path, manifest) as state:
        plan(state, *copies)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            plan(state, *copies)
            for one, two in zip(copies[::2], copies[1::2], strict=True):
                state.record_started(job_of(one, two))
                state.record(JobResult(job_of(one, two), (done(one), done(two))))


@contextmanager
def writer(path: Path, manifest: Path) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    argv = [sys.executable, "-c", WRITING, str(path), str(manifest)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_it_can_be_read_while_another_process_writes_it(path: Path, manifest: Path) -> None:
    numbers: set[int] = set()
    with writer(path, manifest):
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            with read_state(path, manifest) as state:
                counts = state.counts()
                assert sum(counts.values()) == len(state.copies()) == 40
                assert counts.get("done", 0) % 2 == 0
                numbers.add(counts.get("done", 0))
    assert len(numbers) > 1


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.4])
def test_killed_in_the_middle_of_writing_it_is_whole(path: Path, manifest: Path, seconds: float) -> None:
    with writer(path, manifest) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with read_state(path, manifest) as state:
        before = state.counts()
    with open_state(path, manifest) as state:
        assert state.counts() == before
        assert sum(before.values()) == 40
        assert before.get("running", 0) in (0, 2)
        recorded = {row["target"] for row in state.copies() if row["status"] in ("done", "running")}
        assert recorded <= set(state.delivered())
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    db.close()


def test_many_threads_may_ask_for_image_manifests(state: State) -> None:
    manifests = {made_of(copy): copy for copy in (wanted(delivery(str(number))) for number in range(40))}
    bodies = {d: c.delivery.top for d, c in manifests.items() if c.delivery and c.delivery.top}
    state.record_plan(Plan((), bodies))
    with ThreadPoolExecutor(16) as executor:
        for _ in range(20):
            found = list(executor.map(state.image_manifest, bodies))
            assert [manifest.digest if manifest else "" for manifest in found] == list(bodies)


def test_what_a_deep_look_found_stays_until_a_deep_one_finds_it_right(state: State) -> None:
    copy = wanted(delivery("a"))
    put(state, copy)
    found = []
    looks = ((Verdict.DIFFERENT, True), (Verdict.EQUAL, False), (Verdict.UNKNOWN, False), (Verdict.EQUAL, True))
    for verdict, deep in looks:
        state.record_verified([Verified(copy, verdict)], deep=deep)
        found.append(row(state)["verdict"])
    assert found == ["different", "different", "different", "equal"]


def test_a_verdict_outlives_a_copy_that_failed(state: State) -> None:
    copy = wanted(delivery("a"))
    put(state, copy)
    state.record_verified([Verified(copy, Verdict.DIFFERENT, "damaged")], deep=True)
    for _ in range(3):
        plan(state, copy)
        state.record(JobResult(job_of(copy), (failed(copy),)))
        assert state.damaged() == {str(copy.target): "damaged"}
