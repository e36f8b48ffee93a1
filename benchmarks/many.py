"""Many tiny tags on a near link: time, memory and requests of a plan, a copy, a second copy and a verification.

Run: PYTHONPATH=tests python benchmarks/many.py [--repositories 200] [--tags 25] [--plan-only]
Each tag is an image of its own over one shared layer, laid straight into the source registry's folder.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from registrylab.images import Image, make_image, make_layer
from registrylab.registry import LabRegistry, registry
from registrylab.storage import lay

_MEASURED = (
    "import resource, runpy, sys\n"
    "try: runpy.run_module('migrate', run_name='__main__')\n"
    "finally:\n"
    "  used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "  peak = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]\n"
    "  print('used', peak, used.ru_utime + used.ru_stime, file=sys.stderr)"
)
"""The peak is not ru_maxrss, which begins with that of the process that forked."""
_HEADS = ("command", "wall s", "own CPU s", "own memory MB", "requests source", "requests target")


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--tags", type=int, default=25, help="of each repository")
    parser.add_argument("--plan-only", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, registry() as source, registry() as target:
        folder = Path(name)
        fill(source, asked.repositories, asked.tags)
        manifest = folder / "many.yaml"
        manifest.write_text(
            f"version: 1\nsource: {{registry: '{source.host}', plainHttp: true}}\n"
            f"target: {{registry: '{target.host}', plainHttp: true}}\nimages: [many]\n"
        )
        print(f"{asked.repositories * asked.tags} tags in {asked.repositories} repositories\n")
        print(f"| {' | '.join(_HEADS)} |\n|{'---|' * len(_HEADS)}")
        for command in ["plan"] if asked.plan_only else ["plan", "copy", "copy", "verify"]:
            print(f"| {' | '.join(measure(command, manifest, source, target))} |", flush=True)


def fill(source: LabRegistry, repositories: int, tags: int) -> None:
    """Every tag an image of its own."""
    base = make_layer("base", 1_000)

    def image(number: int) -> Image:
        return make_image([base], config={"Env": [f"N={number}"]})

    for repository in range(repositories):
        for tag in range(tags):
            lay(source.storage, f"many/app{repository:04}", image(repository * tags + tag), [f"v{tag}"])


def measure(command: str, manifest: Path, source: LabRegistry, target: LabRegistry) -> tuple[str, ...]:
    """Run a command; a row of the table."""
    before = requests(source), requests(target)
    began = time.monotonic()
    argv = [sys.executable, "-c", _MEASURED, command, str(manifest)]
    done = subprocess.run(argv, cwd=manifest.parent, capture_output=True, text=True, check=True)
    wall = time.monotonic() - began
    _, kilobytes, cpu = done.stderr.splitlines()[-1].split()
    asked = (str(requests(end) - count) for end, count in zip((source, target), before, strict=True))
    return (command, f"{wall:.1f}", f"{float(cpu):.1f}", f"{int(kilobytes) / 1000:.0f}", *asked)


def requests(lab: LabRegistry) -> int:
    """Requests that a registry has answered so far."""
    return lab.log.count(' HTTP/1.1" ')


if __name__ == "__main__":
    main()
