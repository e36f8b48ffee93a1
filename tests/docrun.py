"""Runs a document: its shell blocks in order, as a reader would type them, and looks at what it says they print.

A block ```sh is run by bash from where the last one left off; `exit=3` behind it says how its last command ends, `skip`
that nobody can type it for the reader. A block ```text after it is what is printed: each line, `...` for anything, in
this order, among other lines. A block ```yaml is an edit of the manifest: each of its lines takes the place of the one
that begins in the same way.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAME = 30
"""Characters by which a line of an edit finds the one that it replaces."""


@dataclass(frozen=True)
class Block:
    """A block of a document; `more` is what stands behind its language."""

    language: str
    more: str
    text: str


def blocks(document: str) -> Iterator[Block]:
    """The blocks of a Markdown document."""
    for found in _BLOCK.finditer(document):
        yield Block(*found.groups())


@dataclass
class Reader:
    """Somebody who types what a document says.

    `folder` is where they stand, `words` what is changed of a block before it is typed (names of servers), `printed` is
    what the last one has printed.
    """

    folder: Path
    environment: Mapping[str, str]
    words: Mapping[str, str]
    printed: str = ""

    def read(self, document: str, manifest: str) -> int:
        """Do it all; how many blocks were typed."""
        typed = 0
        for block in blocks(document):
            if block.language == "sh" and block.more != "skip":
                self._type(block)
                typed += 1
            elif block.language == "text" and not block.more:
                self._compare(block)
            elif block.language == "yaml":
                _edit(self.folder / manifest, block.text)
        return typed

    def _type(self, block: Block) -> None:
        text = block.text
        for old, new in self.words.items():
            text = text.replace(old, new)
        where = self.folder / ".where"
        script = f"set -e -o pipefail\ntrap 'pwd > {where}' EXIT\n{text}"
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        wanted = int(block.more.removeprefix("exit=") or 0)
        self.printed = ran.stdout
        assert ran.returncode == wanted, f"{text}\n-> {ran.returncode}\n{self.printed}"
        assert "Traceback" not in self.printed
        self.folder = Path(where.read_text().strip())

    def _compare(self, block: Block) -> None:
        lines = self.printed.splitlines()
        for wanted in block.text.splitlines():
            pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
            while lines and not re.fullmatch(pattern, lines[0].rstrip()):
                del lines[0]
            assert lines, f"{wanted!r} is not printed, or not in this order:\n{self.printed}"


def _edit(path: Path, text: str) -> None:
    lines = path.read_text().splitlines()
    for line in text.splitlines():
        (place,) = [number for number, old in enumerate(lines) if old[:_SAME] == line[:_SAME]]
        lines[place] = line
    path.write_text("\n".join(lines) + "\n")


def environment(folder: Path, programs: Path) -> dict[str, str]:
    """A home, and the programs that the documents name; none of the tester's logins."""
    kept = {key: value for key, value in os.environ.items() if key in ("LANG", "TMPDIR")}
    home = folder / "home"
    home.mkdir(mode=0o700)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": path, "COLUMNS": "120"}
