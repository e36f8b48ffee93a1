"""Where things stand, as text and as JSON; from the state alone. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.images.failures import MEANINGS, FailureClass
from migrate.images.verdicts import FINE, Verdict
from migrate.quantities import count, format_duration, format_size
from migrate.report.lines import failure_lines, name_of, shortened
from migrate.state.reading import Records
from migrate.state.statuses import AT_TARGET, CUT_OFF, RUNNING, TROUBLED, WAITING, cut_off

VERSION = 1
NOT_YET = "not yet"
"""The verdict on what stands at the target and was not compared."""


@dataclass(frozen=True)
class Standing:
    """Where things stand.

    Attributes:
        state: its path.
        counts: tags by status; what runs while nobody is at work is `cut off`.
        verdicts: tags by verdict, `not yet` for those at the target that verify has not seen.
        classes: tags that failed, conflict or are refused, by class.
        troubled: the state's rows that need a person.
        last_run: the newest run; None where there was none.
        writer: who is at work now; empty for nobody.
        at_work: (target, since when) of the copies that run now, the oldest first.
        workers: (name, tags, bytes) of each Dask worker in the last run.
        done: tags that were brought in this run, and `sent` bytes of all runs; `moved` bytes of this one.
        last_attempt: when the last copy ended.
    """

    state: str
    counts: Mapping[str, int]
    verdicts: Mapping[str, int]
    classes: Mapping[str, int]
    troubled: Sequence[Mapping[str, Any]]
    last_run: Mapping[str, Any] | None
    writer: str
    at_work: Sequence[tuple[str, str]]
    workers: Sequence[tuple[str, int, int]]
    done: int
    moved: int
    sent: int
    last_attempt: str | None


def standing_of(records: Records, project: str, writer: str) -> Standing:
    """Ask a state."""
    counts, verdicts = Counter[str](), Counter[str]()
    for status, verdict, number in records.tallies(project):
        counts[CUT_OFF if status == RUNNING and not writer else status] += number
        if verdict or status in AT_TARGET:
            verdicts[verdict or NOT_YET] += number
    troubled, last = records.troubled(project), records.last_run()
    number = int(last["id"]) if last else 0
    done, moved, ended = records.progress(number, project)
    classes = Counter(row["error_class"] or FailureClass.UNKNOWN for row in troubled if row["status"] in TROUBLED)
    return Standing(
        str(records.path), dict(sorted(counts.items())), dict(sorted(verdicts.items())), classes, troubled, last,
        writer, records.at_work(project) if writer else (), records.workers(number, project), done, moved,
        records.bytes_sent(project), ended,
    )  # fmt: skip


def status_lines(standing: Standing, seconds: float = 0.0) -> Iterator[str]:
    """Where things stand; `seconds` is how long the run has been on that is at work now."""
    last, writer = standing.last_run, standing.writer
    yield f"state: {standing.state}"
    yield f"now: {f'{writer} is at work' if writer else 'nobody is at work'}"
    if last:
        yield f"{'run' if writer else 'last run'}: {last['command']}, begun {last['started_at']}{_ending(last, writer)}"
        if last.get("error"):
            yield f"  {last['error']}"
        if last.get("advice"):
            yield f"  -> {last['advice']}"
    counts = ", ".join(f"{number:,} {status}" for status, number in standing.counts.items())
    yield f"tags: {counts or 'none yet'}"
    if standing.verdicts:
        yield f"verified: {_verified(standing.verdicts)}"
    if writer:
        yield from _progress_lines(standing, seconds)
    failed = [row for row in standing.troubled if row["status"] in TROUBLED]
    if failed:
        yield ""
        yield from failure_lines(failed)
    given_up = [row for row in standing.troubled if _is_given_up(row, writer)]
    if given_up:
        yield from ("", "What waits for the next copy, and why:")
        yield from failure_lines(given_up)
    yield from _verdict_lines([row for row in standing.troubled if row["status"] not in TROUBLED])


def _verified(verdicts: Mapping[str, int]) -> str:
    """`5 equal, 2 not yet`; `none yet (7 to do)`."""
    if set(verdicts) == {NOT_YET}:
        return f"none yet ({verdicts[NOT_YET]:,} to do)"
    return ", ".join(f"{number:,} {verdict}" for verdict, number in verdicts.items())


def next_command(standing: Standing) -> str:
    """The command that goes on; empty while a run is on, and where nothing is left or a person must deal with it."""
    if standing.writer or not standing.last_run:
        return ""
    if standing.counts.get(WAITING) or standing.counts.get(CUT_OFF):
        return "run" if standing.last_run["command"] == "run" else "copy"
    return "verify" if standing.verdicts.get(NOT_YET) else ""


def _is_given_up(row: Mapping[str, Any], writer: str) -> bool:
    """Whether a tag waits for the next run; while one is on, what will be tried again soon does not."""
    waits = row["status"] == WAITING and not row["retry_at"] if writer else row["status"] in (WAITING, RUNNING)
    return waits and bool(row["error_class"])


def _progress_lines(standing: Standing, seconds: float) -> Iterator[str]:
    """How fast it goes, and what is under way."""
    if standing.done and seconds > 0:
        left = standing.counts.get(WAITING, 0) + len(standing.at_work)
        remaining = f", about {format_duration(seconds / standing.done * left)} left" if left else ""
        rate = format_size(standing.moved / seconds)
        done, sent = count(standing.done, "tag"), format_size(standing.moved)
        yield f"this run: {done} done, {sent} sent for them, {rate}/s{remaining}"
    if standing.workers:
        yield "workers:"
        yield from shortened(
            [f"  {name}: {count(n, 'tag')}, {format_size(size)}" for name, n, size in standing.workers]
        )
    if standing.at_work:
        first, since = standing.at_work[0]
        where = first.partition("/")[2]
        yield f"at work: {count(len(standing.at_work), 'tag')}, the oldest since {since[11:19]} UTC: {where}"


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
        return "What verify could not read (correct what is named, then verify again):"
    if row.get("verdict_class") == FailureClass.CONFLICT:
        return f"What verify found, and no copy replaces ({MEANINGS[FailureClass.CONFLICT].advice}):"
    return "What verify found (copy brings it again):"


def _ending(run: Mapping[str, Any], writer: str) -> str:
    if run["ended_at"]:
        return f", ended {run['ended_at']} with exit code {run['exit_code']}"
    return "" if writer else ", was cut off: run it again to continue"


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


def status_document(standing: Standing, copies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `status --format json` prints; `copies` are the state's rows."""
    return {
        "version": VERSION,
        "kind": "status",
        "state": standing.state,
        "writer": standing.writer or None,
        "lastRun": _run_document(standing.last_run) if standing.last_run else None,
        "counts": dict(standing.counts),
        "verdicts": dict(standing.verdicts),
        "workers": [{"name": name, "tags": tags, "sentBytes": size} for name, tags, size in standing.workers],
        "atWork": [{"target": target, "since": since} for target, since in standing.at_work],
        "sentBytes": standing.sent,
        "copies": [_row_document(row, standing.writer) for row in copies],
    }


def _row_document(row: Mapping[str, Any], writer: str) -> dict[str, Any]:
    document = {key: row.get(column) or None for key, column in _ROW_KEYS.items()}
    return {**document, "status": row["status"] if writer else cut_off(row["status"])}


def _run_document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": row["id"],
        "command": row["command"],
        "startedAt": row["started_at"],
        "endedAt": row["ended_at"],
        "exitCode": row["exit_code"],
        "error": row.get("error"),
        "advice": row.get("advice"),
    }
