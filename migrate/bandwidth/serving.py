"""The proxy as it runs: asyncio in a thread of its own, until whoever asked for it leaves."""

import asyncio
import logging
import resource
import secrets
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from migrate.bandwidth.proxy import Proxy
from migrate.bandwidth.way import Way

log = logging.getLogger(__name__)

_FILES = 16_384
"""Open files that are wished for: each connection through here takes two."""
_BACKLOG = 1024
"""Connections that wait to be accepted."""
_RECEIVED = 128 * 1024
"""Bytes that the system takes of a client before they are passed on: more would look as if it had been sent."""
_CONNECTIONS, _HELD = 128, 512 * 1024
"""Connections at a time, and bytes that each holds in buffers on both sides of us."""


@contextmanager
def limited(rate: int) -> Iterator[Way]:
    """A running proxy; what still passes when it is left is cut off.

    Args:
        rate: bytes a second from the registries, and as many to them; at least 1.

    Raises:
        OSError: no port or no memory for it.
    """
    _allow_open_files(_FILES)
    login = f"rahti-migrate:{secrets.token_urlsafe(24)}"
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
        serving = Proxy(rate, login).serve(listening, stop)
        thread = threading.Thread(target=_run, args=(loop, serving), name="bandwidth", daemon=True)
        thread.start()
        try:
            address = f"http://{login}@127.0.0.1:{listening.getsockname()[1]}"
            yield Way(address, longest_wait=_CONNECTIONS * _HELD / rate)
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()


def _run(loop: asyncio.AbstractEventLoop, serving: Coroutine[Any, Any, None]) -> None:
    loop.set_exception_handler(lambda _, context: log.debug("%s", context["message"]))
    try:
        loop.run_until_complete(serving)
    finally:
        loop.close()


def _allow_open_files(wanted: int) -> None:
    """Raise this process's own limit of open files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
