"""Images and lists that mean ill: each fails by itself, in printable words, or arrives as it is; good ones arrive."""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from sqlite3 import connect
from typing import Any

import pytest
from conftest import Ends, Ran
from registrylab.client import LabClient
from registrylab.gateway import Answer, Forward, Request, gateway
from registrylab.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, SCHEMA1_SIGNED, make_image, make_layer, sha256

LAYER = make_layer("layer", 500)
GOOD = make_image([LAYER])
DEEP = '{"a":' * 50_000 + "1" + "}" * 50_000
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e\u2066\r\n"
MEGABYTES = 200
MANY = range(300)
"""Layers of one image."""


def manifest(**changes: Any) -> dict[str, Any]:
    """The good image's manifest with something else in it."""
    return {**json.loads(GOOD.body), **changes}


def described(**changes: Any) -> dict[str, Any]:
    """The good image's layer with something else in it."""
    return {**json.loads(GOOD.body)["layers"][0], **changes}


def tiny(number: int) -> dict[str, Any]:
    """A layer that holds a number."""
    return described(digest=sha256(b"%d" % number), size=len(b"%d" % number))


def listed(**changes: Any) -> dict[str, Any]:
    """A list of the good image, described otherwise."""
    child = {"mediaType": GOOD.media_type, "size": len(GOOD.body), "digest": GOOD.digest}
    entry = {**child, "platform": {"os": "linux", "architecture": "amd64"}, **changes}
    return {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [entry]}


MANIFESTS: dict[str, tuple[str, Any]] = {
    "not-json": (DOCKER_MANIFEST, "<html>"),
    "empty": (DOCKER_MANIFEST, ""),
    "a-number": (DOCKER_MANIFEST, 5),
    "nothing": (DOCKER_MANIFEST, None),
    "deep": (DOCKER_MANIFEST, DEEP),
    "nan": (DOCKER_MANIFEST, '{"schemaVersion": NaN}'),
    "not-utf-8": (DOCKER_MANIFEST, b'{"schemaVersion": 2, "mediaType": "\xff\xfe"}'),
    "layers-of-another-type": (DOCKER_MANIFEST, manifest(layers={"a": 1})),
    "layers-missing": (DOCKER_MANIFEST, {k: v for k, v in manifest().items() if k != "layers"}),
    "config-a-list": (DOCKER_MANIFEST, manifest(config=[1])),
    "size-negative": (DOCKER_MANIFEST, manifest(layers=[described(size=-5)])),
    "size-huge": (DOCKER_MANIFEST, manifest(layers=[described(size=2**63)])),
    "size-words": (DOCKER_MANIFEST, manifest(layers=[described(size="5")])),
    "size-a-fraction": (DOCKER_MANIFEST, manifest(layers=[described(size=1.5)])),
    "size-true": (DOCKER_MANIFEST, manifest(layers=[described(size=True)])),
    "digest-a-path": (DOCKER_MANIFEST, manifest(layers=[described(digest="sha256:../../../../etc/passwd")])),
    "digest-of-md5": (DOCKER_MANIFEST, manifest(layers=[described(digest="md5:" + "0" * 32)])),
    "digest-with-escapes": (DOCKER_MANIFEST, manifest(layers=[described(digest=ESCAPE)])),
    "type-with-escapes": (DOCKER_MANIFEST, manifest(layers=[described(mediaType=ESCAPE)])),
    "urls-elsewhere": (DOCKER_MANIFEST, manifest(layers=[described(urls=["file:///etc/passwd", "http://127.0.0.1:1/"])])),
    "urls-of-another-type": (DOCKER_MANIFEST, manifest(layers=[described(urls=5)])),
    "very-many-layers": (DOCKER_MANIFEST, manifest(layers=[tiny(n) for n in MANY])),
    "annotations-with-escapes": (DOCKER_MANIFEST, manifest(annotations={ESCAPE: ESCAPE, "a": 5})),
    "list-of-nothing": (DOCKER_LIST, {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}),
    "list-of-numbers": (DOCKER_LIST, {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [1, 2]}),
    "list-platform-words": (DOCKER_LIST, listed(platform="linux")),
    "list-platform-with-escapes": (DOCKER_LIST, listed(platform={"os": ESCAPE, "architecture": ESCAPE})),
    "list-child-a-path": (DOCKER_LIST, listed(digest="sha256:../../_catalog")),
    "list-child-size": (DOCKER_LIST, listed(size=2)),
    "list-in-a-list": (OCI_INDEX, listed(mediaType=OCI_INDEX)),
    "schema-1-empty": (SCHEMA1_SIGNED, {"schemaVersion": 1, "fsLayers": [], "history": []}),
    "schema-1-words": (SCHEMA1_SIGNED, {"schemaVersion": 1, "fsLayers": "a", "history": "b", "signatures": {}}),
    "schema-1-history": (SCHEMA1_SIGNED, {
        "schemaVersion": 1, "name": "evil/x", "tag": "1", "architecture": "amd64",
        "fsLayers": [{"blobSum": LAYER.digest}], "history": [{"v1Compatibility": DEEP}],
    }),
    "schema-1-escapes": (SCHEMA1_SIGNED, {
        "schemaVersion": 1, "name": ESCAPE, "tag": "../..", "architecture": ESCAPE,
        "fsLayers": [{"blobSum": LAYER.digest}], "history": [{"v1Compatibility": json.dumps({"id": ESCAPE})}],
    }),
    "type-unknown": ("application/x-evil", {"schemaVersion": 2}),
    "type-of-header": ("text/html; charset=\"\x07", manifest()),
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "config-not-json": "MZ\x90",
    "config-a-number": 5,
    "config-deep": DEEP,
    "config-null": None,
    "config-of-odd-types": {"os": 5, "architecture": [], "config": 7, "rootfs": "x", "history": {"a": 1}},
    "config-with-escapes": {
        "os": "linux", "architecture": "amd64", "created": ESCAPE, "author": ESCAPE,
        "config": {"Env": [ESCAPE], "Labels": {ESCAPE: ESCAPE}, "OnBuild": [ESCAPE], "Healthcheck": {"Test": ESCAPE}},
        "rootfs": {"type": "layers", "diff_ids": [LAYER.diff_id]},
    },
    "config-diff-ids": {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [5, None]}},
    "config-more-diff-ids": {
        "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [LAYER.diff_id] * 5_000}
    },
    "config-of-labels": {
        "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [LAYER.diff_id]},
        "config": {"Labels": {f"label-{n}": "x" * 1_000 for n in range(3_000)}},
    },
}  # fmt: skip
"""One of them is what each manifest names as its config."""


def raw(content: Any) -> bytes:
    """Text and bytes as they are, else JSON."""
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode("utf-8", "surrogatepass")


def served() -> tuple[dict[str, tuple[str, bytes]], dict[str, bytes]]:
    """Repository -> (media type, body); and the blobs."""
    bodies = {name: (media_type, raw(content)) for name, (media_type, content) in MANIFESTS.items()}
    blobs = {**GOOD.blobs, **{sha256(b"%d" % n): b"%d" % n for n in MANY}}
    for name, content in CONFIGS.items():
        config = raw(content)
        blobs[sha256(config)] = config
        described_config = {**manifest()["config"], "size": len(config), "digest": sha256(config)}
        bodies[name] = (DOCKER_MANIFEST, raw(manifest(config=described_config)))
    return bodies, blobs


class Evil:
    """A registry that has these images under `evil/`, tag 1, and is an ordinary one else."""

    def __init__(self) -> None:
        self.bodies, self.blobs = served()
        self.by_digest = {sha256(body): (media_type, body) for media_type, body in self.bodies.values()}
        self.by_digest[GOOD.digest] = (GOOD.media_type, GOOD.body)

    def __call__(self, request: Request, forward: Forward) -> Answer:
        _, _, name = request.repository.partition("evil/")
        identifier = request.path.partition("?")[0].rpartition("/")[2]
        if name not in self.bodies:
            return forward(request)
        if "/manifests/" in request.path:
            found = self.bodies[name] if identifier == "1" else self.by_digest.get(identifier)
        else:
            data = self.blobs.get(identifier)
            found = ("application/octet-stream", data) if data is not None else None
        if found is None:
            return Answer(404, (), b"{}")
        headers = (("Content-Type", found[0]), ("Docker-Content-Digest", sha256(found[1])))
        body = b"" if request.method == "HEAD" else found[1]
        return Answer(200, (*headers, ("Content-Length", str(len(found[1])))), body)


@pytest.mark.parametrize("engine", ["auto", "skopeo"])
def test_images_that_mean_ill_hurt_only_themselves(
    ends: Ends, source: LabClient, target: LabClient, engine: str
) -> None:
    source.push("good/app", GOOD, "1")
    evil = Evil()
    with gateway(ends.source.host, evil) as near:
        names = ", ".join([*(f"'evil/{name}:1'" for name in evil.bodies), "'good/app:1'"])
        body = f"images: [{names}]\ndefaults: {{engine: {engine}}}"
        path = ends.through(ends.manifest(body), source=near.host)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        ran = [ends.run(command, path) for command in ("copy", "verify", "status")]
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < before + MEGABYTES * 1000
        for each in ran:
            assert_printable(each)
            assert each.code == 3, each.text
    assert target.tags("good/app") == ["1"]
    with closing(connect(ends.folder / "state/m.db")) as db:
        rows = db.execute("select target, status, error_class, error from copies").fetchall()
        assert len(rows) == len(evil.bodies) + 1
        wrong = [row for row in rows if not_as_it_should_be(*row)]
        assert wrong == [], "\n".join(map(str, wrong))
        for name in [row[0].partition("/")[2] for row in rows if row[1] == "done"]:
            assert_arrived(evil, target, name, same_config=engine == "auto")


def not_as_it_should_be(_name: str, status: str, kind: str | None, words: str | None) -> bool:
    """Done without a word, or not done for a known reason."""
    return (status == "done") != (words is None) or kind == "unknown" or status not in ("done", "failed", "refused")


def assert_printable(ran: Ran) -> None:
    for line in ran.text.splitlines():
        assert line.isprintable(), repr(line)
        assert len(line) < 2_000


def assert_arrived(evil: Evil, target: LabClient, name: str, *, same_config: bool) -> None:
    """What is called copied has the layers that it had, and the config where skopeo has not written it anew."""
    repository = name.rpartition(":")[0]
    found = json.loads(target.manifest(repository, "1").body)
    media_type, body = evil.bodies.get(repository.partition("/")[2], (GOOD.media_type, GOOD.body))
    if media_type == DOCKER_MANIFEST:
        wanted = json.loads(body)
        kept = [layer["digest"] for layer in wanted.get("layers", ())]
        assert [layer["digest"] for layer in found["layers"]] == kept, name
        assert found["config"]["digest"] == wanted["config"]["digest"] or not same_config, name


# --- lists without end ------------------------------------------------------------------------------------------


def endless(names: Iterator[list[str]], key: str) -> Any:
    """A registry whose lists always have a next page."""

    def handle(request: Request, forward: Forward) -> Answer:
        path = request.path.partition("?")[0]
        if request.phase != "tags" or (key == "tags") != path.endswith("/tags/list"):
            return forward(request)
        page = next(names)
        headers = (("Content-Type", "application/json"), ("Link", f'<{path}?n=1000&last={page[-1:]}>; rel="next"'))
        return Answer(200, headers, json.dumps({"name": "x", key: page}).encode())

    return handle


@pytest.mark.parametrize("kind", ["the same page", "empty pages", "ever new names"])
@pytest.mark.parametrize("key", ["tags", "repositories"])
def test_lists_without_end_are_given_up(ends: Ends, source: LabClient, kind: str, key: str) -> None:
    source.push("a/b", GOOD, "1")
    numbers = count()
    pages: dict[str, Iterator[list[str]]] = {
        "the same page": iter(lambda: ["a/b" if key == "repositories" else "1"], None),
        "empty pages": iter(list, None),
        "ever new names": iter(
            lambda: [f"a/v{next(numbers)}"[0 if key == "repositories" else 2 :] for _ in range(20_000)], None
        ),
    }
    began = time.monotonic()
    with gateway(ends.source.host, endless(pages[kind], key)) as near:
        ran = ends.run(
            "plan",
            ends.through(ends.manifest("images: [a]" if key == "repositories" else "images: [a/b]"), source=near.host),
        )
    assert time.monotonic() - began < 60
    assert ran.code != 0
    assert "the list has no end" in ran.text
