"""Checks as lines and as a document."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from migrate.preflight.checks import Check, Verdict
from migrate.quantities import count
from migrate.report.documents import VERSION

_FOLDED = 5
"""More good checks of one name in a row than this become one line."""


def check_lines(checks: Sequence[Check]) -> Iterator[str]:
    """One line a check, and what to do below it; many good ones of one name are folded into one line."""
    width = max((len(check.name) for check in checks), default=0)
    for (name, verdict), group in groupby(checks, key=lambda check: (check.name, check.verdict)):
        members = list(group)
        if verdict is Verdict.OK and len(members) > _FOLDED:
            example = f"{members[0].subject}: {members[0].words}"
            yield f"{verdict:<8} {name:<{width}}  all of {len(members):,}, such as {example}"
            continue
        for check in members:
            subject = f"{check.subject}: " if check.subject else ""
            yield f"{verdict:<8} {name:<{width}}  {subject}{check.words}"
            if check.advice:
                yield f"{'':8} {'':{width}}  -> {check.advice}"


def checks_summary(checks: Sequence[Check]) -> str:
    """How many there were, and how they ended."""
    ended = Counter(check.verdict for check in checks)
    parts = [f"{ended[verdict]:,} {verdict}" for verdict in Verdict if ended[verdict]]
    return f"{count(len(checks), 'check')}: {', '.join(parts)}"


def check_document(check: Check) -> dict[str, Any]:
    """One check."""
    return {
        "name": check.name,
        "subject": check.subject,
        "verdict": str(check.verdict),
        "words": check.words,
        "advice": check.advice,
    }


def checks_document(checks: Sequence[Check], exit_code: int) -> dict[str, Any]:
    """`check --format json`."""
    ended = Counter(check.verdict for check in checks)
    return {
        "version": VERSION,
        "kind": "check",
        "counts": {str(verdict): ended[verdict] for verdict in Verdict},
        "checks": [check_document(check) for check in checks],
        "exitCode": int(exit_code),
    }
