"""A TCP proxy before a registry that makes the link slow or cuts it: far links and stopped bytes for tests."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from registrylab.registry import Tls

_CHUNK = 16_384


@dataclass
class SlowLink:
    """How slow; may be changed while it runs.

    Attributes:
        rate: bytes a second and direction, for all connections together; 0 for no limit.
        delay: seconds before each chunk goes on.
        open: whether bytes pass at all.
    """

    rate: float = 0.0
    delay: float = 0.0
    open: threading.Event = field(default_factory=threading.Event)
    host: str = ""

    def __post_init__(self) -> None:
        self.open.set()


@contextmanager
def slow_link(host: str, rate: float = 0.0, delay: float = 0.0, tls: Tls | None = None) -> Iterator[SlowLink]:
    """A proxy to `host` on a free loopback port; `link.host` is where to connect, by TLS where `tls` is given."""
    link = SlowLink(rate, delay)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    thread = threading.Thread(target=_serve, args=(loop, host, link, ready, tls), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield link
    finally:
        link.open.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _serve(loop: asyncio.AbstractEventLoop, host: str, link: SlowLink, ready: threading.Event, tls: Tls | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context and tls:
        context.load_cert_chain(tls.certificate, tls.key)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, _, port = host.partition(":")
        with suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection(address, int(port))
            try:
                await asyncio.gather(_pump(reader, far_writer, link), _pump(far_reader, writer, link))
            finally:
                far_writer.close()  # a pump that is cancelled before it begins closes nothing
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(accept, "127.0.0.1", 0, ssl=context))
    link.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    ready.set()
    loop.run_forever()
    server.close()
    loop.run_until_complete(_cancel_all())
    loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: SlowLink) -> None:
    with suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(_CHUNK):
            while not link.open.is_set():
                await asyncio.sleep(0.05)
            if link.delay or link.rate:
                await asyncio.sleep(link.delay + (len(data) / link.rate if link.rate else 0.0))
            writer.write(data)
            await writer.drain()
    writer.close()
