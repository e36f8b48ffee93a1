"""Does `--bwlimit` hold? Measured from outside: the counters of a link between this machine and the registries.

Run as root: PYTHONPATH=tests python benchmarks/cap.py [--rate 10MB] [--layers 65] [--megabytes 10]

Two registries run in a network namespace behind a pair of virtual interfaces; rahti-migrate copies images of random
bytes from one to the other, through this end of the pair, whose counters are read once a second. What is printed are
bytes on the wire, TCP and IP included.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from registrylab.client import LabClient
from registrylab.images import make_image, make_layer
from registrylab.registry import registry

SPACE, NEAR, FAR = "rahti-cap", "rahti-cap0", "rahti-cap1"
NEAR_ADDRESS, FAR_ADDRESS = "10.77.0.1", "10.77.0.2"
SETTLING = 3
WINDOW = 10
"""Seconds."""


def serve(layers: int, megabytes: int) -> None:
    """In the namespace: two registries, the first one filled; they run until stdin ends."""
    with registry(address=FAR_ADDRESS) as source, registry(address=FAR_ADDRESS) as target:
        with LabClient(source) as client:
            for number in range(layers):
                image = make_image([make_layer(f"layer{number}", megabytes * 1_000_000)])
                client.push(f"cap/app{number % 13}", image, f"v{number}")
        sys.stdout.write(f"{source.host} {target.host}\n")
        sys.stdout.flush()
        sys.stdin.read()


def link(*, up: bool) -> None:
    """The namespace and the pair of interfaces, made or taken away."""
    inside = f"ip netns exec {SPACE} ip"
    made = (
        f"ip netns add {SPACE}",
        f"ip link add {NEAR} type veth peer name {FAR} netns {SPACE}",
        f"ip addr add {NEAR_ADDRESS}/24 dev {NEAR}",
        f"ip link set {NEAR} up",
        f"{inside} addr add {FAR_ADDRESS}/24 dev {FAR}",
        f"{inside} link set {FAR} up",
        f"{inside} link set lo up",
    )
    for command in made if up else (f"ip netns del {SPACE}",):
        subprocess.run(command.split(), check=True)


def counters() -> tuple[float, int, int]:
    """Now, and the bytes that came from the registries and went to them."""
    folder = Path(f"/sys/class/net/{NEAR}/statistics")
    came, went = (int((folder / f"{way}_bytes").read_text()) for way in ("rx", "tx"))
    return time.monotonic(), came, went


def measured(manifest: Path, rate: str) -> list[tuple[float, int, int]]:
    """The counters, second by second, while everything is copied."""
    argv = [sys.executable, "-m", "migrate", "copy", str(manifest), "--bwlimit", rate]
    running = subprocess.Popen(argv, cwd=manifest.parent)
    rows = [counters()]
    while running.poll() is None:
        time.sleep(1)
        rows.append(counters())
    assert running.returncode == 0
    return rows


def say(rows: list[tuple[float, int, int]]) -> None:
    """The mean without beginning and end, and the least and most of any ten seconds, in MB/s."""
    rows = rows[SETTLING:-SETTLING]
    for way, name in ((1, "from the registries"), (2, "to the registries")):
        pairs = list(zip(rows, rows[WINDOW:], strict=False))
        windows = [(end[way] - begin[way]) / (end[0] - begin[0]) / 1e6 for begin, end in pairs]
        mean = (rows[-1][way] - rows[0][way]) / (rows[-1][0] - rows[0][0]) / 1e6
        extremes = f"; {WINDOW} s: {min(windows):.2f} to {max(windows):.2f}" if windows else ""
        print(f"{name}: {mean:.2f} MB/s over {rows[-1][0] - rows[0][0]:.0f} s{extremes}")


def main() -> None:
    """Make the link, fill the source, copy, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="10MB")
    parser.add_argument("--layers", type=int, default=65)
    parser.add_argument("--megabytes", type=int, default=10)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.layers, options.megabytes)
        return
    link(up=True)
    try:
        sizes = ["--layers", str(options.layers), "--megabytes", str(options.megabytes)]
        argv = ["ip", "netns", "exec", SPACE, sys.executable, __file__, "--serve", *sizes]
        with (
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as serving,
            tempfile.TemporaryDirectory() as folder,
        ):
            assert serving.stdout
            source, target = serving.stdout.readline().split()
            manifest = Path(folder) / "cap.yaml"
            ends = (("source", source), ("target", target))
            sides = "".join(f"{end}: {{registry: '{host}', plainHttp: true}}\n" for end, host in ends)
            manifest.write_text(f"version: 1\n{sides}images: [cap]\n")
            say(measured(manifest, options.rate))
    finally:
        link(up=False)


if __name__ == "__main__":
    main()
