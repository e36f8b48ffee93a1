"""The proxy that caps bytes a second: how exact it is, what it passes on, who may use it, and how it ends."""

import base64
import gc
import http.client
import logging
import os
import resource
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient, missing_from
from registrylab.forward import forward_proxy
from registrylab.images import Image, make_image, make_layer
from registrylab.proxy import slow_link
from registrylab.registry import LabRegistry, Tls, registry
from registrylab.tokens import self_signed

from migrate import bandwidth
from migrate.bandwidth.bucket import Bucket, burst_size, chunk_size, read_ahead
from migrate.bandwidth.serving import limited
from migrate.bandwidth.way import Way

FAST, SLOW = 1_000_000_000, 1_000_000
MOSTLY = 0.98
"""Of the time that some bytes take at a rate: the burst is in it."""
NOBODY = "127.0.0.1:9"
Handle = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """None of the tester's proxies; and all that is ever logged is for debugging, and no failure that nobody saw."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    caplog.set_level(logging.DEBUG)
    yield
    gc.collect()
    ours = [record for record in caplog.records if record.name in ("asyncio", bandwidth.proxy.__name__)]
    assert [record.getMessage() for record in ours if record.levelno > logging.DEBUG] == []
    assert "never retrieved" not in caplog.text


@pytest.fixture
def way() -> Iterator[Way]:
    with limited(FAST) as made:
        yield made


@contextmanager
def server(handle: Handle) -> Iterator[str]:
    """A server that gives each connection to `handle`, in a thread of its own; its host."""

    def attend(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handle(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=attend, args=(listening.accept()[0],), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0), backlog=100)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def login_of(way: Way) -> str:
    parts = urlsplit(way.url)
    return basic(f"{parts.username}:{parts.password}")


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def connect(way: Way) -> socket.socket:
    parts = urlsplit(way.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30)


def head_of(connection: socket.socket) -> bytes:
    """What comes up to an empty line, and not a byte more."""
    came = b""
    while not came.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionAbortedError(f"it ended within a head: {came!r}")
        came += byte
    return came


def rest_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def tunnel(way: Way, host: str) -> socket.socket:
    connection = connect(way)
    connection.sendall(f"CONNECT {host} HTTP/1.1\r\nProxy-Authorization: {login_of(way)}\r\n\r\n".encode())
    assert head_of(connection).startswith(b"HTTP/1.1 200 ")
    return connection


def say(way: Way, line: str, *headers: str, body: bytes = b"") -> bytes:
    """All that is answered to a request with our login."""
    with closing(connect(way)) as connection:
        head = "\r\n".join((line, f"Proxy-Authorization: {login_of(way)}", *headers, "", ""))
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        return rest_of(connection)


def status(answer: bytes) -> str:
    return answer.partition(b"\r\n")[0].decode().removeprefix("HTTP/1.1 ")


def answering(answer: bytes, heads: list[bytes] | None = None) -> Handle:
    """What to do with a connection: take a head, answer, and leave the connection open."""

    def handle(connection: socket.socket) -> None:
        head = head_of(connection)
        if heads is not None:
            heads.append(head)
        connection.sendall(answer)
        rest_of(connection)

    return handle


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


# --- budgets ----------------------------------------------------------------------------------------------------


@st.composite
def traffic(draw: st.DrawFn) -> tuple[int, int, list[tuple[float, int]]]:
    """A rate, a burst, and seconds of waiting before each chunk that is asked for."""
    rate = draw(st.integers(1, 10**9))
    burst = draw(st.integers(1, 10**7))
    pauses = st.one_of(st.just(0.0), st.floats(0, 3 * burst / rate))
    asked = draw(st.lists(st.tuples(pauses, st.integers(1, burst)), min_size=1, max_size=40))
    return rate, burst, asked


def passed(rate: int, burst: int, asked: list[tuple[float, int]]) -> list[tuple[float, float, int]]:
    """When each chunk was asked for, when it passed, and its size."""
    now = 0.0
    budget = Bucket(rate, burst, lambda: now)
    found = []
    for pause, size in asked:
        now += pause
        found.append((now, now + budget.reserve(size), size))
    return found


def spare(rate: int, burst: int, through: list[tuple[float, float, int]], last: int) -> float:
    """The bytes that could have passed besides, in the fullest stretch of time that ends as the chunk `last` passes."""
    sums = list(accumulate((size for _, _, size in through[last::-1])))
    return min(rate * (through[last][1] - through[first][1]) + burst - sums[last - first] for first in range(last + 1))


@given(traffic())
def test_no_stretch_of_time_has_more_bytes_than_its_share_and_a_burst(
    made: tuple[int, int, list[tuple[float, int]]],
) -> None:
    rate, burst, asked = made
    through = passed(rate, burst, asked)
    assert all(spare(rate, burst, through, last) >= -0.001 * burst for last in range(len(through)))


@given(traffic())
def test_who_has_to_wait_waits_for_a_stretch_that_is_full_and_no_longer(
    made: tuple[int, int, list[tuple[float, int]]],
) -> None:
    rate, burst, asked = made
    through = passed(rate, burst, asked)
    for last, (began, passes, _) in enumerate(through):
        assert passes == began or spare(rate, burst, through, last) <= 0.001 * burst


@given(traffic())
def test_who_asks_first_passes_first(made: tuple[int, int, list[tuple[float, int]]]) -> None:
    times = [passes for _, passes, _ in passed(*made)]
    assert times == sorted(times)


@given(st.integers(1, 10**10))
def test_a_chunk_fits_into_a_burst_and_a_burst_into_a_tenth_of_a_second(rate: int) -> None:
    assert 1 <= chunk_size(rate) <= burst_size(rate)
    assert burst_size(rate) <= rate / 10 or burst_size(rate) == chunk_size(rate) == 1024


# --- the cap ----------------------------------------------------------------------------------------------------


def download(way: Way, host: str, size: int) -> None:
    with closing(tunnel(way, host)) as connection:
        connection.sendall(b"?")
        assert len(rest_of(connection)) == size


def upload(way: Way, host: str, size: int) -> None:
    with closing(tunnel(way, host)) as connection:
        connection.sendall(b"x" * size)
        connection.shutdown(socket.SHUT_WR)
        assert int(rest_of(connection)) == size


def giving(size: int) -> Handle:
    def handle(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"x" * size)

    return handle


def counting(connection: socket.socket) -> None:
    connection.sendall(str(len(rest_of(connection))).encode())


@pytest.mark.parametrize("connections", [1, 8])
def test_bytes_from_a_registry_take_their_time(connections: int) -> None:
    size = 3_200_000
    with server(giving(size // connections)) as host, limited(SLOW) as way, ThreadPoolExecutor(connections) as pool:
        started = time.monotonic()
        list(pool.map(lambda _: download(way, host, size // connections), range(connections)))
        assert time.monotonic() - started >= MOSTLY * size / SLOW


@pytest.mark.parametrize("connections", [1, 8])
def test_bytes_to_a_registry_take_their_time(connections: int) -> None:
    size = 3_200_000
    with server(counting) as host, limited(SLOW) as way, ThreadPoolExecutor(connections) as pool:
        started = time.monotonic()
        list(pool.map(lambda _: upload(way, host, size // connections), range(connections)))
        assert time.monotonic() - started >= MOSTLY * size / SLOW


def test_a_low_rate_too() -> None:
    with server(giving(100_000)) as host, limited(32_768) as way:
        started = time.monotonic()
        download(way, host, 100_000)
        assert time.monotonic() - started >= MOSTLY * 100_000 / 32_768


def test_what_is_not_read_is_not_fetched(way: Way) -> None:
    sent = [0]

    def endless(connection: socket.socket) -> None:
        connection.settimeout(1.0)
        with suppress(TimeoutError):
            while True:
                sent[0] += connection.send(b"x" * 65_536)
        sent.append(sent[0])

    with server(endless) as host, closing(tunnel(way, host)):
        wait_until(lambda: len(sent) == 2, "the server never had to wait")
        assert sent[1] < 64 * 2**20


# --- who may use it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["CONNECT {} HTTP/1.1", "GET http://{}/ HTTP/1.1"])
@pytest.mark.parametrize("login", ["", "Basic", "Bearer {}", "Basic eDp5", "Basic {}x", "Basic \xe9"])
def test_nobody_gets_in_without_the_token(way: Way, line: str, login: str) -> None:
    heads: list[bytes] = []
    with server(answering(b"", heads)) as host, closing(connect(way)) as connection:
        header = f"Proxy-Authorization: {login.format(login_of(way).removeprefix('Basic '))}\r\n" if login else ""
        connection.sendall(f"{line.format(host)}\r\n{header}\r\n".encode("latin-1"))
        answer = rest_of(connection)
    assert status(answer) == "407 this proxy is rahti-migrate's own"
    assert b"\r\nProxy-Authenticate: Basic " in answer
    assert heads == []


def test_the_token_is_not_shown(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    token = urlsplit(way.url).password or ""
    with server(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as host:
        assert status(say(way, f"GET http://{host}/?X-Signature=4711 HTTP/1.1")) == "204 No Content"
    say(way, f"CONNECT {NOBODY} HTTP/1.1")
    assert len(token) >= 32
    assert f"GET {host}" in caplog.text
    for secret in (token, login_of(way), "4711"):
        assert secret not in caplog.text
    assert token not in repr(way)


def test_an_environment_has_this_proxy_and_no_other(way: Way) -> None:
    base = {"PATH": "/bin", "NO_PROXY": "*", "no_proxy": "*", "all_proxy": "x", "ALL_PROXY": "x", "Http_Proxy": "x"}
    assert way.environment(base) == {
        "PATH": "/bin",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), way.url),
    }


# --- what is passed on ------------------------------------------------------------------------------------------


def test_a_request_in_the_clear_arrives_as_one_to_a_server(way: Way) -> None:
    heads: list[bytes] = []
    headers = ("Host: other.example", "Accept: a", "Accept: b", "Connection: keep-alive", "Proxy-Connection: x", "Z:")
    with server(answering(b"HTTP/1.1 204 No Content\r\nA: b\r\nConnection: keep-alive\r\n\r\n", heads)) as host:
        answer = say(way, f"GET HTTP://{host}?a=%20/b HTTP/1.1", *headers)
    expected = f"GET /?a=%20/b HTTP/1.1\r\nAccept: a\r\nAccept: b\r\nZ:\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert heads == [expected.encode()]
    assert answer == b"HTTP/1.1 204 No Content\r\nA: b\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("GET", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    ],
)
def test_an_answer_is_whole_although_its_server_keeps_the_connection(way: Way, method: str, answer: bytes) -> None:
    parts = urlsplit(way.url)
    with server(answering(answer)) as host:
        client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        client.request(method, f"http://{host}/", headers={"Proxy-Authorization": login_of(way)})
        with closing(client.getresponse()) as got:
            expected = answer.rpartition(b"HTTP/1.1 ")[2]
            assert got.status == int(expected[:3])
            assert got.read() == (b"abc" if b"abc" in expected else b"")
            assert got.will_close


def test_a_body_waits_for_100_continue(way: Way) -> None:
    body = b"x" * 1_000_000

    def handle(connection: socket.socket) -> None:
        head = head_of(connection)
        assert b"Expect: 100-continue" in head
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        came = b""
        while len(came) < len(body):
            came += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with server(handle) as host, closing(connect(way)) as connection:
        head = f"PUT http://{host}/ HTTP/1.1\r\nProxy-Authorization: {login_of(way)}\r\nExpect: 100-continue\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert status(head_of(connection)) == "100 Continue"
        connection.sendall(body)
        assert status(rest_of(connection)) == "201 Created"


def test_one_client_reaches_several_servers(way: Way) -> None:
    """urllib3, as our own client uses it: with kept connections, which the proxy must not mix up."""
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(2)]
    with ExitStack() as stack:
        hosts = [stack.enter_context(server(answering(answer))) for answer in answers]
        headers = {"proxy-authorization": login_of(way)}
        manager = stack.enter_context(urllib3.ProxyManager(way.url, proxy_headers=headers))
        for number in (0, 1, 0, 1):
            assert manager.request("GET", f"http://{hosts[number]}/").data == b"%d" % number


def test_an_answer_before_the_whole_body_is_heard(way: Way) -> None:
    """A client that sends all before it reads, to a server that answers early and hangs up."""
    arrived = threading.Event()

    def refusing(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        assert arrived.wait(30)

    with server(refusing) as host, closing(connect(way)) as connection:
        head = (
            f"PUT http://{host}/ HTTP/1.1\r\nProxy-Authorization: {login_of(way)}\r\nContent-Length: 50000000\r\n\r\n"
        )
        connection.sendall(head.encode())
        select.select([connection], [], [], 30)
        arrived.set()
        connection.sendall(b"x" * 50_000_000)
        assert status(head_of(connection)) == "413 Too Large"


def test_the_end_of_one_direction_is_not_the_end_of_the_other(way: Way) -> None:
    def ends_first(connection: socket.socket) -> None:
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        heard.append(rest_of(connection))

    heard: list[bytes] = []
    with server(counting) as host, closing(tunnel(way, host)) as connection:
        connection.sendall(b"abc")
        connection.shutdown(socket.SHUT_WR)
        assert rest_of(connection) == b"3"
    with server(ends_first) as host, closing(tunnel(way, host)) as connection:
        assert rest_of(connection) == b"bye"
        connection.sendall(b"abc")
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: heard == [b"abc"], "the server heard nothing after its own end")


# --- what is not passed on --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("GET / HTTP/1.1", "A: b"),
        ("GET https://registry.example/ HTTP/1.1", "A: b"),
        ("GET http:///v2/ HTTP/1.1", "A: b"),
        ("GET http://registry.example:x/ HTTP/1.1", "A: b"),
        ("CONNECT registry.example:66000 HTTP/1.1", "A: b"),
        ("CONNECT registry.example/v2/ HTTP/1.1", "A: b"),
        ("CONNECT user@registry.example HTTP/1.1", "A: b"),
        ("GET http://registry.example/ HTTP/2", "A: b"),
        ("GET  http://registry.example/ HTTP/1.1", "A: b"),
        ("GET http://registry.example/ HTTP/1.1", " folded"),
        ("GET http://registry.example/ HTTP/1.1", "A : b"),
        ("GET http://registry.example/ HTTP/1.1", "A: b\nC: d"),
        ("\x16\x03\x01", "A: b"),
    ],
)
def test_what_is_no_request_is_refused(way: Way, line: str, header: str) -> None:
    assert status(say(way, line, header)).startswith("400 not ")


def test_a_head_has_an_end(way: Way) -> None:
    assert status(say(way, "GET http://registry.example/ HTTP/1.1", f"A: {'b' * 70_000}")).startswith("431 ")
    assert status(say(way, "GET / HTTP/1.1", f"A: {'b' * 60_000}")).startswith("400 ")


@pytest.mark.parametrize("line", ["CONNECT {} HTTP/1.1", "GET http://{}/ HTTP/1.1", "HEAD http://{}/ HTTP/1.1"])
def test_where_nobody_answers_the_reason_is_said(way: Way, line: str) -> None:
    answer = say(way, line.format(NOBODY), body=b"x" * 500_000)
    assert status(answer) == "502 127.0.0.1: Connection refused"
    assert answer.endswith(b"\r\n\r\n" if line.startswith("HEAD") else b"\r\n\r\n127.0.0.1: Connection refused\n")
    unknown = status(say(way, line.format("registry.invalid:5000")))
    assert unknown.startswith("502 registry.invalid: ")
    assert "known" in unknown or "resolution" in unknown or "No address" in unknown
    assert status(say(way, line.format("a..b"))) == "502 a..b: not the name of a host"


def test_a_server_that_takes_too_long_to_connect(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth.proxy, "_CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        address = full.getsockname()
        for _ in range(3):  # as many as wait to be accepted; the system lets the next ones wait
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        assert status(say(way, f"CONNECT {address[0]}:{address[1]} HTTP/1.1")) == "502 127.0.0.1: timed out"


# --- the user's own proxies -------------------------------------------------------------------------------------


def through(monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str = "") -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("NO_PROXY", no_proxy)


USER, SECRET = "some%40one", "p%C3%A4ss%3A%2Fword"
LOGIN = f"{unquote(USER)}:{unquote(SECRET)}"


def test_the_user_s_own_proxy_is_gone_through_with_its_login(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        registry() as lab,
        forward_proxy({"old.example:5000": lab.host, "images.example:443": lab.host}, basic(LOGIN)) as proxy,
    ):
        through(monkeypatch, proxy.url.replace("//", f"//{USER}:{SECRET}@"))
        assert b"\r\n\r\n{}" in say(way, "GET http://old.example:5000/v2/ HTTP/1.1")
        with closing(tunnel(way, "images.example:443")) as connection:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert rest_of(connection).endswith(b"\r\n\r\n{}")
        assert proxy.asked == ["GET old.example:5000", "CONNECT images.example:443"]


@pytest.mark.parametrize("line", ["CONNECT old.example:5000 HTTP/1.1", "GET http://old.example:5000/ HTTP/1.1"])
def test_a_refusal_of_the_user_s_own_proxy_is_passed_on(
    way: Way, line: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with forward_proxy({}, basic(LOGIN)) as proxy:
        through(monkeypatch, proxy.url.replace("//", f"//{USER}:other@"))
        assert status(say(way, line)) == "407 Proxy Authentication Required"
        through(monkeypatch, proxy.url.replace("//", f"//{USER}:{SECRET}@"))
        assert status(say(way, line)) == "502 Bad Gateway"
    through(monkeypatch, f"http://{USER}:{SECRET}@{NOBODY}")
    answer = say(way, line)
    assert status(answer) == f"502 old.example: proxy {NOBODY}: Connection refused"
    for secret in (SECRET, unquote(SECRET), basic(LOGIN).removeprefix("Basic ")):
        assert secret not in caplog.text + answer.decode()


def test_a_proxy_that_is_reached_by_tls(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = self_signed(tmp_path, "proxy")
    with (
        registry() as lab,
        forward_proxy({"old.example:5000": lab.host}) as proxy,
        slow_link(urlsplit(proxy.url).netloc, tls=Tls(certificate, certificate.with_suffix(".key"))) as secure,
    ):
        through(monkeypatch, f"https://{secure.host}")
        refused = status(say(way, "CONNECT old.example:5000 HTTP/1.1"))
        assert refused == f"502 old.example: proxy {secure.host}: TLS: self-signed certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with limited(FAST) as trusting:
            assert b"\r\n\r\n{}" in say(trusting, "GET http://old.example:5000/v2/ HTTP/1.1")
            with closing(tunnel(trusting, "old.example:5000")) as connection:
                connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert rest_of(connection).endswith(b"\r\n\r\n{}")
        assert len(proxy.asked) == 2


def test_hosts_that_no_proxy_names_are_reached_without(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    through(monkeypatch, f"http://{NOBODY}", no_proxy=".invalid,192.0.2.0/24")
    assert status(say(way, "CONNECT registry.invalid:443 HTTP/1.1")).startswith("502 registry.invalid: ")
    assert "proxy" not in status(say(way, "CONNECT registry.invalid:443 HTTP/1.1"))
    assert "proxy" in status(say(way, "CONNECT registry.example:443 HTTP/1.1"))
    with server(counting) as host, closing(tunnel(way, host)) as connection:  # as Go has it, loopback never
        connection.shutdown(socket.SHUT_WR)
        assert rest_of(connection) == b"0"


@pytest.mark.parametrize("url", ["socks5://u:Pa55@p.example", "http://u:Pa55/word@p.example", "http://:Pa55@"])
def test_a_proxy_s_address_that_is_none_is_said_without_its_password(
    way: Way, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    through(monkeypatch, url)
    answer = say(way, "CONNECT registry.example:443 HTTP/1.1")
    assert status(answer).startswith("502 registry.example: the proxy in the environment (HTTP_PROXY, ")
    assert "Pa55" not in answer.decode() + caplog.text


# --- ends -------------------------------------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_server_that_breaks_off_is_seen_to(way: Way) -> None:
    def breaking(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")
        reset(connection)

    with server(breaking) as host:
        with closing(tunnel(way, host)) as connection, pytest.raises(ConnectionResetError):
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            rest_of(connection)
        with pytest.raises(ConnectionResetError):
            say(way, f"GET http://{host}/ HTTP/1.1")


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_a_client_that_goes_away_ends_its_transfer(way: Way, leave: Callable[[socket.socket], None]) -> None:
    ended = threading.Event()

    def endless(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"x" * 65_536)
        except OSError:
            ended.set()

    with server(endless) as host:
        connection = tunnel(way, host)
        connection.recv(1)
        leave(connection)
        assert ended.wait(30)


def test_leaving_it_cuts_off_what_still_passes() -> None:
    ended = threading.Event()

    def endless(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"x" * 65_536)
        except OSError:
            ended.set()

    before = set(threading.enumerate())
    with server(endless) as host, ExitStack() as stack:
        with limited(SLOW) as way:
            connections = [stack.enter_context(closing(tunnel(way, host))) for _ in range(5)]
            connections[0].recv(1)
        assert "bandwidth" not in {thread.name for thread in set(threading.enumerate()) - before}
        for connection in connections:
            with pytest.raises(ConnectionResetError):
                rest_of(connection)
        assert ended.wait(30)
        with pytest.raises(ConnectionRefusedError):
            connect(way)


def test_leaving_it_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a proxy that says nothing where TLS should begin."""
    with server(counting) as mute, limited(FAST) as way:
        through(monkeypatch, f"https://{mute}")
        connection = connect(way)
        request = f"CONNECT registry.example:443 HTTP/1.1\r\nProxy-Authorization: {login_of(way)}\r\n\r\n"
        connection.sendall(request.encode())
        time.sleep(0.2)
    with closing(connection), pytest.raises(ConnectionResetError):
        rest_of(connection)


def test_a_client_that_says_nothing_is_not_waited_for(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth.proxy, "_HEAD_SECONDS", 0.1)
    with closing(connect(way)) as connection, pytest.raises(ConnectionResetError):
        rest_of(connection)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_an_idle_connection_stays_and_one_that_has_half_ended_does_not(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bandwidth.proxy, "_SILENT_SECONDS", 0.1)
    over = threading.Event()

    def echo_then_nothing(connection: socket.socket) -> None:
        connection.sendall(connection.recv(10))
        over.wait(60)

    with server(echo_then_nothing) as host, closing(tunnel(way, host)) as connection:
        time.sleep(0.5)
        connection.sendall(b"there?")
        assert connection.recv(10) == b"there?"
        connection.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            rest_of(connection)
        over.set()


def test_no_file_stays_open() -> None:
    def handle(connection: socket.socket) -> None:
        if head_of(connection).startswith(b"BREAK"):
            reset(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")

    before = open_files()
    with server(handle) as host:
        with limited(FAST) as way:
            say(way, f"GET http://{host}/ HTTP/1.1")
            serving = open_files()
            for _ in range(10):
                say(way, f"GET http://{host}/ HTTP/1.1")
                say(way, f"CONNECT {NOBODY} HTTP/1.1")
                say(way, "")
                with suppress(ConnectionResetError):
                    say(way, f"BREAK http://{host}/ HTTP/1.1")
                tunnel(way, host).close()
                reset(tunnel(way, host))
                connect(way).close()
                reset(connect(way))
            wait_until(lambda: open_files() <= serving, "a connection stays open")
            left = [tunnel(way, host), connect(way)]
        for connection in left:
            connection.close()
    wait_until(lambda: open_files() <= before, "something stays open")


def test_a_client_waits_while_no_more_files_can_be_opened(
    way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bandwidth.proxy, "_ACCEPT_SECONDS", 0.05)
    parts = urlsplit(way.url)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as connection:
        connection.settimeout(30)
        with socket.socket() as next_file:
            lowest_free = next_file.fileno()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            connection.connect((parts.hostname or "", parts.port or 0))
            wait_until(lambda: "for a while: Too many open files" in caplog.text, "it was accepted")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        connection.sendall(b"CONNECT registry.example:443 HTTP/1.1\r\n\r\n")
        assert status(head_of(connection)).startswith("407 ")


def test_the_limit_of_open_files_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with limited(FAST):
            found, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            assert found == (16_384 if hard == resource.RLIM_INFINITY else min(16_384, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- skopeo -----------------------------------------------------------------------------------------------------


def image(name: str, size: int) -> Image:
    return make_image([make_layer(name, size)])


def skopeo_copy(way: Way, source: str, target: str, verify: str = "false") -> None:
    argv = ["skopeo", "--insecure-policy", "copy", "-q", f"--src-tls-verify={verify}", f"--dest-tls-verify={verify}"]
    argv += [f"docker://{source}", f"docker://{target}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=way.environment(os.environ))
    assert done.returncode == 0, done.stderr


@contextmanager
def two_registries(address: str, folder: Path, tls: Tls | None = None) -> Iterator[tuple[LabRegistry, LabRegistry]]:
    with (
        registry(address=address, tls=tls, folder=folder / "source") as source,
        registry(address=address, tls=tls, folder=folder / "target") as target,
    ):
        yield source, target


@pytest.mark.parametrize("secure", [False, True])
def test_skopeo_copies_through_it(
    own_address: str, tmp_path: Path, secure: bool, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, _ = self_signed(tmp_path, "registry")
    tls = Tls(certificate, certificate.with_suffix(".key")) if secure else None
    size = 3_000_000
    with two_registries(own_address, tmp_path, tls) as (source, target), LabClient(source) as client:
        client.push("a/b", image("one", size), "1")
        with limited(SLOW) as way:
            started = time.monotonic()
            skopeo_copy(way, f"{source.host}/a/b:1", f"{target.host}/c/d:1")
            assert time.monotonic() - started >= MOSTLY * size / SLOW
        for host in (source.host, target.host):
            assert f"{'CONNECT' if secure else 'GET'} {host}" in caplog.text
        with LabClient(target) as there:
            assert missing_from(there, "c/d", "1") == []


def test_several_runs_of_skopeo_share_one_cap(own_address: str, tmp_path: Path) -> None:
    size = 900_000
    with two_registries(own_address, tmp_path) as (source, target), LabClient(source) as client:
        for number in range(3):
            client.push(f"a/{number}", image(str(number), size), "1")
        with limited(SLOW) as way, ThreadPoolExecutor(3) as pool:
            started = time.monotonic()
            names = [(f"{source.host}/a/{number}:1", f"{target.host}/a/{number}:1") for number in range(3)]
            list(pool.map(lambda both: skopeo_copy(way, *both), names))
            assert time.monotonic() - started >= MOSTLY * 3 * size / SLOW


def test_skopeo_says_why_nobody_answers(own_address: str, way: Way) -> None:
    with pytest.raises(AssertionError, match=rf"{own_address}: Connection refused"):
        skopeo_copy(way, f"{own_address}:9/a/b:1", f"{own_address}:9/c/d:1", verify="true")


@given(st.integers(1, 10**10), st.integers(1, 64))
def test_what_crosses_before_it_may_pass_is_seconds_of_the_rate_at_most(rate: int, connections: int) -> None:
    """The system doubles what it is told. Measured on a link of its own: benchmarks/cap.py."""
    ahead = 2 * connections * read_ahead(rate)
    assert ahead <= max(4 * rate, connections * 32 * 1024)
    assert read_ahead(rate) >= 16 * 1024
