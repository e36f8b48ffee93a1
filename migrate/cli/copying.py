"""Who copies what a plan lists, and with what: the order, the pool, the bench; the events of it all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain

from migrate.cli.benches import bench_of
from migrate.cli.in_use import used_by_workloads
from migrate.cli.pool import Pool, threads
from migrate.cli.progress import progress
from migrate.cli.runs import Run
from migrate.cli.session import Session
from migrate.cli.streams import held_already, make_aliases
from migrate.images.bench import Bench
from migrate.images.budget import Budget
from migrate.images.graph import siblings_of
from migrate.images.order import Order, ranks
from migrate.images.pace import workers_for
from migrate.images.plan import Action, Plan
from migrate.images.schedule import SMALL
from migrate.images.transfer import Event, Finished, Job, jobs_of, run_jobs
from migrate.images.unpacking import DiffIds


def copy_events(
    run: Run, plan: Plan, jobs: int, unmade: dict[str, str], budget: Budget, *, quiet: bool
) -> Iterator[Event]:
    """Do what a plan lists, and show how far it is; each event as it happens.

    Raises:
        MigrateError: nobody is there any more who could copy.
    """
    stop = run.session.stop
    workers = jobs or _jobs_of_manifest(run.session)
    todo = jobs_of(plan)
    is_used = used_by_workloads(run.session) if run.limits.order is Order.IN_USE else lambda _: False
    order = ranks(run.limits.order, todo, is_used)
    run.session.free_workers()
    tags = plan.count(Action.COPY) + plan.count(Action.LINK)
    known = run.state.blobs()
    bench = _bench(run, plan, known, unmade)
    with progress(plan, tags, stop, quiet=quiet) as show, _pool(run, bench, workers if todo else 0, unmade) as pool:

        def moved(job: int, so_far: int) -> None:
            show.moved(job, so_far)
            budget.moved(job, so_far)

        bench.on_bytes = moved
        events = run_jobs(
            todo,
            pool.perform,
            pool.executor,
            pool.workers,
            stop,
            at_target=known,
            held=run.session.is_held,
            gone=run.session.is_gone,
            budget=budget,
            expected=partial(_expected, bench) if budget.limit else lambda _: 0,
            ranks=order,
            small=SMALL if pool.shares_book else 0,
        )
        arrived = held_already(plan)
        for event in chain(events, make_aliases(run.session, plan, len(todo), arrived)):
            if isinstance(event, Finished):
                arrived |= {r.copy.target: r.target_digest for r in event.result.results if not r.failure}
            show.event(event)
            yield event
        pool.check()


@contextmanager
def _pool(run: Run, bench: Bench, workers: int, unmade: dict[str, str]) -> Iterator[Pool]:
    """Threads, or the workers of a Dask cluster where one was named; nobody where there is nothing to do."""
    if not run.dask or not workers:
        with threads(bench, workers or 1, run.session.stop) as pool:
            yield pool
        return
    from migrate.cli.dask import dask_pool  # Dask: loaded by who needs it

    with dask_pool(run.session, bench, unmade, run.dask) as pool:
        yield pool


def _expected(bench: Bench, job: Job) -> int:
    """Bytes that a job would send, as far as sizes are known, and what the target has or lends."""
    path = job.target.path
    return sum(b.size for b in job.delivery.blobs if b.size > 0 and not bench.book.expects(b.digest, path))


def _jobs_of_manifest(session: Session) -> int:
    """`transfer.jobs`; auto is what suits the slower of the links to both registries, as the plan has seen it."""
    wanted = session.manifest.file.transfer.jobs
    if isinstance(wanted, int):
        return wanted
    return workers_for(max(end.pace.round_trip for end in (session.source, session.target)), os.cpu_count() or 2)


def _bench(run: Run, plan: Plan, known: dict[str, set[str]], unmade: dict[str, str]) -> Bench:
    assert run.program
    bench = bench_of(run.session, run.program, run.private, known, unmade)
    bench.diff_ids = DiffIds(run.state.diff_ids(), siblings_of(plan.images))
    return bench
