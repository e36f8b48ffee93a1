"""The stand-in for OpenShift's API, against what real servers were seen to answer."""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from registrylab.client import LabClient, missing_from
from registrylab.cluster import OpenShiftCluster, openshift_cluster
from registrylab.gateway import Answer
from registrylab.images import OCI_MANIFEST, make_image, make_index, make_layer
from registrylab.kubeapi import login_page, server_error, strike, throttled
from registrylab.openshift import TERMINATING
from registrylab.registry import Tls
from registrylab.tokens import self_signed

ALICE, BOB, ROOT = "sha256~alice", "sha256~bob", "sha256~root"
IMAGE = make_image([make_layer("one", 2_000)], family="oci")
OTHER = make_image([make_layer("two", 2_000)])
IMAGES, RBAC = "/apis/image.openshift.io/v1", "/apis/rbac.authorization.k8s.io/v1"
OLD_BINDINGS = "/apis/authorization.openshift.io/v1/namespaces/alpha/rolebindings"
STREAMS, ISTAGS = f"{IMAGES}/namespaces/alpha/imagestreams", f"{IMAGES}/namespaces/alpha/imagestreamtags"
BINDINGS = f"{RBAC}/namespaces/alpha/rolebindings"
INTERNAL = "image-registry.openshift-image-registry.svc:5000"
ANYBODY = {"kind": "User", "name": "system:anonymous", "apiGroup": "rbac.authorization.k8s.io"}
NOBODY_YET = {"kind": "Group", "name": "system:unauthenticated", "apiGroup": "rbac.authorization.k8s.io"}


@dataclass
class Asker:
    """Asks one cluster; JSON in and out."""

    http: httpx2.Client

    def __call__(
        self, method: str, path: str, body: object = None, token: str = ALICE, kind: str = "", **query: object
    ) -> httpx2.Response:
        headers = {"User-Agent": "asker/1", **({"Authorization": f"Bearer {token}"} if token else {})}
        if body is not None:
            headers["Content-Type"] = kind or "application/json"
        content = None if body is None else json.dumps(body).encode()
        return self.http.request(method, path, content=content, headers=headers, params=query)  # type: ignore[arg-type]

    def login(self, token: str = ALICE) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    def apply(self, path: str, body: object, manager: str = "mig", token: str = ALICE, **query: object) -> Any:
        named = {"fieldManager": manager} if manager else {}
        return self("PATCH", path, body, token, "application/apply-patch+yaml", **named, **query)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OpenShiftCluster]:
    """alice is admin of alpha and beta, bob of nothing, root of everything."""
    with openshift_cluster(tmp_path / "cluster") as made:
        yield set_up(made)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[OpenShiftCluster]:
    with openshift_cluster(tmp_path / "old", "3.11") as made:
        yield set_up(made)


def set_up(made: OpenShiftCluster) -> OpenShiftCluster:
    for name, token in (("alice", ALICE), ("bob", BOB)):
        made.add_user(name, token)
    made.add_user("root", ROOT, cluster_role="cluster-admin")
    made.add_project("alpha", "alice")
    made.add_project("beta", "alice")
    return made


@pytest.fixture
def ask(cluster: OpenShiftCluster) -> Iterator[Asker]:
    with httpx2.Client(base_url=cluster.api_url, trust_env=False) as http:
        yield Asker(http)


@pytest.fixture
def ask_old(old: OpenShiftCluster) -> Iterator[Asker]:
    with httpx2.Client(base_url=old.api_url, trust_env=False) as http:
        yield Asker(http)


def push(cluster: OpenShiftCluster, repository: str, *tags: str, image: Any = IMAGE, token: str = ALICE) -> None:
    with LabClient(cluster.registry.seen_by(token)) as client:
        client.push(repository, image, *tags)


def pulls(cluster: OpenShiftCluster, repository: str, token: str = "") -> bool:
    """Whether skopeo can read an image, tag 1."""
    login = [f"--creds=unused:{token}"] if token else ["--no-creds"]
    argv = [
        "skopeo",
        "inspect",
        "--raw",
        "--tls-verify=false",
        *login,
        f"docker://{cluster.registry.host}/{repository}:1",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0 or "authentication required" in ran.stderr, ran.stderr
    return ran.returncode == 0


def said(answer: httpx2.Response) -> tuple[int, str, str]:
    """Code, reason and message of a Status."""
    status = answer.json()
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", answer.status_code)
    return answer.status_code, status.get("reason", ""), status["message"]


def denied(what: str, user: str, verb: str, resource: str, where: str) -> tuple[int, str, str]:
    """What Kubernetes says where RBAC allows nothing; `what` has the name that was asked for, if any."""
    name, _, group = resource.partition(".")
    words = f'User "{user}" cannot {verb} resource "{name}" in API group "{group}" {where}'
    return 403, "Forbidden", f"{what} is forbidden: {words}"


def binding(name: str, role: str, *subjects: object, **metadata: object) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, **metadata},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


def stream(name: str, *tags: dict[str, Any], **metadata: object) -> dict[str, Any]:
    spec = {"tags": list(tags)} if tags else {}
    return {
        "apiVersion": "image.openshift.io/v1",
        "kind": "ImageStream",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


def istag(name: str, source: str, kind: str = "ImageStreamTag", **where: str) -> dict[str, Any]:
    """As `oc tag` sends it."""
    tag = {"name": name.rpartition(":")[2], "from": {"kind": kind, "name": source, **where}}
    return {
        "apiVersion": "image.openshift.io/v1",
        "kind": "ImageStreamTag",
        "metadata": {"name": name},
        "tag": {**tag, "referencePolicy": {"type": "Source"}},
    }


# --- who is let in ------------------------------------------------------------------------------------------------

SUBJECTS = {
    ("User", "system:anonymous"): (True, False),
    ("Group", "system:unauthenticated"): (True, False),
    ("User", "system:unauthenticated"): (False, False),
    ("Group", "system:anonymous"): (False, False),
    ("Group", "system:authenticated"): (False, True),
}
"""Subject of a binding -> whether one without a login pulls, whether bob does."""
ROLES = ("registry-viewer", "system:image-puller", "registry-editor", "view")


def test_the_matrix_of_anonymous_pulls(cluster: OpenShiftCluster) -> None:
    push(cluster, "alpha/app", "1")
    cells = {f"p{at}": (role, subject) for at, (role, subject) in enumerate((r, s) for r in ROLES for s in SUBJECTS)}
    source = {"kind": "ImageStreamTag", "name": "app:1", "namespace": "alpha"}
    for project, (role, (kind, name)) in cells.items():
        cluster.add_project(project)
        item = stream("app", {"name": "1", "from": source}, namespace=project)
        cluster.apply(item)
        cluster.bind(project, role, {"kind": kind, "name": name})

    def seen(project: str) -> tuple[bool, bool]:
        return pulls(cluster, f"{project}/app"), pulls(cluster, f"{project}/app", BOB)

    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(cells, pool.map(seen, cells), strict=True))
    assert answers == {project: SUBJECTS[subject] for project, (_, subject) in cells.items()}
    for project, (role, _) in cells.items():
        decided = cluster.can_pull(None, f"{project}/app"), cluster.can_pull("bob", f"{project}/app")
        assert decided == answers[project]
        cluster.delete("RoleBinding", project, role)
        assert not cluster.can_pull(None, f"{project}/app") and not cluster.can_pull("bob", f"{project}/app")
    assert not pulls(cluster, "p0/app")


def test_a_granular_role_opens_one_stream_and_needs_the_group_with_a_name(
    cluster: OpenShiftCluster, ask: Asker
) -> None:
    push(cluster, "alpha/app", "1")
    push(cluster, "alpha/pre", "1")

    def role(groups: list[str], verbs: list[str], *names: str) -> None:
        rule = {"apiGroups": groups, "resources": ["imagestreams/layers"], "resourceNames": [*names], "verbs": verbs}
        body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "gran"}}
        answer = ask.apply(f"{RBAC}/namespaces/alpha/roles/gran", {**body, "rules": [rule]})
        assert answer.is_success, answer.text

    role(["image.openshift.io"], ["get"], "app")
    bob = {"kind": "User", "name": "bob"}
    body = binding("gran", "gran", bob) | {"roleRef": {"kind": "Role", "name": "gran"}}
    assert ask("POST", BINDINGS, body).status_code == 201
    assert pulls(cluster, "alpha/app", BOB)
    assert not pulls(cluster, "alpha/pre", BOB)
    assert not pulls(cluster, "alpha/nosuch", BOB)
    with pytest.raises(httpx2.HTTPStatusError, match="401"):
        push(cluster, "alpha/app", "bob", token=BOB)
    role(["image.openshift.io"], ["get", "update"], "app", "newone")
    push(cluster, "alpha/app", "bob", token=BOB)
    with pytest.raises(httpx2.HTTPStatusError, match="403"):
        push(cluster, "alpha/newone", "1", token=BOB)
    assert ask("POST", STREAMS, stream("newone")).status_code == 201
    push(cluster, "alpha/newone", "1", token=BOB)
    role(["image.openshift.io"], ["update"], "app")
    with pytest.raises(httpx2.HTTPStatusError, match="401"):
        push(cluster, "alpha/app", "bob2", token=BOB)
    role([""], ["get"], "app")
    assert not pulls(cluster, "alpha/app", BOB)


@pytest.mark.parametrize(
    ("role", "old_stream", "new_stream"),
    [
        ("system:image-puller", 401, 401),
        ("system:image-pusher", 201, 403),
        ("system:image-builder", 201, 201),
        ("registry-viewer", 401, 401),
        ("registry-editor", 201, 201),
        ("registry-admin", 201, 201),
        ("view", 401, 401),
        ("edit", 201, 201),
        ("admin", 201, 201),
    ],
)
def test_who_may_push_where(cluster: OpenShiftCluster, role: str, old_stream: int, new_stream: int) -> None:
    push(cluster, "alpha/there", "1")
    push(cluster, "alpha/new")
    cluster.bind("alpha", role, {"kind": "User", "name": "bob"})
    assert pulls(cluster, "alpha/there", BOB)
    with httpx2.Client(base_url=f"http://{cluster.registry.host}", trust_env=False) as http:
        headers = {"Authorization": f"Bearer {BOB}", "Content-Type": OCI_MANIFEST}
        for name, status in (("there", old_stream), ("new", new_stream)):
            put = http.put(f"/v2/alpha/{name}/manifests/2", content=IMAGE.body, headers=headers)
            assert (name, put.status_code) == (name, status)


def test_service_accounts_and_the_bindings_that_each_project_has(cluster: OpenShiftCluster, ask: Asker) -> None:
    push(cluster, "alpha/app", "1")
    for account in ("default", "builder"):
        made = ask(
            "POST",
            f"/api/v1/namespaces/alpha/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        )
        cluster.users[account] = cluster.users[made.json()["status"]["token"]]
    assert cluster.users["builder"] == "system:serviceaccount:alpha:builder"
    assert pulls(cluster, "alpha/app", "default")
    push(cluster, "alpha/built", "1", token="builder")
    cluster.add_service_account("beta", "mover", "mover")
    assert not pulls(cluster, "alpha/app", "mover")
    cluster.bind("alpha", "system:image-puller", {"kind": "ServiceAccount", "name": "mover", "namespace": "beta"})
    assert pulls(cluster, "alpha/app", "mover")
    assert cluster.can_pull("system:serviceaccount:beta:mover", "alpha/app")


def test_logins(cluster: OpenShiftCluster, ask: Asker) -> None:
    me = "/apis/user.openshift.io/v1/users/~"
    assert ask("GET", me).json()["metadata"]["name"] == "alice"
    assert ask("GET", me).json()["groups"] == ["system:authenticated", "system:authenticated:oauth"]
    assert said(ask("GET", me, token="wrong")) == (401, "Unauthorized", "Unauthorized")
    anybody = "system:anonymous"
    scope, place = "at the cluster scope", 'in the namespace "x"'
    assert said(ask("GET", me, token="")) == denied(
        'users.user.openshift.io "~"', anybody, "get", "users.user.openshift.io", scope
    )
    assert said(ask("GET", f"{IMAGES}/namespaces/x/imagestreams", token="")) == denied(
        "imagestreams.image.openshift.io", anybody, "list", "imagestreams.image.openshift.io", place
    )
    for name, status in (("alice", 200), ("nosuch", 404)):
        assert ask("GET", f"/apis/user.openshift.io/v1/users/{name}").status_code == 403
        assert ask("GET", f"/apis/user.openshift.io/v1/users/{name}", token=ROOT).status_code == status
    del cluster.users[ALICE]
    assert ask("GET", me).status_code == 401
    assert [(seen.user, seen.status) for seen in cluster.api.seen][:2] == [("alice", 200), ("alice", 200)]


def test_groups_that_an_administrator_made(cluster: OpenShiftCluster) -> None:
    cluster.add_user("carol", "carol", groups=["team"])
    cluster.add_user("dave", "dave", groups=["team"])
    cluster.bind("alpha", "view", {"kind": "Group", "name": "team"})
    assert cluster.can_pull("carol", "alpha/x") and cluster.can_pull("dave", "alpha/x")
    assert not cluster.can_pull("bob", "alpha/x")


def test_projects(cluster: OpenShiftCluster, ask: Asker) -> None:
    projects = "/apis/project.openshift.io/v1/projects"
    assert [item["metadata"]["name"] for item in ask("GET", projects).json()["items"]] == ["alpha", "beta"]
    assert ask("GET", projects, token=BOB).json()["items"] == []
    assert ask("GET", projects, token="").status_code == 403
    assert ask("GET", f"{projects}/alpha").json()["status"] == {"phase": "Active"}
    for token, name, user in ((ALICE, "nosuch", "alice"), (BOB, "alpha", "bob")):
        resource = "projects.project.openshift.io"
        assert said(ask("GET", f"{projects}/{name}", token=token)) == denied(
            f'{resource} "{name}"', user, "get", resource, f'in the namespace "{name}"'
        )
    assert said(ask("GET", f"{projects}/nosuch", token=ROOT)) == (404, "NotFound", 'namespaces "nosuch" not found')
    assert ask("GET", "/api/v1/namespaces/alpha").json()["kind"] == "Namespace"
    assert ask("GET", "/api/v1/namespaces").status_code == 403
    request = {"apiVersion": "project.openshift.io/v1", "kind": "ProjectRequest", "metadata": {"name": "gamma"}}
    requests = "/apis/project.openshift.io/v1/projectrequests"
    assert ask("POST", requests, request, BOB).status_code == 201
    taken = said(ask("POST", requests, request, ALICE))
    assert taken == (409, "AlreadyExists", 'project.project.openshift.io "gamma" already exists')
    push(cluster, "gamma/app", "1", token=BOB)
    accounts = ask("GET", "/api/v1/namespaces/gamma/serviceaccounts", token=BOB).json()["items"]
    assert [account["metadata"]["name"] for account in accounts] == ["builder", "default", "deployer"]
    assert ask("DELETE", f"{projects}/gamma", token=BOB).status_code == 200
    assert cluster.registry.projects["gamma"] == TERMINATING
    ended = ask("POST", f"{IMAGES}/namespaces/gamma/imagestreams", stream("new"), BOB)
    assert (ended.status_code, "because it is being terminated" in ended.text) == (403, True)
    with pytest.raises(httpx2.HTTPStatusError, match="500"):
        push(cluster, "gamma/app", "2", token=BOB)


def test_a_project_that_is_not_there(ask: Asker) -> None:
    path = f"{IMAGES}/namespaces/nosuch/imagestreams"
    assert ask("GET", path).status_code == 403
    assert ask("GET", path, token=ROOT).json()["items"] == []
    assert ask("GET", f"{path}/x", token=ROOT).status_code == 404
    assert said(ask("POST", path, stream("x"), ROOT)) == (404, "NotFound", 'namespaces "nosuch" not found')


# --- bindings -----------------------------------------------------------------------------------------------------


def test_nobody_gives_what_he_does_not_have(ask: Asker) -> None:
    assert ask("POST", BINDINGS, binding("a", "admin", ANYBODY)).status_code == 201
    words = (
        'rolebindings.rbac.authorization.k8s.io "cluster-admin" is forbidden: user "alice"'
        ' (groups=["system:authenticated:oauth" "system:authenticated"]) is attempting to grant RBAC permissions not'
        ' currently held:\n{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'
    )
    assert said(ask("POST", BINDINGS, binding("cluster-admin", "cluster-admin"))) == (403, "Forbidden", words)
    missing = 'clusterroles.rbac.authorization.k8s.io "nosuch" not found'
    assert said(ask("POST", BINDINGS, binding("x", "nosuch"))) == (404, "NotFound", missing)
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": [rule]}
    refused = ask("POST", f"{RBAC}/namespaces/alpha/roles", role)
    assert refused.status_code == 403
    assert '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}' in refused.json()["message"]
    resource = "rolebindings.rbac.authorization.k8s.io"
    refused = ask("GET", BINDINGS, token=BOB)
    assert said(refused) == denied(resource, "bob", "list", resource, 'in the namespace "alpha"')


def test_wrong_subjects_and_roles_are_named(ask: Asker) -> None:
    wrong = binding("x", "view", {"kind": "SystemUser", "name": "a"}, {"kind": "ServiceAccount", "name": "b"})
    refused = ask("POST", BINDINGS, wrong)
    assert said(refused)[:2] == (422, "Invalid")
    causes = {cause["field"]: cause["reason"] for cause in refused.json()["details"]["causes"]}
    assert causes == {"subjects[0].kind": "FieldValueNotSupported", "subjects[1].namespace": "FieldValueRequired"}


def test_the_older_view_of_bindings(cluster: OpenShiftCluster, ask: Asker) -> None:
    head = {"apiVersion": "authorization.openshift.io/v1", "kind": "RoleBinding"}
    body = {**head, "metadata": {"name": "orb"}, "roleRef": {"name": "registry-viewer"}}
    named = {**body, "groupNames": ["system:unauthenticated"], "userNames": ["bob", "system:serviceaccount:p:s"]}
    for dry in ({}, {"dryRun": "All"}):
        refused = ask.apply(f"{OLD_BINDINGS}/orb", named, **dry)
        assert said(refused) == (404, "NotFound", 'rolebindings.authorization.openshift.io "orb" not found')
    made = ask("POST", OLD_BINDINGS, named).json()
    assert made["subjects"] == [
        {"kind": "User", "name": "bob"},
        {"kind": "ServiceAccount", "namespace": "p", "name": "s"},
        {"kind": "SystemGroup", "name": "system:unauthenticated"},
    ]
    kept = ask("GET", f"{BINDINGS}/orb").json()
    assert kept["roleRef"]["kind"] == "ClusterRole"
    assert [subject["kind"] for subject in kept["subjects"]] == ["User", "ServiceAccount", "Group"]
    assert cluster.can_pull(None, "alpha/x")
    assert (
        ask.apply(
            f"{OLD_BINDINGS}/orb", {**body, "subjects": [{"kind": "SystemUser", "name": "system:anonymous"}]}
        ).status_code
        == 200
    )
    seen = ask("GET", f"{OLD_BINDINGS}/orb").json()
    assert (seen["userNames"], seen["groupNames"], seen["roleRef"]) == (
        ["system:anonymous"],
        None,
        {"name": "registry-viewer"},
    )
    listed = ask("GET", OLD_BINDINGS).json()
    assert (listed["apiVersion"], listed["kind"]) == ("authorization.openshift.io/v1", "RoleBindingList")
    assert [item["metadata"]["name"] for item in listed["items"]] == sorted(
        ["admin", "orb", "system:deployers", "system:image-builders", "system:image-pullers"]
    )


# --- server-side apply --------------------------------------------------------------------------------------------


def managers(item: dict[str, Any]) -> dict[str, Any]:
    return {f"{e['manager']}/{e['operation']}": e["fieldsV1"] for e in item["metadata"]["managedFields"]}


def test_apply_makes_shares_conflicts_and_forces(cluster: OpenShiftCluster, ask: Asker) -> None:
    path, wanted = f"{BINDINGS}/ssarb", binding("ssarb", "registry-viewer", ANYBODY, labels={"a": "b"})
    assert ask.apply(path, wanted, dryRun="All").status_code == 201
    assert ask("GET", path).status_code == 404
    assert ask.apply(path, wanted).status_code == 201
    fields = {"f:metadata": {"f:labels": {"f:a": {}}}, "f:roleRef": {}, "f:subjects": {}}
    first = ask("GET", path).json()
    assert managers(first) == {"mig/Apply": fields}
    again = ask.apply(path, wanted)
    assert (again.status_code, again.json()) == (200, first), "nothing changed, not even the resourceVersion"
    assert managers(ask.apply(path, wanted, "other").json()) == {"mig/Apply": fields, "other/Apply": fields}
    changed = binding("ssarb", "registry-viewer", NOBODY_YET)
    words = 'Apply failed with 2 conflicts: conflicts with "mig":\n- .subjects\nconflicts with "other":\n- .subjects'
    refused = ask.apply(path, changed, "third")
    assert said(refused) == (409, "Conflict", words)
    assert refused.json()["details"]["causes"][0] == {
        "reason": "FieldManagerConflict", "message": 'conflict with "mig"', "field": ".subjects"
    }  # fmt: skip
    forced = ask.apply(path, changed, "third", force="true").json()
    assert forced["subjects"] == [NOBODY_YET]
    assert managers(forced)["third/Apply"] == {"f:roleRef": {}, "f:subjects": {}}
    assert "f:subjects" not in managers(forced)["mig/Apply"]
    dropped = ask.apply(path, binding("ssarb", "registry-viewer", NOBODY_YET), "other").json()
    assert dropped["metadata"]["labels"] == {"a": "b"}, "mig has it still"


def test_what_only_one_manager_wanted_goes_with_its_wish(ask: Asker) -> None:
    path = f"{STREAMS}/s"
    ask.apply(path, stream("s", labels={"a": "1", "b": "2"}))
    ask("PATCH", path, {"metadata": {"labels": {"c": "3"}}}, kind="application/merge-patch+json")
    after = ask.apply(path, stream("s", labels={"b": "2"})).json()
    assert after["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert managers(after)["asker/Update"] == {"f:metadata": {"f:labels": {"f:c": {}}}}
    assert said(ask.apply(path, stream("s", labels={"c": "4"})))[2] == (
        'Apply failed with 1 conflict: conflict with "asker" using image.openshift.io/v1: .metadata.labels.c'
    )


def test_apply_refuses(ask: Asker) -> None:
    path, wanted = f"{BINDINGS}/b", binding("b", "registry-viewer", ANYBODY)
    refused = ask.apply(path, wanted, "")
    assert (refused.status_code, "fieldManager: Required value" in refused.text) == (422, True)
    version = ask.apply(path, wanted).json()["metadata"]["resourceVersion"]
    ask.apply(path, binding("b", "registry-viewer", NOBODY_YET))
    stale = binding("b", "registry-viewer", ANYBODY, resourceVersion=version)
    assert said(ask.apply(path, stale, force="true"))[:2] == (409, "Conflict")
    other_role = ask.apply(path, binding("b", "view", NOBODY_YET), force="true")
    assert said(other_role) == (
        422,
        "Invalid",
        'RoleBinding.rbac.authorization.k8s.io "b" is invalid: roleRef: Invalid value:'
        ' {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"view"}: cannot change roleRef',
    )
    assert ".bogus: field not declared in schema" in ask.apply(path, {**wanted, "bogus": 1}).text
    refused = ask.apply(path, wanted, token=BOB)
    assert 'User "bob" cannot patch resource "rolebindings"' in said(refused)[2]


# --- image streams ------------------------------------------------------------------------------------------------


def test_a_push_makes_a_stream_with_its_history(cluster: OpenShiftCluster, ask: Asker) -> None:
    push(cluster, "alpha/app", "1")
    push(cluster, "alpha/app", "1", image=OTHER)
    item = ask("GET", f"{STREAMS}/app").json()
    assert item["spec"] == {"lookupPolicy": {"local": False}}
    assert item["status"]["dockerImageRepository"] == f"{INTERNAL}/alpha/app"
    assert item["status"]["publicDockerImageRepository"] == f"{cluster.registry.host}/alpha/app"
    (tag,) = item["status"]["tags"]
    assert [event["image"] for event in tag["items"]] == [OTHER.digest, IMAGE.digest]
    assert tag["items"][0]["dockerImageReference"] == f"{INTERNAL}/alpha/app@{OTHER.digest}"
    assert set(tag["items"][0]) == {"created", "dockerImageReference", "image", "generation"}
    found = ask("GET", f"{ISTAGS}/app:1").json()
    assert found["image"]["dockerImageReference"] == f"{INTERNAL}/alpha/app@{OTHER.digest}"
    assert found["image"]["dockerImageMetadata"]["Config"]["Cmd"] == ["/srv/start"]
    assert len(found["image"]["dockerImageLayers"]) == 1
    by_digest = ask("GET", f"{IMAGES}/namespaces/alpha/imagestreamimages/app@{IMAGE.digest}").json()
    assert by_digest["image"]["dockerImageManifestMediaType"] == OCI_MANIFEST
    for name, resource in (("app:nosuch", "imagestreamtags"), ("nosuch:1", "imagestreams")):
        shown = name if resource == "imagestreamtags" else "nosuch"
        words = f'{resource}.image.openshift.io "{shown}" not found'
        assert said(ask("GET", f"{ISTAGS}/{name}")) == (404, "NotFound", words)
    resource = "images.image.openshift.io"
    assert said(ask("GET", f"{IMAGES}/images/{IMAGE.digest}")) == denied(
        f'{resource} "{IMAGE.digest}"', "alice", "get", resource, "at the cluster scope"
    )
    assert ask("GET", f"{IMAGES}/images/{IMAGE.digest}", token=ROOT).status_code == 200


def test_an_index_shows_its_children(cluster: OpenShiftCluster, ask: Asker) -> None:
    push(cluster, "alpha/multi", "1", image=make_index({"linux/amd64": IMAGE, "linux/arm64": OTHER}, family="oci"))
    image = ask("GET", f"{ISTAGS}/multi:1").json()["image"]
    assert [child["architecture"] for child in image["dockerImageManifests"]] == ["amd64", "arm64"]
    with LabClient(cluster.registry.seen_by(ALICE)) as client:
        assert missing_from(client, "alpha/multi", "1") == []


def test_tags_of_tags_are_pulled_through_the_registry(cluster: OpenShiftCluster, ask: Asker) -> None:
    push(cluster, "alpha/hist", "latest")
    tagged = ask("PUT", f"{ISTAGS}/tagged:1", istag("tagged:1", f"hist@{IMAGE.digest}", "ImageStreamImage"))
    assert tagged.status_code == 201
    crossing = istag("crossns:1", f"hist@{IMAGE.digest}", "ImageStreamImage", namespace="alpha")
    assert ask("POST", f"{IMAGES}/namespaces/beta/imagestreamtags", crossing).status_code == 201
    assert ask("PUT", f"{ISTAGS}/hist:1", istag("hist:1", "hist:latest")).status_code == 201
    made = ask("GET", f"{STREAMS}/tagged").json()
    assert made["spec"]["tags"] == [
        {
            "annotations": None,
            "from": {"kind": "ImageStreamImage", "name": f"hist@{IMAGE.digest}"},
            "generation": 1,
            "importPolicy": {"importMode": "Legacy"},
            "name": "1",
            "referencePolicy": {"type": "Source"},
        }
    ]
    assert made["status"]["tags"][0]["items"][0]["dockerImageReference"] == f"{INTERNAL}/alpha/tagged@{IMAGE.digest}"
    with LabClient(cluster.registry.seen_by(ALICE)) as client:
        for repository in ("alpha/tagged", "beta/crossns", "alpha/hist"):
            assert missing_from(client, repository, "1") == []
        assert client.tags("alpha/hist") == ["1", "latest"]
        assert client.manifest("alpha/tagged", OTHER.digest) is None
    assert pulls(cluster, "beta/crossns", ALICE)
    push(cluster, "alpha/hist", "latest", image=OTHER)
    newest = [tag["items"][0]["image"] for tag in ask("GET", f"{STREAMS}/hist").json()["status"]["tags"]]
    assert newest == [OTHER.digest, OTHER.digest], "an alias follows, in its own stream"
    assert len(ask("GET", ISTAGS).json()["items"]) == 3


def test_what_a_tag_names_must_be_there(cluster: OpenShiftCluster, ask: Asker) -> None:
    latest = {"name": "latest", "from": {"kind": "ImageStreamTag", "name": "ociapp:v1"}}
    refused = ask("POST", STREAMS, stream("ssais", latest))
    assert said(refused) == (
        422,
        "Invalid",
        'ImageStream.image.openshift.io "ssais" is invalid: []: Internal error: imagestreams "ssais" is invalid:'
        ' spec.tags[latest].from.name: Not found: "ociapp:v1"',
    )
    refused = ask("POST", ISTAGS, istag("x:latest", "ociapp:v1"))
    assert (refused.status_code, "spec.tags[latest].from.name: Not found" in refused.text) == (422, True)
    push(cluster, "alpha/ociapp", "other")
    assert ask("POST", STREAMS, stream("ssais", latest)).status_code == 201, "the stream is there, that is enough"
    assert "tags" not in ask("GET", f"{STREAMS}/ssais").json()["status"]
    assert ask("POST", ISTAGS, istag("ssais:latest", "ociapp:other")).json()["reason"] == "AlreadyExists"
    cluster.add_project("gamma", "bob")
    crossing = istag("y:1", "ociapp:other", namespace="alpha")
    refused = ask("POST", f"{IMAGES}/namespaces/gamma/imagestreamtags", crossing, BOB)
    assert "spec.tags[1].from: Forbidden: alpha/ociapp" in refused.json()["message"]


def test_a_docker_image_is_not_imported_and_a_push_to_its_tag_wins(cluster: OpenShiftCluster, ask: Asker) -> None:
    body = istag("external:1", "docker.io/library/busybox:1", "DockerImage")
    assert ask("PUT", f"{ISTAGS}/external:1", body).status_code == 201
    assert "tags" not in ask("GET", f"{STREAMS}/external").json()["status"]
    assert ask("GET", f"{ISTAGS}/external:1").status_code == 404
    with LabClient(cluster.registry.seen_by(ALICE)) as client:
        assert client.tags("alpha/external") == []
    push(cluster, "alpha/external", "1")
    item = ask("GET", f"{STREAMS}/external").json()
    assert item["spec"]["tags"][0]["from"]["name"] == "docker.io/library/busybox:1"
    assert item["status"]["tags"][0]["items"][0]["image"] == IMAGE.digest
    assert ask.apply(f"{STREAMS}/external", stream("external", labels={"a": "b"})).status_code == 200
    assert ask("GET", f"{STREAMS}/external").json()["status"] == item["status"]


def test_status_in_a_write_is_dropped_and_two_managers_agree_on_a_tag(cluster: OpenShiftCluster, ask: Asker) -> None:
    push(cluster, "alpha/app", "1")
    exported = ask("GET", f"{STREAMS}/app").json()
    body = {**exported, "metadata": {"name": "copy", "labels": {"a": "b"}}, "spec": {"lookupPolicy": {"local": True}}}
    made = ask.apply(f"{STREAMS}/copy", body).json()
    assert ("tags" in made["status"], made["spec"]) == (False, {"lookupPolicy": {"local": True}})
    assert made["metadata"]["labels"] == {"a": "b"}
    tag = {"name": "latest", "from": {"kind": "ImageStreamTag", "name": "app:1"}, "referencePolicy": {"type": "Local"}}
    wanted = stream("two", tag)
    assert [ask.apply(f"{STREAMS}/two", wanted, who).status_code for who in ("mig", "mig", "other")] == [201, 200, 200]
    assert set(managers(ask("GET", f"{STREAMS}/two").json())) == {"mig/Apply", "other/Apply"}


def test_deleting_tags_and_streams(cluster: OpenShiftCluster, ask: Asker) -> None:
    push(cluster, "alpha/app", "1", "2")
    assert ask("DELETE", f"{ISTAGS}/app:1").status_code == 200
    assert ask("DELETE", f"{ISTAGS}/app:1").status_code == 404
    with LabClient(cluster.registry.seen_by(ALICE)) as client:
        assert client.tags("alpha/app") == ["2"]
    metadata = ask("GET", f"{STREAMS}/app").json()["metadata"]
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        refused = ask("DELETE", f"{STREAMS}/app", {"preconditions": wrong})
        assert (refused.status_code, "Precondition failed" in refused.text) == (409, True)
    assert ask.http.request("DELETE", f"{STREAMS}/app", content=b"?", headers=ask.login()).status_code == 400
    right = {"preconditions": {key: metadata[key] for key in ("uid", "resourceVersion")}}
    assert ask("DELETE", f"{STREAMS}/app", right).json()["status"] == "Success"
    assert "alpha/app" not in cluster.registry.streams


def test_writes_that_come_too_late(ask: Asker) -> None:
    first = ask("POST", STREAMS, stream("s")).json()
    assert ask("POST", STREAMS, stream("s")).json()["reason"] == "AlreadyExists"
    body = {**first, "spec": {"lookupPolicy": {"local": True}}}
    second = ask("PUT", f"{STREAMS}/s", body).json()
    assert (first["metadata"]["generation"], second["metadata"]["generation"]) == (1, 2)
    words = (
        'Operation cannot be fulfilled on imagestreams.image.openshift.io "s": the object has been modified; please'
        " apply your changes to the latest version and try again"
    )
    assert said(ask("PUT", f"{STREAMS}/s", body)) == (409, "Conflict", words)
    assert said(ask("PUT", f"{STREAMS}/s", stream("s")))[:2] == (422, "Invalid")
    assert said(ask("PUT", f"{STREAMS}/nosuch", stream("nosuch")))[:2] == (404, "NotFound")


def test_lists_come_in_pages(cluster: OpenShiftCluster, ask: Asker) -> None:
    for number in range(7):
        cluster.apply(stream(f"s{number}", namespace="alpha", labels={"odd": str(number % 2)}))
    page = ask("GET", STREAMS, limit=3).json()
    assert page["metadata"]["remainingItemCount"] == 4
    assert "kind" not in page["items"][0]
    names = [item["metadata"]["name"] for item in page["items"]]
    while token := page["metadata"].get("continue"):
        page = ask("GET", STREAMS, limit=3, **{"continue": token}).json()
        names += [item["metadata"]["name"] for item in page["items"]]
    assert names == [f"s{number}" for number in range(7)]
    chosen = ask("GET", STREAMS, labelSelector="odd=1", limit=2).json()
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["s1", "s3"]
    assert "remainingItemCount" not in chosen["metadata"]
    assert ask("GET", STREAMS, limit=2, **{"continue": "nonsense"}).status_code == 400
    cluster.world.store.compacted = cluster.world.store.revision
    assert said(ask("GET", STREAMS, **{"continue": chosen["metadata"]["continue"]}))[:2] == (410, "Expired")
    assert ask("GET", f"{IMAGES}/imagestreams").status_code == 403
    assert len(ask("GET", f"{IMAGES}/imagestreams", token=ROOT).json()["items"]) == 7


# --- reviews, limits, faults --------------------------------------------------------------------------------------


def review(kind: str, **spec: object) -> dict[str, Any]:
    return {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {}, "spec": spec}


def test_access_reviews(cluster: OpenShiftCluster, ask: Asker) -> None:
    reviews = "/apis/authorization.k8s.io/v1"
    local = f"{reviews}/namespaces/alpha/localsubjectaccessreviews"
    wish = {"namespace": "alpha", "verb": "get", "group": "image.openshift.io", "resource": "imagestreams"}
    pull = {**wish, "subresource": "layers", "name": "app"}
    cluster.bind("alpha", "registry-viewer", NOBODY_YET)
    nobody = {"user": "system:anonymous", "groups": ["system:unauthenticated"]}
    for who, allowed in ((nobody, True), ({"user": "system:anonymous"}, False), ({"user": "bob"}, False)):
        answer = ask("POST", local, review("LocalSubjectAccessReview", resourceAttributes=pull, **who))
        assert (answer.status_code, answer.json()["status"]["allowed"]) == (201, allowed)
    answer = ask("POST", local, review("LocalSubjectAccessReview", resourceAttributes=pull, **nobody))
    role = 'RoleBinding "registry-viewer/alpha" of ClusterRole "registry-viewer"'
    reason = f'RBAC: allowed by {role} to Group "system:unauthenticated"'
    assert answer.json()["status"] == {"allowed": True, "reason": reason}
    elsewhere = {**pull, "namespace": "beta"}
    for attributes, token, status in ((elsewhere, ALICE, 400), (pull, BOB, 403), (pull, "", 403)):
        body = review("LocalSubjectAccessReview", resourceAttributes=attributes, user="bob")
        assert ask("POST", local, body, token).status_code == status
    asked = review("SubjectAccessReview", resourceAttributes=pull, user="bob")
    assert ask("POST", f"{reviews}/subjectaccessreviews", asked).status_code == 403
    assert ask("POST", f"{reviews}/subjectaccessreviews", asked, ROOT).status_code == 201
    own = review("SelfSubjectAccessReview", resourceAttributes=pull)
    answers = [ask("POST", f"{reviews}/selfsubjectaccessreviews", own, token) for token in (ALICE, BOB)]
    assert [answer.json()["status"]["allowed"] for answer in answers] == [True, False]
    assert ask("POST", f"{reviews}/selfsubjectaccessreviews", own, "").status_code == 403


def test_quotas_and_limits_of_images(cluster: OpenShiftCluster, ask: Asker) -> None:
    push(cluster, "alpha/one", "1")
    push(cluster, "alpha/two")
    cluster.quotas["alpha", "ImageStream"] = 1
    used = "openshift.io/imagestreams=1"
    counts = f"requested: {used}, used: {used}, limited: {used}"
    words = f'imagestreams.image.openshift.io "two" is forbidden: exceeded quota: quota, {counts}'
    assert said(ask("POST", STREAMS, stream("two"))) == (403, "Forbidden", words)
    assert "exceeded quota" in ask("PUT", f"{ISTAGS}/two:1", istag("two:1", "one:1")).text
    with pytest.raises(httpx2.HTTPStatusError, match="403"):
        push(cluster, "alpha/two", "1")
    del cluster.quotas["alpha", "ImageStream"]
    limits = [{"type": "openshift.io/Image", "max": {"storage": "1Ki"}}]
    head = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "images", "namespace": "alpha"}}
    cluster.apply({**head, "spec": {"limits": limits}})
    assert ask("GET", "/api/v1/namespaces/alpha/limitranges").json()["items"][0]["spec"]["limits"] == limits
    assert cluster.registry.image_limits["alpha"] == 1024
    with pytest.raises(httpx2.HTTPStatusError, match="403"):
        push(cluster, "alpha/two", "1")
    cluster.delete("LimitRange", "alpha", "images")
    push(cluster, "alpha/two", "1")


def test_faults_strike_as_often_as_told(cluster: OpenShiftCluster, ask: Asker) -> None:
    cluster.api.faults += [
        strike("GET", "/imagestreams/x$", server_error()),
        strike("GET", "/imagestreams/x$", throttled(3)),
        strike("GET", "/imagestreams/x$", login_page()),
        strike("GET", "/imagestreams/x$", None),
        strike("", "/imagestreams/x$", Answer(200, (("Content-Type", "application/json"),), b'{"kind": "Im', cut=4)),
    ]
    path = f"{STREAMS}/x"
    assert ask("GET", path).status_code == 500
    slow = ask("GET", path)
    assert (slow.status_code, slow.headers["Retry-After"], said(slow)[1]) == (429, "3", "TooManyRequests")
    assert "<title>" in ask("GET", path).text
    for _ in range(2):
        with pytest.raises(httpx2.TransportError):
            ask("GET", path)
    assert ask("GET", path).status_code == 404
    assert [seen.status for seen in cluster.api.seen] == [500, 429, 200, 0, 200, 404]


def test_a_kubeconfig_over_tls(tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path / "tls", "api")
    tls = Tls(certificate, certificate.with_suffix(".key"))
    with openshift_cluster(tmp_path / "secure", "4", tls, {ALICE: "alice"}) as secure:
        secure.add_project("alpha", "alice")
        read = yaml.safe_load(secure.kubeconfig({"n": ALICE}, "alpha"))
        assert read["current-context"] == read["contexts"][0]["name"] == "n"
        server = read["clusters"][0]["cluster"]
        assert server["server"] == secure.api_url
        context = ssl.create_default_context(cafile=str(certificate))
        with httpx2.Client(base_url=secure.api_url, verify=context, trust_env=False) as http:
            asker = Asker(http)
            assert asker("GET", "/version").json()["minor"] == "36"
            assert asker("GET", STREAMS, token=read["users"][0]["user"]["token"]).json()["items"] == []
        push(secure, "alpha/app", "1")
        assert pulls(secure, "alpha/app", ALICE)


# --- 3.11 ---------------------------------------------------------------------------------------------------------


def test_what_openshift_4_no_longer_has(ask: Asker) -> None:
    for path in ("/oapi/v1", "/oapi/v1/namespaces/alpha/rolebindings", "/apis/nosuch.io/v1"):
        assert (path, ask("GET", path).status_code) == (path, 404)
    assert ask("GET", "/oapi/v1/namespaces/alpha/rolebindings", token="").status_code == 403
    assert [ask("GET", path).status_code for path in ("/version", "/healthz", "/api", "/apis", IMAGES)] == [200] * 5
    assert ask("GET", "/version", token="").status_code == 200


def test_openshift_3_11(old: OpenShiftCluster, ask_old: Asker) -> None:
    assert ask_old("GET", "/version").json()["minor"] == "11+"
    path = f"{BINDINGS}/x"
    refused = ask_old.apply(path, binding("x", "view", ANYBODY))
    assert said(refused)[:2] == (415, "UnsupportedMediaType")
    push(old, "alpha/app", "1")
    item = ask_old("GET", "/oapi/v1/namespaces/alpha/imagestreams/app").json()
    assert (item["apiVersion"], item["status"]["dockerImageRepository"]) == (
        "v1",
        "docker-registry.default.svc:5000/alpha/app",
    )
    assert "managedFields" not in item["metadata"]
    assert ask_old("GET", "/oapi/v1/namespaces/alpha/imagestreamtags/app:1").json()["kind"] == "ImageStreamTag"
    listed = ask_old("GET", "/oapi/v1/namespaces/alpha/rolebindings").json()
    assert listed["apiVersion"] == "v1"
    groups = {item["metadata"]["name"]: item["groupNames"] for item in listed["items"]}
    assert groups["system:image-pullers"] == ["system:serviceaccounts:alpha"]
    body = {"apiVersion": "v1", "kind": "RoleBinding", "metadata": {"name": "o"}, "roleRef": {"name": "view"}}
    made = ask_old("POST", "/oapi/v1/namespaces/alpha/rolebindings", {**body, "userNames": ["system:anonymous"]})
    assert (made.status_code, old.can_pull(None, "alpha/app")) == (201, True)
    assert ask_old("GET", f"{BINDINGS}/o").json()["subjects"] == [ANYBODY]
    resource = "imagestreams.image.openshift.io"
    why = f'User "bob" cannot list {resource} in the namespace "alpha": no RBAC policy matched'
    words = f"{resource} is forbidden: {why}"
    assert said(ask_old("GET", STREAMS, token=BOB)) == (403, "Forbidden", words)
    own = review("SelfSubjectAccessReview", resourceAttributes={"verb": "get", "resource": "pods"})
    answer = ask_old("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", own, "")
    assert answer.json()["status"] == {"allowed": False, "reason": "no RBAC policy matched"}
    assert pulls(old, "alpha/app")


def test_what_is_seeded_has_its_tags(old: OpenShiftCluster, ask_old: Asker) -> None:
    event = {"created": "2019-01-02T03:04:05Z", "dockerImageReference": "docker.io/library/x@" + IMAGE.digest}
    tags = [{"tag": "1", "items": [{**event, "image": IMAGE.digest, "generation": 2}]}]
    old.apply({**stream("seeded", namespace="alpha"), "status": {"tags": tags}})
    assert ask_old("GET", f"{STREAMS}/seeded").json()["status"]["tags"] == tags
    assert old.registry.streams["alpha/seeded"] == {"1": [IMAGE.digest]}
