"""Answers that drip: a peer that sends a byte now and then must not hold a worker for days."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import cycle
from pathlib import Path

import pytest
from registrylab.tokens import self_signed

from migrate.credentials import Login
from migrate.images.connections import HEADERS, Connections, UnansweredError
from migrate.images.failures import FailureClass
from migrate.images.pace import Pace
from migrate.images.registry import Connection, Registry, RegistryError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n"
Chunks = Callable[[], Iterator[bytes]]


@contextmanager
def server(chunks: Chunks, every: float, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that answers whatever it is asked by these chunks, one at a time; its host."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), tls.wrap_socket(connection, server_side=True) if tls else connection as peer:
            peer.recv(65536)
            for chunk in chunks():
                if over.wait(every):
                    return
                peer.sendall(chunk)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)


def endless_head() -> Iterator[bytes]:
    return (bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 90_000)


def endless_body() -> Iterator[bytes]:
    yield HEAD
    yield from cycle([b"x"])


def slow_body() -> Iterator[bytes]:
    yield HEAD
    yield from [b"x" * 500] * 40


def read(client: Connections, url: str) -> bytes:
    return b"".join(client.open("GET", url, HEADERS).chunks())


@pytest.mark.parametrize("chunks", [endless_head, endless_body])
def test_an_answer_that_drips_is_given_up(chunks: Chunks) -> None:
    with server(chunks, 0.02) as host, closing(Connections(20, 0.5)) as client:
        started = time.monotonic()
        with pytest.raises(UnansweredError, match=r"\d+ bytes came in 1 s, and that was not all$"):
            read(client, f"http://{host}/")
        assert 0.5 <= time.monotonic() - started < 10


def test_one_that_drips_through_tls_too(tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path, "server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with server(endless_head, 0.02, tls) as host:
        client = Connections(20, 0.5, certificate)
        with closing(client), pytest.raises(UnansweredError, match="that was not all"):
            read(client, f"https://{host}/")


def test_one_that_drips_through_a_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(endless_head, 0.02) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        monkeypatch.setenv("NO_PROXY", "")
        client = Connections(20, 0.5)
        with closing(client), pytest.raises(UnansweredError, match="that was not all"):
            read(client, "http://registry.example/")


def test_an_answer_that_is_slow_and_steady_is_read_to_its_end() -> None:
    with server(slow_body, 0.02) as host, closing(Connections(20, 0.1)) as client:
        assert len(read(client, f"http://{host}/")) == 20_000


def test_a_reader_that_takes_its_time_is_no_drip(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read slowly because the other registry takes it slowly is not the fault of this one."""
    with server(slow_body, 0.0) as host, closing(Connections(20, 0.2)) as client:
        monkeypatch.setattr("migrate.images.connections.CHUNK", 2000)
        size = 0
        for chunk in client.open("GET", f"http://{host}/", HEADERS).chunks():
            size += len(chunk)
            time.sleep(0.1)
        assert size == 20_000


def test_a_registry_whose_heads_drip_is_a_failure_in_words() -> None:
    with server(endless_head, 0.02) as host:
        registry = Registry(Connection(host, plain_http=True), Login("here", lambda: None), Pace(host), timeout=0.1)
        with closing(registry), pytest.raises(RegistryError) as caught:
            registry.ping()
        assert caught.value.failure.kind is FailureClass.TIMEOUT
        assert "that was not all" in str(caught.value)
