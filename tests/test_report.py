"""Reports: numbers are those of the registries and the state, whatever the form; earlier runs can be told again."""

import csv
import io
import json
import re
import resource
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Ends
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.images import OCI_MANIFEST, make_image, make_layer
from reportstates import HOSTILE, make_state

from migrate.report.csv_form import csv_text
from migrate.report.json_form import report_schema
from migrate.report.model import Image, Report
from migrate.report.sharing import sharing_of
from migrate.report.text_form import markdown
from migrate.report.timeline import timeline_of
from migrate.state.opening import open_state
from migrate.state.times import stamp

ROOT = Path(__file__).parent.parent
BASE = make_layer("base", 40_000)
IMAGES = [make_image([BASE, make_layer(f"own-{number}", 10_000)]) for number in range(4)]


def report(ends: Ends, manifest: Path, *more: object) -> dict[str, Any]:
    """The report as its JSON has it, which keeps its schema."""
    found: dict[str, Any] = ends.run("report", manifest, "--format", "json", *more).json
    jsonschema.validate(found, report_schema())
    return found


@pytest.fixture
def moved(ends: Ends, source: LabClient) -> Path:
    """Four images with six tags in two projects, copied; one more is not there."""
    for number, image in enumerate(IMAGES):
        source.push(f"{'ab'[number % 2]}/app{number}", image, "1", *(["2"] if number < 2 else []))
    manifest = ends.manifest("images: [a, b, 'a/app0:9']\nprojects: {a: a-2}")
    assert ends.run("copy", manifest).code == 3
    return manifest


def test_the_numbers_are_those_of_the_registries(ends: Ends, target: LabClient, moved: Path) -> None:
    assert ends.run("verify", moved).code == 3
    found = report(ends, moved)
    there = {image["repository"] + ":" + image["tag"]: image for image in found["images"] if image["outcome"] == "done"}
    assert set(there) == {"a-2/app0:1", "a-2/app0:2", "a-2/app2:1", "b/app1:1", "b/app1:2", "b/app3:1"}
    for name, image in there.items():
        manifest = target.manifest(*name.split(":"))
        assert image["targetDigest"] == manifest.digest
        described = json.loads(manifest.body)
        assert image["size"] == sum(each["size"] for each in (described["config"], *described["layers"]))
        assert (image["formatBefore"], image["formatAfter"]) == ("Docker", "OCI")
        assert image["verdict"] == "equal"
    unique = {digest: len(data) for image in IMAGES for digest, data in image.blobs.items()}
    sharing = found["sharing"]
    assert sharing["sent"] == sum(unique.values())
    assert sharing["total"] == sum(image["size"] for image in there.values())
    assert sharing["total"] == sum(sharing[part] for part in ("tags", "layers", "there", "sent"))
    assert sharing["tags"] == sum(there[name]["size"] for name in ("a-2/app0:2", "b/app1:2"))
    assert [(p["name"], p["tags"], p["atTarget"], p["troubled"]) for p in found["projects"]] == [
        ("a-2", 4, 3, 1),
        ("b", 3, 3, 0),
    ]
    assert [(f["name"], f["tags"]) for f in found["failures"]] == [("not-found", 1)]
    assert (found["well"], found["counts"]) == (False, {"done": 6, "refused": 1})
    assert found["todo"][0]["command"].endswith(f" explain {moved} a-2/app0:9")


def test_a_report_of_one_project_tells_of_no_other(ends: Ends, moved: Path) -> None:
    found = report(ends, moved, "--project", "b")
    assert {image["targetProject"] for image in found["images"]} == {"b"}
    assert "a-2" not in json.dumps({**found, "runs": [], "run": None})
    refused = ends.run("report", moved, "--project", "zzz")
    assert refused.code == 2
    assert "it has a, a-2, b" in refused.err


def test_what_to_type_for_an_image_works_as_it_stands(ends: Ends, moved: Path) -> None:
    assert ends.run("report", moved, "--project", "b", "--html", "r.html").code == 0
    page = (ends.folder / "r.html").read_text()
    (command,) = set(re.findall(r"explain [^\"]*b/app3:1", page))
    assert "--project" not in command
    assert ends.run(*command.split()).code == 0


@pytest.mark.parametrize("name", [".", "/", ""])
def test_a_folder_is_no_file_for_a_report(ends: Ends, moved: Path, name: str) -> None:
    refused = ends.run("report", moved, "--html", name)
    assert refused.code == 2
    assert "is a folder\n  -> name a file" in refused.err


def test_every_run_can_be_told_again(ends: Ends, source: LabClient, moved: Path) -> None:
    assert ends.run("verify", moved).code == 3
    source.push("a/app0", IMAGES[2], "1", "9")
    assert ends.run("copy", moved).code == 0
    now, first, second = report(ends, moved), report(ends, moved, "--run", "1"), report(ends, moved, "--run", "2")
    assert [(run["command"], run["copied"], run["exitCode"]) for run in now["runs"]] == [
        ("copy", 6, 3), ("verify", 0, 3), ("copy", 2, 0),
    ]  # fmt: skip
    assert all(run["seconds"] > 0 for run in now["runs"])
    assert first["counts"] == second["counts"] == {"done": 6, "refused": 1}
    assert first["verdicts"] == {"not yet": 6}
    assert second["verdicts"]["equal"] == 6
    assert now["counts"] == {"done": 7}
    changed = {change["target"].partition("/")[2]: (change["before"], change["after"]) for change in now["changes"]}
    assert set(changed) == {"a-2/app0:1", "a-2/app0:9"}
    assert changed["a-2/app0:9"][1] == "done"
    assert changed["a-2/app0:9"][0].startswith("refused")
    old = {image["tag"]: image["targetDigest"] for image in first["images"] if image["repository"] == "a-2/app0"}
    new = {image["tag"]: image["targetDigest"] for image in now["images"] if image["repository"] == "a-2/app0"}
    assert old["1"] != new["1"]
    refused = ends.run("report", moved, "--run", "7")
    assert refused.code == 2
    assert "--run 7: there is no such run\n  -> there are 1 to 3" in refused.err
    words = ends.run("report", moved).out
    assert "New results of run 3, for 2 tags:" in words


def test_what_a_killed_run_changed_is_told_once_the_next_begins(ends: Ends, moved: Path) -> None:
    with closing(sqlite3.connect(ends.folder / "state/m.db")) as db, db:
        db.execute("delete from changes")
        db.execute("update runs set ended_at = null, exit_code = null, seconds = null")
    assert report(ends, moved)["run"]["how"] == "cut off"
    assert ends.run("verify", moved).code == 3
    found = report(ends, moved)
    assert [(run["how"], run["changed"]) for run in found["runs"]] == [("cut off", 7), ("ended", 6)]


def test_files_are_written_whole_and_say_the_same(ends: Ends, moved: Path) -> None:
    names = {"--html": "r.html", "--json": "r.json", "--csv": "r.csv", "--markdown": "r.md"}
    ran = ends.run("report", moved, *(word for pair in names.items() for word in pair))
    assert ran.code == 0
    assert [line for line in ran.err.splitlines() if line.startswith("written: ")] == [
        f"written: {n}" for n in names.values()
    ]
    found = json.loads((ends.folder / "r.json").read_text())
    with (ends.folder / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["target"] for row in rows] == [image["target"] for image in found["images"]]
    assert [int(row["size"]) for row in rows] == [image["size"] for image in found["images"]]
    text = (ends.folder / "r.md").read_text()
    assert text.startswith(f"# {found['headline']}\n")
    assert text.count("\n| a-2/app") + text.count("\n| b/app") >= 7
    assert not [path for path in ends.folder.iterdir() if path.name.endswith(".part")]
    to_stdout = ends.run("report", moved, "--csv", "-")
    assert to_stdout.out.splitlines()[0].startswith("target,source,")
    assert len(to_stdout.out.splitlines()) == 8
    refused = ends.run("report", moved, "--html", "nowhere/r.html")
    assert refused.code == 2
    assert "nowhere/r.html: cannot be written: No such file or directory" in refused.err


def test_status_says_what_comes_next(ends: Ends, source: LabClient) -> None:
    source.push("a/one", make_image([make_layer("one", 2_000)]), "1")
    manifest = ends.manifest("images: [a/one]")
    assert ends.run("copy", manifest).code == 0
    assert f"Next: rahti-migrate verify {manifest}" in ends.run("status", manifest).out
    assert ends.run("verify", manifest).code == 0
    assert "Next" not in ends.run("status", manifest).out
    none = ends.run("access", "plan", manifest)
    assert none.code == 2
    assert "there is neither `access` nor `workloads` in this manifest" in none.err


def test_a_conflict_takes_nothing_from_other_images(ends: Ends, source: LabClient, target: LabClient) -> None:
    for name in ("one", "two"):
        source.push(f"a/{name}", make_image([make_layer(name, 2_000)]), "1")
    manifest = ends.manifest("images: [a/one, a/two]")
    assert ends.run("copy", manifest).code == 0
    target.push("a/two", make_image([make_layer("of somebody else", 2_000)]), "1")
    assert ends.run("copy", manifest).code == 3
    found = report(ends, manifest)
    assert {image["target"].partition("/")[2]: image["formatAfter"] for image in found["images"]} == {
        "a/one:1": "OCI", "a/two:1": None,
    }  # fmt: skip
    (todo,) = [each for each in found["todo"] if "conflict" in each["words"]]
    assert "explain" in todo["command"]
    assert todo["command"].endswith(" a/two:1")


def test_a_run_that_could_not_begin_is_not_one_that_asked_for_nothing(ends: Ends, moved: Path) -> None:
    text = moved.read_text()
    moved.write_text(text.replace(ends.target.host, "127.0.0.1:1"))
    state = ends.folder / "other.db"
    assert ends.run("copy", moved, "--state", state).code == 1
    ran = ends.run("report", moved, "--state", state)
    assert "Nothing is known of images yet" in ran.out
    why = "the target registry 127.0.0.1:1: the connection failed or broke: Connection refused"
    assert f"run 1 (copy): {why} -> check the network" in ran.out
    status = ends.run("status", moved, "--state", state)
    assert f"\n  {why}\n  -> check the network" in status.out
    told = json.loads(ends.run("status", moved, "--state", state, "--format", "json").out)["lastRun"]
    assert (told["error"], told["exitCode"]) == (why, 1)
    assert ends.run("run", moved, "--state", state).code == 1
    status = ends.run("status", moved, "--state", state)
    assert "  nothing was attempted: the target registry 127.0.0.1:1: the connection failed" in status.out
    wrong = ends.run("report", ends.folder / "nowhere/my.db")
    assert wrong.code == 2
    assert "nowhere/my.db: no such file" in wrong.err


def test_an_auditor_needs_the_state_alone(ends: Ends, moved: Path) -> None:
    moved.unlink()
    assert report(ends, moved)["counts"] == {"done": 6, "refused": 1}
    assert "a-2/app0:1: done" in ends.run("explain", moved, "a-2/app0:1").out


def test_a_report_while_a_copy_runs_disturbs_nothing(ends: Ends, moved: Path) -> None:
    with ends.start("verify", moved, "--deep") as busy:
        for _ in range(5):
            assert ends.run("report", moved, "--html", "r.html").code == 0
        busy.communicate()
        assert busy.returncode == 3


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "was cut off"),
        (1, "could not continue"),
        (4, "ended because a login was missing"),
        (5, "stopped at its limit"),
        (130, "was interrupted"),
    ],
)
def test_no_report_says_all_is_well_where_the_last_run_did_not_end(ends: Ends, code: int | None, words: str) -> None:
    manifest, path = ends.manifest("images: [a]"), ends.folder / "state/m.db"
    path.parent.mkdir()
    with open_state(path, manifest) as state:
        pass
    assert [each["words"] for each in report(ends, manifest)["todo"]] == ["nothing was run yet"]
    with open_state(path, manifest) as state:
        state.begin_run("copy", "old.fi", "new.fi")
        if code is not None:
            state.end_run(code, {})
    found = report(ends, manifest)
    assert not found["well"]
    assert found["todo"][0]["words"].startswith(f"run 1 (copy) {words}")
    assert found["todo"][0]["command"].endswith(f" copy {manifest}")
    assert ends.run("report", manifest, "--html", "r.html").code == 0


def test_what_verify_misses_is_not_at_the_target(ends: Ends, moved: Path) -> None:
    with closing(sqlite3.connect(ends.folder / "state/m.db")) as db, db:
        db.execute("update copies set verdict = 'missing' where target like '%/b/app1:%'")
    found = report(ends, moved)
    assert found["headline"].startswith("4 of 7 tags are at the target")
    assert [project["atTarget"] for project in found["projects"]] == [3, 1]


# --- explain ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a-2/app0:2", "a/app0:2", "b/app3"])
def test_explain_knows_an_image_by_each_of_its_names(ends: Ends, moved: Path, name: str) -> None:
    found = ends.run("explain", moved, name, "--format", "json").json
    assert found["image"]["tag"] == ("1" if name == "b/app3" else "2")
    assert len(found["blobs"]) == 3
    assert sorted(blob["others"] for blob in found["blobs"]) == [0, 0, 3]
    assert found["history"][0]["outcome"] == "done"
    words = ends.run("explain", moved, name).out
    assert len(words.splitlines()) < 24
    assert "Docker, sha256:" in words
    assert "OCI, sha256:" in words
    assert "1 shared with other images" in words


def test_explain_says_why_and_what_to_do(ends: Ends, moved: Path) -> None:
    words = ends.run("explain", moved, "a/app0:9").out
    assert words.startswith("a-2/app0:9: refused\n")
    assert "there is no such image, tag or repository" in words
    assert "-> check the name and `tags` in the manifest" in words


def test_explain_by_digest_and_by_a_name_that_may_be_any_of_several(ends: Ends, moved: Path) -> None:
    assert "b/app3:1: done" in ends.run("explain", moved, IMAGES[3].digest).out
    several = ends.run("explain", moved, "a-2/app0")
    assert several.code == 2
    assert "that may be any of 3 tags\n  -> choose one of a-2/app0:1, a-2/app0:2, a-2/app0:9" in several.err
    none = ends.run("explain", moved, "a/app0:77")
    assert none.code == 2
    assert "this state knows no such image\n  -> there are a-2/app0:1" in none.err


# --- what others wrote ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the state of 400 tags: failures of every class, hostile names, access, workloads."""
    folder = tmp_path_factory.mktemp("large")
    make_state(folder, 400)
    return folder


def of_large(folder: Path, *arguments: str) -> str:
    argv = [sys.executable, "-m", "migrate", *arguments[:1], "m.yaml", "--state", "m.db", *arguments[1:]]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout


class Elements(HTMLParser):
    """The elements of a page, and whether each script is ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]


def test_hostile_words_stay_text_in_every_form(large: Path) -> None:
    document = json.loads(of_large(large, "report", "--format", "json", "--html", "r.html"))
    jsonschema.validate(document, report_schema())
    assert HOSTILE in json.dumps(document, ensure_ascii=False).replace('\\"', '"')
    page = (large / "r.html").read_text()
    elements = Elements(page)
    assert "alert(1)</script>" not in page
    assert elements.seen["script"] == elements.seen["section"] - 5 + 1  # a table each, and ours
    assert all(address.startswith(("#", "data:,")) for address in elements.addresses)
    text = of_large(large, "report", "--markdown", "-")
    assert "<script>" not in re.sub(r"\\<", "", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") - line.count("\\|") for line in table.splitlines()}) == 1, table[:500]


def test_no_cell_is_a_formula(large: Path) -> None:
    with closing(sqlite3.connect(large / "m.db")) as db, db:
        db.execute("update copies set reason = '=cmd|calc', error = null where target like '%:v0.1'")
    rows = csv.reader(io.StringIO(of_large(large, "report", "--csv", "-")))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_every_class_of_failure_has_its_line(large: Path) -> None:
    document = json.loads(of_large(large, "report", "--format", "json"))
    assert len(document["failures"]) >= 20
    assert all(each["meaning"] and each["advice"] for each in document["failures"])
    topics = Counter(todo["topic"] for todo in document["todo"])
    assert set(topics) == {"images", "access", "workloads"}


def test_thirty_thousand_tags_fit_into_a_page(tmp_path: Path) -> None:
    make_state(tmp_path, 30_000)
    began = time.monotonic()
    of_large(tmp_path, "report", "--html", "r.html")
    assert time.monotonic() - began < 60  # 4 s on an idle machine
    assert (tmp_path / "r.html").stat().st_size < 20_000_000
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 500_000


def test_the_views_and_the_queries_of_the_docs_answer(large: Path) -> None:
    queries = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/queries.md").read_text(), re.DOTALL)
    assert len(queries) == 9
    with closing(sqlite3.connect(large / "m.db")) as db:
        for query in queries:
            if "from blobs" not in query and "runs" not in query:
                assert db.execute(query).fetchall(), query
            db.execute(query).fetchall()
        counts = dict(db.execute("select status, count(*) from outcomes group by 1").fetchall())
        [(tags, there)] = db.execute("select sum(tags), sum(at_target) from by_project").fetchall()
    assert (tags, there) == (sum(counts.values()), counts["done"])


def test_a_state_of_before_is_read_too(ends: Ends, moved: Path) -> None:
    with closing(sqlite3.connect(ends.folder / "state/m.db")) as db, db:
        for view in ("outcomes", "failures", "by_project"):
            db.execute(f"drop view {view}")
        db.execute("drop index idx_attempts_run_id")
        for table in ("changes", "granted", "findings", "workloads"):
            db.execute(f"drop table {table}")
        db.execute("delete from _sqlite_migrations where name >= 'm008'")
        db.execute("alter table attempts drop column worker")
        db.execute("alter table objects drop column kept")
        for column in ("seconds", "project", "error", "advice"):
            db.execute(f"alter table runs drop column {column}")
    assert report(ends, moved)["counts"] == {"done": 6, "refused": 1}
    assert ends.run("copy", moved).code == 3
    assert len(report(ends, moved)["runs"]) == 2


# --- parts ------------------------------------------------------------------------------------------------------

SPANS = st.tuples(st.floats(0, 5_000), st.floats(0.001, 900), st.integers(0, 10**10))


@given(st.lists(SPANS, min_size=1, max_size=40), st.integers(1, 150))
def test_no_byte_and_no_second_is_lost_in_a_timeline(spans: list[tuple[float, float, int]], slots: int) -> None:
    begun = 1_790_000_000
    attempts = [
        {"target": f"r/a{n}:1", "started_at": stamp(begun + a), "ended_at": stamp(begun + a + b), "bytes": size}
        for n, (a, b, size) in enumerate(spans)
    ]
    found = list(timeline_of(attempts, slots))
    assert len(found) == slots
    width = found[0].seconds
    total = sum(size for _, _, size in spans)
    assert sum(slot.rate for slot in found) * width == pytest.approx(total, rel=0.05, abs=slots * width + 10)
    assert max(slot.busy for slot in found) <= len(spans) + 0.01


def test_tags_of_one_job_count_once_in_a_timeline() -> None:
    rows = [
        {"target": f"r/a:{n}", "started_at": stamp(1_790_000_000), "ended_at": stamp(1_790_000_010), "bytes": size}
        for n, size in enumerate((1000, 0, 0))
    ]
    found = list(timeline_of(rows, 10))
    assert [slot.busy for slot in found] == pytest.approx([1.0] * 10, abs=0.01)
    assert [slot.rate for slot in found] == pytest.approx([100.0] * 10, abs=1)


def image(number: int, size: int, sent: int) -> Image:
    text: dict[str, Any] = dict.fromkeys(
        ("target", "source", "source_project", "target_project", "repository", "tag", "outcome", "reason", "advice"), ""
    )
    none = dict.fromkeys(
        ("verdict", "failure", "target_digest", "format_before", "format_after", "seconds", "ended_at", "verified_at",
         "replaced_digest")
    )  # fmt: skip
    return Image(**text, **none, source_digest=f"sha256:{number}", size=size, sent=sent, attempts=1, warnings=())


@given(st.lists(st.builds(image, st.integers(0, 5), st.integers(0, 10**9), st.integers(0, 10**9)), max_size=30))
def test_the_parts_of_what_was_shared_add_up(images: list[Image]) -> None:
    found = sharing_of(images, {})
    assert found.total == found.tags + found.layers + found.there + found.sent
    assert min(found.total, found.tags, found.layers, found.there, found.sent) >= 0


def test_forms_need_no_image_at_all() -> None:
    nothing = Report(
        "2026-11-27T00:00:00.000Z", "m.yaml", "m.db", "", "", "", "1", "No image was asked for yet", well=True,
        counts={}, verdicts={}, todo=(), run=None, is_past=False, runs=(), changes=(), timeline_run=0, timeline=(),
        sharing=sharing_of([], {}), failures=(), projects=(), images=(),
    )  # fmt: skip
    from migrate.report.html import html

    assert csv_text(nothing).count("\r\n") == 1
    assert markdown(nothing).startswith("# No image")
    assert "No image was asked for yet" in html(nothing, lambda name: name)


def test_access_workloads_and_formats_are_told_in_peoples_words(large: Path) -> None:
    document = json.loads(of_large(large, "report", "--format", "json"))
    assert {grant["standing"] for grant in document["access"]} == {"there", "add", "refused"}
    assert {each["standing"] for each in document["workloads"]} == {
        "same", "new", "waits", "conflict", "refused", "there", "changes",
    }  # fmt: skip
    assert {image["formatAfter"] for image in document["images"]} == {"OCI"}
    assert OCI_MANIFEST not in json.dumps(document)
