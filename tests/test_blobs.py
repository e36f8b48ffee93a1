"""Each blob crosses once: whoever begins together, whatever its size, and schema 1's layers are unpacked once."""

import json
import re
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import Ends
from pipeline import Pipeline, pipeline
from registrylab.client import LabClient, skopeo_copy
from registrylab.images import Image, make_image, make_layer
from registrylab.registry import LabRegistry, registry
from registrylab.strange import compose, layer

from migrate.images import blobs, worker
from migrate.images.bench import Bench, BlobBook
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import Descriptor, parse_image_manifest, sha256
from migrate.images.registry import RegistryError
from migrate.images.transfer import jobs_of
from migrate.images.unpacking import DiffIds, Unpacked
from migrate.manifest import parse_manifest
from migrate.reference import Repository

BASE = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", sha256(b"base"), 4)
SHARED = [make_layer(f"base{number}", 2_000_000) for number in range(3)]


def app(name: str) -> Image:
    return make_image([*SHARED, make_layer(name, 1_500_000), make_layer(f"{name}-small", 2_000)])


def sent(lab: LabRegistry) -> Counter[str]:
    """How often each blob was uploaded."""
    done = re.findall(r'"PUT /v2/\S+/blobs/uploads/\S*digest=sha256(?:%3A|:)([0-9a-f]{64})\S* HTTP/1.1" 201', lab.log)
    return Counter(f"sha256:{digest}" for digest in done)


def fetched(lab: LabRegistry) -> Counter[str]:
    """How often each blob was read."""
    done = re.findall(r'"GET /v2/\S+/blobs/sha256:([0-9a-f]{64}) HTTP/1.1" 200', lab.log)
    return Counter(f"sha256:{digest}" for digest in done)


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize(
    ("link_max", "engine"), [(0, "auto"), (1_000_000, "auto"), (4_000_000, "auto"), (10**9, "auto"), (0, "skopeo")]
)
def test_images_that_begin_together_send_no_blob_twice(
    tmp_path: Path, link_max: int, engine: str, side_by_side: bool
) -> None:
    """Without any schedule: as many workers as images, which all begin at once, skopeo among them."""
    images = {f"a/app{number % 3}:{number}": app(f"own{number % 7}") for number in range(9)}
    with (
        registry() as source, registry() as target, LabClient(source) as near, LabClient(target) as far,
        pipeline(source.host, target.host, tmp_path, link_max=link_max, timeout=60.0) as made,
        ThreadPoolExecutor(20) as streams,
    ):  # fmt: skip
        for name, image in images.items():
            near.push(name.partition(":")[0], image, name.partition(":")[2])
        results = [
            copied for each in together(made, engine, streams if side_by_side else None) for copied in each.results
        ]
        assert [copied.failure for copied in results] == [None] * 9
        assert far.images().keys() == images.keys()
        layers = {each["digest"] for image in images.values() for each in json.loads(image.body)["layers"]}
        assert {digest: times for digest, times in sent(target).items() if digest in layers} == dict.fromkeys(layers, 1)


def together(made: Pipeline, engine: str, streams: ThreadPoolExecutor | None) -> list[worker.JobResult]:
    head = f"version: 1\nsource: {{registry: '{made.source}'}}\ntarget: {{registry: '{made.target}'}}\n"
    text = f"{head}defaults: {{engine: {engine}}}\nimages: [a]"
    plan = made.plan(parse_manifest(text.encode(), Path("m.yaml")).images)
    bench: Bench = made.bench()
    bench.streams = streams
    jobs = jobs_of(plan)
    with ThreadPoolExecutor(len(jobs)) as executor:
        ended = list(executor.map(partial(worker.perform, bench), jobs))
    return [worker.perform(bench, each.job) if is_busy(each) else each for each in ended]


def is_busy(ended: worker.JobResult) -> bool:
    """Whether docker-registry said 500, as it does now and then to many at once: a run asks again."""
    kinds = {copied.failure.kind for copied in ended.results if copied.failure}
    return kinds == {FailureClass.UNAVAILABLE}


def test_a_repository_that_lends_nothing_is_asked_no_more() -> None:
    book = BlobBook({"blob": {"q/x"}})
    book.add("p/x", "blob")
    assert book.origins("blob", "p/new") == ["p/x", "q/x"]
    for _ in range(3):
        book.gave("p/x", "p/new", gave=False)
    assert book.origins("blob", "p/other") == ["q/x"], "it is the login's right, for all of the project"
    assert book.origins("blob", "q/new") == ["p/x", "q/x"]
    book.gave("q/x", "p/new", gave=False)
    book.gave("q/x", "p/new", gave=True)
    for _ in range(2):
        book.gave("q/x", "p/new", gave=False)
    assert book.origins("blob", "p/new") == ["q/x"]
    book.gave("q/x", "p/new", gave=False)
    assert book.origins("blob", "p/new") == []
    assert not book.expects("blob", "p/new")
    assert book.expects("blob", "p/x")


def test_a_blob_is_mounted_once_into_a_repository_however_many_ask() -> None:
    """docker-registry answers DIGEST_INVALID to a manifest that is put while a second mount writes the same link."""
    mounts: Counter[str] = Counter()

    def mount(repository: str, *_: str) -> None:
        mounts[repository] += 1
        time.sleep(0.05)

    book = BlobBook()
    book.add("p/x", BASE.digest)
    watch = SimpleNamespace(stop=threading.Event())
    bench = cast(Bench, SimpleNamespace(book=book, target=SimpleNamespace(mount=mount), watch=watch))
    asked = [Repository("new:1", name) for name in ("p/a", "p/b")] * 8
    with ThreadPoolExecutor(16) as executor:
        assert all(executor.map(lambda repository: blobs.mounted(bench, repository, BASE), asked))
    assert mounts == {"p/a": 1, "p/b": 1}


def test_a_failure_while_blobs_are_claimed_leaves_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a claim that nobody gives back waits for ever."""
    answers = iter([False, RegistryError("p/x", Failure(FailureClass.NETWORK, "gone"))])

    def at_hand(*_: object) -> bool:
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    monkeypatch.setattr(blobs, "at_hand", at_hand)
    bench = SimpleNamespace(book=BlobBook())
    wanted = [Descriptor("", "sha256:a", 1)]
    with (
        pytest.raises(RegistryError),
        blobs.claimed(cast(Bench, bench), Repository("new", "p/x"), wanted, may_mount=True),
    ):
        pass
    assert bench.book.claim(["sha256:a"])


# --- schema 1 ---------------------------------------------------------------------------------------------------


def by_skopeo(ends: Ends, name: str) -> dict[str, object]:
    """The config that skopeo's own conversion gives."""
    skopeo_copy(ends.source, name, f"skopeo/{name}", "--format", "oci")
    repository, _, tag = name.partition(":")
    with LabClient(ends.source) as client:
        return config_of(client, f"skopeo/{repository}", tag)


def config_of(client: LabClient, repository: str, tag: str) -> dict[str, object]:
    stored = client.manifest(repository, tag)
    assert stored
    found: dict[str, object] = json.loads(client.blob(repository, stored.document["config"]["digest"]))
    return found


def known_diff_ids(ends: Ends) -> dict[str, str]:
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        return dict(db.execute("select digest, owner from diff_ids").fetchall())


def test_schema_1_is_unpacked_once_and_its_config_is_skopeos(ends: Ends, source: LabClient, target: LabClient) -> None:
    fields = {"Env": ["A=<b>"], "Cmd": ["/run"], "Labels": {"x": "y"}, "ExposedPorts": {"80/tcp": {}}}
    for number in range(3):
        image = make_image([*SHARED, make_layer(f"own{number}", 3_000)], config={**fields, "User": str(number)})
        source.push_schema1(f"a/app{number}", image, "1")
    before = fetched(ends.source)
    ran = ends.run("copy", ends.manifest("images: [a]"), "--jobs", "8")
    assert ran.code == 0, ran.text
    read = fetched(ends.source) - before
    assert set(read.values()) == {1}, "each layer is read once, by whichever image"
    assert set(sent(ends.target).values()) == {1}
    for number in range(3):
        assert config_of(target, f"a/app{number}", "1") == by_skopeo(ends, f"a/app{number}:1")
        stored = target.manifest(f"a/app{number}", "1")
        assert stored
        assert stored.media_type == "application/vnd.oci.image.manifest.v1+json"
    assert known_diff_ids(ends) == dict.fromkeys([*(each.digest for each in SHARED), *own_layers(3)], "")
    assert ends.run("verify", ends.folder / "m.yaml").code == 0
    assert "3 tags" in ends.run("copy", ends.folder / "m.yaml").text


def own_layers(number: int) -> list[str]:
    return [make_layer(f"own{each}", 3_000).digest for each in range(number)]


def test_a_sibling_of_the_same_project_tells_what_a_layer_is(ends: Ends, source: LabClient, target: LabClient) -> None:
    image = make_image([*SHARED, make_layer("own", 3_000)], config={"Cmd": ["/run"]})
    source.push("a/sibling", image, "1")
    source.push_schema1("a/old", image, "1")
    source.push_schema1("b/elsewhere", make_image(SHARED[:2], config={"Cmd": ["/run"]}), "1")
    before = fetched(ends.source)
    ran = ends.run("copy", ends.manifest("images: [a, b]"))
    assert ran.code == 0, ran.text
    read = fetched(ends.source) - before
    layers = {each.digest for each in SHARED}
    told = known_diff_ids(ends)
    assert {digest for digest, whose in told.items() if whose.endswith("/a")} >= {SHARED[2].digest}
    assert all(read[digest] <= 2 for digest in layers), "once to send it, once more to unpack it for the other project"
    assert read[SHARED[2].digest] == 1
    assert config_of(target, "a/old", "1") == by_skopeo(ends, "a/old:1")


def test_a_layer_that_is_there_already_is_read_and_not_sent(ends: Ends, source: LabClient, target: LabClient) -> None:
    image = make_image(SHARED, config={"Cmd": ["/run"]})
    source.push_schema1("a/old", image, "1")
    target.push("a/old", make_image(SHARED, config={"Cmd": ["/other"]}), "other")
    before = sent(ends.target)
    ran = ends.run("copy", ends.manifest("images: ['a/old:1']"))
    assert ran.code == 0, ran.text
    assert len(sent(ends.target) - before) == 1, "the config alone"
    assert config_of(target, "a/old", "1") == by_skopeo(ends, "a/old:1")


def test_what_the_state_knows_of_layers_is_not_unpacked_again(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push_schema1("a/old", make_image(SHARED, config={"Cmd": ["/run"]}), "1")
    manifest = ends.manifest("images: [a]")
    assert ends.run("copy", manifest).code == 0
    source.push_schema1("a/old", make_image(SHARED, config={"Cmd": ["/new"]}), "2")
    before = fetched(ends.source)
    assert ends.run("copy", manifest).code == 0
    assert fetched(ends.source) - before == Counter(), "schema 1 has no config to read, and its layers are known"
    assert config_of(target, "a/old", "2") == by_skopeo(ends, "a/old:2")


def test_a_config_is_believed_of_gzipped_layers_of_its_own_owner_only() -> None:
    gzipped, plain = layer("one"), layer("two", kind="tar")
    image = compose([gzipped, plain])
    manifest = parse_image_manifest(image.body, image.media_type)
    known = DiffIds()
    known.tell("old/a", manifest, ["sha256:1", "sha256:2"])
    assert known.get(gzipped.digest, "old/a") == Unpacked("sha256:1", len(gzipped.data))
    assert known.get(gzipped.digest, "old/b") is None
    assert known.get(gzipped.digest, "docker.io/a") is None
    assert known.get(plain.digest, "old/a") is None
    known.add(gzipped.digest, Unpacked("sha256:3", 3))
    assert known.get(gzipped.digest, "old/a") == known.get(gzipped.digest, "old/b") == Unpacked("sha256:3", 3)
    assert [whose for whose, _, _ in known.fresh()] == ["old/a", ""]
    assert known.fresh() == []
