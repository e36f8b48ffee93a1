"""What reports tell of access and workloads, against two clusters: before, after, proven; which rule changed what."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from clusters import OLD_TOKEN, Clusters, two_clusters

from migrate.report.json_form import report_schema

WEB = """\
apiVersion: v1
kind: DeploymentConfig
metadata: {name: web, namespace: my-app}
spec:
  replicas: 2
  selector: {app: web}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'docker-registry.default.svc:5000/my-app/web:1', env: [{name: PASSWORD, value: hunter2}]}
"""
BODY = """\
images: ['my-app/web:1']
access: [{project: my-app-2, allow: [anonymous], images: [web]}]
workloads: [{from: in, to: out, project: my-app-2}]
"""


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        made.push(made.old, OLD_TOKEN, "my-app/web", "1")
        (made.ends.folder / "in").mkdir()
        (made.ends.folder / "in/web.yaml").write_text(WEB)
        yield made


@pytest.fixture
def manifest(clusters: Clusters) -> Path:
    return clusters.manifest(BODY)


def report(clusters: Clusters, manifest: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(clusters.run("report", manifest, "--format", "json").out)
    jsonschema.validate(found, report_schema())
    return found


def todo(found: dict[str, Any]) -> dict[str, str]:
    return {each["words"]: each["command"] for each in found["todo"]}


def test_before_anything_is_applied_it_says_what_is_left(clusters: Clusters, manifest: Path) -> None:
    assert clusters.run("run", manifest).code == 0
    found = report(clusters, manifest)
    assert not found["well"]
    left = todo(found)
    assert left["1 grant not applied yet"].endswith(f" access apply {manifest}")
    assert left["1 object of workloads not applied yet"].endswith(f" finish {manifest} --apply")
    (workload,) = found["workloads"]
    assert (workload["object"], workload["standing"], workload["applied"]) == ("Deployment/web", "new", "")
    rules = {each["rule"] for each in found["findings"]}
    assert "image-names" in rules or any("image" in rule for rule in rules)
    assert all(each["says"] for each in found["findings"])
    assert "hunter2" not in json.dumps(found)


def test_after_it_says_who_may_pull_what_was_proved_and_what_was_applied(clusters: Clusters, manifest: Path) -> None:
    assert clusters.run("run", manifest, "--apply").code == 0
    assert todo(report(clusters, manifest)).keys() == {"1 grant applied, and not proved yet"}
    assert clusters.run("access", "verify", manifest).code == 0
    found = report(clusters, manifest)
    assert (found["well"], found["todo"]) == (True, [])
    (grant,) = found["access"]
    assert (grant["standing"], grant["holds"], grant["images"]) == ("there", True, ["web"])
    assert grant["means"] == "anyone on the internet, without a login"
    assert grant["proof"] == "pulled without a login: 1 image stream"
    written = {each["kind"]: each for each in found["accessChanges"]}
    assert written["RoleBinding"]["before"] == []
    assert written["RoleBinding"]["after"] == ["User system:anonymous"]
    assert written["Role"]["after"] == ["get imagestreams/layers: web"] or "web" in written["Role"]["after"][0]
    (workload,) = found["workloads"]
    assert (workload["standing"], workload["applied"]) == ("same", "made")
    assert workload["appliedAt"]
    words = clusters.run("explain", manifest, "my-app-2/web:1").out
    assert "access    anyone on the internet, without a login: web, there, holds (pulled" in words
    assert "workload  Deployment/web of my-app-2: made" in words
    assert ":5000/my-app-2/web:1" in words
    assert clusters.run("report", manifest, "--html", "r.html").code == 0
    assert "hunter2" not in (clusters.ends.folder / "r.html").read_text()


def test_what_was_taken_back_is_told_too(clusters: Clusters, manifest: Path) -> None:
    assert clusters.run("run", manifest, "--apply").code == 0
    assert clusters.run("rollback", manifest).code == 0
    found = report(clusters, manifest)
    assert {each["revertedAt"] is not None for each in found["accessChanges"]} == {True}
    assert [each["applied"] for each in found["workloads"]] == ["taken back"]


def test_commands_that_only_look_keep_what_they_found_where_there_is_a_state(
    clusters: Clusters, manifest: Path
) -> None:
    for command in (["rewrite"], ["access", "plan"], ["finish"]):
        assert clusters.run(*command, manifest).code in (0, 3)
    assert not (clusters.ends.folder / "state").exists()
    assert clusters.run("copy", manifest).code == 0
    assert clusters.run("verify", manifest).code == 0
    for command in (["rewrite"], ["access", "plan"], ["finish"]):
        assert clusters.run(*command, manifest).code == 0
        found = report(clusters, manifest)
    assert found["findings"]
    assert [each["standing"] for each in found["workloads"]] == ["new"]
    assert [each["standing"] for each in found["access"]] == ["add"]
    assert [run["command"] for run in found["runs"]] == ["copy", "verify"]


def test_a_grant_that_no_longer_holds_is_said(clusters: Clusters, manifest: Path) -> None:
    assert clusters.run("run", manifest, "--apply").code == 0
    assert clusters.run("access", "verify", manifest).code == 0
    with closing(sqlite3.connect(clusters.ends.folder / "state/m.db")) as db, db:
        db.execute("update granted set holds = 0, proof = 'the registry refuses web without a login'")
    found = report(clusters, manifest)
    assert "1 grant found not to hold" in todo(found)
    assert "does NOT hold (the registry refuses" in clusters.run("explain", manifest, "my-app-2/web:1").out


def test_workloads_and_access_that_the_manifest_no_longer_names_are_forgotten(
    clusters: Clusters, manifest: Path
) -> None:
    for command in ("copy", "verify", "rewrite", "access plan", "finish"):
        clusters.run(*command.split(), manifest)
    before = report(clusters, manifest)
    assert before["findings"] and before["workloads"] and before["access"]
    manifest.write_text(manifest.read_text().replace("to: out", "to: new"))
    clusters.run("rewrite", manifest)
    clusters.run("finish", manifest)
    moved = report(clusters, manifest)
    assert len(moved["findings"]) == len(before["findings"])
    assert len(moved["workloads"]) == len(before["workloads"])
    manifest.write_text(re.sub(r"(?m)^(access|workloads): .*\n", "", manifest.read_text()))
    assert clusters.run("run", manifest).code == 0
    after = report(clusters, manifest)
    assert (after["findings"], after["workloads"], after["access"], after["well"]) == ([], [], [], True)


def test_no_escape_sequence_of_a_file_name_reaches_the_terminal(clusters: Clusters, manifest: Path) -> None:
    folder = clusters.ends.folder / "in"
    (folder / "web.yaml").rename(folder / "w\x1b[31mRED\u202e\u009b31m\neb.yaml")
    clusters.run("copy", manifest)
    for command in (
        ["rewrite"], ["rewrite", "-v"], ["finish"], ["report", "--markdown", "-"], ["report", "--csv", "-"], ["report"],
        ["report", "--format", "json"], ["explain", "my-app-2/web:1"], ["status"],
    ):  # fmt: skip
        name, *more = command
        ran = clusters.run(name, manifest, *more)
        assert not set(ran.text) & set("\x1b\u202e\u009b"), command
