"""Plans, results and states as text for a terminal. Pure: values in, lines out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from migrate.images.failures import MEANINGS, FailureClass
from migrate.images.graph import BlobGraph
from migrate.images.plan import Action, Copy, Plan
from migrate.images.verdicts import Verdict
from migrate.images.verify import Verification
from migrate.quantities import count, format_size
from migrate.report.lines import shortened, table

LONG_PLAN = 40
_MANY = 20
_FEW = 5
_AT_TARGET = ("done", "skipped")
_STUCK = (Action.CONFLICT, Action.REFUSED)
_TROUBLES = ("failed", "conflict", "refused")


def plan_lines(plan: Plan, *, full: bool = False) -> Iterator[str]:
    """A plan as a table: a line a tag, or a line a repository where there are many; what needs a person in full."""
    grouped = len(plan.copies) > LONG_PLAN and not full
    yield from _by_repository(plan.copies) if grouped else _by_tag(plan.copies)
    if grouped:
        yield "(--format json lists every tag)"
    troubled = [c for c in plan.copies if c.action in _STUCK]
    if grouped and troubled:
        yield ""
        yield from _by_tag(troubled)
    warned = [copy for copy in plan.copies if copy.warnings]
    if warned:
        yield ""
        yield "Changes on the way:"
        yield from shortened([_change(copy) for copy in warned])
    yield from note_lines(plan.notes)
    yield ""
    yield from blob_lines(plan.graph)
    yield plan_summary(plan)


def blob_lines(graph: BlobGraph) -> Iterator[str]:
    """`60 blobs, 90 MB: 12 are at the target (30 MB), 48 must cross (60 MB), each once`; which is shared most."""
    if not graph.blobs:
        return
    there = len(graph.blobs) - len(graph.crossing)
    parts = [f"{there:,} at the target ({format_size(graph.bytes - graph.crossing_bytes)})"] if there else []
    parts += [f"{len(graph.crossing):,} must cross ({format_size(graph.crossing_bytes)}), each once"]
    yield f"{count(len(graph.blobs), 'blob')}, {format_size(graph.bytes)}: {', '.join(parts)}"
    digest, most = max(graph.blobs.items(), key=lambda item: item[1].size * (len(item[1].needed_by) - 1))
    if len(most.needed_by) > 1 and most.size:
        where = f"{count(len(most.needed_by), 'tag')} in {count(len(most.repositories), 'repository')}"
        yield f"shared most: blob {digest[:19]}, {format_size(most.size)}, by {where}"


def change_lines(plan: Plan) -> Iterator[str]:
    """How many tags change on the way, or replace what somebody else put there, and the first of them."""
    if plan.replacing:
        tags = count(len(plan.replacing), "tag")
        yield f"Other content at the target will be replaced (onConflict: overwrite) in {tags}:"
        yield from shortened([f"  {copy.target.short}: it has {copy.present}" for copy in plan.replacing])
    changed = plan.changed
    if changed:
        tags = count(len(changed), "tag")
        yield f"Changes on the way ({tags}; `rahti-migrate plan` lists them all):"
        yield from (_change(copy) for copy in changed[:_FEW])
    if len(changed) > _FEW:
        yield f"  ... and {len(changed) - _FEW} more"


def _change(copy: Copy) -> str:
    return f"  {copy.target.short}: {'; '.join(copy.warnings)}"


def note_lines(notes: Sequence[str]) -> Iterator[str]:
    """What else is to be known of a plan."""
    if notes:
        yield ""
        yield "Nothing to move in:"
        yield from shortened([f"  {note}" for note in notes])


def _by_tag(copies: Sequence[Copy]) -> Iterator[str]:
    rows = [
        (str(c.action), source_name(c), c.target.short, format_size(c.size) if c.size else "-", c.reason)
        for c in copies
    ]
    yield from table(("action", "source", "target", "size", "why"), rows, right={3})


def source_name(copy: Copy) -> str:
    """A source as a table has it: without its registry, and without the digest of a tag."""
    name = copy.source.repository.path
    if copy.source.tag:
        return f"{name}:{copy.source.tag}"
    return f"{name}@{copy.source.digest[:19]}" if copy.source.digest else f"{name} (every tag)"


def _by_repository(copies: Sequence[Copy]) -> Iterator[str]:
    groups: dict[str, list[Copy]] = defaultdict(list)
    for copy in copies:
        groups[str(copy.target.repository.path)].append(copy)
    rows = [_group_row(repository, members) for repository, members in groups.items()]
    rows.append(_group_row("total", copies))
    yield from table(("target repository", "tags", *Action, "unique"), rows, right=set(range(1, 8)))


def _group_row(name: str, members: Sequence[Copy]) -> tuple[str, ...]:
    counts = [str(sum(c.action is action for c in members) or "") for action in Action]
    return (name, str(len(members)), *counts, format_size(_unique(members)))


def _unique(copies: Iterable[Copy]) -> int:
    moving = [c.delivery for c in copies if c.action in (Action.COPY, Action.LINK) and c.delivery]
    return sum({blob.digest: max(blob.size, 0) for delivery in moving for blob in delivery.blobs}.values())


def advice_lines(plan: Plan) -> Iterator[str]:
    """What to do about what is in conflict or refused, by class."""
    for kind in dict.fromkeys(copy.failure for copy in plan.copies if copy.failure and copy.action in _STUCK):
        number = sum(copy.failure is kind and copy.action in _STUCK for copy in plan.copies)
        yield f"{kind} ({count(number, 'tag')}) -> {MEANINGS[kind].advice}"


def plan_summary(plan: Plan) -> str:
    """`14 tags: 9 to copy, 3 to link, 2 there already; at most 20 MB to move (of 60 MB: 40 MB are shared or there)`."""
    words = {
        Action.COPY: "to copy",
        Action.LINK: "to link",
        Action.SKIP: "to skip",
        Action.CONFLICT: "in conflict",
        Action.REFUSED: "refused",
    }
    parts = [f"{plan.count(action):,} {words[action]}" for action in Action if plan.count(action)]
    unique, total = plan.graph.crossing_bytes, plan.graph.total_bytes
    at_most = "at most " if unique else ""  # nobody has asked yet which layers the target has in other repositories
    sizes = f"; {at_most}{format_size(unique)} to move" if total else ""
    shared = f" (of {format_size(total)}: {format_size(total - unique)} are shared or there)" if total > unique else ""
    unknown = f", and {count(plan.unknown_sizes, 'image')} of unknown size" if plan.unknown_sizes else ""
    return f"{count(len(plan.copies), 'tag')}: {', '.join(parts) or 'nothing to do'}{sizes}{shared}{unknown}"


def verify_lines(found: Verification, refused: Sequence[Copy]) -> Iterator[str]:
    """What does not verify, the `refused` that are not named elsewhere, and a summary."""
    bad = [item for item in found.tags if item.verdict is not Verdict.EQUAL]
    rows = [(str(item.verdict), item.copy.target.short, item.words) for item in bad]
    rows += [("refused", copy.target.short, copy.reason) for copy in refused]
    if rows:
        yield from table(("verdict", "target", "what"), rows, right=set())
        yield ""
    yield verify_summary(found)


def verify_summary(found: Verification) -> str:
    """`14 tags verified: 13 equal, 1 missing; 2 refused, not verified`."""
    parts = [f"{found.count(verdict):,} {verdict}" for verdict in Verdict if found.count(verdict)]
    refused = f"; {len(found.refused):,} refused, not verified" if found.refused else ""
    return f"{count(len(found.tags), 'tag')} verified: {', '.join(parts) or 'none'}{refused}"


def verify_hints(found: Verification, bring: str) -> Iterator[str]:
    """What to do now; `bring` is the command that brings what is not at the target."""
    wrong = [item for item in found.tags if item.verdict in (Verdict.MISSING, Verdict.DIFFERENT)]
    if any(item.failure is None for item in wrong):
        yield f"To bring what is missing or different: {bring}"
    if any(item.failure is FailureClass.CONFLICT for item in wrong):
        yield f"No copy replaces a tag in conflict: {MEANINGS[FailureClass.CONFLICT].advice}"
    if found.count(Verdict.UNKNOWN) or found.refused:
        yield "Correct what is named as unknown or refused, then verify again"


def moved_lines(moved: Sequence[str]) -> Iterator[str]:
    """Source tags that were copied as planned and name something else by now."""
    if moved:
        yield "Moved while this ran (what was planned is copied; run again to bring what they name now):"
        yield from shortened([f"  {words}" for words in moved])
