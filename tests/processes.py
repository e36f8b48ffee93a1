"""What is running on this machine, from /proc."""

from collections.abc import Iterator
from pathlib import Path


def arguments_of_all() -> Iterator[tuple[int, list[str]]]:
    """Process id and argument list of every process that can be seen."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            except OSError:
                continue


def skopeos(mark: str) -> list[int]:
    """Processes of skopeo whose arguments name `mark` (a registry's host)."""
    return [
        pid
        for pid, argv in arguments_of_all()
        if argv and any(a.endswith("skopeo") for a in argv[:5]) and any(mark in a for a in argv)
    ]
