"""One Dask worker beside several, each behind a capped link of its own: how much faster, and what crosses twice.

Run (as root): PYTHONPATH=tests python benchmarks/workers.py [--workers 1 4] [--rate 1] [--images 96] [--own 500]
               [--copies 4] [--rounds 2]

Each worker runs in a network namespace whose link lets `rate` MB/s pass in each direction (tc-tbf; 0: no cap);
registries, scheduler and coordinator are on this machine. Each round copies the same images, over four bases and with a
layer of `own` kB each, into a new, empty target with each number of workers. Bytes are those of the target's own log;
the CPU share is that of the whole machine, the milliseconds of CPU for each image those of each sort of process.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from daskcluster import dask_cluster
from netlab import net
from registrylab.client import LabClient
from registrylab.images import make_image, make_layer
from registrylab.registry import LabRegistry, registry

MB = 1_000_000
HERE = Path(__file__).parent
_UPLOADED = re.compile(r'"PUT /v2/\S+/blobs/uploads/\S*digest=(?:sha256%3A|sha256:)([0-9a-f]{64})\S* HTTP/1.1" 201')


@dataclass(frozen=True)
class Measured:
    """What a copy took: seconds, share of all processors, ms of CPU an image by sort of process; what was written."""

    seconds: float
    share: float
    cpu: dict[str, float]
    written: int
    often: int


def fill(source: LabRegistry, images: int, own: int) -> dict[str, int]:
    """Images over four bases, with a layer of `own` bytes each: blob digest (hex) -> bytes."""
    bases = [make_layer(f"base-{number}", min(2 * MB, 4 * own)) for number in range(4)]
    blobs: dict[str, int] = {}
    with LabClient(source) as client:
        for number in range(images):
            image = make_image([bases[number % 4], make_layer(f"own-{number}", own)])
            client.push(f"team/app{number % 12}", image, f"v{number}")
            blobs |= {digest.partition(":")[2]: len(data) for digest, data in image.blobs.items()}
    return blobs


def spent(pid: int) -> float:
    """Seconds of CPU of a process and of its children that have ended (proc(5), /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def busy() -> tuple[int, int]:
    """Ticks of all processors that were used, and that there were (proc(5))."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def copy(blobs: dict[str, int], images: int, number: int, rate: int, copies: int, folder: Path) -> Measured:
    """Copy everything with so many workers."""
    folder.mkdir()
    names = [f"worker{place}" for place in range(1, number + 1)]
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment = {**kept, "PYTHONPATH": str(HERE.parent), "HOME": str(folder)}
    with (
        net([rate] * number) as made,
        registry(address=made.hub, folder=folder.parent / "source") as source,
        registry(address=made.hub) as target,
    ):
        with dask_cluster(folder / "dask", environment, names, copies, made) as cluster:
            manifest = folder / "m.yaml"
            manifest.write_text(
                f"version: 1\nsource: {{registry: '{source.host}', plainHttp: true}}\n"
                f"target: {{registry: '{target.host}', plainHttp: true}}\nimages: [team]\n"
            )
            argv = [sys.executable, "-m", "migrate", "copy", str(manifest), "--dask", str(cluster.file)]
            pids = {name: process.pid for name, process in cluster.processes.items()}
            before = {name: spent(pid) for name, pid in pids.items()}
            used, began, mine = busy(), time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(argv, cwd=folder, env=environment, check=True, capture_output=True)
            seconds, ended, after = time.monotonic() - began, busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = {name: spent(pid) - before[name] for name, pid in pids.items()}
        times = Counter(_UPLOADED.findall(target.log))
    scheduler = cpu.pop("scheduler")
    coordinator = after.ru_utime + after.ru_stime - mine.ru_utime - mine.ru_stime
    sorts = {"coordinator": coordinator, "scheduler": scheduler, "workers": sum(cpu.values())}
    return Measured(
        seconds,
        (ended[0] - used[0]) / max(ended[1] - used[1], 1),
        {name: each / images * 1000 for name, each in sorts.items()},
        sum(blobs.get(digest, 0) * each for digest, each in times.items()),
        max((each for digest, each in times.items() if digest in blobs), default=0),
    )


def main() -> None:
    """Run, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rate", type=float, default=1.0, help="MB/s of each worker and direction")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--own", type=int, default=500, help="kB of each image's own layer")
    parser.add_argument("--copies", type=int, default=4, help="of each worker at a time")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    seconds: dict[int, list[float]] = {number: [] for number in given.workers}
    with tempfile.TemporaryDirectory() as name:
        with registry(folder=Path(name) / "source") as source:
            blobs = fill(source, given.images, given.own * 1000)
        distinct = sum(blobs.values()) / MB
        print(f"{given.images} images, {distinct:.1f} MB distinct; links of {given.rate} MB/s")
        for turn in range(given.rounds):
            for number in given.workers[:: -1 if turn % 2 else 1]:
                folder = Path(name) / f"{turn}-{number}"
                got = copy(blobs, given.images, number, int(given.rate * MB), given.copies, folder)
                seconds[number].append(got.seconds)
                cpu = ", ".join(f"{sort} {each:.1f}" for sort, each in got.cpu.items())
                print(
                    f"{number} workers: {got.seconds:.1f} s, CPU {got.share:.0%} (ms an image: {cpu}), "
                    f"written {got.written / MB:.1f} MB, the same blob at most x{got.often}",
                    flush=True,
                )
    first = statistics.median(seconds[given.workers[0]])
    for number in given.workers[1:]:
        print(
            f"{number} workers are {first / statistics.median(seconds[number]):.2f} times as fast as {given.workers[0]}"
        )


if __name__ == "__main__":
    main()
