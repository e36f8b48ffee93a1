"""What is running on this machine, from /proc."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def arguments_of_all() -> Iterator[tuple[int, list[str]]]:
    """Process id and argument list of every process that can be seen."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            except OSError:
                continue


def family(pid: int) -> set[int]:
    """A process and all that it started, and those, which still run."""
    children: dict[int, list[int]] = defaultdict(list)
    for child, _ in arguments_of_all():
        with suppress(OSError):
            stat = Path(f"/proc/{child}/stat").read_text()
            children[int(stat.rpartition(")")[2].split()[1])].append(child)
    found, new = {pid}, [pid]
    while new:
        new = children[new.pop()] + new
        found.update(new)
    return found


def skopeos(mark: str) -> list[int]:
    """Processes of skopeo whose arguments name `mark` (a registry's host)."""
    return [
        pid
        for pid, argv in arguments_of_all()
        if argv and any(a.endswith("skopeo") for a in argv[:5]) and any(mark in a for a in argv)
    ]
