"""Whether the target projects take what a plan brings: rights, image streams, quotas, sizes. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from migrate.cluster import Problem
from migrate.images.failures import Failure, FailureClass
from migrate.images.plan import Plan
from migrate.preflight.checks import Check, failed, ok, warning
from migrate.preflight.projects import Found, Landing, Target
from migrate.preflight.quotas import IMAGE_STREAMS, PODS, Quota, most_images, shared_quotas, tightest
from migrate.quantities import count, format_size

_NAMED = 3


def judge_targets(target: Target, found: Sequence[tuple[Landing, Found]]) -> Iterator[Check]:
    """What was found of all target projects, as checks. Pure."""
    for landing, seen in found:
        yield _judge_project(target, landing, seen)
        if seen.untold and seen.phase:
            what = f"{', '.join(seen.untold)} cannot be read ({next(iter(seen.untold.values()))})"
            yield warning("limits", landing.project, f"{what}: whether all has room is not known")
    there = [(landing, seen) for landing, seen in found if seen.streams is not None and landing.images]
    if there:
        yield from _judge_streams(target, there)
        yield from (check for landing, seen in there for check in _judge_images(landing, seen))


def _judge_project(target: Target, landing: Landing, found: Found) -> Check:
    project, who = landing.project, target.user or "this login"
    if found.phase == "Terminating":
        return _blocked(landing, "it is being deleted", "wait until it is gone, then make it again")
    if found.problem is Problem.NOT_FOUND:
        return _blocked(landing, "there is no such project", f"make it: {target.new_project(project)}")
    if len(found.denied) == len(landing.images) and (found.denied or found.problem is Problem.FORBIDDEN):
        return _shut(target, landing, found, who)
    let_in = f"an admin of it can allow it: {_let_in(target, landing)}"
    if found.denied:
        names = ", ".join(sorted(found.denied)[:_NAMED])
        words = f"{who} may push, but not to {count(len(found.denied), 'repository')}: {names}"
        return replace(failed("target-project", project, words, let_in), blocked=found.denied)
    if not found.may_grant:
        return failed("target-project", project, f"{who} may not say who may pull from it (`access`)", let_in)
    if found.unsure:
        path, failure = next(iter(found.unsure.items()))
        words = f"whether {who} may push could not be asked of {count(len(found.unsure), 'repository')}, such as {path}"
        return warning("target-project", project, f"{words}: {failure}", failure.advice)
    known = "it is there" if found.phase else ""
    may = f"{who} may push to it" if landing.images else "no image goes to it"
    return ok("target-project", project, " and ".join(filter(None, [known, may])))


def _shut(target: Target, landing: Landing, found: Found, who: str) -> Check:
    """Why nothing at all may be pushed to a project."""
    project = landing.project
    failure = next(iter(found.denied.values()), None)
    if failure and failure.kind not in (FailureClass.DENIED, FailureClass.LOGIN):
        return _blocked(landing, f"nothing can be pushed: {failure}", failure.advice)
    if failure and not target.registry.is_openshift:
        return _blocked(landing, f"{who} may not push here: {failure}", "ask whoever runs the registry")
    right = _let_in(target, landing)
    if found.phase:
        return _blocked(landing, f"it is there, and {who} may not push to it", f"an admin of it can allow it: {right}")
    words = f"there is no such project, or {who} has no right in it"
    advice = f"if it is missing: {target.new_project(project)}; else an admin of it can let you in: {right}"
    return _blocked(landing, words, advice)


def _let_in(target: Target, landing: Landing) -> str:
    role = "admin" if landing.granted else "edit"
    return f"oc policy add-role-to-user {role} {target.user or '<user>'} -n {landing.project}"


def _blocked(landing: Landing, words: str, advice: str) -> Check:
    check = failed("target-project", landing.project, words, advice)
    why = Failure(FailureClass.DENIED, f"target project {landing.project}: {words}")
    return replace(check, blocked=dict.fromkeys(landing.images, why))


def _judge_streams(target: Target, found: Sequence[tuple[Landing, Found]]) -> Iterator[Check]:
    """Whether the image streams are there, or can be made, and fit into what is allowed."""
    shared: dict[str, tuple[Quota, list[str]]] = {}
    total = 0
    told = True
    for landing, seen in found:
        new = [path for path in landing.images if path not in (seen.streams or {})]
        total += len(seen.streams or {}) + len(new)
        own, others = tightest(seen.quotas, IMAGE_STREAMS), shared_quotas(seen.quotas, IMAGE_STREAMS)
        told = told and bool(own or others)
        for quota in others:
            shared.setdefault(quota.name, (quota, []))[1].extend(new)
        words = f"{len(landing.images) - len(new):,} there, {len(new):,} to be made"
        if new and not seen.may_make:
            yield _unmakable(target, landing, new)
        elif own:
            yield _judge_quota(landing.project, own, new, words)
        else:
            yield ok("image-streams", landing.project, words)
    for quota, new in shared.values():
        yield _judge_quota(f"quota {quota.name}", quota, new, f"{len(new):,} to be made")
    if not told and target.streams_known and total > target.streams_known:
        words = f"{total:,} in all target projects together, and {target.streams_known} are known to be allowed"
        yield warning("image-streams", "", words, "ask for more (servicedesk@csc.fi), or take some out of the manifest")


def _unmakable(target: Target, landing: Landing, new: Sequence[str]) -> Check:
    words = f"{count(len(new), 'image stream')} would have to be made, and {target.user or 'this login'} may not"
    makes = [f"oc create imagestream {path.partition('/')[2]} -n {landing.project}" for path in new[:_NAMED]]
    more = f" (and so on for {len(new) - _NAMED:,} more)" if len(new) > _NAMED else ""
    advice = f"ask an admin of {landing.project}: {'; '.join(makes)}{more}"
    why = Failure(
        FailureClass.DENIED, f"the image stream is not there, and {target.user or 'this login'} may not make it"
    )
    return replace(failed("image-streams", landing.project, words, advice), blocked=dict.fromkeys(new, why))


def _judge_quota(subject: str, quota: Quota, new: Sequence[str], words: str) -> Check:
    used = f"{words}; {quota.used:,} of {quota.hard:,} used"
    if len(new) <= quota.free:
        return ok("image-streams", subject, used)
    left = list(new)[quota.free :]
    more = ", ..." if len(left) > _NAMED else ""
    named = f"no room for {count(len(left), 'image stream')}: {', '.join(left[:_NAMED])}{more}"
    advice = "ask for a larger quota, or take some out of the manifest"
    check = failed("image-streams", subject, f"{used} (quota {quota.name}): {named}", advice)
    words = f"the quota {quota.name} allows {count(quota.hard, 'image stream')}, and this one would be too many"
    return replace(check, blocked=dict.fromkeys(left, Failure(FailureClass.TOO_LARGE, words)))


def _judge_images(landing: Landing, found: Found) -> Iterator[Check]:
    """Whether an image stream would get more images than a LimitRange allows."""
    most = most_images(found.ranges)
    if most is None:
        return
    sizes = {
        path: len(images | (found.streams or {}).get(path, frozenset())) for path, images in landing.images.items()
    }
    over = {path: size for path, size in sizes.items() if size > most}
    for path, size in over.items():
        words = f"{path} would have {size:,} images, and {most:,} are allowed (LimitRange, openshift.io/images)"
        check = failed("image-streams", landing.project, words, "choose fewer of its tags (`tags: {newest: ...}`)")
        yield replace(check, blocked={path: Failure(FailureClass.TOO_LARGE, words)})


def judge_pods(found: Sequence[tuple[Landing, Found]], pods: Mapping[str, int], known: int) -> Iterator[Check]:
    """Whether the pods that run at the source have room.

    Args:
        found: what the target says of its projects.
        pods: how many run at the source, by target project; only of projects whose workloads go along.
        known: how many pods are known to be allowed in all, where no quota tells; 0 for no such limit.
    """
    untold = 0
    for landing, seen in found:
        coming = pods.get(landing.project)
        if coming is None:
            continue
        quotas = [tightest(seen.quotas, PODS), *shared_quotas(seen.quotas, PODS)]
        quota = min((each for each in quotas if each), key=lambda each: each.free, default=None)
        if quota is None:
            untold += coming
            continue
        words = f"{count(coming, 'pod')} at the source; {quota.used:,} of {quota.hard:,} used (quota {quota.name})"
        if coming > quota.free:
            yield warning(
                "pods", landing.project, f"{words}: not all will start", "ask for a larger quota, or run fewer"
            )
        else:
            yield ok("pods", landing.project, words)
    if known and untold > known:
        words = f"{count(untold, 'pod')} at the source, and {known:,} are known to be allowed"
        yield warning("pods", "", f"{words}: not all will start", "ask for more (servicedesk@csc.fi), or run fewer")


def check_sizes(plan: Plan, limit: Callable[[str], int]) -> Check:
    """Whether images are too large for where they go; `limit` gives the bytes that a project allows, 0 for no limit."""
    large = [copy for copy in plan.copies if copy.failure is FailureClass.TOO_LARGE]
    if large:
        words = f"{count(len(large), 'tag')} too large: {large[0].source.short}: {large[0].reason}"
        return failed("image-size", "", words, "ask for a higher limit, make the image smaller, or take it out")
    limits = [size for size in map(limit, {copy.target.repository.project for copy in plan.copies}) if size]
    largest = max((copy.size for copy in plan.copies), default=0)
    allowed = f"{format_size(min(limits))} at most" if limits else "no limit is known"
    return ok("image-size", "", f"the largest has {format_size(largest)}; {allowed}")


def check_mounts(plan: Plan, found: Sequence[tuple[Landing, Found]]) -> Iterator[Check]:
    """Whether layers that several target projects share can be linked from one to the other."""
    holders: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for copy in plan.moving:
        for blob in copy.delivery.blobs if copy.delivery else ():
            holders.setdefault(blob.digest, set()).add(copy.target.repository.project)
            sizes[blob.digest] = max(blob.size, 0)
    shared = {digest for digest, projects in holders.items() if len(projects) > 1}
    if not shared:
        return
    size = format_size(sum(sizes[digest] * (len(holders[digest]) - 1) for digest in shared))
    closed = sorted({landing.project for landing, seen in found if not seen.may_pull} & set().union(*holders.values()))
    if closed:
        words = f"layers that projects share cannot be linked from {', '.join(closed[:_NAMED])}: up to {size} go twice"
        advice = f"oc policy add-role-to-user system:image-puller <your user name> -n {closed[0]}"
        yield warning("mount", "", words, advice)
    else:
        yield ok("mount", "", f"layers that projects share are linked, not sent again: {size} less")
