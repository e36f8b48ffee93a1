"""rahti-migrate beside what one would otherwise use, on two real registries, near or far, interleaved on one machine.

Run: PYTHONPATH=tests python benchmarks/sidebyside.py [--population small medium0 tags500] [--link wan lan]
     [--peer raw ours xargs sync crane oc] [--rounds 3] [--seed 1] [--jobs 16] [--again]

Each round runs every peer once into a new, empty target, in turns forward and backward. `wan` is benchmarks/link.py
before both registries (20 ms, 100 MB/s). Requests and bytes are those of the registries' own logs; CPU is that of the
peer and its children, memory the peak of the sum over them, sampled. Afterwards every tag is read at the target by a
program that knows nothing of ours. crane and oc run where they are on PATH. With --again each peer runs twice into its
target, and it is the second run, which has nothing to do, that counts.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from populations import POPULATIONS, PROJECT, Filled
from registrylab.client import LabClient
from registrylab.registry import LabRegistry, registry

MB = 1_000_000
HERE = Path(__file__).parent
_UPLOADED = re.compile(r'"PUT /v2/\S+/blobs/uploads/\S*digest=(sha256%3A|sha256:)([0-9a-f]{64})\S* HTTP/1.1" 201')
_FETCHED = re.compile(r'"GET /v2/\S+/blobs/sha256:([0-9a-f]{64}) HTTP/1.1" 200 (\d+)')
_MEMORY_SECONDS = 0.05


@dataclass(frozen=True)
class Case:
    """One run: the ends as the peer sees them, what there is, and a folder of its own."""

    source: str
    target: str
    filled: Filled
    folder: Path
    jobs: int


@dataclass(frozen=True)
class Figures:
    """What one run cost; bytes in MB, memory in MB, times in seconds."""

    wall: float
    cpu: float
    memory: float
    requests: int
    read: float
    written: float
    worst: int
    there: int
    code: int


# --- peers: each gives its command line ---------------------------------------------------------------------------


def raw(case: Case) -> list[str]:
    """Bare HTTP."""
    plan = case.folder / "plan.json"
    plan.write_text(json.dumps([{"repository": r, "tags": t, "digest": d} for r, t, d in case.filled.images]))
    return [sys.executable, str(HERE / "raw.py"), case.source, case.target, str(plan), "--connections", "16"]


def ours(settings: str = "", defaults: str = "") -> Callable[[Case], list[str]]:
    """The program as it comes, or with something else under `transfer` and `defaults`."""

    def command(case: Case) -> list[str]:
        manifest = case.folder / "m.yaml"
        manifest.write_text(
            f"version: 1\nsource: {{registry: '{case.source}', plainHttp: true}}\n"
            f"target: {{registry: '{case.target}', plainHttp: true}}\n"
            f"transfer: {{{settings}}}\ndefaults: {{platforms: all{defaults}}}\nimages: [{PROJECT}]\n"
        )
        jobs = [] if "jobs" in settings else ["--jobs", str(case.jobs)] if case.jobs else []
        return [sys.executable, "-m", "migrate", "copy", str(manifest), *jobs]

    return command


def xargs(case: Case) -> list[str]:
    """One skopeo for each tag, so many at a time."""
    names = [f"{repository}:{tag}" for repository, tags, _ in case.filled.images for tag in tags]
    (case.folder / "tags").write_text("\n".join(names))
    copy = "skopeo copy -q -a -f oci --src-tls-verify=false --dest-tls-verify=false"
    each = f"{copy} docker://{case.source}/{{}} docker://{case.target}/{{}}"
    return ["sh", "-c", f"xargs -P {case.jobs or 16} -I{{}} {each} < {case.folder}/tags"]


def sync(case: Case) -> list[str]:
    """skopeo sync, one repository after the other, from a YAML file."""
    repositories: dict[str, list[str]] = {}
    for name, tags, _ in case.filled.images:
        repositories.setdefault(name, []).extend(tags)
    images = {case.source: {"tls-verify": False, "images": repositories}}
    file = case.folder / "sync.yaml"
    file.write_text(json.dumps(images))
    sides = ["--src", "yaml", "--dest", "docker", "--dest-tls-verify=false", "--keep-going"]
    return ["skopeo", "sync", "-a", "-f", "oci", *sides, str(file), f"{case.target}/{PROJECT}"]


def crane(case: Case) -> list[str]:
    """crane, all tags of a repository with one command, eight repositories at a time; converts nothing."""
    names = sorted({repository for repository, _, _ in case.filled.images})
    (case.folder / "names").write_text("\n".join(names))
    each = f"crane cp --insecure -a {case.source}/{{}} {case.target}/{{}}"
    return ["sh", "-c", f"xargs -P 8 -I{{}} {each} < {case.folder}/names"]


def oc(case: Case) -> list[str]:
    """oc image mirror; converts nothing."""
    pairs = [f"{case.source}/{r}:{t}={case.target}/{r}:{t}" for r, tags, _ in case.filled.images for t in tags]
    (case.folder / "pairs").write_text("\n".join(pairs))
    return ["oc", "image", "mirror", "--insecure", "--keep-manifest-list", "-f", str(case.folder / "pairs")]


PEERS: dict[str, Callable[[Case], list[str]]] = {
    "raw": raw,
    "ours": ours(),
    "ours, linkMaxMissing 4MiB": ours("linkMaxMissing: 4MiB"),
    "ours, linkMaxMissing 0": ours("linkMaxMissing: 0"),
    "ours, engine skopeo": ours(defaults=", engine: skopeo"),
    "xargs": xargs,
    "sync": sync,
    "crane": crane,
    "oc": oc,
}


# --- measuring ----------------------------------------------------------------------------------------------------


def measure(command: Callable[[Case], list[str]], case: Case, ends: tuple[LabRegistry, LabRegistry]) -> Figures:
    """Run a peer once."""
    logs = [len(end.log) for end in ends]
    argv = command(case)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    with (case.folder / "out").open("wb") as out:
        process = subprocess.Popen(argv, cwd=case.folder, env=environment, stdout=out, stderr=out)
        with sampled(process.pid) as memory:
            code = process.wait()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    time.sleep(0.2)
    said = [end.log[seen:] for end, seen in zip(ends, logs, strict=True)]
    uploads = Counter(f"sha256:{found[1]}" for found in _UPLOADED.findall(said[1]))
    fetched = sum(int(size) for _, size in _FETCHED.findall(said[0]))
    return Figures(
        wall, cpu, max(memory), sum(each.count(' HTTP/1.1" ') for each in said), fetched / MB,
        sum(case.filled.blobs.get(digest, 0) * times for digest, times in uploads.items()) / MB,
        max((times for digest, times in uploads.items() if digest in case.filled.layers), default=0),
        arrived(ends[1], case.filled), code,
    )  # fmt: skip


@contextmanager
def sampled(pid: int) -> Iterator[list[float]]:
    """Memory of a process and all below it, now and then, in MB."""
    found, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(_MEMORY_SECONDS):
            found.append(sum(_resident(each) for each in _family(pid)) / MB)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield found
    ended.set()
    thread.join()


def _family(pid: int) -> list[int]:
    try:
        tasks = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        below = {int(child) for task in tasks for child in task.read_text().split()}
    except OSError:
        return [pid]
    return [pid, *(each for child in below for each in _family(child))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def arrived(target: LabRegistry, filled: Filled) -> int:
    """How many wanted tags are at the target with every blob behind them."""
    good = 0
    with LabClient(target) as client:
        for name, tags, _ in filled.images:
            for tag in tags:
                stored = client.manifest(name, tag) or client.manifest(name.removeprefix(f"{PROJECT}/"), tag)
                good += stored is not None and all(_has(target, digest) for digest in named(stored.document))
    return good


def named(document: dict[str, Any]) -> list[str]:
    """The blobs of a plain image; the children of an index."""
    entries = [document["config"], *document["layers"]] if "layers" in document else document.get("manifests", [])
    return [each["digest"] for each in entries]


def _has(target: LabRegistry, digest: str) -> bool:
    value = digest.partition(":")[2]
    return (target.storage / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data").exists()


@contextmanager
def far(host: str) -> Iterator[str]:
    """A far link before a registry."""
    process = subprocess.Popen([sys.executable, str(HERE / "link.py"), host], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def run_once(name: str, source: LabRegistry, filled: Filled, link: str, jobs: int, *, again: bool) -> Figures:
    """One peer into a new target; or once more into the same."""
    cache = Path("/var/lib/containers/cache")
    shutil.rmtree(cache, ignore_errors=True)  # every peer begins without a blob info cache
    with ExitStack() as stack:
        memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory)))
        target = stack.enter_context(registry(schema1=True, folder=folder / "registry"))
        ends = (source.host, target.host)
        if link == "wan":
            ends = (stack.enter_context(far(source.host)), stack.enter_context(far(target.host)))
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        case = Case(*ends, filled, work, jobs)
        if again:
            measure(PEERS[name], case, (source, target))
        return measure(PEERS[name], case, (source, target))


# --- the table ----------------------------------------------------------------------------------------------------

_HEADS = ("peer", "n", "wall s", "x raw", "CPU s", "memory MB", "requests", "read MB", "written MB", "of unique",
          "worst re-upload", "tags there", "exit")  # fmt: skip


def row(name: str, runs: list[Figures], bound: float, filled: Filled) -> str:
    """A line of the table; medians, and the span of the wall time."""

    def middle(pick: Callable[[Figures], float]) -> float:
        return statistics.median(pick(run) for run in runs)

    walls = [run.wall for run in runs]
    unique = filled.unique / MB
    cells = (
        name, str(len(runs)), f"{statistics.median(walls):.1f} ({min(walls):.1f}-{max(walls):.1f})",
        f"{statistics.median(walls) / bound:.2f}" if bound else "-", f"{middle(lambda r: r.cpu):.1f}",
        f"{middle(lambda r: r.memory):.0f}", f"{middle(lambda r: r.requests):.0f}", f"{middle(lambda r: r.read):.1f}",
        f"{middle(lambda r: r.written):.1f}", f"{middle(lambda r: r.written) / unique:.3f}",
        f"x{max(run.worst for run in runs)}", f"{min(run.there for run in runs)}/{filled.tags}",
        ", ".join(str(code) for code in sorted({run.code for run in runs})),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run everything that was asked for, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--population", nargs="+", choices=POPULATIONS, default=["small"])
    parser.add_argument("--link", nargs="+", choices=["wan", "lan"], default=["wan"])
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=["raw", "ours", "xargs", "crane"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=0, help="of ours and xargs; 0 for their own")
    parser.add_argument("--again", action="store_true", help="what a second run costs, which has nothing to do")
    asked = parser.parse_args()
    peers = [name for name in asked.peer if name not in ("crane", "oc") or shutil.which(name)]
    for population in asked.population:
        with registry(schema1=True) as source:
            filled = POPULATIONS[population](source, asked.seed)
            for link in asked.link:
                what = f"{population} / {link}{', again' if asked.again else ''}"
                title = f"{what}: {filled.tags} tags, {len(filled.blobs)} blobs, {filled.unique / MB:.0f} MB"
                print(f"\n{title}, seed {asked.seed}\n\n| {' | '.join(_HEADS)} |\n|{'---|' * len(_HEADS)}", flush=True)
                runs: dict[str, list[Figures]] = {name: [] for name in peers}
                for number in range(asked.rounds):
                    for name in peers if number % 2 == 0 else reversed(peers):
                        runs[name].append(run_once(name, source, filled, link, asked.jobs, again=asked.again))
                bound = statistics.median(run.wall for run in runs["raw"]) if "raw" in runs else 0.0
                for name in peers:
                    print(row(name, runs[name], bound, filled), flush=True)


if __name__ == "__main__":
    main()
