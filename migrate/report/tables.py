"""The long tables of the HTML report: which columns, and the rows as JSON that report.js draws. Pure."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from migrate.images.verdicts import FINE
from migrate.printable import printable
from migrate.report.mentions import Mentions
from migrate.report.model import Image, Report, Workload
from migrate.state.statuses import AT_TARGET, TAKEN_BACK

_PAGE, _PAGES = 20, {"images": 50}
"""Rows that are shown at a time."""


@dataclass(frozen=True)
class _Column:
    """A column: how its values are made, and how they are shown.

    `kind` is text, number, size, seconds or time; `flags` are those of report.js: fold (only where a row is opened),
    wide (in a narrow window only where a row is opened), long, name, code, outcome, command. `link` names tables, in
    which the value, a filter, is looked for; by its `key` a filter names a column: `class=not-found`.
    """

    label: str
    value: Callable[[Any], Any]
    kind: str = "text"
    flags: tuple[str, ...] = ()
    link: tuple[tuple[str, str], ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page, its rows as JSON."""

    id: str
    title: str
    words: str
    number: int
    data: Markup
    page: int


def time_in_words(value: str) -> str:
    """`2026-11-27 22:04:05 UTC`."""
    return f"{value[:10]} {value[11:19]} UTC"


def tables_of(report: Report, command: Callable[[str], str]) -> Iterator[Table]:
    """Those that have rows, in the order of the page; `command` is what to type for one of our commands."""
    if len(report.projects) > 1:
        yield _table("projects", "Projects", "", report.projects, _PROJECTS, lambda project: project.troubled > 0)
    yield _table("images", "Images", "One row for each target tag.", report.images, _images(command), _is_bad)
    changed = [image for image in report.images if image.warnings]
    if changed:
        words = (
            "What does not arrive as it is at the source: fields that conversion drops, signatures, notes of the copy."
        )
        yield _table("on-the-way", "Changed on the way", words, changed, _ON_THE_WAY)
    if report.changes and len(report.runs) > 1 and report.run:
        words = f"The tags that were left with another result by run {report.run.number} than by those before."
        yield _table("changes", "New results of this run", words, report.changes, _CHANGES)
    if report.access:
        words = "Who may pull at the target, and whether that was proved."
        yield _table(
            "access", "Who may pull", words, report.access, _GRANTS, lambda g: g.standing != "there" or g.holds is False
        )
    if report.access_changes:
        words = "What was written at the target."
        yield _table("access-changes", "Access that was written", words, report.access_changes, _ACCESS_CHANGES)
    mentions = Mentions(report.images)
    if report.workloads:
        needs = ("new", "changes", "waits", "conflict", "refused", TAKEN_BACK)
        yield _table(
            "workloads", "Workloads", "", report.workloads, _workloads(mentions), lambda w: w.standing in needs
        )
    if report.findings:
        words = "What the rules changed, and what is to be known. Values of Secrets and variables are not shown."
        yield _table(
            "findings",
            "Findings in workloads",
            words,
            report.findings,
            _findings(mentions),
            lambda f: f.mode in ("blocked", "asked"),
        )
    if report.runs:
        yield _table("runs", "Runs", "", report.runs[::-1], _RUNS)


def _table(
    name: str,
    title: str,
    words: str,
    rows: Sequence[Any],
    columns: Sequence[_Column],
    bad: Callable[[Any], bool] | None = None,
) -> Table:
    strings: dict[str, int] = {}
    data = {
        "columns": [_column(column) for column in columns],
        "rows": [[_cell(column, row, strings) for column in columns] for row in rows],
        "strings": strings,
        "bad": "".join("1" if bad(row) else "0" for row in rows) if bad else "",
    }
    data["strings"] = list(strings)
    return Table(name, title, words, len(rows), _json(data), _PAGES.get(name, _PAGE))


def _column(column: _Column) -> dict[str, Any]:
    return {
        "label": column.label,
        "type": column.kind,
        **dict.fromkeys(column.flags, True),
        "link": column.link or None,
        "key": column.key or None,
    }


def _cell(column: _Column, row: Any, strings: dict[str, int]) -> Any:
    """A number, or the place of a text among all texts, each of which stands in the page once."""
    value = column.value(row)
    if column.kind in ("number", "size", "seconds"):
        return value
    lines = ("" if value is None else str(value)).split("\n")
    return strings.setdefault("\n".join(map(printable, lines)), len(strings))


def _json(data: Any) -> Markup:
    """JSON that ends no script element and begins no other one (HTML, section 4.12.1.3)."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - escaped just now


def _is_bad(image: Image) -> bool:
    return image.outcome not in AT_TARGET or image.verdict not in (None, *FINE)


def filter_for(**values: str) -> str:
    """What finds the rows that have these values in the columns of these keys."""
    return " ".join(value if '"' in value else f'{key}="{value}"' for key, value in values.items())


def _joined(values: Sequence[str]) -> str:
    return "\n".join(values)


def _formats(image: Image) -> str:
    """`Docker → OCI`; one of them where the other is not known: what was there already is not read."""
    return " → ".join(filter(None, (image.format_before, image.format_after)))


def _images(command: Callable[[str], str]) -> tuple[_Column, ...]:
    fold = ("fold",)
    return (
        _Column("Image", lambda i: i.name, flags=("name",), key="image"),
        _Column("Outcome", lambda i: f"{i.outcome}, {i.verdict}" if i.verdict else i.outcome, flags=("outcome",)),
        _Column("Why", lambda i: i.reason, flags=("long",)),
        _Column("Format", _formats, flags=("wide",)),
        _Column("Size", lambda i: i.size, "size"),
        _Column("Sent", lambda i: i.sent, "size", flags=("wide",)),
        _Column("Took", lambda i: i.seconds, "seconds", flags=("wide",)),
        _Column("Tries", lambda i: i.attempts, "number", flags=("wide",)),
        _Column("Class", lambda i: i.failure, flags=("wide",), key="class"),
        _Column("What to do", lambda i: i.advice, flags=fold),
        _Column("Project", lambda i: i.target_project, flags=fold, key="project"),
        _Column("Source", lambda i: i.source, flags=fold),
        _Column("Target", lambda i: i.target, flags=fold),
        _Column("Digest at the source", lambda i: i.source_digest, flags=(*fold, "code")),
        _Column("Digest at the target", lambda i: i.target_digest, flags=(*fold, "code")),
        _Column("Changed on the way", lambda i: _joined(i.warnings), flags=fold),
        _Column("Replaced (onConflict: overwrite)", lambda i: i.replaced_digest, flags=(*fold, "code")),
        _Column("Copied", lambda i: i.ended_at, "time", flags=fold),
        _Column("Verified", lambda i: i.verified_at, "time", flags=fold),
        _Column("Workloads that name it", lambda i: filter_for(image=i.name), flags=fold, link=_OF_IMAGE),
        _Column(
            "Who may pull from its project",
            lambda i: filter_for(project=i.target_project),
            flags=fold,
            link=_OF_PROJECT,
        ),
        _Column("Everything known of it", lambda i: f"{command('explain')} {i.name}", flags=(*fold, "command")),
    )


def _done(workload: Workload) -> str:
    """What was applied of a workload, and when."""
    return f"{workload.applied} {time_in_words(workload.applied_at)}" if workload.applied_at else workload.applied


_OF_IMAGE = (("workloads", "objects"), ("findings", "what changed there"))
_OF_PROJECT = (("access", "grants"), ("access-changes", "written"))
_OF_OBJECT = (("findings", "findings"),)
_OF_A_PROJECT = (("images", "images"), ("workloads", "workloads"), *_OF_PROJECT)
_PROJECTS = (
    _Column("Project", lambda p: p.name, flags=("name",)),
    _Column("Tags", lambda p: p.tags, "number"),
    _Column("At target", lambda p: p.at_target, "number"),
    _Column("Verified", lambda p: p.verified, "number"),
    _Column("In trouble", lambda p: p.troubled, "number"),
    _Column("Size", lambda p: p.size, "size"),
    _Column("Sent", lambda p: p.sent, "size", flags=("wide",)),
    _Column("Size there", lambda p: p.size_at_target, "size", flags=("wide",)),
    _Column("Copying took, all added", lambda p: p.seconds, "seconds", flags=("wide",)),
    _Column("What there is of it", lambda p: filter_for(project=p.name), flags=("fold",), link=_OF_A_PROJECT),
)
_ON_THE_WAY = (
    _Column("Image", lambda i: i.name, flags=("name",)),
    _Column("What", lambda i: "; ".join(i.warnings), flags=("long",)),
)
_CHANGES = (
    _Column("Image", lambda c: c.target.partition("/")[2], flags=("name",)),
    _Column("Before", lambda c: c.before or "not known"),
    _Column("After", lambda c: c.after),
)
_GRANTS = (
    _Column("Project", lambda g: g.project, key="project"),
    _Column("Who", lambda g: g.means, flags=("name",)),
    _Column("What", lambda g: ", ".join(g.images) or f"every image, by {g.role}"),
    _Column("Standing", lambda g: f"{g.how}, and does not hold" if g.holds is False else g.how, flags=("outcome",)),
    _Column("Holds", lambda g: "not tried" if g.holds is None else "yes" if g.holds else "no"),
    _Column("How that is known", lambda g: g.proof or g.words, flags=("long",)),
    _Column("Subject", lambda g: g.subject, flags=("fold",)),
    _Column("Wished by", lambda g: g.why, flags=("fold",)),
    _Column("RoleBinding", lambda g: g.binding, flags=("fold",)),
    _Column("Proved", lambda g: g.proved_at, "time", flags=("fold",)),
)
_ACCESS_CHANGES = (
    _Column("Project", lambda c: c.project, key="project"),
    _Column("Object", lambda c: f"{c.kind}/{c.name}", flags=("name",)),
    _Column("Before", lambda c: ", ".join(c.before) or "nothing"),
    _Column("After", lambda c: ", ".join(c.after), flags=("long",)),
    _Column("Written", lambda c: c.applied_at, "time"),
    _Column("Taken back", lambda c: c.reverted_at, "time"),
)


def _workloads(mentions: Mentions) -> tuple[_Column, ...]:
    fold = ("fold",)
    return (
        _Column("Object", lambda w: w.object, flags=("name",)),
        _Column("Project", lambda w: w.project, key="project"),
        _Column("At the target", lambda w: w.standing, flags=("outcome",)),
        _Column("Done", _done),
        _Column("Why", lambda w: w.words, flags=("long",)),
        _Column("File", lambda w: w.place, flags=fold),
        _Column("Names", lambda w: _joined(w.images), flags=fold),
        _Column("Images of this report", lambda w: _joined(mentions.of_workload(w)), flags=fold, key="image"),
        _Column("Changes", lambda w: filter_for(object=w.object, project=w.project), flags=fold, link=_OF_OBJECT),
    )


def _findings(mentions: Mentions) -> tuple[_Column, ...]:
    fold = ("fold",)
    return (
        _Column("Object", lambda f: f.object or f.file, flags=("name",), key="object"),
        _Column("How much of you", lambda f: f.mode, flags=("outcome",)),
        _Column("What", lambda f: f.words or f.says, flags=("long",)),
        _Column("Before", lambda f: f.before, flags=("code",)),
        _Column("After", lambda f: f.after, flags=("code",)),
        _Column("Rule", lambda f: f.rule),
        _Column("Project", lambda f: f.project, flags=("wide",), key="project"),
        _Column("Place", lambda f: f"{f.file}:{f.line} {f.path}", flags=fold),
        _Column("The rule says", lambda f: f.says, flags=fold),
        _Column("Images of this report", lambda f: _joined(mentions.of_finding(f)), flags=fold, key="image"),
    )


_RUNS = (
    _Column("Run", lambda r: r.number, "number"),
    _Column("Command", lambda r: r.command),
    _Column("Begun", lambda r: r.started_at, "time"),
    _Column("Took", lambda r: r.seconds, "seconds"),
    _Column("Copied", lambda r: r.copied, "number"),
    _Column("Failed", lambda r: r.failed, "number"),
    _Column("New results", lambda r: r.changed, "number"),
    _Column("Sent", lambda r: r.sent, "size"),
    _Column("End", lambda r: f"exit code {r.exit_code}" if r.how == "ended" else r.how),
    _Column("Project", lambda r: r.project or "all"),
)
