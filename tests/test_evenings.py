"""The three evenings for which the program is made, from their beginning to their end."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Ends, Ran
from evenings import fill_shop
from registrylab.client import LabClient, missing_from
from registrylab.cluster import OpenShiftCluster, openshift_cluster
from test_guide import controllers

ANN_OLD, ANN_NEW, BOB_NEW = "sha256~ann-old", "sha256~ann-new", "sha256~bob-new"
TAGS = {
    "shop-2/api:2.0", "shop-2/builder:latest", "shop-2/legacy:2016", "shop-2/postgres:12", "shop-2/report:1",
    "shop-2/report:stable", "shop-2/tools:3", "shop-2/web:1.3", "shop-2/web:1.4", "shop-2/web:latest",
    "shop-2/worker:1",
}  # fmt: skip


@dataclass
class Shop:
    """Ann's project, on both clusters, and ann."""

    old: OpenShiftCluster
    new: OpenShiftCluster
    ends: Ends

    def type(self, *arguments: str, code: int = 0) -> Ran:
        """What ann types; it ends as she expects."""
        ran = self.ends.run(*arguments, KUBECONFIG=str(self.ends.folder / "kubeconfig"))
        assert ran.code == code, ran.text
        for token in (ANN_OLD, ANN_NEW, BOB_NEW):
            assert token not in ran.text
        return ran

    def workloads(self) -> dict[str, set[str]]:
        """What stands in the target project, by kind."""
        kinds = ("Deployment", "Service", "Route", "RoleBinding", "PersistentVolumeClaim")
        return {kind: {item["metadata"]["name"] for item in self.new.list(kind, "shop-2")} for kind in kinds}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with (
        openshift_cluster(tmp_path / "old", "3.11", users={ANN_OLD: "ann"}) as old,
        openshift_cluster(tmp_path / "new", "4", users={ANN_NEW: "ann", BOB_NEW: "bob"}) as new,
    ):
        old.add_project("shop", "ann")
        new.add_project("shop-2", "ann")
        with LabClient(old.registry.seen_by(ANN_OLD)) as client:
            fill_shop(client, old)
        work = tmp_path / "work"
        work.mkdir()
        contexts = [json.loads(old.kubeconfig({"rahti1": ANN_OLD})), json.loads(new.kubeconfig({"rahti2": ANN_NEW}))]
        both = {key: [*contexts[0][key], *contexts[1][key]] for key in ("clusters", "contexts", "users")}
        (work / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **both}))
        with controllers({"shop": old, "shop-2": new}):
            yield Shop(old, new, Ends(old.registry.seen_by(ANN_OLD), new.registry.seen_by(ANN_NEW), work))


def begin(shop: Shop, *options: str) -> Path:
    """Ann has a manifest written; where it is."""
    registries = ["--source-registry", f"http://{shop.old.registry.host}"]
    registries += ["--target-registry", f"http://{shop.new.registry.host}"]
    contexts = ["--source-context", "rahti1", "--target-context", "rahti2"]
    ran = shop.type("init", "shop=shop-2", *contexts, *registries, *options)
    assert "11 tags of 8 image streams" in ran.out
    return shop.ends.folder / "shop.yaml"


def pulled_by_anyone(cluster: OpenShiftCluster, name: str) -> str:
    """The media type of what somebody without a login pulls."""
    argv = [
        "skopeo",
        "inspect",
        "--raw",
        "--tls-verify=false",
        "--no-creds",
        f"docker://{cluster.registry.host}/{name}",
    ]
    ran = subprocess.run(argv, capture_output=True, check=True)
    return str(json.loads(ran.stdout)["mediaType"])


# --- the user ---------------------------------------------------------------------------------------------------


def test_a_user_moves_a_project_in_one_evening_and_can_go_back(shop: Shop) -> None:
    manifest = begin(shop)
    assert "11 tags to bring" in shop.type("check", "shop.yaml").out
    before = shop.workloads()
    shown = shop.type("run", "shop.yaml").out
    assert "11 tags verified: 11 equal" in shown
    assert "1 claim to fill by you: db-data" in shown
    assert shop.workloads() == before, "without --apply nothing is written to a cluster"

    applied = shop.type("run", "shop.yaml", "--apply", "--wait", "1m").out
    assert "nothing to do: 11 tags at the target already" in applied
    assert "  ready    Deployment/web: 2 of 2 pods ready" in applied
    assert "  stopped  Deployment/db: 0 pods are wanted" in applied, "no empty database begins its life"
    stands = shop.workloads()
    assert (stands["Deployment"], stands["Service"], stands["Route"]) == ({"db", "web"}, {"db", "web"}, {"web"})
    assert {"anyone-pulls", "reader"} < stands["RoleBinding"]

    with LabClient(shop.new.registry.seen_by(ANN_NEW)) as client:
        for name in TAGS:
            repository, _, tag = name.partition(":")
            assert missing_from(client, repository, tag) == []
    assert pulled_by_anyone(shop.new, "shop-2/web:latest") == "application/vnd.oci.image.manifest.v1+json"
    (web,) = [item for item in shop.new.list("Deployment", "shop-2") if item["metadata"]["name"] == "web"]
    named = web["spec"]["template"]["spec"]["containers"][0]["image"]
    assert named == "image-registry.openshift-image-registry.svc:5000/shop-2/web:latest"
    assert "3 grants: 3 hold" in shop.type("access", "verify", "shop.yaml").out

    text = manifest.read_text()
    manifest.write_text(text.replace("project: shop-2}\n", "project: shop-2, options: {dataCopied: true}}\n"))
    assert manifest.read_text() != text
    last = shop.type("run", "shop.yaml", "--apply", "--wait", "1m").out
    assert "[ ]" not in last, last
    assert "  ready    Deployment/db: 1 of 1 pods ready" in last

    back = shop.type("rollback", "shop.yaml").out
    assert "9 taken back, 1 kept" in back
    assert "11 image tags stay" in back
    assert shop.workloads() == {**before, "PersistentVolumeClaim": {"db-data"}}
    assert "nothing that this state knows of is left to take back" in shop.type("rollback", "shop.yaml").out
    report = shop.type("report", "shop.yaml", "--format", "json").json
    assert {each["object"]: each["applied"] for each in report["workloads"] if each["applied"]} == {
        "PersistentVolumeClaim/db-data": "kept",
        **dict.fromkeys(
            ("Deployment/db", "Deployment/web", "Service/db", "Service/web", "Route/web",
             "RoleBinding/anyone-pulls", "RoleBinding/reader"),
            "taken back",
        ),
    }  # fmt: skip
    assert {(each["standing"], each["holds"]) for each in report["access"]} == {("taken back", None)}


# --- the auditor ------------------------------------------------------------------------------------------------
