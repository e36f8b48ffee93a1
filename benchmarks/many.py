"""Many tiny tags on a near link: time, memory and requests of a plan, a copy, a second copy and a verification.

Run: PYTHONPATH=tests python benchmarks/many.py [--repositories 200] [--tags 25] [--plan-only]
Each tag is an image of its own over one shared layer, laid straight into the source registry's folder. While a copy
runs, `status` is asked again and again in another process, and the lines of progress are timed.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

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
_HEADS = (
    *("command", "wall s", "own CPU s", "own memory MB", "requests source", "requests target"),
    *("`status` s, median", "`status` s, worst", "longest silence s"),
)
_LOOK_SECONDS = 5.0


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
    with subprocess.Popen(argv, cwd=manifest.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        said, asked = Said(process), Asked(manifest)
        if command == "copy":
            asked.while_it_runs(process)
        said.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}: {said.last}")
    wall = time.monotonic() - began
    _, kilobytes, cpu = said.last.split()
    answered = (str(requests(end) - count) for end, count in zip((source, target), before, strict=True))
    memory = f"{int(kilobytes) / 1000:.0f}"
    return (command, f"{wall:.1f}", f"{float(cpu):.1f}", memory, *answered, *asked.words, f"{said.silence:.0f}")


class Said(threading.Thread):
    """What a command says on stderr: its last line, and the longest time between two, in seconds."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        super().__init__()
        self._lines, self.last, self.silence = process.stderr or (), "", 0.0
        self.start()

    def run(self) -> None:
        """Read until it ends."""
        before = time.monotonic()
        for line in self._lines:
            now = time.monotonic()
            self.silence, before, self.last = max(self.silence, now - before), now, line.decode()


class Asked:
    """How long `status` took while another process wrote the state, in seconds."""

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest
        self._took: list[float] = []

    def while_it_runs(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask now and then until the process ends."""
        while process.poll() is None:
            began = time.monotonic()
            argv = [sys.executable, "-m", "migrate", "status", str(self._manifest)]
            done = subprocess.run(argv, cwd=self._manifest.parent, capture_output=True, check=False)
            if b"is at work" in done.stdout and b"tags: none" not in done.stdout:
                self._took.append(time.monotonic() - began)
            time.sleep(_LOOK_SECONDS)

    @property
    def words(self) -> tuple[str, str]:
        """The median and the worst."""
        return (f"{median(self._took):.2f}", f"{max(self._took):.2f}") if self._took else ("-", "-")


def requests(lab: LabRegistry) -> int:
    """Requests that a registry has answered so far."""
    return lab.log.count(' HTTP/1.1" ')


if __name__ == "__main__":
    main()
