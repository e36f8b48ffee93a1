"""Where things stand, as text and as JSON; from the state alone. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from migrate.images.failures import MEANINGS, FailureClass
from migrate.images.verdicts import FINE, Verdict
from migrate.report.lines import failure_lines, name_of, shortened
from migrate.state.statuses import AT_TARGET, RUNNING, TROUBLED

VERSION = 1


def status_lines(
    state: str,
    tallies: Iterable[tuple[str, str | None, int]],
    troubled: Sequence[Mapping[str, Any]],
    last_run: Mapping[str, Any] | None,
    writer: str,
) -> Iterator[str]:
    """Where things stand: how many tags by (status, verdict), and the state's rows that need a person."""
    yield f"state: {state}"
    yield f"now: {f'{writer} is at work' if writer else 'nobody is at work'}"
    if last_run:
        yield f"last run: {last_run['command']}, begun {last_run['started_at']}{_ending(last_run, writer)}"
    counts, verdicts = Counter[str](), Counter[str]()
    for status, verdict, number in tallies:
        counts[_status(status, writer)] += number
        if verdict or status in AT_TARGET:
            verdicts[verdict or "not yet"] += number
    yield f"tags: {', '.join(f'{number:,} {status}' for status, number in sorted(counts.items())) or 'none yet'}"
    if verdicts:
        yield f"verified: {', '.join(f'{number:,} {verdict}' for verdict, number in sorted(verdicts.items()))}"
    failed = [row for row in troubled if row["status"] in TROUBLED]
    if failed:
        yield ""
        yield from failure_lines(failed)
    yield from _verdict_lines([row for row in troubled if row["status"] not in TROUBLED])


def _verdict_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What verify found that is not as it should be; what only a person can decide by itself."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["verdict"] and row["verdict"] not in FINE:
            groups[_heading(row)].append(f"  {row['verdict']}  {name_of(row)}: {row['verdict_words']}")
    for heading, lines in groups.items():
        yield from ("", heading, *shortened(lines))


def _heading(row: Mapping[str, Any]) -> str:
    """What to do about a verdict."""
    if row["verdict"] == Verdict.UNKNOWN:
        return "What verify could not read (see to what is named, then verify again):"
    if row.get("verdict_class") == FailureClass.CONFLICT:
        return f"What verify found, and no copy replaces ({MEANINGS[FailureClass.CONFLICT].advice}):"
    return "What verify found (copy brings it again):"


def _status(status: str, writer: str) -> str:
    """What runs while nobody is at work was cut off."""
    return "cut off" if status == RUNNING and not writer else status


def _ending(run: Mapping[str, Any], writer: str) -> str:
    if run["ended_at"]:
        return f", ended {run['ended_at']} with exit code {run['exit_code']}"
    return "" if writer else ", was cut off: run it again to go on"


_ROW_KEYS = {
    "source": "source",
    "target": "target",
    "status": "status",
    "action": "action",
    "reason": "reason",
    "class": "error_class",
    "error": "error",
    "advice": "advice",
    "sourceDigest": "source_digest",
    "targetDigest": "target_digest",
    "attempts": "attempts",
    "retryAt": "retry_at",
    "bytes": "bytes",
    "verdict": "verdict",
    "verdictClass": "verdict_class",
    "verifiedAt": "verified_at",
    "warnings": "warnings",
}


def status_document(
    state: str, copies: Sequence[Mapping[str, Any]], last_run: Mapping[str, Any] | None, writer: str | None
) -> dict[str, Any]:
    """What `status --format json` prints; from the state's rows."""
    return {
        "version": VERSION,
        "kind": "status",
        "state": state,
        "writer": writer,
        "lastRun": _run_document(last_run) if last_run else None,
        "counts": dict(sorted(Counter(row["status"] for row in copies).items())),
        "copies": [{key: row.get(column) or None for key, column in _ROW_KEYS.items()} for row in copies],
    }


def _run_document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": row["id"],
        "command": row["command"],
        "startedAt": row["started_at"],
        "endedAt": row["ended_at"],
        "exitCode": row["exit_code"],
    }
