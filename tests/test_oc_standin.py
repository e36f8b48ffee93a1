"""The stand-in for `oc`: what it does on two clusters, and that the real one, where there is one, does the same."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import BOB_TOKEN, NEW_TOKEN, OLD_TOKEN, Clusters, two_clusters
from registrylab.cluster import openshift_cluster
from registrylab.oc import put_oc
from registrylab.registry import Tls
from registrylab.tokens import self_signed

CLAIM = """
kind: PersistentVolumeClaim
apiVersion: v1
metadata: {name: data}
spec: {resources: {requests: {storage: 1Gi}}}
"""
STATUS = {"updatedReplicas": 2, "availableReplicas": 2, "replicas": 2}
REAL = shutil.which("oc")
POD = {"containers": [{"name": "db", "image": "x"}]}
SEEDS = [("Pod", "db-1", {"spec": POD}), ("Deployment", "web", {"spec": {"replicas": 2}, "status": STATUS})]
SHORT_NAMES = (
    "po", "dc", "deploy", "is", "istag", "svc", "routes", "pvc", "rolebindings", "secrets", "cronjobs", "events",
    "quota",
)  # fmt: skip
PROGRAMS = {"pg_dump": "cat database.sql", "psql": "cat >>database.sql"}


@dataclass
class Desk:
    """Somebody at a shell, with `oc` on PATH and a home without a kubeconfig."""

    folder: Path
    path: str

    def sh(self, line: str, code: int = 0, **environment: str) -> tuple[str, str]:
        """What a line says on stdout and stderr."""
        ran = self.start(line, **environment)
        assert ran.returncode == code, f"{line}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout, ran.stderr

    def start(self, line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        kept = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        own = {"PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder)}
        return subprocess.run(
            ["/bin/sh", "-c", line], cwd=self.folder, env={**kept, **own, **environment}, stdin=subprocess.DEVNULL,
            capture_output=True, check=False, text=True, timeout=60,
        )  # fmt: skip

    @property
    def kubeconfig(self) -> Path:
        return self.folder / ".kube/config"


@dataclass
class Both:
    """Two clusters and a desk that is logged in to both, as the contexts old and new."""

    clusters: Clusters
    desk: Desk

    def oc(self, words: str, code: int = 0) -> tuple[str, str]:
        return self.desk.sh(f"oc {words}", code)

    def new(self, kind: str, name: str) -> dict[str, Any]:
        found = self.clusters.new.get(kind, "my-app-2", name)
        assert found, f"{kind} {name}"
        return found

    def seed(self, kind: str, name: str, **more: Any) -> None:
        self.clusters.new.apply({"kind": kind, "metadata": {"name": name, "namespace": "my-app-2"}, **more})


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Both]:
    with two_clusters(tmp_path) as clusters:
        home = tmp_path / "home"
        home.mkdir()
        yield Both(clusters, Desk(home, str(put_oc(tmp_path / "bin", tmp_path / "pods", PROGRAMS))))


@pytest.fixture
def both(fresh: Both) -> Both:
    for end, token in (("old", OLD_TOKEN), ("new", NEW_TOKEN)):
        url = getattr(fresh.clusters, end).api_url
        fresh.desk.sh(
            f'oc login {url} --token={token} && oc config rename-context "$(oc config current-context)" {end}'
        )
    return fresh


def nick(url: str) -> str:
    return url.partition("//")[2].replace(".", "-")


# --- logins -----------------------------------------------------------------------------------------------------------


def test_a_login_names_its_context_after_project_server_and_user(fresh: Both) -> None:
    url = fresh.clusters.old.api_url
    out, _ = fresh.oc(f"login --token={OLD_TOKEN} --server={url}")
    assert out == (
        f'Logged into "{url}" as "ann" using the token provided.\n\nYou have one project on this server: "my-app"\n\n'
        "Using project \"my-app\".\nWelcome! See 'oc help' to get started.\n"
    )
    name = f"my-app/{nick(url)}/ann"
    assert fresh.oc("config current-context")[0] == f"{name}\n"
    assert fresh.desk.kubeconfig.stat().st_mode & 0o777 == 0o600
    written = yaml.safe_load(fresh.desk.kubeconfig.read_text())
    context = {"cluster": nick(url), "namespace": "my-app", "user": f"ann/{nick(url)}"}
    assert written["contexts"] == [{"name": name, "context": context}]
    assert written["users"] == [{"name": f"ann/{nick(url)}", "user": {"token": OLD_TOKEN}}]
    assert written["clusters"] == [{"name": nick(url), "cluster": {"server": url}}]


def test_a_login_lists_the_projects_there_are(fresh: Both) -> None:
    fresh.clusters.new.add_project("more", "ann")
    url = fresh.clusters.new.api_url
    out, _ = fresh.oc(f"login {url} --token={NEW_TOKEN}")
    assert "'oc project <projectname>':\n\n  * more\n    my-app-2\n\nUsing project \"more\".\n" in out
    out, _ = fresh.oc(f"login {url} --token={BOB_TOKEN}")
    assert "You don't have any projects. You can try to create a new project, by running\n\n    oc new-project" in out
    assert fresh.oc("config current-context")[0] == f"/{nick(url)}/bob\n"


def test_a_wrong_token_changes_nothing(both: Both) -> None:
    before = both.desk.kubeconfig.read_text()
    out, err = both.oc(f"login {both.clusters.new.api_url} --token=wrong", 1)
    assert (out, err) == ("", "error: The token provided is invalid or expired.\n\n")
    assert both.desk.kubeconfig.read_text() == before


def test_the_first_of_kubeconfigs_files_that_is_there_is_written(fresh: Both) -> None:
    url, files = fresh.clusters.new.api_url, "none:there"
    (fresh.desk.folder / "there").write_text("{}")
    fresh.desk.sh(f"oc login {url} --token={NEW_TOKEN}", KUBECONFIG=files)
    assert not (fresh.desk.folder / "none").exists()
    assert fresh.desk.sh("oc whoami", KUBECONFIG=files)[0] == "ann\n"
    assert "Missing or incomplete configuration" in fresh.oc("whoami", 1)[1]


def test_contexts(both: Both) -> None:
    assert both.oc("config get-contexts -o name")[0] == "new\nold\n"
    table = both.oc("config get-contexts")[0].splitlines()
    assert table[0].split() == ["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]
    where = nick(both.clusters.new.api_url)
    assert table[1].split() == ["*", "new", where, f"ann/{where}", "my-app-2"]
    assert both.oc("config use-context old")[0] == 'Switched to context "old".\n'
    assert both.oc("config current-context")[0] == "old\n"
    assert "no context exists with the name" in both.oc("config use-context none", 1)[1]
    assert "it's not in" in both.oc("config rename-context none some", 1)[1]
    assert "already exists" in both.oc("config rename-context old new", 1)[1]
    assert 'context "none" does not exist' in both.oc("get pods --context none", 1)[1]


def test_who_somebody_is(both: Both) -> None:
    assert both.oc("whoami --context old")[0] == "ann\n"
    assert both.oc("--context=old whoami -t")[0] == f"{OLD_TOKEN}\n"
    assert both.oc("whoami --show-server")[0] == f"{both.clusters.new.api_url}\n"
    assert both.oc("whoami --show-context")[0] == "new\n"
    both.clusters.new.users.clear()
    assert both.oc("whoami", 1)[1] == "error: You must be logged in to the server (Unauthorized)\n"


def test_projects(both: Both) -> None:
    url = both.clusters.new.api_url
    where = f'on server "{url}".\n'
    assert both.oc("project")[0] == f'Using project "my-app-2" from context named "new" {where}'
    assert both.oc("new-project more --description='One more' --context new")[0] == f'Now using project "more" {where}'
    assert both.oc("config current-context")[0] == f"more/{nick(url)}/ann\n"
    assert both.oc("project")[0] == f'Using project "more" {where}'
    assert both.oc("projects -q")[0] == "more\nmy-app-2\n"
    assert "AlreadyExists" in both.oc("new-project more", 1)[1]
    assert both.oc("project my-app-2")[0] == f'Now using project "my-app-2" {where}'
    assert both.oc("project my-app-2")[0] == f'Already on project "my-app-2" {where}'
    assert 'You are not a member of project "none"' in both.oc("project none", 1)[1]
    assert "is not deleted" in both.oc("delete project more", 1)[1]
    assert both.clusters.new.registry.projects["more"] == "Active"


# --- objects ----------------------------------------------------------------------------------------------------------


def test_getting(both: Both) -> None:
    assert both.oc("get po,quota -n my-app-2") == ("", "No resources found in my-app-2 namespace.\n")
    both.seed("Pod", "db-1", spec=POD)
    both.seed("Deployment", "web", spec={"replicas": 2})
    assert both.oc("get pods,deploy -o name")[0] == "pod/db-1\ndeployment.apps/web\n"
    assert [line.split()[0] for line in both.oc("get pods -o wide")[0].splitlines()] == ["NAME", "db-1"]
    assert json.loads(both.oc("get deploy web -o json")[0])["kind"] == "Deployment"
    listed = yaml.safe_load(both.oc("get po,deployments.apps -o yaml")[0])
    assert [item["metadata"]["name"] for item in listed["items"]] == ["db-1", "web"]
    out, err = both.oc("get pods none db-1", 1)
    assert (out.split()[-2], err) == ("db-1", 'Error from server (NotFound): pods "none" not found\n')
    assert "Forbidden" in both.oc("get pods -n nowhere", 1)[1]
    assert both.oc("get frobs", 1)[1] == 'error: the server doesn\'t have a resource type "frobs"\n'
    both.clusters.old.apply({"kind": "CronJob", "metadata": {"name": "night", "namespace": "my-app"}, "spec": {}})
    assert both.oc("get cronjobs --context old -o name")[0] == "cronjob.batch/night\n"


def test_every_short_name_is_known_to_both_servers(both: Both) -> None:
    for words in SHORT_NAMES:
        for context in ("old", "new"):
            both.oc(f"get {words} --context {context}")


def test_changing(both: Both) -> None:
    both.seed("Deployment", "web", spec={"replicas": 2})
    assert both.oc("scale deploy/web --replicas=0")[0] == "deployment.apps/web scaled\n"
    assert both.new("Deployment", "web")["spec"]["replicas"] == 0
    assert both.oc("annotate deploy web a/b=c d=e")[0] == "deployment.apps/web annotated\n"
    assert both.new("Deployment", "web")["metadata"]["annotations"] == {"a/b": "c", "d": "e"}
    assert "--overwrite is false" in both.oc("annotate deploy web d=f", 1)[1]
    both.oc("annotate deploy web --overwrite d=f a/b-")
    assert both.new("Deployment", "web")["metadata"]["annotations"] == {"d": "f"}
    said = [both.oc(f"label deploy/web {words}")[0] for words in ("a=b", "a=b", "a-")]
    assert said == [f"deployment.apps/web {word}\n" for word in ("labeled", "not labeled", "unlabeled")]
    said = [both.oc('patch deploy web --type merge -p \'{"spec": {"paused": true}}\'')[0] for _ in range(2)]
    assert said == [f"deployment.apps/web {words}\n" for words in ("patched", "patched (no change)")]
    assert both.new("Deployment", "web")["spec"]["paused"] is True
    assert 'deployments.apps "none" not found' in both.oc("scale deploy/none --replicas=1", 1)[1]


def test_a_rollout_is_over_or_waited_for(both: Both) -> None:
    both.seed("Deployment", "web", spec={"replicas": 1}, status={"updatedReplicas": 1})
    out, err = both.oc("rollout status deploy/web --timeout=0s", 1)
    assert "timed out waiting" in err
    both.seed("Deployment", "web", spec={"replicas": 1}, status={"updatedReplicas": 1, "availableReplicas": 1})
    assert both.oc("rollout status deploy/web")[0] == 'deployment "web" successfully rolled out\n'
    both.clusters.old.apply(
        {"kind": "DeploymentConfig", "metadata": {"name": "web", "namespace": "my-app"}, "spec": {"replicas": 0}}
    )
    out, _ = both.oc("rollout status dc/web --context old")
    assert out == 'replication controller "web-1" successfully rolled out\n'


def test_what_files_hold_is_made_changed_and_deleted(both: Both) -> None:
    pod = f"---\nkind: Pod\napiVersion: v1\nmetadata: {{name: copy}}\nspec: {json.dumps(POD)}\n"
    (both.desk.folder / "all.yaml").write_text(CLAIM + pod)
    assert both.oc("create -f all.yaml")[0] == "persistentvolumeclaim/data created\npod/copy created\n"
    assert "AlreadyExists" in both.oc("create -f - <all.yaml", 1)[1]
    assert both.new("Pod", "copy")["status"]["phase"] == "Running"
    assert both.oc("delete -f all.yaml")[0].splitlines()[1] == 'pod "copy" deleted from my-app-2 namespace'
    (both.desk.folder / "claim.yaml").write_text(CLAIM)
    said = [both.oc("apply -f claim.yaml")[0] for _ in range(2)]
    (both.desk.folder / "claim.yaml").write_text(CLAIM.replace("1Gi", "2Gi"))
    said.append(both.oc("apply -f .")[0].splitlines()[2] + "\n")
    assert said == [f"persistentvolumeclaim/data {word}\n" for word in ("created", "unchanged", "configured")]
    (both.desk.folder / "claim.yaml").write_text(CLAIM.replace("name: data", "name: data, namespace: x"))
    assert "does not match the namespace" in both.oc("apply -f claim.yaml", 1)[1]
    assert 'the path "none" does not exist' in both.oc("apply -f none", 1)[1]


# --- pods -------------------------------------------------------------------------------------------------------------


def test_a_database_is_dumped_from_one_pod_and_restored_in_another(both: Both, tmp_path: Path) -> None:
    both.seed("Pod", "db-1", spec=POD)
    both.clusters.old.apply({"kind": "Pod", "metadata": {"name": "db-1", "namespace": "my-app"}, "spec": POD})
    before = tmp_path / "pods/my-app/db-1/database.sql"
    before.parent.mkdir(parents=True)
    before.write_text("select 1;\n")
    both.oc("exec db-1 --context old -- pg_dump -U shop shop > dump.sql")
    assert (both.desk.folder / "dump.sql").read_text() == "select 1;\n"
    both.oc("exec db-1 -c db -- psql < dump.sql")
    assert (tmp_path / "pods/my-app-2/db-1/database.sql").read_text() == "", "without -i nothing comes in"
    both.oc("exec -i db-1 -- psql -U shop shop < dump.sql")
    assert (tmp_path / "pods/my-app-2/db-1/database.sql").read_text() == "select 1;\n"


def test_what_runs_in_pods(both: Both, tmp_path: Path) -> None:
    both.oc("run helper --image=busybox --restart=Never -- sleep 1000")
    assert both.new("Pod", "helper")["spec"]["containers"][0]["args"] == ["sleep", "1000"]
    data = tmp_path / "pods/my-app-2/helper/data"
    data.mkdir(parents=True)
    (data / "a").write_text("b")
    assert both.oc("exec helper -- ls /data")[0] == "a\n"
    assert both.oc("exec pod/helper -- cat /data/a")[0] == "b"
    assert both.oc("exec helper -- tar -C /data -cf - . | tar tf -")[0] == "./\n./a\n"
    assert "exit code 2" in both.oc("exec helper -- ls /none", 2)[1]
    assert 'pods "none" not found' in both.oc("exec none -- ls", 1)[1]
    assert "container x is not valid" in both.oc("exec helper -c x -- ls", 1)[1]
    for refused in ("sh -c true", "/bin/sh -c true", "cat ../../x", "rm -r /data"):
        both.oc(f"exec helper -- {refused}", 1)
    assert both.oc("logs helper") == ("", "")
    assert 'pods "none" not found in namespace "my-app-2"' in both.oc("logs none", 1)[1]


def test_folders_are_copied_out_of_pods_and_into_them(both: Both, tmp_path: Path) -> None:
    both.oc("run a --image=x && oc run b --image=x")
    data = tmp_path / "pods/my-app-2/a/data"
    (data / "deep").mkdir(parents=True)
    (data / "deep/one").write_text("1")
    both.desk.sh("mkdir out && oc rsync a:/data/ ./out && oc rsync a:/data ./out")
    copied = sorted(str(path.relative_to(both.desk.folder)) for path in both.desk.folder.glob("out/**/one"))
    assert copied == ["out/data/deep/one", "out/deep/one"]
    both.desk.sh("rm -r out/data && oc rsync ./out/ b:/data --no-perms")
    assert (tmp_path / "pods/my-app-2/b/data/deep/one").read_text() == "1"
    both.desk.sh("rm -r out/deep && oc rsync --delete=true ./out/ b:/data")
    assert list((tmp_path / "pods/my-app-2/b/data").iterdir()) == []
    assert 'pods "none" not found' in both.oc("rsync out/ none:/data", 1)[1]
    assert "stat none: no such file or directory" in both.oc("rsync none b:/data", 1)[1]
    assert "only valid between a local directory and a pod" in both.oc("rsync out out", 1)[1]


UNKNOWN = [
    "frob", "", "get", "get pods --frob", "get pods -o frob", "login --token=x", "adm policy", "config frob",
    "get pods -- x", "scale deploy/web", "patch deploy web --type json -p []", "delete pod", "projects",
]  # fmt: skip


def test_what_it_does_not_know_fails(both: Both) -> None:
    for words in UNKNOWN:
        out, err = both.oc(words, 1)
        assert (out, err[:7]) == ("", "error: "), words


# --- the real one -----------------------------------------------------------------------------------------------------

LOGINS = [
    "oc login {new} --token={token} --certificate-authority={ca}",
    "oc login --server={new} --token={token}",
    "oc config current-context",
    "oc login {new} --token=wrong",
    'oc config rename-context "$(oc config current-context)" new',
    "oc config rename-context none x",
    "oc login {old} --token={old_token} --insecure-skip-tls-verify=true",
    'oc config rename-context "$(oc config current-context)" old',
    "oc config rename-context new old",
    "oc config get-contexts",
    "oc config get-contexts -o name",
    "oc config use-context none",
    "oc config use-context new",
    "oc whoami", "oc whoami -t --context old", "oc whoami --show-server", "oc whoami --context none",
    "oc project", "oc project two", "oc project two", "oc project -q --context new", "oc projects -q --context old",
    "oc project my-app --context old", "oc config current-context",
]  # fmt: skip
OBJECTS = [
    *LOGINS[:1], LOGINS[4], "oc login {old} --token={old_token} --certificate-authority={ca}",
    "oc config use-context new",
    "oc new-project more --description=d | head -1",
    "oc new-project more", "oc config use-context new",
    "oc get pods", "oc get pods,deployments -o name", "oc get pods none db-1 -o name", "oc get frobs",
    "oc get pods -n nowhere", "oc get pods -n two", "oc get deployment/web -o json", "oc get deployments -o json",
    "oc annotate deployment web a=b", "oc annotate deployment web a=c", "oc annotate deployment web --overwrite a=c b-",
    "oc annotate deployment none a=b",
    "oc label pod/db-1 a=b", "oc label pod/db-1 a=b", "oc label pod/db-1 a=c", "oc label pod/db-1 a-",
    "oc patch deployment web -p '{{\"spec\":{{\"paused\":true}}}}'",
    "oc patch deployment web --type merge -p '{{\"spec\":{{\"paused\":true}}}}'",
    "oc rollout status deployment/web 2>/dev/null", "oc rollout status pod/db-1", "oc rollout status deployment/none",
    "oc create -f claim.yaml", "oc create -f claim.yaml 2>&1 | grep -o AlreadyExists",
    "oc run helper --image=x -- sleep 1", "oc run helper --image=x",
    "oc apply -f none.yaml", "oc delete -f claim.yaml", "oc apply -f claim.yaml",
    "oc apply -f - <claim.yaml",
    "oc get pod helper -o json | grep -A3 args", "oc delete pod helper", "oc delete pod/none", "oc delete pod",
    "oc delete pod none --ignore-not-found", "oc logs none", "oc exec none -- ls", "oc exec db-1 --",
    "oc rsync none: .", "oc rsync . .", "oc frob", "oc get pods --frob",
]  # fmt: skip
OWN_WORDS = re.compile(r"frob|oc projects$")
"""Where only the exit code is to be the same."""
VARYING = re.compile(
    r"\b\d+s\b|\d{4}-\d\d-\d\dT[\d:]+Z|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=resourceVersion\": \")\d+"
)
WARNING = re.compile(r"^(WARNING: rsync|Warning: ).*\n", re.MULTILINE)


@pytest.mark.skipif(not REAL, reason="there is no real oc on PATH to compare with")
@pytest.mark.parametrize("lines", [LOGINS, OBJECTS], ids=["logins", "objects"])
def test_the_real_one_does_the_same(tmp_path: Path, lines: list[str]) -> None:
    assert REAL
    stand_in, real = (str(put_oc(tmp_path / "bin", tmp_path / "pods")), str(Path(REAL).parent))
    said, expected = (played(tmp_path / name, path, lines) for name, path in (("a", stand_in), ("b", real)))
    for own, other in zip(said, expected, strict=True):
        assert own == other


def played(folder: Path, path: str, lines: list[str]) -> list[tuple[str, object]]:
    """What is said, exit codes and at last the kubeconfig, on clusters of its own: over TLS, or oc sends no token."""
    certificate, _ = self_signed(folder / "tls", "api")
    tls = Tls(certificate, certificate.with_suffix(".key"))
    desk = Desk(folder, path)
    (folder / "claim.yaml").write_text(CLAIM)
    with (
        openshift_cluster(folder / "old", "3.11", tls, {OLD_TOKEN: "ann"}) as old,
        openshift_cluster(folder / "new", "4", tls, {NEW_TOKEN: "ann"}) as new,
    ):
        old.add_project("my-app", "ann")
        for name in ("my-app-2", "two"):
            new.add_project(name, "ann")
        for kind, name, more in SEEDS:
            new.apply({"kind": kind, "metadata": {"name": name, "namespace": "my-app-2"}, **more})
        names = {"old": old.api_url, "new": new.api_url, "ca": str(certificate)}
        known = {nick(old.api_url): "OLD", nick(new.api_url): "NEW", str(folder): "HOME"}
        known |= {url.partition("//")[2]: end for end, url in (("OLD", old.api_url), ("NEW", new.api_url))}

        def plain(text: str) -> str:
            for own, word in known.items():
                text = text.replace(own, word)
            return WARNING.sub("", VARYING.sub("VARYING", text))

        rows: list[tuple[str, object]] = []
        for line in lines:
            ran = desk.start(line.format(token=NEW_TOKEN, old_token=OLD_TOKEN, **names))
            words = () if OWN_WORDS.search(line) else (plain(ran.stdout), plain(ran.stderr))
            rows.append((line, (ran.returncode, *words)))
        written = yaml.safe_load(plain(desk.kubeconfig.read_text()))
    entries = [written.pop(section) for section in ("clusters", "contexts", "users")]
    rows += [("the kubeconfig", sorted(map(json.dumps, section))) for section in entries]
    return [*rows, ("the kubeconfig", written)]
