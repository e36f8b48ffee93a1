"""Sends jobs to Dask workers, and keeps what comes to light there."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from migrate.cli.dask import remote
from migrate.cli.dask.connect import TooLongError, within
from migrate.cli.dask.crew import START, Crew, SchedulerGoneError
from migrate.cli.options import say
from migrate.cli.session import Session
from migrate.errors import LoginError, MigrateError, StoppedError
from migrate.images.bench import Bench
from migrate.images.failures import Failure, FailureClass
from migrate.images.registry import RegistryError
from migrate.images.transfer import CopyResult, Job, JobResult

_PROBE_SECONDS, _AT_ONCE_SECONDS = 1.0, 5.0
_LOOK_SECONDS, _CANCEL_SECONDS, _LAST_SECONDS = 0.5, 5.0, 10.0
_TOLD_SECONDS, _ALONE_SECONDS = 10.0, 120.0
"""How long there may be no worker before it is said, and before the run ends."""


@dataclass(frozen=True, eq=False)
class _Errand:
    """A job that somebody waits for: what does it, and where its result is to appear."""

    perform: Callable[..., Any]
    job: Job
    answer: "Future[JobResult]"


class Sender(Executor):
    """An executor for `run_jobs`; one thread watches the cluster meanwhile.

    A job goes to the workers that are fit when it is sent. One whose workers have all gone, or that a worker could not
    do for want of a login or a registry, is sent again.
    """

    def __init__(self, client: Any, crew: Crew, session: Session, bench: Bench) -> None:
        self._client, self._crew, self._session, self._bench = client, crew, session, bench
        self._stop = session.stop
        self._executor = client.get_executor(pure=False, resources={remote.RESOURCE: 1}, retries=0)
        self._flying: dict[Future[Any], tuple[_Errand, frozenset[str]]] = {}
        self._to_send: queue.SimpleQueue[_Errand] = queue.SimpleQueue()
        self._problem: MigrateError | None = None
        self._probing = threading.Lock()
        self._ill: set[str] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Send a job; `fn` takes it, and what is known of its blobs."""
        (job,) = args
        answer: Future[JobResult] = Future()
        self._send(_Errand(partial(fn, **kwargs), job, answer))
        return answer

    def check(self) -> None:
        """Look whether the cluster was there as long as it was needed.

        Raises:
            MigrateError: it was not.
        """
        if self._problem:
            raise self._problem

    def _send(self, errand: _Errand) -> None:
        fit = frozenset(self._crew.fit)
        if self._is_over():
            _give_up(errand.answer)
        elif not fit:
            self._to_send.put(errand)
        else:
            known = _known(errand.job, self._bench)
            sent: Future[Any] = self._executor.submit(errand.perform, errand.job, known, workers=[*fit])
            self._flying[sent] = (errand, fit)
            sent.add_done_callback(self._came)

    def _came(self, sent: "Future[Any]") -> None:
        """Something came back, or not; in Dask's own thread, which must not wait."""
        errand, _ = self._flying.pop(sent, (None, None))
        if errand is None:
            return  # called back meanwhile
        error = None if sent.cancelled() else sent.exception()
        if sent.cancelled() or self._is_over():
            _give_up(errand.answer)
        elif type(error).__name__ == "KilledWorker":
            words = "the Dask workers that copied it were lost, one after another"
            errand.answer.set_result(_failed(errand.job, Failure(FailureClass.NETWORK, words)))
        elif error:
            errand.answer.set_exception(error)
        elif isinstance(result := sent.result(), remote.Unfit):
            threading.Thread(target=self._judge, args=(errand, result), daemon=True, name="judge").start()
        else:
            self._keep(errand, result)

    def _keep(self, errand: _Errand, result: JobResult) -> None:
        """Keep what a job has brought, which the next ones may mount; only then is it over."""
        for digest, _ in result.blobs:
            self._bench.book.add(errand.job.target.path, digest)
        self._bench.diff_ids.hint(result.diff_ids)
        self._bench.arrived.update(result.arrived)
        errand.answer.set_result(result)

    def _judge(self, errand: _Errand, unfit: remote.Unfit) -> None:
        """A worker could not do a job: is it the worker, or the registry, which then we do not reach either?"""
        failure = self._own_trouble(errand.job) if unfit.words and not unfit.login else None
        if failure:
            errand.answer.set_result(_failed(errand.job, failure))
        else:
            self._crew.drop(unfit.address, unfit)
            self._to_send.put(errand)

    def _own_trouble(self, job: Job) -> Failure | None:
        for end in (job.source, job.target):
            try:
                self._session.registry(end.registry).ping(end.path)
            except RegistryError as error:
                return error.failure
            except MigrateError:
                continue  # a login of ours: it says nothing of the registry
        return None

    # --- the watch --------------------------------------------------------------------------------------------------

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While jobs are sent, look whether scheduler and workers are there; give up what runs where that is wanted."""
        ended = threading.Event()
        watching = threading.Thread(target=self._watch, args=(ended,), daemon=True, name="is it there?")
        self._client.subscribe_topic(remote.TOPIC, self._told)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join(_LAST_SECONDS)
            self._crew.close()

    def _watch(self, ended: threading.Event) -> None:
        alone_since: float | None = None
        is_told = False
        while not ended.wait(_LOOK_SECONDS):
            try:
                if self._stop.now.is_set() or self._problem:
                    self._give_up_all()
                    continue
                self._crew.look_around()
                self._send_again()
            except StoppedError:
                continue
            except MigrateError as error:
                self._end(error)
                continue
            except Exception as error:  # a scheduler that ends while it is asked raises all sorts
                self._end(SchedulerGoneError(f"cannot be asked any more ({type(error).__name__}: {error})"))
                continue
            alone_since = None if self._crew.fit else alone_since or time.monotonic()
            alone = time.monotonic() - alone_since if alone_since else 0.0
            if not alone:
                is_told = False
            elif alone > _TOLD_SECONDS and not is_told:
                is_told = True
                say(f"no Dask worker takes copies now; waiting {_ALONE_SECONDS:.0f} s for one")
            self._end_if_alone(alone)

    def _end_if_alone(self, alone: float) -> None:
        if alone and self._crew.no_login:
            words = f"no Dask worker has a login any more; {self._crew.no_login}"
            self._end(LoginError(words, "log in again there, then run again"))
        elif alone > _ALONE_SECONDS:
            words = "no Dask worker takes copies any more; what is done is recorded"
            self._end(MigrateError(words, f"start some, then run again: {START}"))

    def _send_again(self) -> None:
        """What waited for a worker, and what no worker does any more that it was sent to."""
        fit = self._crew.fit.keys()
        lost = [(sent, errand) for sent, (errand, to) in [*self._flying.items()] if not to & fit]
        for sent, errand in lost:
            if self._flying.pop(sent, None):
                self._to_send.put(errand)
        if lost:
            self._cancel([sent for sent, _ in lost])
        if fit:
            for _ in range(self._to_send.qsize()):
                self._send(self._to_send.get())

    def _give_up_all(self) -> None:
        flying = [*self._flying]
        for sent in flying:
            errand, _ = self._flying.pop(sent, (None, None))
            if errand:
                _give_up(errand.answer)
        with suppress(queue.Empty):
            while True:
                _give_up(self._to_send.get_nowait().answer)
        self._cancel(flying)

    def _cancel(self, sent: "list[Future[Any]]") -> None:
        """Nobody waits for these any more; nor for a scheduler that stands still."""
        if sent:
            with suppress(TooLongError, OSError):
                within(_CANCEL_SECONDS, lambda: [each.cancel() for each in sent])

    def _is_over(self) -> bool:
        """Whether nothing more is to be had of the cluster; then the run ends so."""
        if not self._problem and self._client.status != "running":
            self._end(SchedulerGoneError())
        return self._problem is not None

    def _end(self, problem: MigrateError) -> None:
        self._problem = self._problem or problem
        self._stop.soon.set()
        self._stop.now.set()

    # --- registries that do not answer ------------------------------------------------------------------------------

    def _told(self, event: tuple[Any, Mapping[str, Any]]) -> None:
        """A worker says that a registry has stopped to answer it, or answers again; in Dask's own thread."""
        if event[1]["run"] == self._crew.run:
            threading.Thread(target=self._hear, args=(event[1],), daemon=True, name="hear").start()

    def _hear(self, told: Mapping[str, Any]) -> None:
        """Ask the registries from here, too, until they answer: then all wait, and end, as without Dask."""
        if not told["ill"]:
            if told["name"] in self._ill:
                self._ill.discard(told["name"])
                say(f"Dask worker {told['name']}: {told['words']}")
            return
        if not self._probing.acquire(blocking=False):
            return
        try:
            began = time.monotonic()
            while not self._answers() and not self._session.out_of_reach():
                if self._stop.soon.wait(_PROBE_SECONDS):
                    return
            if time.monotonic() - began < _AT_ONCE_SECONDS:  # it is the worker's trouble alone
                self._ill.add(told["name"])
                say(f"Dask worker {told['name']}: {told['words']}")
        finally:
            self._probing.release()

    def _answers(self) -> bool:
        """Whether both ends answer; those that do not say so by themselves."""
        try:
            self._session.check_ends()
        except LoginError:
            return True
        except MigrateError:
            return False
        return True


def _give_up(answer: "Future[JobResult]") -> None:
    """Cancel it, and let whoever waits know."""
    if answer.cancel():
        answer.set_running_or_notify_cancel()


def _failed(job: Job, failure: Failure) -> JobResult:
    now = time.time()
    results = (CopyResult(each, failure, started=now, ended=now, attempt=job.attempt) for each in job.copies)
    return JobResult(job, tuple(results))


def _known(job: Job, bench: Bench) -> remote.Known:
    places = {digest: bench.book.places(digest, job.target.path) for digest in job.blobs}
    unknown = [blob.digest for blob in job.delivery.blobs if blob.size < 0]  # layers of Docker schema 1
    learnt = bench.diff_ids.about(unknown) if unknown else ()
    arrived = {each.target: bench.arrived[each.target] for each in job.copies if each.target in bench.arrived}
    return remote.Known({digest: found for digest, found in places.items() if found}, learnt, arrived)
