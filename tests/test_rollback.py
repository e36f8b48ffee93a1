"""`rollback`: what was applied goes, what others did and what holds data stays."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import NEW_TOKEN, OLD_TOKEN, Clusters, two_clusters
from conftest import Ends
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.images import make_image, make_layer
from registrylab.serverside import apply as server_apply
from registrylab.serverside import tracked
from test_finish_workloads import BODY, DATABASE, MORE, WEB, changed_by_bob, live, moved, names, put

from migrate.cluster import MANAGER
from migrate.kinds import CONFIG_MAP, SECRET
from migrate.workloads.applied import AppliedObject, digest_of, our_fields, replaced
from migrate.workloads.undo import undo_object

BOB = {"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        made.push(made.old, OLD_TOKEN, "my-app/web", "1")
        made.new.bind("my-app-2", "edit", BOB)
        yield made


def applied(clusters: Clusters, body: str = BODY) -> Path:
    manifest = moved(clusters, body)
    assert clusters.run("finish", manifest, "--apply").code == 0
    return manifest


def digest(clusters: Clusters) -> str:
    with clusters.pushed(clusters.new, NEW_TOKEN) as client:
        found = client.manifest("my-app-2/web", "1")
    assert found is not None
    return found.digest


def everything(clusters: Clusters) -> dict[str, list[dict[str, Any]]]:
    kinds = ("Deployment", "Service", "ConfigMap", "Secret", "RoleBinding", "PersistentVolumeClaim")
    return {kind: clusters.new.list(kind, "my-app-2") for kind in kinds}


def test_what_was_made_is_deleted_newest_first(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = applied(clusters)
    before = everything(clusters)
    dry = clusters.run("rollback", manifest, "--dry-run")
    assert dry.code == 0, dry.text
    assert "would be deleted: Deployment/web of project my-app-2" in dry.out
    assert everything(clusters) == before
    ran = clusters.run("rollback", manifest)
    assert ran.code == 0, ran.text
    gone = [line.split()[1] for line in ran.out.splitlines() if line.startswith("  deleted:")]
    assert gone == ["Deployment/web", "Service/web", "ConfigMap/conf"]
    assert names(clusters, "Deployment") == set()
    assert names(clusters, "Secret") >= {"login"}
    assert "oc delete secrets/login -n my-app-2" in ran.out
    assert "1 image tag stays at the target" in ran.out
    again = clusters.run("rollback", manifest)
    assert again.code == 0, again.text
    assert "  deleted:" not in again.out


def test_a_tag_that_the_manifest_no_longer_names_is_said_to_stay_too(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = applied(clusters)
    clusters.push(clusters.old, OLD_TOKEN, "my-app/other", "1")
    text = manifest.read_text()
    assert "images: ['my-app/web:1']" in text
    manifest.write_text(text.replace("images: ['my-app/web:1']", "images: ['my-app/other:1']"))
    assert clusters.run("copy", manifest).code == 0
    ran = clusters.run("rollback", manifest)
    assert "2 image tags stay at the target" in ran.out, ran.text


def test_claims_stay_with_the_command_to_delete_them(clusters: Clusters) -> None:
    put(clusters, db=DATABASE)
    manifest = applied(clusters)
    ran = clusters.run("rollback", manifest)
    assert names(clusters, "PersistentVolumeClaim") == {"data"}
    assert names(clusters, "Deployment") == set()
    assert "oc delete persistentvolumeclaims/data -n my-app-2" in ran.out


def test_what_somebody_changed_since_is_left(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = applied(clusters)
    changed_by_bob(clusters, "Deployment", "web", {"spec": {"replicas": 7}})
    changed_by_bob(clusters, "Service", "web", {"metadata": {"labels": {"bob": "was-here"}}})
    ran = clusters.run("rollback", manifest)
    assert ran.code == 3
    assert "Deployment/web of project my-app-2: somebody changed it since (kubectl-edit)" in ran.out
    assert names(clusters, "Deployment") == {"web"}
    assert names(clusters, "Service") == {"web"}
    assert "conf" not in names(clusters, "ConfigMap")


def test_what_a_killed_run_may_have_made_is_known_by_its_manager(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = applied(clusters)
    (state,) = clusters.ends.folder.rglob("*.db")
    with sqlite3.connect(state) as database:  # as it is after a kill -9 between sending and the answer
        database.execute("update objects set uid = null, ours = null, digest = null, applied_at = null")
    clusters.new.delete("Service", "my-app-2", "web")
    meta = {"name": "web", "namespace": "my-app-2"}
    clusters.new.apply({"kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 1}]}})
    ran = clusters.run("rollback", manifest)
    assert "left      Service/web of project my-app-2: was made again by somebody else: left as it is" in ran.out
    assert names(clusters, "Service") == {"web"}
    assert names(clusters, "Deployment") == set()


def test_what_an_autoscaler_did_is_no_change_of_somebody(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = applied(clusters)
    changed_by_bob(clusters, "Deployment", "web", {"spec": {"replicas": 7}}, manager="kube-controller-manager")
    ran = clusters.run("rollback", manifest)
    assert ran.code == 0, ran.text
    assert names(clusters, "Deployment") == set()


def test_what_was_made_anew_by_somebody_is_left(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = applied(clusters)
    clusters.new.delete("Deployment", "my-app-2", "web")
    clusters.new.apply({"kind": "Deployment", "metadata": {"name": "web", "namespace": "my-app-2"}, "spec": {}})
    ran = clusters.run("rollback", manifest)
    assert "was made again by somebody else" in ran.out
    assert names(clusters, "Deployment") == {"web"}


def test_what_was_changed_gets_back_what_it_had_and_keeps_what_others_did(clusters: Clusters) -> None:
    put(clusters, more=MORE)
    meta = {"name": "conf", "namespace": "my-app-2", "labels": {"theirs": "x"}}
    clusters.new.apply({"kind": "ConfigMap", "metadata": meta, "data": {"other": "stays"}})
    manifest = applied(clusters)
    assert live(clusters, "ConfigMap", "conf")["data"] == {"other": "stays", "a": "1"}
    changed_by_bob(clusters, "ConfigMap", "conf", {"data": {"bob": "new"}})
    ran = clusters.run("rollback", manifest)
    assert "as it was before: ConfigMap/conf" in ran.out
    found = live(clusters, "ConfigMap", "conf")
    assert found["data"] == {"other": "stays", "bob": "new"}
    assert found["metadata"]["labels"] == {"theirs": "x"}


def test_one_project_alone_is_taken_back(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = applied(clusters)
    assert "deleted" not in clusters.run("rollback", manifest, "--project", "elsewhere").out.partition("image tag")[0]
    assert names(clusters, "Deployment") == {"web"}
    ran = clusters.run("rollback", manifest, "--project", "my-app")
    assert ran.code == 0, ran.text
    assert names(clusters, "Deployment") == set()


def test_no_password_of_a_workload_is_kept(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = applied(clusters)
    put(clusters, web=WEB.replace("my-app/web:1\n", "my-app/web:1\n        tty: true\n"))
    assert clusters.run("finish", manifest, "--apply").code == 0
    (state,) = clusters.ends.folder.rglob("*.db")
    with sqlite3.connect(state) as database:
        dump = "\n".join(database.iterdump())
    assert "Deployment" in dump
    assert "hunter2" not in dump


def test_not_even_a_digest_of_a_secret_is_kept(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    applied(clusters)
    (state,) = clusters.ends.folder.rglob("*.db")
    with sqlite3.connect(state) as database:
        kept = dict(database.execute("select kind, digest from objects where kind in ('Secret', 'Service')").fetchall())
    assert kept["Service"]
    assert not kept["Secret"]


def test_what_was_changed_twice_gets_back_what_it_had_first(clusters: Clusters) -> None:
    meta = {"name": "conf", "namespace": "my-app-2"}
    clusters.new.apply({"kind": "ConfigMap", "metadata": meta, "data": {"other": "stays"}})
    put(clusters, more=MORE)
    manifest = applied(clusters)
    put(clusters, more=MORE.replace('a: "1"', 'a: "2", b: "3"'))
    assert clusters.run("finish", manifest, "--apply").code == 0
    assert live(clusters, "ConfigMap", "conf")["data"] == {"other": "stays", "a": "2", "b": "3"}
    assert clusters.run("rollback", manifest).code == 0
    assert live(clusters, "ConfigMap", "conf")["data"] == {"other": "stays"}


def test_access_goes_too(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = applied(clusters, f"{BODY}access: [{{project: my-app-2, allow: [anonymous]}}]\n")
    assert clusters.pulls("my-app-2/web:1")
    ran = clusters.run("rollback", manifest)
    assert ran.code == 0, ran.text
    assert clusters.ours() == {}
    assert names(clusters, "Deployment") == set()


def test_an_overwritten_tag_goes_back_to_what_it_was(clusters: Clusters) -> None:
    with clusters.pushed(clusters.new, NEW_TOKEN) as client:
        before = client.push("my-app-2/web", make_image([make_layer("theirs", 2_000)]), "1")
    body = "defaults: {onConflict: overwrite}\nimages: ['my-app/web:1']\n"
    manifest = clusters.manifest(body)
    assert clusters.run("copy", manifest).code == 0
    assert digest(clusters) != before
    ran = clusters.run("rollback", manifest)
    assert ran.code == 0, ran.text
    assert f"put back to {before[:19]}" in ran.out
    assert digest(clusters) == before
    assert "put back" not in clusters.run("rollback", manifest).out


def test_an_overwritten_tag_goes_back_without_an_api(ends: Ends, source: LabClient, target: LabClient) -> None:
    before = target.push("a/web", make_image([make_layer("theirs", 2_000)]), "1")
    source.push("a/web", make_image([make_layer("ours", 2_000)]), "1")
    manifest = ends.manifest("defaults: {onConflict: overwrite}\nimages: ['a/web:1']\n")
    assert ends.run("copy", manifest).code == 0
    assert target.images()["a/web:1"] != before
    assert "No image of this manifest was put" in ends.run("rollback", manifest, "--dry-run").out, (
        "but the one put back"
    )
    elsewhere = ends.run("rollback", manifest, "--project", "b")
    assert (elsewhere.code, "put back" in elsewhere.out) == (0, False), elsewhere.text
    ran = ends.run("rollback", manifest, "--project", "a")
    assert ran.code == 0, ran.text
    assert f"put back to {before[:19]}" in ran.out
    assert target.images()["a/web:1"] == before


def test_nothing_applied_is_said(clusters: Clusters) -> None:
    ran = clusters.run("rollback", clusters.manifest(BODY))
    assert ran.code == 0
    assert "No image of this manifest was put to the target." in ran.out


def test_the_json_has_a_line_for_each(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = applied(clusters)
    lines = [json.loads(line) for line in clusters.run("rollback", manifest, "--format", "json").out.splitlines()]
    assert {"event": "reverted", "object": "Deployment/web", "project": "my-app-2", "words": "deleted"} in lines
    assert lines[-1]["event"] == "rollback"


def test_only_what_changed_is_kept_and_no_secret() -> None:
    fields = {"f:data": {"f:a": {}, "f:b": {}}, "f:spec": {"f:env": {'k:{"name":"X"}': {"f:value": {}}}}}
    before = {"data": {"a": "1", "b": "same"}, "spec": {"env": [{"name": "X", "value": "old"}]}}
    after = {"data": {"a": "2", "b": "same"}, "spec": {"env": [{"name": "X", "value": "new"}]}}
    assert replaced(before, after, fields, CONFIG_MAP) == {
        "fields": {"f:data": {"f:a": {}}, "f:spec": {"f:env": {'k:{"name":"X"}': {"f:value": {}}}}},
        "values": {"data": {"a": "1"}, "spec": {"env": [{"name": "X", "value": "old"}]}},
    }
    assert replaced({"data": {"a": "1"}}, after, fields, SECRET) is None
    secret = {"f:spec": {"f:env": {}}}
    old = {"spec": {"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}}
    assert replaced(old, {"spec": {"env": []}}, secret, CONFIG_MAP) is None


# --- restoring, for any object ----------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
DATA = st.dictionaries(NAMES, st.sampled_from(["1", "2", "3"]), max_size=3)
LABELS = st.dictionaries(NAMES, st.sampled_from(["x", "y"]), max_size=2)


def config(data: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    meta = {"name": "n", **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **({"data": data} if data else {})}


@given(DATA, LABELS, DATA, LABELS, DATA)
def test_applying_and_taking_back_leaves_what_was_there_and_what_others_added(
    before: dict[str, str], labels: dict[str, str], ours: dict[str, str], more: dict[str, str], theirs: dict[str, str]
) -> None:
    start = server_apply({}, config(before, labels), "somebody", False)
    applied_ = server_apply(start, config(ours, more), MANAGER, True)
    others = {key: value for key, value in theirs.items() if key not in ours and key not in before}
    now = applied_
    if others:
        now = tracked(applied_, {**applied_, "data": {**applied_.get("data", {}), **others}}, "kubectl-edit", "v1")
    fields = our_fields(applied_)
    mark = digest_of(applied_, fields, created=False)
    change = replaced(start, applied_, fields, CONFIG_MAP)
    known = AppliedObject((1,), "", CONFIG_MAP, "p", "n", False, "", fields, mark, "", (change,))
    undo = undo_object(known, now)
    assert undo.restored is not None or not fields
    if undo.restored is not None:
        assert undo.restored.get("data", {}) == {**before, **others}
        assert (undo.restored["metadata"].get("labels") or {}) == labels
