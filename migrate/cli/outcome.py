"""How a copy ended: counts, exit code, and the words and the document that tell it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.errors import ExitCode, MigrateError
from migrate.images.failures import FailureClass
from migrate.quantities import count, format_duration, format_size
from migrate.reference import Reference
from migrate.report.lines import failure_lines
from migrate.report.text import moved_lines


@dataclass(frozen=True)
class Outcome:
    """How the copying ended: tags by status, bytes sent, seconds, what failed for which reason.

    `limit` says which limit ended it, where one did, and `too_large` how many bytes the smallest image needs that no
    further run under the same limit would begin;
    `kept` target tags hold something else on purpose, `moved` says which source tags name something else by now, and
    `gone` is whether a registry went out of reach; `refused` are the target tags that the plan refuses; `changed` is
    how many tags do not arrive as they are at the source. `error` is what ended it before its end, a registry out of
    reach or a login that ended.
    """

    counts: Counter[str]
    sent: int
    seconds: float
    failures: frozenset[FailureClass]
    stopped: bool
    kept: int = 0
    moved: tuple[str, ...] = ()
    gone: bool = False
    refused: frozenset[Reference] = frozenset()
    changed: int = 0
    limit: str = ""
    too_large: int = 0
    error: MigrateError | None = None

    @property
    def cut_short(self) -> bool:
        """Whether it was stopped, by a person or a limit, with something left to do."""
        return (self.stopped or bool(self.limit)) and self.counts["left"] > 0

    @property
    def exit_code(self) -> int:
        """As docs/cli.md says."""
        if FailureClass.LOGIN in self.failures:
            return ExitCode.LOGIN
        if self.gone:
            return ExitCode.FAILED
        if self.cut_short:
            return self._cut_short_code
        troubles = self.counts["failed"] + self.counts["conflict"] + self.counts["refused"] + self.counts["left"]
        return ExitCode.INCOMPLETE if troubles else ExitCode.OK

    @property
    def _cut_short_code(self) -> int:
        if not self.limit:
            return ExitCode.INTERRUPTED
        return ExitCode.INCOMPLETE if self.too_large else ExitCode.LIMIT


def outcome_lines(outcome: Outcome, troubled: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What came of it; `troubled` are the rows of the state that need a person."""
    lines = [*failure_lines(troubled), *moved_lines(outcome.moved)]
    yield from [*lines, *([""] if lines else []), _summary(outcome)]


def _summary(outcome: Outcome) -> str:
    order = ("done", "skipped", "failed", "conflict", "refused", "left")
    if not +outcome.counts:
        return "nothing to do: the manifest names no images"
    if set(+outcome.counts) == {"skipped"} and not outcome.kept:
        return f"nothing to do: {count(outcome.counts['skipped'], 'tag')} at the target already"
    words = {"skipped": "there already", "left": "left to do", "conflict": "in conflict"}
    parts = [f"{outcome.counts[name]:,} {words.get(name, name)}" for name in order if outcome.counts[name]]
    if outcome.kept:
        parts.append(f"{outcome.kept:,} of these left as they are with other content (onConflict: skip)")
    return f"{', '.join(parts) or 'nothing to do'}; {format_size(outcome.sent)} in {format_duration(outcome.seconds)}"


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """The last line of `copy --format json`."""
    order = ("done", "skipped", "failed", "conflict", "refused", "left")
    return {
        "counts": {name: outcome.counts[name] for name in order},
        "changed": outcome.changed,
        "bytes": outcome.sent,
        "seconds": round(outcome.seconds, 3),
        "limit": outcome.limit or None,
        "exitCode": int(outcome.exit_code),
    }
