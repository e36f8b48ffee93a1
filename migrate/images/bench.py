"""What all workers of a process share: the registries, skopeo, its limits, and what is known of the target."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from migrate.bandwidth.way import Way
from migrate.images import skopeo
from migrate.images.lookups import Lookups
from migrate.images.registry import Registry
from migrate.images.unpacking import DiffIds
from migrate.reference import Reference, Repository

_LOOK_SECONDS = 0.5
_LENDERS = 2
"""Repositories that are asked to lend a blob, at most."""
_REFUSALS = 3
"""So often in a row a repository may refuse to lend a blob to a project before it is asked no more."""


class BlobBook:
    """Which blobs this process knows to be in which target repository, and which are on their way.

    Safe to use from many threads.
    """

    def __init__(self, known: dict[str, set[str]] | None = None) -> None:
        self._hinted = known or {}
        self._lenders: dict[str, dict[str, None]] = {}
        self._sure: dict[str, dict[str, None]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._flying: set[str] = set()
        self._landed = threading.Condition()
        self._refusals: Counter[tuple[str, str]] = Counter()

    def sure(self, repository: str, digest: str) -> bool:
        """Whether this process has seen the blob there."""
        with self._lock:
            return repository in self._sure[digest]

    def add(self, repository: str, digest: str) -> None:
        """The blob was seen there."""
        with self._lock:
            self._sure[digest][repository] = None

    def claim(self, digests: Iterable[str]) -> bool:
        """Be the one who brings these blobs; False where somebody else brings one of them now.

        Whoever holds a claim must not wait for others, but for those who mount, who wait for nobody.
        """
        wanted = set(digests)
        with self._landed:
            if not self._flying.isdisjoint(wanted):
                return False
            self._flying |= wanted
            return True

    def wait(self, digests: Iterable[str], stopped: threading.Event) -> bool:
        """Wait until nobody brings any of these blobs; False where that makes no sense any more."""
        wanted = set(digests)
        with self._landed:
            while not self._flying.isdisjoint(wanted):
                if stopped.is_set():
                    return False
                self._landed.wait(_LOOK_SECONDS)
        return True

    def release(self, digests: Iterable[str]) -> None:
        """These are not on their way any more: they have landed, or not."""
        with self._landed:
            self._flying.difference_update(digests)
            self._landed.notify_all()

    def forget(self, repository: str, digests: Iterable[str]) -> None:
        """The registry says that something is missing after all: look again."""
        with self._lock:
            for digest in digests:
                self._sure[digest].pop(repository, None)

    def origins(self, digest: str, repository: str) -> list[str]:
        """Where a repository may mount a blob from: first where it was seen, then what earlier runs remember; a few.

        A place that did not give it again and again is none any more: OpenShift answers so where the login may not
        pull there.
        """
        project = _project(repository)
        with self._lock:
            found: dict[str, None] = {}
            for name in chain(self._sure[digest], self._remembered(digest)):
                if name != repository and self._refusals.get((project, name), 0) < _REFUSALS:
                    found[name] = None
                    if len(found) == _LENDERS:
                        break
        return [*found]

    def _remembered(self, digest: str) -> Iterable[str]:
        """What `hint` and earlier runs know of a blob, in an order that is the same each time; it is made once."""
        if digest not in self._lenders:
            self._lenders[digest] = dict.fromkeys(sorted(self._hinted.get(digest, ())))
        return self._lenders[digest]

    def hint(self, held: Mapping[str, Iterable[str]]) -> None:
        """Repositories that somebody else has seen blobs in, by digest."""
        with self._lock:
            for digest, repositories in held.items():
                new = set(repositories) - self._hinted.setdefault(digest, set())
                self._hinted[digest] |= new
                if digest in self._lenders:
                    self._lenders[digest].update(dict.fromkeys(sorted(new)))

    def places(self, digest: str, repository: str) -> list[str]:
        """Where a blob is known to be, as far as a repository may need to know: there itself, and where it is lent."""
        with self._lock:
            is_there = repository in self._sure[digest] or repository in self._hinted.get(digest, ())
        return [*([repository] if is_there else []), *self.origins(digest, repository)]

    def expects(self, digest: str, repository: str) -> bool:
        """Whether a blob need not be sent, as far as is known: the repository has it, or may mount it."""
        with self._lock:
            is_there = repository in self._sure[digest] or repository in self._hinted.get(digest, ())
        return is_there or bool(self.origins(digest, repository))

    def gave(self, origin: str, repository: str, *, gave: bool) -> None:
        """Whether a repository has lent a blob to another one."""
        key = (_project(repository), origin)
        with self._lock:
            self._refusals[key] = 0 if gave else self._refusals[key] + 1


def _project(repository: str) -> str:
    return repository.partition("/")[0]


class PutGate:
    """Lets so many at a time put manifests into one repository: OpenShift answers 500 to more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._gates: dict[Repository, threading.Semaphore] = {}
        self._lock = threading.Lock()

    @contextmanager
    def through(self, repository: Repository) -> Iterator[None]:
        """Wait for a place, and hold it."""
        with self._lock:
            gate = self._gates.setdefault(repository, threading.Semaphore(self._limit))
        with gate:
            yield


@dataclass
class Bench:
    """Everything a worker works with; one for all workers of a process.

    Attributes:
        registry: the registry of a host.
        target: the target registry.
        look: asks both registries, for comparisons.
        program: the installed skopeo.
        access: how skopeo reaches a repository (writes a private authfile where needed).
        data_home: where skopeo keeps its blob info cache, where it is not root's.
        watch: limits of one skopeo run.
        gate: manifest puts per repository.
        book: blobs known to be at the target.
        on_bytes: told (job number, bytes so far) while skopeo runs.
        why_denied: why the API did not make an image stream, by repository path: what a bare "denied" means.
        link_max: bytes missing at the target up to which an image is brought without skopeo; 0 for never.
        streams: brings large blobs of one image at the same time; one after another where there is none.
        diff_ids: what layers of schema 1 images are once unpacked.
        planned_at: when the source was looked at for the plan (`time.monotonic`).
        way: what skopeo goes through, where a cap on bandwidth was asked for.
        arrived: what this process has put under target tags that is not what was to stand there, whatever came of it.
    """

    registry: Callable[[str], Registry]
    target: Registry
    look: Lookups
    program: skopeo.Skopeo
    access: Callable[[Repository], skopeo.Access]
    data_home: Path
    watch: skopeo.Watch
    gate: PutGate
    book: BlobBook
    on_bytes: Callable[[int, int], None] = field(default=lambda _job, _bytes: None)
    why_denied: Mapping[str, str] = field(default_factory=dict)
    link_max: int = 0
    streams: Executor | None = None
    diff_ids: DiffIds = field(default_factory=DiffIds)
    planned_at: float = field(default_factory=time.monotonic)
    way: Way | None = None
    arrived: dict[Reference, str] = field(default_factory=dict)
