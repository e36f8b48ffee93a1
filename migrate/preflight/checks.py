"""What one check found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from migrate.images.failures import Failure


class Verdict(StrEnum):
    """How a check ended; the words are stable, scripts may rely on them."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `check`.

    Attributes:
        name: which check; stable, scripts may rely on it.
        subject: what was looked at: a host, a project; empty where there is only one.
        verdict: how it ended.
        words: what was found, and what that means.
        advice: what to do; empty where nothing is to be done.
        login: whether a login is missing, refused or ended (exit code 4).
        blocked: source (with its host) or target repository -> why nothing can be brought from or to there, where
            that is known. Others are not hindered.
        stops: whether nothing at all can be done before this is put right.
    """

    name: str
    subject: str
    verdict: Verdict
    words: str
    advice: str = ""
    login: bool = False
    blocked: Mapping[str, Failure] = field(default_factory=dict)
    stops: bool = False


def ok(name: str, subject: str, words: str) -> Check:
    """All is well."""
    return Check(name, subject, Verdict.OK, words)


def warning(name: str, subject: str, words: str, advice: str = "") -> Check:
    """It can go on, and somebody should know."""
    return Check(name, subject, Verdict.WARNING, words, advice)


def failed(name: str, subject: str, words: str, advice: str = "", *, login: bool = False, stops: bool = False) -> Check:
    """It will not work."""
    return Check(name, subject, Verdict.FAILED, words, advice, login, stops=stops)
