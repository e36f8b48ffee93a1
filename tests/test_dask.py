"""Copies by the workers of a real Dask cluster: what arrives, what is written once, what is killed in the middle."""

import base64
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Ends
from daskcluster import DaskCluster, dask_cluster
from kubecheck import problems
from netlab import Net, can_make, net
from processes import skopeos
from registrylab.client import LabClient, missing_from
from registrylab.images import Image, make_image, make_layer
from registrylab.proxy import SlowLink, slow_link
from registrylab.registry import PASSWORD, USER, LabRegistry, registry
from registrylab.tokens import self_signed
from test_secrets import CANARIES

pytest.importorskip("distributed")
ROOT = Path(__file__).parent.parent
BASE = make_layer("base", 200_000)
IMAGES = 24


def image(number: int, size: int = 20_000) -> Image:
    return make_image([BASE, make_layer(f"own-{number}", size)])


@pytest.fixture
def filled(ends: Ends, source: LabClient) -> Path:
    for number in range(IMAGES):
        source.push(f"a/app{number % 5}", image(number), f"v{number}")
    return ends.manifest("images: [a]")


@pytest.fixture
def cluster(ends: Ends) -> Iterator[DaskCluster]:
    with dask_cluster(ends.folder / "dask", ends.environment()) as made:
        yield made


def rows(ends: Ends, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(ends.folder / "state/m.db")) as db:
        return db.execute(query).fetchall()


def test_two_workers_bring_everything_and_each_byte_once(
    ends: Ends, source: LabClient, target: LabClient, cluster: DaskCluster, filled: Path
) -> None:
    ran = ends.run("copy", filled, "--dask", cluster.file)
    assert ran.code == 0, ran.text
    assert "2 Dask workers, 4 copies at a time" in ran.err
    assert f"copy {filled} --dask {cluster.file}" not in ran.out
    assert len(target.images()) == IMAGES
    found = dict(rows(ends, "select worker, count(*) from attempts where outcome = 'done' group by 1"))
    assert set(found) == {"one", "two"}
    assert sum(map(int, found.values())) == IMAGES  # type: ignore[call-overload]
    unique = {digest: len(data) for n in range(IMAGES) for digest, data in image(n).blobs.items()}
    assert rows(ends, "select sum(bytes) from copies") == [(sum(unique.values()),)]
    commits = Counter(
        line.partition("digest=")[2][:75]
        for line in ends.target.log.splitlines()
        if "digest=" in line and '"PUT ' in line
    )
    assert max(commits.values(), default=1) == 1
    assert ends.run("verify", filled).code == 0
    again = ends.run("copy", filled, "--dask", cluster.file)
    assert "nothing to do" in again.out


def test_no_secret_reaches_the_cluster(ends: Ends, cluster: DaskCluster, filled: Path) -> None:
    assert ends.run("copy", filled, "--dask", cluster.file, "-vv").code == 0
    seen = cluster.words().encode()
    assert len(seen) > 500
    assert not any(canary in seen for canary in CANARIES)
    left = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert not [path for path in left if any(canary in path.read_bytes() for canary in CANARIES)]
    private = [path for path in cluster.folder.glob("rahti-migrate-*") if path.is_dir()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


@pytest.fixture
def slow(ends: Ends, source: LabClient) -> Iterator[tuple[Path, SlowLink]]:
    """Copies by skopeo that last some seconds."""
    for number in range(8):
        source.push(f"big/app{number}", make_image([make_layer(f"big-{number}", 500_000)]), "1")
    with slow_link(ends.target.host, rate=500_000) as link:
        manifest = ends.manifest("images: [big]\ntransfer: {linkMaxMissing: 0}")
        yield ends.through(manifest, target=link.host), link


def test_no_secret_is_in_the_tasks(ends: Ends, cluster: DaskCluster, slow: tuple[Path, SlowLink]) -> None:
    """What the scheduler knows of running tasks, as it would be seen on its dashboard or in a dump."""
    from distributed import Client

    manifest, link = slow
    with busy(ends, cluster, manifest, link) as copying:
        link.rate = 10_000  # nothing ends while it is looked at
        with Client(scheduler_file=str(cluster.file), set_as_default=False) as client:  # type: ignore[no-untyped-call]
            seen = client.run_on_scheduler(_tasks)
            client.dump_cluster_state(str(ends.folder / "dump"), format="yaml")
        link.rate = 0
        copying.communicate(timeout=120)
    assert copying.returncode == 0
    seen += b"".join(path.read_bytes() for path in ends.folder.glob("dump*"))
    assert b"big/app" in seen, "the tasks were not looked into"
    assert not any(canary in seen for canary in CANARIES)


def _tasks(dask_scheduler: Any) -> bytes:
    import pickle

    return b"".join(pickle.dumps((task.key, task.run_spec, task.annotations)) for task in dask_scheduler.tasks.values())


def until(holds: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def busy(ends: Ends, cluster: DaskCluster, manifest: Path, link: SlowLink) -> Iterator["subprocess.Popen[str]"]:
    """A run whose workers have begun to copy."""
    with ends.start("copy", manifest, "--dask", cluster.file) as copying:
        until(lambda: len(skopeos(link.host)) >= 3)
        yield copying


def test_a_worker_that_is_killed_loses_nothing(
    ends: Ends, target: LabClient, cluster: DaskCluster, slow: tuple[Path, SlowLink]
) -> None:
    manifest, link = slow
    with busy(ends, cluster, manifest, link) as copying:
        cluster.kill("one")
        link.rate = 0
        out, err = copying.communicate(timeout=120)
    assert copying.returncode == 0, out + err
    assert len(target.images()) == 8
    until(lambda: not skopeos(link.host))


def test_a_coordinator_that_is_killed_leaves_no_skopeo_and_the_next_run_goes_on(
    ends: Ends, target: LabClient, cluster: DaskCluster, slow: tuple[Path, SlowLink]
) -> None:
    manifest, link = slow
    with busy(ends, cluster, manifest, link) as copying:
        os.killpg(copying.pid, signal.SIGKILL)
        copying.communicate()
    until(lambda: not skopeos(link.host), 10)
    link.rate = 0
    ran = ends.run("copy", manifest, "--dask", cluster.file)
    assert ran.code == 0, ran.text
    assert len(target.images()) == 8


def test_a_scheduler_that_is_killed_ends_the_run_with_everything_kept(
    ends: Ends, target: LabClient, cluster: DaskCluster, slow: tuple[Path, SlowLink]
) -> None:
    manifest, link = slow
    with busy(ends, cluster, manifest, link) as copying:
        cluster.kill("scheduler")
        _, err = copying.communicate(timeout=120)
    assert copying.returncode == 1, err
    assert "the Dask scheduler is gone" in err
    assert "Traceback" not in err
    until(lambda: not skopeos(link.host), 60)
    link.rate = 0
    ran = ends.run("copy", manifest)
    assert ran.code == 0, ran.text
    assert len(target.images()) == 8


def test_ctrl_c_ends_it_and_leaves_no_skopeo(ends: Ends, cluster: DaskCluster, slow: tuple[Path, SlowLink]) -> None:
    manifest, link = slow
    with busy(ends, cluster, manifest, link) as copying:
        for _ in range(2):
            copying.send_signal(signal.SIGINT)
            time.sleep(0.5)
        _, err = copying.communicate(timeout=60)
    assert copying.returncode == 130, err
    until(lambda: not skopeos(link.host), 10)


def test_a_worker_keeps_nothing_of_a_run_that_is_over(ends: Ends, cluster: DaskCluster, source: LabClient) -> None:
    for number in range(3):
        source.push("a/app", image(number), f"v{number}")
        manifest = ends.manifest("images: [a]\ntransfer: {linkMaxMissing: 0}")
        assert ends.run("copy", manifest, "--dask", cluster.file).code == 0
    until(lambda: not [*cluster.folder.rglob("rahti-migrate-*")])
    threads = [len([*Path(f"/proc/{each.pid}/task").iterdir()]) for each in cluster.processes.values()]
    assert max(threads) < 40


def test_a_worker_that_joins_without_a_login_costs_no_image(
    ends: Ends, target: LabClient, slow: tuple[Path, SlowLink]
) -> None:
    manifest, link = slow
    with (
        dask_cluster(ends.folder / "dask", ends.environment(), ("good", "dies")) as cluster,
        ends.start("copy", manifest, "--dask", cluster.file) as copying,
    ):
        until(lambda: len(skopeos(link.host)) >= 3)
        cluster.worker("bad", LAB_PASSWORD="")
        cluster.ready("bad")
        cluster.kill("dies")
        link.rate = 0
        _, err = copying.communicate(timeout=120)
    assert copying.returncode == 0, err
    assert len(target.images()) == 8


def patched(ends: Ends, settings: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start rahti-migrate with other times of patience."""
    script = f"from migrate.cli.dask import connect, crew, sender; {settings}; from migrate.cli import main; main()"
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        argv, cwd=ends.folder, env=ends.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_where_all_workers_have_gone_it_is_said_and_the_run_ends(
    ends: Ends, cluster: DaskCluster, slow: tuple[Path, SlowLink]
) -> None:
    manifest, link = slow
    times = "sender._TOLD_SECONDS, sender._ALONE_SECONDS = 1, 4"
    with patched(ends, times, "copy", manifest, "--dask", cluster.file) as copying:
        until(lambda: len(skopeos(link.host)) >= 3)
        cluster.kill("one")
        cluster.kill("two")
        _, err = copying.communicate(timeout=90)
    assert copying.returncode == 1, err
    assert "no Dask worker takes copies now; waiting 4 s for one" in err
    assert "no Dask worker takes copies any more; what is done is recorded" in err
    assert rows(ends, "select count(*) from copies where status = 'running'") == [(0,)]


def test_a_worker_that_stands_still_is_named_before_the_first_copy(
    ends: Ends, cluster: DaskCluster, filled: Path, target: LabClient
) -> None:
    os.kill(cluster.processes["two"].pid, signal.SIGSTOP)
    with patched(ends, "crew._ANSWER_SECONDS = 4", "copy", filled, "--dask", cluster.file) as copying:
        _, err = copying.communicate(timeout=90)
    assert copying.returncode == 3, err
    assert "two: no answer within 4 s" in err
    assert target.images() == {}
    with ends.start("copy", filled, "--dask", cluster.file) as copying:
        time.sleep(6)
        copying.send_signal(signal.SIGINT)
        copying.communicate(timeout=20)
    assert copying.returncode == 130


def test_a_scheduler_that_dies_while_workers_are_waited_for(ends: Ends, filled: Path) -> None:
    with (
        dask_cluster(ends.folder / "dask", ends.environment(), ()) as cluster,
        ends.start("copy", filled, "--dask", cluster.file) as copying,
    ):
        time.sleep(5)
        cluster.kill("scheduler")
        _, err = copying.communicate(timeout=60)
    assert copying.returncode == 1
    assert "the Dask scheduler is gone" in err
    assert "bug" not in err


def test_a_late_worker_that_cannot_copy_holds_nothing_back(
    ends: Ends, cluster: DaskCluster, slow: tuple[Path, SlowLink], tmp_path: Path
) -> None:
    """It is looked at as the first ones are: what it lacks is said, and no job waits for it."""
    manifest, link = slow
    (tmp_path / "sitecustomize.py").write_text("import migrate; migrate.__version__ = '0.0.1'\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")]), *sys.path[1:2]])
    with ends.start("copy", manifest, "--dask", cluster.file) as copying:
        until(lambda: len(skopeos(link.host)) >= 2)
        cluster.worker("poor", LAB_PASSWORD="")
        cluster.worker("old", PYTHONPATH=paths)
        cluster.ready("poor", "old")
        cluster.kill("one")
        time.sleep(4)
        link.rate = 0
        _, err = copying.communicate(timeout=90)
    assert copying.returncode == 0, err
    assert "Dask worker poor gets no copies for now: the environment variable LAB_PASSWORD is not set" in err
    assert "Dask worker old gets no copies for now: it has rahti-migrate 0.0.1, and this is" in err
    assert {name for (name,) in rows(ends, "select distinct worker from attempts where outcome = 'done'")} <= {
        "one", "two",
    }  # fmt: skip


def test_a_login_that_is_mended_at_a_worker_serves_the_next_run(
    ends: Ends, source: LabClient, slow: tuple[Path, SlowLink]
) -> None:
    """What a run finds wrong with a worker is of that run alone."""
    manifest, link = slow
    login = f"{{username: {USER}, passwordEnv: LAB_PASSWORD}}"
    text = manifest.read_text()
    assert f", login: {login}" in text
    manifest.write_text(text.replace(f", login: {login}", ""))
    good, late = ends.folder / "good.json", ends.folder / "late.json"
    for path, password in ((good, PASSWORD), (late, "wrong")):
        entry = base64.b64encode(f"{USER}:{password}".encode()).decode()
        path.write_text(json.dumps({"auths": {ends.source.host: {"auth": entry}}}))
    with dask_cluster(ends.folder / "more", ends.environment(REGISTRY_AUTH_FILE=str(good)), ("one",)) as mended:
        with ends.start("copy", manifest, "--dask", mended.file, REGISTRY_AUTH_FILE=str(good)) as copying:
            until(lambda: bool(skopeos(link.host)))
            mended.worker("late", REGISTRY_AUTH_FILE=str(late))
            mended.ready("late")
            time.sleep(3)
            link.rate = 0
            _, err = copying.communicate(timeout=90)
        assert copying.returncode == 0, err
        assert "Dask worker late gets no copies for now: the source registry" in err
        mended.kill("one")
        late.write_text(good.read_text())
        source.push("big/new", image(99), "1")
        ran = ends.run("copy", manifest, "--dask", mended.file, REGISTRY_AUTH_FILE=str(good))
    assert ran.code == 0, ran.text
    assert rows(ends, "select distinct worker from attempts where run_id = 2") == [("late",)]


def test_an_outage_is_told_and_leaves_what_it_does_without_dask(
    ends: Ends, source: LabClient, cluster: DaskCluster
) -> None:
    for number in range(20):
        source.push(f"big/app{number}", make_image([make_layer(f"big-{number}", 100_000)]), "1")
    manifest = ends.manifest("images: [big]\ntransfer: {linkMaxMissing: 0, patience: 6s}")
    with slow_link(ends.target.host, rate=150_000) as link:
        ends.through(manifest, target=link.host)
        with ends.start("copy", manifest, "--dask", cluster.file) as copying:
            until(lambda: re.search(r'"PUT /v2/big/app\d+/manifests/1 HTTP/1.1" 201', ends.target.log) is not None)
            ends.target.kill()
            out, err = copying.communicate(timeout=120)
        assert copying.returncode == 1, err
        assert f"{link.host}: " in err
        assert "; trying again for up to 6.0 s" in err
        assert f"rahti-migrate: registry {link.host}: " in err
        assert "failed" not in out, out
        found = dict(rows(ends, "select status, count(*) from copies group by 1"))
        assert found.pop("waiting") > 10
        assert set(found) <= {"done"}
        ends.target.start_again()
        link.rate = 0
        assert ends.run("copy", manifest, "--dask", cluster.file).code == 0


def test_a_scheduler_that_stands_still_holds_nobody_for_ever(
    ends: Ends, cluster: DaskCluster, slow: tuple[Path, SlowLink]
) -> None:
    manifest, link = slow
    times = "crew._SCHEDULER_SECONDS = 3"
    with patched(ends, times, "copy", manifest, "--dask", cluster.file) as copying:
        until(lambda: len(skopeos(link.host)) >= 2)
        os.kill(cluster.processes["scheduler"].pid, signal.SIGSTOP)
        _, err = copying.communicate(timeout=90)
    assert copying.returncode == 1, err
    assert "the Dask scheduler stands still (no answer within 3 s); what is done is recorded" in err
    assert "Traceback" not in err
    with patched(ends, "connect._CONNECT_SECONDS = 1", "copy", manifest, "--dask", cluster.file) as copying:
        _, err = copying.communicate(timeout=60)
    assert copying.returncode == 1, err
    assert "no Dask scheduler answers at tcp://" in err
    assert "Traceback" not in err


def test_workers_keep_nothing_of_a_run_whose_coordinator_was_killed(
    ends: Ends, cluster: DaskCluster, slow: tuple[Path, SlowLink]
) -> None:
    from distributed import Client

    manifest, link = slow
    copying = ends.start("copy", manifest, "--dask", cluster.file)
    until(lambda: len(skopeos(link.host)) >= 2)
    os.killpg(copying.pid, signal.SIGKILL)
    copying.communicate()
    until(lambda: not skopeos(link.host))

    def kept() -> int:
        from migrate.cli.dask import remote

        return len(remote._runs)

    with Client(str(yaml.safe_load(cluster.file.read_text())["address"]), set_as_default=False) as client:
        until(lambda: not any(client.run(kept).values()))
    assert [path for path in cluster.folder.rglob("rahti-migrate-*") if path.is_dir()] == []


def test_what_is_known_of_schema_1_layers_reaches_the_workers(
    ends: Ends, source: LabClient, cluster: DaskCluster
) -> None:
    base = make_layer("old-base", 300_000)
    for number in range(4):
        source.push_schema1(f"a/old{number}", make_image([base, make_layer(f"old-{number}", 3_000)]), "1")
    manifest = ends.manifest("images: [a]")
    assert ends.run("copy", manifest, "--dask", cluster.file).code == 0
    source.push_schema1("a/old9", make_image([base, make_layer("old-9", 3_000)]), "1")
    said = len(ends.source.log)
    assert ends.run("copy", manifest, "--dask", cluster.file).code == 0
    fetched = re.findall(r'"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64}) HTTP/1.1" 200 (\d+)', ends.source.log[said:])
    assert not [size for _, size in fetched if int(size) > 200_000], "the base was unpacked again"


# --- what is refused before the first copy ----------------------------------------------------------------------


def test_without_a_scheduler(ends: Ends, filled: Path) -> None:
    ran = ends.run("copy", filled, "--dask", "tcp://127.0.0.1:1")
    assert ran.code == 1
    assert "no Dask scheduler can be reached at tcp://127.0.0.1:1: Connection refused" in ran.err
    assert "dask worker ADDRESS" in ran.err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "--dask: it is empty"),
        ("missing.json", "as a scheduler file it cannot be read: No such file or directory"),
        (".", "as a scheduler file it cannot be read: Is a directory"),
        ("http://127.0.0.1:8787", "is no address of a scheduler"),
        ("tcp://127.0.0.1", "is no address of a scheduler"),
        ("tcp://127.0.0.1:99999", "is no address of a scheduler"),
    ],
)
def test_what_is_no_address_is_said_before_anything_is_asked(ends: Ends, filled: Path, given: str, words: str) -> None:
    ran = ends.run("copy", filled, "--dask", given)
    assert ran.code == 2, ran.text
    assert words in ran.err
    assert "looking at both registries" not in ran.err


def test_what_answers_and_is_no_scheduler(ends: Ends, cluster: DaskCluster, filled: Path) -> None:
    addresses = re.findall(r"Start worker at: +(tcp://\S+)", cluster.words())
    ran = ends.run("copy", filled, "--dask", addresses[0])
    assert ran.code == 1, ran.text
    assert "no Dask scheduler can be talked to at" in ran.err
    ways = ("is it a scheduler, and its `distributed` the same as here", "does it speak TLS? then say tls://")  # 2025.1
    assert any(way in ran.err for way in ways), ran.text
    assert "bug" not in ran.err


def test_a_worker_gets_no_more_copies_than_it_has_threads(ends: Ends, filled: Path) -> None:
    with dask_cluster(ends.folder / "dask", ends.environment(), ()) as cluster:
        cluster.worker("thin", copies=8, threads=1)
        cluster.ready("thin")
        ran = ends.run("copy", filled, "--dask", cluster.file)
    assert ran.code == 0, ran.text
    assert "1 Dask worker, 1 copy at a time" in ran.err
    assert "note: Dask worker thin offers 8 copies, and has 1 thread: so many" in ran.err


def test_a_file_that_is_no_scheduler_file(ends: Ends, filled: Path) -> None:
    for text in ("", "[]", "{}", "\x00"):
        (ends.folder / "s.json").write_text(text)
        ran = ends.run("copy", filled, "--dask", "s.json")
        assert ran.code == 2
        assert "--dask s.json: the file is no scheduler file" in ran.err


def test_without_the_library(ends: Ends, filled: Path) -> None:
    script = "import sys; sys.modules['distributed'] = None; from migrate.cli import main; main()"
    argv = [sys.executable, "-c", script, "copy", str(filled), "--dask", "tcp://127.0.0.1:1"]
    done = subprocess.run(argv, cwd=ends.folder, env=ends.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pipx install --force '.[dask]'" in done.stderr


def test_workers_that_offer_no_copies(ends: Ends, filled: Path, target: LabClient) -> None:
    with dask_cluster(ends.folder / "dask", ends.environment(), ()) as cluster:
        cluster.worker("idle", resources="other=1")
        cluster.ready("idle")
        ran = ends.run("copy", filled, "--dask", cluster.file)
    assert ran.code == 1
    assert "1 worker, and none of them takes copies" in ran.err
    assert target.images() == {}


def test_a_worker_without_the_login_is_named_before_anything_is_copied(
    ends: Ends, filled: Path, target: LabClient
) -> None:
    with dask_cluster(ends.folder / "dask", ends.environment(), ("good",)) as cluster:
        cluster.worker("poor", LAB_PASSWORD="")
        cluster.ready("good", "poor")
        ran = ends.run("copy", filled, "--dask", cluster.file)
    assert ran.code == 4, ran.text
    assert "Dask workers cannot do the work; nothing was begun" in ran.err
    assert "LAB_PASSWORD" in ran.err
    assert target.images() == {}


def test_a_worker_of_another_version_is_named(ends: Ends, filled: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import migrate; migrate.__version__ = '0.0.1'\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")]), *sys.path[1:2]])
    with dask_cluster(ends.folder / "dask", ends.environment(), ()) as cluster:
        cluster.worker("old", PYTHONPATH=paths)
        cluster.ready("old")
        ran = ends.run("copy", filled, "--dask", cluster.file)
    assert ran.code == 3, ran.text
    assert "it has rahti-migrate 0.0.1, and this is" in ran.err


def test_a_cluster_that_speaks_tls_is_asked_as_dask_is_told_to(ends: Ends, filled: Path, target: LabClient) -> None:
    """Certificates come from Dask's own settings, here and at the workers; without them nothing is reached."""
    certificate, _ = self_signed(ends.folder, "cluster")
    tls = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(certificate)}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls |= {
            f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT": str(certificate),
            f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY": str(certificate.with_suffix(".key")),
        }
    with dask_cluster(ends.folder / "dask", ends.environment(**tls), protocol="tls") as cluster:
        assert "tls://" in cluster.file.read_text()
        stranger = ends.run("copy", filled, "--dask", cluster.file)
        ran = ends.run("copy", filled, "--dask", cluster.file, **tls)
    assert stranger.code == 2
    assert (
        "Dask's settings here name no certificate for it\n  -> set DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in stranger.err
    )
    assert ran.code == 0, ran.text
    assert len(target.images()) == IMAGES


# --- machines of their own --------------------------------------------------------------------------------------

namespaces = pytest.mark.skipif(not can_make(), reason="network namespaces cannot be made here")


@dataclass(frozen=True)
class Far:
    """Registries that machines of their own reach, with sixteen images, and a manifest for them."""

    net: Net
    source: LabRegistry
    target: LabRegistry
    folder: Path
    environment: dict[str, str]

    @contextmanager
    def cluster(self, *workers: str, copies: int = 2) -> Iterator[list[str]]:
        """A cluster on the machines, and the command that copies by it."""
        with dask_cluster(self.folder / "dask", self.environment, workers, copies, self.net) as made:
            yield [sys.executable, "-m", "migrate", "copy", str(self.folder / "m.yaml"), "--dask", str(made.file)]

    def check(self) -> None:
        """Look whether everything has arrived whole."""
        with LabClient(self.target) as client:
            assert sorted(client.tags("team/app")) == sorted(f"v{n}" for n in range(16))
            assert [lack for n in range(16) for lack in missing_from(client, "team/app", f"v{n}")] == []


@contextmanager
def far(folder: Path, rates: Sequence[int]) -> Iterator[Far]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s"}
    with net(rates) as made, registry(address=made.hub) as source, registry(address=made.hub) as target:
        with LabClient(source) as client:
            for n in range(16):
                client.push("team/app", make_image([BASE, make_layer(f"own-{n}", 400_000)]), f"v{n}")
        (folder / "m.yaml").write_text(
            f"version: 1\nsource: {{registry: '{source.host}', plainHttp: true}}\n"
            f"target: {{registry: '{target.host}', plainHttp: true}}\nimages: [team]\n"
        )
        yield Far(made, source, target, folder, environment)


@namespaces
def test_a_cable_that_is_pulled_costs_a_machine_and_no_image(tmp_path: Path) -> None:
    with far(tmp_path, [1_000_000] * 3) as made, made.cluster("one", "two", "three") as argv:
        with subprocess.Popen(argv, cwd=tmp_path, env=made.environment, stderr=subprocess.PIPE, text=True) as copying:
            until(lambda: made.target.log.count("/blobs/uploads/") > 3)
            made.net.machines[0].cut()
            _, err = copying.communicate(timeout=150)
        assert copying.returncode == 0, err
        made.check()


@namespaces
def test_a_slow_machine_gets_as_much_as_it_can_do(tmp_path: Path) -> None:
    with far(tmp_path, [0, 100_000]) as made, made.cluster("fast", "slow", copies=1) as argv:
        subprocess.run(argv, cwd=tmp_path, env=made.environment, check=True, capture_output=True)
        made.check()
        with closing(sqlite3.connect(tmp_path / "state/m.db")) as db:
            done = dict(db.execute("select worker, count(*) from attempts group by 1").fetchall())
    assert done["fast"] > 2 * done["slow"] > 0


# --- killed at random -------------------------------------------------------------------------------------------


def test_whatever_is_killed_at_random_everything_arrives_once_it_is_run_again(
    ends: Ends, source: LabClient, target: LabClient, cluster: DaskCluster
) -> None:
    """Workers, scheduler and coordinator, by -9, in no order; then blob by blob."""
    dice = random.Random(os.environ.get("STORM_SEED", "7"))
    images = {f"v{n}": image(n, 150_000) for n in range(30)}
    for number, (tag, each) in enumerate(images.items()):
        source.push(f"a/app{number % 5}", each, tag)
    with slow_link(ends.target.host, rate=600_000) as link:
        manifest = ends.through(ends.manifest("images: [a]\ntransfer: {linkMaxMissing: 50kB}"), target=link.host)
        for strike in ["one", "scheduler", "coordinator", "two", "scheduler", "coordinator"]:
            with ends.start("copy", manifest, "--dask", cluster.file) as copying:
                time.sleep(dice.uniform(1.5, 4))
                if strike == "coordinator":
                    os.killpg(copying.pid, signal.SIGKILL)
                else:
                    cluster.kill(strike)
                if strike == "scheduler":
                    for name in ("one", "two"):
                        cluster.kill(name)
                    copying.communicate(timeout=60)
                    cluster.scheduler()
                    cluster.worker("one")
                    cluster.worker("two")
                    cluster.ready("one", "two")
                elif strike != "coordinator":
                    cluster.worker(strike)
                _, err = copying.communicate(timeout=120)
                assert "Traceback" not in err, err
        link.rate = 0
        ran = ends.run("copy", manifest, "--dask", cluster.file)
        assert ran.code == 0, ran.text
        until(lambda: not skopeos(link.host))
    for number, tag in enumerate(images):
        assert missing_from(target, f"a/app{number % 5}", tag) == []
    tries = rows(ends, "select target, count(*) from attempts where outcome = 'done' group by 1")
    assert rows(ends, "select status, count(*) from copies group by 1") == [("done", 30)]
    assert len(tries) > 20  # what arrived while its coordinator was killed is found there, and needs no try
    assert {count for _, count in tries} == {1}, "what was recorded as done was done again"


# --- where a cluster comes from ---------------------------------------------------------------------------------


def test_the_manifests_for_openshift_are_valid() -> None:
    text = (ROOT / "docs/dask/openshift.yaml").read_text()
    found = [each for each in yaml.safe_load_all(text) if each]
    assert [each["kind"] for each in found] == ["Service", "Deployment", "Deployment"]
    assert [problem for each in found for problem in problems(each)] == []


def test_the_job_for_slurm_is_a_script_that_can_be_read() -> None:
    script = ROOT / "docs/dask/cluster.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    commands = re.findall(r"rahti-migrate run \S+ .*", script.read_text())
    assert len(commands) == 1
    options = set(re.findall(r"--[a-z-]+", commands[0]))
    shown = subprocess.run(
        [sys.executable, "-m", "migrate", "run", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(option in shown for option in options)


def test_options_of_one_process_are_refused(ends: Ends, filled: Path) -> None:
    for option in (["--wait-login", "5m"], ["--bwlimit", "5MB"]):
        ran = ends.run("copy", filled, "--dask", "tcp://127.0.0.1:1", *option)
        assert ran.code == 2, ran.text
        assert f"leave out {option[0]} or --dask" in ran.err
