"""What every command on a manifest opens: registries, logins, lookups. No decisions about images."""

import os
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from migrate.bandwidth.way import Way
from migrate.cli.options import say
from migrate.cluster import Cluster
from migrate.credentials import Login, LoginPatience, api_of, login_of
from migrate.errors import LoginError, MigrateError, UsageError
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest
from migrate.images.lookups import Lookups
from migrate.images.pace import LONGEST_WAIT, Pace
from migrate.images.planner import Scope
from migrate.images.registry import Connection, Registry, RegistryError
from migrate.images.streams import StreamCatalog
from migrate.images.target_streams import size_limits
from migrate.images.transfer import Job, Stop
from migrate.manifest import ImageRequest, Manifest, load_manifest
from migrate.manifest.model import Side
from migrate.manifest.rahti import known_limits
from migrate.state.memory import State

End = Literal["source", "target"]
ENDS: tuple[End, ...] = get_args(End)
SOURCE: tuple[End, ...] = ("source",)
QUESTIONS_AT_A_TIME = 32
_TIMEOUT, _HASTY_TIMEOUT = 60.0, 15.0
_UPSTREAM_PATIENCE = 30.0
"""Seconds for registries that the manifest does not name (the tags of others go on), and for all of who is hasty."""


@dataclass
class Session:
    """A manifest and the registries it names, opened when first asked for.

    `stop` ends what waits for them; `wait_login` is for how many seconds an ended login is waited for; who is `hasty`
    waits for no outage; entries of source registries that are `left_out` are not looked at;
    `planned_streams` are the source's image streams as the plan saw them; `way` is what all registries are reached
    through, where a cap on bandwidth was asked for; `tell` is told when a registry stops and begins to answer.
    """

    manifest: Manifest
    project: str
    stop: Stop = field(default_factory=Stop)
    wait_login: float = 0.0
    hasty: bool = False
    left_out: frozenset[str] = frozenset()
    planned_streams: StreamCatalog | None = None
    way: Way | None = None
    tell: Callable[[str], None] = say
    _limits: dict[str, int] | None = None
    _longest_wait: float = float("inf")
    _registries: dict[str, Registry] = field(default_factory=dict)
    _clusters: dict[str, Cluster | None] = field(default_factory=dict)
    _without_api: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def source(self) -> Registry:
        """The source registry."""
        return self.registry(self.manifest.file.source.registry)

    @property
    def target(self) -> Registry:
        """The target registry."""
        return self.registry(self.manifest.file.target.registry)

    def registry(self, host: str) -> Registry:
        """The registry of a host: a side of the manifest, or an outside source."""
        with self._lock:
            if host not in self._registries:
                self._registries[host] = self._opened(host)
            return self._registries[host]

    def _opened(self, host: str) -> Registry:
        timeout = _HASTY_TIMEOUT if self.hasty else _TIMEOUT
        if self.way:
            timeout += self.way.longest_wait
        return Registry(self.connection(host), self._login(host), self._pace(host), timeout, self._login_patience)

    @property
    def _login_patience(self) -> LoginPatience:
        return LoginPatience(self.wait_login, self.stop.soon, say)

    def _pace(self, host: str) -> Pace:
        patience = self.manifest.file.transfer.patience
        patience = patience if self._is_named(host) and not self.hasty else min(patience, _UPSTREAM_PATIENCE)
        copies = min(
            16, 4 * (os.cpu_count() or 2)
        )  # each run of skopeo is a process of 25 MB, with requests of its own
        pace = Pace(host, copies=copies, patience=patience, stopped=self.stop.soon, tell=self.tell)
        pace.longest_wait = self._longest_wait
        return pace

    def _is_named(self, host: str) -> bool:
        """Whether the manifest names a registry; others are where image streams say that their images are kept."""
        return self.side(host) is not None or any(r.source.repository.registry == host for r in self.manifest.images)

    def free_workers(self) -> None:
        """From now on a long wait for one registry holds nobody: there is work at others."""
        with self._lock:
            self._longest_wait = LONGEST_WAIT
            for registry in self._registries.values():
                registry.pace.longest_wait = LONGEST_WAIT

    def is_held(self, job: Job) -> bool:
        """Whether a registry of a job is to be left alone now."""
        ends = [self.registry(host) for host in (job.source.registry, job.target.registry)]
        return any(end.pace.paused or end.waits_for_login for end in ends)

    def out_of_reach(self) -> dict[str, Failure]:
        """The manifest's registries that have not answered for `transfer.patience`, and why, by host; asks nothing."""
        named = [(host, registry) for host, registry in list(self._registries.items()) if self._is_named(host)]
        paces = {host: registry.pace.gone for host, registry in named}
        return {host: failure for host, failure in paces.items() if failure}

    def is_gone(self, job: Job) -> bool:
        """Whether a registry of a job is out of reach."""
        return any(self.registry(host).pace.gone for host in (job.source.registry, job.target.registry))

    @property
    def answers(self) -> int:
        """How many answers all registries together have given so far."""
        return sum(registry.pace.answers for registry in list(self._registries.values()))

    @property
    def in_outage(self) -> bool:
        """Whether a registry has not answered lately."""
        return any(registry.pace.in_outage for registry in list(self._registries.values()))

    def check_reach(self) -> None:
        """Look whether every registry has answered lately; asks nothing.

        Raises:
            MigrateError: one has not, for `transfer.patience`.
        """
        for host, failure in self.out_of_reach().items():
            raise MigrateError(f"registry {host}: {failure}", failure.advice)

    def side(self, host: str) -> Side | None:
        """What the manifest says of a host; None for outside sources. Where both sides are one, that with a login."""
        file = self.manifest.file
        sides = [side for side in (file.target, file.source) if side.registry == host]
        return next((side for side in sides if side.login), sides[0] if sides else None)

    def connection(self, host: str) -> Connection:
        """How a host is reached."""
        side, way = self.side(host), self.way.url if self.way else ""
        if side is None:
            return Connection(host, way=way)
        ca_file = self.manifest.file_path(side.ca_file) if side.ca_file else None
        return Connection(host, side.plain_http, ca_file, side.insecure_skip_tls_verify, way)

    def cluster(self, end: End) -> Cluster | None:
        """The OpenShift API of one end; None where the manifest names none.

        Raises:
            LoginError: what it names is not there, or cannot be used.
        """
        with self._lock:
            if end not in self._clusters:
                side: Side = getattr(self.manifest.file, end)
                access = api_of(side.api, side.login, self.manifest.path.parent)
                self._clusters[end] = Cluster(access, self._login_patience, hasty=self.hasty) if access else None
            return self._clusters[end]

    def _login(self, host: str) -> Login:
        side = self.side(host)
        return login_of(side.login if side else None, host, self.manifest.path.parent)

    def requests(self) -> tuple[ImageRequest, ...]:
        """The entries to look at: all; or one project's, and those that meet them at a target project.

        Raises:
            UsageError: the manifest has no entry of that project.
        """
        images = tuple(r for r in self.manifest.images if r.source.repository.registry not in self.left_out)
        if not self.project:
            return images
        chosen = tuple(r for r in images if self.project in _projects(r))
        if not chosen:
            granted = {entry.project for entry in self.manifest.file.access or ()}
            if self.project in granted:
                return ()
            known = sorted({name for request in images for name in _projects(request)} | granted)
            raise UsageError(f"--project {self.project}: the manifest does not name it", f"it has {', '.join(known)}")
        targets = {_target_project(request) for request in chosen}
        return tuple(request for request in images if _target_project(request) in targets)

    def lookups(self, known: Callable[[str], ImageManifest | None], told_by: Collection[End] = SOURCE) -> Lookups:
        """Ask the registries, each question once; the API of the ends in `told_by` tells of their image streams."""
        told = (self._source_streams() if end == "source" else self.target_streams() for end in told_by)
        return Lookups(self.registry, known, [*filter(None, told)])

    def image_cluster(self, end: End) -> Cluster | None:
        """The API whose image streams are that end's repositories; after check_ends, which knows the registry's kind.

        Raises:
            LoginError: what `api` names is not there.
        """
        side: Side = getattr(self.manifest.file, end)
        if not self.registry_of(end).is_openshift or end in self._without_api:
            return None
        try:
            return self.cluster(end)
        except LoginError as error:
            if side.api:
                raise
            self._without_api.add(end)  # the registry is enough for images
            say(f"note: the {end}'s OpenShift API is not asked: {error.what}")
            return None

    def _source_streams(self) -> StreamCatalog | None:
        cluster = self.image_cluster("source")
        names = self.manifest.file.platform.source.registries or ()
        made = StreamCatalog(cluster, self.manifest.file.source.registry, names, say) if cluster else None
        self.planned_streams = self.planned_streams or made
        return made

    def target_streams(self) -> StreamCatalog | None:
        """The image streams of the target as its API tells of them now; None where no API is named."""
        cluster = self.image_cluster("target")
        names = filter(None, [self.manifest.file.platform.target.internal_registry])
        return StreamCatalog(cluster, self.manifest.file.target.registry, names, say) if cluster else None

    def scope(self, memory: State | None) -> Scope:
        """What a plan is made for, with what a state remembers; after check_ends, which knows the target."""
        fixed = Scope(
            self.manifest.file.target.registry,
            project=self.project,
            max_image_size=self.manifest.file.platform.target.limits.image_size or 0,
            size_limits=self.size_limits(),
            image_streams=self.target.is_openshift,
            aliases=self.image_cluster("target") is not None,
            link_max=self.manifest.file.transfer.link_max_missing,
        )
        if memory is None:
            return fixed
        return replace(fixed, delivered=memory.delivered(), damaged=memory.damaged(), held=memory.blobs())

    def size_limits(self) -> dict[str, int]:
        """Bytes that an image may have, by target project: what its API tells, else what is known of the target."""
        if self._limits is None:
            self._limits = self._read_limits()
        return self._limits

    def _read_limits(self) -> dict[str, int]:
        projects = {_target_project(request) for request in self.requests()}
        known = known_limits(self.manifest.file).image_size
        limits = dict.fromkeys(projects, known) if known else {}
        cluster = self.image_cluster("target")
        if cluster is None:
            return limits
        with questions() as executor:
            return {**limits, **size_limits(cluster, projects, executor)}

    def check_ends(self) -> None:
        """Ask both ends whether they are there and take the logins, before anything else.

        Where repositories have logins of their own, each login that an entry names repositories of is tried.

        Raises:
            LoginError: one does not take the login.
            MigrateError: one is out of reach, or no registry.
        """
        with questions() as executor:
            for asked in [executor.submit(self.check_end, end) for end in ENDS]:
                asked.result()

    def check_end(self, end: End) -> None:
        """Ask one end; of the source nothing where no entry names it.

        Raises:
            LoginError: it does not take the login.
            MigrateError: it is out of reach, or no registry.
        """
        if end == "target" or self.source_repositories:
            _check_end(end, self.registry_of(end), self.repositories_of(end))

    def registry_of(self, end: End) -> Registry:
        """The registry of one end."""
        return self.source if end == "source" else self.target

    def repositories_of(self, end: End) -> set[str]:
        """The repositories (or projects) of one end that the entries name."""
        return self.source_repositories if end == "source" else {request.target_path for request in self.requests()}

    @property
    def source_repositories(self) -> set[str]:
        """Those of the source registry that the entries name."""
        named = (request.source.repository for request in self.requests())
        return {repository.path for repository in named if repository.registry == self.source.host}


def _projects(request: ImageRequest) -> set[str]:
    return {request.source.repository.project, _target_project(request)}


def _target_project(request: ImageRequest) -> str:
    return request.target_path.partition("/")[0]


def _check_end(name: str, registry: Registry, repositories: set[str]) -> None:
    for scope in registry.login.scopes(repositories):
        try:
            registry.ping(scope)
        except RegistryError as error:
            raise _no_way_in(name, registry, scope, error.failure) from None


def _no_way_in(name: str, registry: Registry, scope: str, failure: Failure) -> MigrateError:
    """Why an end cannot be used, in words; `scope` is what of it the login is for."""
    end = f"the {name} registry {registry.host}{f' ({scope})' if scope else ''}"
    if failure.kind is not FailureClass.LOGIN:
        return MigrateError(f"{end}: {failure}", failure.advice)
    if registry.login.credential(scope) is None:
        advice = f"podman login {registry.host}, or set `{name}.login` in the manifest"
        places = f": {registry.login.places}" if registry.login.places else ""
        return LoginError(f"{end} wants a login, and none was found in {registry.login.origin}{places}", advice)
    login = registry.login.name(registry.host, scope)
    advice = f"the login comes from {login}; log in again or correct `{name}.login`, then run again"
    return LoginError(f"{end}: the registry does not accept the login: {failure.words}", advice)


@contextmanager
def open_session(path: Path, project: str = "", wait_login: float = 0.0, *, hasty: bool = False) -> Iterator[Session]:
    """Load a manifest, and give back its connections at the end."""
    with session_of(Session(load_manifest(path), project, wait_login=wait_login, hasty=hasty)) as session:
        yield session


@contextmanager
def session_of(session: Session) -> Iterator[Session]:
    """Give back a session's connections at the end."""
    with ExitStack() as stack:
        yield session
        for registry in session._registries.values():
            stack.callback(registry.close)
        for cluster in filter(None, session._clusters.values()):
            stack.callback(cluster.close)


@contextmanager
def questions() -> Iterator[ThreadPoolExecutor]:
    """Threads that ask registries; on an error (Ctrl-C too) nobody waits for answers that are still to come."""
    executor = ThreadPoolExecutor(QUESTIONS_AT_A_TIME, thread_name_prefix="ask")
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()
