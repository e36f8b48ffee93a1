"""Copies into and out of a registry that answers as OpenShift 4's does: image streams, rights, late refusals, 500s."""

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import Ends
from processes import skopeos
from registrylab.client import LabClient, missing_from, skopeo_copy
from registrylab.images import (
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    make_image,
    make_index,
    make_layer,
    sha256,
)
from registrylab.openshift import (
    ACTIVE,
    ANONYMOUS,
    EDITOR,
    PUSHER,
    TERMINATING,
    VIEWER,
    OpenShiftRegistry,
    openshift_registry,
)
from registrylab.registry import USER, LabRegistry, Tls, registry
from registrylab.tokens import self_signed

ANN, ADMIN = "sha256~ann", "sha256~admin"
BASE = make_layer("base", 40_000)
IMAGE = make_image([BASE, make_layer("one", 5_000)])
OCI = make_image([BASE, make_layer("one", 5_000)], family="oci")
LIST = make_index(
    {
        f"linux/{architecture}": make_image([BASE, make_layer(architecture, 5_000)], architecture=architecture)
        for architecture in ("amd64", "arm64")
    }
)
NOWHERE = sha256(b"nothing has this digest")


@pytest.fixture
def openshift(tmp_path: Path) -> Iterator[OpenShiftRegistry]:
    """Projects a and b, where ann may do everything, and c, where she has no right; an administrator."""
    with openshift_registry(tmp_path / "openshift") as made:
        set_up(made)
        yield made


def set_up(made: OpenShiftRegistry) -> None:
    made.users.update({ANN: "ann", ADMIN: "admin"})
    made.cluster_admins.add("admin")
    made.projects.update(dict.fromkeys("abc", ACTIVE))
    made.rights.update({("ann", "a"): EDITOR, ("ann", "b"): EDITOR})


@pytest.fixture
def ends(tmp_path: Path, openshift: OpenShiftRegistry) -> Iterator[Ends]:
    """A source with a password and schema 1; the target is OpenShift as its administrator sees it."""
    with registry(password=True, schema1=True, folder=tmp_path / "source") as source:
        folder = tmp_path / "work"
        folder.mkdir()
        yield Ends(source, openshift.seen_by(ADMIN), folder)


TOKEN = "login: {username: whoever, tokenEnv: TOKEN}"


def plain(lab: LabRegistry) -> str:
    return f"registry: '{lab.host}', plainHttp: true, login: {{username: {USER}, passwordEnv: LAB_PASSWORD}}"


def shift(openshift: OpenShiftRegistry, login: str = TOKEN) -> str:
    return f"registry: '{openshift.host}', plainHttp: true{', ' if login else ''}{login}"


def write(ends: Ends, openshift: OpenShiftRegistry, images: str, more: str = "", login: str = TOKEN) -> Path:
    """A manifest from the source to OpenShift."""
    return write_sides(ends, plain(ends.source), shift(openshift, login), images, more)


def write_sides(ends: Ends, source: str, target: str, images: str, more: str = "") -> Path:
    path = ends.folder / "m.yaml"
    path.write_text(f"version: 1\nsource: {{{source}}}\ntarget: {{{target}}}\nimages: {images}\n{more}\n")
    return path


def histories(openshift: OpenShiftRegistry) -> Counter[int]:
    """How many tags have a history of which length."""
    return Counter(len(history) for stream in openshift.streams.values() for history in stream.values())


def tag_puts(openshift: OpenShiftRegistry) -> list[str]:
    """`repository:tag` of every put of a tag, oldest first."""
    return [f"{done.repository}:{done.identifier}" for done in openshift.puts if done.at_once]


def commits(openshift: OpenShiftRegistry) -> int:
    """How many blobs were sent."""
    return len([request for request in openshift.seen if request.phase == "commit"])


def lacking(target: LabClient) -> list[str]:
    """Images that cannot be pulled whole, each by one of its tags."""
    images = {(name.partition(":")[0], digest): name for name, digest in target.images().items()}
    return [name for name in images.values() if missing_from(target, *name.split(":"))]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


# --- the stand-in itself ----------------------------------------------------------------------------------------


def direct(openshift: OpenShiftRegistry) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://{openshift.host}", trust_env=False, verify=False)


def ask(openshift: OpenShiftRegistry, method: str, path: str, token: str = ANN, **more: str | bytes) -> httpx2.Response:
    """One request with a Bearer token; `accept` and `content_type` are headers, `body` is what is sent."""
    named = {"Accept": more.get("accept"), "Content-Type": more.get("content_type")}
    headers = {key: str(value) for key, value in named.items() if value}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    with direct(openshift) as http:
        return http.request(method, path, headers=headers, content=more.get("body"))


def put(openshift: OpenShiftRegistry, repository: str, identifier: str, image: Image, token: str = ANN) -> int:
    path = f"/v2/{repository}/manifests/{identifier}"
    return ask(openshift, "PUT", path, token, content_type=image.media_type, body=image.body).status_code


def code(answer: httpx2.Response) -> str:
    return str(answer.json()["errors"][0]["code"])


def test_the_token_endpoint_gives_back_the_password_and_looks_at_no_user_name(openshift: OpenShiftRegistry) -> None:
    realm = f"http://{openshift.host}/openshift/token"
    with direct(openshift) as http:
        asked = http.get("/v2/")
        assert (asked.status_code, asked.headers["WWW-Authenticate"]) == (401, f'Bearer realm="{realm}"')
        assert http.get(realm).json()["token"] == "anonymous"
        for user in ("ann", "bob", "unused"):
            assert http.get(realm, auth=(user, ANN)).json()["token"] == ANN
        assert http.get(realm, auth=("ann", "wrong")).status_code == 401
        for refused in (http.get("/v2/", auth=("ann", "wrong")), ask(openshift, "GET", "/v2/", "wrong")):
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == 'Basic realm=openshift,error="access denied"'
        assert http.get("/v2/", auth=("whoever", ANN)).status_code == 200
    for token in (ANN, "anonymous"):
        assert ask(openshift, "GET", "/v2/", token).status_code == 200


def test_a_repository_has_a_project_and_a_name(openshift: OpenShiftRegistry) -> None:
    with direct(openshift) as http:
        for name in ("justname", "a/b/c"):
            scope = {"scope": f"repository:{name}:pull,push"}
            refused = http.get("/openshift/token", params=scope, auth=("ann", ANN))
            assert refused.status_code == 401
            words = f'repository name "{name}" invalid: it must be of the format <project>/<name>'
            assert refused.json()["details"] == words
            assert http.get(f"/v2/{name}/tags/list", auth=("ann", ANN)).status_code == 400


def test_whoever_has_no_right_gets_401_as_if_there_were_no_project(openshift: OpenShiftRegistry) -> None:
    for repository in ("c/x", "nosuch/x"):
        for method, path in (
            ("HEAD", f"blobs/{NOWHERE}"),
            ("POST", "blobs/uploads/"),
            ("GET", "manifests/1"),
            ("PUT", "manifests/1"),
            ("GET", "tags/list"),
        ):
            asked = ask(openshift, method, f"/v2/{repository}/{path}")
            assert (method, path, asked.status_code) == (method, path, 401)
            assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    assert ask(openshift, "GET", "/v2/a/x/tags/list").status_code == 404
    openshift.rights["ann", "c/only"] = VIEWER
    assert ask(openshift, "GET", "/v2/c/x/tags/list").status_code == 401
    assert code(ask(openshift, "GET", "/v2/c/only/tags/list")) == "NAME_UNKNOWN"
    assert ask(openshift, "POST", "/v2/c/only/blobs/uploads/").status_code == 401
    openshift.rights[ANONYMOUS, "c/only"] = VIEWER
    assert ask(openshift, "GET", "/v2/c/only/tags/list", "anonymous").status_code == 404


def test_an_administrator_writes_blobs_into_no_project_and_no_manifest(openshift: OpenShiftRegistry) -> None:
    with LabClient(openshift.seen_by(ADMIN)) as client:
        client.push("nosuch/x", IMAGE)
    assert put(openshift, "nosuch/x", "1", IMAGE, ADMIN) == 403


def test_tags_appear_by_pushing_and_remember_what_they_were(openshift: OpenShiftRegistry) -> None:
    other = make_image([make_layer("other", 100)])
    with LabClient(openshift.seen_by(ANN)) as client:
        client.push("a/x", IMAGE, "1", "2")
        client.push("a/x", other, "1")
        client.push("a/x", other, "1")
        assert client.tags("a/x") == ["1", "2"]
        stored = client.manifest("a/x", IMAGE.digest)
    assert stored
    assert stored.body == IMAGE.body
    assert openshift.streams["a/x"] == {"1": [other.digest, IMAGE.digest], "2": [IMAGE.digest]}


def test_what_no_tag_names_cannot_be_read(openshift: OpenShiftRegistry) -> None:
    children = LIST.children
    with LabClient(openshift.seen_by(ANN)) as client:
        for child in children:
            client.push("a/x", child, child.digest)
        path = f"/v2/a/x/manifests/{children[0].digest}"
        assert ask(openshift, "GET", path).status_code == 500
        assert code(ask(openshift, "GET", "/v2/a/x/manifests/1")) == "NAME_UNKNOWN"
        client.push("a/x", IMAGE, "other")
        assert ask(openshift, "HEAD", path).status_code == 404
        assert code(ask(openshift, "GET", "/v2/a/x/manifests/1")) == "MANIFEST_UNKNOWN"
        assert put(openshift, "a/x", "1", LIST) == 201
        assert client.manifest("a/x", children[0].digest)
        assert missing_from(client, "a/x", "1") == []
    skopeo_copy(openshift.seen_by(ANN), "a/x:1", "b/y:1", "--all")
    assert openshift.streams["b/y"] == {"1": [LIST.digest]}


def test_an_index_is_taken_without_its_children_and_an_image_not_without_its_layers(
    openshift: OpenShiftRegistry,
) -> None:
    index = make_index({"linux/amd64": OCI}, family="oci")
    assert put(openshift, "a/x", "1", index) == 201
    asked = ask(openshift, "HEAD", "/v2/a/x/manifests/1", accept=OCI_INDEX)
    assert asked.headers["Content-Length"] == str(len(index.body))
    assert ask(openshift, "GET", f"/v2/a/x/manifests/{OCI.digest}", accept=OCI_MANIFEST).status_code == 404
    asked = ask(openshift, "PUT", "/v2/a/x/manifests/2", content_type=OCI.media_type, body=OCI.body)
    assert (asked.status_code, code(asked)) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_oci_is_given_to_those_who_ask_for_it_and_nothing_is_deleted(openshift: OpenShiftRegistry) -> None:
    with LabClient(openshift.seen_by(ANN)) as client:
        client.push("a/x", OCI, "1")
    asked = ask(openshift, "GET", "/v2/a/x/manifests/1")
    words = "OCI manifest found, but accept header does not support OCI manifests"
    assert (asked.status_code, asked.json()["errors"][0]["message"]) == (404, words)
    assert ask(openshift, "GET", "/v2/a/x/manifests/1", accept=OCI_MANIFEST).status_code == 200
    for identifier in ("1", OCI.digest):
        assert ask(openshift, "DELETE", f"/v2/a/x/manifests/{identifier}").status_code == 401


def test_lists_of_names(openshift: OpenShiftRegistry) -> None:
    openshift.streams.update({"a/empty": {}, "a/x": {tag: [NOWHERE] for tag in "312"}})
    assert ask(openshift, "GET", "/v2/a/empty/tags/list").json() == {"name": "a/empty", "tags": []}
    page = ask(openshift, "GET", "/v2/a/x/tags/list?n=2")
    assert page.json()["tags"] == ["1", "2"]
    assert ask(openshift, "GET", page.links["next"]["url"]).json()["tags"] == ["3"]
    assert ask(openshift, "GET", "/v2/_catalog").status_code == 401
    assert ask(openshift, "GET", "/v2/_catalog", ADMIN).json() == {"repositories": ["a/empty", "a/x"]}


def test_a_blob_is_mounted_for_those_who_may_read_its_origin(openshift: OpenShiftRegistry) -> None:
    with LabClient(openshift.seen_by(ADMIN)) as client:
        client.push("a/x", IMAGE, "1")
        client.push("c/x", IMAGE)
    wish = f"blobs/uploads/?mount={BASE.digest}&from="
    for repository, origin, status in (
        ("b/x", "a/x", 201),
        ("b/y", "a/nosuch", 202),
        ("b/y", "c/x", 202),
        ("c/y", "a/x", 401),
    ):
        asked = ask(openshift, "POST", f"/v2/{repository}/{wish}{origin}")
        assert (repository, origin, asked.status_code) == (repository, origin, status)
        there = ask(openshift, "HEAD", f"/v2/{repository}/blobs/{BASE.digest}").status_code
        assert there == {201: 200, 202: 404, 401: 401}[status]
        if status == 202:
            assert ask(openshift, "DELETE", asked.headers["Location"]).status_code == 204


@pytest.mark.parametrize("why", ["limit", "terminating", "name", "stream"])
def test_a_manifest_is_refused_when_everything_is_written(openshift: OpenShiftRegistry, why: str) -> None:
    repository = "a/under__score.x" if why == "name" else "a/x"
    if why == "limit":
        openshift.image_limits["a"] = 40_000
    elif why == "terminating":
        openshift.projects["a"] = TERMINATING
    elif why == "stream":
        openshift.rights["ann", "a"] = PUSHER
    with LabClient(openshift.seen_by(ANN)) as client:
        client.push(repository, IMAGE)
    assert put(openshift, repository, "1", IMAGE) == (500 if why in ("terminating", "name") else 403)
    assert openshift.streams == {}
    assert ask(openshift, "HEAD", f"/v2/{repository}/blobs/{BASE.digest}").status_code == 200


def test_more_puts_at_once_than_it_can_merge_get_500(openshift: OpenShiftRegistry) -> None:
    openshift.put_seconds = 0.5
    with LabClient(openshift.seen_by(ANN)) as client:
        client.push("a/x", IMAGE)
    threads = [threading.Thread(target=put, args=(openshift, "a/x", f"v{number}", IMAGE)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(done.status for done in openshift.puts) == {201: 4, 500: 3}
    assert put(openshift, "a/x", IMAGE.digest, IMAGE) == 201
    assert openshift.puts[-1].at_once == 0


# --- the program: what arrives ----------------------------------------------------------------------------------


def test_what_arrives_verifies_deeply_and_later_runs_put_only_what_is_new(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    source.push("shop/web", IMAGE, "1", "latest")
    source.push("shop/api", OCI, "1")
    source.push("shop/multi", LIST, "1")
    source.push_schema1("shop/legacy", IMAGE, "1")
    openshift.projects["shop-2"] = ACTIVE
    openshift.rights["ann", "shop-2"] = EDITOR
    manifest = write(ends, openshift, "[shop, {from: shop/multi, platforms: all}]", "projects: {shop: shop-2}")
    ran = ends.run("copy", manifest, TOKEN=ANN)
    assert ran.code == 0, ran.text
    there = target.images()
    assert set(there) == {name.replace("shop/", "shop-2/") for name in source.images()}
    assert lacking(target) == []
    verified = ends.run("verify", manifest, "--deep", TOKEN=ANN)
    assert (verified.code, "5 tags verified: 5 equal" in verified.out) == (0, True), verified.text
    before = len(openshift.puts)
    source.push("shop/web", make_image([BASE, make_layer("two", 500)]), "latest")
    again = ends.run("copy", manifest, TOKEN=ANN)
    assert (again.code, "1 done, 4 there already" in again.out) == (0, True), again.text
    assert {done.repository for done in openshift.puts[before:]} == {"shop-2/web"}
    assert tag_puts(openshift)[5:] == ["shop-2/web:latest"]
    assert histories(openshift) == {1: 4, 2: 1}
    assert openshift.streams["shop-2/web"]["latest"][1:] == openshift.streams["shop-2/web"]["1"]
    assert not [request for request in openshift.seen if request.method == "DELETE" and request.phase != "upload"]


def test_manifest_lists_arrive_with_children_that_can_be_read(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    source.push("a/multi", LIST, "1", "2")
    ways = {"oci": "", "docker": ", format: docker", "skopeo": ", engine: skopeo"}
    entries = [f"{{from: a/multi, to: a/{name}, platforms: all{options}}}" for name, options in ways.items()]
    ran = ends.run("run", write(ends, openshift, f"[{', '.join(entries)}]"), TOKEN=ANN)
    assert ran.code == 0, ran.text
    assert "6 tags verified: 6 equal" in ran.out
    for name in ways:
        stored = target.manifest(f"a/{name}", "2")
        assert stored
        assert stored.media_type == (DOCKER_LIST if name == "docker" else OCI_INDEX)
        children = [child["digest"] for child in stored.document["manifests"]]
        assert [bool(target.manifest(f"a/{name}", digest)) for digest in children] == [True, True]
        assert openshift.streams[f"a/{name}"] == {"1": [stored.digest], "2": [stored.digest]}
    assert lacking(target) == []


def index_without_children(source: LabClient, openshift: OpenShiftRegistry) -> Image:
    """An index that needs no conversion, whole at the source; OpenShift has the index alone."""
    children = {
        f"linux/{arch}": make_image([make_layer(arch, 500)], family="oci", architecture=arch)
        for arch in ("amd64", "arm64")
    }
    index = make_index(children, family="oci")
    source.push("a/multi", index, "1")
    assert put(openshift, "a/multi", "1", index) == 201
    return index


def test_an_index_whose_children_are_not_there_is_found_by_verify_and_mended_by_the_next_run(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    index = index_without_children(source, openshift)
    manifest = write(ends, openshift, "[{from: 'a/multi:1', platforms: all}]")
    found = ends.run("run", manifest, TOKEN=ANN)
    assert found.code == 3
    assert all(f"its part {child.digest[:19]} is missing" in found.out for child in index.children)
    mended = ends.run("run", manifest, TOKEN=ANN)
    assert (mended.code, "1 tag verified: 1 equal" in mended.out) == (0, True), mended.text
    assert missing_from(target, "a/multi", "1") == []
    assert openshift.streams["a/multi"] == {"1": [index.digest]}


def test_forty_tags_of_one_stream_are_put_two_at_a_time(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    openshift.put_seconds = 0.04
    for number in range(8):
        tags = [f"v{number}.{patch}" for patch in range(5)]
        source.push("a/x", make_image([make_layer(f"own-{number}", 1_000)]), *tags)
    ran = ends.run("copy", write(ends, openshift, "[a/x]"), "--jobs", "16", TOKEN=ANN)
    assert ran.code == 0, ran.text
    assert "40 done" in ran.out
    assert {done.status for done in openshift.puts} == {201}
    assert max(done.at_once for done in openshift.puts) <= 2
    assert len(tag_puts(openshift)) == 40
    assert histories(openshift) == {1: 40}
    assert lacking(target) == []


def test_puts_that_the_stream_cannot_merge_are_tried_again(
    ends: Ends, source: LabClient, openshift: OpenShiftRegistry
) -> None:
    openshift.put_seconds = 0.4
    with LabClient(openshift.seen_by(ANN)) as early:
        for number in range(8):
            image = make_image([make_layer(f"own-{number}", 1_000)])
            source.push("a/x", image, f"v{number}")
            early.push("a/x", image)
    manifest = write(ends, openshift, "[a/x]", "transfer: {manifestPutsPerRepository: 16}")
    ran = ends.run("copy", manifest, "--jobs", "16", TOKEN=ANN)
    assert ran.code == 0, ran.text
    assert 500 in {done.status for done in openshift.puts}
    assert "again in" in ran.err
    assert histories(openshift) == {1: 8}


def test_mounts_without_the_right_to_pull_become_uploads_and_nobody_notices(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    for repository in ("a/one", "b/two", "c/three"):
        source.push(repository, make_image([BASE, make_layer(repository, 500)]), "1")
    assert ends.run("copy", write(ends, openshift, "[a/one, b/two]"), TOKEN=ANN).code == 0
    assert ("b/two", "a/one", 201) in {(m.repository, m.origin, m.status) for m in openshift.mounts}
    openshift.rights = {("ann", "c"): EDITOR}
    openshift.mounts.clear()
    ran = ends.run("run", write(ends, openshift, "[c/three]"), TOKEN=ANN)
    assert ran.code == 0, ran.text
    assert {"a/one", "b/two"} <= {mount.origin for mount in openshift.mounts}
    assert {mount.status for mount in openshift.mounts} == {202}
    assert missing_from(target, "c/three", "1") == []


def test_an_administrator_names_a_whole_project_here_for_another_one_of_the_same_registry(
    ends: Ends, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    target.push("a/x", IMAGE, "1", "2")
    target.push("a/y", OCI, "1")
    side = shift(openshift)
    ran = ends.run("run", write_sides(ends, side, side, "[a]", "projects: {a: b}"), TOKEN=ADMIN)
    assert ran.code == 0, ran.text
    assert "3 tags verified: 3 equal" in ran.out
    assert lacking(target) == []
    assert openshift.streams["a/x"] == {"1": [IMAGE.digest], "2": [IMAGE.digest]}
    assert openshift.streams["b/y"] == {"1": [OCI.digest]}


def test_killed_between_puts_it_goes_on_and_puts_nothing_twice(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    openshift.put_seconds = 0.15
    for number in range(4):
        source.push(
            f"a/app{number % 2}", make_image([BASE, make_layer(f"own-{number}", 5_000)]), f"v{number}", "latest"
        )
    source.push("a/multi", LIST, "1")
    manifest = write(ends, openshift, "[a/app0, a/app1, {from: 'a/multi:1', platforms: all}]")
    process = ends.start("copy", manifest, "--jobs", "4", TOKEN=ANN)
    until(lambda: len(tag_puts(openshift)) >= 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: not skopeos(openshift.host), 5)
    done = recorded(ends)
    for repository, tag, digest in done:
        assert openshift.streams[repository][tag][0] == digest
        assert missing_from(target, repository, tag) == []
    time.sleep(openshift.put_seconds * 2)
    finished = len(tag_puts(openshift))
    ran = ends.run("copy", manifest, TOKEN=ANN)
    assert ran.code == 0, ran.text
    assert histories(openshift) == {1: 7}
    assert not {f"{repository}:{tag}" for repository, tag, _ in done} & set(tag_puts(openshift)[finished:])
    assert lacking(target) == []


def recorded(ends: Ends) -> list[tuple[str, str, str]]:
    """Repository, tag and digest of what the state says is done."""
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        rows = db.execute("select target, target_digest from copies where status = 'done'").fetchall()
    names = [(name.partition("/")[2].rpartition(":"), digest) for name, digest in rows]
    return [(repository, tag, digest) for (repository, _, tag), digest in names]


# --- the program: who may what ----------------------------------------------------------------------------------


def test_no_right_no_project_and_no_such_name_are_said_before_anything_is_sent_and_the_others_go_on(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    for repository in ("a/x", "c/x", "nosuch/x"):
        source.push(repository, IMAGE, "1")
    images = "[c/x, nosuch/x, {from: 'a/x:1', to: 'a/b/c:1'}, a/x]"
    ran = ends.run("copy", write(ends, openshift, images), TOKEN=ANN)
    assert ran.code == 3
    assert "denied: the login is good, but it has no right here, or there is no such project" in ran.out
    assert all(f"  {name}:1: the target tag cannot be looked up: HTTP 401" in ran.out for name in ("c/x", "nosuch/x"))
    assert "  a/b/c:1: a/b/c can be no image stream: <project>/<name> is needed" in ran.out
    assert "1 done, 3 refused" in ran.out
    assert {request.repository for request in openshift.seen if request.phase == "commit"} == {"a/x"}
    assert set(target.images()) == {"a/x:1"}


def test_each_lack_of_a_right_fails_its_own_images_only(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    """To read only; to push to streams that exist; to push to one stream."""
    for repository in ("a/x", "viewer/x", "viewer/there", "pusher/old", "pusher/new", "one/mine", "one/other"):
        source.push(repository, IMAGE, "1")
        openshift.projects[repository.partition("/")[0]] = ACTIVE
    openshift.rights.update(
        {
            ("ann", "viewer"): VIEWER,
            ("ann", "pusher"): PUSHER,
            ("ann", "one/mine"): PUSHER,
            ("ann", "one/other"): VIEWER,
        }
    )
    openshift.streams.update({"pusher/old": {}, "one/mine": {}, "one/other": {}})
    target.push("viewer/there", IMAGE)
    images = "[a/x, viewer/x, viewer/there, pusher/old, pusher/new, one/mine, one/other]"
    ran = ends.run("copy", write(ends, openshift, images), "--format", "json", TOKEN=ANN)
    assert ran.code == 3, ran.text
    ended = {event["target"].partition("/")[2]: event for event in ran.events if event["event"] in ("done", "failed")}
    done = {name for name, event in ended.items() if event["event"] == "done"}
    assert done == {"a/x:1", "pusher/old:1", "one/mine:1"} == set(target.images())
    failed = {name: event for name, event in ended.items() if name not in done}
    assert {event["class"] for event in failed.values()} == {"denied"}
    words = {
        "viewer/x:1": "authentication required",
        "viewer/there:1": "HTTP 401 Unauthorized: UNAUTHORIZED authentication required",
        "pusher/new:1": "HTTP 403 Forbidden: DENIED requested access to the resource is denied",
        "one/other:1": "authentication required",
    }
    assert [name for name, said in words.items() if said not in failed[name]["error"]] == []
    assert sum(event["event"] == "retrying" for event in ran.events) == len(failed), "a no is asked once more"


def test_a_wrong_token_is_exit_code_4(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    source.push("a/x", IMAGE, "1")
    ran = ends.run("copy", write(ends, openshift, "[a/x]"), TOKEN="sha256~wrong")
    assert ran.code == 4
    assert f"the target registry {openshift.host}: the registry does not accept the login" in ran.err
    assert "environment variable TOKEN" in ran.err
    assert "sha256~wrong" not in ran.text
    assert openshift.streams == {}


def test_a_token_that_ends_in_the_middle_stops_the_run_and_a_new_one_goes_on(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    openshift.put_seconds = 0.15
    for number in range(5):
        source.push(f"a/app{number}", make_image([make_layer(f"own-{number}", 5_000)]), "1")
    manifest = write(ends, openshift, "[a/app0, a/app1, a/app2, a/app3, a/app4]")
    process = ends.start("copy", manifest, "--jobs", "1", TOKEN=ANN)
    until(lambda: len(openshift.streams) >= 2)
    del openshift.users[ANN]
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, out + err
    assert "log in again" in err
    assert "left to do" in out
    openshift.users["sha256~new"] = "ann"
    ran = ends.run("copy", manifest, TOKEN="sha256~new")
    assert ran.code == 0, ran.text
    assert lacking(target) == []
    assert histories(openshift) == {1: 5}


def test_the_token_of_a_kubeconfig_over_tls(ends: Ends, source: LabClient, tmp_path: Path) -> None:
    source.push("a/x", IMAGE, "1")
    certificate, _ = self_signed(tmp_path / "tls", "registry")
    tls = Tls(certificate, certificate.with_suffix(".key"))
    (ends.folder / "kubeconfig").write_text(
        "contexts: [{name: rahti2, context: {cluster: c, user: ann}}]\n"
        f"users: [{{name: ann, user: {{token: {ANN}}}}}]\n"
    )
    with openshift_registry(tmp_path / "secure", tls) as secure:
        set_up(secure)
        side = f"registry: '{secure.host}', caFile: '{certificate}', login: {{kubeconfigContext: rahti2}}"
        ran = ends.run("run", write_sides(ends, plain(ends.source), side, "[a/x]"), KUBECONFIG="kubeconfig")
        assert ran.code == 0, ran.text
        with LabClient(secure.seen_by(ANN)) as client:
            assert missing_from(client, "a/x", "1") == []


# --- the program: what OpenShift refuses at the end -------------------------------------------------------------


def test_an_image_that_is_denied_at_the_end_fails_alone_and_is_not_sent_again_when_it_is_allowed(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    source.push("a/large", IMAGE, "1")
    source.push("a/small", make_image([make_layer("small", 500)]), "1")
    source.push("b/new", make_image([make_layer("new", 500)]), "1")
    openshift.image_limits["a"] = 10_000
    openshift.rights["ann", "b"] = PUSHER
    manifest = write(ends, openshift, "[a/large, a/small, b/new]")
    ran = ends.run("copy", manifest, TOKEN=ANN)
    assert ran.code == 3
    words = "HTTP 403 Forbidden: DENIED requested access to the resource is denied"
    assert all(f"  {name}:1: {words}" in ran.out for name in ("a/large", "b/new"))
    assert "1 done, 2 failed" in ran.out
    assert set(target.images()) == {"a/small:1"}
    openshift.image_limits.clear()
    openshift.rights["ann", "b"] = EDITOR
    sent = commits(openshift)
    ran = ends.run("copy", manifest, TOKEN=ANN)
    assert ran.code == 0, ran.text
    assert commits(openshift) == sent
    assert set(target.images()) == {"a/large:1", "a/small:1", "b/new:1"}
    assert lacking(target) == []


def test_a_project_that_is_being_deleted_is_tried_again_and_holds_up_nobody(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    source.push("a/x", IMAGE, "1")
    source.push("b/x", IMAGE, "1")
    openshift.projects["b"] = TERMINATING
    process = ends.start("copy", write(ends, openshift, "[b/x, a/x]"), "--format", "json", TOKEN=ANN)
    events = []
    assert process.stdout
    for line in process.stdout:
        events.append(json.loads(line))
        if {"done", "retrying"} <= {event["event"] for event in events}:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    retried = next(event for event in events if event["event"] == "retrying")
    assert retried["target"].endswith("/b/x:1")
    assert (retried["class"], "HTTP 500" in retried["error"]) == ("unavailable", True)
    assert set(target.images()) == {"a/x:1"}


# --- the program: what is still to be mended -------------------------------------------------------------------


def test_a_target_with_three_parts_is_explained(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    source.push("a/x", IMAGE, "1")
    ran = ends.run("plan", write(ends, openshift, "[{from: 'a/x:1', to: 'a/b/c:1'}]"), TOKEN=ANN)
    assert "<project>/<name>" in ran.text


def test_a_target_that_can_be_no_image_stream_is_refused_by_plan(
    ends: Ends, source: LabClient, openshift: OpenShiftRegistry
) -> None:
    source.push("a/x", IMAGE, "1")
    ran = ends.run("plan", write(ends, openshift, "[{from: 'a/x:1', to: 'a/under__score.x:1'}]"), TOKEN=ANN)
    assert ran.code in (2, 3), ran.text


def test_a_forgotten_login_is_not_called_good(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    source.push("a/x", IMAGE, "1")
    ran = ends.run("plan", write(ends, openshift, "[a/x]", login=""))
    assert ran.code in (3, 4)
    assert "the login is good" not in ran.text


def test_a_put_that_is_denied_is_explained(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    openshift.image_limits["a"] = 10_000
    openshift.rights["ann", "b"] = PUSHER
    for repository in ("a/x", "b/x"):
        source.push(repository, IMAGE, "1")
    ran = ends.run("copy", write(ends, openshift, "[a/x, b/x]"), TOKEN=ANN)
    assert ran.code == 3
    assert "limit" in ran.out
    assert "image stream" in ran.out


def test_what_verify_finds_without_an_earlier_copy_is_mended_by_copy_as_verify_says(
    ends: Ends, source: LabClient, target: LabClient, openshift: OpenShiftRegistry
) -> None:
    index_without_children(source, openshift)
    manifest = write(ends, openshift, "[{from: 'a/multi:1', platforms: all}]")
    found = ends.run("verify", manifest, TOKEN=ANN)
    assert "To bring what is missing or different: rahti-migrate copy" in found.out
    ends.run("copy", manifest, TOKEN=ANN)
    assert missing_from(target, "a/multi", "1") == []


# --- the program: OpenShift as the source -----------------------------------------------------------------------


def test_as_a_source_it_is_read_stream_by_stream(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    broken = make_index({"linux/amd64": make_image([make_layer("broken", 500)])})
    with LabClient(openshift.seen_by(ANN)) as client:
        client.push("a/x", OCI, "1", "2")
        client.push("a/multi", LIST, "1")
    assert put(openshift, "a/broken", "1", broken) == 201
    openshift.streams["a/empty"] = {}
    images = "[a/x, {from: a/multi, platforms: all}, a/broken, a/empty, a/nosuch, c/x, b]"
    ran = ends.run("copy", write_sides(ends, shift(openshift), plain(ends.source), images), TOKEN=ANN)
    assert ran.code == 3
    assert "3 done, 5 refused" in ran.out
    assert set(source.images()) == {"a/x:1", "a/x:2", "a/multi:1"}
    assert missing_from(source, "a/multi", "1") == []
    for words in (
        "a/broken:1: a part of the manifest list: HTTP 404",
        "a/empty: the repository has no tags",
        "a/nosuch: HTTP 404 Not Found: NAME_UNKNOWN",
        "c/x: HTTP 401",
        "list them in the manifest: b/<image stream>",
    ):
        assert words in ran.out


def test_what_everybody_may_pull_needs_no_login(ends: Ends, source: LabClient, openshift: OpenShiftRegistry) -> None:
    with LabClient(openshift.seen_by(ANN)) as client:
        client.push("a/public", IMAGE, "1")
        client.push("a/private", OCI, "1")
    openshift.rights[ANONYMOUS, "a/public"] = VIEWER
    sides = shift(openshift, ""), plain(ends.source)
    ran = ends.run("run", write_sides(ends, *sides, "[a/private, a/public]"))
    assert ran.code == 4
    assert "1 done, 1 refused" in ran.out
    assert "1 tag verified: 1 equal" in ran.out
    assert "no login was found in the auth files of podman and docker; without one: HTTP 401" in ran.out
    assert set(source.images()) == {"a/public:1"}
