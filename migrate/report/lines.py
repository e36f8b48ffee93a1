"""What lists for a terminal are made of: tables, long lists in short, failures by class. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from migrate.images.failures import MEANINGS, FailureClass

_MANY = 20


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> Iterator[str]:
    """Columns as wide as they need to be; those in `right` end in line."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [[head.upper() for head in heads], *rows]:
        cells = [
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def shortened(lines: Sequence[str]) -> list[str]:
    """The first of many lines, and how many more there are."""
    if len(lines) <= _MANY:
        return list(lines)
    return [*lines[:_MANY], f"  ... and {len(lines) - _MANY} more (--format json has all)"]


def failure_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Failed copies by class: what it means, what to do, and which; from the state's rows."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["error_class"] or FailureClass.UNKNOWN].append(row)
    for kind, members in groups.items():
        meaning = MEANINGS[FailureClass(kind)]
        yield f"{kind}: {meaning.meaning} -> {meaning.advice}"
        yield from shortened([f"  {name_of(row)}{_own_words(row, meaning.meaning)}" for row in members])


def _own_words(row: Mapping[str, Any], meaning: str) -> str:
    """What was said beyond the class's own words."""
    words = str(row["error"] or row["reason"] or "").removeprefix(meaning).removeprefix(": ")
    return f": {words}" if words else ""


def name_of(row: Mapping[str, Any]) -> str:
    """A target tag without its registry; from a row of the state."""
    return str(row["target"]).partition("/")[2]
