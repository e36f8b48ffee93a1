"""The checks of `check`, which `run` begins with: what each of them is given."""

import os
import shlex
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from migrate.cli.private import PrivateAccess
from migrate.cli.program import command_line
from migrate.cli.session import ENDS, End, Session
from migrate.cluster import Cluster, ClusterError, Problem, advice
from migrate.errors import LoginError, MigrateError
from migrate.images import skopeo
from migrate.images.failures import Failure, FailureClass
from migrate.images.plan import Action, Copy, Plan
from migrate.images.registry import RegistryError
from migrate.manifest.model import WorkloadSource
from migrate.manifest.rahti import known_limits
from migrate.preflight.checks import Check, failed, ok, warning
from migrate.preflight.estimate import Estimate, estimate
from migrate.preflight.logins import check_life
from migrate.preflight.machine import check_clock, check_disk, check_skopeo, check_trust
from migrate.preflight.projects import Target, look_at_all
from migrate.preflight.sources import check_pulls, running_pods
from migrate.preflight.targets import check_mounts, check_sizes, judge_pods, judge_targets
from migrate.proxies import proxy_of
from migrate.quantities import count, format_duration, format_size

_SAMPLE_BYTES, _SAMPLE_SECONDS = 32 * 2**20, 2.0
_WORTH_A_SAMPLE = 64 * 10**6
_SKOPEO_SECONDS = 60.0
_NO_TAG_YET = (FailureClass.NOT_FOUND, FailureClass.DENIED)
"""What a target answers where nothing is yet: OpenShift's 401 for a project that is not there is said elsewhere."""
_LOOK_AT_SKOPEO = "look at registries.conf, certs.d and the proxies of this machine; then run again"


def first_checks(session: Session) -> Iterator[Check]:
    """What can be asked before anything is known of the images."""
    if session.manifest.images:
        yield _skopeo()
    for end in ENDS:
        if end == "target" or session.source_repositories:
            registry = _reach(session, end)
            yield registry
            if registry.stops:
                continue
        if end == "target" or session.source_repositories or _reads_the_source(session):
            yield from _api(session, end)
    entries: dict[str, list[int]] = {}
    for request in session.requests():
        entries.setdefault(request.source.repository.registry, []).append(request.index)
    for host in sorted(set(entries) - {session.source.host, session.target.host}):
        yield _reach_outside(session, host, entries[host])


def _reads_the_source(session: Session) -> bool:
    """Whether the source's API is asked for something else than images."""
    file = session.manifest.file
    live = any(isinstance(entry.from_, WorkloadSource) for entry in file.workloads or ())
    return live or any(entry.carry_over for entry in file.access or ())


def _reach_outside(session: Session, host: str, entries: Sequence[int]) -> Check:
    """Whether a registry answers that is neither end; some let be pulled what they do not let be asked about."""
    named = f"images[{entries[0]}]{', ...' if len(entries) > 1 else ''}"
    try:
        registry = session.registry(host)
        registry.ping()
    except LoginError as error:
        return failed("outside", host, f"{named}: {error.what}", error.advice, login=True)
    except RegistryError as error:
        if error.failure.kind is not FailureClass.LOGIN:
            return failed("outside", host, f"{named}: {error.failure}", error.failure.advice)
        if registry.login.credential() is not None:
            words = f"{named}: it does not take the login from {registry.login.name(host, '')}"
            return failed("outside", host, words, f"podman login {host}", login=True)
    return ok("outside", host, "it answers")


def _skopeo() -> Check:
    try:
        return check_skopeo(skopeo.probe())
    except skopeo.SkopeoMissingError as error:
        return failed("skopeo", "", error.what, error.advice, stops=True)


def _reach(session: Session, end: End) -> Check:
    connection = session.connection(session.registry_of(end).host)
    try:
        session.check_end(end)
    except MigrateError as error:
        is_login = isinstance(error, LoginError)
        words = error.what.removeprefix(f"the {end} registry {connection.host}").lstrip(": ")
        return failed(end, connection.host, words, error.advice, login=is_login, stops=True)
    kind = "OpenShift's registry" if session.registry_of(end).is_openshift else "a registry"
    scheme = "http" if connection.plain_http else "https"
    proxy = proxy_of(scheme, connection.host.rpartition(":")[0] or connection.host)
    way = f"through the proxy {proxy}" if proxy else "directly"
    if connection.plain_http:
        return ok(end, connection.host, f"{kind}, {way}, without TLS")
    if connection.insecure:
        words = f"{kind}, {way}, and its TLS certificate is not looked at (insecureSkipTlsVerify)"
        return warning(end, connection.host, words, "name its certificate authority instead: caFile")
    return ok(end, connection.host, f"{kind}, {way}, over TLS")


def _api(session: Session, end: End) -> Iterator[Check]:
    """Whether the end's OpenShift API answers, and to whom."""
    name, needed = f"{end}-api", bool(session.manifest.file.access) if end == "target" else _reads_the_source(session)
    try:
        cluster = session.cluster(end) if needed else session.image_cluster(end)
        user = cluster.whoami() if cluster else ""
    except LoginError as error:
        yield failed(name, "", error.what, error.advice, login=True, stops=True)
        return
    except ClusterError as error:
        assert cluster
        yield _api_trouble(name, cluster, error, needed=needed)
        return
    if cluster:
        yield ok(name, cluster.server, f"it answers {user or 'this login'}")
    elif needed:
        words = f"the {end}'s OpenShift API is needed (`access`, `workloads`), and none is named"
        yield failed(name, "", words, f"set `{end}.login: {{kubeconfigContext: ...}}`, or `{end}.api`")
    elif end == "target" and session.manifest.file.workloads:
        words = "the target's OpenShift API is not named: workloads are rewritten, and cannot be applied"
        yield warning(name, "", words, f"set `{end}.login: {{kubeconfigContext: ...}}`, or `{end}.api`")
    elif session.registry_of(end).is_openshift:
        words = f"the {end}'s OpenShift API is not named: image streams, quotas and rights cannot be looked at"
        yield warning(name, "", words, f"set `{end}.login: {{kubeconfigContext: ...}}`, or `{end}.api`")


def _api_trouble(name: str, cluster: Cluster, error: ClusterError, *, needed: bool) -> Check:
    """What an API means that does not say who we are."""
    if error.problem is Problem.LOGIN:
        words = f"it does not take the login ({cluster.origin}): {error.words}"
        return failed(name, cluster.server, words, _log_in(cluster), login=True, stops=True)
    if error.problem is Problem.FORBIDDEN:
        return ok(name, cluster.server, "it answers, and does not tell this login who it is")
    way_out = advice(error.problem, "") if error.problem in _WITHOUT_PROJECT else ""
    if needed:
        return failed(name, cluster.server, error.words, way_out)
    return warning(name, cluster.server, f"{error.words}; only the registry can be asked", way_out)


_WITHOUT_PROJECT = (Problem.UNREACHABLE, Problem.UNSUPPORTED, Problem.INVALID)
"""Whose advice names no project."""


def _log_in(cluster: Cluster) -> str:
    how = cluster.login.how_anew if cluster.login else None
    return f"log in again: {how()}" if how else "log in again (oc login ...)"


def plan_checks(session: Session, plan: Plan, state: Path, executor: Executor) -> Iterator[Check]:
    """What can be asked once it is known what is to be moved where."""
    sources = [copy.source.repository for copy in plan.moving]
    yield from check_trust(dict.fromkeys(sources))
    yield from _skopeo_reads(session, plan)
    guess = estimate(plan, _measured_rate(session, plan))
    for end in ENDS:
        if end == "target" or session.source_repositories:
            yield from _lives(session, end, guess.seconds)
    named = [session.registry_of(end) for end in ENDS]
    yield check_clock({registry.host: registry.clock_ahead for registry in named})
    yield from check_disk(state, plan)
    yield from check_pulls(plan, session.registry, executor)
    yield from _target_checks(session, plan, executor)
    yield from _plan_check(session, plan)
    yield _time(guess)


def _target_checks(session: Session, plan: Plan, executor: Executor) -> Iterator[Check]:
    scope = session.scope(None)
    known = known_limits(session.manifest.file)
    cluster, user = _answering(session)
    target = Target(session.target, cluster, user, lambda name: _new_project(session, name), known.image_streams or 0)
    granted = {entry.project for entry in session.manifest.file.access or ()}
    chosen = {name for name in granted if not session.project or name == session.project}
    found = look_at_all(target, plan, sorted(chosen) if cluster else (), executor)
    yield from judge_targets(target, found)
    yield from judge_pods(found, _pods(session), known.pods or 0)
    if plan.copies:
        yield check_sizes(plan, scope.limit)
    yield from check_mounts(plan, found)


def _pods(session: Session) -> dict[str, int]:
    """How many pods run at the source, by target project, of those whose workloads go along."""
    cluster = session.image_cluster("source") if session.manifest.file.workloads else None
    pods: dict[str, int] = {}
    for entry in session.manifest.file.workloads or () if cluster else ():
        named = entry.from_.project if isinstance(entry.from_, WorkloadSource) else ""
        renamed = [old for old, new in session.manifest.file.projects.items() if new == entry.project]
        for project in [named] if named else renamed or [entry.project]:
            assert cluster
            pods[entry.project] = pods.get(entry.project, 0) + (running_pods(cluster, project) or 0)
    return pods


def _answering(session: Session) -> tuple[Cluster | None, str]:
    """The target's API, where it answers, and who we are there (empty where it does not tell)."""
    needed = bool(session.manifest.file.access)
    try:
        cluster = session.cluster("target") if needed else session.image_cluster("target")
        return cluster, cluster.whoami() if cluster else ""
    except LoginError:
        return None, ""
    except ClusterError as error:
        return (cluster if error.problem is Problem.FORBIDDEN else None), ""


def _new_project(session: Session, name: str) -> str:
    """What makes a project at the target; `csc_project` is what Rahti wants to know, and others do not mind."""
    target = session.manifest.file.target
    entries = (target.api, target.login)
    context = next((entry.kubeconfig_context for entry in entries if entry and entry.kubeconfig_context), "")
    where = f" --context {shlex.quote(context)}" if context else ""
    return f"oc new-project {name} --description='csc_project: <number>'{where}"


def _lives(session: Session, end: End, seconds: float) -> Iterator[Check]:
    """For whom an end's logins are, and until when; the API's too, where it is another one."""
    registry = session.registry_of(end)
    cluster = session.image_cluster(end)
    secrets = set()
    for scope in registry.login.scopes(session.repositories_of(end)):
        credential = registry.login.credential(scope)
        secrets.add(credential.secret if credential else "")
        subject = f"{registry.host}/{scope}" if scope else registry.host
        yield check_life(f"{end}-login", subject, registry.login, cluster, seconds, scope)
    own = cluster.login.credential() if cluster and cluster.login else None
    if cluster and cluster.login and own and own.secret not in secrets:
        yield check_life(f"{end}-login", cluster.server, cluster.login, cluster, seconds)


def _skopeo_reads(session: Session, plan: Plan) -> Iterator[Check]:
    """Whether skopeo itself gets to every registry: its proxies, certificates and registries.conf are its own."""
    images = {copy.source.repository.registry: copy.source for copy in reversed(plan.moving)}
    target = next((copy.target for copy in plan.moving), None)
    if target is None:
        return
    program = skopeo.probe()
    with tempfile.TemporaryDirectory(prefix="rahti-migrate-") as folder:
        access = PrivateAccess(session, Path(folder))
        environment = skopeo.child_environment(os.environ, Path(folder))
        watch = skopeo.Watch(timeout=_SKOPEO_SECONDS, stop=session.stop.now)
        for host, image in {target.repository.registry: target, **images}.items():
            named = replace(image, tag="") if image.digest else image
            argv = skopeo.inspect_arguments(program, named, access(image.repository), _SKOPEO_SECONDS)
            failure = skopeo.run(program, argv, environment, watch)
            bearable = _NO_TAG_YET if image is target else (FailureClass.NOT_FOUND,)
            if failure is None or failure.kind in bearable:
                yield ok("skopeo-reach", host, "skopeo reaches it, too")
            elif failure.retry and failure.kind is not FailureClass.UNKNOWN:
                yield warning("skopeo-reach", host, f"skopeo: {failure}", failure.advice)
            else:
                words = f"skopeo does not get there, although this program does: {failure.words}"
                check = failed("skopeo-reach", host, words, _LOOK_AT_SKOPEO, stops=image is target)
                named_here = (copy.source.repository for copy in plan.moving)
                sources = {str(repository) for repository in named_here if repository.registry == host}
                yield replace(check, blocked=dict.fromkeys(sources, failure))


def _measured_rate(session: Session, plan: Plan) -> float:
    """Bytes a second that the source gives just now, by a little of a large layer; 0 where that is not worth it."""
    if plan.graph.crossing_bytes < _WORTH_A_SAMPLE:
        return 0.0
    held = [(blob.size, blob.digest, copy) for copy in plan.moving if copy.delivery for blob in copy.delivery.blobs]
    size, digest, copy = max(held, key=lambda item: item[0], default=(0, "", None))
    return _rate(session, copy, digest) if copy and size > 0 else 0.0


def _rate(session: Session, copy: Copy, digest: str) -> float:
    repository = copy.source.repository
    started, came = time.monotonic(), 0
    try:
        for chunk in session.registry(repository.registry).blob(repository.path, digest):
            came += len(chunk)
            if came >= _SAMPLE_BYTES or time.monotonic() - started > _SAMPLE_SECONDS:
                break
    except (RegistryError, LoginError):
        return 0.0
    return came / max(time.monotonic() - started, 0.001)


def _plan_check(session: Session, plan: Plan) -> Iterator[Check]:
    """What the plan says, besides what has a check of its own."""
    moved = plan.count(Action.COPY) + plan.count(Action.LINK)
    words = f"{count(moved, 'tag')} to bring, {plan.count(Action.SKIP):,} there already"
    conflicts, refused = plan.count(Action.CONFLICT), plan.count(Action.REFUSED)
    if conflicts or refused:
        words = f"{words}, {conflicts:,} in conflict, {refused:,} refused"
        yield failed("plan", "", words, f"see which and why: {command_line('plan', session.manifest.path)}")
    elif plan.copies:
        yield ok("plan", "", words)


def _time(guess: Estimate) -> Check:
    if not guess.images:
        return ok("time", "", "nothing is to be brought")
    measured = "as the source gave just now" if guess.measured else "not measured"
    words = f"about {format_duration(guess.seconds)} for {count(guess.images, 'image')}, {format_size(guess.bytes)}"
    return ok("time", "", f"{words} (at {format_size(guess.rate)}/s, {measured})")


def blocked_by(checks: Iterable[Check]) -> dict[str, Failure]:
    """Source or target repository -> why nothing can be brought from or to there."""
    return {path: why for check in checks for path, why in check.blocked.items()}
