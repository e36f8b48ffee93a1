"""What runs at a Dask worker: a look before the first copy, and one copy at a time.

A worker gets the manifest's text and no secret: each finds its own logins where the manifest says that they are.
"""

import asyncio
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from migrate import __version__
from migrate.cli.benches import bench_of
from migrate.cli.dask.connect import own_version
from migrate.cli.session import Session, session_of
from migrate.errors import LoginError, MigrateError
from migrate.images import skopeo, worker
from migrate.images.bench import Bench
from migrate.images.failures import FailureClass
from migrate.images.pace import TROUBLE
from migrate.images.transfer import Job, JobResult
from migrate.images.unpacking import DiffIds, Learnt
from migrate.manifest import parse_manifest
from migrate.reference import Reference

RESOURCE = "copies"
"""What a worker offers so many of (`dask worker --resources copies=4`), and each copy takes one of."""
TOPIC = "rahti-migrate"
"""Where a worker says that a registry does not answer it, or does again."""
_LOOK_SECONDS, _IDLE_SECONDS, _UNUSED_SECONDS = 0.5, 30.0, 600.0
_STREAMS = 4
_ENDS = ("closing", "closed", "failed")


@dataclass(frozen=True)
class Known:
    """What a worker is told with a job.

    Attributes:
        held: which target repositories have its blobs.
        learnt: what is known of its layers.
        arrived: what others have put under its tags that is not what was to stand there.
    """

    held: Mapping[str, Sequence[str]]
    learnt: tuple[Learnt, ...] = ()
    arrived: Mapping[Reference, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """A run, as its workers need to know it.

    Attributes:
        id: tells runs apart.
        manifest: the text of the manifest.
        path: where it is; files that it names are looked for beside it, at the worker too.
        project: the one that was chosen; empty for all.
        planned: when the source was looked at for the plan (seconds since the epoch).
        why_denied: why image streams could not be made, by repository path.
    """

    id: str
    manifest: bytes = field(repr=False)
    path: Path
    project: str = ""
    planned: float = 0.0
    why_denied: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Found:
    """What a worker says of itself: versions, bytes free for private files, and what is wrong, in words.

    `login` is whether something of that is about a login; `copies` is how many it offers to do at a time.
    """

    host: str
    version: str
    python: str
    dask: str
    skopeo: str = ""
    flags: frozenset[str] = frozenset()
    free: int = 0
    problems: tuple[str, ...] = ()
    login: bool = False
    copies: int = 0


@dataclass(frozen=True)
class Unfit:
    """A worker could not do a job: why, and whether that is about its login; no words where it was not asked before."""

    address: str
    words: str = ""
    login: bool = False


def python() -> str:
    """The version of Python, as far as it matters to what is sent: 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


async def look(spec: Spec, dask_worker: Any) -> Found:
    """What this worker can do for a run: its skopeo, its logins, its way to both ends; `dask_worker` is Dask's own."""
    _stop_profiling(dask_worker)
    folder = Path(dask_worker.local_directory)
    copies = int(dask_worker.state.total_resources.get(RESOURCE, 0))
    found = await asyncio.get_running_loop().run_in_executor(None, _look, spec, folder)  # heartbeats go on meanwhile
    if not found.problems and spec.id not in _runs:
        _runs[spec.id] = run = _Run(spec)
        asyncio.get_running_loop().call_later(_UNUSED_SECONDS, run.drop_unused)
    return replace(found, copies=copies)


def _look(spec: Spec, folder: Path) -> Found:
    found = Found(socket.gethostname(), __version__, python(), own_version())
    try:
        program = skopeo.probe()
        found = replace(found, skopeo=program.version, flags=program.flags, free=shutil.disk_usage(folder).free)
        with session_of(_session(spec)) as session:
            session.check_ends()
    except MigrateError as error:
        return replace(found, problems=(str(error),), login=isinstance(error, LoginError))
    return found


def perform(run_id: str, job: Job, known: Known) -> JobResult | Unfit:
    """Do a job at this worker; it ends soon where nobody wants its result any more.

    Raises:
        Reschedule: another worker is to do it: this one was about to end.
    """
    from distributed import Reschedule, get_worker

    here = get_worker()
    _stop_profiling(here)
    run = _runs.get(run_id)
    if run is None:
        return Unfit(here.address)
    try:
        with run.at_work(here, str(here.get_current_task())) as place:
            place.bench.book.hint(known.held)
            place.bench.diff_ids.hint(known.learnt)
            place.bench.arrived.update(known.arrived)
            result = worker.perform(place.bench, job)
            kinds = {each.failure.kind for each in result.results if each.failure}
            if FailureClass.LOGIN in kinds:
                place.check()  # has the login of this worker ended, or only one that this image needs?
            if kinds & TROUBLE:
                place.check_reach()
    except MigrateError as error:
        return Unfit(here.address, str(error), isinstance(error, LoginError))
    if FailureClass.INTERRUPTED in kinds:
        raise Reschedule  # where it was given up nobody hears this; else the place was stopped for another job
    arrived = {c.target: place.bench.arrived[c.target] for c in job.copies if c.target in place.bench.arrived}
    return replace(result, arrived=arrived, worker=str(here.name))


async def forget(run_id: str) -> None:
    """A run is over: keep nothing of it."""
    run = _runs.pop(run_id, None)
    if run:
        run.close()


def _stop_profiling(here: Any) -> None:
    """End Dask's profiler, which looks at all frames of all threads a hundred times a second.

    CPython 3.11 can hang forever in that (`sys._current_frames` collects garbage while it holds the interpreter's
    lock of threads: seen with 3.11.7 and distributed 2026.8), and nobody reads what it finds.
    """
    for name in ("profile", "profile-cycle"):
        callback = here.periodic_callbacks.pop(name, None)
        if callback:
            callback.stop()


def _session(spec: Spec) -> Session:
    return Session(parse_manifest(spec.manifest, spec.path), spec.project)


class _Place:
    """What a worker process keeps of a run from copy to copy, while there are some."""

    def __init__(self, spec: Spec, here: Any) -> None:
        self._here, self._run = here, spec.id
        self.keys: set[str] = set()
        self.idle_since = time.monotonic()
        with ExitStack() as stack:
            self._session = stack.enter_context(session_of(_session(spec)))
            self._session.tell = self._tell
            self.check()
            self._session.free_workers()
            private = stack.enter_context(_private_folder(Path(here.local_directory)))
            streams = stack.enter_context(ThreadPoolExecutor(_STREAMS, thread_name_prefix="blob"))
            self.bench: Bench = bench_of(self._session, skopeo.probe(), private, {}, spec.why_denied)
            self.bench.streams = streams
            self.bench.diff_ids = DiffIds()
            self.bench.planned_at = time.monotonic() - max(0.0, time.time() - spec.planned)
            self._stack = stack.pop_all()

    def _tell(self, words: str) -> None:
        """A registry has stopped to answer, or answers again: whoever started the run is to know."""
        told = {"run": self._run, "name": str(self._here.name), "words": words, "ill": self._session.in_outage}
        self._here.loop.add_callback(self._here.log_event, TOPIC, told)

    def check(self) -> None:
        """Look whether both ends are there and take the login.

        Raises:
            MigrateError: not so.
        """
        self._session.check_ends()

    def check_reach(self) -> None:
        """Look whether a registry has not answered for as long as the manifest has patience; asks nothing.

        Raises:
            MigrateError: so it is.
        """
        self._session.check_reach()

    @property
    def is_given_up(self) -> bool:
        """Whether something runs that nobody wants any more: its coordinator was killed or stopped, or all of Dask."""
        tasks = self._here.state.tasks
        return self._here.status.name in _ENDS or any(not _is_wanted(tasks.get(key)) for key in [*self.keys])

    def stop(self) -> None:
        """End at once what runs."""
        self._session.stop.soon.set()
        self._session.stop.now.set()

    @property
    def is_stopped(self) -> bool:
        """Whether it does nothing more."""
        return self._session.stop.now.is_set()

    def close(self) -> None:
        """Keep nothing: connections, private files."""
        self.stop()
        self._stack.close()


def _is_wanted(task: Any) -> bool:
    return task is not None and task.state in ("executing", "long-running")


class _Run:
    """A run at this worker: its place, made when there is something to do, and closed when there is nothing more."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._place: _Place | None = None
        self._lock = threading.Lock()

    @contextmanager
    def at_work(self, here: Any, key: str) -> Iterator[_Place]:
        """The place of the run, while a task works there; a fresh one where that was stopped for another's sake.

        Raises:
            MigrateError: an end is out of reach, or does not take the login.
        """
        with self._lock:
            place = self._place
            if place is None or place.is_stopped:
                place = self._place = _Place(self._spec, here)
                threading.Thread(target=self._watch, args=(place,), daemon=True, name="is it wanted?").start()
            place.keys.add(key)
        try:
            yield place
        finally:
            place.idle_since = time.monotonic()
            place.keys.discard(key)

    def _watch(self, place: _Place) -> None:
        """Stop a place where what runs there is not wanted any more; close it after that, and when it stands idle."""
        while True:
            time.sleep(_LOOK_SECONDS)
            if place.is_given_up:
                place.stop()
            with self._lock:
                is_idle = time.monotonic() - place.idle_since > _IDLE_SECONDS
                if not place.keys and (is_idle or place.is_stopped):
                    place.stop()  # nobody enters it any more
                    break
        place.close()
        with self._lock:
            if self._place is place:
                self._place = None
                self.drop_unused()

    def drop_unused(self) -> None:
        """Forget the run where nothing is at work for it; should it go on, this worker is looked at again."""
        if self._place is None and _runs.get(self._spec.id) is self:
            _runs.pop(self._spec.id, None)

    def close(self) -> None:
        """Stop what runs; the place is closed by who watches it."""
        if self._place:
            self._place.stop()


_runs: dict[str, _Run] = {}


@contextmanager
def _private_folder(beside: Path) -> Iterator[Path]:
    """A folder that only we may enter, in the worker's own, which Dask clears away even after kill -9."""
    folder = Path(tempfile.mkdtemp(prefix="rahti-migrate-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
