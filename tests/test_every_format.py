"""Every image format end to end: pushed to a real registry, copied by the program, read back by an independent client.

Many images go through one run of the program; what is wrong with which of them is collected and shown at once.
"""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Ends
from registrylab.client import LabClient, Stored, missing_from
from registrylab.gateway import gateway
from registrylab.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Image, make_artifact, sha256
from registrylab.registry import LabRegistry, registry
from registrylab.strange import (
    CONFIG_TYPES,
    LAYER_TYPES,
    Part,
    artifact,
    attestation,
    compose,
    compose_index,
    config_of,
    empty_layer,
    layer,
    on,
    schema1,
    serving,
    unsigned_schema1,
)

FORMATS = ("oci", "docker", "keep")
MANIFEST = {"oci": OCI_MANIFEST, "docker": DOCKER_MANIFEST}
INDEX = {"oci": OCI_INDEX, "docker": DOCKER_LIST}
MISNAMED = ("application/octet-stream", "application/json", "text/html", "")
NAMES = {
    form: {pair[other]: pair[form] for pair in (*LAYER_TYPES.values(), CONFIG_TYPES) for other in pair}
    for form in MANIFEST
}
NAMES["oci"].update(dict.fromkeys(MISNAMED, CONFIG_TYPES["oci"]))
LIMIT = 4 * 2**20
"""Bytes of the largest manifest that registries take."""
PULL = ("skopeo", "--insecure-policy", "sync", "--all", "--scoped", "--keep-going")


@contextmanager
def two_ends(folder: Path, *, urls: bool) -> Iterator[Ends]:
    """A source that takes everything, and a target that takes layers which are kept elsewhere, or does not."""
    with (
        registry(schema1=True, urls=True, folder=folder / "source") as source,
        registry(urls=urls, folder=folder / "target") as target,
    ):
        (folder / "work").mkdir()
        yield Ends(source, target, folder / "work")


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    """Two registries, as in all tests, but these take foreign layers."""
    with two_ends(tmp_path, urls=True) as made:
        yield made


@dataclass(frozen=True)
class Wish:
    """A wanted copy of tag 1, and what is wrong with that which came of it, in words.

    Attributes:
        source: repository at the source.
        to: repository at the target.
        wrong: told what stands there.
        options: of the manifest's entry.
        elsewhere: digests of blobs that no registry holds.
    """

    source: str
    to: str
    wrong: Callable[[Stored], str]
    options: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()

    @property
    def entry(self) -> dict[str, Any]:
        return {"from": f"{self.source}:1", "to": f"{self.to}:1", **self.options}


def manifest_of(ends: Ends, entries: Sequence[Mapping[str, Any]]) -> Path:
    return ends.manifest(f"images: {json.dumps(list(entries))}\n")


def arrives(ends: Ends, target: LabClient, wishes: Sequence[Wish]) -> None:
    """Copy, verify whole, copy again, copy without memory: everything is there, can be pulled, and is left alone."""
    manifest = manifest_of(ends, [wish.entry for wish in wishes])
    ran = ends.run("copy", manifest)
    assert ran.code == 0, ran.text[-3000:]
    assert found_wrong(target, wishes) == {}
    ran = ends.run("verify", manifest, "--deep", "--format", "json")
    assert {tag["target"]: tag["words"] for tag in ran.json["tags"] if tag["verdict"] != "equal"} == {}
    assert f"nothing to do: {len(wishes)} tags" in ends.run("copy", manifest).out
    assert f"nothing to do: {len(wishes)} tags" in ends.run("copy", manifest, "--state", "forgotten.db").out
    converted = [wish.to for wish in wishes if wish.options.get("format") not in (*wish.source.split("/"), "keep")]
    assert not_pulled(ends.target, [name for name in converted if "foreign" not in name], ends.folder / "pulled") == ""


def found_wrong(target: LabClient, wishes: Sequence[Wish]) -> dict[str, str]:
    target.blob = cache(target.blob)  # type: ignore[method-assign]  # each blob of a repository is read once
    found = {}
    for wish in wishes:
        stored = target.manifest(wish.to, "1")
        missing = set(missing_from(target, wish.to, "1")) - set(wish.elsewhere)
        words = "not there" if stored is None else wish.wrong(stored)
        found[wish.to] = words or (f"without {sorted(missing)}" if missing else "")
    return {name: words for name, words in found.items() if words}


def not_pulled(lab: LabRegistry, repositories: Sequence[str], folder: Path) -> str:
    """Pull tag 1 of each with skopeo, all platforms; what it says of those that it cannot read."""
    listed = folder.with_suffix(".yaml")
    images = {repository: ["1"] for repository in repositories}
    listed.write_text(json.dumps({lab.host: {"images": images, "tls-verify": False}}))
    argv = [*PULL, "--src", "yaml", "--dest", "dir", str(listed), str(folder)]
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    said = [line for line in done.stderr.splitlines() if "level=info" not in line]
    return "\n".join(said) or ("" if done.returncode == 0 else f"exit code {done.returncode}")


# --- plain images -----------------------------------------------------------------------------------------------


def shapes(family: str) -> dict[str, Image]:
    """Plain images of all the shapes that Docker schema 2 and OCI share."""

    def part(name: str, kind: str = "gzip", **options: Any) -> Part:
        return layer(name, kind, family, **options)

    base, top, empty = part("base"), part("top"), empty_layer(family)
    zero = Part(LAYER_TYPES["tar"][family], b"", sha256(b""))
    annotations = {"org.opencontainers.image.title": "sää 天気", "empty": ""}
    padding = LIMIT - len(compose([base], family, more={"annotations": {"padding": ""}}).body) - 1
    return {
        "gzip": compose([base, top], family),
        "tar": compose([zero, base, part("tar", "tar")], family),
        "foreign": compose([part("foreign-tar", "foreign tar"), base, part("foreign", "foreign")], family),
        "empty-layers": compose([empty, base, empty, empty, top, empty], family),
        "no-layers": compose([], family),
        "twice": compose([base, top, base, base], family),
        "pretty": compose([base], family, indent=7),
        "extra": compose(
            [part("extra", more={"annotations": annotations, "x": [None]})],
            family,
            more={"annotations": annotations, "x-y": {"z": [1, 2.5, None]}},
        ),
        "huge": compose([base], family, more={"annotations": {"padding": "x" * padding}}),
    }


def docker_shapes() -> dict[str, Image]:
    base = layer("base")
    misnamed = {
        f"misnamed-{number}": compose([base], config=replace(config_of([base]), media_type=media_type))
        for number, media_type in enumerate(MISNAMED)
    }
    many = compose([layer(f"layer-{number % 30}", size=5) for number in range(120)])
    return {**shapes("docker"), **misnamed, "many": many}


def oci_shapes() -> dict[str, Image]:
    base, other = layer("base", family="oci"), layer("top")
    subject = {"mediaType": OCI_MANIFEST, "digest": sha256(b"subject"), "size": 7}
    return {
        **shapes("oci"),
        "zstd": compose([base, layer("zstd", "zstd", "oci")], "oci"),
        "no-type": compose([base], "oci", without=["mediaType"]),
        "artifact-type": compose([base], "oci", more={"artifactType": "application/x.y"}),
        "subject": compose([base], "oci", more={"subject": subject}),
        "mixed": compose([base, other], "oci", config=config_of([base, other], "docker")),
    }


SHAPES = {
    f"{family}/{name}": image
    for family, images in (("docker", docker_shapes()), ("oci", oci_shapes()))
    for name, image in images.items()
}
"""By repository at the source."""
LEFT_OUT = {("oci/zstd", "docker"), *((name, "docker") for name in ("docker/many", "docker/huge", "oci/huge"))}
"""Docker schema 2 has no zstd (see the test of that); what is large is copied as OCI only."""
KEPT = {"docker/gzip", "docker/misnamed-0", "oci/gzip", "oci/extra", "oci/mixed", "oci/no-type", "oci/zstd"}
"""Which are copied with `format: keep` too; of the others it is the same as their own format."""


def expected(image: Image, form: str) -> dict[str, Any]:
    """The document that is to stand at the target, by the tables of the test library."""
    document: dict[str, Any] = json.loads(image.body)
    if form == "keep":
        return document
    parts = {"config": named(document["config"], form), "layers": [named(part, form) for part in document["layers"]]}
    if image.media_type == MANIFEST[form] and {key: document[key] for key in parts} == parts:
        return document
    annotations = {"annotations": document["annotations"]} if form == "oci" and "annotations" in document else {}
    return {"schemaVersion": 2, "mediaType": MANIFEST[form], **parts, **annotations}


def named(descriptor: Mapping[str, Any], form: str) -> dict[str, Any]:
    """A descriptor of a config or layer as a format calls it."""
    return {**descriptor, "mediaType": NAMES[form].get(descriptor["mediaType"], descriptor["mediaType"])}


def wrong_image(image: Image, form: str, stored: Stored) -> str:
    if stored.media_type != MANIFEST.get(form, image.media_type):
        return f"is {stored.media_type}"
    wanted = expected(image, form)
    if wanted == json.loads(image.body):
        return "" if stored.body == image.body else "is not byte for byte the source's"
    return "" if stored.document == wanted else f"is {stored.body[:1000]!r}"


def wrong_type(media_type: str, stored: Stored) -> str:
    return "" if stored.media_type == media_type else f"is {stored.media_type}"


def elsewhere(image: Image) -> tuple[str, ...]:
    """The layers of an image that no registry holds."""
    return tuple(part["digest"] for part in json.loads(image.body)["layers"] if part["digest"] not in image.blobs)


def image_wishes() -> Iterator[Wish]:
    for name, image in SHAPES.items():
        for form in FORMATS if name in KEPT else MANIFEST:
            if (name, form) not in LEFT_OUT:
                wrong = partial(wrong_image, image, form)
                yield Wish(name, f"{form}/{name.replace('/', '-')}", wrong, {"format": form}, elsewhere(image))


def test_images_of_every_shape_arrive_in_every_format(ends: Ends, source: LabClient, target: LabClient) -> None:
    for name, image in SHAPES.items():
        source.push(name, image, "1")
    arrives(ends, target, list(image_wishes()))


@pytest.mark.parametrize("family", MANIFEST)
def test_the_huge_image_manifest_is_as_large_as_registries_take(family: str) -> None:
    assert len(SHAPES[f"{family}/huge"].body) == LIMIT - 1


# --- what is no image -------------------------------------------------------------------------------------------

AMD64, ARM64, V6, V7 = "linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7"
EMPTY_CONFIG = Part("application/vnd.oci.empty.v1+json", b"{}")
SBOM = artifact(EMPTY_CONFIG, Part("text/spdx", b"sbom"), artifactType="application/spdx+json")
SAID = {"annotations": {"com.example.child": "1"}, "artifactType": "application/x.y"}


def child(name: str, family: str = "oci", **fields: Any) -> Image:
    layers = [layer("base", family=family), layer(name, family=family)]
    return compose(layers, family, config=config_of(layers, family, **fields))


O_AMD, O_ARM, D_AMD, D_ARM = (
    child(name, family, architecture=name) for family in ("oci", "docker") for name in ("amd64", "arm64")
)
ARMS = [(child(f"arm{v}", "docker", architecture="arm", variant=v), on(f"linux/arm/{v}")) for v in ("v6", "v7")]
PLAIN = [(O_AMD, on(AMD64)), (O_ARM, on(ARM64))]
DOCKER = [(D_AMD, on(AMD64)), (D_ARM, on(ARM64))]
ATTESTED = [*PLAIN, attestation(O_AMD), attestation(O_ARM)]
BASE, APP, EMPTY = layer("base"), layer("app"), empty_layer()
TAGGED = layer("tagged", family="oci")
REFUSED = {
    "helm": (make_artifact(), "application/vnd.cncf.helm.config.v1+json"),
    "plugin": (
        compose([BASE], config=Part("application/vnd.docker.plugin.v1+json", b"{}")),
        "application/vnd.docker.plugin.v1+json",
    ),
    "sbom": (SBOM, "artifact"),
    "bundle": (artifact(EMPTY_CONFIG, Part("application/vnd.dev.sigstore.bundle.v0.3+json", b"{}")), "artifact"),
    "misnamed": (
        compose([TAGGED], "oci", config=Part("application/octet-stream", config_of([TAGGED]).data)),
        "application/octet-stream",
    ),
    "nested": (compose_index([(compose_index(PLAIN), on(AMD64))]), "holds another manifest list"),
    "nested-only": (compose_index([(compose_index(PLAIN), {})]), "holds another manifest list"),
    "no-platforms": (compose_index([(O_AMD, {}), (O_ARM, {})]), "has no linux/amd64"),
    "other-platforms": (compose_index(ARMS, "docker"), "it has linux/arm/v6, linux/arm/v7"),
    "artifact-child": (compose_index([(SBOM, on(AMD64))]), "no container image but an artifact"),
    "no-children": (compose_index([]), "has no linux/amd64"),
}


def test_what_is_no_image_is_refused_in_words_and_all_others_arrive(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    for name, (image, _) in REFUSED.items():
        source.push(f"a/{name}", image, "1")
    source.push("a/good", O_AMD, "1")
    entries = [
        {"from": f"a/{name}:1", "to": f"{engine}/{name}:1", "engine": engine}
        for engine in ("auto", "skopeo")
        for name in (*REFUSED, "good")
    ]
    ran = ends.run("copy", manifest_of(ends, entries), "--format", "json")
    assert ran.code == 3
    refused = [event for event in ran.events if event["event"] == "refused"]
    assert len(refused) == 2 * len(REFUSED)
    assert {event["class"] for event in refused} == {"unsupported"}
    for event in refused:
        name = event["target"].split("/")[2].removesuffix(":1")
        assert REFUSED[name][1] in event["reason"], name
    assert target.images().keys() == {"auto/good:1", "skopeo/good:1"}
    assert missing_from(target, "auto/good", "1") + missing_from(target, "skopeo/good", "1") == []


# --- lists and indexes ------------------------------------------------------------------------------------------

Entry = tuple[Image, Mapping[str, Any]]


@dataclass(frozen=True)
class Several:
    """An index, and for wishes of platforms the numbers of those of its entries that are to arrive (one: plain)."""

    entries: Sequence[Entry]
    wishes: Mapping[str, Sequence[int]]
    family: str = "oci"
    more: Mapping[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()

    @property
    def image(self) -> Image:
        return compose_index(self.entries, self.family, more=self.more, without=self.without)


ONE, BOTH = AMD64, f"{ARM64},{AMD64}"
WINDOWS = [(child(v, "docker", os="windows"), on("windows/amd64", **{"os.version": v})) for v in ("10.0.1", "10.0.2")]
INDEXES = {
    "list": Several(DOCKER, {ONE: [0], BOTH: [0, 1], "all": [0, 1]}, "docker"),
    "index": Several(PLAIN, {ONE: [0], BOTH: [0, 1], "all": [0, 1]}),
    "attested": Several(ATTESTED, {ONE: [0], BOTH: [0, 1], "all": [0, 1]}),
    "attested-docker": Several([*DOCKER, attestation(D_AMD)], {"all": [0, 1]}),
    "attested-list": Several([*DOCKER, attestation(D_AMD)], {"all": [0, 1]}, "docker"),
    "attested-single": Several([PLAIN[0], attestation(O_AMD)], {ONE: [0], "all": [0]}),
    "single": Several(PLAIN[:1], {ONE: [0], "all": [0]}),
    "nameless": Several([(O_AMD, {})], {ONE: [0], "all": [0]}),
    "variants": Several(
        [*ARMS, DOCKER[0]],
        {V7: [1], "linux/arm": [0], f"{ONE},{V7}": [1, 2], "all": [0, 1, 2]},
        "docker",
    ),
    "variants-in-one": Several([DOCKER[0], (D_ARM, on(V6)), (D_ARM, on(V7))], {V7: [2], "all": [0, 1, 2]}, "docker"),
    "repeated": Several([*PLAIN, PLAIN[0]], {ONE: [0], BOTH: [0, 1, 2], "all": [0, 1, 2]}),
    "annotated": Several(
        [(O_AMD, {**on(AMD64), **SAID}), (D_ARM, on(ARM64, **{"os.features": ["x"]}))],
        {ONE: [0], BOTH: [0, 1], "all": [0, 1]},
        more={"annotations": {"com.example.index": "2"}, "x": [1]},
    ),
    "artifact-child": Several([*PLAIN, (SBOM, {"artifactType": "application/spdx+json"})], {ONE: [0], "all": [0, 1]}),
    "nested": Several([PLAIN[0], (compose_index(PLAIN[1:]), {})], {ONE: [0], "all": [0]}),
    "windows": Several(WINDOWS, {"windows/amd64": [0], "all": [0, 1]}, "docker"),
    "no-type": Several(PLAIN, {ONE: [0], "all": [0, 1]}, without=["mediaType"]),
}


def wrong_several(
    target: LabClient, to: str, several: Several, wanted: Sequence[int], form: str, stored: Stored
) -> str:
    """What is wrong with an index: its type, a child, its entries with all that they say, its annotations."""
    source = several.image
    media_type = INDEX.get(form, source.media_type)
    chosen = [several.entries[number] for number in wanted]
    there = stored.document["manifests"]
    if (stored.media_type, len(there)) != (media_type, len(chosen)):
        return f"is {stored.media_type} of {len(there)}"
    entries = []
    for entry, (image, said) in zip(there, chosen, strict=True):
        found = target.manifest(to, entry["digest"])
        if wrong := "has a child less" if found is None else wrong_image(image, form, found):
            return wrong
        entries.append({"mediaType": found.media_type, "digest": sha256(found.body), "size": len(found.body), **said})
    if entries == json.loads(source.body)["manifests"] and media_type == source.media_type:
        return "" if stored.body == source.body else "is not byte for byte the source's"
    annotations = {k: v for k, v in several.more.items() if k == "annotations" and media_type == OCI_INDEX}
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries, **annotations}
    return "" if stored.document == document else f"is {stored.body[:1000]!r}"


IN_EVERY_FORMAT = {
    ("list", "all"),
    ("index", "all"),
    ("attested", ONE),
    ("attested", BOTH),
    ("attested", "all"),
    ("attested-docker", "all"),
    ("attested-list", "all"),
    ("annotated", BOTH),
    ("annotated", "all"),
    ("no-type", "all"),
}
"""Indexes and wishes of platforms; all others as OCI."""


def platforms(said: str) -> dict[str, Any]:
    return {"platforms": said if said == "all" else said.split(",")}


def index_wishes(target: LabClient) -> Iterator[Wish]:
    for name, several in INDEXES.items():
        for number, (said, wanted) in enumerate(several.wishes.items()):
            for form in FORMATS if (name, said) in IN_EVERY_FORMAT else ("oci",):
                to = f"{form}-{number}/{name}"
                plain = partial(wrong_image, several.entries[wanted[0]][0], form)
                whole = partial(wrong_several, target, to, several, wanted, form)
                is_plain = said != "all" and "," not in said
                options = {"format": form, **platforms(said)}
                yield Wish(f"a/{name}", to, plain if is_plain else whole, options)


def test_lists_and_indexes_arrive_with_the_wanted_platforms(ends: Ends, source: LabClient, target: LabClient) -> None:
    for name, several in INDEXES.items():
        source.push(f"a/{name}", several.image, "1")
    arrives(ends, target, list(index_wishes(target)))


# --- converted by skopeo itself ---------------------------------------------------------------------------------

SKOPEO = {"engine": "skopeo"}
BY_SKOPEO = {
    "docker/tar": "oci",
    "docker/foreign": "oci",
    "docker/empty-layers": "oci",
    "docker/no-layers": "oci",
    "docker/misnamed-0": "oci",
    "docker/gzip": "keep",
    "docker/twice": "docker",
    "oci/tar": "docker",
    "oci/zstd": "oci",
    "oci/foreign": "docker",
    "oci/mixed": "oci",
    "oci/no-type": "keep",
    "oci/extra": "docker",
}
"""Plain images, and the format that is asked for."""
WHOLE = {
    "list": "oci",
    "index": "docker",
    "attested": "keep",
    "attested-docker": "oci",
    "variants": "keep",
    "repeated": "docker",
    "annotated": "oci",
    "artifact-child": "oci",
}
"""Indexes: all children come along, also those that run nowhere."""


def wrong_number(several: Several, form: str, stored: Stored) -> str:
    wanted = INDEX.get(form, several.image.media_type)
    there = len(stored.document["manifests"])
    return "" if (stored.media_type, there) == (wanted, len(several.entries)) else f"is {stored.document}"


def by_skopeo() -> Iterator[tuple[Image, Wish]]:
    for name, form in BY_SKOPEO.items():
        image = SHAPES[name]
        wrong: Callable[[Stored], str] = partial(wrong_type, MANIFEST.get(form, image.media_type))
        yield image, Wish(name, f"b/{name.replace('/', '-')}", wrong, {"format": form, **SKOPEO}, elsewhere(image))
    for name, form in WHOLE.items():
        wrong = partial(wrong_number, INDEXES[name], form)
        options = {"format": form, **platforms("all"), **SKOPEO}
        yield INDEXES[name].image, Wish(f"a/{name}", f"c/{name}", wrong, options)


def test_what_skopeo_converts_itself_counts_as_the_same(ends: Ends, source: LabClient, target: LabClient) -> None:
    """It writes configs anew and compresses plain layers; verify and later runs know them all the same."""
    wanted = list(by_skopeo())
    for image, wish in wanted:
        source.push(wish.source, image, "1")
    arrives(ends, target, [wish for _, wish in wanted])


# --- Docker schema 1 --------------------------------------------------------------------------------------------

RUNTIME = {
    "Cmd": ["/srv/start", "<&>"],
    "Entrypoint": ["/bin/sh", "-c"],
    "Env": ["PATH=/usr/bin", "MOTTO=äö"],
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"a": "b"},
    "User": "1001",
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
}
WHEN = "2014-05-06T07:08:09Z"


def with_history() -> Image:
    """An image of two layers and many steps that changed no file."""
    nothing = [{"created": WHEN, "created_by": f"ENV A={n}", "empty_layer": True} for n in range(60)]
    made = [{"created": WHEN, "created_by": name} for name in ("ADD base", "ADD app")]
    history = [*nothing[:5], made[0], *nothing[5:], made[1], nothing[0]]
    return compose([BASE, APP], config=config_of([BASE, APP], config=RUNTIME, history=history))


def steps(throwaway: bool) -> list[tuple[str, dict[str, Any]]]:
    """Schema 1 as old dockers wrote it, with or without saying which layers are thrown away."""
    empty = {"throwaway": True} if throwaway else {"Size": 0}
    said = {"created": WHEN, "container_config": {"Cmd": ["#(nop)"]}}
    newest = {"docker_version": "1.3", "config": RUNTIME, "architecture": "amd64", "os": "linux"}
    return [
        (EMPTY.digest, {"id": "a" * 64, **said, **empty}),
        (BASE.digest, {"id": "b" * 64, "parent": "a" * 64, **said, "Size": 33}),
        (EMPTY.digest, {"id": "c" * 64, "parent": "b" * 64, **said, "config": {"Cmd": None}, **empty}),
        (APP.digest, {"id": "d" * 64, "parent": "c" * 64, **said}),
        (EMPTY.digest, {"id": "e" * 64, "parent": "d" * 64, **said, **newest, **empty}),
    ]


def shelf_of(source: LabClient) -> dict[str, bytes]:
    """Unsigned schema 1: what skopeo made, without its signature, and what old dockers made."""
    signed = source.manifest("signed/plain", "1")
    assert signed
    only_empty = [(EMPTY.digest, {"id": "a" * 64, "created": WHEN, "config": RUNTIME, "throwaway": True})]
    return {
        "unsigned/stripped:1": unsigned_schema1(signed.body),
        "unsigned/throwaway:1": schema1("unsigned/throwaway", "1", steps(throwaway=True)),
        "unsigned/kept:1": schema1("unsigned/kept", "1", steps(throwaway=False)),
        "unsigned/nothing:1": schema1("unsigned/nothing", "1", only_empty),
    }


def wrong_schema1(target: LabClient, to: str, form: str, layers: Sequence[Part], stored: Stored) -> str:
    """Layers by digest (thrown away ones may be dropped or not), and how it runs, whatever skopeo wrote around it."""
    if stored.media_type != MANIFEST[form]:
        return f"is {stored.media_type}"
    there = [part["digest"] for part in stored.document["layers"] or () if part["digest"] != EMPTY.digest]
    config = json.loads(target.blob(to, stored.document["config"]["digest"]))
    if there != [part.digest for part in layers]:
        return f"has layers {there}"
    return "" if {key: config["config"].get(key) for key in RUNTIME} == RUNTIME else f"runs as {config['config']}"


def push_schema1(source: LabClient) -> dict[str, bytes]:
    """Signed schema 1, by skopeo; and the shelf of what is unsigned, whose blobs are pushed."""
    twice, plain = ([BASE, BASE, APP], [BASE, APP])
    source.push_schema1("signed/history", with_history(), "1")
    source.push_schema1("signed/twice", compose(twice, config=config_of(twice, config=RUNTIME)), "1")
    source.push_schema1("signed/plain", compose(plain, config=config_of(plain, config=RUNTIME)), "1")
    shelf = shelf_of(source)
    for name in shelf:
        source.push(name.partition(":")[0], compose([*plain, EMPTY]))
    return shelf


def schema1_wishes(target: LabClient) -> Iterator[Wish]:
    layers = {"signed/twice": [BASE, BASE, APP], "unsigned/nothing": []}
    wanted = {
        "docker": ["history", "stripped"],
        "oci": ["history", "twice", "stripped", "throwaway", "kept", "nothing"],
    }
    for form, names in wanted.items():
        for name in names:
            source = f"{'signed' if name in ('history', 'twice') else 'unsigned'}/{name}"
            to = f"{form}/{name}"
            wrong = partial(wrong_schema1, target, to, form, layers.get(source, [BASE, APP]))
            yield Wish(source, to, wrong, {"format": form})
    wrong = partial(wrong_schema1, target, "skopeo/history", "oci", [BASE, APP])
    yield Wish("signed/history", "skopeo/history", wrong, SKOPEO)


def test_schema_1_signed_and_unsigned_arrives_converted(ends: Ends, source: LabClient, target: LabClient) -> None:
    with gateway(ends.source.host, serving(push_schema1(source))) as near:
        ends.source = replace(ends.source, host=near.host)
        arrives(ends, target, list(schema1_wishes(target)))


# --- what is left out, and what is said of it -------------------------------------------------------------------


def cosign_signature(image: Image) -> Image:
    """As cosign keeps a signature beside the image: it looks like an image of one strange layer."""
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": image.digest}}}).encode()
    said = {"annotations": {"dev.cosignproject.cosign/signature": "MEUCIQ=="}}
    signature = Part("application/vnd.dev.cosign.simplesigning.v1+json", payload, sha256(payload), more=said)
    return compose([signature], "oci", config=config_of([signature], "oci", architecture="", os="", config={}))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, Any]]:
    """What plan says of everything strange, by the tag at the target."""
    signed = child("signed", "docker")
    images = {
        "attested": INDEXES["attested"].image,
        "nested": INDEXES["nested"].image,
        "sboms": INDEXES["artifact-child"].image,
        "windows": INDEXES["windows"].image,
        "sbom": SBOM,
        "no-platforms": REFUSED["no-platforms"][0],
        "cosign": cosign_signature(signed),
        "in-toto": attestation(signed)[0],
        "titled": SHAPES["oci/extra"],
    }
    wishes = {
        "attested-one": {"from": "a/attested:1"},
        "attested-both": {"from": "a/attested:1", **platforms(BOTH)},
        "attested-all": {"from": "a/attested:1", **platforms("all")},
        "nested": {"from": "a/nested:1", **platforms("all")},
        "sboms": {"from": "a/sboms:1", **platforms("all")},
        "windows": {"from": "a/windows:1", **platforms("windows/amd64")},
        "builder": {"from": "a/builder:1"},
        "builder-kept": {"from": "a/builder:1", "format": "keep"},
        "titled": {"from": "a/titled:1", "format": "docker"},
        **{name: {"from": f"a/{name}:1"} for name in ("sbom", "no-platforms", "cosign", "in-toto")},
    }
    with two_ends(tmp_path_factory.mktemp("planned"), urls=True) as ends, LabClient(ends.source) as source:
        for name, image in images.items():
            source.push(f"a/{name}", image, "1")
        config = {"Cmd": ["x"], "OnBuild": ["RUN make"]}
        source.push_schema1("a/builder", compose([BASE], config=config_of([BASE], config=config)), "1")
        entries = [{**entry, "to": f"b/{name}:1"} for name, entry in wishes.items()]
        ran = ends.run("plan", manifest_of(ends, entries), "--format", "json")
    return {copy["target"].split("/")[2].removesuffix(":1"): copy for copy in ran.json["copies"]}


Planned = Mapping[str, dict[str, Any]]


def test_schema_1_is_not_kept(planned: Planned) -> None:
    kept = planned["builder-kept"]
    assert kept["action"] == "refused"
    assert "Docker schema 1 does not run on OpenShift 4: `format: oci` or `docker`" in kept["reason"]


def test_attestations_that_are_left_out_are_said(planned: Planned) -> None:
    said = {name: planned[f"attested-{name}"]["warnings"] for name in ("one", "both", "all")}
    assert all(any("left out" in words for words in warnings) for warnings in said.values())
    assert [name for name, warnings in said.items() if ARM64 in " ".join(warnings)] == ["one"]


@pytest.mark.parametrize(("name", "word"), [("attested-all", "attestation"), ("nested", "list"), ("sboms", "artifact")])
def test_what_is_left_out_is_called_what_it_is(planned: Planned, name: str, word: str) -> None:
    assert any(word in words for words in planned[name]["warnings"])


def test_another_version_of_windows_that_is_left_out_is_said(planned: Planned) -> None:
    assert planned["windows"]["warnings"]


def test_what_a_schema_1_image_loses_is_said(planned: Planned) -> None:
    assert any("OnBuild" in words for words in planned["builder"]["warnings"])


def test_annotations_that_get_lost_are_said(planned: Planned) -> None:
    assert any("annotations" in words for words in planned["titled"]["warnings"])


def test_an_artifact_is_called_by_its_type(planned: Planned) -> None:
    assert "application/spdx+json" in planned["sbom"]["reason"]


def test_no_advice_is_given_that_cannot_help(planned: Planned) -> None:
    assert "set `platforms`" not in planned["no-platforms"]["reason"]


@pytest.mark.parametrize("name", ["cosign", "in-toto"])
def test_signatures_and_statements_that_look_like_images_are_carried_as_they_are(planned: Planned, name: str) -> None:
    assert planned[name]["action"] == "copy"
    assert planned[name]["expectedDigest"] == planned[name]["source"].partition("@")[2]


# --- what fails, each alone -------------------------------------------------------------------------------------


def with_urls(name: str) -> Image:
    """An image of an ordinary layer that can be had elsewhere too."""
    return compose([layer(name, more={"urls": [f"https://layers.example.org/{name}"]})])


STALE = {"data": base64.b64encode(D_AMD.body).decode()}
HARD: Mapping[str, tuple[Image, Mapping[str, Any]]] = {
    "good": (child("good"), {}),
    "foreign": (SHAPES["docker/foreign"], {}),
    "urls": (with_urls("urls"), {}),
    "sha512": (compose([layer("sha512", family="oci", algorithm="sha512")], "oci"), {}),
    "docker-zstd": (compose([layer("docker-zstd", "zstd")]), {}),
    "docker-mixed": (compose([layer("docker-mixed", family="oci")], config=config_of([layer("docker-mixed")])), {}),
    "zstd": (SHAPES["oci/zstd"], {"format": "docker"}),
    "zstd-by-skopeo": (SHAPES["oci/zstd"], {"format": "docker", **SKOPEO}),
    "variants": (INDEXES["variants-in-one"].image, platforms(f"{ONE},{V6}")),
    "data": (compose_index([(D_AMD, {**on(AMD64), **STALE}), DOCKER[1]]), platforms("all")),
    "nested-by-skopeo": (INDEXES["nested"].image, {**platforms("all"), **SKOPEO}),
    "sboms-by-skopeo": (compose_index([*PLAIN, (SBOM, on(V6))]), {**platforms("all"), **SKOPEO}),
    "nameless-by-skopeo": (INDEXES["nameless"].image, {**platforms("all"), "format": "docker", **SKOPEO}),
    "attested-by-skopeo": (INDEXES["attested"].image, {**platforms("all"), "format": "docker", **SKOPEO}),
}


@dataclass(frozen=True)
class Tried:
    """How the first try of each copy ended, by its name; and what was at the target then, and could be pulled."""

    events: Mapping[str, dict[str, Any]]
    stored: Mapping[str, Stored | None]
    not_pulled: Mapping[str, str]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Copies what is hard to a target that takes no layers which are kept elsewhere; nothing is tried twice."""
    folder = tmp_path_factory.mktemp("tried")
    with two_ends(folder, urls=False) as ends, LabClient(ends.source) as source, LabClient(ends.target) as target:
        for name, (image, _) in HARD.items():
            source.push(f"a/{name}", image, "1")
        entries = [{"from": f"a/{name}:1", "to": f"b/{name}:1", **options} for name, (_, options) in HARD.items()]
        manifest = manifest_of(ends, entries)
        manifest.write_text(f"{manifest.read_text()}\ntransfer: {{linkMaxMissing: 0}}\n")
        events = first_tries(ends, manifest, len(entries))
        stored = {name: target.manifest(f"b/{name}", "1") for name in HARD}
        pulled = {name: not_pulled(ends.target, [f"b/{name}"], folder / name) for name in ("good", "zstd")}
    return Tried(events, stored, pulled)


def first_tries(ends: Ends, manifest: Path, tags: int) -> dict[str, dict[str, Any]]:
    """Run `copy` until each tag was tried once, then stop it: five tries of what cannot succeed take half a minute."""
    running = ends.start("copy", manifest, "--format", "json")
    assert running.stdout
    found: dict[str, dict[str, Any]] = {}
    for line in running.stdout:
        event = json.loads(line)
        if "target" in event:
            found.setdefault(event["target"].split("/")[2].removesuffix(":1"), event)
        if len(found) == tags:
            running.send_signal(signal.SIGINT)
            break
    running.communicate(timeout=60)
    return found


def outcome(tried: Tried, name: str) -> tuple[str, str]:
    event = tried.events[name]
    return event["event"], event["class"] or ""


def test_an_image_that_can_arrive_does_among_those_that_cannot(tried: Tried) -> None:
    assert set(tried.events) == set(HARD)
    assert outcome(tried, "good") == ("done", "")
    assert tried.not_pulled["good"] == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("docker-zstd", 'unsupported docker v2s2 media type: "application/vnd.docker.image.rootfs.diff.tar.zstd"'),
        ("docker-mixed", 'unsupported docker v2s2 media type: "application/vnd.oci.image.layer.v1.tar+gzip"'),
        ("attested-by-skopeo", 'media type during manifest conversion: "application/vnd.in-toto+json"'),
    ],
)
def test_what_skopeo_cannot_read_fails_at_once_with_its_words(tried: Tried, name: str, words: str) -> None:
    assert outcome(tried, name) == ("failed", "unsupported")
    assert words in tried.events[name]["error"]
    assert tried.stored[name] is None


def test_what_skopeo_cannot_read_arrives_without_it(tmp_path: Path) -> None:
    names = ["docker-zstd", "docker-mixed", "sha512"]
    with two_ends(tmp_path, urls=False) as ends, LabClient(ends.source) as source, LabClient(ends.target) as target:
        for name in names:
            source.push(f"a/{name}", HARD[name][0], "1")
        entries = [{"from": f"a/{name}:1", "to": f"b/{name}:1", **HARD[name][1]} for name in names]
        ran = ends.run("run", manifest_of(ends, entries))
        assert ran.code == 0, ran.text
        assert set(target.images()) == {f"b/{name}:1" for name in names}


def test_a_target_that_refuses_foreign_layers_is_said_to(tried: Tried) -> None:
    assert outcome(tried, "foreign") == ("failed", "unsupported")


@pytest.mark.parametrize(("name", "event"), [("urls", "refused"), ("zstd-by-skopeo", "refused"), ("sha512", "failed")])
def test_what_skopeo_will_never_do_is_not_tried_again(tried: Tried, name: str, event: str) -> None:
    assert outcome(tried, name) == (event, "unsupported")


def test_what_arrives_as_docker_can_be_pulled(tried: Tried) -> None:
    assert tried.stored["zstd"] is None or tried.not_pulled["zstd"] == ""


def test_a_platform_that_is_left_out_is_not_in_the_index(tried: Tried) -> None:
    stored = tried.stored["variants"]
    assert stored
    there = [entry["platform"].get("variant", "") for entry in stored.document["manifests"]]
    assert there == ["", "v6"]


def test_an_entry_does_not_embed_the_child_as_it_was(tried: Tried) -> None:
    stored = tried.stored["data"]
    assert stored
    entry = stored.document["manifests"][0]
    assert "data" not in entry or sha256(base64.b64decode(entry["data"])) == entry["digest"]


@pytest.mark.parametrize("name", ["nested-by-skopeo", "sboms-by-skopeo"])
def test_an_index_that_cannot_be_copied_whole_is_refused(tried: Tried, name: str) -> None:
    assert outcome(tried, name) == ("refused", "unsupported")


def test_a_list_of_one_without_a_platform_is_copied_whole(tried: Tried) -> None:
    assert outcome(tried, "nameless-by-skopeo") == ("done", "")
