"""A pool of Dask workers in place of threads. Nothing else in the program knows Dask."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from migrate.cli.dask import remote
from migrate.cli.dask.connect import TooLongError, connected, within
from migrate.cli.dask.crew import Crew
from migrate.cli.dask.sender import Sender
from migrate.cli.options import say
from migrate.cli.pool import Pool
from migrate.cli.session import Session
from migrate.images.bench import Bench
from migrate.quantities import count

_GOODBYE_SECONDS = 5.0


@contextmanager
def dask_pool(session: Session, bench: Bench, why_denied: Mapping[str, str], address: str) -> Iterator[Pool]:
    """Workers of a Dask cluster; `address` is a scheduler's (tcp://..., tls://...), or its scheduler file.

    Raises:
        UsageError: Dask is not installed, or the address is none.
        MigrateError: the scheduler is out of reach, or workers cannot do the work: nothing was begun.
    """
    manifest = session.manifest
    planned = time.time() - (time.monotonic() - bench.planned_at)
    spec = remote.Spec(uuid.uuid4().hex, manifest.raw, manifest.path.resolve(), session.project, planned, why_denied)
    with connected(address, session.stop) as client:
        try:
            crew = Crew(client, spec, session.stop)
            crew.gather(address)
            say(f"{count(len(crew.fit), 'Dask worker')}, {count(crew.slots, 'copy')} at a time")
            sender = Sender(client, crew, session, bench)
            with sender.watched():
                yield Pool(sender, partial(remote.perform, spec.id), crew.slots, sender.check, shares_book=False)
        finally:
            if client.status == "running":
                forget = partial(client.run, remote.forget, spec.id, on_error="ignore", wait=False)
                with suppress(TooLongError, OSError):
                    within(_GOODBYE_SECONDS, forget)
