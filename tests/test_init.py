"""A first manifest from what a project holds: what stands in it, and that it means the same to `plan`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import BOB_TOKEN, NEW_TOKEN, OLD_TOKEN, Clusters, image, two_clusters
from conftest import Ends, Ran
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.gateway import Answer

from migrate.access.subjects import Subject, subject_of, word_of
from migrate.discover.found import FoundDigest, FoundProject, FoundStream, FoundTag
from migrate.discover.read import Allowed
from migrate.discover.text import manifest_text, scalar
from migrate.discover.uses import AnyUse, OutsideUse, UnclearUse, Use, uses_of
from migrate.images.streams import Kept
from migrate.manifest import parse_manifest

INTERNAL = "docker-registry.default.svc:5000"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        for name in ("api", "web"):
            made.push(made.old, OLD_TOKEN, f"my-app/{name}", "1", "2")
        yield made


def init(both: Clusters, *arguments: object, project: str = "my-app=my-app-2") -> Ran:
    return both.run(
        "init", project, "--source-context", "old", "--target-context", "new",
        "--source-registry", f"http://{both.old.registry.host}",
        "--target-registry", f"http://{both.new.registry.host}", *arguments,
    )  # fmt: skip


def text(both: Clusters, name: str = "my-app.yaml") -> str:
    return (both.ends.folder / name).read_text()


def runs(kind: str, name: str, image: str, **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "c", "image": image}]}}
    return {"kind": kind, "metadata": {"name": name, "namespace": "my-app"}, "spec": {"template": template, **spec}}


def follows(tag: str) -> list[dict[str, Any]]:
    origin = {"kind": "ImageStreamTag", "name": tag}
    return [{"type": "ConfigChange"}, {"type": "ImageChange", "imageChangeParams": {"from": origin}}]


def planned(both: Clusters, name: str = "my-app.yaml") -> dict[str, str]:
    ran = both.run("plan", both.ends.folder / name, "--format", "json")
    assert ran.code == 0, ran.text
    return {copy["target"].partition("/")[2]: copy["action"] for copy in ran.json["copies"]}


# --- the whole ----------------------------------------------------------------------------------------------------


def test_it_says_what_plan_says(both: Clusters) -> None:
    ran = init(both)
    assert ran.code == 0, ran.text
    assert "wrote my-app.yaml: 4 tags of 2 image streams" in ran.out
    assert set(planned(both)) == {"my-app-2/api:1", "my-app-2/api:2", "my-app-2/web:1", "my-app-2/web:2"}
    assert "Next: rahti-migrate check my-app.yaml" in ran.out
    assert both.run("check", "my-app.yaml").code == 0
    assert both.run("run", "my-app.yaml", "--apply").code == 0


def test_nothing_is_written_to_either_end(both: Clusters) -> None:
    before = len(both.old.registry.seen)
    assert init(both).code == 0
    assert {seen.method for seen in both.old.api.seen} == {"GET"}
    assert both.new.api.seen == []
    assert {seen.method for seen in both.old.registry.seen[before:]} <= {"GET", "HEAD"}


def test_a_file_that_is_there_stays_unless_told(both: Clusters) -> None:
    path = both.ends.folder / "my-app.yaml"
    path.write_text("mine")
    ran = init(both)
    assert (ran.code, path.read_text()) == (2, "mine")
    assert "--force" in ran.err
    assert both.old.api.seen == []
    assert init(both, "--to", "other.yaml").code == 0
    assert path.read_text() == "mine"
    assert init(both, "--force").code == 0
    assert path.read_text().startswith("# Made by")


def test_what_workloads_name_is_marked(both: Clusters) -> None:
    both.old.apply(runs("DeploymentConfig", "front", " ", triggers=follows("web:1")))
    both.old.apply(runs("Deployment", "back", f"{INTERNAL}/my-app/api:2"))
    both.old.apply(runs("StatefulSet", "db", "postgres:9"))
    both.old.apply(runs("Deployment", "lost", f"{INTERNAL}/my-app/api:gone"))
    both.old.apply(runs("Deployment", "far", f"{INTERNAL}/other/base:1"))
    assert init(both).code == 0
    found = text(both)
    assert "in use: 1 (dc/front)" in found
    assert "in use: 2 (deployment/back)" in found
    assert "deployment/lost names my-app/api:gone, which is not there" in found
    assert "# - other/base:1  # of a project that is not moved here" in found
    assert "# - {from: docker.io/library/postgres:9, to: my-app-2/postgres}" in found
    assert "# 5 workloads in my-app\n  - {from: {cluster: source, project: my-app}" in found


def test_only_what_is_in_use(both: Clusters) -> None:
    both.old.apply(runs("DeploymentConfig", "front", " ", triggers=follows("web:1")))
    cron = {"jobTemplate": {"spec": runs("Job", "x", f"{INTERNAL}/my-app/api:2")["spec"]}}
    both.old.apply({"kind": "CronJob", "metadata": {"name": "nightly", "namespace": "my-app"}, "spec": cron})
    ran = init(both, "--only-in-use")
    assert ran.code == 0
    assert "2 tags of 2 image streams" in ran.out
    assert set(planned(both)) == {"my-app-2/api:2", "my-app-2/web:1"}
    assert re.search(r"^  # - my-app/web:2  # .*no workload uses it$", text(both), re.MULTILINE)


def test_what_an_alias_in_use_follows_is_in_use(both: Clusters) -> None:
    stream = both.old.get("ImageStream", "my-app", "web")
    assert stream
    items = next(tag["items"] for tag in stream["status"]["tags"] if tag["tag"] == "1")
    stream["spec"]["tags"] = [{"name": "live", "from": {"kind": "ImageStreamTag", "name": "web:1"}}]
    stream["status"]["tags"].append({"tag": "live", "items": items})
    both.old.apply({**stream, "kind": "ImageStream"})
    both.old.apply(runs("DeploymentConfig", "front", " ", triggers=follows("web:live")))
    assert init(both, "--only-in-use").code == 0
    assert "live follows my-app/web:1" in text(both)
    assert set(planned(both)) == {"my-app-2/web:1", "my-app-2/web:live"}


def test_a_digest_that_a_workload_names_is_added(both: Clusters) -> None:
    with both.pushed(both.old, OLD_TOKEN) as client:
        older = client.push("my-app/web", image("older"), "3")
        client.push("my-app/web", image("newer"), "3")
    both.old.apply(runs("ReplicationController", "front-7", f"{INTERNAL}/my-app/web@{older}"))
    ran = init(both)
    assert ran.code == 0, ran.text
    assert f"- my-app/web@{older}  # rc/front-7 names it" in text(both)
    assert f"my-app-2/web:sha256-{older[7:19]}" in planned(both)
    assert "6 tags of 2 image streams" in ran.out


def test_a_digest_that_is_a_tag_of_now_needs_no_entry(both: Clusters) -> None:
    with both.pushed(both.old, OLD_TOKEN) as client:
        digest = client.push("my-app/web", image("again"), "3")
    both.old.apply(runs("Deployment", "front", f"{INTERNAL}/my-app/web@{digest}"))
    assert init(both, "--only-in-use").code == 0
    assert set(planned(both)) == {"my-app-2/web:3"}


def test_a_digest_that_is_gone_is_a_comment(both: Clusters) -> None:
    both.old.apply(runs("Deployment", "front", f"{INTERNAL}/my-app/web@{DIGEST}"))
    assert init(both).code == 0
    assert f"# - my-app/web@{DIGEST}  # deployment/front names it" in text(both)


def test_who_may_pull_today_is_written_in_the_words_of_access(both: Clusters) -> None:
    both.old.bind("my-app", "registry-viewer", both.subject("User", "carol"), name="a")
    both.old.bind("my-app", "system:image-puller", both.subject("Group", "system:unauthenticated"), name="b")
    both.old.bind("my-app", "view", both.subject("Group", "devs"), name="c")
    both.old.bind("my-app", "view", both.subject("Group", "system:serviceaccounts:ci"), name="d")
    assert init(both).code == 0
    allowed = {word for entry in yaml.safe_load(text(both))["access"] for word in entry["allow"]}
    assert allowed == {"user:ann", "user:carol", "unauthenticated", "group:devs"}
    assert "project ci" in text(both)
    assert both.run("run", "my-app.yaml", "--apply").code == 0
    assert both.pulls("my-app-2/web:1")


def test_several_projects_know_of_each_other(both: Clusters) -> None:
    both.old.add_project("lib", "ann")
    both.push(both.old, OLD_TOKEN, "lib/base", "1")
    both.old.apply(runs("Deployment", "front", f"{INTERNAL}/lib/base:1"))
    ran = both.run(
        "init", "my-app=my-app-2", "lib", "--only-in-use", "--source-context", "old", "--target-context", "new",
        "--source-registry", f"http://{both.old.registry.host}", "--target-registry", f"http://{both.new.registry.host}",
    )  # fmt: skip
    assert ran.code == 0, ran.text
    assert "- lib/base:1  # " in text(both)
    assert "deployment/front in my-app" in text(both)


def test_the_ends_of_another_manifest(both: Clusters, tmp_path: Path) -> None:
    like = both.manifest("images: [my-app]\n")
    assert both.run("init", "my-app=my-app-2", "--like", like).code == 0
    assert len(planned(both)) == 4
    ran = both.run("init", "my-app", "--like", like, "--source-context", "old", "--to", "y.yaml")
    assert (ran.code, "--like gives both ends" in ran.err) == (2, True)


def test_files_of_another_manifest_are_found_from_another_folder(ends: Ends, source: LabClient) -> None:
    source.push("a/app", image("one"), "1")
    (ends.folder / "pw").write_text("demo-Kulkuri-4711")
    like = ends.manifest("images: [a]")
    like.write_text(like.read_text().replace("passwordEnv: LAB_PASSWORD", "passwordFile: pw"))
    (ends.folder / "sub").mkdir()
    ran = ends.run("init", "a", "--like", like, "--to", "sub/a.yaml")
    assert ran.code == 0, ran.text
    assert ends.run("plan", "sub/a.yaml").code == 0


def test_a_registry_without_an_api_that_wants_a_login_says_how_to_give_one(ends: Ends) -> None:
    ran = ends.run("init", "a", "--source-registry", f"http://{ends.source.host}", "--target-registry", "http://x.fi")
    assert ran.code == 4, ran.text
    assert (
        f"-> podman login {ends.source.host}, or set `source.login` in a manifest, and give it with --like" in ran.err
    )
    assert "oc login" not in ran.err.partition("wants a login")[2]


def test_without_an_api_the_registry_tells(ends: Ends, source: LabClient) -> None:
    source.push("a/app", image("one"), "1", "2")
    source.push("a/deep/er", image("two"), "1")
    like = ends.manifest("images: [a]")
    ran = ends.run("init", "a=b", "--like", like)
    assert ran.code == 0, ran.text
    assert "3 tags of 2 image streams" in ran.out
    found = (ends.folder / "a.yaml").read_text()
    assert "# - {project: b, carryOver: true}" in found
    assert "workload uses it" not in found
    ran = ends.run("plan", "a.yaml", "--format", "json")
    assert len(ran.json["copies"]) == 3
    ran = ends.run("init", "a", "--like", like, "--only-in-use", "--to", "z.yaml")
    assert (ran.code, "--only-in-use needs" in ran.err) == (2, True)


def test_a_registry_may_be_given_as_an_address(both: Clusters) -> None:
    registries = ["--source-registry", f"http://{both.old.registry.host}/"]
    registries += ["--target-registry", f"https://{both.new.registry.host}/"]
    ran = both.run("init", "my-app", "--source-context", "old", "--target-context", "new", *registries)
    assert ran.code == 0, ran.text
    assert f'target: {{registry: "{both.new.registry.host}", login' in text(both)


def test_public_registries_are_asked_of_the_apis(both: Clusters) -> None:
    for cluster in (both.old, both.new):
        cluster.add_project("openshift", "")
        cluster.bind("openshift", "view", both.subject("Group", "system:authenticated"))
        status = {"publicDockerImageRepository": f"{cluster.registry.host}/openshift/php"}
        metadata = {"name": "php", "namespace": "openshift"}
        cluster.apply({"kind": "ImageStream", "metadata": metadata, "spec": {}, "status": status})
    ran = both.run("init", "my-app", "--source-context", "old", "--target-context", "new")
    assert ran.code == 1, ran.text
    assert f"{both.old.registry.host}: the two sides do not agree on TLS" in ran.err
    assert "--source-registry http://HOST" in ran.err


def test_what_cannot_be_begun_says_how(both: Clusters) -> None:
    ran = both.run("init", "my-app", "--source-context", "nope")
    assert (ran.code, "there are: old, new" in ran.err) == (2, True)
    ran = both.run("init", "a=b", "a=c")
    assert (ran.code, "named twice" in ran.err) == (2, True)
    ran = init(both, project="My_App")
    assert (ran.code, "not the name of a source project" in ran.err) == (2, True)
    ran = init(both, "--to", "no/such/folder/x.yaml")
    assert (ran.code, "--to FILE" in ran.err) == (2, True)
    (both.ends.folder / "folder").mkdir()
    ran = init(both, "--to", "folder", "--force")
    assert (ran.code, sorted(path.name for path in both.ends.folder.iterdir() if "folder" in path.name)) == (
        2,
        ["folder"],
    )
    assert both.old.api.seen == []
    ran = init(both, project="nope")
    assert (ran.code, "oc get projects" in ran.err) == (2, True)
    both.old.users.clear()
    ran = init(both)
    assert (ran.code, "oc login" in ran.err) == (4, True)


def test_a_project_with_nothing_in_it(both: Clusters) -> None:
    both.old.add_project("bare", "ann")
    ran = init(both, project="bare")
    assert (ran.code, "nothing was found in bare" in ran.err) == (1, True)
    assert not (both.ends.folder / "bare.yaml").exists()


def test_workloads_that_may_not_be_read_are_said(both: Clusters) -> None:
    both.old.delete("RoleBinding", "my-app", "admin")
    both.old.bind("my-app", "registry-viewer", both.subject("User", "ann"))
    ran = init(both)
    assert ran.code == 0, ran.text
    assert "deployments, statefulsets" in ran.out
    assert "more may be in use" in ran.out
    assert "no workload uses it" not in text(both)
    assert "# the workloads of my-app could not be read" in text(both)
    ran = init(both, "--only-in-use", "--force")
    assert (ran.code, "leave --only-in-use out" in ran.err) == (1, True)


def test_one_kind_that_cannot_be_read_costs_no_other(both: Clusters) -> None:
    both.old.apply(runs("DeploymentConfig", "front", " ", triggers=follows("web:1")))
    answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "boom", "code": 500}
    broken = Answer(500, (("Content-Type", "application/json"),), json.dumps(answer).encode())
    both.old.api.faults.append(lambda asked: broken if "/statefulsets" in asked.path else None)
    ran = init(both)
    assert ran.code == 0, ran.text
    assert "the statefulsets of my-app cannot be read (boom): more may be in use" in ran.out
    assert "in use: 1 (dc/front)" in text(both)


def test_two_projects_into_one_say_what_meets(both: Clusters) -> None:
    both.old.add_project("b", "ann")
    both.push(both.old, OLD_TOKEN, "b/web", "1")
    like = both.manifest("images: [my-app]\n")
    ran = both.run("init", "my-app=x", "b=x", "--like", like)
    assert ran.code == 3
    assert "cannot be copied: b/web:1: two images of the manifest want the same target tag" in ran.out


def test_image_streams_with_nothing_in_them_are_comments(both: Clusters) -> None:
    both.old.apply({"kind": "ImageStream", "metadata": {"name": "bare", "namespace": "my-app"}, "spec": {}})
    origin = {"name": "1", "from": {"kind": "DockerImage", "name": "quay.io/a/b:1"}}
    never = {"kind": "ImageStream", "metadata": {"name": "never", "namespace": "my-app"}, "spec": {"tags": [origin]}}
    both.old.apply(never)
    assert init(both).code == 0
    assert "# bare: no tags" in text(both)
    assert "1: it names quay.io/a/b:1 and was never imported" in text(both)
    assert len(planned(both)) == 4


def test_nothing_in_use_is_said(both: Clusters) -> None:
    ran = init(both, "--only-in-use")
    assert (ran.code, "no workload names an image of my-app" in ran.err) == (1, True)
    assert not (both.ends.folder / "my-app.yaml").exists()


def test_a_link_is_followed_and_stays_one(both: Clusters) -> None:
    real, link = both.ends.folder / "real.yaml", both.ends.folder / "link.yaml"
    real.write_text("old")
    link.symlink_to(real)
    assert init(both, "--to", "link.yaml").code == 2
    assert init(both, "--to", "link.yaml", "--force").code == 0
    assert link.is_symlink()
    assert real.read_text().startswith("# Made by")


def test_aliases_are_followed_to_other_image_streams_and_projects(both: Clusters) -> None:
    both.old.add_project("lib", "ann")
    both.push(both.old, OLD_TOKEN, "lib/base", "1")
    base = both.old.get("ImageStream", "lib", "base")
    web = both.old.get("ImageStream", "my-app", "web")
    assert base
    assert web
    origin = {"kind": "ImageStreamTag", "name": "base:1", "namespace": "lib"}
    web["spec"]["tags"] = [
        {"name": "far", "from": origin},
        {"name": "live", "from": {"kind": "ImageStreamTag", "name": "far"}},
    ]
    items = base["status"]["tags"][0]["items"]
    web["status"]["tags"] += [{"tag": "far", "items": items}, {"tag": "live", "items": items}]
    both.old.apply({**web, "kind": "ImageStream"})
    both.old.apply(runs("DeploymentConfig", "front", " ", triggers=follows("web:live")))
    like = both.manifest("images: [my-app]\n")
    ran = both.run("init", "my-app=my-app-2", "lib", "--like", like, "--only-in-use")
    assert ran.code == 0, ran.text
    named = {line.split()[1] for line in text(both).splitlines() if line.startswith("  - ") and "/" in line.split()[1]}
    assert named == {"my-app/web:far", "my-app/web:live", "lib/base:1"}


def test_what_cannot_be_told_is_named(both: Clusters) -> None:
    both.old.apply(runs("Deployment", "odd", "${IMAGE}"))
    assert init(both).code == 0
    assert "deployment/odd names ${IMAGE}, and which image that is cannot be told" in text(both)


def test_a_registry_of_rahti_needs_no_option(both: Clusters) -> None:
    ran = both.run("init", "my-app")
    assert "docker-registry.rahti.csc.fi" in ran.err
    assert ran.code == 1


# --- the parts ----------------------------------------------------------------------------------------------------


def named(document: dict[str, Any], kind: str) -> set[AnyUse]:
    return set(uses_of(document, kind, {INTERNAL}, lambda project, stream: (project, stream) == ("p", "local")))


def at(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> set[AnyUse]:
    return named({"metadata": {"name": name, "namespace": "p", **metadata}, "spec": spec}, kind)


def pod(*images: str) -> dict[str, Any]:
    return {"containers": [{"image": image} for image in images]}


def test_images_of_containers() -> None:
    template = {"template": {"spec": {**pod("local:1", "nginx"), "initContainers": [{"image": f"{INTERNAL}/q/x"}]}}}
    assert at("Deployment", "d", template) == {
        Use("p", "local", "1", "", "deployment/d"),
        Use("q", "x", "latest", "", "deployment/d in p"),
        OutsideUse("docker.io/library/nginx:latest", "deployment/d"),
    }
    assert at("Pod", "a", pod("172.30.1.1:5000/p/x:3")) == {Use("p", "x", "3", "", "pod/a")}
    assert at("Pod", "a", pod(f"{INTERNAL}/p/x@{DIGEST}")) == {Use("p", "x", "", DIGEST, "pod/a")}
    assert at("Pod", "a", pod(f"{INTERNAL}/p/x:1"), ownerReferences=[{"kind": "Job"}]) == set()
    assert at("Pod", "a", pod("", " ", "${IMAGE}")) == {UnclearUse("${IMAGE}", "pod/a")}


def test_triggers_and_builds() -> None:
    note = json.dumps([{"from": {"kind": "ImageStreamTag", "name": "x:1", "namespace": "q"}, "fieldPath": "y"}])
    annotations = {"image.openshift.io/triggers": note}
    assert at("Deployment", "d", {}, annotations=annotations) == {Use("q", "x", "1", "", "deployment/d in p")}
    build = {
        "strategy": {"sourceStrategy": {"from": {"kind": "ImageStreamTag", "name": "php:7", "namespace": "openshift"}}},
        "source": {"images": [{"from": {"kind": "ImageStreamImage", "name": f"x@{DIGEST}"}}]},
        "output": {"to": {"kind": "ImageStreamTag", "name": "web:latest"}},
        "triggers": [{"imageChange": {"from": {"kind": "DockerImage", "name": "quay.io/a/b:2"}}}],
    }
    assert at("BuildConfig", "b", build) == {
        Use("openshift", "php", "7", "", "bc/b in p"),
        Use("p", "x", "", DIGEST, "bc/b"),
        Use("p", "web", "latest", "", "bc/b"),
        OutsideUse("quay.io/a/b:2", "bc/b"),
    }


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(f"{INTERNAL}/p/x@{DIGEST}"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["spec", "template", "containers", "image", "triggers", "from", "kind", "name", "imageChangeParams", "to",
             "output", "metadata", "annotations", "image.openshift.io/triggers", "jobTemplate", "strategy"]
        ),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["metadata", "spec"]), JUNK),
    st.sampled_from(["Pod", "CronJob", "BuildConfig", "X"]),
)
def test_any_document_is_looked_at(document: dict[str, Any], kind: str) -> None:
    assert all(isinstance(use, AnyUse) for use in named(document, kind))


WORDS = st.text("abcxyz0189-:@ é\"'#{}[],\n\\", min_size=1, max_size=12)


@given(WORDS)
def test_any_text_is_read_back(word: str) -> None:
    assert yaml.safe_load(f"{{a: {scalar(word)}}}") == {"a": word}


@pytest.mark.parametrize("word", ["yes", "No", "null", "1.0", "0x1", "on", "~", "=", "<<", "a: b", "a #b", "1-1-1"])
def test_words_that_yaml_takes_for_something_else(word: str) -> None:
    assert yaml.safe_load(f"[{scalar(word)}]") == [word]


TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
FOUND_TAGS = st.builds(
    FoundTag, TAGS, st.just(DIGEST), st.integers(0, 10**9), st.just("2020-01-01T00:00:00Z"),
    st.sampled_from([None, *Kept]), st.text(max_size=5), st.lists(WORDS, max_size=2).map(tuple), st.text(max_size=9),
)  # fmt: skip


@given(
    st.dictionaries(NAMES, st.lists(FOUND_TAGS, max_size=4, unique_by=lambda tag: tag.name), max_size=3),
    st.lists(WORDS, max_size=2),
    st.booleans(),
)
def test_any_project_becomes_a_manifest_that_can_be_read(
    streams: dict[str, list[FoundTag]], notes: list[str], only_in_use: bool
) -> None:
    found = [FoundStream(f"p/{name}", tags, [FoundDigest(DIGEST, ("dc/x",))]) for name, tags in streams.items()]
    access = [Allowed(("anonymous", "user:b@c d"), "registry-viewer", ())]
    project = FoundProject("p", "q", found, access, 1, {"docker.io/a:1": ("dc/a",)}, notes=notes)
    written = manifest_text(
        ["x"], {"source": {"registry": "a:1"}, "target": {"registry": "b:1"}}, [project], only_in_use=only_in_use
    )
    made = parse_manifest(written.encode(), Path("m.yaml"))
    wanted = {f"p/{name}:{tag.name}" for name, tags in streams.items() for tag in tags if tag.users}
    if only_in_use:
        assert {r.source.short for r in made.images if r.source.tag} == wanted
    else:
        assert len(made.images) == len(streams) + sum(bool(tags) for tags in streams.values())


@pytest.mark.parametrize(
    "word",
    ["anonymous", "unauthenticated", "authenticated", "user:ann", "group:devs", "project:p", "serviceaccount:p/s"],
)
def test_a_subject_has_the_word_that_means_it(word: str) -> None:
    assert word_of(subject_of(word)) == word


def test_a_subject_of_another_kind_has_no_word() -> None:
    assert word_of(Subject("Robot", "x")) == ""


def test_no_token_is_in_the_file(both: Clusters) -> None:
    assert init(both).code == 0
    for token in (OLD_TOKEN, NEW_TOKEN, BOB_TOKEN):
        assert token not in text(both)
