"""Who does the copies of a run: threads of this process, or the workers of a Dask cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from migrate.errors import UsageError
from migrate.images import worker
from migrate.images.bench import Bench
from migrate.images.transfer import Job, JobResult, Stop


@dataclass(frozen=True)
class Pool:
    """Where jobs are sent.

    Attributes:
        executor: runs `perform`.
        perform: does a job; what else it takes, or gives in place of a result, is between it and the executor.
        workers: how many at a time.
        check: looks whether they are still there; raises where not.
        shares_book: whether those at work know what the others bring: then nobody needs to wait for small blobs.
    """

    executor: Executor
    perform: Callable[..., Any]
    workers: int
    check: Callable[[], None] = lambda: None
    shares_book: bool = True


def check_pool(dask: str | None, rate: int, wait_login: str, seconds: float) -> None:
    """Look whether the cluster that was named can be there, and no options were given that hold for one process alone.

    Args:
        dask: the scheduler; None where this process copies.
        rate: bytes a second of `--bwlimit`; 0 for none.
        wait_login: what was given.
        seconds: how many that are.

    Raises:
        UsageError: they were, or what was named is no cluster.
        MigrateError: nothing is there.
    """
    if dask is None:
        return
    if rate:
        raise UsageError("--bwlimit holds one process back, and not Dask's workers", "leave out --bwlimit or --dask")
    if wait_login and seconds:
        raise UsageError(
            "--wait-login: Dask's workers have logins of their own, and wait for none",
            "leave out --wait-login or --dask; where a login ends there, log in again and run again",
        )
    from migrate.cli.dask.connect import check_address  # loaded by who needs it

    check_address(dask)


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
