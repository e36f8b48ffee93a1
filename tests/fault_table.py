"""Every fault in every phase of a copy, by every way that an image can take: makes the tables of docs/reliability.md.

`make reliability` writes them anew.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import page
import stamina
from pipeline import QUICK, pipeline, request
from registrylab.client import LabClient, Stored, missing_from
from registrylab.faults import FAULTS, Rule, faulty
from registrylab.images import OCI_INDEX, OCI_MANIFEST, Image, make_image, make_index, make_layer
from registrylab.registry import LabRegistry, registry
from registrylab.tokens import TokenServer, behind_one_host, token_server

from migrate.credentials import Credential, authfile_text
from migrate.images.failures import Failure, FailureClass
from migrate.images.transfer import Retries
from migrate.manifest import ImageOptions, ImageRequest

PHASES = {
    "ping": ("source", "ping"),
    "token": ("source", "token"),
    "tag list": ("source", "tags"),
    "source manifest": ("source", "manifest"),
    "source blob": ("source", "blob"),
    "blob check": ("target", "blob"),
    "mount": ("target", "mount"),
    "upload": ("target", "upload"),
    "commit": ("target", "commit"),
    "manifest put": ("target", "manifest put"),
    "target tag": ("target", "manifest"),
}
"""What the table calls a phase: at which end, and as Request.phase has it."""
KINDS = {
    "carry": ("app", ImageOptions(engine="skopeo")),
    "link": ("app", ImageOptions()),
    "schema 1": ("old", ImageOptions()),
    "index": ("many", ImageOptions(engine="skopeo", platforms=("all",))),
    "linked index": ("many", ImageOptions(platforms=("all",))),
}
"""The ways of an image: what it is at the source, and how it is asked for."""
ONCE, ALWAYS = 1, -1
CROWD = 16
BASE = make_layer("base", 40_000)
ANN = Credential("ann", "s3cret-Ann")
NOT_TRIED = {("429", phase) for phase in ("ping", "source blob", "upload", "commit")}
"""skopeo itself waits 30 s before it gives these up; with Retry-After it waits as long as that says."""


def _app(number: int) -> Image:
    return make_image([BASE, make_layer(f"own{number}", 60_000)], config={"Env": [f"N={number}"]})


def _many(number: int) -> Image:
    return make_index({"linux/amd64": _app(number), "linux/arm64": _app(number + 100)})


@dataclass(frozen=True)
class Lab:
    """A source that gives tokens, with images of every sort, and an open target.

    Names at the target are of this lab alone: root's skopeo remembers for good which repository of a host:port has a
    blob, and would mount from one of the same name what it should have read.
    """

    source: LabRegistry
    target: LabRegistry
    tokens: TokenServer
    folder: Path


@dataclass(frozen=True)
class Ending:
    """How the copies of one run ended, and what stands at the target then; `wrong` names what should not be so."""

    failures: tuple[Failure | None, ...]
    struck: int
    wrong: tuple[str, ...]

    @property
    def classes(self) -> str:
        """What the table says."""
        return ", ".join(sorted({failure.kind.value if failure else "copied" for failure in self.failures}))


@contextmanager
def lab(images: int = 1) -> Iterator[Lab]:
    with (
        stamina.set_testing(True, attempts=4, cap=True),  # as often as ever, without the waits between
        tempfile.TemporaryDirectory() as name,
        token_server(Path(name) / "tokens", {ANN.username: ANN.secret}) as tokens,
        registry(token_auth=tokens.registry_settings, schema1=True) as source,
        registry() as target,
    ):
        made = Lab(source, target, tokens, Path(name))
        _push(made, images)
        yield made


def _push(made: Lab, images: int) -> None:
    """The plain client has no tokens: images go to the open target first, and from there by skopeo.

    They are src/app<number> there, src/old<number> in Docker schema 1, src/many<number> as an index. The repository
    scratch/base, which stays, has the layer that all share: it can be mounted from there.
    """
    with LabClient(made.target) as client:
        client.push("scratch/base", make_image([BASE]), "1")
        for number in range(images):
            client.push(f"scratch/app{number}", _app(number), "1")
            client.push(f"scratch/many{number}", _many(number), "1")
    authfile = made.folder / "auth.json"
    authfile.write_text(authfile_text(made.source.host, ANN))
    argv = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
    argv += ["--dest-authfile", str(authfile)]
    sorts = {"app": ("app", []), "old": ("app", ["--format", "v2s1"]), "many": ("many", ["--all"])}
    for number in range(images):
        for name, (kind, more) in sorts.items():
            ends = [f"docker://{made.target.host}/scratch/{kind}{number}:1"]
            ends += [f"docker://{made.source.host}/src/{name}{number}:1"]
            subprocess.run([*argv, *more, *ends], check=True)


def ending(made: Lab, fault: str, phase: str, times: int, kinds: Sequence[str], workers: int = 1) -> Ending:
    """Copy an image of each kind that is named, while a fault strikes."""
    end, at = PHASES[phase]
    told = f"{fault}-{phase}-{'once' if times == ONCE else 'always'}-{kinds[0]}-{len(kinds)}-{workers}"
    name = "".join(c for c in f"{told}-{made.folder.name}".lower() if c.isalnum())
    rules = {end: [Rule(fault, at, times)]}
    inner = partial(behind_one_host, made.tokens)
    with (
        faulty(made.source.host, *rules.get("source", []), inner=inner) as (source, at_source),
        faulty(made.target.host, *rules.get("target", [])) as (target, at_target),
        pipeline(
            source.host,
            target.host,
            made.folder / name,
            credential=ANN,
            timeout=1.2 if workers == 1 else 3.0,
            stalled=_patience(fault) * (1 if workers == 1 else 2),
            retries=_retries(fault),
            workers=workers,
            link_max=2**24,
            hinted={BASE.digest: {"scratch/base"}},
        ) as p,
    ):
        asked = [_asked(source.host, name, number, kind, phase) for number, kind in enumerate(kinds)]
        plan = p.plan(asked)
        failures = {c.target.repository.path: Failure(c.failure, c.reason) for c in plan.copies if c.failure}
        failures |= {r.copy.target.repository.path: r.failure for r in p.copy(plan) if r.failure}
        struck = sum((at_source if end == "source" else at_target).struck.values())
    with LabClient(made.target) as client:
        ends = [_ended(client, f"{name}/{_named(n, kind)}", kind, n, failures) for n, kind in enumerate(kinds)]
    return Ending(tuple(failure for failure, _ in ends), struck, tuple(words for _, wrong in ends for words in wrong))


def _ended(
    client: LabClient, repository: str, kind: str, number: int, failures: dict[str, Failure]
) -> tuple[Failure | None, list[str]]:
    """How an image's copy ended, and what is wrong at the target: only what is said to be corrupt may be so."""
    failure = failures.get(repository)
    wrong = _wrong(client, repository, kind, number)
    if failure and (wrong == ["absent"] or failure.kind is FailureClass.CORRUPT):
        return failure, []
    return failure, wrong


def _named(number: int, kind: str) -> str:
    return f"{KINDS[kind][0]}{number}"


def _asked(host: str, folder: str, number: int, kind: str, phase: str) -> ImageRequest:
    name, (_, options) = _named(number, kind), KINDS[kind]
    tag = "" if phase == "tag list" else ":1"
    return request(f"{host}/src/{name}{tag}", f"{folder}/{name}{tag}", options)


def _retries(fault: str) -> Retries:
    """Where only the answer is lost each try brings at least one blob: an index has five and a manifest."""
    return replace(QUICK, attempts=7) if fault == "answer lost" else QUICK


def _patience(fault: str) -> float:
    return 8.0 if fault.startswith("429") else 2.5


def _wrong(client: LabClient, repository: str, kind: str, number: int) -> list[str]:
    """What is at the target and is not what the source has; `absent` where nothing is there."""
    stored = client.manifest(repository, "1")
    if stored is None:
        return ["absent"]
    is_index = KINDS[kind][0] == "many"
    wrong = [f"{repository}: {blob} is missing" for blob in missing_from(client, repository, "1")]
    if stored.media_type != (OCI_INDEX if is_index else OCI_MANIFEST):
        wrong.append(f"{repository}: {stored.media_type}")
    elif not wrong and _layers(client, repository, stored) != _wanted(is_index, number):
        wrong.append(f"{repository}: other layers")
    return wrong


def _layers(client: LabClient, repository: str, stored: Stored) -> list[str]:
    """Digests in order; of an index all of its children's."""
    below = [client.manifest(repository, child["digest"]) for child in stored.document.get("manifests", ())]
    own = [layer["digest"] for layer in stored.document.get("layers", ())]
    return [*own, *(digest for child in below if child for digest in _layers(client, repository, child))]


def _wanted(is_index: bool, number: int) -> list[str]:
    images = [_app(number), _app(number + 100)] if is_index else [_app(number)]
    return [layer["digest"] for image in images for layer in json.loads(image.body)["layers"]]


def check(found: Ending) -> None:
    """What no fault may break: what is called copied is there, whole and right; what is not says why and what to do."""
    assert found.wrong == ()
    for failure in found.failures:
        if failure:
            assert failure.words
            assert failure.advice
            assert ANN.secret not in failure.words
            assert failure.kind is not FailureClass.UNKNOWN, failure


def cell(made: Lab, fault: str, phase: str, kinds: Sequence[str], workers: int = 1) -> str:
    """What the table says: the class where a fault that stays ends in one, `!` where one strike is enough for that.

    Raises:
        AssertionError: a promise is broken.
    """
    if (fault, phase) in NOT_TRIED and any(KINDS[kind][1].engine == "skopeo" for kind in kinds):
        return "not tried"
    once, always = (ending(made, fault, phase, times, kinds, workers) for times in (ONCE, ALWAYS))
    for found in (once, always):
        try:
            check(found)
        except AssertionError as error:
            raise AssertionError(f"{fault}, {phase}, {kinds}, {workers} workers: {error} {found}") from error
    if not always.struck:
        return "-"
    return f"{always.classes}{' !' if any(once.failures) else ''}"


def alone(made: Lab, kind: str, fault: str) -> list[str]:
    """A row of a kind's table: one image, one worker."""
    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(lambda phase: cell(made, fault, phase, [kind]), PHASES))


def crowded(made: Lab, fault: str) -> list[str]:
    """A row of the table of sixteen images of all kinds, and as many workers."""
    kinds = [*KINDS] * (CROWD // len(KINDS) + 1)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda phase: cell(made, fault, phase, kinds[:CROWD], CROWD), PHASES))


def main() -> None:
    """Make every table, and write them."""
    heads = ["fault", *PHASES]
    with lab() as made:
        for kind in KINDS:
            page.write_section(f"faults, {kind}", page.table(heads, [[f, *alone(made, kind, f)] for f in FAULTS]))
    with lab(CROWD) as made:
        page.write_section("faults, sixteen", page.table(heads, [[f, *crowded(made, f)] for f in FAULTS]))


if __name__ == "__main__":
    main()
