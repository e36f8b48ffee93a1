"""What is to stand at the target for each kind of source image, and what counts as the same there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.images import Image, make_artifact, make_image, make_layer
from registrylab.images import make_index as make_lab_index
from registrylab.registry import LabRegistry, registry

from migrate.credentials import Login
from migrate.images.compare import Place, target_differences
from migrate.images.conversion import convert, make_index
from migrate.images.delivery import CannotDeliverError, Delivery, Method, deliver, wanted_children
from migrate.images.formats import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageManifest,
    Kind,
    parse_image_manifest,
    sha256,
)
from migrate.images.lookups import Lookups
from migrate.images.registry import Connection, Registry, RegistryError
from migrate.manifest import ALL_PLATFORMS, ImageOptions
from migrate.reference import Repository

ARCHITECTURES = ("amd64", "arm64", "s390x")
SCHEMA1 = {
    "schemaVersion": 1,
    "fsLayers": [{"blobSum": sha256(b"layer")}],
    "history": [{"v1Compatibility": json.dumps({"config": {"Cmd": ["x"]}})}],
}


def image(name: str, **options: Any) -> Image:
    return make_image([make_layer("base", 500), make_layer(name, 100)], **options)


def manifest(made: Image) -> ImageManifest:
    return parse_image_manifest(made.body, made.media_type)


def schema1() -> ImageManifest:
    return parse_image_manifest(json.dumps(SCHEMA1).encode(), DOCKER_SCHEMA1)


def options(*platforms: str, **more: Any) -> ImageOptions:
    return replace(ImageOptions(), platforms=platforms or ("linux/amd64",), **more)


IMAGES = {f"linux/{architecture}": image(architecture, architecture=architecture) for architecture in ARCHITECTURES}
INDEX = manifest(make_lab_index(IMAGES))
CHILDREN = {made.digest: manifest(made) for made in IMAGES.values()}


def index_of(*platforms: dict[str, str] | None) -> ImageManifest:
    """An index of as many images, each with what is said of its platform."""
    entries = [
        {"mediaType": DOCKER_MANIFEST, "size": 9, "digest": sha256(bytes([number])), "platform": platform}
        for number, platform in enumerate(platforms)
    ]
    return parse_image_manifest(json.dumps({"schemaVersion": 2, "manifests": entries}).encode(), DOCKER_LIST)


def linux(architecture: str, variant: str = "") -> dict[str, str]:
    return {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}


UNKNOWN = {"os": "unknown", "architecture": "unknown"}


# --- platforms --------------------------------------------------------------------------------------------------


def test_one_platform_gives_the_plain_image() -> None:
    delivery = deliver(INDEX, CHILDREN, options("linux/arm64"))
    assert delivery.method is Method.CARRY
    assert delivery.top
    assert delivery.top.media_type == OCI_MANIFEST
    assert [part.source.digest for part in delivery.parts] == [IMAGES["linux/arm64"].digest]
    assert delivery.left_out == ("linux/amd64", "linux/s390x")


@pytest.mark.parametrize(
    "platforms",
    [("linux/amd64", "linux/s390x"), ("linux/s390x", "linux/amd64"), ("linux/s390x",) * 2 + ("linux/amd64",)],
)
def test_several_platforms_give_an_index_of_exactly_those_in_the_sources_order(platforms: tuple[str, ...]) -> None:
    delivery = deliver(INDEX, CHILDREN, options(*platforms))
    assert delivery.top
    assert delivery.top.media_type == OCI_INDEX
    assert [child.platform for child in delivery.top.children] == ["linux/amd64", "linux/s390x"]
    assert [part.platform for part in delivery.parts] == ["linux/amd64", "linux/s390x"]
    assert [part.target.digest for part in delivery.parts] == [child.digest for child in delivery.top.children]
    assert delivery.left_out == ("linux/arm64",)


@pytest.mark.parametrize(
    ("form", "index_type", "child_type"),
    [
        ("oci", OCI_INDEX, OCI_MANIFEST),
        ("docker", DOCKER_LIST, DOCKER_MANIFEST),
        ("keep", DOCKER_LIST, DOCKER_MANIFEST),
    ],
)
def test_all_platforms_give_a_whole_index_in_the_wanted_format(form: Any, index_type: str, child_type: str) -> None:
    delivery = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS, format=form))
    assert delivery.top
    assert delivery.top.media_type == index_type
    assert {child.media_type for child in delivery.top.children} == {child_type}
    assert len(delivery.parts) == 3
    assert delivery.left_out == ()


def test_an_index_that_needs_no_change_is_kept_byte_for_byte() -> None:
    assert deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS, format="keep")).top is INDEX
    assert deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS, format="docker")).top is INDEX


def test_a_missing_platform_is_refused_and_those_that_are_there_are_named() -> None:
    words = (
        r"^the manifest list has no windows/amd64 \(it has linux/amd64, linux/arm64, linux/s390x\): set `platforms`$"
    )
    with pytest.raises(CannotDeliverError, match=words):
        deliver(INDEX, CHILDREN, options("linux/amd64", "windows/amd64"))


def test_where_no_platform_is_known_that_is_said() -> None:
    with pytest.raises(CannotDeliverError, match=r"it tells no platforms"):
        wanted_children(index_of(UNKNOWN, None), ("linux/amd64",))
    with pytest.raises(CannotDeliverError, match=r"no image with a known platform"):
        wanted_children(index_of(UNKNOWN, None), ALL_PLATFORMS)
    with pytest.raises(CannotDeliverError, match=r"it tells no platforms"):
        wanted_children(index_of(), ("linux/amd64",))


@pytest.mark.parametrize("platforms", [ALL_PLATFORMS, ("linux/amd64",), ("linux/amd64", "linux/arm64")])
def test_children_of_unknown_platform_are_left_out_and_said(platforms: tuple[str, ...]) -> None:
    index = index_of(linux("amd64"), UNKNOWN, linux("arm64"), None)
    children = {child.digest: CHILDREN[IMAGES["linux/amd64"].digest] for child in index.children}
    delivery = deliver(index, children, options(*platforms))
    assert "unknown" in delivery.left_out
    assert len(delivery.parts) == (2 if platforms != ("linux/amd64",) else 1)


@pytest.mark.parametrize(
    ("asked", "found"),
    [("linux/arm", "linux/arm/v6"), ("linux/arm/v7", "linux/arm/v7"), ("linux/arm64", "linux/arm64")],
)
def test_a_variant_may_be_named_and_without_one_the_plain_name_or_the_first_is_taken(asked: str, found: str) -> None:
    index = index_of(linux("arm", "v6"), linux("arm", "v7"), linux("arm64", "v8"), linux("arm64"))
    assert [child.platform for child in wanted_children(index, (asked,))] == [found]


def test_a_variant_that_is_not_there_is_refused() -> None:
    with pytest.raises(CannotDeliverError, match=r"no linux/arm/v5 \(it has linux/arm/v7\)"):
        wanted_children(index_of(linux("arm", "v7"), UNKNOWN), ("linux/arm/v5",))


def test_a_name_that_only_begins_alike_is_another_platform() -> None:
    with pytest.raises(CannotDeliverError, match=r"no linux/arm "):
        wanted_children(index_of(linux("arm64"), linux("amd64")), ("linux/arm",))


def test_of_several_children_for_one_platform_the_first_is_taken_and_the_others_are_said() -> None:
    index = index_of(linux("amd64"), linux("amd64"), linux("arm64"))
    assert wanted_children(index, ("linux/amd64",)) == index.children[:1]
    delivery = deliver(index, {index.children[0].digest: CHILDREN[IMAGES["linux/amd64"].digest]}, options())
    assert delivery.left_out == ("another linux/amd64", "linux/arm64")


@pytest.mark.parametrize("platforms", [("linux/amd64",), ("linux/s390x", "linux/amd64"), ALL_PLATFORMS])
def test_a_single_child_without_a_platform_is_the_image(platforms: tuple[str, ...]) -> None:
    index = index_of(None)
    assert wanted_children(index, platforms) == index.children


@given(st.lists(st.sampled_from(ARCHITECTURES), min_size=1))
def test_whatever_platforms_are_asked_for_each_is_delivered_once(asked: list[str]) -> None:
    wanted = wanted_children(INDEX, tuple(f"linux/{architecture}" for architecture in asked))
    assert {child.platform for child in wanted} == {f"linux/{architecture}" for architecture in asked}
    assert list(wanted) == [child for child in INDEX.children if child in wanted]


# --- plain images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "media_type"), [("oci", OCI_MANIFEST), ("docker", DOCKER_MANIFEST)])
@pytest.mark.parametrize("family", ["docker", "oci"])
def test_a_plain_image_is_carried_and_only_its_manifest_is_converted(form: Any, media_type: str, family: str) -> None:
    source = manifest(image("x", family=family))
    delivery = deliver(source, {}, options("linux/s390x", format=form))
    assert delivery.method is Method.CARRY
    assert delivery.top == delivery.parts[0].target == convert(source, form)
    assert delivery.top.media_type == media_type
    assert delivery.parts[0].source is source
    assert (delivery.blobs, delivery.size) == (source.blobs, source.size)


def test_keep_puts_the_same_bytes() -> None:
    source = manifest(image("x"))
    assert deliver(source, {}, options(format="keep")).top is source


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_schema_1_goes_through_skopeo(form: Any) -> None:
    delivery = deliver(schema1(), {}, options(format=form))
    assert (delivery.method, delivery.top, delivery.origin) == (Method.SKOPEO, None, schema1().digest)
    assert delivery.size == 0


def test_schema_1_is_not_kept() -> None:
    with pytest.raises(CannotDeliverError, match=r"does not run on OpenShift 4: `format: oci` or `docker`"):
        deliver(schema1(), {}, options(format="keep"))


def test_an_artifact_is_refused_and_named() -> None:
    words = r"no container image but an artifact \(application/vnd.cncf.helm.config.v1\+json\): .* `oras copy`"
    with pytest.raises(CannotDeliverError, match=words):
        deliver(manifest(make_artifact()), {}, options())


def test_the_name_of_an_artifact_brings_no_escape_sequences_into_the_report() -> None:
    with pytest.raises(CannotDeliverError) as caught:
        deliver(manifest(make_artifact("application/\x1b[2Jx\ud800")), {}, options())
    assert str(caught.value).isprintable()
    assert "application/ [2Jx" in str(caught.value)


def test_what_has_no_name_in_the_wanted_format_goes_through_skopeo() -> None:
    strange = json.loads(image("x", family="oci").body)
    strange["layers"][0]["mediaType"] += "+encrypted"
    source = parse_image_manifest(json.dumps(strange).encode(), OCI_MANIFEST)
    assert deliver(source, {}, options(format="docker")).method is Method.SKOPEO
    assert deliver(source, {}, options(format="oci")).top is source


def test_blobs_that_parts_share_count_once() -> None:
    delivery = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS))
    assert len({blob.digest for blob in delivery.blobs}) == len(delivery.blobs) == 7
    assert delivery.size == sum(blob.size for blob in delivery.blobs)


def test_a_list_inside_a_list_is_refused_with_the_way_out() -> None:
    index = index_of(linux("amd64"))
    with pytest.raises(CannotDeliverError, match=r"another manifest list: name the inner image by its digest"):
        deliver(index, {index.children[0].digest: INDEX}, options())


def test_a_list_with_a_child_that_only_skopeo_converts_is_refused_with_the_way_out() -> None:
    index = index_of(linux("amd64"), linux("arm64"))
    children = {index.children[0].digest: CHILDREN[IMAGES["linux/amd64"].digest], index.children[1].digest: schema1()}
    with pytest.raises(CannotDeliverError, match=r"only skopeo converts: take one of `platforms`"):
        deliver(index, children, options(*ALL_PLATFORMS))
    assert deliver(index, children, options("linux/arm64")).method is Method.SKOPEO


# --- engine: skopeo ---------------------------------------------------------------------------------------------


def test_with_engine_skopeo_skopeo_makes_everything() -> None:
    source = manifest(image("x"))
    delivery = deliver(source, {}, options(engine="skopeo"))
    assert (delivery.method, delivery.top, delivery.origin, delivery.whole_index) == (
        Method.SKOPEO,
        None,
        source.digest,
        False,
    )


def test_with_engine_skopeo_one_platform_is_converted_by_its_own_digest() -> None:
    delivery = deliver(INDEX, CHILDREN, options("linux/arm64", engine="skopeo"))
    assert (delivery.origin, delivery.whole_index) == (IMAGES["linux/arm64"].digest, False)
    assert delivery.left_out == ("linux/amd64", "linux/s390x")


def test_with_engine_skopeo_all_platforms_are_converted_at_once() -> None:
    delivery = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS, engine="skopeo"))
    assert (delivery.origin, delivery.whole_index, delivery.top) == (INDEX.digest, True, None)
    assert [part.platform for part in delivery.parts] == list(IMAGES)


def test_with_engine_skopeo_some_platforms_are_refused_with_the_way_out() -> None:
    with pytest.raises(CannotDeliverError, match=r"`platforms: all`, or `engine: auto`"):
        deliver(INDEX, CHILDREN, options("linux/amd64", "linux/arm64", engine="skopeo"))


# --- the same at the target -------------------------------------------------------------------------------------


class Shelf:
    """A real registry, what is pushed to it, and how it compares."""

    def __init__(self, server: LabRegistry, client: LabClient) -> None:
        login = Login("nowhere", lambda: None)
        self._registry = Registry(Connection(server.host, plain_http=True), login)
        self._client = client
        self._repository = Repository(server.host, "a/b")

    def push(self, made: Image) -> ImageManifest:
        self._client.push("a/b", made, made.digest)
        return manifest(made)

    def differences(self, delivery: Delivery, found: ImageManifest) -> list[str]:
        place = Place(Lookups(lambda _: self._registry, lambda _: None), self._repository)
        return target_differences(delivery, place, place, found)

    def close(self) -> None:
        self._registry.close()


@pytest.fixture(scope="module")
def shelf() -> Iterator[Shelf]:
    with registry() as server, LabClient(server) as client:
        made = Shelf(server, client)
        for child in IMAGES.values():
            made.push(child)
        yield made
        made.close()


def delivered(made: Image, **more: Any) -> Delivery:
    return deliver(manifest(made), CHILDREN, options(*more.pop("platforms", ()), **more))


def test_what_was_delivered_is_the_same(shelf: Shelf) -> None:
    delivery = delivered(image("x"))
    assert delivery.top
    assert shelf.differences(delivery, delivery.top) == []


def test_the_same_image_in_another_format_is_the_same_image(shelf: Shelf) -> None:
    assert shelf.differences(delivered(image("x")), manifest(image("x"))) == []


def test_another_image_differs_in_words(shelf: Shelf) -> None:
    shelf.push(image("x"))
    other = shelf.push(image("y", config={"Cmd": ["other"]}))
    found = shelf.differences(delivered(image("x")), other)
    assert found == ["layers differ (the first is 2 of 2)", "Env differs", "Cmd differs"]


def test_an_image_and_a_list_are_never_the_same(shelf: Shelf) -> None:
    words = ["one is a plain image, the other a list of several"]
    assert shelf.differences(delivered(image("x")), INDEX) == words
    whole = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS))
    assert shelf.differences(whole, manifest(image("x"))) == words


def test_an_artifact_is_no_image(shelf: Shelf) -> None:
    assert shelf.differences(delivered(image("x")), manifest(make_artifact())) == ["it is no container image"]


def test_a_config_that_is_no_json_is_a_failure_of_this_image_only(shelf: Shelf) -> None:
    shelf.push(image("x"))
    broken = json.loads(image("y").body)
    broken["config"] = {**broken["config"], "digest": sha256(b"<html>"), "size": 6}
    made = Image(DOCKER_MANIFEST, json.dumps(broken).encode(), {**image("y").blobs, sha256(b"<html>"): b"<html>"})
    with pytest.raises(RegistryError, match=r"its config is broken: a web page") as caught:
        shelf.differences(delivered(image("x")), shelf.push(made))
    assert made.digest in caught.value.what


def relabelled(**architectures: str) -> ImageManifest:
    """An index of the same images, under these names and in this order."""
    entries = {f"linux/{name}": IMAGES[f"linux/{architecture}"] for name, architecture in architectures.items()}
    return manifest(make_lab_index(entries))


def test_a_list_in_another_order_holds_the_same(shelf: Shelf) -> None:
    delivery = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS))
    assert shelf.differences(delivery, relabelled(s390x="s390x", amd64="amd64", arm64="arm64")) == []


def test_platforms_that_were_mixed_up_differ(shelf: Shelf) -> None:
    delivery = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS))
    found = shelf.differences(delivery, relabelled(amd64="arm64", arm64="amd64", s390x="s390x"))
    assert {words.split(":")[0] for words in found} == {"linux/amd64", "linux/arm64"}


def test_a_list_of_other_platforms_differs_and_both_are_named(shelf: Shelf) -> None:
    delivery = deliver(INDEX, CHILDREN, options("linux/amd64", "linux/arm64"))
    found = shelf.differences(delivery, relabelled(amd64="amd64", s390x="arm64"))
    assert found == ["it lists linux/amd64, linux/s390x, and linux/amd64, linux/arm64 is wanted"]


def test_a_list_inside_the_targets_list_differs_and_is_no_error(shelf: Shelf) -> None:
    inner = make_lab_index({"linux/amd64": IMAGES["linux/amd64"]})
    shelf.push(inner)
    entries = json.loads(make_lab_index(IMAGES).body)
    entries["manifests"][0] |= {"digest": inner.digest, "size": len(inner.body), "mediaType": DOCKER_LIST}
    found = parse_image_manifest(json.dumps(entries).encode(), DOCKER_LIST)
    delivery = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS))
    assert shelf.differences(delivery, found) == ["linux/amd64: it is no container image"]


def test_a_list_of_the_same_images_in_another_format_holds_the_same(shelf: Shelf) -> None:
    delivery = deliver(INDEX, CHILDREN, options(*ALL_PLATFORMS))
    mixed = make_index(INDEX, {child: CHILDREN[child.digest] for child in INDEX.children}, OCI_INDEX)
    assert mixed.kind is Kind.INDEX
    assert delivery.top
    assert mixed.digest != delivery.top.digest
    assert shelf.differences(delivery, mixed) == []
