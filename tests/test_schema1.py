"""Docker schema 1 converted here: the same JSON as skopeo's own conversion gives, each layer unpacked once."""

import gzip
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from migrate.images.conversion import CannotConvertError
from migrate.images.formats import (
    DOCKER_SCHEMA1,
    ImageManifest,
    parse_image_manifest,
    sha256,
)
from migrate.images.schema1 import can_be_built, oci_config
from migrate.images.unpacking import StrangeLayerError, Unpacked, Watcher

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\b\f"), max_size=8)
TIMES = st.sampled_from(
    ["2016-01-02T03:04:05Z", "2016-01-02T03:04:05.123456789Z", "2016-01-02T03:04:05.1200Z", "2016-01-02T03:04:05.000Z",
     "2015-12-31T23:59:59+02:00", "2015-12-31T23:59:59.5-03:30", "2015-12-31T23:59:59+00:00", "0001-01-01T00:00:00Z"]
)  # fmt: skip
ODD = st.sampled_from([None, 0, 7, "", "x", [], ["x"], [1], {}, {"x": 1}, True, "2016-13-01T00:00:00Z"])


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is usual; sometimes nothing, sometimes odd."""
    return st.integers(0, 19).flatmap(lambda dice: ODD if dice == 0 else st.none() if dice == 1 else values)


SET = st.dictionaries(TEXTS, st.just({}), max_size=3)
RUNTIME = st.fixed_dictionaries(
    {},
    optional={
        "User": TEXTS, "ExposedPorts": maybe(SET), "Env": maybe(st.lists(TEXTS, max_size=3)),
        "Entrypoint": st.lists(TEXTS, max_size=2),
        "Cmd": maybe(st.lists(TEXTS, max_size=3)), "Volumes": SET, "WorkingDir": TEXTS, "StopSignal": TEXTS,
        "Labels": maybe(st.dictionaries(TEXTS, TEXTS, max_size=3)), "OnBuild": st.lists(TEXTS, max_size=2),
        "Hostname": TEXTS, "AttachStdin": st.booleans(), "Image": TEXTS,
    },
)  # fmt: skip
NEWEST = st.fixed_dictionaries(
    {"created": maybe(TIMES)},
    optional={
        "author": TEXTS, "architecture": st.sampled_from(["amd64", "", "arm64"]), "os": st.just("linux"),
        "config": maybe(RUNTIME), "container": TEXTS,
        "docker_version": st.sampled_from(["1.13.1", "1.8.2", "1.6.0", "18.06.1-ce"]),
        "variant": st.sampled_from(["", "", "", "v8"]), "Size": st.integers(0, 9), "checksum": TEXTS,
    },
)  # fmt: skip
STEP = st.fixed_dictionaries(
    {"throwaway": st.booleans()},
    optional={
        "created": maybe(TIMES), "author": TEXTS, "comment": TEXTS,
        "container_config": st.fixed_dictionaries({"Cmd": maybe(st.lists(TEXTS, max_size=3))}),
    },
)  # fmt: skip
HISTORIES = st.tuples(NEWEST, st.lists(STEP, min_size=1, max_size=6))


def layer(number: int) -> bytes:
    return gzip.compress(f"layer {number} ".encode() * 50, mtime=0)


def schema1(newest: dict[str, Any], steps: list[dict[str, Any]]) -> ImageManifest:
    """An image of these steps, newest first; the first one also has the config."""
    ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(len(steps))]
    parents = [*ids[1:], None]
    entries = [
        {**(newest if number == 0 else {}), **step, "id": ids[number],
         **({"parent": parents[number]} if parents[number] else {})}
        for number, step in enumerate(steps)
    ]  # fmt: skip
    document = {
        "schemaVersion": 1, "name": "a/b", "tag": "1", "architecture": "amd64",
        "fsLayers": [{"blobSum": sha256(layer(number))} for number in range(len(steps))],
        "history": [{"v1Compatibility": json.dumps(entry)} for entry in entries],
    }  # fmt: skip
    return parse_image_manifest(json.dumps(document).encode(), DOCKER_SCHEMA1)


def diff_ids(manifest: ImageManifest) -> list[str]:
    packed = {sha256(layer(number)): layer(number) for number in range(20)}
    return [sha256(gzip.decompress(packed[each.digest])) for each in manifest.layers]


def by_skopeo(manifest: ImageManifest) -> bytes | None:
    """The config that skopeo makes; None where it refuses."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "source"), Path(name, "target")
        source.mkdir()
        (source / "manifest.json").write_bytes(manifest.body)
        (source / "version").write_text("Directory Transport Version: 1.1\n")
        for number in range(len(manifest.document["fsLayers"])):
            (source / sha256(layer(number)).partition(":")[2]).write_bytes(layer(number))
        argv = ["skopeo", "--insecure-policy", "copy", "-q", "-f", "oci", f"dir:{source}", f"dir:{target}"]
        if subprocess.run(argv, capture_output=True, check=False).returncode:
            return None
        made = json.loads((target / "manifest.json").read_bytes())
        return (target / made["config"]["digest"].partition(":")[2]).read_bytes()


@settings(max_examples=150)
@given(HISTORIES)
@example(({"created": "2016-01-02T03:04:05Z"}, [{"throwaway": True}]))
@example(({"created": "2016-01-02T03:04:05Z", "config": {"Env": ["A=<&>\u2028"]}}, [{"throwaway": False}]))
def test_the_config_is_the_one_that_skopeo_makes(history: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    manifest = schema1(*history)
    if not can_be_built(manifest):
        event("left to skopeo")
        return
    event("built here")
    made = by_skopeo(manifest)
    assert made is not None, "skopeo refuses what is built here"
    ours = oci_config(manifest, diff_ids(manifest))
    assert json.loads(ours) == json.loads(made)
    assert ours == made


@given(HISTORIES)
def test_an_ordinary_history_is_built_here(history: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    _, steps = history
    usual = {"created": "2016-01-02T03:04:05Z", "config": {"Cmd": ["/run"]}, "architecture": "amd64", "os": "linux"}
    plain = [
        {"throwaway": step["throwaway"] and number > 0, "container_config": {"Cmd": ["/bin/sh"]}}
        for number, step in enumerate(steps)
    ]
    assert can_be_built(schema1(usual, plain))


def broken(change: Callable[[list[dict[str, Any]]], object]) -> ImageManifest:
    manifest = schema1({"created": "2016-01-02T03:04:05Z"}, [{}, {}, {}])
    entries = [json.loads(entry["v1Compatibility"]) for entry in manifest.document["history"]]
    change(entries)
    history = [{"v1Compatibility": json.dumps(entry)} for entry in entries]
    return parse_image_manifest(json.dumps({**manifest.document, "history": history}).encode(), DOCKER_SCHEMA1)


@pytest.mark.parametrize(
    "change",
    [
        lambda steps: steps[1].pop("id"),
        lambda steps: steps[1].update(id=steps[0]["id"]),
        lambda steps: steps[0].update(parent="f" * 64),
        lambda steps: steps[2].update(parent="f" * 64),
        lambda steps: steps[0].update(id="not-hex"),
        lambda steps: steps[0].update(Created="2016-01-02T03:04:05Z"),
        lambda steps: steps[0].update(config={"cmd": ["x"], "Cmd": ["y"]}),
        lambda steps: steps[0].update(config={"ArgsEscaped": True}),
        lambda steps: steps[0].update({"os.version": "10"}),
        lambda steps: steps[0].update(author="\ud800"),
        lambda steps: steps[0].pop("created"),
    ],
)
def test_what_skopeo_would_make_otherwise_is_left_to_it(change: Callable[[list[dict[str, Any]]], object]) -> None:
    manifest = broken(change)
    assert not can_be_built(manifest)
    with pytest.raises(CannotConvertError):
        oci_config(manifest, [])


@given(st.binary(max_size=3000), st.integers(1, 700), st.integers(1, 3))
def test_a_layer_is_unpacked_while_it_passes(data: bytes, size: int, members: int) -> None:
    packed = b"".join(gzip.compress(data) for _ in range(members))
    watcher = Watcher(lambda: [packed[at : at + size] for at in range(0, len(packed), size)])
    for _ in range(2):
        assert b"".join(watcher()) == packed
        assert watcher.unpacked == Unpacked(sha256(data * members), len(packed))


def test_a_bomb_is_unpacked_a_bit_at_a_time() -> None:
    packed = gzip.compress(bytes(40_000_000))
    watcher = Watcher(lambda: [packed])
    assert len(b"".join(watcher())) == len(packed)
    assert watcher.unpacked.diff_id == sha256(bytes(40_000_000))


@pytest.mark.parametrize("data", [b"a plain tar", gzip.compress(b"x" * 99, mtime=0)[:-9], layer(0) + b"rubbish"])
def test_what_is_no_gzip_is_strange(data: bytes) -> None:
    watcher = Watcher(lambda: [data])
    with pytest.raises(StrangeLayerError):
        list(watcher())
        _ = watcher.unpacked
