"""A rewrite as lines and as a document: what a human must do comes first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from migrate.quantities import count
from migrate.report.documents import VERSION
from migrate.report.elsewhere import Pointer, pointer_document, pointer_lines, pointers
from migrate.workloads.findings import Finding, Mode
from migrate.workloads.folder import Output, Rewritten
from migrate.workloads.rules import RULES

_RULES = {rule.id: rule for rule in RULES}
SAYS = {rule.id: rule.says for rule in RULES}
"""A sentence on each rule, by its name."""
_TITLES = {
    Mode.BLOCKED: "To correct first, or the target will refuse it",
    Mode.ASKED: "For you to decide first",
    Mode.WARNED: "To look at",
    Mode.LEFT_OUT: "Left out",
    Mode.NOTED: "Changed, and may behave otherwise",
    Mode.DONE: "Changed",
}
_SHOWN = 20
"""Findings of one rule that are listed without -v."""


@dataclass(frozen=True)
class RewriteReport:
    """One rewrite: from where, to where, for which project, and how it went."""

    source: str
    to: str
    project: str
    rewritten: Rewritten
    output: Output | None
    registry: str = ""

    @property
    def kept(self) -> tuple[str, ...]:
        """Files that somebody changed by hand since the last rewrite."""
        return self.output.kept if self.output else ()

    @property
    def pointers(self) -> list[Pointer]:
        """What else points at the old cluster."""
        return pointers(self.rewritten.findings, self.project, self.registry)

    @property
    def needs_human(self) -> bool:
        """Whether somebody must act before this can be applied."""
        return bool(self.kept) or any(finding.needs_human for finding in self.rewritten.findings)


def rewrite_lines(report: RewriteReport, *, verbose: int) -> Iterator[str]:
    """What a human must do first, then the rest by rule, then numbers."""
    findings = report.rewritten.findings
    for name in report.kept:
        yield f"{report.to}/{name}: changed by hand since it was written: kept; --force replaces it"
    for mode in Mode:
        members = [finding for finding in findings if finding.mode is mode]
        if members:
            yield f"{_TITLES[mode]} ({len(members):,}):"
            folded = mode in (Mode.DONE, Mode.NOTED, Mode.LEFT_OUT) and not verbose
            yield from _folded(members) if folded else _listed(members, verbose=verbose)
            yield ""
    yield rewrite_summary(report)
    yield from pointer_lines(report.pointers)


def _by_rule(findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    ordered = sorted(findings, key=lambda finding: finding.rule)
    for name, members in groupby(ordered, key=lambda finding: finding.rule):
        yield name, list(members)


def _says(name: str) -> str:
    return _RULES[name].says if name in _RULES else ""


def _folded(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each rule, with where it struck first."""
    for name, members in _by_rule(findings):
        places = list(dict.fromkeys(f"{each.file}:{each.line}" for each in members))
        more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
        yield f"  {len(members):>5,} {name}: {_says(name)}"
        yield f"        {places[0]}{more}"


def _listed(findings: Sequence[Finding], *, verbose: int) -> Iterator[str]:
    for name, members in _by_rule(findings):
        yield f"  {name}: {_says(name)}"
        shown = members if verbose else members[:_SHOWN]
        for words, alike in groupby(shown, key=lambda finding: finding.words):
            for each in alike:
                what = f" {each.object}" if each.object else ""
                yield f"    {each.file}:{each.line}{what}{f' {each.path}' if each.path else ''}{_change(each)}"
            if words:
                first, *rest = words.split("\n")
                yield f"      -> {first}"
                yield from (f"         {line}" for line in rest)
        if len(shown) < len(members):
            yield f"    and {len(members) - len(shown):,} more; -v lists them"


def _change(finding: Finding) -> str:
    if finding.before and finding.after:
        return f": {finding.before} -> {finding.after}"
    if finding.before:
        return f": {finding.before}"
    return f": {finding.after}" if finding.after else ""


def rewrite_summary(report: RewriteReport) -> str:
    """The numbers of a rewrite in one line."""
    rewritten = report.rewritten
    files = len(rewritten.files) + len(rewritten.gone)
    same = files - len(rewritten.changed) - len(rewritten.gone)
    parts = [f"{len(rewritten.changed):,} changed", f"{same:,} as they were"]
    parts += [f"{len(rewritten.gone):,} left out"] if rewritten.gone else []
    written = "nothing was written" if report.output is None else f"{len(report.output.written):,} written"
    arrow = f"{report.source} -> {report.to}" if report.to else report.source
    words = f"{arrow}, for project {report.project}: {count(rewritten.objects, 'object')} in {count(files, 'file')}"
    needed = sum(finding.needs_human for finding in rewritten.findings) + len(report.kept)
    todo = f"; {needed:,} for you to settle first" if needed else ""
    return f"{words}: {', '.join(parts)}; {written}{todo}"


def rewrites_summary(reports: Sequence[RewriteReport]) -> str:
    """The numbers of many rewrites in one line."""
    written = sum(len(report.output.written) for report in reports if report.output)
    needy = sum(report.needs_human for report in reports)
    todo = f"; {count(needy, 'project')} with something for you to settle first" if needy else ""
    objects = count(sum(report.rewritten.objects for report in reports), "object")
    return f"{count(len(reports), 'project')} rewritten: {objects}, {count(written, 'file')} written{todo}"


def rewrite_document(reports: Sequence[RewriteReport], exit_code: int) -> dict[str, Any]:
    """`rewrite --format json`."""
    used = sorted({finding.rule for report in reports for finding in report.rewritten.findings} & set(_RULES))
    return {
        "version": VERSION,
        "kind": "rewrite",
        "rewrites": [_rewrite_document(report) for report in reports],
        "rules": {name: {"says": _RULES[name].says, "link": _RULES[name].link} for name in used},
        "exitCode": int(exit_code),
    }


def _rewrite_document(report: RewriteReport) -> dict[str, Any]:
    rewritten = report.rewritten
    counts = Counter(finding.mode for finding in rewritten.findings)
    return {
        "from": report.source,
        "to": report.to or None,
        "project": report.project,
        "objects": rewritten.objects,
        "elsewhere": [pointer_document(each) for each in report.pointers],
        "files": {
            "changed": sorted(rewritten.changed),
            "leftOut": sorted(rewritten.gone),
            "same": sorted(set(rewritten.files) - set(rewritten.changed)),
            "written": sorted(report.output.written) if report.output else [],
            "kept": sorted(report.kept),
        },
        "counts": {str(mode): counts[mode] for mode in Mode},
        "findings": [finding_document(finding) for finding in rewritten.findings],
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """One finding."""
    return {
        "file": finding.file,
        "line": finding.line,
        "object": finding.object,
        "path": finding.path,
        "rule": finding.rule,
        "mode": str(finding.mode),
        "before": finding.before,
        "after": finding.after,
        "words": finding.words,
    }
