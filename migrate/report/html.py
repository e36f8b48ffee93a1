"""A report as one HTML page that needs nothing else: no network, no other file.

Jinja2 escapes every value; the rows of tables stand in the page as JSON and are shown as text by report.js, and the
page's own Content-Security-Policy lets no other script or style run.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from migrate.images.verdicts import Verdict
from migrate.quantities import count, format_duration, format_size
from migrate.report.model import Project, Report, Run, Slot
from migrate.report.tables import Table, filter_for, tables_of, time_in_words

_FIRST = 5
"""What needs a person is shown at once, so many; more where it is unfolded."""
_HEIGHT, _WIDTH, _BASE = 130, 640, 150
_BARS, _BAR, _NAMES, _NAME = 10, 22, 150, 22
"""Projects that have a bar of their own; how high that is, how wide its name, and of how many letters."""
_SHARES = (
    ("sent", "were sent"),
    ("there", "the target had already, or lent from another repository"),
    ("layers", "in layers that several images share"),
    ("tags", "in further tags of the same image"),
)


def html(report: Report, command: Callable[[str], str]) -> str:
    """The page; `command` is what to type for one of our commands, such as `explain`."""
    environment = Environment(
        loader=PackageLoader("migrate.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "time": time_in_words,
        "ending": _ending,
        "first_upper": _first_upper,
        "words": _words,
        "shortened": _shortened,
        "filter_for_class": lambda name: filter_for(**{"class": name}),
    }
    style, script = _own("report.css"), _own("report.js")
    tables = tuple(tables_of(report, command))
    shares = tuple(_shares(report))
    return environment.get_template("report.html.j2").render(
        report=report, style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script),  # noqa: S704 - our own
        cards=tuple(_cards(report)), chart=_chart(report.timeline), shares=shares,
        bars=_bars(report.projects) if len(report.projects) > 1 else [], bar_height=_BAR,
        first=_FIRST, total=format_size(report.sharing.total), tables=tables,
        sections=tuple(_sections(report, tables, shares)),
    )  # fmt: skip


def _own(name: str) -> str:
    return files("migrate.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As Content-Security-Policy names an inline script or style (CSP 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _ending(run: Run) -> str:
    took = f" after {format_duration(run.seconds)}" if run.seconds is not None else ""
    return f"ended{took} with exit code {run.exit_code}" if run.how == "ended" else run.how


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}\u2026"


def _words(text: str) -> Markup:
    """A sentence, what stands between backticks in it as code."""
    parts = _first_upper(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def _sections(report: Report, tables: Sequence[Table], shares: Sequence[Any]) -> Iterator[tuple[str, str]]:
    yield "todo", "What needs you"
    if report.timeline or shares:
        yield "pictures", "How it went"
    if report.failures:
        yield "failures", "Why tags failed, or wait"
    yield from ((table.id, table.title) for table in tables)
    yield "environment", "Where and with what"


def _cards(report: Report) -> Iterator[tuple[str, str, str]]:
    """Number, words, and more in small."""
    tags = len(report.images)
    there = sum(image.is_there for image in report.images)
    equal, kept = (sum(i.verdict == verdict for i in report.images) for verdict in (Verdict.EQUAL, Verdict.KEPT))
    yield f"{there:,} of {tags:,}", "tags at the target", ""
    words = f"{kept:,} kept with other content (onConflict: skip)" if kept else ""
    yield f"{equal:,} of {there:,}", "compared with the source, and equal", words
    wrong = sum(image.is_wrong for image in report.images)
    yield (
        f"{wrong:,}",
        "tags in trouble" if wrong != 1 else "tag in trouble",
        f"{count(len(report.todo), 'thing')} to do, below" if report.todo else "",
    )
    yield format_size(report.sharing.sent), "sent", f"for the {format_size(report.sharing.total)} at the target"
    took = [run.seconds for run in report.runs if run.seconds]
    yield format_duration(sum(took)), f"in {count(len(report.runs), 'run')}", ""


# --- pictures ---------------------------------------------------------------------------------------------------


def _chart(slots: Sequence[Slot]) -> dict[str, Any]:
    """Paths and words of the timeline: bytes a second as an area, copies at work as a line."""
    if not slots:
        return {}
    peak, most = max(slot.rate for slot in slots), max(slot.busy for slot in slots)
    step = _WIDTH / len(slots)

    def line(values: Sequence[float], top: float) -> list[str]:
        heights = [f"{_BASE - (value / top if top else 0) * _HEIGHT:.1f}" for value in values]
        return [f"L{place * step:.1f} {h}L{(place + 1) * step:.1f} {h}" for place, h in enumerate(heights)]

    area = "".join(line([slot.rate for slot in slots], peak))
    average = sum(slot.busy for slot in slots) / len(slots)
    return {
        "rate": f"M0 {_BASE}{area}L{_WIDTH} {_BASE}Z",
        "busy": "M" + "".join(line([slot.busy for slot in slots], most))[1:],
        "rates": [
            (_BASE - _HEIGHT * share, f"{format_size(peak * share)}/s" if share else "") for share in (0, 0.5, 1)
        ],
        "peak": f"{format_size(peak)}/s",
        "busy_words": f"{average:.1f} on average, at most {most:.0f}",
        "first": slots[0].at,
        "last": slots[-1].at if slots[-1].at[:19] != slots[0].at[:19] else "",
    }


def _shares(report: Report) -> Iterator[dict[str, Any]]:
    """Where the bytes went, as pieces of a bar."""
    x = 0.0
    for name, words in _SHARES:
        size = getattr(report.sharing, name)
        width = _WIDTH * size / max(report.sharing.total, 1)
        if size:
            place = {"x": f"{x:.1f}", "width": f"{width:.1f}", "style": f"share-{name}"}
            yield {**place, "size": format_size(size), "words": words}
        x += width


def _bars(projects: Sequence[Project]) -> list[dict[str, Any]]:
    """The largest projects: bytes at the target, and how many of them were sent; the others as one bar."""
    ordered = sorted(projects, key=lambda project: -project.size_at_target)
    shown = [(project.name, project.size_at_target, project.sent) for project in ordered[:_BARS]]
    rest = ordered[_BARS:]
    if rest:
        sizes = sum(p.size_at_target for p in rest), sum(p.sent for p in rest)
        shown.append((count(len(rest), "other project"), *sizes))
    top = max((size for _, size, _ in shown), default=0) or 1
    room = _WIDTH - _NAMES
    return [
        {
            "y": place * _BAR, "name": name, "words": f"{format_size(size)}, {format_size(sent)} sent",
            "x": _NAMES, "width": f"{room * size / top:.1f}", "sent": f"{room * min(sent, size) / top:.1f}",
        }
        for place, (name, size, sent) in enumerate(shown)
    ]  # fmt: skip
