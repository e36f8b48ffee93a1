"""Image streams of the target while images are copied: made before the pushes, aliases after them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from migrate.cli.options import say
from migrate.cli.session import Session
from migrate.images.plan import Action, Plan
from migrate.images.target_streams import aliases_of, make_alias, make_streams
from migrate.images.transfer import Event, Finished, Job, JobResult, Started
from migrate.reference import Reference


def make_missing(session: Session, plan: Plan) -> dict[str, str]:
    """Make the target's image streams where its API is in reach; why one could not be made, by repository path."""
    cluster = session.image_cluster("target")
    if cluster is None or not any(copy.action in (Action.COPY, Action.LINK) for copy in plan.copies):
        return {}
    streams = session.planned_streams
    carried = streams.stream if streams else lambda _: None
    refused = make_streams(cluster, plan, carried, session.manifest.file.image_streams.carry)
    for path, words in refused.items():
        say(f"note: image stream {path} could not be made (the push may make it): {words}")
    return refused


def held_already(plan: Plan) -> dict[Reference, str]:
    """The target tags that held the source's image when planned, and their digests."""
    return {copy.target: copy.present for copy in plan.copies if copy.action is Action.SKIP and not copy.failure}


def make_aliases(session: Session, plan: Plan, number: int, arrived: Mapping[Reference, str]) -> Iterator[Event]:
    """Tags that follow others, one after another, once what they follow is there.

    Args:
        session: both ends.
        plan: with the aliases.
        number: the first job's.
        arrived: the target tags that hold the source's image, and their digests; grows while others are made.
    """
    cluster, streams = session.image_cluster("target"), session.planned_streams
    for copy in aliases_of(plan):
        if session.stop.soon.is_set() or cluster is None or copy.delivery is None:
            return
        job = Job(number, copy.source.repository, copy.target.repository, copy.delivery, (copy,))
        tag = streams.tag(replace(copy.source, digest="")) if streams else None
        yield Started(job)
        made = make_alias(
            cluster,
            partial(_standing, session),
            copy,
            tag.policy if tag else "",
            arrived.get(copy.alias or copy.target, ""),
        )
        yield Finished(JobResult(job, (made,)))
        number += 1


def _standing(session: Session, target: Reference) -> str:
    """The digest that stands under a tag of the target; empty for none."""
    found = session.target.find_manifest(target.repository.path, target.tag)
    return found.digest if found else ""
