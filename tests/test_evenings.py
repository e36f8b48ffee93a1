"""The three evenings for which the program is made, from their beginning to their end."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Ends, Ran
from evenings import app, fill_platform, fill_shop
from generated import ROOT
from jsonschema import validate
from registrylab.client import LabClient, missing_from
from registrylab.cluster import OpenShiftCluster, openshift_cluster
from registrylab.images import Image
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
        write_kubeconfig(work, old, ANN_OLD, new, ANN_NEW)
        with controllers({"shop": old, "shop-2": new}):
            yield Shop(old, new, Ends(old.registry.seen_by(ANN_OLD), new.registry.seen_by(ANN_NEW), work))


def write_kubeconfig(folder: Path, old: OpenShiftCluster, old_token: str, new: OpenShiftCluster, token: str) -> None:
    """As two logins by `oc` leave it: contexts rahti1 and rahti2."""
    contexts = [json.loads(old.kubeconfig({"rahti1": old_token})), json.loads(new.kubeconfig({"rahti2": token}))]
    both = {key: [*contexts[0][key], *contexts[1][key]] for key in ("clusters", "contexts", "users")}
    (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **both}))


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


# --- the administrator ------------------------------------------------------------------------------------------

PROJECTS, STREAMS = int(os.environ.get("EVENING_PROJECTS", "12")), 10
"""Of the administrator; EVENING_PROJECTS=200 is the evening as it may be (some minutes)."""
ROOT_OLD, FIRST_NIGHT, SECOND_NIGHT = "sha256~root-old", "sha256~root-monday", "sha256~root-tuesday"


@dataclass
class Platform:
    """All projects, on both clusters, and what each tag of the source has."""

    old: OpenShiftCluster
    new: OpenShiftCluster
    ends: Ends
    images: dict[str, Image]

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.ends.start(*arguments, KUBECONFIG=str(self.ends.folder / "kubeconfig"))

    def type(self, *arguments: str, code: int = 0) -> Ran:
        with self.start(*arguments) as running:
            out, err = running.communicate(timeout=600)
        assert running.returncode == code, out + err
        assert "Traceback" not in err
        assert not any(token in out + err for token in (ROOT_OLD, FIRST_NIGHT, SECOND_NIGHT))
        return Ran(running.returncode, out, err)

    def log_in(self, token: str) -> None:
        """The administrator's token of the target is this one from now on."""
        self.new.users.pop(FIRST_NIGHT, None)
        self.new.users[token] = "root"
        write_kubeconfig(self.ends.folder, self.old, ROOT_OLD, self.new, token)

    def arrived(self) -> int:
        """Tags that stand at the target."""
        return sum(len(self.new.registry.streams[name]) for name in list(self.new.registry.streams))

    def wait_for(self, tags: int) -> None:
        until = time.monotonic() + 300
        while self.arrived() < tags:
            assert time.monotonic() < until
            time.sleep(0.05)

    def push(self, name: str, image: Image) -> None:
        repository, _, tag = name.partition(":")
        with LabClient(self.old.registry.seen_by(ROOT_OLD)) as client:
            client.push(repository, image, tag)
        self.images[name] = image


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with (
        openshift_cluster(tmp_path / "old", "3.11", users={ROOT_OLD: "root"}) as old,
        openshift_cluster(tmp_path / "new", "4", users={FIRST_NIGHT: "root"}) as new,
    ):
        for cluster in (old, new):
            cluster.add_user("root", cluster_role="cluster-admin")
        images = fill_platform(old, ROOT_OLD, PROJECTS, STREAMS)
        for number in range(PROJECTS):
            new.add_project(f"team{number:03}-2", "root")
        work = tmp_path / "work"
        work.mkdir()
        write_kubeconfig(work, old, ROOT_OLD, new, FIRST_NIGHT)
        yield Platform(old, new, Ends(old.registry.seen_by(ROOT_OLD), new.registry, work), images)


@pytest.mark.timeout(1800)
def test_an_administrator_moves_a_platform_in_two_nights(platform: Platform) -> None:
    """Two nights: a limit of time, a token that ends, kill -9, and the next day what has changed since."""
    total = PROJECTS * STREAMS
    names = [f"team{number:03}=team{number:03}-2" for number in range(PROJECTS)]
    registries = ["--source-registry", f"http://{platform.old.registry.host}"]
    registries += ["--target-registry", f"http://{platform.new.registry.host}"]
    contexts = ["--source-context", "rahti1", "--target-context", "rahti2"]
    made = platform.type("init", *names, "--to", "all.yaml", *contexts, *registries)
    assert f"{total:,} tags of {total:,} image streams" in made.out
    assert f"{total:,} tags to bring" in platform.type("check", "all.yaml").out

    platform.new.registry.put_seconds = 0.2
    short = platform.type("run", "all.yaml", "--max-duration", f"{max(3, PROJECTS // 8)}s", code=5)
    assert "to continue: rahti-migrate run all.yaml --max-duration" in (short.out + short.err).lower()
    there = platform.arrived()
    assert there < total, "the night was to be too short"

    night = platform.start("run", "all.yaml", "--wait-login", "0s")
    platform.wait_for(there + (total - there) // 4)
    platform.new.users.pop(FIRST_NIGHT)
    out, err = night.communicate(timeout=300)
    assert night.returncode == 4, out + err
    assert "log in again" in out + err
    platform.log_in(SECOND_NIGHT)

    there = platform.arrived()
    killed = platform.start("run", "all.yaml")
    platform.wait_for(there + (total - there) // 4)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert "was cut off: run it again to continue" in platform.type("status", "all.yaml", code=3).out
    platform.new.registry.put_seconds = 0.0
    done = platform.type("run", "all.yaml")
    assert f"{total:,} tags verified: {total:,} equal" in done.out
    puts = Counter((put.repository, put.identifier) for put in platform.new.registry.puts if put.status == 201)
    assert max(puts.values()) <= 2, "one that was under way at the kill may be put again"
    assert sum(number - 1 for number in puts.values()) <= 64, "and no more than were under way"

    platform.push("team001/app3:2", app("a new tag"))
    platform.push("team002/app4:1", app("a moved tag"))
    platform.push("team003/fresh:1", app("a new image stream"))
    delta = platform.type("run", "all.yaml", "--apply")
    assert "1 new tag, 1 moved" in delta.err, delta.err
    assert "2 done" in delta.out
    assert f"{total + 1:,} tags verified: {total + 1:,} equal" in delta.out
    for name in ("team001/app3:2", "team002/app4:1", "team000/app0:1"):
        project, _, rest = name.partition("/")
        repository, _, tag = f"{project}-2/{rest}".partition(":")
        with LabClient(platform.new.registry.seen_by(SECOND_NIGHT)) as client:
            stored = client.manifest(repository, tag)
            assert stored
            wanted = json.loads(platform.images[name].body)
            assert stored.document["config"]["digest"] == wanted["config"]["digest"]
            assert missing_from(client, repository, tag) == []
    assert len(platform.new.list("Deployment")) == PROJECTS


# --- the auditor ------------------------------------------------------------------------------------------------


def test_an_auditor_has_only_the_state_and_the_report(shop: Shop, tmp_path: Path) -> None:
    """What moved and what did not, who may pull what, what changed in each workload, by which rule or option."""
    manifest = begin(shop)
    options = "options: {keepOldLimits: true, dataCopied: true}"
    text = manifest.read_text()
    manifest.write_text(text.replace("project: shop-2}\n", f"project: shop-2, {options}}}\n"))
    lost = app("report").blobs
    for digest in [each for each in lost if each not in app("api-2").blobs]:  # its own layer and config
        algorithm, _, value = digest.partition(":")
        shutil.rmtree(shop.old.registry.inner.storage / f"docker/registry/v2/blobs/{algorithm}/{value[:2]}/{value}")
    shop.type("run", "shop.yaml", "--apply", "--wait", "1m", code=3)
    shop.type("access", "verify", "shop.yaml")
    place = tmp_path / "auditor"
    place.mkdir()
    shop.type("report", "shop.yaml", "--html", str(place / "page.html"))
    shutil.copy(shop.ends.folder / "state/shop.db", place)
    nowhere = Ends(shop.ends.source, shop.ends.target, place)  # and no login, and no manifest

    told = nowhere.run("report", "shop.db")
    assert told.code == 0, told.text
    assert "9 of 11 tags are at the target" in told.out
    assert "2 tags: " in told.out, told.out
    found = nowhere.run("report", "shop.db", "--format", "json").json
    validate(found, json.loads((ROOT / "docs/report.schema.json").read_text()))
    outcomes = {each["target"].partition("/")[2]: (each["outcome"], each["verdict"]) for each in found["images"]}
    assert set(outcomes) == TAGS
    failed = {name for name, (outcome, _) in outcomes.items() if outcome != "done"}
    assert failed == {"shop-2/report:1", "shop-2/report:stable"}
    assert {verdict for name, (_, verdict) in outcomes.items() if name not in failed} == {"equal"}
    why = [each for each in found["images"] if each["target"].partition("/")[2] in failed]
    assert all("is damaged there" in each["advice"] or "blob" in each["reason"] for each in why), why

    may_pull = {(each["subject"], each["role"], each["holds"]) for each in found["access"]}
    assert ("Group system:unauthenticated", "system:image-puller", True) in may_pull
    assert {each["name"] for each in found["accessChanges"]} >= {"rahti-migrate-system:image-puller"}

    changes = {(each["object"], each["rule"]): each for each in found["findings"]}
    assert changes["DeploymentConfig/web", "dc-to-deployment"]["after"]
    assert changes["DeploymentConfig/web", "default-limits"]["words"] == "options.keepOldLimits"
    assert "options.dataCopied" in changes["PersistentVolumeClaim/db-data", "claim-data"]["words"]
    assert {each["object"] for each in found["workloads"] if each["applied"] == "made"} >= {
        "Deployment/web",
        "Route/web",
    }
    assert all(each["rule"] and each["says"] for each in found["findings"])

    image = nowhere.run("explain", "shop.db", "shop-2/web:latest")
    assert image.code == 0, image.text
    for words in ("done, verified: equal", "anyone on the internet", "Deployment/web of shop-2: made"):
        assert words in image.out
    assert nowhere.run("status", "shop.db").code == 3
    page = (place / "page.html").read_text()
    assert "options.keepOldLimits" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace(shop.new.api_url, "")
