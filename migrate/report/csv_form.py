"""A report as CSV: one row for each target tag (RFC 4180), with a head."""

import csv
import io
from typing import Any

from migrate.report.model import Image, Report

_COLUMNS = (
    "target", "source", "source_project", "target_project", "repository", "tag", "outcome", "verdict", "failure",
    "reason", "advice", "source_digest", "target_digest", "format_before", "format_after", "size", "sent", "seconds",
    "attempts", "warnings", "ended_at", "verified_at", "replaced_digest",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(report: Report) -> str:
    """The file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_cell(image, name) for name in _COLUMNS] for image in report.images)
    return out.getvalue()


def _cell(image: Image, name: str) -> Any:
    """One value; what a spreadsheet would take for a formula begins with a quote."""
    value = getattr(image, name)
    if isinstance(value, tuple):
        value = "; ".join(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
