"""`rahti-migrate rewrite` as its user meets it."""

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from conftest import Ends, Ran
from kubecheck import objects_of, problems
from registrylab.client import LabClient
from registrylab.faults import Rule, faulty
from registrylab.images import make_image, make_layer

CONFIG = """\
apiVersion: v1
kind: DeploymentConfig
metadata: {name: web, namespace: my-app}
spec:
  replicas: 1
  selector: {app: web}   # who
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'docker-registry.default.svc:5000/my-app/web:1'}]}
"""
HOOKED = CONFIG.replace(
    "  replicas: 1\n", "  strategy: {rollingParams: {pre: {execNewPod: {command: [a]}}}}\n  replicas: 1\n"
)
SECRET = (
    "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: 'docker-registry.rahti.csc.fi hunter2'}}\n"
)
WORDS = ("--project", "my-app-2")


@pytest.fixture
def desk(tmp_path: Path) -> Ends:
    """The program without registries."""
    nobody = cast(Any, None)
    (tmp_path / "work").mkdir()
    return Ends(nobody, nobody, tmp_path / "work")


def files(folder: Path) -> dict[str, str]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".rahti-migrate-files"]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def put(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_folder_comes_out_in_the_same_layout(desk: Ends) -> None:
    source = put(desk.folder / "in", a__dc_yaml=CONFIG, README_md="docker-registry.rahti.csc.fi/my-app/web", x_bin="x")
    put(source, _git__config_yaml="kind: A", gone_yaml="{apiVersion: v1, kind: Event, metadata: {name: e}}")
    before = files(source)
    ran = desk.run("rewrite", "in", "--to", "out", *WORDS)
    assert ran.code == 0, ran.text
    assert files(source) == before
    after = files(desk.folder / "out")
    assert set(after) == {"a/dc.yaml", "README.md", "x.bin"}
    assert "kind: Deployment\n" in after["a/dc.yaml"]
    assert "   # who\n" in after["a/dc.yaml"]
    assert after["README.md"] == "image-registry.apps.2.rahti.csc.fi/my-app-2/web"
    (found,) = objects_of(yaml.safe_load(after["a/dc.yaml"]))
    assert problems(found) == []
    assert "4 files: 2 changed, 1 as they were, 1 left out; 3 written" in ran.out
    again = desk.run("rewrite", "out", "--to", "again", *WORDS)
    assert again.code == 0
    assert files(desk.folder / "again") == after


def test_what_a_human_must_do_comes_first_and_is_exit_3(desk: Ends) -> None:
    put(desk.folder, dc_yaml=HOOKED)
    ran = desk.run("rewrite", "dc.yaml", "--to", "out", *WORDS)
    assert ran.code == 3
    first = ran.out.splitlines()[:4]
    assert first[0] == "For you to decide first (1):"
    assert "dc.yaml:5 DeploymentConfig/web spec.strategy.rollingParams.pre" in first[2]
    assert "options.hooks" in first[3]
    assert "kind: DeploymentConfig" in (desk.folder / "out/dc.yaml").read_text()
    settled = desk.run("rewrite", "dc.yaml", "--to", "out", *WORDS, "--option", "hooks=job")
    assert settled.code == 0, settled.text
    assert [found["kind"] for found in yaml.safe_load_all((desk.folder / "out/dc.yaml").read_text())] == [
        "Deployment",
        "Job",
    ]


def test_the_json_has_every_finding(desk: Ends) -> None:
    put(desk.folder, dc_yaml=CONFIG)
    ran = desk.run("rewrite", "dc.yaml", "--to", "out", *WORDS, "--format", "json")
    (entry,) = ran.json["rewrites"]
    assert entry["files"]["changed"] == ["dc.yaml"]
    assert sum(entry["counts"].values()) == len(entry["findings"])
    (image,) = [each for each in entry["findings"] if each["rule"] == "image-registry"]
    assert image == {
        "file": "dc.yaml", "line": 9, "object": "DeploymentConfig/web",
        "path": "spec.template.spec.containers[0].image",
        "rule": "image-registry", "mode": "done", "before": "docker-registry.default.svc:5000/my-app/web:1",
        "after": "image-registry.openshift-image-registry.svc:5000/my-app-2/web:1", "words": "",
    }  # fmt: skip
    assert set(ran.json["rules"]) == {each["rule"] for each in entry["findings"]}


def test_a_diff_writes_nothing(desk: Ends) -> None:
    put(desk.folder, dc_yaml=CONFIG)
    ran = desk.run("rewrite", "dc.yaml", "--diff", *WORDS)
    assert ran.code == 0
    assert "+kind: Deployment" in ran.out.splitlines()
    assert files(desk.folder / "out") == {}
    assert "nothing was written" in ran.err


def test_what_somebody_changed_since_is_kept(desk: Ends) -> None:
    put(desk.folder / "in", dc_yaml=CONFIG, old_yaml=CONFIG.replace("web", "old"))
    rewrite = ("rewrite", "in", "--to", "out", *WORDS)
    assert desk.run(*rewrite).code == 0
    mine = desk.folder / "out/dc.yaml"
    mine.write_text(mine.read_text() + "# mine\n")
    (desk.folder / "in/old.yaml").unlink()
    put(desk.folder / "out", notes_txt="mine")
    ran = desk.run(*rewrite)
    assert ran.code == 3
    assert ran.out.startswith("out/dc.yaml: changed by hand since it was written: kept; --force replaces it")
    assert set(files(desk.folder / "out")) == {"dc.yaml", "notes.txt"}
    assert mine.read_text().endswith("# mine\n")
    assert desk.run(*rewrite).code == 3
    assert desk.run(*rewrite, "--force").code == 0
    assert "# mine" not in mine.read_text()
    assert desk.run(*rewrite).code == 0


@pytest.mark.parametrize(
    ("to", "words"),
    [("in", "lie among those"), ("in/out", "lie among those"), (".", "lie among those"), ("in/dc.yaml", "is a file")],
)
def test_the_input_is_never_written_to(desk: Ends, to: str, words: str) -> None:
    source = put(desk.folder / "in", dc_yaml=CONFIG)
    ran = desk.run("rewrite", "in", "--to", to, *WORDS)
    assert ran.code == 2
    assert words in ran.err
    assert files(source) == {"dc.yaml": CONFIG}


def test_links_are_neither_followed_nor_written_through(desk: Ends) -> None:
    source = put(desk.folder / "in", dc_yaml=CONFIG, a__b_yaml=CONFIG)
    put(desk.folder / "elsewhere", secret_yaml=SECRET)
    (source / "link.yaml").symlink_to(desk.folder / "elsewhere/secret.yaml")
    (source / "loop").symlink_to(source)
    assert desk.run("rewrite", "in", "--to", "out", *WORDS).code == 0
    assert set(files(desk.folder / "out")) == {"dc.yaml", "a/b.yaml"}
    (desk.folder / "out2").mkdir()
    (desk.folder / "out2/a").symlink_to(desk.folder / "elsewhere")
    ran = desk.run("rewrite", "in", "--to", "out2", *WORDS)
    assert ran.code == 2
    assert "a link leads out" in ran.err
    assert files(desk.folder / "elsewhere") == {"secret.yaml": SECRET}


def test_secrets_are_not_shown(desk: Ends) -> None:
    applied = SECRET.replace(
        "name: s", "name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: hunter2}"
    )
    put(desk.folder, secret_yaml=applied + "---\n" + CONFIG)
    for more in ((), ("--format", "json"), ("-v",)):
        ran = desk.run("rewrite", "secret.yaml", "--to", "out", *WORDS, *more)
        assert "hunter2" not in ran.text
        assert "secret-registry" in ran.text


def test_variables_of_what_is_shown_whole_are_not_shown(desk: Ends) -> None:
    put(desk.folder, dc_yaml=HOOKED.replace("command: [a]", "command: [a], env: [{name: PGPASSWORD, value: hunter2}]"))
    for option in ("hooks=ask", "hooks=job", "hooks=initContainer"):
        ran = desk.run("rewrite", "dc.yaml", "--to", "out", *WORDS, "-v", "--option", option, "--force")
        assert "PGPASSWORD" in ran.out or option == "hooks=ask"
        assert "hunter2" not in ran.text
        assert "hunter2" in (desk.folder / "out/dc.yaml").read_text()


@pytest.mark.parametrize("text", ["stringData: {a: hunter2, b: 'docker-registry.rahti.csc.fi'}", "data:\n  a: hunter2"])
def test_a_diff_shows_no_values_of_secrets(desk: Ends, text: str) -> None:
    put(desk.folder, s_yaml=f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s, uid: x}}\n{text}\n")
    ran = desk.run("rewrite", "s.yaml", "--diff", *WORDS, "--option", "secrets=true")
    assert "-metadata: {name: s, uid: x}" in ran.out
    assert "hunter2" not in ran.text


@pytest.mark.parametrize("more", [("--to", "out"), ()])
def test_a_file_that_cannot_be_read_is_said(desk: Ends, more: tuple[str, ...]) -> None:
    ran = desk.run("rewrite", "/proc/self/mem", *more, *WORDS)
    assert ran.code == 2
    assert "/proc/self/mem: cannot be read: Input/output error" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dc.yaml", "--to", "out"), "which project is it for?"),
        (("dc.yaml", "--project", "a"), "where to?"),
        (("dc.yaml", "--project", "A_b", "--to", "out"), "is not a project name"),
        (("dc.yaml", "--project", "a", "--to", "out", "--project-map", "x"), "is not OLD=NEW"),
        (("dc.yaml", "--project", "a", "--to", "out", "--option", "x=y"), "there is no option"),
        (("dc.yaml", "--project", "a", "--to", "out", "--option", "hooks=y"), "give 'ask', 'initContainer' or 'job'"),
        (("dc.yaml", "--project", "a", "--to", "out", "--option", "dataCopied=y"), "give true or false"),
        (("gone.yaml", "--project", "a", "--to", "out"), "no such file or folder"),
        (("dc.yaml", "in/dc.yaml", "--project", "a", "--to", "out"), "would both be written as dc.yaml"),
        (("gone.yaml",), "cannot be read"),
        (("m.yaml", "--to", "out"), "do not go with a manifest"),
        (("m.yaml", "--project", "nobody"), "no entry of `workloads` is for project"),
        (("twice.yaml",), "writes there already"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_written(desk: Ends, arguments: tuple[str, ...], words: str) -> None:
    put(desk.folder, dc_yaml=CONFIG, in__dc_yaml=CONFIG)
    entry = "{from: in, to: out, project: my-app-2}"
    put(
        desk.folder,
        m_yaml=f"version: 1\nworkloads: [{entry}]\n",
        twice_yaml=f"version: 1\nworkloads: [{entry}, {entry}]\n",
    )
    ran = desk.run("rewrite", *arguments)
    assert ran.code == 2, ran.text
    assert words in ran.err
    assert files(desk.folder / "out") == {}


# --- with a manifest --------------------------------------------------------------------------------------------

MANIFEST = """\
projects: {my-app: my-app-2}
images: ['my-app/web:1', {from: 'my-app/api:2', to: 'my-app-2/backend:2'}]
workloads: [{from: in, to: out, project: my-app-2, options: {%s}}]
"""
REFERENCE = "docker-registry.default.svc:5000/my-app"
ODD = f"sha256:{'1' * 64}"


def pod(image: str) -> str:
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{containers: [{{name: a, image: '{image}'}}]}}}}\n"
    )


def image_in(ends: Ends) -> str:
    (found,) = yaml.safe_load_all((ends.folder / "out/pod.yaml").read_text())
    return str(found["spec"]["containers"][0]["image"])


def rewrite_pod(ends: Ends, image: str, options: str = "") -> Ran:
    put(ends.folder / "in", pod_yaml=pod(image))
    return ends.run("rewrite", ends.manifest(MANIFEST % options))


def test_digests_are_those_that_the_copy_recorded(ends: Ends, source: LabClient, target: LabClient) -> None:
    image = make_image([make_layer("one", 5_000)])
    old = source.push("my-app/web", image, "1")
    source.push("my-app/api", image, "2")
    unknown = rewrite_pod(ends, f"{REFERENCE}/web@{old}")
    assert unknown.code == 3
    assert "nothing recorded what this digest became" in unknown.out
    assert "there is no state yet" in unknown.err
    assert image_in(ends) == f"{REFERENCE}/web@{old}"
    assert ends.run("copy", ends.manifest(MANIFEST % "")).code == 0
    known = rewrite_pod(ends, f"{REFERENCE}/web@{old}")
    assert known.code == 0, known.text
    new = image_in(ends).partition("@")[2]
    assert new != old
    assert new == target.images()["my-app-2/web:1"]
    assert image_in(ends) == f"image-registry.openshift-image-registry.svc:5000/my-app-2/web@{new}"


def test_a_digest_that_no_copy_brought_is_said_to_be_missing(ends: Ends, source: LabClient) -> None:
    source.push("my-app/web", make_image([make_layer("one", 5_000)]), "1")
    source.push("my-app/api", make_image([make_layer("two", 5_000)]), "2")
    assert ends.run("copy", ends.manifest(MANIFEST % "")).code == 0
    asked = rewrite_pod(ends, f"{REFERENCE}/web@{ODD}")
    assert asked.code == 3
    assert f"no entry of `images` moves my-app/web@{ODD}" in asked.out
    bridged = rewrite_pod(ends, f"{REFERENCE}/web@{ODD}", "missingImages: bridge")
    assert bridged.code == 0, bridged.text
    assert "(options.missingImages)" in bridged.out
    assert image_in(ends) == f"{ends.source.host}/my-app/web@{ODD}"


def test_a_digest_of_a_repository_that_nothing_moves_is_bridged(ends: Ends) -> None:
    assert rewrite_pod(ends, f"{REFERENCE}/other@{ODD}").code == 3
    assert rewrite_pod(ends, f"{REFERENCE}/other@{ODD}", "missingImages: bridge").code == 0
    assert image_in(ends) == f"{ends.source.host}/my-app/other@{ODD}"


def test_a_digest_gets_the_tag_that_a_stream_without_a_project_says(desk: Ends) -> None:
    status = f"{{tags: [{{tag: '1', items: [{{image: {ODD}}}]}}]}}"
    stream = f"{{apiVersion: v1, kind: ImageStream, metadata: {{name: web}}, status: {status}}}\n"
    put(desk.folder / "in", stream_yaml=stream, pod_yaml=pod(f"{REFERENCE}/web@{ODD}"))
    ran = desk.run("rewrite", "in", "--to", "out", *WORDS, "--project-map", "my-app=my-app-2")
    assert ran.code == 0, ran.text
    assert image_in(desk) == "image-registry.openshift-image-registry.svc:5000/my-app-2/web:1"


def test_images_get_the_name_that_the_manifest_gives_them(ends: Ends) -> None:
    assert rewrite_pod(ends, f"{REFERENCE}/api:2").code == 0
    assert image_in(ends) == "image-registry.openshift-image-registry.svc:5000/my-app-2/backend:2"


def test_an_image_that_nothing_moves_is_asked_about(ends: Ends) -> None:
    ran = rewrite_pod(ends, f"{REFERENCE}/web:9")
    assert ran.code == 3
    assert "no entry of `images` moves my-app/web" in ran.out
    assert image_in(ends) == f"{REFERENCE}/web:9"


WHOLE = "projects: {my-app: my-app-2}\nimages: [my-app%s]\nworkloads: [{from: in, to: out, project: my-app-2}]\n"


@pytest.mark.parametrize(
    ("image", "images", "asked"),
    [
        ("web:1", "", False),
        ("web:9", "", True),
        ("other:1", "", True),
        ("web", "", True),
        ("web:1", "/web:1", False),
        ("web:9", "/web", True),
        ("web:1", "/web, tags: {newest: 1}", True),
        ("web:2", "/web, tags: {newest: 1}", False),
    ],
)
def test_an_image_that_the_source_does_not_have_is_asked_about(
    ends: Ends, source: LabClient, image: str, images: str, asked: bool
) -> None:
    for tag in ("1", "2"):
        source.push("my-app/web", make_image([make_layer(tag, 2_000)]), tag)
    body = WHOLE % images
    manifest = ends.manifest(
        body.replace("[my-app", "[{from: my-app").replace("}]\nw", "}}]\nw") if ", " in images else body
    )
    put(ends.folder / "in", pod_yaml=pod(f"{REFERENCE}/{image}"))
    assert ends.run("rewrite", manifest).code == 0, "nobody has looked yet"
    assert ends.run("copy", manifest).code == 0
    ran = ends.run("rewrite", manifest)
    assert ran.code == (3 if asked else 0), ran.text
    assert (f"the source has no my-app/{image}" in ran.out) == asked
    assert image_in(ends).startswith("image-registry.openshift-image-registry.svc:5000/my-app-2/")


def test_a_repository_that_could_not_be_asked_is_not_judged(ends: Ends, source: LabClient) -> None:
    for name in ("web", "shut"):
        source.push(f"my-app/{name}", make_image([make_layer(name, 2_000)]), "1")
    put(ends.folder / "in", pod_yaml=pod(f"{REFERENCE}/shut:1"))
    with faulty(ends.source.host, Rule("403", "tags", repository="my-app/shut")) as (near, _):
        manifest = ends.through(ends.manifest(WHOLE % ""), source=near.host)
        assert ends.run("copy", manifest).code == 3
        ran = ends.run("rewrite", manifest)
    assert ran.code == 0, ran.text


def test_a_trigger_of_an_image_that_the_source_does_not_have_is_asked_about(ends: Ends, source: LabClient) -> None:
    source.push("my-app/web", make_image([make_layer("1", 2_000)]), "1")
    manifest = ends.manifest(WHOLE % "")
    follows = "{type: ImageChange, imageChangeParams: {automatic: true, containerNames: [a], from: %s}}"
    config = "{kind: DeploymentConfig, apiVersion: v1, metadata: {name: a}, spec: {triggers: [%s], template: %s}}\n"
    template = "{metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: ' '}]}}"
    assert ends.run("copy", manifest).code == 0
    for name, code in (("web:1", 0), ("web:2", 3)):
        entry = follows % f"{{kind: ImageStreamTag, name: '{name}'}}"
        put(ends.folder / "in", dc_yaml=config % (entry, template))
        ran = ends.run("rewrite", manifest, "--force")
        assert ran.code == code, ran.text
        assert ("the source has no my-app/web:2" in ran.out) == bool(code)


def test_what_a_build_will_make_is_not_asked_about(ends: Ends, source: LabClient) -> None:
    source.push("my-app/web", make_image([make_layer("1", 2_000)]), "1")
    manifest = ends.manifest(WHOLE % "")
    assert ends.run("copy", manifest).code == 0
    output = "{to: {kind: ImageStreamTag, name: 'built:latest'}}"
    build = (
        f"{{kind: BuildConfig, apiVersion: v1, metadata: {{name: b}}, spec: {{strategy: {{}}, output: {output}}}}}\n"
    )
    put(ends.folder / "in", pod_yaml=pod(f"{REFERENCE}/built:latest"), build_yaml=build)
    assert "the source has no" not in ends.run("rewrite", manifest).out


def test_the_bridge_keeps_the_old_registry_and_says_how_to_pull(ends: Ends) -> None:
    ran = rewrite_pod(ends, f"{REFERENCE}/web:9", "missingImages: bridge")
    assert ran.code == 0, ran.text
    assert image_in(ends) == f"{ends.source.host}/my-app/web:9"
    (command,) = set(re.findall(r"oc create secret docker-registry .*", ran.out))
    assert f"--docker-server={ends.source.host}" in command
    assert "-n my-app-2" in command
    (found,) = yaml.safe_load_all((ends.folder / "out/pod.yaml").read_text())
    assert found["spec"]["imagePullSecrets"][0]["name"] in command


def test_what_else_points_at_the_old_cluster_is_one_list_at_the_end(desk: Ends) -> None:
    route = "{apiVersion: v1, kind: Route, metadata: {name: r}, spec: {host: www.example.org, to: {name: web}}}\n"
    build = "{apiVersion: v1, kind: BuildConfig, metadata: {name: b}, spec: {strategy: {}, triggers: [{type: GitHub}]}}"
    data = "{x: oc rollout latest dc/web, y: 193.167.189.25}"
    config = f"\n---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}, data: {data}}}\n"
    pipeline = "build: {script: docker push docker-registry.rahti.csc.fi/my-app/web}\n"
    put(desk.folder / "in", a_yaml=f"{route}---\n{build}{config}", ci_yml=pipeline)
    ran = desk.run("rewrite", "in", "--to", "out", *WORDS)
    _, _, listed = ran.out.partition("What else points at the old cluster:\n")
    for words in (
        "a.yaml:1 www.example.org", "router-default.apps.2.rahti.csc.fi", "oc describe bc -n my-app-2", "ci.yml:1",
        "oc create token pusher -n my-app-2", "oc rollout latest dc/web", "let 86.50.229.150 in",
        "push to image-registry.apps.2.rahti.csc.fi/my-app-2/",
    ):  # fmt: skip
        assert words in listed, words
    (document,) = json.loads(desk.run("rewrite", "in", "--to", "out", *WORDS, "--format", "json").out)["rewrites"]
    assert len(document["elsewhere"]) == 5


CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-db-0, annotations: {volume.beta.kubernetes.io/storage-class: glusterfs-storage}}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 5Gi}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  selector: {matchLabels: {app: db}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteMany]}}]
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: 'quay.io/a/mongo:4', volumeMounts: [{name: data, mountPath: /var/lib/m}]}]}
"""


def test_each_claim_asks_for_its_data_with_the_commands_to_copy_it(desk: Ends) -> None:
    put(desk.folder, c_yaml=CLAIM)
    ran = desk.run("rewrite", "c.yaml", "--to", "out", *WORDS, "--project-map", "my-app=my-app-2")
    assert ran.code == 3
    for words in (
        "5Gi, ReadWriteOnce, class glusterfs-storage -> standard-csi; mounted by StatefulSet/db",
        "StatefulSet/db is a database (MongoDB)", "mongodump",
        "old cluster: oc rsync -n my-app POD:/var/lib/m/ ./data-db-0/",
        "oc run copy-data-db-0 -n my-app-2", '"claimName":"data-db-0"',
        "oc scale -n my-app-2 statefulset/db --replicas=1",
    ):  # fmt: skip
        assert words in ran.out, words
    settled = desk.run("rewrite", "c.yaml", "--to", "out", *WORDS, "--option", "dataCopied=true")
    assert settled.code == 0, settled.text
