"""docs/guide.md and docs/admin.md, followed word by word against two clusters that stand in for Rahti 1 and 2."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clusters import NEW_TOKEN, OLD_TOKEN, image
from docrun import Block, Reader, blocks, environment
from generated import ROOT
from registrylab.client import LabClient
from registrylab.cluster import OpenShiftCluster, openshift_cluster
from registrylab.gateway import Answer, Request
from registrylab.oc import put_oc
from registrylab.projects import service_account

OLD_HOST = "docker-registry.default.svc:5000"
MOVER_TOKEN = "sha256~mover"


def workload(name: str, image_name: str, replicas: int, claim: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": f"{OLD_HOST}/my-app/{image_name}"}
    pod: dict[str, Any] = {"containers": [container]}
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/var/lib/pgsql/data"}]
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    spec = {"replicas": replicas, "selector": {"app": name}, "strategy": {"type": "Recreate" if claim else "Rolling"}}
    spec["template"] = {"metadata": {"labels": {"app": name}}, "spec": pod}
    return {"kind": "DeploymentConfig", "metadata": {"name": name, "namespace": "my-app"}, "spec": spec}


def fill(old: OpenShiftCluster) -> None:
    """A web application with a database."""
    here = {"namespace": "my-app"}
    with LabClient(old.registry.seen_by(OLD_TOKEN)) as client:
        client.push("my-app/web", image("web"), "1.4", "latest")
        client.push("my-app/postgres", image("postgres"), "12")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}}
    for item in (
        workload("web", "web:latest", 2),
        workload("db", "postgres:12", 1, "db-data"),
        {"kind": "Service", "metadata": {"name": "web", **here}, "spec": {"ports": [{"port": 8080}]}},
        {
            "kind": "Route",
            "metadata": {"name": "web", **here},
            "spec": {"host": "web-my-app.rahtiapp.fi", "to": {"kind": "Service", "name": "web"}},
        },
        {"kind": "PersistentVolumeClaim", "metadata": {"name": "db-data", **here}, "spec": claim},
    ):
        old.apply(item)


def run_pods(cluster: OpenShiftCluster, project: str) -> None:
    """What the controllers would do: a pod for each workload that wants some, and a status that says so."""
    with cluster.world.store.lock:
        for kind in ("DeploymentConfig", "Deployment"):
            for found in cluster.list(kind, project):
                wanted = found["spec"].get("replicas", 1)
                if wanted and cluster.get("Pod", project, f"{found['metadata']['name']}-1-abcde") is None:
                    cluster.apply(pod_of(found, project))
                before = found.get("status", {})
                status = {**before, **dict.fromkeys(("updatedReplicas", "availableReplicas", "replicas"), wanted)}
                status["observedGeneration"] = found["metadata"].get("generation", 1)
                if status != before:
                    cluster.apply({**found, "kind": kind, "status": status})


def pod_of(workload: dict[str, Any], project: str) -> dict[str, Any]:
    name, labels = workload["metadata"]["name"], workload["spec"]["template"]["metadata"].get("labels", {})
    owner = {"apiVersion": "v1", "kind": "ReplicationController", "name": f"{name}-1", "uid": "1"}
    metadata = {"name": f"{name}-1-abcde", "namespace": project, "labels": labels, "ownerReferences": [owner]}
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": name}]},
        "status": {"phase": "Running"},
    }


@contextmanager
def controllers(projects: dict[str, OpenShiftCluster]) -> Iterator[None]:
    """Let workloads run, again and again."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.2):
            for project, cluster in projects.items():
                run_pods(cluster, project)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


@contextmanager
def stand_ins(folder: Path) -> Iterator[tuple[OpenShiftCluster, OpenShiftCluster]]:
    with (
        openshift_cluster(folder / "old", "3.11", users={OLD_TOKEN: "ann"}) as old,
        openshift_cluster(folder / "new", "4", users={NEW_TOKEN: "ann"}) as new,
    ):
        yield old, new


def programs(folder: Path) -> Path:
    """`oc`, and this rahti-migrate, in a folder for PATH."""
    made = folder / "bin"
    made.mkdir()
    databases = {"pg_dump": "echo 'CREATE TABLE t ();'", "psql": "cat > loaded.sql"}
    put_oc(made, folder / "pods", databases)
    (made / "rahti-migrate").symlink_to(Path(sys.executable).parent / "rahti-migrate")
    return made


@pytest.mark.timeout(300)
def test_the_guide_followed_word_by_word(tmp_path: Path) -> None:
    with stand_ins(tmp_path) as (old, new):
        old.add_project("my-app", "ann")
        fill(old)
        registries = f"--source-registry http://{old.registry.host} --target-registry http://{new.registry.host}"
        words = {
            "https://rahti.csc.fi:8443": old.api_url,
            "https://api.2.rahti.csc.fi:6443": new.api_url,
            "--target-context rahti2": f"--target-context rahti2 {registries}",
        }
        tokens = {"RAHTI1_TOKEN": OLD_TOKEN, "RAHTI2_TOKEN": NEW_TOKEN}

        reader = Reader(tmp_path, {**environment(tmp_path, programs(tmp_path)), **tokens}, words)
        document = (ROOT / "docs/guide.md").read_text()
        with controllers({"my-app": old, "my-app-2": new}):
            assert reader.read(document, "my-app.yaml") >= 18
        for word in words:
            assert word in document
        assert (reader.folder / "my-app.sql").stat().st_size > 0
        assert new.list("Deployment", "my-app-2") == [], "taken back at the end"
        assert new.get("PersistentVolumeClaim", "my-app-2", "db-data"), "and no data"
        assert old.list("DeploymentConfig", "my-app")[1]["spec"]["replicas"] == 2, "Rahti 1 runs again"


# --- docs/admin.md ----------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_the_page_for_administrators_followed_word_by_word(tmp_path: Path) -> None:
    with stand_ins(tmp_path) as (old, new):
        for project in ("team-a", "team-b"):
            old.add_project(project, "ann")
            new.add_project(f"{project}-2", "ann")
            with LabClient(old.registry.seen_by(OLD_TOKEN)) as client:
                client.push(f"{project}/web", image(project), "1", "2")
        new.add_project("ops", "ann")
        new.api.faults.append(tokens_of_mover)
        new.users[MOVER_TOKEN] = service_account("ops", "mover")
        home = environment(tmp_path, programs(tmp_path))
        (Path(home["HOME"]) / ".kube").mkdir()
        config = Path(home["HOME"]) / ".kube/config"
        log_in(config, {"rahti1": (old.api_url, OLD_TOKEN), "rahti2": (new.api_url, NEW_TOKEN)}, home)
        document = (ROOT / "docs/admin.md").read_text()
        (tmp_path / "all.yaml").write_text(all_yaml(document, old, new))
        registries = f"--source-registry http://{old.registry.host} --target-registry http://{new.registry.host}"
        words = {"--target-context rahti2": f"--target-context rahti2 {registries}"}
        without_yaml = "".join(
            f"```{b.language} {b.more}\n{b.text}```\n" for b in blocks(document) if b.language != "yaml"
        )
        assert Reader(tmp_path, home, words).read(without_yaml, "all.yaml") >= 9
        for project in ("team-a", "team-b"):
            with LabClient(new.registry.seen_by(NEW_TOKEN)) as client:
                assert client.tags(f"{project}-2/web") == ["1", "2"]


def log_in(config: Path, contexts: dict[str, tuple[str, str]], home: dict[str, str]) -> None:
    for name, (server, token) in contexts.items():
        for arguments in (["login", server, f"--token={token}"], ["config", "rename-context", "CURRENT", name]):
            current = subprocess.run(["oc", "config", "current-context"], env=home, capture_output=True, text=True)
            typed = [current.stdout.strip() if word == "CURRENT" else word for word in arguments]
            subprocess.run(["oc", *typed], env=home, check=True, capture_output=True)


def tokens_of_mover(request: Request) -> Answer | None:
    """The API that makes tokens of service accounts, which the stand-in does not have."""
    if not request.path.endswith("/namespaces/ops/serviceaccounts/mover/token"):
        return None
    document = {"kind": "TokenRequest", "status": {"token": MOVER_TOKEN}}
    return Answer(201, (("Content-Type", "application/json"),), json.dumps(document).encode())


def all_yaml(document: str, old: OpenShiftCluster, new: OpenShiftCluster) -> str:
    """The page's two pieces of YAML as one manifest, for the stand-ins."""
    target, projects = (block.text for block in blocks(document) if block.language == "yaml")
    for word, stand_in in (
        ("image-registry.apps.2.rahti.csc.fi", f"'{new.registry.host}'\n  plainHttp: true"),
        ("https://api.2.rahti.csc.fi:6443", new.api_url),
    ):
        assert word in target
        target = target.replace(word, stand_in)
    source = f"source: {{registry: '{old.registry.host}', plainHttp: true, login: {{kubeconfigContext: rahti1}}}}\n"
    return f"version: 1\n{source}{target}{projects}"


# --- docs/batch.md ----------------------------------------------------------------------------------------------


def piece(name: str) -> str:
    (found,) = [block for block in blocks((ROOT / "docs/batch.md").read_text()) if block.more == name]
    return found.text


@pytest.fixture
def night(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with all.yaml and two images to move, an environment, and an sbatch that notes that it was called."""
    with stand_ins(tmp_path) as (old, new):
        old.add_project("my-app", "ann")
        new.add_project("my-app-2", "ann")
        with LabClient(old.registry.seen_by(OLD_TOKEN)) as client:
            for name in ("one", "two"):
                client.push(f"my-app/{name}", image(name), "1")
        sides = [
            f"{{registry: '{end.registry.host}', plainHttp: true, login: {{tokenEnv: {name}}}}}"
            for end, name in ((old, "OLD"), (new, "NEW"))
        ]
        folder = tmp_path / "srv"
        folder.mkdir()
        (folder / "all.yaml").write_text(
            f"version: 1\nsource: {sides[0]}\ntarget: {sides[1]}\nprojects: {{my-app: my-app-2}}\n"
            "images: [my-app/one, my-app/two]\n"
        )
        home = {**environment(tmp_path, programs(tmp_path)), "OLD": OLD_TOKEN, "NEW": NEW_TOKEN}
        sbatch = tmp_path / "bin/sbatch"
        sbatch.write_text(f'#!/bin/sh\necho "$@" >> {folder}/queued\n')
        sbatch.chmod(0o755)
        yield folder, home


def run_in(folder: Path, home: dict[str, str], script: str, shell: str = "bash") -> int:
    return subprocess.run([shell, "-c", script], cwd=folder, env=home, timeout=120, check=False).returncode


def test_the_line_for_cron_runs(night: tuple[Path, dict[str, str]]) -> None:
    folder, home = night
    (line,) = [line for line in piece("crontab").splitlines() if not line.startswith("#")]
    *when, command = line.split(maxsplit=5)
    assert when == ["0", "22", "*", "*", "*"]
    assert run_in(folder, home, command.replace("/srv/move", str(folder)), "sh") == 0
    assert "2 done" in (folder / "logs/all.log").read_text() or (folder / "state/all.db").exists()


def test_the_units_are_ones_and_their_command_runs(night: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, home = night
    service, timer = piece("rahti-migrate.service"), piece("rahti-migrate.timer")
    (command,) = [line.removeprefix("ExecStart=") for line in service.splitlines() if line.startswith("ExecStart=")]
    assert run_in(folder, home, command.replace("/usr/local/bin/", "")) == 0
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units were not looked at")
    service = service.replace("/usr/local/bin/rahti-migrate", str(tmp_path / "bin/rahti-migrate")).replace(
        "User=mover\n", ""
    )
    for name, text in (("rahti-migrate.service", service), ("rahti-migrate.timer", timer)):
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / name) for name in ("rahti-migrate.service", "rahti-migrate.timer")]
    looked = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    wrong = [line for line in looked.stderr.splitlines() if "rahti-migrate" in line]
    assert wrong == []


@pytest.mark.parametrize(
    ("limit", "code", "queued"), [("--max-duration 7h50m", 0, False), ("--max-bytes 6kB", 5, True)]
)
def test_the_job_for_slurm_queues_itself_while_something_is_left(
    night: tuple[Path, dict[str, str]], limit: str, code: int, queued: bool
) -> None:
    folder, home = night
    script = piece("rahti-migrate.sbatch")
    assert "--max-duration 7h50m" in script
    assert run_in(folder, home, script.replace("--max-duration 7h50m", limit)) == code
    assert (folder / "queued").exists() is queued


def test_the_signal_of_slurm_ends_it_well_and_queues_it_again(night: tuple[Path, dict[str, str]]) -> None:
    folder, home = night
    (folder / "job").write_text(piece("rahti-migrate.sbatch").replace("rahti-migrate run", "sh ./slow"))
    (folder / "slow").write_text("trap 'kill $pid; exit 130' TERM\nsleep 60 & pid=$!\ntouch ready\nwait\n")
    with subprocess.Popen(["bash", "./job"], cwd=folder, env=home) as job:
        while not (folder / "ready").exists():
            assert job.poll() is None
            time.sleep(0.02)
        job.terminate()
        assert job.wait(timeout=60) == 130
    assert (folder / "queued").read_text() == "rahti-migrate.sbatch\n"


def test_every_block_of_these_pages_is_one_that_is_looked_at() -> None:
    known = {"sh", "text", "yaml", "ini", "bash"}
    for name in ("guide", "admin", "batch"):
        found: list[Block] = list(blocks((ROOT / f"docs/{name}.md").read_text()))
        assert {block.language for block in found} <= known
        assert found
