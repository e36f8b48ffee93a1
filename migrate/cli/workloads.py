"""The final step for workloads: what stands in the rewritten folders, tried and applied to the target."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from migrate.access.stage import login_refused
from migrate.cli.clusters import api_advice
from migrate.cli.options import json_line, result, say
from migrate.cli.paths import state_path
from migrate.cli.program import command_line
from migrate.cli.rewriting import entries_for, rewrite_for_finish
from migrate.cli.session import Session
from migrate.cluster import Cluster, ClusterError, Problem, advice
from migrate.errors import ExitCode, MigrateError, UsageError
from migrate.images.verdicts import FINE
from migrate.quantities import FEW, count
from migrate.report import finish as show
from migrate.report import workloads as rewritten
from migrate.report.finish import WorkloadPlan
from migrate.state.memory import State
from migrate.state.opening import read_state
from migrate.state.reading import NoStateError
from migrate.state.statuses import is_wanted
from migrate.workloads.apply import Planned, Sending, Sent, Standing, apply_planned, plan_items
from migrate.workloads.context import registries_of
from migrate.workloads.objects import Found, Item, read_objects
from migrate.workloads.rollout import FOLLOWED, Progress, Rollout, follow


def plan_workloads(session: Session, state: Path | None) -> list[WorkloadPlan]:
    """Rewrite what is to be rewritten, read what was written, and let the server try it. Writes to no cluster.

    Raises:
        UsageError: the manifest names no API of the target.
        LoginError: its login is not taken.
        MigrateError: it is out of reach.
    """
    entries = entries_for(session.manifest, session.project)
    if not entries:
        return []
    cluster = target_of(session)
    prepared = rewrite_for_finish(session, state)
    waits = _waits_for(session, state)
    plans = []
    for entry in entries:
        folder = session.manifest.file_path(entry.to)
        troubles = prepared.troubles.get(folder, [])
        found = Found(troubles=troubles) if troubles else read_objects(folder, entry.project)
        plan = WorkloadPlan(str(folder), entry.project, found, data_copied=entry.options.data_copied)
        plan.findings = prepared.findings.get(folder)
        try:
            plan.planned += plan_items(cluster, plan.found.items, waits, data_copied=entry.options.data_copied)
        except ClusterError as error:
            raise _no_way(cluster, error, entry.project) from None
        plans.append(plan)
    plans[-1].elsewhere += prepared.pointers
    return plans


def record_workloads(state: State, plans: Sequence[WorkloadPlan]) -> None:
    """Keep for reports what was found in workloads, and how each object stands."""
    for plan in plans:
        if plan.findings is not None:
            state.record_findings(plan.folder, plan.project, plan.findings, rewritten.SAYS)
        state.record_standings(plan.folder, plan.project, plan.planned)


def looked_at_again(session: Session, state: Path | None, plans: Sequence[WorkloadPlan]) -> list[WorkloadPlan]:
    """How the same objects stand at the target now; those that could not be read stay as they are."""
    entries = entries_for(session.manifest, session.project)
    if not entries:
        return []
    cluster, waits = target_of(session), _waits_for(session, state)
    try:
        return [
            replace(
                plan, planned=[*plan_items(cluster, plan.found.items, waits, data_copied=entry.options.data_copied)]
            )
            for plan, entry in zip(plans, entries, strict=True)
        ]
    except ClusterError as error:
        raise _no_way(cluster, error, plans[0].project) from None


def target_of(session: Session) -> Cluster:
    """The target's API.

    Raises:
        UsageError: the manifest names none.
    """
    cluster = session.cluster("target")
    if cluster is None:
        raise UsageError("workloads are applied by the target's OpenShift API, and none is named", api_advice("target"))
    return cluster


def _no_way(cluster: Cluster, error: ClusterError, project: str) -> MigrateError:
    if error.problem is Problem.LOGIN:
        return login_refused(cluster, error)
    return MigrateError(str(error), advice(error.problem, project))


def _waits_for(session: Session, state: Path | None) -> Callable[[Item], str]:
    """Why an object cannot be applied yet: an image that was to be moved and is not verified at the target."""
    registries = registries_of(session.manifest.file)
    hosts = (registries.target_internal, registries.target_external)
    known, digests, has_state = _verdicts(session, state)

    def waits(item: Item) -> str:
        for image in item.images:
            host, _, rest = image.strip().partition("/")
            if host not in hosts or not rest:
                continue
            name, _, digest = rest.partition("@")
            path, _, tag = name.partition(":")
            verdict = digests.get((path, digest)) if digest else known.get(f"{path}:{tag or 'latest'}")
            if verdict is None and not has_state and _is_moved(session, path):
                verdict = ""
            if verdict is not None and verdict not in FINE:
                commands = f"{command_line('copy', session.manifest.path)}, then verify"
                return f"image {rest} is not verified at the target: {commands}"
        return ""

    return waits


def _verdicts(session: Session, state: Path | None) -> tuple[dict[str, str], dict[tuple[str, str], str], bool]:
    """What verify said, by `project/stream:tag`, and by repository and digest; and whether there is a state."""
    path, manifest = state_path(session.manifest.path, state), session.manifest
    target = manifest.file.target.registry
    try:
        with read_state(path, manifest.path, target) as kept:
            rows = [row for row in kept.copies() if is_wanted(row)]
    except NoStateError:
        return {}, {}, False
    tags = {row["target"].removeprefix(f"{target}/"): row["verdict"] or "" for row in rows}
    digests = {
        (row["target"].removeprefix(f"{target}/").partition(":")[0], row["target_digest"]): row["verdict"] or ""
        for row in rows
        if row["target_digest"]
    }
    return tags, digests, bool(rows)


def _is_moved(session: Session, path: str) -> bool:
    """Whether an entry of `images` goes to a target repository."""
    if session.manifest.file.images is None:
        return False
    return any(path == r.target_path or path.startswith(f"{r.target_path}/") for r in session.manifest.images)


# --- applying ---------------------------------------------------------------------------------------------------


def apply_workloads(session: Session, state: State, plans: Sequence[WorkloadPlan], *, as_json: bool) -> ExitCode:
    """Send what was planned; nothing at all where the server refused something when it tried."""
    if any(plan.is_refused for plan in plans):
        if not as_json:
            result(["Nothing was applied: correct what is refused, then run again."])
        return ExitCode.INCOMPLETE
    cluster = target_of(session)
    failed = 0
    one_by_one = len(plans) <= FEW
    for plan in plans:
        sent = 0
        for event in _recorded(state, cluster, plan.planned):
            if event.error is not None and event.error.problem in (Problem.LOGIN, Problem.UNREACHABLE):
                raise _no_way(cluster, event.error, plan.project)
            failed += event.error is not None
            sent += event.error is None
            if as_json or one_by_one or event.error is not None:
                _say_sent(event, as_json=as_json)
        if sent and not (as_json or one_by_one):
            result([f"  {plan.project}: {count(sent, 'object')} applied"])
    left = failed or any(plan.needs_attention for plan in plans)
    return ExitCode.INCOMPLETE if left else ExitCode.OK


def _recorded(state: State, cluster: Cluster, planned: Sequence[Planned]) -> Iterator[Sent]:
    row = 0
    for event in apply_planned(cluster, planned):
        if isinstance(event, Sending):
            row = state.record_sending(event.planned, cluster.server)
        else:
            state.record_sent(row, event)
            yield event


def _say_sent(event: Sent, *, as_json: bool) -> None:
    label = event.planned.item.label
    words = event.error.words if event.error else ""
    if as_json:
        name = "failed" if words else "applied"
        json_line({"event": name, "object": label, "project": event.planned.item.project, "problem": words or None})
    elif words:
        result([f"  failed    {label} of project {event.planned.item.project}: {words}"])
    else:
        made = "made" if event.planned.standing is Standing.NEW else "changed"
        result([f"  {made:<9} {label}"])


def wait_for_rollouts(session: Session, plans: Sequence[WorkloadPlan], seconds: float, *, as_json: bool) -> ExitCode:
    """Follow what was applied until it runs, or the time is over."""
    cluster = target_of(session)
    skipped = (Standing.WAITS, Standing.CONFLICT, Standing.REFUSED)
    items = [
        each.item
        for plan in plans
        for each in plan.planned
        if each.item.kind.name in FOLLOWED and each.standing not in skipped
    ]
    if not items:
        return ExitCode.OK
    last: list[Rollout] = []
    try:
        for now in follow(cluster, items, seconds):
            for each in now:
                if each not in last and not as_json:
                    say(f"{each.label}: {each.progress}{f', {each.words}' if each.words else ''}")
            last = now
    except ClusterError as error:
        raise _no_way(cluster, error, items[0].project) from None
    if as_json:
        for each in last:
            json_line({"event": "rollout", "object": each.label, "progress": str(each.progress), "words": each.words})
    else:
        result(["", show.rollout_summary(last), *show.rollout_lines(last)])
    done = all(each.progress in (Progress.READY, Progress.STOPPED) for each in last)
    return ExitCode.OK if done else ExitCode.INCOMPLETE
