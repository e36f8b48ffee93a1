"""What has changed at the source since the last run, and what the target has besides: lines and documents. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.images.delta import Delta, Leftover
from migrate.images.plan import Copy
from migrate.quantities import count, format_size
from migrate.report.lines import shortened, table
from migrate.report.text import source_name

_SHORT_DIGEST = 19


@dataclass(frozen=True)
class Since:
    """What has changed, and since which run (its row of `runs`)."""

    run: Mapping[str, Any]
    delta: Delta


def since_lines(since: Since) -> Iterator[str]:
    """Each tag that changed at the source, as a table, and a summary."""
    found = since.delta
    rows = [("new", source_name(copy), copy.target.short, _size(copy), _what(copy)) for copy in found.new]
    rows += [
        ("moved", source_name(copy), copy.target.short, _size(copy), f"was {_short(before)}; {_what(copy)}")
        for copy, before in found.moved
    ]
    rows += [("gone", seen.source.short, seen.target.short, "-", "the target keeps it") for seen in found.gone]
    if rows:
        yield from table(("change", "source", "target", "size", "what"), rows, right={3})
        yield ""
    yield since_summary(since)


def since_summary(since: Since) -> str:
    """`since the last run (copy, 2026-11-25T22:10:03Z): 2 new tags, 1 moved, 1 gone, 205 as they were`."""
    found = since.delta
    parts = [count(len(found.new), "new tag")] if found.new else []
    parts += [f"{len(found.moved):,} moved"] if found.moved else []
    parts += [f"{len(found.gone):,} gone"] if found.gone else []
    parts += (
        [f"{found.unchanged:,} as they were"]
        if parts
        else [f"nothing new at the source ({count(found.unchanged, 'tag')})"]
    )
    return f"since the last run ({since.run['command']}, {since.run['started_at']}): {', '.join(parts)}"


def since_document(since: Since) -> dict[str, Any]:
    """The same in JSON."""
    found = since.delta
    return {
        "run": since.run["id"],
        "startedAt": since.run["started_at"],
        "new": [_tag(copy) for copy in found.new],
        "moved": [{**_tag(copy), "before": before, "now": copy.source.digest} for copy, before in found.moved],
        "gone": [{"source": str(seen.source), "target": str(seen.target)} for seen in found.gone],
        "unchanged": found.unchanged,
    }


def leftover_lines(found: Sequence[Leftover], notes: Sequence[str]) -> Iterator[str]:
    """What the target has and the source does not; what could not be looked at."""
    if found:
        yield "At the target and not at the source (nothing is deleted):"
        rows = [(each.target.short, "this tool" if each.ours else "somebody else", each.why) for each in found]
        yield from table(("target", "put there by", "why"), rows, right=set())
        yield ""
    if notes:
        yield "Could not be read:"
        yield from shortened([f"  {note}" for note in notes])
        yield ""
    ours = sum(each.ours for each in found)
    who = f": {ours:,} put there by this tool, {len(found) - ours:,} by somebody else" if found else ""
    yield f"{count(len(found), 'tag')} at the target and not at the source{who}"
    if found:
        example = found[0].target
        project, _, name = example.repository.path.partition("/")
        yield f"To delete one yourself: oc tag -n {project} -d {name}:{example.tag}"


def leftover_document(each: Leftover) -> dict[str, Any]:
    """One such tag in JSON."""
    return {"target": str(each.target), "putByThisTool": each.ours, "why": each.why}


def _tag(copy: Copy) -> dict[str, Any]:
    return {"source": str(copy.source), "target": str(copy.target), "action": str(copy.action)}


def _what(copy: Copy) -> str:
    return f"{copy.action}: {copy.reason}"


def _size(copy: Copy) -> str:
    return format_size(copy.size) if copy.size else "-"


def _short(digest: str) -> str:
    return digest[:_SHORT_DIGEST]
