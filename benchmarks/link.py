"""A far link before a registry: a TCP proxy that delays and limits, as a process of its own.

Run: python benchmarks/link.py HOST:PORT --rtt 0.02 --rate 100e6      (prints where it listens, then serves)

Bytes of each direction go on half a round trip later, at `rate` bytes a second for all connections together; a new
connection costs one round trip more, as TCP's handshake does. Order and content stay.
"""

import argparse
import asyncio
from collections import deque

_WINDOW = 8 * 2**20
"""Bytes on the way of one connection and direction, before the sender is asked to wait."""


class Direction:
    """What all connections share in one direction: when the line is free again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float, rate: float) -> None:
        self._loop = loop
        self._delay = delay
        self._rate = rate
        self._free_at = 0.0

    def due(self, size: int) -> float:
        """When these bytes arrive."""
        self._free_at = max(self._free_at, self._loop.time()) + size / self._rate
        return self._free_at + self._delay


class Half(asyncio.Protocol):
    """One end of a connection; what it receives goes to `other` later."""

    def __init__(self, loop: asyncio.AbstractEventLoop, direction: Direction) -> None:
        self._loop = loop
        self._direction = direction
        self._queue: deque[tuple[float, bytes]] = deque()
        self._on_the_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self.not_before = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(_WINDOW)

    def data_received(self, data: bytes) -> None:
        """Bytes to pass on."""
        self._queue.append((max(self._direction.due(len(data)), self.not_before), data))
        self._on_the_way += len(data)
        if self._on_the_way > _WINDOW and self.transport:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The sender has said everything; what is on the way still arrives."""
        self._ended = True
        self._wake()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        """Gone: the other end is told, after what is on the way."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._timer is None and (self._queue or self._ended):
            when = self._queue[0][0] if self._queue else self._loop.time()
            self._timer = self._loop.call_at(when, self._pass_on)

    def _pass_on(self) -> None:
        self._timer = None
        if self.other is None:
            return  # not connected through yet: `join` wakes it then
        sink = self.other.transport
        now = self._loop.time() + 0.0005
        while self._queue and self._queue[0][0] <= now:
            data = self._queue.popleft()[1]
            self._on_the_way -= len(data)
            if sink and not sink.is_closing():
                sink.write(data)
        if self._on_the_way <= _WINDOW // 2 and self.transport and not self.transport.is_closing():
            self.transport.resume_reading()
        if self._queue:
            self._wake()
        elif self._ended and sink and not sink.is_closing():
            sink.close()


async def serve(target: str, rtt: float, rate: float) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    there, back = (Direction(loop, rtt / 2, rate) for _ in range(2))
    address, _, port = target.partition(":")
    tasks: set[asyncio.Task[None]] = set()

    async def join(near: Half) -> None:
        try:
            _, far = await loop.create_connection(lambda: Half(loop, back), address, int(port))
        except OSError:
            if near.transport:
                near.transport.abort()
            return
        near.other, far.other = far, near
        near._wake()

    def accept() -> Half:
        near = Half(loop, there)
        near.not_before = loop.time() + 1.5 * rtt
        task = loop.create_task(join(near))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=1024)
    print(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Parse, serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", help="host:port of the registry")
    parser.add_argument("--rtt", type=float, default=0.02, help="seconds there and back")
    parser.add_argument("--rate", type=float, default=100e6, help="bytes a second and direction")
    asked = parser.parse_args()
    asyncio.run(serve(asked.target, asked.rtt, asked.rate))


if __name__ == "__main__":
    main()
