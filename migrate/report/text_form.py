"""A report as lines for a terminal, and as Markdown: the same words, in the same order. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

from migrate.printable import printable
from migrate.quantities import count, format_duration, format_size
from migrate.report.lines import table
from migrate.report.model import Change, Image, Report, Run

_FEW, _RUNS = 3, 10


def report_lines(report: Report) -> Iterator[str]:
    """The first screen of the report."""
    yield report.headline
    yield from _facts(report)
    if report.todo:
        yield ""
        yield "What needs you:"
        for command, members in groupby(report.todo, key=lambda todo: todo.command):
            yield from (f"  {todo.words} -> {todo.advice}" for todo in members)
            yield f"    {command}"
    if len(report.projects) > 1:
        yield ""
        yield from table(_PROJECT_HEADS, _project_rows(report), right={1, 2, 3, 4, 5, 6})
    if report.runs:
        yield ""
        runs = report.runs[-_RUNS:]
        yield from table(_RUN_HEADS, [_run_row(run) for run in runs], right={0, 3, 4, 5, 6, 7})
        if len(runs) < len(report.runs):
            yield f"({count(len(report.runs) - len(runs), 'earlier run')}: see --json or --html)"
    if report.changes and report.run and len(report.runs) > 1:
        yield ""
        yield f"New results of run {report.run.number}, for {count(len(report.changes), 'tag')}:"
        yield from _change_lines(report.changes)


def _change_lines(changes: Sequence[Change]) -> Iterator[str]:
    """A line for each sort of change, with the first tags that it struck."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for change in changes:
        groups[change.before or "not known", change.after].append(_short(change.target))
    for (before, after), names in sorted(groups.items(), key=lambda item: -len(item[1])):
        more = ", ..." if len(names) > _FEW else ""
        yield f"  {len(names):>6,} {before} -> {after}: {', '.join(names[:_FEW])}{more}"


def _facts(report: Report) -> Iterator[str]:
    if report.source:
        yield f"{report.source} -> {report.target}{f', project {report.project}' if report.project else ''}"
    sharing, run = report.sharing, report.run
    if sharing.total:
        parts = (
            (sharing.tags, "in further tags"),
            (sharing.layers, "in shared layers"),
            (sharing.there, "there already"),
        )
        saved = ", ".join(f"{format_size(size)} {words}" for size, words in parts if size)
        there = f"the {format_size(sharing.total)} at the target{f' ({saved})' if saved else ''}"
        yield f"{format_size(sharing.sent)} sent for {there}"
    if run:
        took = f", {format_duration(run.seconds)}" if run.seconds is not None else ""
        yield f"run {run.number} (`{run.command}`), begun {run.started_at}{took}: {_ending(run)}"
    if report.is_past:
        yield "as things stood when that run ended; who may pull and how workloads stand is told without --run"


def _ending(run: Run) -> str:
    return f"exit code {run.exit_code}" if run.how == "ended" else run.how


_PROJECT_HEADS = ("project", "tags", "at target", "verified", "in trouble", "size", "sent")
_RUN_HEADS = ("run", "command", "begun", "took", "copied", "failed", "new results", "sent", "end")


def _project_rows(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            p.name, f"{p.tags:,}", f"{p.at_target:,}", f"{p.verified:,}", f"{p.troubled:,}", format_size(p.size),
            format_size(p.sent),
        )
        for p in report.projects
    ]  # fmt: skip


def _run_row(run: Run) -> tuple[str, ...]:
    took = format_duration(run.seconds) if run.seconds is not None else "-"
    numbers = (f"{run.copied:,}", f"{run.failed:,}", f"{run.changed:,}", format_size(run.sent))
    return (str(run.number), run.command, run.started_at[:19] + "Z", took, *numbers, _ending(run))


def _short(target: str) -> str:
    return target.partition("/")[2]


# --- Markdown ---------------------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The whole report in Markdown (CommonMark with tables)."""
    return "\n".join([*_markdown(report), ""])


def _markdown(report: Report) -> Iterator[str]:
    yield f"# {_safe(report.headline)}"
    yield ""
    yield from (f"- {_safe(line)}" for line in _facts(report))
    yield f"- made {report.made_at} by rahti-migrate {report.version} from `{_code(report.state)}`"
    if report.todo:
        yield from ("", "## What needs you", "")
        yield from (f"- **{_safe(t.words)}**: {_safe(t.advice)}: `{_code(t.command)}`" for t in report.todo)
    yield from _section("Projects", _PROJECT_HEADS, _project_rows(report))
    yield from _section("Runs", _RUN_HEADS, [_run_row(run) for run in report.runs])
    troubled = [image for image in report.images if image.is_wrong or image.failure]
    yield from _section("Images in trouble", ("image", "outcome", "why", "what to do"), [
        (image.name, _outcome(image), image.reason, image.advice) for image in troubled
    ])  # fmt: skip
    yield from _section("Images", ("image", "from", "outcome", "format", "size", "digest"), [
        (
            image.name, _short(image.source).partition("@")[0], _outcome(image),
            f"{image.format_before or '?'} -> {image.format_after or '?'}", format_size(image.size),
            (image.target_digest or "")[:19],
        )
        for image in report.images
    ])  # fmt: skip
    yield from _section("Changed on the way", ("image", "what"), [
        (image.name, "; ".join(image.warnings)) for image in report.images if image.warnings
    ])  # fmt: skip
    if report.run and len(report.runs) > 1:
        changes = [(_short(change.target), change.before or "not known", change.after) for change in report.changes]
        yield from _section(f"New results of run {report.run.number}", ("image", "before", "after"), changes)
    yield from _section("Who may pull", ("project", "who", "what", "standing", "holds"), [
        (g.project, g.subject, ", ".join(g.images) or g.role, g.how, _holds(g.holds, g.proof))
        for g in report.access
    ])  # fmt: skip
    yield from _section("Access that was written", ("project", "object", "before", "after", "written", "taken back"), [
        (
            c.project, f"{c.kind}/{c.name}", ", ".join(c.before) or "nothing", ", ".join(c.after), c.applied_at or "",
            c.reverted_at or "",
        )
        for c in report.access_changes
    ])  # fmt: skip
    yield from _section("Workloads", ("project", "object", "standing", "applied", "why"), [
        (w.project, w.object, w.standing, w.applied, w.words) for w in report.workloads
    ])  # fmt: skip
    yield from _section("Findings in workloads", ("where", "object", "rule", "mode", "before", "after", "what"), [
        (f"{f.file}:{f.line}", f.object, f.rule, f.mode, f.before, f.after, f.words or f.says) for f in report.findings
    ])  # fmt: skip


def _outcome(image: Image) -> str:
    return f"{image.outcome}{f', {image.verdict}' if image.verdict else ''}"


def _holds(holds: bool | None, proof: str) -> str:
    return "not tried" if holds is None else f"{'yes' if holds else 'NO'}: {proof}"


def _section(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield from ("", f"## {title}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads))
        yield from (f"| {' | '.join(_safe(cell) for cell in row)} |" for row in rows)


def _safe(text: str) -> str:
    """Text that Markdown leaves as it is, in one cell; what stands between backticks in it as code."""
    parts = printable(" ".join(text.split()), 10_000).split("`")
    if len(parts) % 2 == 0 or any(not part or "|" in part for part in parts[1::2]):
        return _escaped("`".join(parts))
    return "".join(f"`{part}`" if place % 2 else _escaped(part) for place, part in enumerate(parts))


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#~&!])", r"\\\1", text)


def _code(text: str) -> str:
    return text.replace("`", "'")
