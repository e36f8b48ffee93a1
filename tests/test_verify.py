"""Verify reads the target afresh and names what is not as at the source."""

import re
import sqlite3

import pytest
from conftest import Ends
from registrylab.client import LabClient, missing_from
from registrylab.faults import Rule, faulty
from registrylab.images import make_image, make_index, make_layer

LAYER = make_layer("one", 30_000)
IMAGE = make_image([LAYER], config={"Cmd": ["x"], "Env": ["A=b"]})
OTHER = make_image([LAYER], config={"Cmd": ["y"], "Env": ["A=b"]})


def copied(ends: Ends, source: LabClient, *tags: str) -> object:
    source.push("a/b", IMAGE, *tags)
    manifest = ends.manifest("images: [a/b]")
    assert ends.run("copy", manifest).code == 0
    return manifest


def test_equal_is_exit_code_0(ends: Ends, source: LabClient) -> None:
    ran = ends.run("verify", copied(ends, source, "1", "2"))
    assert ran.code == 0
    assert "2 tags verified: 2 equal" in ran.out


def test_a_missing_tag_is_named(ends: Ends, source: LabClient, target: LabClient) -> None:
    manifest = copied(ends, source, "1")
    source.push("a/b", IMAGE, "2")
    ran = ends.run("verify", manifest, "--format", "json")
    assert ran.code == 3
    assert [(tag["target"].rpartition("/")[2], tag["verdict"]) for tag in ran.json["tags"]] == [
        ("b:1", "equal"),
        ("b:2", "missing"),
    ]


def test_other_content_under_a_tag_is_said_with_what_differs(ends: Ends, source: LabClient, target: LabClient) -> None:
    manifest = copied(ends, source, "1")
    other = make_image([LAYER], family="oci", config={"Cmd": ["y"], "Env": ["A=b"]})
    target.push("a/b", other, "1")
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert "Cmd differs" in ran.out
    assert "Env" not in ran.out
    seen = ends.run("status", manifest)
    assert seen.code == 3
    assert "different  a/b:1: Cmd differs" in seen.out


def test_a_blob_that_is_gone_or_cut_is_found(ends: Ends, source: LabClient, target: LabClient) -> None:
    manifest = copied(ends, source, "1")
    algorithm, _, value = LAYER.digest.partition(":")
    data = ends.target.storage / f"docker/registry/v2/blobs/{algorithm}/{value[:2]}/{value}/data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert f"and should have {len(whole)}" in ran.out
    data.unlink()
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert "is missing" in ran.out


def test_what_did_not_verify_is_mended_by_the_next_copy(ends: Ends, source: LabClient, target: LabClient) -> None:
    manifest = copied(ends, source, "1", "2")
    algorithm, _, value = LAYER.digest.partition(":")
    (ends.target.storage / f"docker/registry/v2/blobs/{algorithm}/{value[:2]}/{value}/data").unlink()
    assert ends.run("verify", manifest).code == 3
    assert "verify found: blob" in ends.run("plan", manifest).out
    assert ends.run("copy", manifest).code == 0
    assert missing_from(target, "a/b", "1") == []
    assert ends.run("verify", manifest).code == 0
    assert "nothing to do" in ends.run("copy", manifest).out


def test_deep_finds_a_flipped_byte(ends: Ends, source: LabClient, target: LabClient) -> None:
    manifest = copied(ends, source, "1")
    algorithm, _, value = LAYER.digest.partition(":")
    data = ends.target.storage / f"docker/registry/v2/blobs/{algorithm}/{value[:2]}/{value}/data"
    flipped = bytearray(data.read_bytes())
    flipped[100] ^= 1
    data.write_bytes(bytes(flipped))
    assert ends.run("verify", manifest).code == 0
    ran = ends.run("verify", manifest, "--deep")
    assert ran.code == 3
    assert "another digest" in ran.out


def test_a_child_that_an_index_lost_is_found(ends: Ends, source: LabClient, target: LabClient) -> None:
    children = {f"linux/{arch}": make_image([LAYER], architecture=arch) for arch in ("amd64", "arm64")}
    source.push("a/multi", make_index(children), "1")
    manifest = ends.manifest("images: [a/multi]\ndefaults: {platforms: all}")
    assert ends.run("run", manifest).code == 0
    stored = target.manifest("a/multi", "1")
    assert stored
    target.delete_manifest("a/multi", stored.document["manifests"][1]["digest"])
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert "a/multi:1" in ran.out
    assert "its part sha256:" in ran.out
    assert ends.run("copy", manifest).code == 0
    assert missing_from(target, "a/multi", "1") == []
    assert ends.run("verify", manifest).code == 0


def test_a_source_that_is_gone_is_not_called_equal(ends: Ends, source: LabClient) -> None:
    manifest = ends.manifest("images: ['a/b:1']")
    source.push("a/b", IMAGE, "1")
    assert ends.run("copy", manifest).code == 0
    source.delete_manifest("a/b", IMAGE.digest)
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert "none; 1 refused, not verified" in ran.out


def test_verdicts_are_kept(ends: Ends, source: LabClient) -> None:
    manifest = copied(ends, source, "1")
    assert ends.run("verify", manifest).code == 0
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        assert db.execute("select verdict from copies").fetchall() == [("equal",)]
    assert "verified: 1 equal" in ends.run("status", manifest).out


@pytest.mark.parametrize("engine", ["auto", "skopeo"])
def test_a_damaged_layer_is_never_called_done_however_often(
    ends: Ends, source: LabClient, target: LabClient, engine: str
) -> None:
    layer = make_layer("one", 2_000)
    for name in ("a/b", "a/sibling"):  # which has the same layer, and could lend it
        source.push(name, make_image([layer], config={"Env": [f"NAME={name}"]}), "1")
    manifest = ends.manifest(f"images: [a]\ndefaults: {{engine: {engine}}}")
    assert ends.run("copy", manifest).code == 0
    path = ends.target.storage / "docker/registry/v2/blobs/sha256" / layer.digest[7:9] / layer.digest[7:] / "data"
    good = path.read_bytes()
    path.write_bytes(good[:-20] + b"?" + good[-19:])
    assert ends.run("verify", manifest, "--deep").code == 3
    assert ends.run("verify", manifest).code == 0
    for _ in range(3):
        ran = ends.run("copy", manifest)
        assert ran.code == 3, ran.text
        assert "damaged: the target holds a blob whose bytes do not match its digest" in ran.out
        assert layer.digest in ran.out
        assert ends.run("status", manifest).code == 3
    path.write_bytes(good)
    assert ends.run("copy", manifest).code == 0
    assert ends.run("verify", manifest, "--deep").code == 0


def test_a_conflict_is_sent_to_on_conflict_and_not_to_copy(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    target.push("a/b", OTHER, "1")
    manifest = ends.manifest("images: [a/b]")
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert "onConflict" in ran.out
    assert "rahti-migrate copy" not in ran.out
    assert ends.run("verify", manifest, "--format", "json").json["tags"][0]["class"] == "conflict"
    seen = ends.run("status", manifest)
    assert "onConflict" in seen.out
    assert "copy brings" not in seen.out


@pytest.mark.parametrize("tag", ["missing", "put by us"])
def test_what_a_copy_would_bring_is_sent_to_copy(ends: Ends, source: LabClient, target: LabClient, tag: str) -> None:
    manifest = copied(ends, source, "1")
    if tag == "missing":
        source.push("a/b", IMAGE, "2")
    else:
        source.push("a/b", OTHER, "1")  # the source tag has moved
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert "To bring what is missing or different: rahti-migrate copy" in ran.out
    assert "onConflict" not in ran.out


def test_a_conflict_says_what_to_do_and_what_is_replaced_is_said_before(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    source.push("a/b", IMAGE, "1")
    theirs = target.push("a/b", OTHER, "1")
    seen = ends.run("plan", ends.manifest("images: [a/b]"))
    assert seen.code == 3
    assert seen.out.endswith(
        "\nconflict (1 tag) -> look at it; then add `- {from: <source image>, to: <target tag>, onConflict: overwrite}`"
        " to `images` (or `skip`, to leave it), and copy\n"
    )
    ran = ends.run("copy", ends.manifest("images: [{from: a/b, onConflict: overwrite}]"))
    assert ran.code == 0, ran.text
    before, _, after = ran.err.partition("will be replaced (onConflict: overwrite) in 1 tag:\n")
    assert after.startswith(f"  a/b:1: it has {theirs}\n"), before
    again = ends.run("copy", ends.manifest("images: [{from: a/b, onConflict: overwrite}]"))
    assert "will be replaced" not in again.err


def test_what_explain_says_to_do_about_a_conflict_is_what_helps(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    source.push("a/b", IMAGE, "1")
    target.push("c/d", OTHER, "1")
    entry = "{from: a/b, to: c/d, tags: {include: ['1']}}"
    manifest = ends.manifest(f"images: [{entry}]")
    assert ends.run("copy", manifest).code == 3
    advice = ends.run("explain", manifest, "c/d:1").out
    (more,) = re.findall(r"add `- (\{.*?\})` to `images`", advice)
    assert more == "{from: a/b:1, to: c/d:1, onConflict: overwrite}"
    assert ends.run("copy", ends.manifest(f"images: [{entry}, {more}]")).code == 0
    assert set(target.images()) == {"c/d:1"}


def test_what_on_conflict_leaves_is_kept_and_fails_nothing(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", IMAGE, "1", "2")
    theirs = target.push("a/b", OTHER, "1")
    manifest = ends.manifest("images: [a/b]\ndefaults: {onConflict: skip}")
    ran = ends.run("run", manifest)
    assert ran.code == 0, ran.text
    assert "2 tags verified: 1 equal, 1 kept" in ran.out
    assert "1 tag at the target is what the source has; 1 left with other content (onConflict: skip)\n" in ran.out
    ran = ends.run("verify", manifest)
    assert ran.code == 0, ran.text
    assert "left as it is (onConflict: skip): " in ran.out
    assert "Cmd differs" in ran.out
    assert "To bring" not in ran.out
    assert ends.run("verify", manifest, "--format", "json").json["counts"]["kept"] == 1
    seen = ends.run("status", manifest)
    assert seen.code == 0, seen.text
    assert "verified: 1 equal, 1 kept" in seen.out
    assert target.images()["a/b:1"] == theirs


def test_a_verdict_of_unknown_says_what_to_do(ends: Ends, source: LabClient, target: LabClient) -> None:
    manifest = copied(ends, source, "1")
    with faulty(ends.target.host, Rule("403", "manifest")) as (near, _):
        ran = ends.run("verify", ends.through(manifest, target=near.host), "--state", "other.db")
    assert ran.code == 3
    assert "To bring" not in ran.out
    assert "Correct what is named as unknown" in ran.out


def test_refused_tags_are_not_verified_whoever_asks(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    manifest = ends.manifest("images: ['a/b:1', 'a/gone:1']")
    summary = "1 tag verified: 1 equal; 1 refused, not verified"
    ran = ends.run("run", manifest)
    assert ran.code == 3
    assert summary in ran.out
    assert ran.out.count("a/gone:1") == 1
    ran = ends.run("verify", manifest, "--state", "other.db")
    assert ran.code == 3
    assert summary in ran.out
    assert "refused  a/gone:1" in ran.out
    assert "To bring" not in ran.out
    found = ends.run("verify", manifest, "--format", "json").json
    assert (found["counts"]["refused"], found["counts"]["unknown"], len(found["tags"])) == (1, 0, 1)
    assert [(item["target"].rpartition("/")[2], item["class"]) for item in found["refused"]] == [
        ("gone:1", "not-found")
    ]
    for state in ("state/m.db", "other.db"):
        seen = ends.run("status", manifest, "--state", state)
        assert seen.code == 3
        assert seen.out.count("a/gone:1") == 1
        assert "not-found: there is no such image" in seen.out


def test_what_only_verify_has_seen_is_not_called_waiting_for_ever(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    manifest = ends.manifest("images: ['a/b:1']")
    assert ends.run("verify", manifest).code == 3
    assert "1 refused" in ends.run("status", manifest).out
    source.push("a/b", IMAGE, "1")
    assert ends.run("verify", manifest).code == 3
    assert "1 waiting" in ends.run("status", manifest).out
    assert ends.run("copy", manifest, "--state", "other.db").code == 0
    assert ends.run("verify", manifest).code == 0
    assert ends.run("status", manifest).code == 0
