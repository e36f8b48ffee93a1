"""The proxy itself: whom it lets in, where a request goes, and both directions of it."""

import asyncio
import logging
import os
import re
import secrets
import socket
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from typing import Any

from migrate.bandwidth.bucket import Bucket, burst_size, chunk_size, read_ahead
from migrate.bandwidth.ends import End, GoneError, closed_at_the_end, read_head
from migrate.bandwidth.heads import Head, Request, closing, parse_request
from migrate.bandwidth.refused import RefusedError
from migrate.bandwidth.upstream import UserProxy, basic, user_proxy

log = logging.getLogger(__name__)

_HEAD_SECONDS = 30.0
"""For a client to say what it wants."""
_CONNECT_SECONDS = 14.0
"""For the connection to a registry or proxy: less than our own client waits for this one."""
_SILENT_SECONDS = 60.0
"""Without a byte, once one end has said that it sends no more; the other may not have heard."""
_DISMISS_SECONDS = 1.0
"""For a client to read why it was refused."""
_ACCEPT_SECONDS = 1.0
"""Before the next one is accepted, where the system has nothing left for it."""
_INFORMATIONAL = re.compile(r"HTTP/1\.[01] 1(?!01)\d\d")
"""Answers that come before the answer, such as 100 Continue."""


class Proxy:
    """The proxy; `login` (user:password) is what it asks its clients for."""

    def __init__(self, rate: int, login: str) -> None:
        self._buffer = memoryview(bytearray(chunk_size(rate)))
        self._down, self._up = Bucket(rate, burst_size(rate)), Bucket(rate, burst_size(rate))
        self._read_ahead = read_ahead(rate)
        self._login = basic(*login.split(":")).encode()
        self._clients: dict[socket.socket, asyncio.Task[None]] = {}

    async def serve(self, listening: socket.socket, stop: asyncio.Event) -> None:
        """Serve until told to stop."""
        listening.setblocking(False)
        self._listen(listening)
        await stop.wait()
        asyncio.get_running_loop().remove_reader(listening)
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._clients.values():
                task.cancel()
            await asyncio.wait(others)
        for connection in self._clients:  # those that nobody attended to yet
            connection.close()
        await asyncio.sleep(0)  # the event loop closes the others in its next round

    def _listen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Take the next client. asyncio's own server loses one that comes just as it is closed."""
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # too many open files, no memory: others have to end first
            log.debug("no connection is accepted for a while: %s", _why(error))
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening)
            loop.call_later(_ACCEPT_SECONDS, self._listen, listening)
            return
        connection.setblocking(False)
        self._clients[connection] = asyncio.create_task(self._attend(connection))

    async def _attend(self, connection: socket.socket) -> None:
        try:
            _, near = await asyncio.get_running_loop().connect_accepted_socket(lambda: End(self._buffer), connection)
            async with closed_at_the_end(near):
                await self._forward(near)
        except Exception as error:  # none is worth more than the connection that it ends
            log.debug("a connection broke: %s", _why(error))
        finally:
            del self._clients[connection]

    async def _forward(self, near: End) -> None:
        method = ""
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head, rest = await read_head(near)
            request = parse_request(Head.of(head))
            method = request.method
            self._check_login(request)
            proxy = user_proxy(request.scheme, request.host)
            far = await self._connect(request, proxy)
        except RefusedError as refused:
            log.debug("%s refused: %s", method or "a request", refused.reason)
            await _dismiss(near, refused.answer(method))
            return
        log.debug("%s %s", method, request.authority)
        async with closed_at_the_end(far):
            far.probe()
            far.read_ahead(self._read_ahead)
            if request.is_tunnel and not proxy:
                await near.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                rest = request.onward(proxy) + rest
            answer = _pump(far, near) if request.is_tunnel else _answer(far, near)
            await _relay(near, far, _send(near, far, rest), answer)

    def _check_login(self, request: Request) -> None:
        scheme, _, login = request.head.value("proxy-authorization").partition(" ")
        if scheme.lower() != "basic" or not secrets.compare_digest(login.strip().encode(), self._login):
            raise RefusedError(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "this proxy is rahti-migrate's own")

    async def _connect(self, request: Request, proxy: UserProxy | None) -> End:
        """A connection to the server that is asked, or to the proxy before it.

        Raises:
            RefusedError: there is none; with the reason.
        """
        host, port = (proxy.host, proxy.port) if proxy else (request.host, request.port)
        tls = self._tls if proxy and proxy.is_tls else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, far = await asyncio.get_running_loop().create_connection(
                    lambda: End(self._buffer, self._down, self._up),
                    host,
                    port,
                    ssl=tls,
                    happy_eyeballs_delay=0.25,
                )
        except (OSError, UnicodeError) as error:
            way = f"{request.host}: proxy {host}:{port}" if proxy else host
            raise RefusedError(HTTPStatus.BAD_GATEWAY, f"{way}: {_why(error)}") from None
        return far

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """The system's certificate authorities."""
        return ssl.create_default_context()


def _why(error: Exception) -> str:
    """The reason in the system's words. Those of asyncio hold addresses instead, and one reason for each address."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    if found := re.search(r"\[Errno (\d+)\]", str(error)):
        return os.strerror(int(found[1]))
    if isinstance(error, UnicodeError):
        return "not the name of a host"
    return str(error) or ("timed out" if isinstance(error, TimeoutError) else type(error).__name__)


# --- both ways --------------------------------------------------------------------------------------------------


async def _relay(near: End, far: End, up: Coroutine[Any, Any, None], down: Coroutine[Any, Any, None]) -> None:
    """Both directions until both are done.

    Raises:
        OSError: a connection broke, or nothing more came after one end had ended.
    """
    pumps = {asyncio.create_task(up), asyncio.create_task(down)}
    left = pumps
    try:
        while left:
            moved = near.moved + far.moved
            silent = None if left == pumps else _SILENT_SECONDS
            done, left = await asyncio.wait(left, timeout=silent, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
            if not done and near.moved + far.moved == moved:
                raise TimeoutError("silent since one end had ended")
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: End, target: End) -> None:
    while chunk := await source.read():
        await target.write(chunk)
    target.finish()


async def _send(near: End, far: End, first: bytes) -> None:
    """What the client sends; the rest is dropped where the far end takes no more: its answer may be on the way yet."""
    try:
        await far.write(first)
        await _pump(near, far)
    except GoneError:
        while await near.read():
            pass


async def _answer(far: End, near: End) -> None:
    """The answer to a request in the clear, with the word that the connection is closed after it.

    So the client asks nothing more on it: that might be for another server.
    """
    head, rest = await read_head(far)
    while _INFORMATIONAL.match(head.decode("latin-1")):
        await near.write(head + b"\r\n\r\n")
        head, rest = await read_head(far, rest)
    await near.write(closing(head) + rest)
    await _pump(far, near)


async def _dismiss(near: End, answer: bytes) -> None:
    """Answer, and hear the client out: a connection closed before that might take the answer with it."""
    await near.write(answer)
    near.finish()
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISMISS_SECONDS):
            while await near.read():
                pass
