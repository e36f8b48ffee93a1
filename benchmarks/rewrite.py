"""Rewriting many files, and one large file: time and memory, for each megabyte beside a bare read by PyYAML's C loader.

Run: PYTHONPATH=tests python benchmarks/rewrite.py [--files 1000] [--megabytes 50]
Every object is an exported DeploymentConfig with everything a server adds to it.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_OBJECT = Path(__file__).with_name("rewrite.yaml").read_text()
_LIST = "apiVersion: v1\nkind: List\nitems:\n"
_BARE = "import sys, yaml\nfor event in yaml.parse(open(sys.argv[1]), Loader=yaml.CSafeLoader): pass"


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, default=50)
    asked = parser.parse_args()
    print("| input | MB | wall s | peak MB | a bare read, s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = folder / "many"
        many.mkdir()
        for number in range(asked.files):
            (many / f"{number}.yaml").write_text(_LIST + _OBJECT.replace("@", str(number)))
        measure(f"{asked.files} files", many, folder / "out-many")
        large = folder / "large.yaml"
        count = asked.megabytes * 2**20 // len(_OBJECT)
        large.write_text(_LIST + "".join(_OBJECT.replace("@", str(number)) for number in range(count)))
        measure(f"one file, {count} objects", large, folder / "out-large")


def measure(what: str, source: Path, to: Path) -> None:
    files = [source] if source.is_file() else sorted(source.iterdir())
    size = sum(path.stat().st_size for path in files) / 2**20
    seconds = timed(["-m", "migrate", "rewrite", str(source), "--to", str(to), "--project", "my-app-2"])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    bare = timed(["-c", _BARE, str(source)]) if source.is_file() else float("nan")
    print(f"| {what} | {size:.1f} | {seconds:.1f} | {peak:.0f} | {bare:.1f} |", flush=True)


def timed(arguments: list[str]) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
