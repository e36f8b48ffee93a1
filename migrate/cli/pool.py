"""Who does the copies of a run: threads of this process, or the workers of a Dask cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from migrate.errors import UsageError
from migrate.images import worker
from migrate.images.bench import Bench
from migrate.images.transfer import Job, JobResult, Stop


@dataclass(frozen=True)
class Pool:
    """Where jobs are sent.

    Attributes:
        executor: runs `perform`.
        perform: does a job; what else it takes the executor adds.
        workers: how many at a time.
        check: looks whether they are still there; raises where not.
        shares_book: whether those at work know what the others bring: then nobody needs to wait for small blobs.
    """

    executor: Executor
    perform: Callable[..., JobResult]
    workers: int
    check: Callable[[], None] = lambda: None
    shares_book: bool = True


def check_alone(dask: str, rate: int, wait_login: str, seconds: float) -> None:
    """Look whether options that hold for one process alone were given with a cluster.

    Args:
        dask: the scheduler; empty where this process copies.
        rate: bytes a second of `--bwlimit`; 0 for none.
        wait_login: what was given.
        seconds: how many that are.

    Raises:
        UsageError: they were.
    """
    if dask and rate:
        raise UsageError("--bwlimit holds one process back, and not Dask's workers", "leave out --bwlimit or --dask")
    if dask and wait_login and seconds:
        raise UsageError(
            "--wait-login: Dask's workers have logins of their own, and wait for none",
            "leave out --wait-login or --dask; where a login ends there, log in again and run again",
        )


@contextmanager
def threads(bench: Bench, workers: int, stop: Stop) -> Iterator[Pool]:
    """So many threads; where the run was stopped nobody waits for them."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="copy")
    bench.streams = streams = ThreadPoolExecutor(workers, thread_name_prefix="blob")
    perform: Callable[[Job], JobResult] = partial(worker.perform, bench)
    try:
        yield Pool(pool, perform, workers)
    finally:
        interrupted = stop.soon.is_set()
        stop.now.set()
        for each in (pool, streams):
            each.shutdown(wait=not interrupted, cancel_futures=True)
