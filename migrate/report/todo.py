"""What needs a person, the most important first; what to do about it, and what to type. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from migrate.errors import ExitCode
from migrate.images.failures import MEANINGS, FailureClass
from migrate.images.verdicts import Verdict
from migrate.quantities import count
from migrate.report.model import Finding, Grant, Image, Run, Todo, Workload
from migrate.state.statuses import AT_TARGET, CUT_OFF, TAKEN_BACK, TROUBLED

_ENDINGS = {
    ExitCode.FAILED: ("could not continue", "read what it said, correct that, run it again"),
    ExitCode.USAGE: ("was asked for something impossible", "see what it said"),
    ExitCode.LOGIN: ("ended because a login was missing, refused or expired", "log in again, then run it again"),
    ExitCode.LIMIT: ("stopped at its limit", "run it again to continue"),
    ExitCode.INTERRUPTED: ("was interrupted", "run it again to continue"),
}
"""What is left to do after a run that ended with this exit code; after 3 it stands in what failed."""
_LOOKED_AT = (FailureClass.CONFLICT, FailureClass.NOT_FOUND, FailureClass.DAMAGED)
"""What another copy does not change before a person has looked at it."""


def todo_of(
    run: Run | None,
    images: Sequence[Image],
    access: Sequence[Grant],
    workloads: Sequence[Workload],
    findings: Sequence[Finding],
    command: Callable[[str], str],
) -> tuple[Todo, ...]:
    """The list.

    Args:
        run: the one that is reported; None where there was none.
        images: one for each target tag.
        access: what is wanted.
        workloads: how each object stands.
        findings: what rules found.
        command: what to type for one of our commands, such as `copy`.
    """
    return (
        *_ended(run, command),
        *_failed(images, command),
        *_left(run, images, command),
        *_unverified(images, command),
        *_grants(access, command),
        *_objects(workloads, findings, command),
    )


def _ended(run: Run | None, command: Callable[[str], str]) -> Iterator[Todo]:
    """A run that did not come to its end has more to do, even where nothing of it is known."""
    if run is None:
        yield Todo("run", 1, "nothing was run yet", "begin with a look at what would be copied", command("plan"))
        return
    again = command("finish --apply" if run.command == "finish" else run.command)
    if run.how == CUT_OFF:
        yield Todo("run", 1, f"run {run.number} ({run.command}) was cut off", "run it again to continue", again)
    elif run.error:
        yield Todo("run", 1, f"run {run.number} ({run.command}): {run.error}", run.advice, again)
    elif run.exit_code in _ENDINGS:
        words, advice = _ENDINGS[ExitCode(run.exit_code)]
        yield Todo("run", 1, f"run {run.number} ({run.command}) {words}", advice, again)


def _failed(images: Sequence[Image], command: Callable[[str], str]) -> Iterator[Todo]:
    kinds = Counter(image.failure or FailureClass.UNKNOWN for image in images if image.outcome in TROUBLED)
    for kind, number in kinds.most_common():
        meaning = MEANINGS[FailureClass(kind)]
        names = [i.name for i in images if i.outcome in TROUBLED and (i.failure or FailureClass.UNKNOWN) == kind]
        way = f"{command('explain')} {names[0]}" if kind in _LOOKED_AT and " " not in names[0] else command("copy")
        what = f"{count(number, 'tag')}: {meaning.meaning} ({kind}): {names[0]}{', ...' if number > 1 else ''}"
        yield Todo("images", number, what, meaning.advice, way)


def _left(run: Run | None, images: Iterable[Image], command: Callable[[str], str]) -> Iterator[Todo]:
    """What waits; what was given up for now is told by its class."""
    left = [image for image in images if image.outcome not in (*AT_TARGET, *TROUBLED) and not _is_yours(image)]
    if left and run and run.how == "at work":
        words = f"{count(len(left), 'tag')} still to be copied"
        yield Todo("images", len(left), words, f"run {run.number} is at it", command("status --watch"))
        return
    for kind, number in Counter(image.failure for image in left).most_common():
        words = f"{count(number, 'tag')} still to be copied"
        if kind is None:
            yield Todo("images", number, words, "continue copying", command("copy"))
        else:
            meaning = MEANINGS[FailureClass(kind)]
            words = f"{words}: {meaning.meaning} ({kind})"
            yield Todo("images", number, words, f"{meaning.advice}; then continue copying", command("copy"))


def _is_yours(image: Image) -> bool:
    """Whether verify found content of somebody else, which no copy replaces."""
    return image.verdict in (Verdict.MISSING, Verdict.DIFFERENT) and image.failure == FailureClass.CONFLICT


def _unverified(images: Sequence[Image], command: Callable[[str], str]) -> Iterator[Todo]:
    there = [image for image in images if image.outcome in AT_TARGET]
    wrong = sum(i.verdict in (Verdict.MISSING, Verdict.DIFFERENT) and not _is_yours(i) for i in there)
    if wrong:
        words = f"{count(wrong, 'tag')} missing or different at the target"
        yield Todo("images", wrong, words, "copy brings them again", command("copy"))
    yours = [image.name for image in images if image.outcome not in TROUBLED and _is_yours(image)]
    if yours:
        words = f"{count(len(yours), 'tag')} with other content at the target, which no copy replaces"
        way = f"{command('explain')} {yours[0]}"
        yield Todo("images", len(yours), words, MEANINGS[FailureClass.CONFLICT].advice, way)
    unknown = sum(image.verdict == Verdict.UNKNOWN for image in there)
    if unknown:
        words = f"{count(unknown, 'tag')} could not be verified"
        yield Todo("images", unknown, words, "correct what is named, then verify again", command("verify"))
    unseen = sum(image.outcome in AT_TARGET and image.verdict is None for image in there)
    if unseen:
        words = f"{count(unseen, 'tag')} at the target, not verified yet"
        yield Todo("images", unseen, words, "compare with the source", command("verify"))


def _grants(access: Sequence[Grant], command: Callable[[str], str]) -> Iterator[Todo]:
    groups = (
        (
            [g for g in access if g.standing == "refused"],
            "impossible as written",
            "see why, correct `access`",
            "access plan",
        ),
        ([g for g in access if g.standing == "add"], "not applied yet", "apply them", "access apply"),
        ([g for g in access if g.holds is False], "found not to hold", "see why", "access verify"),
        (
            [g for g in access if g.standing == "there" and g.holds is None],
            "applied, and not proved yet",
            "try them as the one who was granted would",
            "access verify",
        ),
        (
            [g for g in access if g.standing == TAKEN_BACK],
            "taken back",
            "apply them again when you are ready",
            "access apply",
        ),
    )
    for members, words, advice, name in groups:
        if members:
            number = len(members)
            yield Todo("access", number, f"{count(number, 'grant')} {words}", advice, command(name))


def _objects(
    workloads: Sequence[Workload], findings: Sequence[Finding], command: Callable[[str], str]
) -> Iterator[Todo]:
    asked = [finding for finding in findings if finding.mode in ("blocked", "asked")]
    if asked:
        number, objects = len(asked), len({(f.project, f.file, f.object) for f in asked})
        words = f"{count(number, 'finding')} in {count(objects, 'object')} of workloads to settle first"
        yield Todo("workloads", number, words, "each says what to do", command("rewrite"))
    groups = (
        ("refused", "refused by the target", "correct what is named", "finish"),
        ("conflict", "in conflict with what others manage there", "see which fields", "finish"),
        ("waits", "waiting for their images to be verified", "copy and verify, then finish", "finish --apply"),
    )
    for standing, words, advice, name in groups:
        number = sum(workload.standing == standing for workload in workloads)
        if number:
            yield Todo("workloads", number, f"{count(number, 'object')} {words}", advice, command(name))
    for standings, words, when in (
        (("new", "changes"), "not applied yet", ""),
        ((TAKEN_BACK,), "taken back", " again"),
    ):
        number = sum(workload.standing in standings for workload in workloads)
        if number:
            words = f"{count(number, 'object')} of workloads {words}"
            yield Todo("workloads", number, words, f"apply them{when} when you are ready", command("finish --apply"))
