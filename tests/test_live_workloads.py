"""`rewrite` of a project as the source's API has it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clusters import Clusters, two_clusters
from registrylab.gateway import Answer
from registrylab.kubeapi import server_error, strike

BODY = "workloads: [{from: {cluster: source, project: my-app}, to: out, project: my-app-2}]\n"
POD = {"containers": [{"name": "a", "image": "docker-registry.default.svc:5000/my-app/web:1"}]}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD}


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        yield made


def seed(clusters: Clusters) -> None:
    place = {"namespace": "my-app"}
    old = clusters.old
    old.apply({"kind": "DeploymentConfig", "metadata": {"name": "web", **place}, "spec": {"template": TEMPLATE}})
    owner = {"kind": "ReplicationController", "name": "web-1", "apiVersion": "v1", "uid": "x"}
    for number in range(3):
        meta = {"name": f"web-{number}", **place, "ownerReferences": [owner]}
        old.apply({"kind": "Pod", "metadata": meta, "spec": POD})
    for number in range(600):
        old.apply(
            {"kind": "ConfigMap", "metadata": {"name": f"c{number}", **place}, "data": {"on": "yes", "n": "0777"}}
        )
    old.apply({"kind": "Secret", "metadata": {"name": "s", **place}, "data": {"a": "aHVudGVyMg=="}})


def written(clusters: Clusters) -> dict[str, str]:
    folder = clusters.ends.folder / "out"
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.yaml")}


def test_a_project_is_read_from_the_cluster_and_rewritten(clusters: Clusters) -> None:
    seed(clusters)
    ran = clusters.run("rewrite", clusters.manifest(BODY))
    assert ran.code == 0, ran.text
    files = written(clusters)
    (found,) = yaml.safe_load_all(files["deploymentconfigs/web.yaml"])
    assert found["kind"] == "Deployment"
    image = "image-registry.openshift-image-registry.svc:5000/my-app-2/web:1"
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert found["metadata"] == {"name": "web", "namespace": "my-app-2"}
    assert sum(name.startswith("configmaps/c") for name in files) == 600
    assert yaml.safe_load(files["configmaps/c7.yaml"])["data"] == {"on": "yes", "n": "0777"}
    assert not [name for name in files if name.startswith(("pods/", "secrets/"))]
    assert {seen.method for seen in clusters.old.api.seen} == {"GET"}


def test_secrets_are_read_only_where_that_is_asked_for(clusters: Clusters) -> None:
    seed(clusters)
    assert clusters.run("rewrite", clusters.manifest(BODY)).code == 0
    assert not [seen for seen in clusters.old.api.seen if "secrets" in seen.path]
    ran = clusters.run("rewrite", clusters.manifest(BODY), "--secrets")
    assert ran.code == 0, ran.text
    assert "aHVudGVyMg" not in ran.text
    assert "aHVudGVyMg==" in written(clusters)["secrets/s.yaml"]
    assert (clusters.ends.folder / "out/secrets/s.yaml").stat().st_mode & 0o077 == 0


def test_kinds_that_cannot_be_read_are_said(clusters: Clusters) -> None:
    seed(clusters)
    clusters.old.api.faults.append(strike("GET", "/configmaps", server_error(), 99))
    ran = clusters.run("rewrite", clusters.manifest(BODY))
    assert ran.code == 3
    assert "project my-app: configmaps could not be read, and are not rewritten" in ran.err
    assert "deploymentconfigs/web.yaml" in written(clusters)


def test_finish_applies_nothing_of_a_project_that_could_be_read_only_in_part(clusters: Clusters) -> None:
    seed(clusters)
    clusters.old.api.faults.append(strike("GET", "/services", server_error(), 99))
    manifest = clusters.manifest(BODY)
    for options in ([], ["--apply"]):
        ran = clusters.run("finish", manifest, *options)
        assert ran.code == 3, ran.text
        assert "refused   services of project my-app could not be read" in ran.out
        assert f"rahti-migrate rewrite {manifest}" in ran.out
        assert written(clusters) == {}
    clusters.old.api.faults.clear()
    ran = clusters.run("finish", manifest, "--apply")
    assert "ConfigMap/c7" in ran.out, ran.text


def test_what_others_made_is_counted(clusters: Clusters) -> None:
    seed(clusters)
    assert "my-app: passed over 3 objects made by others" in clusters.run("rewrite", clusters.manifest(BODY)).err


def test_kinds_that_the_old_api_has_in_another_version_are_read_there(clusters: Clusters) -> None:
    seed(clusters)
    words = {"kind": "Status", "status": "Failure", "code": 403, "message": "ingresses.networking.k8s.io is forbidden"}
    forbidden = Answer(403, (("Content-Type", "application/json"),), json.dumps(words).encode())
    listed = {"kind": "IngressList", "apiVersion": "extensions/v1beta1", "metadata": {}, "items": [
        {"metadata": {"name": "i"}, "spec": {"backend": {"serviceName": "web", "servicePort": 80}}}]}  # fmt: skip
    old = Answer(200, (("Content-Type", "application/json"),), json.dumps(listed).encode())
    clusters.old.api.faults += [strike("GET", "networking.k8s.io/v1/.*/ingresses", forbidden, 99)]
    clusters.old.api.faults += [strike("GET", "extensions/v1beta1/.*/ingresses", old, 99)]
    ran = clusters.run("rewrite", clusters.manifest(BODY))
    assert ran.code == 0, ran.text
    found = yaml.safe_load(written(clusters)["ingresses/i.yaml"])
    assert found["apiVersion"] == "networking.k8s.io/v1"
    assert found["spec"]["defaultBackend"]["service"] == {"name": "web", "port": {"number": 80}}


def test_who_may_not_look_is_told(clusters: Clusters) -> None:
    body = BODY.replace("project: my-app}", "project: theirs}")
    ran = clusters.run("rewrite", clusters.manifest(body))
    assert ran.code == 3
    assert "project theirs: deploymentconfigs could not be read" in ran.err


def test_an_ended_login_is_exit_4(clusters: Clusters) -> None:
    clusters.old.users.clear()
    ran = clusters.run("rewrite", clusters.manifest(BODY))
    assert ran.code == 4
    assert written(clusters) == {}


def test_without_an_api_it_is_said_how_to_name_one(clusters: Clusters) -> None:
    ran = clusters.run(
        "rewrite", clusters.manifest(BODY, "source: {{registry: '{old}'}}\ntarget: {{registry: '{new}'}}\n")
    )
    assert ran.code == 2
    assert "source.api" in ran.err
