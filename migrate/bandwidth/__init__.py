"""A cap on bytes a second: a forwarding proxy on 127.0.0.1 through which skopeo and our own requests go.

What comes from the registries has one budget, what goes to them another. All connections share them, chunk by chunk in
the order of asking. Counted is what passes on the far side of the proxy, heads of requests and answers included. It
reads a chunk only when it has passed on the one before, so whoever sends has to wait. The proxies that the user's
environment names stay in force behind it.

It is asyncio in a thread of its own; only who knows the token in its address may use it.
"""

import asyncio
import logging
import resource
import secrets
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from migrate.bandwidth.proxy import Proxy
from migrate.bandwidth.refused import MARK

__all__ = ["MARK", "Way", "limited"]

log = logging.getLogger(__name__)

_FILES = 16_384
"""Open files that are wished for: each connection through here takes two."""
_BACKLOG = 1024
"""Connections that wait to be accepted."""
_RECEIVED = 128 * 1024
"""Bytes that the system takes of a client before they are passed on: more would look as if it had been sent."""
_CONNECTIONS, _HELD = 128, 512 * 1024
"""Connections at a time, and bytes that each holds in buffers on both sides of us."""
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True)
class Way:
    """The way through the proxy.

    Attributes:
        url: its address, with the login that it asks for.
        longest_wait: seconds that an answer may be late at most, because what was sent before it waits here.
    """

    url: str = field(repr=False)
    longest_wait: float = 0.0

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """An environment whose programs go through this proxy to all hosts (Go's: but for localhost).

        Args:
            base: the rest of it; what it says of other proxies is left out.
        """
        kept = {name: value for name, value in base.items() if name.lower() not in _PROXY_VARIABLES}
        return kept | dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.url)


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
