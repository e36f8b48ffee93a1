"""Good manifests: everything that the description of the manifest promises is read as it promises."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from migrate.manifest import ALL_PLATFORMS, ImageOptions, ImageRequest, Manifest, load_manifest, parse_manifest
from migrate.manifest.requests import repository_target
from migrate.manifest.schema import manifest_schema
from migrate.reference import Repository

SOURCE = "docker-registry.rahti.csc.fi"
DIGEST = "sha256:" + "0123456789abcdef" * 4

EXAMPLE = f"""
version: 1

source:                                  # default: Rahti 1
  registry: docker-registry.rahti.csc.fi
  login: {{kubeconfigContext: rahti1}}
target:                                  # default: Rahti 2
  registry: image-registry.apps.2.rahti.csc.fi
  login: {{kubeconfigContext: rahti2}}
  caFile: ca.pem
  insecureSkipTlsVerify: false
  plainHttp: false
  api: {{server: "https://api.2.rahti.csc.fi:6443", tokenEnv: RAHTI2_TOKEN, caFile: api.pem}}

projects:                                # source project: target project (default: the same name)
  my-app: my-app-2

defaults:                                # each can be overridden on one image
  format: oci
  onConflict: fail
  platforms: [linux/amd64]
  engine: auto

images:
  - my-app                               # a project: every image stream, every tag
  - my-app/worker                        # an image stream (repository): every tag
  - my-app/backend:1.4                   # one tag
  - from: my-app/frontend
    tags: {{include: ["1.*", latest], exclude: ["*-rc*"], semver: ">=1.2,<3", newest: 10}}
    to: my-app-2/web
  - from: my-app/backend@{DIGEST}
  - from: docker.io/library/centos:7
    to: my-app-2/centos:7
    format: docker
    onConflict: overwrite
    platforms: all
    engine: skopeo

access:
  - project: my-app-2
    allow: [anonymous]
    role: registry-viewer
    proveWith: {{"user:ann": {{tokenEnv: ANN_TOKEN}}, "serviceaccount:my-app-2/ci": {{tokenFile: ci.token}}}}
  - project: my-app-2
    allow: [unauthenticated, authenticated, "project:other", "user:ann", "group:devs", "serviceaccount:my-app-2/ci"]
    images: [web]
  - project: my-app-2
    carryOver: true

workloads:
  - from: exports/my-app
    to: rewritten/my-app-2
    project: my-app-2
    options: {{deploymentConfig: convert, missingImages: finding, dataCopied: false, bitnami: warn,
              routeSuffix: rewrite, hooks: ask, keepManualRollout: false, keepOldLimits: false,
              strictMemoryRatio: false, stripUids: false, stripNodeSelectors: false, harden: false,
              loadBalancer: false, dropUnknown: false, secrets: false}}
  - from: {{cluster: source, project: my-app}}
    to: rewritten/live
    project: my-app-2

platform:
  source:
    registries: ["docker-registry.default.svc:5000", docker-registry.rahti.csc.fi]
    routeSuffix: rahtiapp.fi
    storageClasses: [glusterfs-storage, standard-rwo]
  target:
    internalRegistry: image-registry.openshift-image-registry.svc:5000
    routeSuffix: 2.rahtiapp.fi
    storageClass: standard-csi
    limits: {{imageSize: 5GB, imageStreams: 20, pods: 20, claimSize: 100Gi, minCpu: 10m, maxCpu: "4", minMemory: 4Mi,
             maxMemory: 16Gi, defaultCpu: 500m, defaultMemory: 1Gi, defaultCpuRequest: 100m,
             defaultMemoryRequest: 500Mi, maxCpuRatio: 5}}
imageStreams: {{carry: [labels, lookupPolicy]}}
transfer: {{jobs: auto, linkMaxMissing: 16MiB, manifestPutsPerRepository: 2, copyTimeout: 2h, patience: 10m}}
"""


def parse(body: str) -> Manifest:
    return parse_manifest(f"version: 1\n{body}".encode(), Path("m.yaml"))


def request(entry: str, head: str = "") -> ImageRequest:
    (only,) = parse(f"{head}\nimages:\n  - {entry}\n").images
    return only


def goes_to(entry: str, head: str = "") -> str:
    wanted = request(entry, head)
    return wanted.single_target or wanted.target_path


def test_the_example_of_the_description_is_accepted_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(EXAMPLE)
    manifest = load_manifest(path)
    assert manifest.path == path
    assert [(str(image.source), image.project) for image in manifest.images] == [
        (f"{SOURCE}/my-app", True),
        (f"{SOURCE}/my-app/worker", False),
        (f"{SOURCE}/my-app/backend:1.4", False),
        (f"{SOURCE}/my-app/frontend", False),
        (f"{SOURCE}/my-app/backend@{DIGEST}", False),
        ("docker.io/library/centos:7", False),
    ]
    assert [image.single_target or image.target_path for image in manifest.images] == [
        "my-app-2",
        "my-app-2/worker",
        "my-app-2/backend:1.4",
        "my-app-2/web",
        "my-app-2/backend:sha256-0123456789ab",
        "my-app-2/centos:7",
    ]


def test_the_example_uses_every_key_there_is() -> None:
    """So that the tests above and below hold for the whole manifest, whatever is added to it."""
    used = keys(yaml.safe_load(EXAMPLE))
    schema = manifest_schema()
    known = {key for place in (schema, *schema["$defs"].values()) for key in place.get("properties", {})}
    login_ways = {"username", "passwordEnv", "passwordFile", "authfile", "command"}
    assert known - used == login_ways


def keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return {key for item in value for key in keys(item)}
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys(item)}
    return set()


def test_values_with_units_are_read() -> None:
    file = parse_manifest(EXAMPLE.encode(), Path("m.yaml")).file
    assert file.transfer.link_max_missing == 16 * 2**20
    assert file.transfer.copy_timeout == 7200
    assert file.platform.target.limits.image_size == 5 * 10**9
    assert file.platform.target.limits.claim_size == 100 * 2**30


def test_what_is_left_out_has_the_defaults_of_the_description() -> None:
    file = parse("images: [my-app]").file
    assert (file.source.registry, file.target.registry) == (SOURCE, "image-registry.apps.2.rahti.csc.fi")
    assert (file.source.login, file.source.api, file.source.plain_http) == (None, None, False)
    assert (file.transfer.jobs, file.transfer.link_max_missing, file.transfer.copy_timeout) == ("auto", 2**24, 7200)
    assert file.transfer.manifest_puts_per_repository == 2
    assert file.image_streams.carry == ["labels", "lookupPolicy"]
    assert (file.access, file.workloads, file.projects) == (None, None, {})
    assert request("my-app").options == ImageOptions("oci", "fail", ("linux/amd64",), "auto")


@pytest.mark.parametrize("short", ["my-app", "my-app/worker", "my-app/backend:1.4", f"my-app/backend@{DIGEST}"])
def test_the_short_form_means_the_long_form_with_from_alone(short: str) -> None:
    one, other = request(short), request(f"{{from: '{short}'}}")
    for field in ("index", "source", "project", "target_path", "target_tag", "tags", "options"):
        assert getattr(one, field) == getattr(other, field)


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        ("my-app", "my-app-2"),
        ("my-app/web", "my-app-2/web"),
        ("my-app/deep/er/web", "my-app-2/deep/er/web"),
        ("my-app/web:1", "my-app-2/web:1"),
        ("other", "other"),
        ("other/web:1", "other/web:1"),
        (f"{SOURCE}/my-app/web:1", "my-app-2/web:1"),
        (f"my-app/web@{DIGEST}", "my-app-2/web:sha256-0123456789ab"),
        (f"my-app/web:1@{DIGEST}", "my-app-2/web:1"),
        ("{from: my-app/web, to: x/y}", "x/y"),
        ("{from: 'my-app/web:1', to: x/y}", "x/y:1"),
        ("{from: 'my-app/web:1', to: 'x/y:2'}", "x/y:2"),
        (f"{{from: 'my-app/web@{DIGEST}', to: x/y}}", "x/y:sha256-0123456789ab"),
        (f"{{from: 'my-app/web@{DIGEST}', to: 'x/y:2'}}", "x/y:2"),
        ("{from: 'quay.io/a/b/c:1', to: x/y}", "x/y:1"),
        ("{from: 'localhost:5000/a', to: x/y}", "x/y"),
        ("{from: 'docker.io/centos:7', to: x/centos}", "x/centos:7"),
    ],
)
def test_an_entry_goes_to_the_mapped_project_or_where_it_says(entry: str, target: str) -> None:
    assert goes_to(entry, "projects: {my-app: my-app-2}") == target


def test_only_a_name_alone_is_a_project() -> None:
    assert request("my-app").project
    assert not request("my-app/web").project
    assert not request("{from: quay.io/my-app, to: x/y}").project
    assert not request("{from: 'my-app:1', to: x/y}").project


def test_the_repositories_of_a_project_keep_their_names_in_the_new_one() -> None:
    wanted = request("my-app", "projects: {my-app: my-app-2}")
    assert repository_target(wanted, Repository(SOURCE, "my-app/web")) == "my-app-2/web"
    assert repository_target(wanted, Repository(SOURCE, "my-app/deep/er")) == "my-app-2/deep/er"
    one = request("{from: my-app/web, to: x/y}")
    assert repository_target(one, Repository(SOURCE, "my-app/web")) == "x/y"


def test_hosts_are_the_same_however_they_are_written() -> None:
    assert goes_to("Docker-Registry.Rahti.CSC.fi/my-app/web:1") == "my-app/web:1"
    assert goes_to("docker.io/a/b:1", "source: {registry: index.docker.io}") == "a/b:1"


def test_a_project_of_docker_hub_stays_that_project() -> None:
    wanted = request("my-org", "source: {registry: docker.io}")
    assert wanted.project
    assert str(wanted.source) == "docker.io/my-org"
    assert wanted.target_path == "my-org"


def test_defaults_hold_unless_an_entry_says_otherwise() -> None:
    head = "defaults: {format: keep, onConflict: skip, platforms: [linux/arm64], engine: skopeo}"
    assert request("a/b", head).options == ImageOptions("keep", "skip", ("linux/arm64",), "skopeo")
    entry = "{from: a/b, format: docker, onConflict: overwrite, platforms: all, engine: auto}"
    assert request(entry, head).options == ImageOptions("docker", "overwrite", ALL_PLATFORMS, "auto")
    assert request("{from: a/b, format: oci}", head).options == ImageOptions("oci", "skip", ("linux/arm64",), "skopeo")


@pytest.mark.parametrize(
    ("text", "platforms"),
    [
        ("all", ALL_PLATFORMS),
        ("[linux/amd64]", ("linux/amd64",)),
        ("[linux/arm64/v8, linux/amd64]", ("linux/arm64/v8", "linux/amd64")),
        ("[linux/amd64, linux/amd64]", ("linux/amd64",)),
        ("[windows/amd64]", ("windows/amd64",)),
    ],
)
def test_platforms_are_all_or_a_list_without_repetition(text: str, platforms: tuple[str, ...]) -> None:
    assert request("a/b", f"defaults: {{platforms: {text}}}").options.platforms == platforms
    assert request(f"{{from: a/b, platforms: {text}}}").options.platforms == platforms


def test_the_selector_of_tags_arrives_as_written() -> None:
    tags = request("{from: a/b, tags: {include: ['1.*'], exclude: ['*-rc*'], semver: '>=1,<3', newest: 10}}").tags
    assert (tags.include, tags.exclude, tags.semver, tags.newest) == (["1.*"], ["*-rc*"], ">=1,<3", 10)
    assert request("a/b").tags.model_dump(exclude_none=True) == {}


@pytest.mark.parametrize(
    "login",
    [
        "{kubeconfigContext: rahti1}",
        "{tokenEnv: TOKEN}",
        "{tokenEnv: TOKEN, username: ci}",
        "{tokenFile: token}",
        "{username: ann, passwordEnv: PASSWORD}",
        "{username: ann, passwordFile: password}",
        "{authfile: auth.json}",
        "{command: oc whoami -t}",
        "{command: [oc, whoami, -t], username: ci}",
        "{command: \"sh -c 'echo $TOKEN'\"}",
    ],
)
def test_every_way_to_log_in_is_accepted_on_both_sides(login: str) -> None:
    file = parse(f"source: {{login: {login}}}\ntarget: {{login: {login}}}\nimages: [a]").file
    assert file.source.login == file.target.login
    assert file.source.login is not None


@pytest.mark.parametrize(
    "api",
    [
        "{kubeconfigContext: rahti2}",
        "{server: 'https://api.example.org:6443', tokenEnv: TOKEN}",
        "{server: 'https://api.example.org/', tokenFile: token, insecureSkipTlsVerify: true}",
        "{server: 'https://[::1]:6443'}",
    ],
)
def test_every_way_to_the_api_is_accepted(api: str) -> None:
    assert parse(f"target: {{api: {api}}}\nimages: [a]").file.target.api is not None


@pytest.mark.parametrize(
    "body",
    [
        "access: [{project: my-app-2, carryOver: true}]",
        "workloads: [{from: exports, to: rewritten, project: my-app-2}]",
        "workloads: [{from: ../exports/all.yaml, to: ../rewritten, project: my-app-2}]",
        "images: [a]\naccess:\nworkloads:\n",
        "images: [a]\nprojects: {1: one, my_old.name: new}",
        "images: [a]\ntransfer: {jobs: 16, linkMaxMissing: 0, copyTimeout: 1h30m}",
        "images: [a]\nimageStreams: {carry: []}",
        "images: ['a/b:1', {from: 'a/b:1', to: 'a/c:1'}, 'a/c:2']",
        "images: [a/b, a/b, a]",
        "images: [a/b:2024-01-31, 'a/b:1.10', a/b:0777, a/b:1_0]",
        "source: {plainHttp: yes}\nimages: [a]",
        "source: {registry: 'localhost:5000'}\ntarget: {registry: 'localhost:5000'}\nprojects: {a: b}\nimages: [a]",
    ],
)
def test_these_are_right_too(body: str) -> None:
    assert parse(body).file.version == 1


def test_an_anchor_may_be_used_again() -> None:
    both = parse("images:\n  - {from: a/b, platforms: &both [linux/amd64, linux/arm64]}\n"
                 "  - {from: a/c, platforms: *both}\n").images  # fmt: skip
    assert both[0].options.platforms == both[1].options.platforms == ("linux/amd64", "linux/arm64")


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"\xef\xbb\xbfversion: 1\nimages: [a]\n", "a byte order mark"),
        (b"version: 1\r\nimages:\r\n  - a\r\n", "line ends of Windows"),
        (b"version: 1\nimages: [a]", "no line end at the end"),
        (b"---\nversion: 1\nimages: [a]\n...\n", "the marks of a document"),
        (b"%YAML 1.2\n---\nversion: 1\nimages: [a]\n", "a directive"),
        ("# äö 😀\nversion: 1\nimages: [a]\n".encode(), "a comment in any language"),
        (b'{"version": 1, "images": ["a"]}', "JSON"),
        (b"version: 0x1\nimages: [a]\n", "a number written otherwise"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_of_every_editor_are_read(raw: bytes, what: str) -> None:
    assert [image.target_path for image in parse_manifest(raw, Path("m.yaml")).images] == ["a"]


def test_a_file_and_its_bytes_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(EXAMPLE)
    assert load_manifest(path).file == parse_manifest(EXAMPLE.encode(), path).file


def test_paths_are_relative_to_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    manifest = parse_manifest(b"version: 1\nimages: [a]\n", Path("/srv/site/m.yaml"))
    assert manifest.file_path("ca.pem") == Path("/srv/site/ca.pem")
    assert manifest.file_path("../ca.pem") == Path("/srv/site/../ca.pem")
    assert manifest.file_path("/etc/ca.pem") == Path("/etc/ca.pem")
    assert manifest.file_path("~/ca.pem") == Path("/home/ann/ca.pem")
    assert manifest.file_path("~nobody-of-this-name/ca.pem") == Path("/srv/site/~nobody-of-this-name/ca.pem")


VALIDATOR = Draft202012Validator(manifest_schema())


def test_the_schema_is_a_schema_and_can_be_printed() -> None:
    Draft202012Validator.check_schema(manifest_schema())
    assert json.loads(json.dumps(manifest_schema()))["title"] == "rahti-migrate manifest"


@pytest.mark.parametrize(
    "text", [EXAMPLE, "version: 1\nimages: [a]", "version: 1\naccess: [{project: p, carryOver: true}]"]
)
def test_good_manifests_meet_the_schema(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


def test_the_demo_meets_the_schema_and_is_accepted() -> None:
    path = Path(__file__).parent.parent / "manifests" / "demo.yaml"
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(path.read_text()))] == []
    assert load_manifest(path).images


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("version",), 2),
        (("version",), True),
        (("imagez",), []),
        (("source", "plainHttp"), "yes"),
        (("source", "login", "token"), "x"),
        (("defaults", "format"), "tar"),
        (("defaults", "platforms"), "some"),
        (("images",), []),
        (("images",), {}),
        (("images", 0), 5),
        (("images", 3, "tags", "newest"), 0),
        (("images", 3, "tags", "include"), []),
        (("images", 3, "tags", "include"), "1.*"),
        (("images", 3, "from"), ""),
        (("access", 0, "allow"), "anonymous"),
        (("access", 0, "proveWith", "user:ann", "tokenEnv"), 5),
        (("workloads", 0, "options", "hooks"), "drop"),
        (("workloads", 1, "from", "cluster"), "target"),
        (("transfer", "jobs"), 0),
        (("transfer", "copyTimeout"), 5),
    ],
)
def test_wrong_manifests_do_not_meet_the_schema(place: tuple[str | int, ...], wrong: object) -> None:
    data: Any = yaml.safe_load(EXAMPLE)
    inner = data
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = wrong
    assert not VALIDATOR.is_valid(data)
