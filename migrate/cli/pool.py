"""Who does the copies of a run: threads of this process, or the workers of a Dask cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

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
