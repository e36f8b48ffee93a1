"""A pool of Dask workers in place of threads: who they are, whether they can do the work, and how a job gets there."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from migrate import __version__
from migrate.cli import remote
from migrate.cli.options import say
from migrate.cli.pool import Pool
from migrate.cli.session import Session
from migrate.errors import CheckError, LoginError, MigrateError, StoppedError, UsageError
from migrate.images.bench import Bench
from migrate.images.transfer import Job, JobResult, Stop
from migrate.quantities import count, format_size

_START = f"dask worker ADDRESS --nthreads 8 --resources {remote.RESOURCE}=8"
_CONNECT_SECONDS = 10
_WORKERS_SECONDS, _SETTLED_SECONDS = 20, 2
"""How long the first worker is waited for, and after each one for another."""
_LOOK_SECONDS, _ANSWER_SECONDS = 0.5, 90
_TOLD_SECONDS, _ALONE_SECONDS = 10, 120
"""How long there may be no worker before it is said, and before the run ends."""
_TLS_SETTINGS = tuple(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))
_LOUD = ("distributed", "tornado", "asyncio")
_LEAST_FREE = 1_000_000_000
_TRIES = 2
"""Of Dask itself, where a worker is lost with a copy; each of our own tries begins anew."""


@contextmanager
def dask_pool(session: Session, bench: Bench, why_denied: Mapping[str, str], address: str) -> Iterator[Pool]:
    """Workers of a Dask cluster; `address` is a scheduler's (tcp://..., tls://...), or its scheduler file.

    Raises:
        UsageError: Dask is not installed.
        MigrateError: the scheduler is out of reach, or workers cannot do the work: nothing was begun.
    """
    manifest = session.manifest
    spec = remote.Spec(
        uuid.uuid4().hex, manifest.path.read_bytes(), manifest.path.resolve(), session.project, why_denied=why_denied
    )
    with _client(address) as client:
        slots = _slots(client, address, session.stop)
        _check(_looked(client, spec, slots, session.stop))
        say(f"{count(len(slots), 'Dask worker')}, {count(sum(slots.values()), 'copy')} at a time")
        sender = _Sender(client, bench, session.stop)
        with sender.watched():
            yield Pool(sender, partial(remote.perform, spec), sum(slots.values()), sender.check, shares_book=False)
        if client.status == "running":
            client.run(remote.forget, spec.id, on_error="ignore", wait=False)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from dask import config
        from distributed import Client
    except ImportError:
        words = "--dask: the Python package `distributed` is missing"
        raise UsageError(words, "pipx install 'rahti-migrate[dask]', here and at every worker") from None
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOUD]:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what they have to say, we say in words
    try:
        where = _address(address)
        if where.startswith("tls://") and not config.get("distributed.comm.tls.client.cert", None):
            words = f"--dask {address}: the cluster speaks TLS, and Dask's settings here name no certificate for it"
            raise UsageError(words, f"set {', '.join(_TLS_SETTINGS)}")
        client = Client(where, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        words = f"--dask {address}: no Dask scheduler can be reached there: {error}"
        raise MigrateError(
            words, "start one: dask scheduler; and workers: dask worker ADDRESS --resources copies=4"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=_CONNECT_SECONDS)  # type: ignore[no-untyped-call]


def _address(given: str) -> str:
    """Where the scheduler is: what was given, or what stands in the scheduler file that was.

    Raises:
        ValueError: the file is none.
    """
    if not Path(given).is_file():
        return given
    found = json.loads(Path(given).read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not isinstance(found.get("address"), str):
        raise ValueError("the file is no scheduler file")
    return str(found["address"])


def _slots(client: Any, address: str, stop: Stop) -> dict[str, int]:
    """How many copies each worker takes at a time; who has only just started the cluster waits until they are there.

    Raises:
        MigrateError: there is no worker, or none takes any.
        StoppedError: somebody does not want to wait.
    """
    slots: dict[str, int] = {}
    began = grown = time.monotonic()
    while not slots or time.monotonic() - grown < _SETTLED_SECONDS:
        if client.status != "running":
            raise _gone()
        seen = _offered(client)
        if seen.keys() - slots.keys():
            grown = time.monotonic()
        slots = seen
        if not slots and time.monotonic() - began > _WORKERS_SECONDS:
            known = count(len(client.scheduler_info(n_workers=-1).get("workers", {})), "worker")
            raise MigrateError(
                f"--dask {address}: {known}, and none of them takes copies",
                f"start workers that say how many they take at a time: {_START}",
            )
        _pause(stop)
    return slots


def _offered(client: Any) -> dict[str, int]:
    """How many copies each worker takes; only those that take any."""
    workers = client.scheduler_info(n_workers=-1).get("workers", {})
    slots = {name: int(worker.get("resources", {}).get(remote.RESOURCE, 0)) for name, worker in workers.items()}
    return {name: number for name, number in slots.items() if number}


def _gone() -> MigrateError:
    return MigrateError("the Dask scheduler is gone; what is done is recorded", "start it again, then run again")


def _pause(stop: Stop) -> None:
    if stop.soon.wait(0.2):
        raise StoppedError


def _looked(client: Any, spec: remote.Spec, workers: Iterable[str], stop: Stop) -> dict[str, Any]:
    """What each worker says of itself, or why it does not.

    Raises:
        StoppedError: somebody does not want to wait.
    """
    found: dict[str, Any] = {}

    def ask(name: str) -> None:
        try:
            found.update(client.run(remote.look, spec, workers=[name], on_error="return"))
        except Exception as error:  # whatever Dask raises where a worker has gone
            found[name] = error

    asked = {name: threading.Thread(target=ask, args=(name,), daemon=True) for name in workers}
    for thread in asked.values():
        thread.start()
    began = time.monotonic()
    while any(thread.is_alive() for thread in asked.values()) and time.monotonic() - began < _ANSWER_SECONDS:
        _pause(stop)
    silent = TimeoutError(f"no answer within {_ANSWER_SECONDS} s")
    return {name: found.get(name, silent) for name in asked}


def _check(found: Mapping[str, Any]) -> None:
    """Look at what the workers say of themselves, before the first copy.

    Raises:
        LoginError: a worker has not the logins that it needs.
        CheckError: a worker cannot do the work.
    """
    problems, logins = [], 0
    for name, each in found.items():
        if not isinstance(each, remote.Found):
            problems.append(f"{name}: {type(each).__name__}: {each}")
            continue
        logins += each.login
        problems += [f"{name} ({each.host}): {words}" for words in (*each.problems, *_lacks(each))]
    if problems:
        words = "Dask workers cannot do the work; nothing was begun:\n  " + "\n  ".join(problems)
        advice = "give each worker what it lacks (the same rahti-migrate and skopeo, logins, a way to both registries)"
        raise (LoginError if logins else CheckError)(words, advice)
    flags = {frozenset(each.flags) for each in found.values()}
    if len(flags) > 1:
        versions = ", ".join(sorted({each.skopeo for each in found.values()}))
        say(f"note: the workers' skopeo differ ({versions}): each is given the flags that its own knows")


def _lacks(found: remote.Found) -> Iterator[str]:
    if found.version != __version__:
        yield f"it has rahti-migrate {found.version}, and this is {__version__}"
    if found.skopeo and found.free < _LEAST_FREE:
        yield f"only {format_size(found.free)} are free for temporary files"


class _Sender(Executor):
    """Sends jobs to workers with what they need to know of the target, and keeps what comes to light there."""

    def __init__(self, client: Any, bench: Bench, stop: Stop) -> None:
        self._client, self._bench, self._stop = client, bench, stop
        self._executor = client.get_executor(pure=False, resources={remote.RESOURCE: 1}, retries=_TRIES)
        self._sent: set[Future[JobResult]] = set()
        self._problem: MigrateError | None = None
        self._no_login = ""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Send a job; `fn` takes it, and what is known of its blobs."""
        (job,) = args
        answer: Future[JobResult] = Future()
        if self._is_gone():
            _give_up(answer)
            return answer
        sent: Future[JobResult] = self._executor.submit(fn, job, _known(job, self._bench), **kwargs)
        self._sent.add(sent)
        sent.add_done_callback(partial(self._came, job, answer))
        return answer

    def _came(self, job: Job, answer: "Future[JobResult]", sent: "Future[JobResult]") -> None:
        """Keep what a job has brought, which the next ones may mount; only then is it over."""
        self._sent.discard(sent)
        error = None if sent.cancelled() else sent.exception()
        if sent.cancelled() or self._is_gone():
            _give_up(answer)
        elif error:
            answer.set_exception(error)
        else:
            result = sent.result()
            for digest, _ in result.blobs:
                self._bench.book.add(job.target.path, digest)
            self._bench.diff_ids.hint(result.diff_ids)
            answer.set_result(result)

    def _is_gone(self) -> bool:
        """Whether nothing more is to be had of the cluster; then the run ends so."""
        if not self._problem and self._client.status != "running":
            self._end(_gone())
        return self._problem is not None

    def check(self) -> None:
        """Look whether the cluster was there as long as it was needed.

        Raises:
            MigrateError: it was not.
        """
        if self._problem:
            raise self._problem

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While jobs are sent, look whether scheduler and workers are there; give up what runs where that is wanted."""
        ended = threading.Event()
        watching = threading.Thread(target=self._watch, args=(ended,), daemon=True, name="is it there?")
        self._client.subscribe_topic(remote.TOPIC, self._said)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join(_CONNECT_SECONDS)

    def _said(self, event: tuple[Any, Mapping[str, Any]]) -> None:
        _, told = event
        say(f"Dask worker {told['worker']} takes no more copies: {told['words']}")
        if told["login"]:
            self._no_login = f"Dask worker {told['worker']}: {told['words']}"

    def _watch(self, ended: threading.Event) -> None:
        alone = 0.0
        told = False
        while not ended.wait(_LOOK_SECONDS):
            if self._stop.now.is_set():
                for sent in [*self._sent]:
                    sent.cancel()
            if self._is_gone():
                continue
            alone = 0.0 if _offered(self._client) else alone + _LOOK_SECONDS
            if not alone:
                told = False
            elif self._no_login:
                self._end(
                    LoginError(
                        f"no Dask worker has a login any more; {self._no_login}", "log in again there, then run again"
                    )
                )
            elif alone > _ALONE_SECONDS:
                self._end(
                    MigrateError(
                        "no Dask worker takes copies any more; what is done is recorded",
                        f"start some, then run again: {_START}",
                    )
                )
            elif alone > _TOLD_SECONDS and not told:
                told = True
                say(f"no Dask worker takes copies now; waiting {_ALONE_SECONDS} s for one")

    def _end(self, problem: MigrateError) -> None:
        self._problem = problem
        self._stop.soon.set()
        self._stop.now.set()


def _give_up(answer: "Future[JobResult]") -> None:
    """Cancel it, and let whoever waits know."""
    answer.cancel()
    answer.set_running_or_notify_cancel()


def _known(job: Job, bench: Bench) -> remote.Known:
    places = {digest: bench.book.places(digest, job.target.path) for digest in job.blobs}
    unknown = [blob.digest for blob in job.delivery.blobs if blob.size < 0]  # layers of Docker schema 1
    learnt = bench.diff_ids.about(unknown) if unknown else ()
    return remote.Known({digest: found for digest, found in places.items() if found}, learnt)
