"""Every fault in every phase of a copy, and what comes of it: makes, and reads, the table of docs/faults.md.

Run it to write the table anew: `PYTHONPATH=tests python tests/fault_table.py`.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import stamina
from pipeline import QUICK, pipeline, request
from registrylab.client import LabClient, missing_from
from registrylab.faults import FAULTS, Rule, faulty
from registrylab.images import OCI_MANIFEST, make_image, make_layer
from registrylab.registry import LabRegistry, registry
from registrylab.tokens import TokenServer, behind_one_host, token_server

from migrate.credentials import Credential, authfile_text
from migrate.images.failures import Failure, FailureClass
from migrate.images.transfer import CopyResult, Retries

DOCUMENT = Path(__file__).parent.parent / "docs/faults.md"
PHASES = {
    "ping": ("source", "ping"),
    "token": ("source", "token"),
    "source manifest": ("source", "manifest"),
    "source blob": ("source", "blob"),
    "blob check": ("target", "blob"),
    "upload": ("target", "upload"),
    "commit": ("target", "commit"),
    "manifest put": ("target", "manifest put"),
    "target tag": ("target", "manifest"),
}
"""What the table calls a phase: at which end, and as Request.phase has it."""
LINK_PHASES = {"mount": ("target", "mount")}
"""What there is besides where skopeo is not used."""
ONCE, ALWAYS = 1, -1
IMAGE = make_image([make_layer("layer", 60_000)])
ANN = Credential("ann", "s3cret-Ann")
NOT_TRIED = {("429", phase) for phase in ("ping", "source blob", "upload", "commit")}
"""skopeo itself waits 30 s before it gives these up; with Retry-After it waits as long as that says."""


@dataclass(frozen=True)
class Lab:
    """A source that gives tokens, with one image, and an open target."""

    source: LabRegistry
    target: LabRegistry
    tokens: TokenServer
    folder: Path


@dataclass(frozen=True)
class Ending:
    """How one copy ended, and what stands at the target then."""

    failure: Failure | None
    struck: int
    there: str
    wrong: tuple[str, ...]


@contextmanager
def lab() -> Iterator[Lab]:
    with (
        stamina.set_testing(True, attempts=4, cap=True),  # as often as ever, without the waits between
        tempfile.TemporaryDirectory() as name,
        token_server(Path(name) / "tokens", {ANN.username: ANN.secret}) as tokens,
        registry(token_auth=tokens.registry_settings, schema1=True) as source,
        registry() as target,
    ):
        made = Lab(source, target, tokens, Path(name))
        _push(made)
        yield made


def _push(made: Lab) -> None:
    """The plain client has no tokens: the image goes to the open target first, and from there by skopeo.

    It is src/app there, and in Docker schema 1 src/old.
    """
    with LabClient(made.target) as client:
        client.push("scratch/app", IMAGE, "1")
    authfile = made.folder / "auth.json"
    authfile.write_text(authfile_text(made.source.host, ANN))
    argv = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
    argv += ["--dest-authfile", str(authfile)]
    for name, more in (("app", []), ("old", ["--format", "v2s1"])):
        ends = [f"docker://{made.target.host}/scratch/app:1", f"docker://{made.source.host}/src/{name}:1"]
        subprocess.run([*argv, *more, *ends], check=True)


def ending(made: Lab, fault: str, phase: str, times: int, link_max: int = 0, image: str = "app") -> Ending:
    """Copy one image while a fault strikes; with `link_max`, or of schema 1, without skopeo."""
    end, at = {**PHASES, **LINK_PHASES}[phase]
    told = f"{fault}-{phase}-{'once' if times == ONCE else 'always'}-{link_max}{image}"
    name = "".join(c for c in told.lower() if c.isalnum())
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
            timeout=1.2,
            stalled=_patience(fault),
            retries=_retries(fault),
            link_max=link_max,
        ) as p,
    ):
        plan = p.plan([request(f"{source.host}/src/{image}:1", f"{name}/app:1")])
        planned = plan.copies[0]
        failure = Failure(planned.failure, planned.reason) if planned.failure else _failure(p.copy(plan))
        struck = sum((at_source if end == "source" else at_target).struck.values())
    with LabClient(made.target) as client:
        stored = client.manifest(f"{name}/app", "1")
        wrong = missing_from(client, f"{name}/app", "1") if stored else []
    return Ending(failure, struck, stored.media_type if stored else "", tuple(wrong))


def _retries(fault: str) -> Retries:
    """Where only the answer is lost each try brings at least one of the image's two blobs: three are surely enough."""
    return replace(QUICK, attempts=3) if fault == "answer lost" else QUICK


def _patience(fault: str) -> float:
    return 8.0 if fault.startswith("429") else 2.5


def _failure(results: list[CopyResult]) -> Failure | None:
    (result,) = results
    return result.failure


def cell(made: Lab, fault: str, phase: str) -> str:
    """What the table says: the class where a fault that stays ends in one, `!` where one strike is enough for that.

    Raises:
        AssertionError: a promise is broken.
    """
    if (fault, phase) in NOT_TRIED:
        return "not tried"
    once, always = (ending(made, fault, phase, times) for times in (ONCE, ALWAYS))
    for found in (once, always):
        check(found)
    if not always.struck:
        return "-"
    if always.failure is None:
        return "copied"
    return f"{always.failure.kind}{' !' if once.failure else ''}"


def check(found: Ending) -> None:
    """What no fault may break: what is called copied is there whole; what is not says why and what to do."""
    if found.failure is None:
        assert found.there == OCI_MANIFEST
        assert found.wrong == ()
        return
    assert found.failure.words
    assert found.failure.advice
    assert ANN.secret not in found.failure.words
    assert found.failure.kind is not FailureClass.UNKNOWN, found.failure


def row(made: Lab, fault: str) -> list[str]:
    """One fault in all phases."""
    with ThreadPoolExecutor(len(PHASES)) as pool:
        return list(pool.map(lambda phase: cell(made, fault, phase), PHASES))


def documented() -> dict[str, list[str]]:
    """The rows of the table as docs/faults.md has them."""
    rows = [line.strip("| \n").split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [c.strip() for c in cells[1:]] for cells in rows[2:]}


def table(rows: dict[str, list[str]]) -> str:
    """Markdown."""
    heads = ["fault", *PHASES]
    lines = [heads, ["---"] * len(heads), *([fault, *cells] for fault, cells in rows.items())]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    with lab() as made:
        rows = {fault: row(made, fault) for fault in FAULTS}
    text = DOCUMENT.read_text()
    before = text.partition("| fault |")[0]
    DOCUMENT.write_text(before + table(rows))


if __name__ == "__main__":
    main()
