"""What happens with each wanted tag: copy, link, skip, conflict, refused. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from migrate.images.delivery import Method
from migrate.images.failures import Failure, FailureClass
from migrate.images.plan import Action, Copy, Delivered, Plan
from migrate.images.registry import Found
from migrate.quantities import format_size


def decide(copy: Copy, found: Found | None, before: Delivered, different: tuple[str, ...] | None) -> Copy:
    """What happens to one wanted tag. Pure.

    Args:
        copy: resolved, with a delivery.
        found: what the target tag has now.
        before: what earlier runs put there.
        different: how it differs from what is wanted; None where the digest told enough.
    """
    if found is None:
        return replace(copy, reason="not at the target yet")
    copy = replace(copy, present=found.digest)
    if not different:
        same = "the target has it already" if different is None else "the target has the same content already"
        return replace(copy, action=Action.SKIP, reason=same)
    if found.digest in before:
        moved = before[found.digest] != copy.source.digest
        return replace(copy, reason="the source tag has moved since" if moved else "wanted in another form now")
    words = f"other content is at the target, and no run of this state put it there: {'; '.join(different)}"
    if copy.options.on_conflict == "overwrite":
        return replace(copy, reason=f"will be replaced (onConflict: overwrite): {words}", replaces=True)
    if copy.options.on_conflict == "skip":
        reason = f"left as it is (onConflict: skip): {words}"
        return replace(copy, action=Action.SKIP, reason=reason, failure=FailureClass.CONFLICT)
    return replace(copy, action=Action.CONFLICT, reason=words, failure=FailureClass.CONFLICT)


def repair(copy: Copy, damage: str) -> Copy:
    """A tag that looks right and did not verify is brought again: registries can lose what a manifest names. Pure."""
    if copy.action is Action.SKIP and damage and copy.delivery and copy.failure is None:
        return replace(copy, action=Action.COPY, reason=f"verify found: {damage}", suspect=True)
    return copy


def hold_back(plan: Plan, blocked: Mapping[str, Failure]) -> Plan:
    """A plan without what is known to fail. Pure.

    Args:
        plan: as it was made.
        blocked: target repository's path, or source repository with its host -> why nothing can be brought.
    """
    if not blocked:
        return plan

    def kept(copy: Copy) -> Copy:
        why = blocked.get(copy.target.repository.path) or blocked.get(str(copy.source.repository))
        return copy.refused(why) if why and (copy.moves or copy.unseen) else copy

    return replace(plan, copies=tuple(kept(copy) for copy in plan.copies))


def mark_links(copies: Sequence[Copy]) -> list[Copy]:
    """COPY becomes LINK where the target repository has, or will have, the same image under another tag."""
    there = {(copy.target.repository, copy.present) for copy in copies if copy.action is Action.SKIP and copy.present}
    marked = []
    for copy in copies:
        top = copy.delivery.top if copy.delivery else None
        key = (copy.target.repository, top.digest if top else f"{copy.source.digest} {copy.options}")
        if copy.action is Action.COPY and copy.alias:
            reason = f"{copy.reason}; made again as an alias of {copy.alias.short}"
            copy = replace(copy, action=Action.LINK, reason=reason)
        elif copy.action is Action.COPY and key in there:
            copy = replace(
                copy, action=Action.LINK, reason=f"{copy.reason}; one more tag of an image that is there or is copied"
            )
        elif copy.action is Action.COPY:
            there.add(key)
        marked.append(copy)
    return marked


def mark_nearly_there(plan: Plan, link_max: int) -> Plan:
    """COPY becomes LINK where most of an image is at the target, and at most `link_max` bytes are not. Pure.

    Nothing but what is there now counts: what other images of the plan bring first does not.
    """
    if not link_max or not any(blob.held_in for blob in plan.graph.blobs.values()):
        return plan

    def marked(copy: Copy) -> Copy:
        if (
            copy.action is not Action.COPY
            or copy.suspect
            or not copy.delivery
            or copy.delivery.method is not Method.CARRY
        ):
            return copy
        missing = sum(blob.size for blob in copy.delivery.blobs if blob.digest in plan.graph.crossing)
        if missing > link_max or 2 * missing >= copy.size or any(blob.size < 0 for blob in copy.delivery.blobs):
            return copy
        words = f"all but {format_size(missing)} of it is at the target" if missing else "all of it is at the target"
        return replace(copy, action=Action.LINK, reason=f"{copy.reason}; {words}")

    return replace(plan, copies=tuple(marked(copy) for copy in plan.copies))
