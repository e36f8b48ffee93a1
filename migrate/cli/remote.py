"""What runs at a Dask worker: a look before the first copy, and one copy at a time.

A worker gets the manifest's text and no secret: each finds its own logins where the manifest says that they are.
"""

import asyncio
import platform
import shutil
import socket
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
from migrate.cli.session import Session, session_of
from migrate.errors import LoginError, MigrateError
from migrate.images import skopeo, worker
from migrate.images.bench import Bench
from migrate.images.failures import FailureClass
from migrate.images.transfer import Job, JobResult
from migrate.images.unpacking import DiffIds, Learnt
from migrate.manifest import parse_manifest

RESOURCE = "copies"
"""What a worker offers so many of (`dask worker --resources copies=4`), and each copy takes one of."""
TOPIC = "rahti-migrate"
"""Where a worker says that it takes no more copies, and why."""
_LOOK_SECONDS, _IDLE_SECONDS = 0.5, 30.0
_STREAMS = 4
_ENDS = ("closing", "closed", "failed")


@dataclass(frozen=True)
class Known:
    """What a worker is told with a job: which target repositories have its blobs, and what is known of its layers."""

    held: Mapping[str, Sequence[str]]
    learnt: tuple[Learnt, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A run, as its workers need to know it.

    Attributes:
        id: tells runs apart.
        manifest: the text of the manifest.
        path: where it is; files that it names are looked for beside it, at the worker too.
        project: the one that was chosen; empty for all.
        why_denied: why image streams could not be made, by repository path.
    """

    id: str
    manifest: bytes = field(repr=False)
    path: Path
    project: str = ""
    why_denied: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Found:
    """What a worker says of itself: versions, bytes free for private files, and what is wrong, in words.

    `login` is whether something of that is about a login.
    """

    host: str
    version: str
    python: str
    skopeo: str = ""
    flags: frozenset[str] = frozenset()
    free: int = 0
    problems: tuple[str, ...] = ()
    login: bool = False


async def look(spec: Spec, dask_worker: Any) -> Found:
    """What this worker can do for a run: its skopeo, its logins, its way to both ends; `dask_worker` is Dask's own."""
    _stop_profiling(dask_worker)
    folder = Path(dask_worker.local_directory)
    return await asyncio.get_running_loop().run_in_executor(None, _look, spec, folder)  # heartbeats go on meanwhile


def _look(spec: Spec, folder: Path) -> Found:
    found = Found(socket.gethostname(), __version__, platform.python_version())
    try:
        program = skopeo.probe()
        found = replace(found, skopeo=program.version, flags=program.flags, free=shutil.disk_usage(folder).free)
        with session_of(_session(spec)) as session:
            session.check_ends()
    except MigrateError as error:
        return replace(found, problems=(str(error),), login=isinstance(error, LoginError))
    return found


def perform(spec: Spec, job: Job, known: Known) -> JobResult:
    """Do a job at this worker; it ends soon where nobody wants its result any more.

    Raises:
        Reschedule: another worker is to do it: this one cannot any more, or was about to end.
    """
    from distributed import Reschedule, get_worker

    here = get_worker()
    _stop_profiling(here)
    key = str(here.get_current_task())
    try:
        place = _place(spec, here)
    except MigrateError as error:
        _take_no_more(here, error)
        raise Reschedule from None
    place.bench.book.hint(known.held)
    place.bench.diff_ids.hint(known.learnt)
    with place.watched(key):
        result = worker.perform(place.bench, job)
    kinds = {each.failure.kind for each in result.results if each.failure}
    if FailureClass.LOGIN in kinds:
        try:
            place.check()
        except MigrateError as error:  # the login of this worker has ended, and not only one that this image needs
            _take_no_more(here, error)
            raise Reschedule from None
    if FailureClass.INTERRUPTED in kinds:
        raise Reschedule  # where it was given up nobody hears this; else the place was stopped for another job
    return replace(result, worker=str(here.name))


async def forget(spec_id: str) -> None:
    """A run is over: keep nothing of it."""
    with _opening:
        place = _places.pop(spec_id, None)
    if place:
        await asyncio.get_running_loop().run_in_executor(None, place.close)


def _take_no_more(here: Any, error: MigrateError) -> None:
    """This worker cannot copy: Dask is to give it nothing more, and people are to know."""
    is_login = isinstance(error, LoginError)
    here.loop.add_callback(here.log_event, TOPIC, {"worker": str(here.name), "words": str(error), "login": is_login})
    here.loop.add_callback(here.set_resources, **{RESOURCE: 0})


def _stop_profiling(here: Any) -> None:
    """End Dask's profiler, which looks at all frames of all threads a hundred times a second.

    CPython 3.11 can hang for ever in that (`sys._current_frames` collects garbage while it holds the interpreter's
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
        self._here = here
        self._keys: set[str] = set()
        self._idle_since = time.monotonic()
        with ExitStack() as stack:
            self._session = stack.enter_context(session_of(_session(spec)))
            self.check()
            self._session.free_workers()
            private = stack.enter_context(_private_folder(Path(here.local_directory)))
            streams = stack.enter_context(ThreadPoolExecutor(_STREAMS, thread_name_prefix="blob"))
            self.bench: Bench = bench_of(self._session, skopeo.probe(), private, {}, spec.why_denied)
            self.bench.streams = streams
            self.bench.diff_ids = DiffIds()
            self._stack = stack.pop_all()
        threading.Thread(target=self._watch, daemon=True, name="is it wanted?").start()

    def check(self) -> None:
        """Look whether both ends are there and take the login.

        Raises:
            MigrateError: not so.
        """
        self._session.check_ends()

    @contextmanager
    def watched(self, key: str) -> Iterator[None]:
        """While this task runs, look whether it is still wanted."""
        self._keys.add(key)
        try:
            yield
        finally:
            self._idle_since = time.monotonic()
            self._keys.discard(key)

    def _watch(self) -> None:
        """Stop what runs once a task was given up: the coordinator was killed or stopped, or the scheduler is gone."""
        while not self.is_stopped:
            time.sleep(_LOOK_SECONDS)
            tasks = self._here.state.tasks
            is_lost = any(not _is_wanted(tasks.get(key)) for key in [*self._keys])
            is_idle = not self._keys and time.monotonic() - self._idle_since > _IDLE_SECONDS
            if is_lost or is_idle or self._here.status.name in _ENDS:
                self._session.stop.soon.set()
                self._session.stop.now.set()
        while self._keys:
            time.sleep(_LOOK_SECONDS)
        self.close()

    @property
    def is_stopped(self) -> bool:
        """Whether it does nothing more."""
        return self._session.stop.now.is_set()

    def close(self) -> None:
        """Keep nothing: connections, private files."""
        self._session.stop.now.set()
        self._stack.close()


def _is_wanted(task: Any) -> bool:
    return task is not None and task.state in ("executing", "long-running")


_places: dict[str, _Place] = {}
_opening = threading.Lock()


def _place(spec: Spec, here: Any) -> _Place:
    """The place of a run; a fresh one where that was stopped, for the sake of another job."""
    with _opening:
        found = _places.get(spec.id)
        if found is None or found.is_stopped:
            found = _places[spec.id] = _Place(spec, here)
        return found


@contextmanager
def _private_folder(beside: Path) -> Iterator[Path]:
    """A folder that only we may enter, in the worker's own, which Dask clears away even after kill -9."""
    folder = Path(tempfile.mkdtemp(prefix="rahti-migrate-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
