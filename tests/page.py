"""docs/reliability.md: words by hand, and sections that programs write and tests read."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs/reliability.md"


def section(name: str) -> str:
    """What a program wrote there.

    Raises:
        ValueError: the page has no such section.
    """
    return _found(name)[2].strip()


def write_section(name: str, text: str) -> None:
    """Put a section's text in place of what was there."""
    _found(name)
    PAGE.write_text(_pattern(name).sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[3]}", PAGE.read_text()))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows(text: str) -> dict[str, dict[str, str]]:
    """The cells of a table by row and column."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    heads = [cell.strip() for cell in lines[0]]
    return {cells[0].strip(): dict(zip(heads[1:], (c.strip() for c in cells[1:]), strict=True)) for cells in lines[2:]}


def _found(name: str) -> re.Match[str]:
    found = _pattern(name).search(PAGE.read_text())
    if not found:
        raise ValueError(f"{PAGE} has no section {name}")
    return found


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- made: {re.escape(name)} -->\n)(.*?)(<!-- end: {re.escape(name)} -->\n)", re.DOTALL)
