"""The main job on real registries: a manifest in, verified images out."""

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from conftest import Ends
from registrylab.client import LabClient, missing_from, skopeo_copy
from registrylab.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    make_artifact,
    make_image,
    make_index,
    make_layer,
)
from registrylab.population import fill_demo
from registrylab.proxy import slow_link

BASE = make_layer("base", 40_000)


def small(name: str, **options: object) -> Image:
    return make_image([BASE, make_layer(name, 5_000)], **options)  # type: ignore[arg-type]


def document(client: LabClient, repository: str, tag: str) -> dict[str, object]:
    stored = client.manifest(repository, tag)
    assert stored, f"{repository}:{tag} is missing"
    return stored.document


def test_a_whole_population_arrives_as_oci_with_every_blob(ends: Ends, source: LabClient, target: LabClient) -> None:
    fill_demo(source, scale=0.02)
    manifest = ends.manifest("images: [shop, tools]\nprojects: {shop: shop-2}\n")
    ran = ends.run("copy", manifest)
    assert ran.code == 0, ran.text
    wanted = {name.replace("shop/", "shop-2/") for name in source.images()}
    assert set(target.images()) == wanted
    for name in wanted:
        repository, _, tag = name.partition(":")
        assert missing_from(target, repository, tag) == []
        assert target.manifest(repository, tag).media_type == OCI_MANIFEST  # type: ignore[union-attr]


def test_config_and_layers_are_the_sources_byte_for_byte(ends: Ends, source: LabClient, target: LabClient) -> None:
    config = {"Cmd": ["x"], "OnBuild": ["RUN y"], "Healthcheck": {"Test": ["CMD", "z"]}, "Shell": ["/bin/bash", "-c"]}
    source.push("a/b", small("one", config=config), "1")
    assert ends.run("copy", ends.manifest("images: ['a/b:1']")).code == 0
    before, after = document(source, "a/b", "1"), document(target, "a/b", "1")
    assert before["config"]["digest"] == after["config"]["digest"]  # type: ignore[index]
    assert [x["digest"] for x in before["layers"]] == [x["digest"] for x in after["layers"]]  # type: ignore[attr-defined]
    stored = json.loads(target.blob("a/b", after["config"]["digest"]))  # type: ignore[index]
    assert stored["config"] == config


def test_a_second_run_sends_nothing_and_asks_one_question_a_tag(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    fill_demo(source, scale=0.02)
    manifest = ends.manifest("images: [shop, tools]")
    assert ends.run("copy", manifest).code == 0
    before, logged = target.images(), len(ends.target.log)
    ran = ends.run("copy", manifest)
    assert ran.code == 0
    assert "nothing to do" in ran.out
    asked = [line for line in ends.target.log[logged:].splitlines() if "HTTP/1.1" in line and " /v2/ " not in line]
    assert all('"HEAD ' in line for line in asked), asked
    assert len(asked) == len(before)
    assert target.images() == before


def test_without_its_state_a_run_still_knows_what_is_there(ends: Ends, source: LabClient) -> None:
    fill_demo(source, scale=0.02)
    manifest = ends.manifest("images: [shop, tools]")
    assert ends.run("copy", manifest).code == 0
    for file in (ends.folder / "state").iterdir():
        file.unlink()
    ran = ends.run("plan", manifest, "--format", "json")
    assert ran.code == 0
    assert ran.json["counts"] == {"copy": 0, "link": 0, "skip": 13, "conflict": 0, "refused": 0}


def test_tags_of_one_digest_are_copied_once_and_linked(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", small("one"), "1", "2", "latest")
    manifest = ends.manifest("images: [a/b]")
    counts = ends.run("plan", manifest, "--format", "json").json["counts"]
    assert (counts["copy"], counts["link"]) == (1, 2)
    assert ends.run("copy", manifest).code == 0
    assert len(set(target.images().values())) == 1
    source.push("a/b", small("one"), "stable")
    counts = ends.run("plan", manifest, "--format", "json").json["counts"]
    assert (counts["copy"], counts["link"], counts["skip"]) == (0, 1, 3)
    assert ends.run("copy", manifest).code == 0
    assert target.tags("a/b") == ["1", "2", "latest", "stable"]


def test_a_blob_that_another_repository_has_is_mounted_not_sent(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    for name in ("one", "two", "three"):
        source.push(f"a/{name}", small(name), "1")
    assert ends.run("copy", ends.manifest("images: [a]"), "--jobs", "8").code == 0
    uploads = [line for line in ends.target.log.splitlines() if '"PUT ' in line and BASE.digest[7:] in line]
    assert len(uploads) == 1


def test_a_source_tag_that_moved_is_copied_again(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", small("one"), "latest")
    manifest = ends.manifest("images: [a/b]")
    assert ends.run("copy", manifest).code == 0
    source.push("a/b", small("two"), "latest")
    ran = ends.run("plan", manifest, "--format", "json")
    assert ran.json["copies"][0]["reason"].startswith("the source tag has moved since")
    assert ends.run("copy", manifest).code == 0
    assert document(target, "a/b", "latest")["config"] == {
        **document(source, "a/b", "latest")["config"],  # type: ignore[dict-item]
        "mediaType": "application/vnd.oci.image.config.v1+json",
    }


def test_content_of_others_is_not_overwritten_unless_told(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", small("ours"), "1")
    theirs = target.push("a/b", small("theirs", family="oci"), "1")
    ran = ends.run("copy", ends.manifest("images: [a/b]"))
    assert ran.code == 3
    assert "a/b:1" in ran.out
    assert "onConflict" in ran.out
    assert target.images()["a/b:1"] == theirs
    skip = ends.manifest("images: [a/b]\ndefaults: {onConflict: skip}", "skip.yaml")
    skipped = ends.run("copy", skip)
    assert skipped.code == 0
    assert "1 of these left as they are with other content" in skipped.out
    assert target.images()["a/b:1"] == theirs
    overwrite = ends.manifest("images: [{from: a/b, onConflict: overwrite}]", "overwrite.yaml")
    assert ends.run("copy", overwrite).code == 0
    assert target.images()["a/b:1"] != theirs


def test_what_another_tool_converted_is_recognised_as_the_same(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    image = small("one", config={"Cmd": ["x"], "Env": ["A=b"], "OnBuild": ["RUN y"]})
    source.push("a/b", image, "1")
    target.push("a/b", image, "docker")
    skopeo_copy(ends.target, "a/b:docker", "a/b:1", "--format", "oci")
    converted = target.images()["a/b:1"]
    ran = ends.run("copy", ends.manifest("images: [a/b]"))
    assert ran.code == 0, ran.text
    assert target.images()["a/b:1"] == converted


def test_the_same_image_in_another_format_is_a_conflict_with_a_way_out(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    source.push("a/b", small("one"), "1")
    target.push("a/b", small("one"), "1")
    ran = ends.run("plan", ends.manifest("images: [a/b]"))
    assert ran.code == 3
    assert "it is Docker schema 2, not OCI" in ran.out


def test_skopeo_engine_converts_and_says_what_it_drops(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", small("one", config={"Cmd": ["x"], "OnBuild": ["RUN y"]}), "1", "2")
    manifest = ends.manifest("images: [a/b]\ndefaults: {engine: skopeo}")
    planned = ends.run("plan", manifest)
    assert "skopeo's conversion drops OnBuild" in planned.out
    assert ends.run("copy", manifest).code == 0
    assert {target.manifest("a/b", tag).media_type for tag in "12"} == {OCI_MANIFEST}  # type: ignore[union-attr]
    again = ends.run("copy", manifest)
    assert "nothing to do" in again.out
    assert ends.run("verify", manifest).code == 0


@pytest.mark.parametrize("command", ["copy", "run"])
def test_what_changes_on_the_way_is_said_by_whoever_copies(ends: Ends, source: LabClient, command: str) -> None:
    source.push("a/multi", many_platforms(), *(f"v{n}" for n in range(8)))
    source.push("a/plain", small("plain"), "1")
    manifest = ends.manifest("images: [a]")
    ran = ends.run(command, manifest)
    assert ran.code == 0, ran.text
    assert "Changes on the way (8 tags; `rahti-migrate plan` lists them all):" in ran.err
    assert ran.err.count("the list becomes a single image (linux/amd64); left out of the list: ") == 5
    assert "... and 3 more" in ran.err
    assert "Changes on the way" not in ends.run(command, manifest).text
    other = ends.run(command, manifest, "--state", "other.db", "--format", "json")
    assert other.events[-1]["changed"] == 0


def test_how_many_tags_change_is_in_the_summary(ends: Ends, source: LabClient) -> None:
    source.push("a/multi", many_platforms(), "1", "2")
    source.push("a/plain", small("plain"), "1")
    ran = ends.run("copy", ends.manifest("images: [a]"), "--format", "json")
    assert ran.events[-1]["changed"] == 2


def test_schema_1_arrives_as_oci(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push_schema1("a/old", small("old"), "2015")
    manifest = ends.manifest("images: [a/old]")
    assert ends.run("copy", manifest).code == 0
    assert target.manifest("a/old", "2015").media_type == OCI_MANIFEST  # type: ignore[union-attr]
    assert missing_from(target, "a/old", "2015") == []
    assert ends.run("verify", manifest).code == 0
    (ends.folder / "state" / "m.db").unlink()
    assert ends.run("plan", manifest, "--format", "json").json["counts"]["skip"] == 1


def many_platforms(family: str = "docker") -> Image:
    platforms = {"linux/amd64": "amd64", "linux/arm64/v8": "arm64", "linux/s390x": "s390x"}
    return make_index({p: small(a, architecture=a, family=family) for p, a in platforms.items()}, family=family)


def test_of_a_list_the_wanted_platforms_arrive(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/multi", many_platforms(), "1")
    entries = (
        "images:\n"
        "- {from: 'a/multi:1', to: 'a/one:1'}\n"
        "- {from: 'a/multi:1', to: 'a/two:1', platforms: [linux/arm64, linux/amd64]}\n"
        "- {from: 'a/multi:1', to: 'a/all:1', platforms: all}\n"
        "- {from: 'a/multi:1', to: 'a/kept:1', platforms: all, format: keep}\n"
        "- {from: 'a/multi:1', to: 'a/skopeo:1', platforms: all, engine: skopeo}\n"
    )
    manifest = ends.manifest(entries)
    ran = ends.run("copy", manifest)
    assert ran.code == 0, ran.text
    assert target.manifest("a/one", "1").media_type == OCI_MANIFEST  # type: ignore[union-attr]
    assert [x["platform"]["architecture"] for x in document(target, "a/two", "1")["manifests"]] == ["amd64", "arm64"]  # type: ignore[attr-defined]
    assert target.manifest("a/all", "1").media_type == OCI_INDEX  # type: ignore[union-attr]
    assert target.manifest("a/kept", "1").media_type == DOCKER_LIST  # type: ignore[union-attr]
    assert target.images()["a/kept:1"] == source.images()["a/multi:1"]
    for name in ("one", "two", "all", "kept", "skopeo"):
        assert missing_from(target, f"a/{name}", "1") == []
    assert ends.run("verify", manifest).code == 0
    assert "nothing to do" in ends.run("copy", manifest).out


def test_a_platform_that_is_not_there_is_refused_in_words(ends: Ends, source: LabClient) -> None:
    source.push("a/multi", many_platforms(), "1")
    source.push("a/good", small("good"), "1")
    ran = ends.run("copy", ends.manifest("images: [a]\ndefaults: {platforms: [linux/ppc64le]}"))
    assert ran.code == 3
    assert "has no linux/ppc64le (it has linux/amd64, linux/arm64/v8, linux/s390x)" in ran.out
    assert "1 done" in ran.out


def test_formats_are_what_the_manifest_says(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/docker", small("one"), "1")
    source.push("a/oci", small("two", family="oci"), "1")
    body = "images:\n" + "".join(
        f"- {{from: 'a/{kind}:1', to: 'b/{kind}-{form}:1', format: {form}}}\n"
        for kind in ("docker", "oci")
        for form in ("oci", "docker", "keep")
    )
    ran = ends.run("copy", ends.manifest(body))
    assert ran.code == 0, ran.text
    types = {name: target.manifest(name, "1").media_type for name in target.repositories()}  # type: ignore[union-attr]
    assert types == {
        "b/docker-oci": OCI_MANIFEST,
        "b/docker-docker": DOCKER_MANIFEST,
        "b/docker-keep": DOCKER_MANIFEST,
        "b/oci-oci": OCI_MANIFEST,
        "b/oci-docker": DOCKER_MANIFEST,
        "b/oci-keep": OCI_MANIFEST,
    }
    for name in types:
        assert missing_from(target, name, "1") == []


def test_artifacts_and_missing_tags_fail_alone(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/chart", make_artifact(), "1")
    source.push("a/good", small("good"), "1")
    ran = ends.run("copy", ends.manifest("images: ['a/chart:1', 'a/good:1', 'a/gone:1', 'a/good:9']"))
    assert ran.code == 3
    assert "artifact" in ran.out
    assert "a/gone:1" in ran.out
    assert "a/good:9" in ran.out
    assert target.images().keys() == {"a/good:1"}


def test_digests_get_a_tag(ends: Ends, source: LabClient, target: LabClient) -> None:
    digest = source.push("a/b", small("one"), "1")
    body = f"images: ['a/b@{digest}', {{from: 'a/b@{digest}', to: 'a/c:pinned'}}]"
    assert ends.run("copy", ends.manifest(body)).code == 0
    assert set(target.images()) == {f"a/b:sha256-{digest[7:19]}", "a/c:pinned"}


def test_an_outside_registry_is_a_source(ends: Ends, source: LabClient, target: LabClient) -> None:
    target.push("outside/base", small("base", family="oci"), "7")
    body = f"images: [{{from: '{ends.target.host}/outside/base:7', to: 'a/cached:7'}}]"
    ran = ends.run("copy", ends.manifest(body))
    assert ran.code == 0, ran.text
    assert target.images()["a/cached:7"] == target.images()["outside/base:7"]


def test_newest_goes_by_creation_where_tags_are_no_versions(ends: Ends, source: LabClient, target: LabClient) -> None:
    for tag, created in (
        ("red", "2020-01-01T00:00:00Z"),
        ("green", "2022-01-01T00:00:00Z"),
        ("blue", "2021-01-01T00:00:00Z"),
    ):
        source.push("a/b", small(tag, created=created), tag)
    assert ends.run("copy", ends.manifest("images: [{from: a/b, tags: {newest: 2}}]")).code == 0
    assert target.tags("a/b") == ["blue", "green"]


def test_two_images_that_meet_at_one_tag_are_both_refused(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    source.push("b/web", small("two"), "1", "2")
    ran = ends.run("copy", ends.manifest("images: [a, b]\nprojects: {a: c, b: c}"))
    assert ran.code == 3
    assert "would go to c/web:1 too" in ran.out
    assert set(target.images()) == {"c/web:2"}


def test_project_chooses_a_part(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    source.push("b/web", small("two"), "1")
    manifest = ends.manifest("images: [a, b]")
    assert ends.run("copy", manifest, "--project", "b").code == 0
    assert set(target.images()) == {"b/web:1"}
    wrong = ends.run("copy", manifest, "--project", "c")
    assert wrong.code == 2
    assert "it has a, b" in wrong.err


def test_json_is_one_event_a_line_and_the_summary_last(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1", "2")
    ran = ends.run("copy", ends.manifest("images: [a]"), "--format", "json")
    assert [event["event"] for event in ran.events] == ["planned", "done", "done", "summary"]
    assert ran.events[-1]["counts"]["done"] == 2
    assert ran.events[-1]["exitCode"] == 0


def test_the_state_maps_old_digests_to_new_ones(ends: Ends, source: LabClient, target: LabClient) -> None:
    old = source.push("a/web", small("one"), "1")
    assert ends.run("copy", ends.manifest("images: [a]")).code == 0
    row = sqlite3.connect(ends.folder / "state/m.db").execute("select source_digest, target_digest, status from copies")
    assert row.fetchone() == (old, target.images()["a/web:1"], "done")


def test_the_same_layers_for_another_architecture_are_not_the_same(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    source.push("a/b", small("one"), "1")
    target.push("a/b", small("one", family="oci", architecture="s390x"), "1")
    ran = ends.run("plan", ends.manifest("images: [a]"))
    assert ran.code == 3
    assert "architecture differs" in ran.out


def test_the_same_config_over_other_layers_is_not_the_same(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", small("one"), "1")
    stored = document(source, "a/b", "1")
    config = stored["config"]["digest"]  # type: ignore[index]
    layers = [BASE, make_layer("other", 5_000)]
    forged = make_image(layers, family="oci")
    body = json.loads(forged.body)
    body["config"] = {**body["config"], "digest": config, "size": len(source.blob("a/b", config))}
    blobs = {**{layer.digest: layer.data for layer in layers}, config: source.blob("a/b", config)}
    target.push("a/b", Image(OCI_MANIFEST, json.dumps(body).encode(), blobs), "1")
    manifest = ends.manifest("images: [a]")
    assert ends.run("plan", manifest).code == 3
    ran = ends.run("verify", manifest)
    assert ran.code == 3
    assert "layers differ, although the config is the same" in ran.out


def test_keep_means_the_sources_format(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", small("one"), "1")
    assert ends.run("copy", ends.manifest("images: [a]")).code == 0
    ran = ends.run("plan", ends.manifest("images: [a]\ndefaults: {format: keep}", "keep.yaml"))
    assert ran.code == 3
    assert "it is OCI, not Docker schema 2" in ran.out


def test_a_part_is_checked_for_clashes_with_the_whole(ends: Ends, source: LabClient, target: LabClient) -> None:
    for project in ("a", "b"):
        source.push(f"{project}/app", small(project), "1")
    manifest = ends.manifest("images: [a, b]\nprojects: {a: t, b: t}")
    for project in ("a", "b"):
        ran = ends.run("copy", manifest, "--project", project)
        assert ran.code == 3
        assert "want the same target tag" in ran.out
    assert target.images() == {}


def test_a_damaged_memory_never_puts_a_wrong_image(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", small("one"), "1")
    source.push("a/b", small("two"), "2")
    manifest = ends.manifest("images: [a]")
    assert ends.run("copy", manifest).code == 0
    good = target.images()
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        bodies = dict(db.execute("select digest, body from image_manifests").fetchall())
        one, two = sorted(bodies)
        db.execute("update image_manifests set body = ? where digest = ?", [bodies[two], one])
    source.push("a/b", small("one"), "3")
    ran = ends.run("run", manifest)
    assert ran.code == 0, ran.text
    assert target.images() == {**good, "a/b:3": good["a/b:1"]}


def test_trouble_that_is_not_wanted_any_more_is_forgotten(ends: Ends, source: LabClient) -> None:
    manifest = ends.manifest("images: [a/app]")
    assert ends.run("copy", manifest).code == 3
    source.push("a/app", small("one"), "1")
    assert ends.run("run", manifest).code == 0
    seen = ends.run("status", manifest)
    assert seen.code == 0, seen.text
    assert "1 done, 1 no longer wanted" in seen.out


def test_run_plans_copies_and_verifies(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    ran = ends.run("run", ends.manifest("images: [a]"))
    assert ran.code == 0
    assert "1 tag: 1 to copy; at most 46.1 kB to move" in ran.err
    copied, _, verified = ran.out.partition("1 tag verified: 1 equal")
    assert "1 done" in copied
    assert "  [x] images     1 tag at the target is what the source has\n" in verified
    as_json = ends.run("run", ends.manifest("images: [a]"), "--format", "json")
    events = [event["event"] for event in as_json.events]
    assert [event for event in events if event != "check"] == [
        "planned",
        "since",
        "skip",
        "verified",
        "cutover",
        "summary",
    ]
    assert events[0] == "check"


def test_what_skopeo_had_lent_by_the_target_is_not_called_sent(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    """skopeo remembers, in root's home, where blobs are, and lets the target lend them: no byte crosses."""
    image = make_image([make_layer("large", 3_000_000)])
    source.push("a/app", image, "1")
    head = "images: [a/app]\ntransfer: {linkMaxMissing: 0}\n"
    assert ends.run("copy", ends.manifest(f"{head}projects: {{a: first}}\n", "one.yaml")).code == 0
    before = len(ends.target.log)
    ran = ends.run("copy", ends.manifest(f"{head}projects: {{a: second}}\n", "two.yaml"), "--format", "json")
    assert ran.code == 0, ran.text
    lent = '"POST /v2/second/app/blobs/uploads/?from=' in ends.target.log[before:]
    sent = ran.events[-1]["bytes"]
    assert sent < 300_000 if lent else sent > 3_000_000, (sent, ends.target.log[before:])
    assert missing_from(target, "second/app", "1") == []


def test_on_a_terminal_the_first_ctrl_c_is_answered(ends: Ends, source: LabClient) -> None:
    for number in range(4):
        source.push(f"a/app{number}", make_image([make_layer(f"big-{number}", 400_000)]), "1")
    with slow_link(ends.target.host, rate=100_000) as link:
        manifest = ends.through(ends.manifest("images: [a]\ntransfer: {linkMaxMissing: 0}\n"), target=link.host)
        ours, theirs = pty.openpty()
        argv = [sys.executable, "-m", "migrate", "copy", str(manifest), "--jobs", "2"]
        environment = ends.environment(TERM="xterm", COLUMNS="120", LINES="30")
        with subprocess.Popen(argv, cwd=ends.folder, env=environment, stderr=theirs, stdout=theirs) as running:
            os.close(theirs)
            shown = read_until(ours, "app")
            running.send_signal(signal.SIGINT)
            shown = read_until(ours, "stopping: running copies have 30 s to end; Ctrl-C (again) stops at once")
            running.send_signal(signal.SIGINT)
            shown += read_until(ours, "stopped now; the state is good")
            assert running.wait(20) == 130
    assert "stopped now" in shown
    os.close(ours)


def read_until(terminal: int, words: str) -> str:
    """What a terminal shows, up to some words."""
    shown = b""
    until = time.monotonic() + 60
    while words not in shown.decode(errors="replace"):
        assert time.monotonic() < until, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536)
    return shown.decode(errors="replace")
