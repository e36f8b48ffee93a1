"""What verify may say of a tag."""

from enum import StrEnum


class Verdict(StrEnum):
    """What verify says of one wanted tag."""

    EQUAL = "equal"
    KEPT = "kept"
    """Other content, which `onConflict: skip` leaves as it is."""
    DIFFERENT = "different"
    MISSING = "missing"
    UNKNOWN = "unknown"


FINE = frozenset({Verdict.EQUAL, Verdict.KEPT})
"""Verdicts that ask nothing of anybody."""
