"""Image manifests: read whatever comes, convert without loss, see what is the same."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from registrylab.client import LabClient, Stored, skopeo_copy
from registrylab.images import make_artifact, make_image, make_layer
from registrylab.images import make_index as make_lab_index
from registrylab.registry import registry

from migrate.images.content import Content, content_of, created, differences, docker_only_fields
from migrate.images.conversion import CannotConvertError, TargetFormat, convert, make_index
from migrate.images.formats import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Kind,
    NotAnImageManifestError,
    manifest_of,
    parse_image_manifest,
    platform_name,
    sha256,
)

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
PAIRS = {
    DOCKER_LAYER: OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    FOREIGN: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar",
}
CONFIG = b'{"config": {"Cmd": ["/bin/sh"]}, "rootfs": {"diff_ids": []}}'
USELESS = ("", "application/json", "text/plain; charset=utf-8", "application/octet-stream", "text/html")


def descriptor(media_type: str, content: str, size: int = 7, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(content.encode()), "size": size, **more}


def image(*layers: str, config: str = DOCKER_CONFIG, media_type: str = DOCKER_MANIFEST, **more: Any) -> ImageManifest:
    """An image with layers of these media types."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, "config"),
        "layers": [descriptor(layer, f"layer {number}") for number, layer in enumerate(layers)],
        **more,
    }
    return parse_image_manifest(json.dumps(document).encode(), media_type)


def parsed(document: object, content_type: str = "") -> ImageManifest:
    return parse_image_manifest(json.dumps(document).encode(), content_type)


def types_of(manifest: ImageManifest) -> list[str]:
    return [manifest.config.media_type, *(layer.media_type for layer in manifest.layers)]


def blobs_of(manifest: ImageManifest) -> list[tuple[str, int]]:
    return [(blob.digest, blob.size) for blob in (manifest.config, *manifest.layers)]


@dataclass(frozen=True)
class Lab:
    """One image as a real registry has it: pushed, signed schema 1, and skopeo's conversions."""

    docker: Stored
    schema1: Stored
    skopeo_oci: Stored
    schema1_as_oci: Stored
    configs: dict[str, bytes]

    def content(self, stored: Stored) -> Content:
        manifest = parse_image_manifest(stored.body, stored.media_type)
        return content_of(manifest, None if manifest.kind is Kind.SCHEMA1 else self.configs[manifest.config.digest])


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    config = {"Cmd": ["/srv/start"], "Env": ["A=1"], "Labels": {"b": "c"}, "OnBuild": ["RUN x"]}
    layers = [make_layer("base", 2_000), make_layer("app", 1_000)]
    with registry(schema1=True) as server, LabClient(server) as client:
        client.push("a/b", make_image(layers, config=config), "docker")
        client.push_schema1("a/b", make_image(layers, config=config), "schema1")
        client.push("a/b", make_image(layers, config=config), "docker")
        skopeo_copy(server, "a/b:docker", "a/b:oci", "--format", "oci")
        skopeo_copy(server, "a/b:schema1", "a/b:old", "--format", "oci")
        found = [client.manifest("a/b", tag) for tag in ("docker", "schema1", "oci", "old")]
        docker, schema1, oci, old = (stored for stored in found if stored)
        digests = [stored.document["config"]["digest"] for stored in (docker, oci, old)]
        yield Lab(docker, schema1, oci, old, {digest: client.blob("a/b", digest) for digest in digests})


# --- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        (OCI_MANIFEST, Kind.IMAGE),
        (DOCKER_MANIFEST, Kind.IMAGE),
        (OCI_INDEX, Kind.INDEX),
        (DOCKER_LIST, Kind.INDEX),
    ],
)
@pytest.mark.parametrize("suffix", ["", "; charset=utf-8", " ;v=1"])
def test_the_content_type_says_what_it_is(media_type: str, kind: Kind, suffix: str) -> None:
    document = {"schemaVersion": 2, "config": descriptor(OCI_CONFIG, "c"), "layers": [], "manifests": []}
    manifest = parsed(document, media_type + suffix)
    assert (manifest.media_type, manifest.kind) == (media_type, kind)


@pytest.mark.parametrize("content_type", USELESS)
@pytest.mark.parametrize("declared", [DOCKER_MANIFEST, OCI_MANIFEST])
def test_where_the_content_type_is_useless_the_document_says_what_it_is(content_type: str, declared: str) -> None:
    body = image(DOCKER_LAYER, media_type=declared).body
    assert parse_image_manifest(body, content_type).media_type == declared


@pytest.mark.parametrize("content_type", USELESS)
def test_without_any_media_type_its_shape_decides(content_type: str) -> None:
    plain = {"schemaVersion": 2, "config": descriptor(OCI_CONFIG, "c"), "layers": [descriptor(OCI_LAYER, "l")]}
    assert parsed(plain, content_type).media_type == OCI_MANIFEST
    assert parsed({"schemaVersion": 2, "manifests": []}, content_type).media_type == OCI_INDEX


def test_schema_1_is_known_by_its_shape_too(lab: Lab) -> None:
    unsigned = {key: value for key, value in lab.schema1.document.items() if key != "signatures"}
    assert parse_image_manifest(lab.schema1.body, "application/json").media_type == DOCKER_SCHEMA1_SIGNED
    assert parsed(unsigned).media_type == DOCKER_SCHEMA1
    assert parsed(unsigned).layers == parse_image_manifest(lab.schema1.body, lab.schema1.media_type).layers


def test_a_login_page_is_called_a_web_page() -> None:
    page = b"\n  <!DOCTYPE html><html><body>Log in to Rahti</body></html>"
    with pytest.raises(NotAnImageManifestError, match=r"a web page \(a login page or a proxy's\?\) instead of"):
        parse_image_manifest(page, "text/html")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"{", b"not json", b'{"a": NaN}', b'{"a": 1e999}'])
def test_garbage_is_called_not_json(body: bytes) -> None:
    with pytest.raises(NotAnImageManifestError, match=r"^not JSON instead of an image manifest$"):
        parse_image_manifest(body, OCI_MANIFEST)


@pytest.mark.parametrize("document", [[], None, 3, "x", {}, {"schemaVersion": 2}, {"mediaType": "application/x"}])
def test_json_that_is_no_image_manifest_is_refused(document: object) -> None:
    with pytest.raises(NotAnImageManifestError, match="not an image manifest"):
        parsed(document)


def test_the_refusal_of_an_unknown_type_names_it_without_escape_sequences() -> None:
    with pytest.raises(NotAnImageManifestError) as caught:
        parsed({"schemaVersion": 2}, "application/\x1b]0evil\x07x")
    assert str(caught.value) == "not an image manifest (content type application/ ]0evil x)"


@pytest.mark.parametrize("depth", [100, 2_000, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_huge_nesting_is_refused(depth: int, opening: str) -> None:
    closing = {"[": "]", '{"a":': "}"}[opening]
    plain = image(OCI_LAYER, media_type=OCI_MANIFEST, config=OCI_CONFIG).body.decode()
    nested = plain[:-1] + ', "annotations": ' + opening * depth + "1" + closing * depth + "}"
    with pytest.raises(NotAnImageManifestError):
        parse_image_manifest(nested.encode(), OCI_MANIFEST)


@pytest.mark.parametrize(
    "broken",
    [
        {"digest": "../../../etc/passwd"},
        {"digest": "md5:d41d8cd98f00b204e9800998ecf8427e"},
        {"digest": "sha256:abc"},
        {"digest": 7},
        {"size": -7},
        {"size": 10**30},
        {"size": "large"},
        {"size": 1.5},
        {"mediaType": None, "digest": None},
    ],
)
def test_a_descriptor_that_lies_makes_the_manifest_broken(broken: dict[str, Any]) -> None:
    layer = {**descriptor(OCI_LAYER, "l"), **broken}
    document = {"schemaVersion": 2, "config": descriptor(OCI_CONFIG, "c"), "layers": [layer]}
    with pytest.raises(NotAnImageManifestError, match=r"^a broken image manifest \(media type .*oci"):
        parsed(document, OCI_MANIFEST)


def test_an_index_without_its_list_is_broken() -> None:
    with pytest.raises(NotAnImageManifestError, match="broken"):
        parsed({"schemaVersion": 2}, OCI_INDEX)


def test_null_for_no_layers_is_no_layers() -> None:
    document = {"schemaVersion": 2, "config": descriptor(DOCKER_CONFIG, "c"), "layers": None}
    manifest = parsed(document, DOCKER_MANIFEST)
    assert manifest.layers == ()
    assert convert(manifest, "oci").document["layers"] == []


def test_an_image_has_no_children_whatever_else_it_says() -> None:
    assert image(DOCKER_LAYER, manifests=[descriptor(DOCKER_MANIFEST, "child")]).children == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
LONG_DIGESTS = st.text("0123456789abcdef", min_size=128, max_size=128).map("sha512:{}".format)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 5).flatmap(lambda dice: good if dice else JSON)


def loose_descriptors(types: list[str]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {
            "mediaType": mostly(st.sampled_from(types)),
            "digest": mostly(DIGESTS),
            "size": mostly(st.integers(0, 10**9)),
        },
        optional={"platform": JSON, "urls": JSON, "annotations": JSON},
    )


LOOSE_DOCUMENTS = st.fixed_dictionaries(
    {"schemaVersion": mostly(st.sampled_from([1, 2]))},
    optional={
        "mediaType": mostly(st.sampled_from([OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST])),
        "config": mostly(loose_descriptors([OCI_CONFIG, DOCKER_CONFIG, "", "text/html"])),
        "layers": mostly(st.lists(mostly(loose_descriptors([*PAIRS, *PAIRS.values()])), max_size=3)),
        "manifests": mostly(st.lists(mostly(loose_descriptors([OCI_MANIFEST, DOCKER_MANIFEST])), max_size=3)),
        "fsLayers": mostly(st.lists(st.fixed_dictionaries({"blobSum": mostly(DIGESTS)}), max_size=2)),
        "history": mostly(
            st.lists(st.fixed_dictionaries({"v1Compatibility": mostly(JSON.map(json.dumps))}), max_size=2)
        ),
        "signatures": mostly(st.just([{"protected": "eyJmb3JtYXRMZW5ndGgiOjF9"}])),
        "annotations": JSON,
    },
)
CONTENT_TYPES = st.sampled_from(
    [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, *USELESS]
)
DEEP = json.dumps({"fsLayers": [{"blobSum": sha256(b"")}], "history": [{"v1Compatibility": '{"a":' * 5_000}]})


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()), CONTENT_TYPES)
@example(DEEP.encode(), DOCKER_SCHEMA1)
def test_whatever_comes_is_read_or_refused_in_words(body: bytes, content_type: str) -> None:
    try:
        parse_image_manifest(body, content_type)
    except NotAnImageManifestError as error:
        assert str(error)


@given(LOOSE_DOCUMENTS, CONTENT_TYPES, mostly(st.just({"config": {}})).map(lambda value: json.dumps(value).encode()))
def test_what_was_read_can_be_used_without_surprises(document: Any, content_type: str, config: bytes) -> None:
    try:
        manifest = parsed(document, content_type)
    except NotAnImageManifestError:
        return
    assert manifest.size >= 0
    assert manifest.size < 2**63
    use_it_all(manifest, config)


def use_it_all(manifest: ImageManifest, config: bytes) -> None:
    formats: tuple[TargetFormat, ...] = ("oci", "docker", "keep")
    for target in formats:
        try:
            converted = convert(manifest, target)
            assert parse_image_manifest(converted.body, converted.media_type) == converted
        except CannotConvertError as error:
            str(error).encode()
    if manifest.kind is Kind.INDEX:
        "".join(child.platform + child.media_type for child in manifest.children).encode()
        return
    try:
        content_of(manifest, config)
    except NotAnImageManifestError as error:
        assert str(error)
    created(manifest, config)
    docker_only_fields(manifest, config)


# --- schema 1 ---------------------------------------------------------------------------------------------------


def test_the_digest_of_signed_schema_1_is_that_of_its_payload(lab: Lab) -> None:
    manifest = parse_image_manifest(lab.schema1.body, lab.schema1.media_type)
    assert lab.schema1.media_type == DOCKER_SCHEMA1_SIGNED
    assert manifest.digest == lab.schema1.digest
    assert manifest.digest != sha256(lab.schema1.body)
    assert parse_image_manifest(lab.schema1.body, DOCKER_SCHEMA1).digest == lab.schema1.digest


def signed(document: dict[str, Any], payload: bytes) -> bytes:
    protected = {"formatLength": 0, "formatTail": base64.urlsafe_b64encode(payload).decode().rstrip("=")}
    encoded = base64.urlsafe_b64encode(json.dumps(protected).encode()).decode().rstrip("=")
    return json.dumps({**document, "signatures": [{"protected": encoded}]}).encode()


def test_a_signature_over_another_document_does_not_lend_its_digest(lab: Lab) -> None:
    document = {key: value for key, value in lab.schema1.document.items() if key != "signatures"}
    other = json.dumps({**document, "tag": "other"}).encode()
    honest, forged = signed(document, json.dumps(document).encode()), signed(document, other)
    assert parse_image_manifest(honest, DOCKER_SCHEMA1_SIGNED).digest == sha256(json.dumps(document).encode())
    assert parse_image_manifest(forged, DOCKER_SCHEMA1_SIGNED).digest == sha256(forged)


@pytest.mark.parametrize("signatures", [[], {}, None, [{}], [{"protected": 5}], [{"protected": "!!!"}], "x"])
def test_a_broken_signature_leaves_the_digest_of_the_body(lab: Lab, signatures: object) -> None:
    body = json.dumps({**lab.schema1.document, "signatures": signatures}).encode()
    assert parse_image_manifest(body, DOCKER_SCHEMA1_SIGNED).digest == sha256(body)


def schema1(*history: dict[str, Any]) -> ImageManifest:
    """Schema 1 with one layer a step, newest first as in the document."""
    steps = list(enumerate(history))
    document = {
        "schemaVersion": 1,
        "fsLayers": [{"blobSum": sha256(f"layer {number}".encode())} for number, _ in steps],
        "history": [{"v1Compatibility": json.dumps(step)} for _, step in steps],
    }
    return parsed(document, DOCKER_SCHEMA1)


def test_schema_1_layers_come_base_first_without_throw_away_ones() -> None:
    manifest = schema1({"id": "top"}, {"throwaway": True}, {"id": "base"})
    assert [layer.digest for layer in manifest.layers] == [sha256(b"layer 2"), sha256(b"layer 0")]
    assert {layer.size for layer in manifest.blobs} == {-1}
    assert manifest.size == 0


def test_schema_1_has_no_format_to_convert_by_media_type() -> None:
    for target in ("oci", "docker", "keep"):
        with pytest.raises(CannotConvertError, match="schema 1"):
            convert(schema1({"id": "top"}), target)


def test_schema_1_tells_when_it_was_made_and_how_it_runs() -> None:
    manifest = schema1({"created": "2016-01-02T03:04:05Z", "config": {"Cmd": ["x"], "Env": None}}, {"created": "2015"})
    assert created(manifest, None) == "2016-01-02T03:04:05Z"
    assert content_of(manifest, None).runtime == (("Cmd", '["x"]'),)


def test_schema_1_without_layers_is_no_image() -> None:
    with pytest.raises(NotAnImageManifestError, match="a broken image manifest"):
        schema1()


# --- what is in it ----------------------------------------------------------------------------------------------


def test_blobs_are_named_once_config_last_and_foreign_layers_not_at_all() -> None:
    manifest = image(DOCKER_LAYER, FOREIGN, DOCKER_LAYER)
    manifest.document["layers"].append(manifest.document["layers"][0])
    digests = [blob.digest for blob in manifest.blobs]
    assert digests == [sha256(b"layer 0"), sha256(b"layer 2"), sha256(b"config")]
    assert manifest.size == 21


@pytest.mark.parametrize("config", ["application/octet-stream", "application/json", "text/html", ""])
def test_docker_images_with_a_misnamed_config_are_images(config: str) -> None:
    manifest = image(DOCKER_LAYER, config=config)
    assert manifest.kind is Kind.IMAGE
    assert convert(manifest, "docker") is manifest
    assert types_of(convert(manifest, "oci")) == [OCI_CONFIG, OCI_LAYER]
    assert image(OCI_LAYER, config=config, media_type=OCI_MANIFEST).kind is Kind.ARTIFACT


def test_what_is_kept_in_registries_and_is_no_image_is_an_artifact() -> None:
    artifact = make_artifact()
    assert parse_image_manifest(artifact.body, artifact.media_type).kind is Kind.ARTIFACT


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, "linux/arm/v7"),
        ({"os": "unknown", "architecture": "unknown"}, ""),
        ({"os": "linux"}, ""),
        ({}, ""),
        ({"os": "li\x1b[31mnux", "architecture": "amd\ud80064"}, "li [31mnux/amd 64"),
    ],
)
def test_platforms_have_a_name(platform: dict[str, str], name: str) -> None:
    assert platform_name(platform) == name


# --- conversion -------------------------------------------------------------------------------------------------


def descriptors(types: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"mediaType": st.sampled_from(types), "digest": DIGESTS | LONG_DIGESTS, "size": st.integers(0, 2**40)},
        optional={
            "annotations": st.dictionaries(st.text(), st.text(), max_size=2),
            "urls": st.lists(st.text(), max_size=2),
        },
    )


def images(media_types: list[str], configs: list[str], layers: list[str]) -> st.SearchStrategy[ImageManifest]:
    """Images with layers of these kinds in any order, some of them more than once."""
    some = st.lists(descriptors(layers), max_size=5)
    return st.fixed_dictionaries(
        {
            "schemaVersion": st.just(2),
            "mediaType": st.sampled_from(media_types),
            "config": descriptors(configs),
            "layers": some | some.map(lambda once: once * 2),
        },
        optional={"annotations": st.dictionaries(st.text(), st.text(), max_size=2)},
    ).map(lambda document: parsed(document, document["mediaType"]))


DOCKER_IMAGES = images([DOCKER_MANIFEST], [DOCKER_CONFIG], list(PAIRS))
OCI_IMAGES = images([OCI_MANIFEST], [OCI_CONFIG], list(PAIRS.values()))
MIXED_IMAGES = images([OCI_MANIFEST, DOCKER_MANIFEST], [OCI_CONFIG, DOCKER_CONFIG], [*PAIRS, *PAIRS.values()])
TARGETS: st.SearchStrategy[TargetFormat] = st.sampled_from(["oci", "docker"])


@given(DOCKER_IMAGES | OCI_IMAGES, TARGETS)
def test_conversion_renames_types_and_touches_nothing_else(manifest: ImageManifest, target: TargetFormat) -> None:
    converted = convert(manifest, target)
    again = parse_image_manifest(converted.body, "")
    assert again == converted
    assert blobs_of(again) == blobs_of(manifest)
    assert again.media_type == {"oci": OCI_MANIFEST, "docker": DOCKER_MANIFEST}[target]
    family = PAIRS.values() if target == "oci" else PAIRS
    assert all(layer.media_type in family for layer in again.layers)
    assert [layer.urls for layer in again.layers] == [layer.urls for layer in manifest.layers]
    assert differences(content_of(manifest, CONFIG), content_of(again, CONFIG)) == []


@given(DOCKER_IMAGES | OCI_IMAGES, TARGETS)
def test_converting_twice_is_converting_once(manifest: ImageManifest, target: TargetFormat) -> None:
    once = convert(manifest, target)
    assert convert(once, target) is once
    assert convert(parse_image_manifest(manifest.body, ""), target).body == once.body


@given(DOCKER_IMAGES | OCI_IMAGES)
def test_keep_is_byte_for_byte(manifest: ImageManifest) -> None:
    assert convert(manifest, "keep") is manifest


def unannotated(manifest: ImageManifest) -> dict[str, Any]:
    """The document without its annotations, for which Docker has no place."""
    return {key: value for key, value in manifest.document.items() if key != "annotations"}


@given(DOCKER_IMAGES | OCI_IMAGES)
def test_there_and_back_gives_the_same_document(manifest: ImageManifest) -> None:
    there, back = ("docker", "oci") if manifest.media_type == OCI_MANIFEST else ("oci", "docker")
    again = convert(convert(manifest, there), back)
    assert again.document == unannotated(manifest)
    assert convert(convert(again, there), back).body == again.body


@given(MIXED_IMAGES, TARGETS)
def test_names_of_both_formats_in_one_image_become_those_of_one(manifest: ImageManifest, target: TargetFormat) -> None:
    converted = convert(manifest, target)
    assert parse_image_manifest(converted.body, "") == converted
    names = {"oci": {OCI_CONFIG, *PAIRS.values()}, "docker": {DOCKER_CONFIG, *PAIRS}}[target]
    assert set(types_of(converted)) <= names
    assert [(x.digest, x.size, x.urls) for x in (converted.config, *converted.layers)] == [
        (x.digest, x.size, x.urls) for x in (manifest.config, *manifest.layers)
    ]
    assert convert(converted, target) is converted
    assert differences(content_of(manifest, CONFIG), content_of(converted, CONFIG)) == []


@given(MIXED_IMAGES, TARGETS)
def test_the_way_makes_no_difference(manifest: ImageManifest, target: TargetFormat) -> None:
    detour = convert(convert(manifest, "docker" if target == "oci" else "oci"), target)
    assert unannotated(detour) == unannotated(convert(manifest, target))


@pytest.mark.parametrize(("docker", "oci"), PAIRS.items())
def test_every_kind_of_layer_has_a_name_in_both_formats(docker: str, oci: str) -> None:
    assert types_of(convert(image(docker), "oci")) == [OCI_CONFIG, oci]
    plain = image(oci, config=OCI_CONFIG, media_type=OCI_MANIFEST)
    assert types_of(convert(plain, "docker")) == [DOCKER_CONFIG, docker]


def test_annotations_come_along_to_oci_whatever_their_script() -> None:
    annotations = {"org.opencontainers.image.title": "sää 天気"}
    converted = convert(image(DOCKER_LAYER, annotations=annotations), "oci")
    assert converted.document["annotations"] == annotations
    assert "annotations" not in convert(converted, "docker").document


def test_half_a_character_in_an_annotation_is_kept_and_no_error() -> None:
    converted = convert(image(DOCKER_LAYER, annotations={"title": "\ud83d"}), "oci")
    assert parse_image_manifest(converted.body, "").document["annotations"] == {"title": "\ud83d"}


@pytest.mark.parametrize(
    ("media_type", "config", "layers"),
    [
        (OCI_MANIFEST, DOCKER_CONFIG, [OCI_LAYER]),
        (OCI_MANIFEST, OCI_CONFIG, [DOCKER_LAYER, OCI_LAYER]),
        (DOCKER_MANIFEST, OCI_CONFIG, [DOCKER_LAYER]),
        (DOCKER_MANIFEST, DOCKER_CONFIG, [DOCKER_LAYER, OCI_LAYER]),
    ],
)
def test_an_image_that_mixes_the_formats_gets_the_wanted_one_throughout(
    media_type: str, config: str, layers: list[str]
) -> None:
    mixed = image(*layers, config=config, media_type=media_type)
    assert types_of(convert(mixed, "oci")) == [OCI_CONFIG, *[OCI_LAYER] * len(layers)]
    assert types_of(convert(mixed, "docker")) == [DOCKER_CONFIG, *[DOCKER_LAYER] * len(layers)]
    assert convert(mixed, "keep") is mixed


@pytest.mark.parametrize("layer", [f"{OCI_LAYER}+encrypted", "application/x.\x1b[2Jlayer"])
def test_a_layer_that_the_other_format_cannot_name_cannot_be_converted(layer: str) -> None:
    strange = image(layer, config=OCI_CONFIG, media_type=OCI_MANIFEST)
    assert convert(strange, "oci") is strange
    with pytest.raises(CannotConvertError, match=r"^the other format has no name for [ -~]+$"):
        convert(strange, "docker")


def test_an_index_is_not_converted_but_made() -> None:
    with pytest.raises(CannotConvertError, match="index"):
        convert(parsed({"schemaVersion": 2, "manifests": []}, OCI_INDEX), "docker")


# --- indexes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def index() -> ImageManifest:
    made = make_lab_index({f"linux/{arch}": make_image([make_layer(arch, 10)]) for arch in ("amd64", "arm64", "s390x")})
    document = {**json.loads(made.body), "annotations": {"a": "b"}}
    return parsed(document, DOCKER_LIST)


def converted_children(index: ImageManifest, *platforms: str) -> dict[Descriptor, ImageManifest]:
    return {child: image(OCI_LAYER, annotations={"platform": child.platform}, media_type=OCI_MANIFEST)
            for child in index.children if child.platform in platforms}  # fmt: skip


def test_an_index_is_made_of_its_converted_children_in_the_sources_order(index: ImageManifest) -> None:
    children = converted_children(index, "linux/s390x", "linux/amd64")
    made = make_index(index, children, OCI_INDEX)
    assert parse_image_manifest(made.body, "") == made
    assert made.media_type == OCI_INDEX
    assert [child.platform for child in made.children] == ["linux/amd64", "linux/s390x"]
    for entry, child in zip(made.children, children.values(), strict=True):
        assert (entry.media_type, entry.digest, entry.size) == (OCI_MANIFEST, child.digest, len(child.body))
    assert made.document["annotations"] == {"a": "b"}


def test_a_docker_list_carries_no_annotations(index: ImageManifest) -> None:
    made = make_index(index, converted_children(index, "linux/amd64"), DOCKER_LIST)
    assert (made.media_type, "annotations" in made.document) == (DOCKER_LIST, False)


def test_an_index_with_all_its_children_unchanged_is_the_source_byte_for_byte(index: ImageManifest) -> None:
    same = {child: ImageManifest(child.media_type, child.digest, b"x" * child.size) for child in index.children}
    assert make_index(index, same, DOCKER_LIST) is index
    assert make_index(index, same, OCI_INDEX).digest != index.digest


def test_what_we_make_has_the_same_bytes_every_time() -> None:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert manifest_of(document) == manifest_of(dict(document))
    assert manifest_of(document).digest == sha256(manifest_of(document).body)


# --- comparison -------------------------------------------------------------------------------------------------


def content(layers: int = 2, **config: Any) -> Content:
    document = {
        "config": {"Env": ["A=1"], "Cmd": ["x"], "Labels": {"a": "b"}, **config},
        "rootfs": {"diff_ids": [f"sha256:{number}" for number in range(layers)]},
    }
    return content_of(image(*[OCI_LAYER] * layers, media_type=OCI_MANIFEST), json.dumps(document).encode())


def changed(base: Content, **changes: Any) -> Content:
    return Content(**{**{name: getattr(base, name) for name in Content.__dataclass_fields__}, **changes})


def other_config(**config: Any) -> Content:
    return changed(content(**config), config_digest="sha256:other")


def test_an_image_that_skopeo_converted_holds_the_same(lab: Lab) -> None:
    before, after = lab.content(lab.docker), lab.content(lab.skopeo_oci)
    assert before.config_digest != after.config_digest
    assert differences(before, after) == []


def test_schema_1_and_what_skopeo_makes_of_it_hold_the_same(lab: Lab) -> None:
    assert differences(lab.content(lab.schema1), lab.content(lab.schema1_as_oci)) == []
    assert differences(lab.content(lab.docker), lab.content(lab.schema1)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Env", ["A=2"]),
        ("Entrypoint", ["/entry"]),
        ("Cmd", ["y"]),
        ("User", "1001"),
        ("WorkingDir", "/srv"),
        ("Labels", {"a": "c"}),
        ("ExposedPorts", {"80/tcp": {}}),
        ("Volumes", {"/data": {}}),
    ],
)
def test_each_difference_in_how_it_runs_is_named(key: str, value: object) -> None:
    assert differences(content(), other_config(**{key: value})) == [f"{key} differs"]


def test_all_differences_are_named_at_once() -> None:
    other = changed(other_config(Env=["B=1"], Cmd=["y"]), diff_ids=("sha256:0", "sha256:9"))
    layers = "layers differ (the first is 2 of 2)"
    assert differences(content(), other) == [layers, "Env differs", "Cmd differs"]


def test_more_or_fewer_layers_are_counted() -> None:
    other = changed(content(layers=3), config_digest="sha256:other")
    assert differences(content(), other) == ["layers differ (2 at the source, 3 at the target)"]


def test_empty_and_missing_fields_are_the_same() -> None:
    assert differences(content(User="", Volumes=None), other_config(Volumes={})) == []


def test_layers_that_were_compressed_anew_are_the_same_layers() -> None:
    other = changed(other_config(), layers=("sha256:a", "sha256:b"))
    assert differences(content(), other) == []


def test_a_manifest_that_lost_a_layer_is_not_the_same_though_its_config_is() -> None:
    whole, config = image(OCI_LAYER, OCI_LAYER, media_type=OCI_MANIFEST), b'{"rootfs": {"diff_ids": ["a", "b"]}}'
    cut = image(OCI_LAYER, media_type=OCI_MANIFEST)
    found = differences(content_of(whole, config), content_of(cut, config))
    assert found == ["layers differ (2 at the source, 1 at the target)"]


def test_configs_that_tell_no_diff_ids_leave_the_layers_to_be_compared() -> None:
    base = content_of(image(OCI_LAYER, media_type=OCI_MANIFEST), b"{}")
    assert base.diff_ids is None
    assert differences(base, changed(base, config_digest="sha256:other")) == []
    found = differences(base, changed(base, layers=("sha256:other",)))
    assert found == ["layers differ (the first is 1 of 1)"]


def test_empty_layers_that_schema_1_conversions_drop_do_not_count() -> None:
    empty = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
    old = Content("", ("sha256:a", empty, "sha256:b"), None, ())
    assert differences(old, Content("sha256:c", ("sha256:a", "sha256:b"), ("1", "2"), ())) == []


@pytest.mark.parametrize("config", [b"<html>", b"[1]", b'{"rootfs": ', b"[" * 100_000])
def test_a_config_that_is_no_config_is_said(config: bytes) -> None:
    with pytest.raises(NotAnImageManifestError):
        content_of(image(DOCKER_LAYER), config)


@pytest.mark.parametrize("config", [b'{"rootfs": [], "config": [1]}', b'{"rootfs": {"diff_ids": 5}, "config": "x"}'])
def test_parts_of_a_config_that_are_of_the_wrong_shape_count_as_missing(config: bytes) -> None:
    found = content_of(image(DOCKER_LAYER), config)
    assert (found.diff_ids, found.runtime) == (None, ())


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (b'{"config": {"OnBuild": ["RUN x"], "Healthcheck": {"Test": ["NONE"]}, "Shell": ["sh"]}}', 3),
        (b'{"config": {"OnBuild": [], "Healthcheck": null}}', 0),
        (b'{"config": null}', 0),
        (b'{"config": ["OnBuild"]}', 0),
        (b"<html>", 0),
    ],
)
def test_fields_that_skopeos_conversion_drops_are_found(config: bytes, fields: int) -> None:
    assert docker_only_fields(image(), config) == ["OnBuild", "Healthcheck", "Shell"][:fields]


def test_skopeo_really_drops_the_docker_only_fields(lab: Lab) -> None:
    before, after = (lab.configs[stored.document["config"]["digest"]] for stored in (lab.docker, lab.skopeo_oci))
    assert docker_only_fields(image(), before) == ["OnBuild"]
    assert docker_only_fields(image(), after) == []


@pytest.mark.parametrize(
    ("config", "when"),
    [(b'{"created": "2019-05-06T07:08:09Z"}', "2019-05-06T07:08:09Z"), (b"{}", ""), (b"<html>", ""), (None, "")],
)
def test_the_config_tells_when_an_image_was_made(config: bytes | None, when: str) -> None:
    assert created(image(DOCKER_LAYER), config) == when
