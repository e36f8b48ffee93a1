"""The final step for workloads, against two clusters: shown, tried, applied, again, with others in between."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import BOB_TOKEN, NEW_TOKEN, OLD_TOKEN, Clusters, two_clusters
from registrylab.gateway import Answer, Request
from registrylab.kubeapi import server_error, strike

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
      - name: web
        image: docker-registry.default.svc:5000/my-app/web:1
        env: [{name: PASSWORD, value: hunter2}]
"""
MORE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {a: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hunter2}
"""
DATABASE = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 8Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec:
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: 'quay.io/a/postgres:15', volumeMounts: [{name: data, mountPath: /d}]}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
BODY = "images: ['my-app/web:1']\nworkloads: [{from: in, to: out, project: my-app-2}]\n"


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        made.push(made.old, OLD_TOKEN, "my-app/web", "1")
        yield made


def put(clusters: Clusters, **texts: str) -> None:
    folder = clusters.ends.folder / "in"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)


def moved(clusters: Clusters, body: str = BODY) -> Path:
    """The manifest, with its images at the target and verified."""
    manifest = clusters.manifest(body)
    assert clusters.run("copy", manifest).code == 0
    assert clusters.run("verify", manifest).code == 0
    return manifest


def live(clusters: Clusters, kind: str, name: str) -> dict[str, Any]:
    found = clusters.new.get(kind, "my-app-2", name)
    assert found is not None, f"{kind}/{name} is not there"
    return found


def names(clusters: Clusters, kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in clusters.new.list(kind, "my-app-2")}


def changed_by_bob(
    clusters: Clusters, kind: str, name: str, change: dict[str, Any], manager: str = "kubectl-edit"
) -> None:
    """Somebody else changes an object, through the API as everybody does."""
    import httpx2

    plural = {"ConfigMap": "configmaps", "Deployment": "deployments", "Service": "services"}[kind]
    group = "apis/apps/v1" if kind == "Deployment" else "api/v1"
    answer = httpx2.patch(
        f"{clusters.new.api_url}/{group}/namespaces/my-app-2/{plural}/{name}?fieldManager={manager}",
        json=change, headers={"Authorization": f"Bearer {BOB_TOKEN}", "Content-Type": "application/merge-patch+json"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text


def test_the_plan_is_shown_and_nothing_is_written(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    put(
        clusters,
        kustomization="apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [web.yaml]\n",
    )
    manifest = moved(clusters)
    before = clusters.new.list("Deployment", "my-app-2")
    ran = clusters.run("finish", manifest)
    assert ran.code == 0, ran.text
    assert "Workloads for project my-app-2" in ran.out
    assert "new       Deployment/web" in ran.out
    assert "Nothing was written. To apply:" in ran.out
    assert clusters.new.list("Deployment", "my-app-2") == before == []
    assert "hunter2" not in ran.text
    document = json.loads(clusters.run("finish", manifest, "--format", "json").out)
    (workloads,) = document["workloads"]
    assert {each["object"]: each["standing"] for each in workloads["objects"]} == {
        "Secret/login": "new", "ConfigMap/conf": "new", "Service/web": "new", "Deployment/web": "new",
    }  # fmt: skip


def test_it_is_applied_in_order_and_a_second_time_changes_nothing(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = moved(clusters)
    ran = clusters.run("finish", manifest, "--apply")
    assert ran.code == 0, ran.text
    made = [line.split()[1] for line in ran.out.splitlines() if line.startswith("  made")]
    assert made == ["Secret/login", "ConfigMap/conf", "Service/web", "Deployment/web"]
    found = live(clusters, "Deployment", "web")
    image = "image-registry.openshift-image-registry.svc:5000/my-app-2/web:1"
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert found["spec"]["replicas"] == 2
    again = clusters.run("finish", manifest, "--apply")
    assert again.code == 0, again.text
    assert "4 unchanged" in again.out
    assert live(clusters, "Deployment", "web")["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


def test_an_image_that_is_not_verified_keeps_its_workload_back(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = clusters.manifest(BODY)
    for command in ((), ("copy",)):
        if command:
            assert clusters.run("copy", manifest).code == 0
        ran = clusters.run("finish", manifest, "--apply")
        assert ran.code == 3
        assert "waits     Deployment/web" in ran.out
        assert "image my-app-2/web:1 is not verified at the target" in ran.out
        assert names(clusters, "Deployment") == set()
    assert names(clusters, "ConfigMap") >= {"conf"}
    assert clusters.run("verify", manifest).code == 0
    assert clusters.run("finish", manifest, "--apply").code == 0
    assert names(clusters, "Deployment") == {"web"}


def test_nothing_is_applied_where_the_server_refuses_something(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = moved(clusters)
    words = (
        b'{"kind":"Status","status":"Failure","message":"Service \\"web\\" is invalid: spec.x: Forbidden","code":422}'
    )

    def refuse(request: Request) -> Answer | None:
        if request.method == "PATCH" and "/services/web" in request.path:
            return Answer(422, (("Content-Type", "application/json"),), words)
        return None

    clusters.new.api.faults.append(refuse)
    ran = clusters.run("finish", manifest, "--apply")
    assert ran.code == 3
    assert "refused   Service/web" in ran.out
    assert "Forbidden" in ran.out
    assert "Nothing was applied" in ran.out
    assert names(clusters, "ConfigMap") & {"conf"} == set()
    assert all(
        "dryRun=All" in seen.path
        for seen in clusters.new.api.seen
        if "configmaps/conf" in seen.path and seen.method == "PATCH"
    )


def test_what_others_manage_is_shown_and_left(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = moved(clusters)
    clusters.new.bind("my-app-2", "edit", {"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"})
    assert clusters.run("finish", manifest, "--apply").code == 0
    changed_by_bob(clusters, "ConfigMap", "conf", {"data": {"a": "bob's"}})
    put(clusters, more=MORE.replace('a: "1"', 'a: "2"').replace("port: 80", "port: 81"))
    ran = clusters.run("finish", manifest, "--apply")
    assert ran.code == 3
    assert "changes   Service/web\n            -> spec.ports[0].port\n" in ran.out
    assert live(clusters, "Service", "web")["spec"]["ports"] == [{"port": 81}]
    assert "conflict  ConfigMap/conf" in ran.out
    assert "kubectl-edit" in ran.out
    assert live(clusters, "ConfigMap", "conf")["data"] == {"a": "bob's"}


def test_replicas_that_somebody_chose_stay(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = moved(clusters)
    clusters.new.bind("my-app-2", "edit", {"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"})
    assert clusters.run("finish", manifest, "--apply").code == 0
    changed_by_bob(clusters, "Deployment", "web", {"spec": {"replicas": 5}})
    ran = clusters.run("finish", manifest, "--apply")
    assert ran.code == 0, ran.text
    assert "keeps the 5 pods that somebody gave it" in ran.out
    assert live(clusters, "Deployment", "web")["spec"]["replicas"] == 5


def test_what_mounts_a_claim_starts_with_no_pods_and_stays_as_somebody_scaled_it(clusters: Clusters) -> None:
    put(clusters, db=DATABASE)
    manifest = moved(clusters)
    ran = clusters.run("finish", manifest, "--apply")
    assert ran.code == 0, ran.text
    assert "copy the data, then oc scale -n my-app-2 deployment/db --replicas=1" in ran.out
    assert live(clusters, "Deployment", "db")["spec"]["replicas"] == 0
    again = clusters.run("finish", manifest, "--apply")
    assert live(clusters, "Deployment", "db")["spec"]["replicas"] == 0
    assert "has 0 pods: copy the data, then oc scale -n my-app-2 deployment/db --replicas=1" in again.out
    copied = clusters.manifest(BODY.replace("project: my-app-2}", "project: my-app-2, options: {dataCopied: true}}"))
    assert clusters.run("finish", copied, "--apply").code == 0
    assert live(clusters, "Deployment", "db")["spec"]["replicas"] == 1


def test_files_that_were_changed_by_hand_are_applied_as_they_are(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = moved(clusters)
    assert clusters.run("finish", manifest).code == 0
    out = clusters.ends.folder / "out/web.yaml"
    out.write_text(out.read_text().replace("replicas: 2", "replicas: 3"))
    assert clusters.run("finish", manifest, "--apply").code == 0
    assert live(clusters, "Deployment", "web")["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MORE + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}}\n", "ConfigMap/conf is in more.yaml"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: elsewhere}}\n", "is for project elsewhere"),
        ("kind: ConfigMap\nmetadata: {name: a\n", "cannot be read"),
    ],
)
def test_what_cannot_be_applied_is_named_with_its_place(clusters: Clusters, text: str, words: str) -> None:
    put(clusters, more=text)
    manifest = moved(clusters)
    ran = clusters.run("finish", manifest, "--apply")
    assert ran.code == 3
    assert words in ran.out
    assert "more.yaml:" in ran.out
    assert names(clusters, "ConfigMap") & {"conf", "c"} == set()


def test_no_value_of_a_secret_is_kept(clusters: Clusters) -> None:
    put(clusters, more=MORE)
    manifest = moved(clusters)
    clusters.new.apply(
        {"kind": "Secret", "metadata": {"name": "login", "namespace": "my-app-2"}, "data": {"x": "aHVudGVyMw=="}}
    )
    assert clusters.run("finish", manifest, "--apply").code == 0
    (state,) = clusters.ends.folder.rglob("*.db")
    with sqlite3.connect(state) as database:
        dump = "\n".join(database.iterdump())
    assert "objects" in dump
    assert "hunter" not in dump
    assert "aHVudGVy" not in dump


def test_a_killed_apply_goes_on(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    manifest = moved(clusters)
    clusters.new.api.faults.append(strike("PATCH", r"services/web\?(?!.*dryRun)", server_error(), 99))
    assert clusters.run("finish", manifest, "--apply").code == 1
    assert names(clusters, "ConfigMap") >= {"conf"}
    assert names(clusters, "Deployment") == set()
    clusters.new.api.faults.clear()
    assert clusters.run("finish", manifest, "--apply").code == 0
    assert names(clusters, "Deployment") == {"web"}


# --- waiting ----------------------------------------------------------------------------------------------------


def set_status(clusters: Clusters, kind: str, name: str, **status: Any) -> None:
    item = live(clusters, kind, name)
    item["metadata"]["generation"] = item["metadata"].get("generation", 1)
    clusters.new.apply({**item, "kind": kind, "status": {"observedGeneration": 99, **status}})


def pod(clusters: Clusters, name: str, app: str, **status: Any) -> None:
    meta = {"name": name, "namespace": "my-app-2", "labels": {"app": app, "deploymentconfig": app}}
    clusters.new.apply({"kind": "Pod", "metadata": meta, "spec": {"containers": []}, "status": status})


def test_rollouts_are_followed_until_they_are_there(clusters: Clusters) -> None:
    put(clusters, web=WEB, db=DATABASE)
    manifest = moved(clusters)
    assert clusters.run("finish", manifest, "--apply").code == 0
    set_status(clusters, "Deployment", "web", updatedReplicas=2, availableReplicas=2)
    ran = clusters.run("finish", manifest, "--apply", "--wait", "5s")
    assert ran.code == 0, ran.text
    assert "ready    Deployment/web: 2 of 2 pods ready" in ran.out
    assert "stopped  Deployment/db" in ran.out


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {
                "containerStatuses": [
                    {"image": "x/y:1", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}}
                ]
            },
            "image x/y:1 cannot be pulled (ImagePullBackOff): no such",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "no node takes the pod: 0/3 nodes are available",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "name": "web",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"exitCode": 7}},
                    }
                ]
            },
            "container web ends again and again, exit code 7",
        ),
    ],
)
def test_what_keeps_a_pod_is_put_into_words(clusters: Clusters, status: dict[str, Any], words: str) -> None:
    put(clusters, web=WEB)
    manifest = moved(clusters)
    assert clusters.run("finish", manifest, "--apply").code == 0
    pod(clusters, "web-1", "web", **status)
    ran = clusters.run("finish", manifest, "--apply", "--wait", "1s")
    assert ran.code == 3
    assert words in ran.out


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('pods "web-1" is forbidden: exceeded quota: q', "the project's quota is used up"),
        ("unable to validate against any security context constraint: []", "its security context is refused"),
        ("maximum cpu usage per Container is 4", "its requests or limits are out of range"),
    ],
)
def test_why_no_pod_is_made_is_put_into_words(clusters: Clusters, message: str, words: str) -> None:
    put(clusters, web=WEB)
    manifest = moved(clusters)
    assert clusters.run("finish", manifest, "--apply").code == 0
    meta = {"name": "e", "namespace": "my-app-2"}
    event = {"reason": "FailedCreate", "message": message, "involvedObject": {"kind": "ReplicaSet", "name": "web-5d8f"}}
    clusters.new.apply({"kind": "Event", "metadata": meta, **event})
    ran = clusters.run("finish", manifest, "--apply", "--wait", "1s")
    assert ran.code == 3
    assert words in ran.out
    assert message[:20] in ran.out


def test_a_rollout_that_has_failed_is_not_waited_for(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    manifest = moved(clusters)
    assert clusters.run("finish", manifest, "--apply").code == 0
    set_status(clusters, "Deployment", "web", conditions=[{"type": "Progressing", "status": "False"}])
    ran = clusters.run("finish", manifest, "--apply", "--wait", "10m")
    assert ran.code == 3
    assert "failed   Deployment/web" in ran.out


def test_wait_wants_apply(clusters: Clusters) -> None:
    put(clusters, web=WEB)
    ran = clusters.run("finish", clusters.manifest(BODY), "--wait", "5s")
    assert ran.code == 2
    assert "--apply" in ran.err


def test_run_does_all_of_it(clusters: Clusters) -> None:
    put(clusters, web=WEB, more=MORE)
    ran = clusters.run("run", clusters.manifest(BODY), "--apply")
    assert ran.code == 0, ran.text
    assert names(clusters, "Deployment") == {"web"}
    assert yaml.safe_load((clusters.ends.folder / "out/web.yaml").read_text())["kind"] == "Deployment"
    assert NEW_TOKEN not in ran.text
