"""Plan and copy in this process, with real registries and skopeo and the little patience that tests have."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from migrate.credentials import Credential, Login, authfile_text
from migrate.images import skopeo, worker
from migrate.images.bench import Bench, BlobBook, PutGate
from migrate.images.lookups import Lookups
from migrate.images.pace import Pace
from migrate.images.plan import Plan
from migrate.images.planner import Scope, make_plan
from migrate.images.registry import Connection, Registry
from migrate.images.transfer import CopyResult, Finished, Retries, Stop, jobs_of, run_jobs
from migrate.manifest import ImageOptions, ImageRequest
from migrate.manifest.model import TagSelector
from migrate.reference import Repository, parse_reference

PROGRAM = skopeo.probe()
OPTIONS = ImageOptions()
QUICK = Retries(attempts=2, first=0.05, longest=0.2)


def request(source: str, target: str, options: ImageOptions = OPTIONS) -> ImageRequest:
    """An entry: `host/a/b:tag` to `a/b:tag`."""
    path, _, tag = target.partition(":")
    return ImageRequest(0, parse_reference(source, ""), False, path, tag, TagSelector(), options)


@dataclass
class Pipeline:
    """Two ends. `timeout` and `stalled` in seconds; `hinted`: digests, and the target repositories that may
    have them."""

    source: str
    target: str
    folder: Path
    credential: Credential | None = None
    timeout: float = 1.0
    stalled: float = 2.0
    retries: Retries = QUICK
    workers: int = 2
    link_max: int = 0
    hinted: dict[str, set[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    _registries: dict[str, Registry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def registry(self, host: str) -> Registry:
        with self._lock:
            if host not in self._registries:
                login = Login("tests", lambda: self.credential if host == self.source else None)
                pace = Pace(host, patience=2, tell=self.said.append)
                self._registries[host] = Registry(Connection(host, plain_http=True), login, pace, self.timeout)
            return self._registries[host]

    def close(self) -> None:
        for registry in self._registries.values():
            registry.close()

    def plan(self, requests: Sequence[ImageRequest], scope: Scope | None = None) -> Plan:
        with ThreadPoolExecutor(4) as executor:
            look = Lookups(self.registry, lambda _: None)
            return make_plan(requests, scope or Scope(self.target), look, executor)

    def copy(self, plan: Plan) -> list[CopyResult]:
        """Every copy's end."""
        with ThreadPoolExecutor(self.workers) as executor:
            perform = partial(worker.perform, self.bench())
            events = run_jobs(jobs_of(plan), perform, executor, self.workers, Stop(), self.retries)
            return [r for event in events if isinstance(event, Finished) for r in event.result.results]

    def bench(self) -> Bench:
        return Bench(
            registry=self.registry,
            target=self.registry(self.target),
            look=Lookups(self.registry, lambda _: None),
            program=PROGRAM,
            access=self._access,
            data_home=self.folder,
            watch=skopeo.Watch(timeout=30, stalled=self.stalled),
            gate=PutGate(2),
            book=BlobBook(self.hinted),
            link_max=self.link_max,
        )

    def _access(self, repository: Repository) -> skopeo.Access:
        credential = self.registry(repository.registry).login.credential()
        if credential is None:
            return skopeo.Access(None, verify_tls=False)
        authfile = self.folder / "auth.json"
        with self._lock:
            if not authfile.exists():
                authfile.write_text(authfile_text(repository.registry, credential))
        return skopeo.Access(authfile, verify_tls=False)


@contextmanager
def pipeline(source: str, target: str, folder: Path, **settings: object) -> Iterator[Pipeline]:
    folder.mkdir(parents=True, exist_ok=True)
    made = Pipeline(source, target, folder, **settings)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()
