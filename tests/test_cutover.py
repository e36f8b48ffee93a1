"""The list at the end of a run: what is left before the traffic can move."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clusters import NEW_TOKEN, OLD_TOKEN, Clusters, image, two_clusters

WEB = """\
apiVersion: v1
kind: DeploymentConfig
metadata: {name: web, namespace: my-app}
spec:
  replicas: 1
  selector: {app: web}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'docker-registry.default.svc:5000/my-app/web:1'}]}
---
apiVersion: v1
kind: Route
metadata: {name: web}
spec: {host: www.example.org, to: {kind: Service, name: web}}
"""
BODY = """\
images: [my-app]
access: [{project: my-app-2, allow: [authenticated]}]
workloads: [{from: in, to: out, project: my-app-2}]
"""


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        made.push(made.old, OLD_TOKEN, "my-app/web", "1")
        folder = made.ends.folder / "in"
        folder.mkdir()
        (folder / "web.yaml").write_text(WEB)
        yield made


def items(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    (found,) = [event["items"] for event in events if event["event"] == "cutover"]
    return {item["topic"]: item for item in found}


def test_it_says_what_is_not_applied_and_what_points_at_the_old_cluster(clusters: Clusters) -> None:
    manifest = clusters.manifest(BODY)
    ran = clusters.run("run", manifest)
    assert ran.code == 0, ran.text
    lines = ran.out.partition("Before the cutover:\n")[2].splitlines()
    assert lines[0] == "  [x] images     1 tag at the target is what the source has"
    assert lines[1] == "  [ ] access     1 grant not applied yet"
    assert lines[2] == f"                 -> rahti-migrate finish {manifest} --apply"
    assert lines[3] == "  [ ] workloads  2 objects not applied yet"
    assert lines[5] == "  [ ] elsewhere  1 thing to change by hand: see the list above"
    assert "domains of your own" in ran.out
    assert "move the traffic" not in ran.out


def test_once_applied_it_asks_the_target_again(clusters: Clusters) -> None:
    manifest = clusters.manifest(BODY)
    ran = clusters.run("run", manifest, "--apply", "--format", "json")
    assert ran.code == 0, ran.text
    found = items(ran.events)
    assert {topic: item["done"] for topic, item in found.items()} == {
        "images": True,
        "access": True,
        "workloads": True,
        "elsewhere": False,
    }
    assert found["access"]["words"] == "1 grant in force"
    assert found["workloads"]["words"] == "2 objects as they should be"
    again = items(clusters.run("run", manifest, "--format", "json").events)
    assert again == found, "the target is what is asked, not what this run did"
    path = "apis/apps/v1/namespaces/my-app-2/deployments/web"
    httpx2.delete(f"{clusters.new.api_url}/{path}", headers={"Authorization": f"Bearer {NEW_TOKEN}"}).raise_for_status()
    once_more = items(clusters.run("run", manifest, "--format", "json").events)
    assert once_more["workloads"]["words"] == "1 object not applied yet"


def test_what_differs_is_counted_and_the_way_on_is_said(clusters: Clusters) -> None:
    with clusters.pushed(clusters.new, "sha256~ann-new") as client:
        client.push("my-app-2/web", image("theirs"), "1")
    clusters.push(clusters.old, OLD_TOKEN, "my-app/web", "2")
    manifest = clusters.manifest("images: [my-app]\n")
    ran = clusters.run("run", manifest)
    assert ran.code == 3
    lines = ran.out.partition("Before the cutover:\n")[2].splitlines()
    assert lines == [
        "  [ ] images     1 different, 1 in order",
        f"                 -> see above; then rahti-migrate run {manifest}",
    ]


def test_claims_are_to_be_filled_until_somebody_says_that_they_are(clusters: Clusters) -> None:
    claim = "metadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 8Gi}}}\n"
    (clusters.ends.folder / "in/claim.yaml").write_text(f"apiVersion: v1\nkind: PersistentVolumeClaim\n{claim}")
    manifest = clusters.manifest(BODY)
    found = items(clusters.run("run", manifest, "--apply", "--format", "json").events)
    assert found["data"]["words"] == "1 claim to fill by you: data"
    assert found["data"]["todo"].startswith(f"rahti-migrate rewrite {manifest} says how")
    manifest.write_text(
        manifest.read_text().replace("project: my-app-2}]\n", "project: my-app-2, options: {dataCopied: true}}]\n")
    )
    assert "data" not in items(clusters.run("run", manifest, "--format", "json").events)


def test_where_all_is_done_the_way_on_is_said(clusters: Clusters) -> None:
    ran = clusters.run("run", clusters.manifest("images: [my-app]\n"))
    assert ran.out.endswith("is copied when you run this again.\n")
    (clusters.ends.folder / "in/web.yaml").write_text(WEB.rpartition("---\n")[0])  # no domain of one's own
    ran = clusters.run("run", clusters.manifest(BODY), "--apply")
    assert ran.out.endswith("then move the traffic.\n"), ran.text


def test_workloads_that_could_not_be_looked_at_are_not_done(clusters: Clusters) -> None:
    ends = (
        "source: {{registry: '{old}', plainHttp: true, login: {{tokenEnv: OLD}}}}\n"
        "target: {{registry: '{new}', plainHttp: true, login: {{tokenEnv: NEW}}}}\n"
    )
    manifest = clusters.manifest("images: [my-app/web]\nworkloads: [{from: in, to: out, project: my-app-2}]\n", ends)
    ran = clusters.run("run", manifest, OLD=OLD_TOKEN, NEW=NEW_TOKEN)
    assert ran.code == 0, ran.text
    assert "  [ ] workloads  not looked at: no API of the target is named\n" in ran.out
    assert "move the traffic" not in ran.out
    asked = clusters.run("run", manifest, "--apply", OLD=OLD_TOKEN, NEW=NEW_TOKEN)
    assert asked.code == 3, "what was asked for was not done"
    checked = clusters.run("check", manifest, OLD=OLD_TOKEN, NEW=NEW_TOKEN)
    assert (checked.code, "workloads are rewritten, and cannot be applied" in checked.out) == (0, True)
