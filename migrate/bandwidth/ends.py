"""One end of a connection through the proxy: read when asked, a chunk at a time, and paid for."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from migrate.bandwidth.bucket import Bucket
from migrate.bandwidth.refused import RefusedError

_LARGEST_HEAD = 64 * 1024
_PROBE_SECONDS = 30
"""Between the probes that find peers that are gone without a word, and keep firewalls from forgetting us; as Go's."""


class GoneError(ConnectionError):
    """Nobody takes what is written."""


class End(asyncio.BufferedProtocol):
    """One end of a connection. It is read only when asked, a chunk at a time, and holds nothing back when writing.

    Args:
        buffer: a chunk; the ends of one event loop share it, for what it holds is taken out at once.
        incoming: for what is read here.
        outgoing: for what is written here.

    Attributes:
        lost: set when the connection is closed.
        moved: bytes read and written.
    """

    def __init__(self, buffer: memoryview, incoming: Bucket | None = None, outgoing: Bucket | None = None) -> None:
        self._buffer = buffer
        self._incoming, self._outgoing = incoming, outgoing
        self._transport: asyncio.Transport
        self._chunk = b""
        self._has_ended = False
        self._error: Exception | None = None
        self._news, self._writable = asyncio.Event(), asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()
        self.moved = 0

    async def read(self) -> bytes:
        """The next chunk, once it may pass; empty at the end.

        Raises:
            OSError: the connection broke.
        """
        while not (self._chunk or self._has_ended):
            self._news.clear()
            self._transport.resume_reading()
            await self._news.wait()
        chunk, self._chunk = self._chunk, b""
        if self._error and not chunk:
            raise self._error
        await _pay(self._incoming, len(chunk))
        return chunk

    async def write(self, data: bytes) -> None:
        """Send all of it, each chunk once it may pass.

        Raises:
            GoneError: the connection is closed.
        """
        for start in range(0, len(data), len(self._buffer)):
            part = data[start : start + len(self._buffer)]
            await _pay(self._outgoing, len(part))
            if not self._transport.is_closing():
                self._transport.write(part)
                await self._writable.wait()
            if self._transport.is_closing():
                raise GoneError("nobody takes the rest")
            self.moved += len(part)

    def finish(self) -> None:
        """Send no more, and say so. TLS cannot say it and still listen."""
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def drop(self, *, reset: bool) -> None:
        """Close the connection; by a reset the peer sees that it was not all."""
        if not self.lost.is_set():
            if reset:
                self._set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def probe(self) -> None:
        """Let the system ask from time to time whether the peer is still there."""
        self._set(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
            if hasattr(socket, name):
                self._set(socket.IPPROTO_TCP, getattr(socket, name), _PROBE_SECONDS)

    def read_ahead(self, size: int) -> None:
        """Let the system take about so many bytes of the peer that nobody has asked for yet, and not megabytes."""
        self._set(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def _set(self, level: int, option: int, value: int | bytes) -> None:
        if opened := self._transport.get_extra_info("socket"):
            opened.setsockopt(level, option, value)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: there is a connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()
        transport.set_write_buffer_limits(high=1)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """asyncio: where to put what comes."""
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        """asyncio: so many bytes came."""
        self._transport.pause_reading()
        self._chunk = bytes(self._buffer[:size])
        self.moved += size
        self._news.set()

    def eof_received(self) -> bool:
        """asyncio: the peer sends no more; whether we still may."""
        self._has_ended = True
        self._news.set()
        return self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """asyncio: the system takes no more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio: it does again."""
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: the connection is closed."""
        self._error = error
        self._has_ended = True
        for event in (self._news, self._writable, self.lost):
            event.set()


async def _pay(budget: Bucket | None, size: int) -> None:
    if budget and size and (seconds := budget.reserve(size)):
        await asyncio.sleep(seconds)


@asynccontextmanager
async def closed_at_the_end(end: End) -> AsyncIterator[None]:
    """Close a connection whatever happens; by a reset where something broke."""
    broken = True
    try:
        yield
        broken = False
    finally:
        end.drop(reset=broken)
        await end.lost.wait()


async def read_head(end: End, came: bytes = b"") -> tuple[bytes, bytes]:
    """A head without its empty line, and what came after that; `came` is what has been read already.

    Raises:
        RefusedError: it is too large.
        OSError: the connection broke or ended.
    """
    while b"\r\n\r\n" not in came and len(came) <= _LARGEST_HEAD:
        chunk = await end.read()
        if not chunk:
            raise ConnectionAbortedError("it ended within a head")
        came += chunk
    head, _, rest = came.partition(b"\r\n\r\n")
    if len(head) > _LARGEST_HEAD:
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is larger than 64 KiB")
    return head, rest
