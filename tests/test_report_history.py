"""Earlier runs, single projects, and what waits: reports, status and views say the same of them, and it stays so."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Ends
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.gateway import Answer, Forward, Request, gateway
from registrylab.images import make_image, make_layer
from reportstates import make_state

from migrate.lock import hold
from migrate.report.json_form import report_schema
from migrate.report.mentions import Mentions
from migrate.report.model import Finding, Image, Workload
from migrate.state.opening import open_state
from migrate.state.reading import read_records

BASE = make_layer("base", 40_000)
IMAGES = [make_image([BASE, make_layer(f"own-{number}", 10_000)]) for number in range(4)]
SAME = ("run", "runs", "counts", "verdicts", "changes", "sharing", "failures", "projects", "headline", "todo")
BODY = "images: [a, b, 'a/app0:9']\nprojects: {a: a-2}"


def report(ends: Ends, manifest: Path, *more: object) -> dict[str, Any]:
    """The report as its JSON has it, which keeps its schema."""
    found: dict[str, Any] = ends.run("report", manifest, "--format", "json", *more).json
    jsonschema.validate(found, report_schema())
    return found


def database(ends: Ends) -> Any:
    return closing(sqlite3.connect(ends.folder / "state/m.db"))


@pytest.fixture
def filled(ends: Ends, source: LabClient) -> Path:
    """Four images with six tags in two projects; one more that is wanted is not there."""
    for number, image in enumerate(IMAGES):
        source.push(f"{'ab'[number % 2]}/app{number}", image, "1", *(["2"] if number < 2 else []))
    return ends.manifest(BODY)


def test_the_report_of_a_run_stays_as_it_was_whatever_comes_after(
    ends: Ends, source: LabClient, target: LabClient, filled: Path
) -> None:
    told = []

    def ran(*arguments: str, code: int) -> None:
        assert ends.run(*arguments, filled).code == code
        told.append(report(ends, filled))

    ran("copy", code=3)
    ran("verify", code=3)
    source.push("a/app0", IMAGES[2], "1", "9")
    target.push("b/app1", IMAGES[0], "2")  # somebody else's
    ran("verify", code=3)
    ran("copy", code=3)
    filled.write_text(filled.read_text().replace(BODY, "images: [a]\nprojects: {a: a-2}"))
    ran("copy", code=0)
    ran("verify", code=0)
    for number, then in enumerate(told, start=1):
        now = report(ends, filled, "--run", number)
        for same in SAME:
            assert now[same] == then[same], (number, same)
        for one, other in zip(now["images"], then["images"], strict=True):
            assert _without_verified(one) == _without_verified(other)
        assert now["isPast"] == (number < len(told))
        assert now["timeline"] == (then["timeline"] if then["timelineRun"] == number else [])
    words = ends.run("report", filled, "--run", 2).out
    assert "as things stood when that run ended" in words
    assert "as things stood" not in ends.run("report", filled).out


def _without_verified(image: dict[str, Any]) -> dict[str, Any]:
    """Without when it was verified: only the first time that it was found so is kept."""
    return {**image, "verifiedAt": image["verifiedAt"] is not None}


def test_a_tag_that_moved_and_one_that_is_no_longer_wanted_are_among_the_changes(
    ends: Ends, source: LabClient, filled: Path
) -> None:
    assert ends.run("copy", filled).code == 3
    source.push("a/app0", IMAGES[2], "1")
    assert ends.run("copy", filled).code == 3
    moved = report(ends, filled)
    assert [(c["target"].partition("/")[2], c["before"], c["after"]) for c in moved["changes"]] == [
        ("a-2/app0:1", "done", "done, another digest")
    ]
    filled.write_text(filled.read_text().replace(", 'a/app0:9'", ""))
    assert ends.run("copy", filled).code == 0
    dropped = report(ends, filled)
    assert [(c["target"].partition("/")[2], c["after"]) for c in dropped["changes"]] == [
        ("a-2/app0:9", "no longer wanted")
    ]
    assert [run["changed"] for run in dropped["runs"]] == [7, 1, 1]
    assert dropped["well"] is False  # nothing was verified
    words = ends.run("explain", filled, "a-2/app0:1", "--format", "json").json["history"]
    assert [each["outcome"] for each in words] == ["done", "done"]


def test_a_killed_run_is_told_at_once(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    with database(ends) as db, db:
        db.execute("delete from changes")
        db.execute("update copies set status = 'running' where target like '%/b/app3:1'")
        db.execute("update runs set ended_at = null, exit_code = null, seconds = null")
    for more in ([], ["--run", 1]):
        found = report(ends, filled, *more)
        assert found["run"]["how"] == "cut off"
        assert found["run"]["changed"] == len(found["changes"]) == 7
        assert found["counts"] == {"cut off": 1, "done": 5, "refused": 1}
        assert [c["after"] for c in found["changes"] if c["target"].endswith("/b/app3:1")] == ["cut off"]
    assert ends.run("verify", filled).code == 3
    after = report(ends, filled, "--run", 1)
    assert after["counts"] == found["counts"]
    assert after["changes"] == found["changes"]


def test_a_run_of_an_older_version_says_that_nothing_was_kept_of_it(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    assert ends.run("copy", filled).code == 3
    with database(ends) as db, db:
        db.execute("delete from changes")
        db.execute("update runs set project = null")
    assert ends.run("report", filled, "--run", 2).code == 0
    refused = ends.run("report", filled, "--run", 1)
    assert refused.code == 2
    assert "did not keep how it left things\n  -> leave --run out" in refused.err


# --- one project ------------------------------------------------------------------------------------------------


def test_numbers_of_one_project_are_those_of_its_tags(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled, "--project", "a").code == 3
    assert ends.run("copy", filled, "--project", "b").code == 0
    whole, one = report(ends, filled), report(ends, filled, "--project", "b")
    assert [(run["number"], run["copied"], run["changed"]) for run in whole["runs"]] == [(1, 3, 4), (2, 3, 3)]
    assert [(run["number"], run["copied"], run["changed"]) for run in one["runs"]] == [(2, 3, 3)]
    assert one["runs"][0]["sent"] == one["sharing"]["sent"] == sum(image["sent"] for image in one["images"])
    other = report(ends, filled, "--project", "a-2")
    assert [run["number"] for run in other["runs"]] == [1]
    for found in (one, other):
        carried = sum(slot["rate"] * slot["seconds"] for slot in found["timeline"])
        assert carried == pytest.approx(found["sharing"]["sent"], rel=0.05)
    assert (one["timelineRun"], other["timelineRun"]) == (2, 1)


def test_status_of_one_project_tells_of_its_tags_alone(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    ends.run("status", filled, "--project", "b", "--metrics", ends.folder / "b.prom")
    ends.run("status", filled, "--metrics", ends.folder / "all.prom")
    numbers = {}
    for name in ("b", "all"):
        lines = (ends.folder / f"{name}.prom").read_text().splitlines()
        numbers[name] = {line.split("{")[0]: float(line.split()[-1]) for line in lines if not line.startswith("#")}
    sent, last = "rahti_migrate_sent_bytes", "rahti_migrate_last_attempt_timestamp_seconds"
    assert 0 < numbers["b"][sent] < numbers["all"][sent]
    with database(ends) as db:
        [(ended,)] = db.execute("select max(ended_at) from attempts where target like '%/b/%'").fetchall()
    assert numbers["b"][last] == pytest.approx(datetime.fromisoformat(ended).timestamp())


# --- what waits, and what verify found --------------------------------------------------------------------------


@pytest.fixture
def given_up(ends: Ends, filled: Path) -> Path:
    """As an outage of the target leaves it: two tags wait, and why is kept."""
    assert ends.run("copy", filled).code == 3
    words = "cannot answer now: no answer for 10 min"
    with database(ends) as db, db:
        db.execute(
            "update copies set status = 'waiting', error_class = 'unavailable', error = ?, target_digest = '' "
            "where target like '%/b/app1:%'",
            [words],
        )
    return filled


def test_what_an_outage_left_says_why_everywhere(ends: Ends, given_up: Path) -> None:
    found = report(ends, given_up)
    words = {each["words"]: each for each in found["todo"]}
    (left,) = [word for word in words if "still to be copied" in word]
    assert left.startswith("2 tags still to be copied: ")
    assert left.endswith("(unavailable)")
    assert words[left]["command"].endswith(f" copy {given_up}")
    assert {(each["name"], each["tags"]) for each in found["failures"]} == {("unavailable", 2), ("not-found", 1)}
    status = ends.run("status", given_up).out
    assert "What waits for the next copy, and why:\nunavailable: " in status
    assert "  b/app1:1: cannot answer now: no answer for 10 min\n" in status
    with database(ends) as db:
        rows = db.execute("select words from failures where error_class = 'unavailable'").fetchall()
    assert rows == [("cannot answer now: no answer for 10 min",)] * 2


def test_what_verify_finds_before_any_copy_is_told_once(ends: Ends, filled: Path) -> None:
    assert ends.run("verify", filled).code == 3
    found = report(ends, filled)
    assert found["verdicts"] == {"missing": 6}
    assert [each["words"] for each in found["todo"] if each["topic"] == "images"][1:] == ["6 tags still to be copied"]


def test_what_is_kept_is_not_called_equal(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/app0", IMAGES[0], "1", "2")
    target.push("a/app0", IMAGES[1], "2")
    manifest = ends.manifest("images: [a]\ndefaults: {onConflict: skip}")
    assert ends.run("run", manifest).code == 0
    assert (
        report(ends, manifest)["headline"]
        == "1 of 2 tags is at the target and verified, 1 left with other content (onConflict: skip)"
    )
    assert ends.run("report", manifest, "--html", "r.html").code == 0
    page = " ".join((ends.folder / "r.html").read_text().split())
    assert "<b>1 of 2</b> compared with the source, and equal<small>1 kept with other content" in page


def test_the_view_of_projects_says_what_the_report_says(tmp_path: Path, ends: Ends) -> None:
    path = make_state(tmp_path, 400)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update copies set verdict = 'missing', verdict_words = 'gone' where target like '%7'")
        db.execute("update copies set size = 0 where target like '%1'")
    found = ends.run("report", tmp_path / "m.yaml", "--state", path, "--format", "json").json
    columns = ("target_project", "tags", "at_target", "verified", "troubled", "size", "size_at_target", "bytes_sent")
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(f"select {', '.join(columns)} from by_project order by 1").fetchall()
        gone = db.execute("select count(*) from failures where words = 'gone'").fetchone()
    keys = ("name", "tags", "atTarget", "verified", "troubled", "size", "sizeAtTarget", "sent")
    assert rows == [tuple(project[key] for key in keys) for project in found["projects"]]
    assert gone[0] > 10
    assert found["sharing"]["total"] == sum(project["sizeAtTarget"] for project in found["projects"])


def test_sizes_of_schema_1_add_up(ends: Ends, source: LabClient) -> None:
    source.push_schema1("a/old", IMAGES[0], "1")
    source.push("a/new", IMAGES[1], "1")
    manifest = ends.manifest("images: [a]")
    assert ends.run("copy", manifest).code == 0
    found = report(ends, manifest)
    assert all(image["size"] > 0 for image in found["images"])
    assert found["projects"][0]["sizeAtTarget"] == found["sharing"]["total"] == sum(i["size"] for i in found["images"])
    assert ends.run("copy", manifest).code == 0
    assert report(ends, manifest)["sharing"]["total"] == found["sharing"]["total"]


# --- what an attack found ---------------------------------------------------------------------------------------


def test_what_the_manifest_no_longer_names_needs_nobody(ends: Ends, target: LabClient, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    target.push("b/app3", IMAGES[0], "1")
    assert ends.run("verify", filled, "--project", "b").code == 3
    filled.write_text(filled.read_text().replace(BODY, "images: [a]\nprojects: {a: a-2}"))
    assert ends.run("run", filled).code == 0
    found = report(ends, filled)
    assert (found["well"], found["headline"]) == (True, "All 3 tags are at the target and verified")
    assert ends.run("status", filled).code == 0
    dropped = ends.run("explain", filled, "b/app3:1").out
    assert dropped.startswith("b/app3:1: no longer wanted\n  the last run did not find it"), dropped
    assert "\nrun 1 " in dropped, dropped
    filled.write_text(filled.read_text().replace("images: [a]", "images: [a, b]"))
    assert ends.run("copy", filled).code == 3  # somebody else's b/app3:1
    again = report(ends, filled)
    assert again["counts"] == {"conflict": 1, "done": 5}
    (other,) = [image for image in again["images"] if image["outcome"] == "conflict"]
    assert other["formatAfter"] is None, "ours was OCI; what is there now was never looked into"


def test_a_project_that_cannot_be_read_now_is_still_wanted(ends: Ends, source: LabClient, filled: Path) -> None:
    filled.write_text(filled.read_text().replace(", 'a/app0:9'", ""))
    assert ends.run("copy", filled).code == 0

    def handle(asked: Request, forward: Forward) -> Answer:
        return Answer(500, (), b"") if "/v2/b/" in asked.path else forward(asked)

    with gateway(ends.source.host, handle) as near:
        ends.through(filled, source=near.host)
        with database(ends) as db, db:
            db.execute("update copies set source = replace(source, ?, ?)", [ends.source.host, near.host])
        assert ends.run("copy", filled).code == 3
    found = report(ends, filled)
    assert found["counts"]["done"] == 6, found["counts"]


def test_what_is_kept_is_no_failure_in_any_form(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/app0", IMAGES[0], "1", "2")
    target.push("a/app0", IMAGES[1], "2")
    manifest = ends.manifest("images: [a]\ndefaults: {onConflict: skip}")
    assert ends.run("run", manifest).code == 0
    found = report(ends, manifest)
    assert (found["failures"], found["well"]) == ([], True)
    (kept,) = [image for image in found["images"] if image["verdict"] == "kept"]
    assert (kept["failure"], kept["advice"]) == (None, "")
    assert found["sharing"]["total"] == sum(i["size"] for i in found["images"] if i is not kept)
    assert "Images in trouble" not in ends.run("report", manifest, "--markdown", "-").out
    assert "overwrite" not in ends.run("explain", manifest, "a/app0:2").out


def test_a_try_that_was_cut_off_after_one_that_failed(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    with database(ends) as db, db:
        db.execute("update runs set ended_at = null, exit_code = null")
        db.execute(
            "update copies set status = 'running', error_class = 'unavailable', error = 'HTTP 503' "
            "where target like '%/b/app3:1'"
        )
        [(failures,)] = db.execute("select count(*) from failures where target like '%/b/app3:1'").fetchall()
    found = report(ends, filled)
    assert failures == 1
    assert [c["after"] for c in found["changes"] if c["target"].endswith("b/app3:1")] == ["cut off (unavailable)"]
    assert "run 1     cut off" not in ends.run("report", filled).out
    history = ends.run("explain", filled, "b/app3:1", "--format", "json").json["history"]
    assert [each["outcome"] for each in history] == ["cut off (unavailable)"]
    assert "HTTP 503" in ends.run("status", filled).out
    document = ends.run("status", filled, "--format", "json").json
    assert document["counts"]["cut off"] == 1
    assert {row["status"] for row in document["copies"] if row["target"].endswith("b/app3:1")} == {"cut off"}


def test_a_report_is_of_one_moment(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    with read_records(ends.folder / "state/m.db", filled, target=None) as records:
        before = records.counts()
        with database(ends) as db, db:
            db.execute("update copies set status = 'failed'")
        assert records.counts() == before


def test_an_earlier_run_tells_its_own_source_and_words(
    ends: Ends, source: LabClient, target: LabClient, filled: Path
) -> None:
    filled.write_text(filled.read_text().replace(BODY, "images: [{from: 'a/app0:1', to: 'x/y:1'}]"))
    assert ends.run("copy", filled).code == 0
    target.push("x/y", IMAGES[3], "1")
    assert ends.run("verify", filled).code == 3
    said = report(ends, filled)["images"]
    target.push("x/y", make_image([BASE]), "1")
    assert ends.run("verify", filled).code == 3
    filled.write_text(filled.read_text().replace("from: 'a/app0:1', to", "from: 'b/app1:1', onConflict: overwrite, to"))
    assert ends.run("copy", filled).code == 0
    first, second = report(ends, filled, "--run", 1), report(ends, filled, "--run", 2)
    assert first["images"][0]["source"] == f"{ends.source.host}/a/app0:1@{IMAGES[0].digest}"
    assert first["images"][0]["sourceProject"] == "a"
    assert second["images"][0]["reason"] == said[0]["reason"]
    assert report(ends, filled, "--run", 3)["images"][0]["reason"] != said[0]["reason"]


def test_while_a_run_is_at_it_nobody_is_told_to_begin_another(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    with database(ends) as db, db:
        db.execute("update runs set ended_at = null, exit_code = null")
        db.execute("update copies set status = 'waiting' where status = 'done'")
    with hold(ends.folder / "state/m.db", "copy"):
        todo = report(ends, filled)["todo"]
    (left,) = [each for each in todo if "still to be copied" in each["words"]]
    assert left["command"].split()[1:] == ["status", str(filled), "--watch"]


def test_two_tags_of_a_schema_1_image_have_its_size_each(ends: Ends, source: LabClient) -> None:
    source.push_schema1("a/old", IMAGES[0], "1")
    source.push_schema1("a/old", IMAGES[0], "2")
    manifest = ends.manifest("images: [a]")
    assert ends.run("copy", manifest).code == 0
    sizes = [image["size"] for image in report(ends, manifest)["images"]]
    assert min(sizes) == max(sizes) > 50_000


@pytest.mark.parametrize(("tags", "words"), [(["1"], "The one tag is at the target, not verified yet")])
def test_one_tag_is_told_as_one(ends: Ends, source: LabClient, tags: list[str], words: str) -> None:
    source.push("a/app0", IMAGES[0], *tags)
    manifest = ends.manifest("images: [a]")
    assert ends.run("copy", manifest).code == 0
    assert report(ends, manifest)["headline"] == words
    assert ends.run("verify", manifest).code == 0
    assert report(ends, manifest)["headline"] == "The one tag is at the target and verified"


def test_report_files_are_written_into_what_is_there(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    real, link, pipe = ends.folder / "real.csv", ends.folder / "link.csv", ends.folder / "pipe"
    real.write_text("old")
    real.chmod(0o664)
    link.symlink_to(real)
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    assert ends.run("report", filled, "--csv", link, "--json", pipe, "--markdown", os.devnull).code == 0
    reader.join(30)
    assert link.is_symlink()
    assert real.read_text().startswith("target,source")
    assert real.stat().st_mode & 0o777 == 0o664
    assert json.loads(heard[0])["kind"] == "report"
    assert not Path(os.devnull).is_file()
    assert [path.name for path in ends.folder.iterdir() if path.name.endswith(".part")] == []
    long = ends.run("report", filled, "--csv", "x" * 300)
    assert (long.code, "cannot be written: File name too long" in long.err) == (2, True)


@pytest.mark.parametrize("option", ["--csv", "--html", "--json", "--markdown"])
def test_a_report_on_stdout_is_utf8_whatever_the_locale(ends: Ends, filled: Path, option: str) -> None:
    assert ends.run("copy", filled).code == 3
    argv = [sys.executable, "-m", "migrate", "report", str(filled), option, "-"]
    environment = ends.environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    done = subprocess.run(argv, cwd=ends.folder, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "b/app3" in done.stdout.decode("utf-8")
    with Path("/dev/full").open("wb") as full:
        stopped = subprocess.run(
            argv, cwd=ends.folder, env=environment, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert b"the output cannot be written: No space left on device" in stopped.stderr
    assert b"bug" not in stopped.stderr


# --- files and names --------------------------------------------------------------------------------------------


def test_only_one_report_goes_to_stdout(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    refused = ends.run("report", filled, "--html", "r.html", "--json", "-", "--csv", "-")
    assert (refused.code, refused.out) == (2, "")
    assert "-: only one of the reports can be written there\n  -> name a file for each" in refused.err
    assert not (ends.folder / "r.html").exists()


@pytest.mark.parametrize("command", ["report", "status", "copy"])
def test_a_folder_is_no_state(ends: Ends, filled: Path, command: str) -> None:
    (ends.folder / "states").mkdir()
    refused = ends.run(command, filled, "--state", "states")
    assert refused.code == 2
    assert "--state states: is a folder\n  -> name a file in it: states/m.db" in refused.err


def test_explain_knows_digests_whole_references_and_sources_without_a_tag(
    ends: Ends, source: LabClient, target: LabClient, filled: Path
) -> None:
    digest = source.push("c/pinned", IMAGES[3], "1")
    filled.write_text(
        filled.read_text().replace("images: [", f"images: [{{from: 'c/pinned@{digest}', to: 'c/pinned:x'}}, ")
    )
    assert ends.run("copy", filled).code == 3
    there = target.manifest("b/app3", "1").digest
    names = {
        f"b/app3@{there}": "b/app3:1",
        f"{ends.target.host}/b/app3@{there}": "b/app3:1",
        f"b/app3@{IMAGES[3].digest}": "b/app3:1",
        f"{ends.source.host}/b/app3:1": "b/app3:1",
        f"c/pinned@{digest}": "c/pinned:x",
        f"{ends.source.host}/c/pinned@{digest}": "c/pinned:x",
        f"{ends.source.host}/c/pinned": "c/pinned:x",
    }
    for name, image in names.items():
        assert ends.run("explain", filled, name).out.startswith(f"{image}: done"), name


def test_a_try_without_an_end_harms_no_report(ends: Ends, filled: Path) -> None:
    assert ends.run("copy", filled).code == 3
    with database(ends) as db, db:
        db.execute("insert into attempts (run_id, target, number, started_at, outcome) select 1, target, 9, "
                   "'2026-01-01T00:00:00.000Z', 'done' from copies")  # fmt: skip
    assert report(ends, filled)["timeline"]
    assert ends.run("explain", filled, "b/app3:1").code == 0


def test_a_state_that_no_run_of_this_version_has_touched_is_read(ends: Ends, filled: Path) -> None:
    """As the first version with a history made it: `changes` has four columns."""
    assert ends.run("copy", filled).code == 3
    with database(ends) as db, db:
        db.execute("drop table changes")
        db.execute("create table changes (id integer primary key, run_id integer, target text, status text, "
                   "error_class text, target_digest text, verdict text)")  # fmt: skip
        db.execute("delete from _sqlite_migrations where name = 'm010_history_whole'")
        db.execute("insert into changes (run_id, target, status) select 1, target, status from copies")
    assert report(ends, filled)["counts"] == {"done": 6, "refused": 1}
    assert ends.run("copy", filled).code == 3
    assert report(ends, filled)["runs"][0]["changed"] == 7


def test_runs_are_numbered_though_nothing_was_wanted(ends: Ends) -> None:
    manifest, path = ends.manifest("images: [a]"), ends.folder / "state/m.db"
    path.parent.mkdir()
    for _ in range(2):
        with open_state(path, manifest) as state:
            state.begin_run("access apply", "old.fi", "new.fi")
            state.end_run(0, {})
    assert report(ends, manifest, "--run", 1)["images"] == []
    assert ends.run("report", manifest, "--run", 3).code == 2


# --- what names an image ----------------------------------------------------------------------------------------

HOSTS = st.sampled_from(["docker-registry.default.svc:5000", "172.30.1.1:5000", "registry.fi", "[::1]:5000"])
PATHS = st.from_regex(r"[a-z0-9]{1,6}([.-][a-z0-9]{1,4})?/[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,6}[a-z0-9]", fullmatch=True)


def named(path: str, tag: str) -> Image:
    nothing: dict[str, Any] = dict.fromkeys(each.name for each in fields(Image))
    source, target = f"old.fi/{path}:{tag}@sha256:{'a' * 64}", f"new.fi/{path}:{tag}"
    return Image(**{**nothing, "repository": path, "tag": tag, "source": source, "target": target})


NAMES = st.lists(st.tuples(PATHS, TAGS), min_size=1, max_size=5, unique=True)


@given(HOSTS, NAMES, st.sampled_from(["{}", "image: {}, x", "'{}'"]))
def test_whoever_names_an_image_is_known_by_its_whole_name(host: str, names: list[tuple[str, str]], words: str) -> None:
    mentions = Mentions([named(*name) for name in names])
    for path, tag in names:
        reference = f"{host}/{path}:{tag}"
        workload = Workload("p", "Deployment/a", "", (reference,), "new", "", "", None)
        assert mentions.of_workload(workload) == (f"{path}:{tag}",)
        text = dict.fromkeys(each.name for each in fields(Finding))
        finding = Finding(**{**text, "before": words.format(reference), "after": ""})  # type: ignore[arg-type]
        assert mentions.of_finding(finding) == (f"{path}:{tag}",)
    stranger = Workload("p", "Deployment/b", "", (f"{host}/{names[0][0]}x:{names[0][1]}",), "new", "", "", None)
    assert mentions.of_workload(stranger) in ((), *(((f"{p}:{t}",)) for p, t in names if p == f"{names[0][0]}x"))
