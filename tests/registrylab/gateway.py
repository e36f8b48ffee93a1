"""An HTTP server before a registry that sees, changes, delays or breaks each exchange: what faults are made of.

Bodies are held whole: images of tests are small.
"""

import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from registrylab.registry import Tls

HOP_HEADERS = {"connection", "content-length", "keep-alive", "transfer-encoding"}
_MANIFEST, _BLOB, _UPLOAD = "/manifests/", "/blobs/sha256:", "/blobs/uploads/"


@dataclass(frozen=True)
class Request:
    """What a client asked; header names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def phase(self) -> str:
        """Where in a copy this belongs: ping, token, tags, manifest (put), blob, mount, upload, commit; or other."""
        path = self.path.partition("?")[0]
        if path in ("/v2/", "/v2"):
            return "ping"
        if path.startswith("/token"):
            return "token"
        if path.endswith("/tags/list") or path == "/v2/_catalog":
            return "tags"
        if _MANIFEST in path:
            return "manifest put" if self.method == "PUT" else "manifest"
        if "?mount=" in self.path or "&mount=" in self.path:
            return "mount"
        if _UPLOAD in path:
            return "commit" if self.method == "PUT" else "upload"
        return "blob" if _BLOB in path else "other"

    @property
    def repository(self) -> str:
        """The repository that is meant; empty where there is none."""
        path = self.path.partition("?")[0].removeprefix("/v2/")
        for mark in (_MANIFEST, "/blobs/", "/tags/list"):
            if mark in path:
                return path.partition(mark)[0]
        return ""


_BLANKS = b" " * 65_536
_MAX_BODY = 2**27
_GIVEN: set[int] = set()
"""Ports that a gateway of this process had: root's skopeo remembers which repository of a host:port has a blob, mounts
it from there, and reads nothing."""


@dataclass(frozen=True)
class Answer:
    """What goes back.

    Attributes:
        cut: only so many bytes of the body are sent, then the connection is reset.
        pause: seconds before each `chunk` bytes of the body; 0 sends it at once.
        endless: the body goes on with blanks, until the client goes away.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    cut: int | None = None
    pause: float = 0.0
    chunk: int = 1024
    endless: bool = False

    def header(self, name: str) -> str:
        """The first header of a name; empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def with_headers(self, **headers: str) -> "Answer":
        """The same with some headers set; `_` in names stands for `-`."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = [(k, v) for k, v in self.headers if k.lower() not in {name.lower() for name in names}]
        return replace(self, headers=(*kept, *names.items()))


class Reset(Exception):  # noqa: N818 - not an error, a wish
    """The handler wants the connection reset, without a word."""


Forward = Callable[[Request], Answer]
Handle = Callable[[Request, Forward], Answer]


def pass_on(request: Request, forward: Forward) -> Answer:
    """A handler that changes nothing."""
    return forward(request)


def end_to_end(headers: Message) -> dict[str, str]:
    """A request's headers for the next server; one that came several times (skopeo's Accept) as one list."""
    names = {name.lower() for name in headers} - HOP_HEADERS
    return {name: ", ".join(headers.get_all(name, [])) for name in sorted(names)}


def ask(host: str, request: Request) -> Answer:
    """Send a request on to a plain HTTP server (host:port), and take its answer whole."""
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request(request.method, request.path, request.body, request.headers)
        answer = connection.getresponse()
        body = answer.read()
        dropped = HOP_HEADERS - {"content-length"} if request.method == "HEAD" else HOP_HEADERS
        kept = tuple((k, v) for k, v in answer.getheaders() if k.lower() not in dropped)
        return Answer(answer.status, kept, body)
    finally:
        connection.close()


@dataclass
class Gateway:
    """A running gateway.

    `host` is where to connect, `handle` may be changed, `seen` are all requests, oldest first, `errors` the handler's.
    """

    host: str
    upstream: str
    handle: Handle
    seen: list[Request] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    most_at_once: int = 0
    _server: "_Server | None" = None
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Answer:
        """Let the handler answer."""
        with self._lock:
            self.seen.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self.handle(request, self.forward)
        finally:
            with self._lock:
                self._at_once -= 1

    def forward(self, request: Request) -> Answer:
        """Ask the registry behind."""
        return ask(self.upstream, request)

    def refuse(self) -> None:
        """From now on nobody listens: new connections are refused, those that are open are closed."""
        if self._server:
            self._server.close_all()

    def asked(self, phase: str, method: str = "") -> list[Request]:
        """The requests of a phase."""
        return [r for r in list(self.seen) if r.phase == phase and method in ("", r.method)]


def _server() -> "_Server":
    """On a port that no gateway of this process had before."""
    while True:
        server = _Server(("127.0.0.1", 0), _Handler)
        if server.server_port not in _GIVEN:
            _GIVEN.add(server.server_port)
            return server
        server.server_close()


@contextmanager
def gateway(upstream: str, handle: Handle = pass_on, tls: Tls | None = None) -> Iterator[Gateway]:
    """A gateway on a free loopback port before the registry at `upstream` (host:port, plain HTTP).

    What a handler raised by mistake is raised again at the end.
    """
    server = _server()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made = Gateway(f"127.0.0.1:{server.server_port}", upstream, handle, _server=server)
    server.gateway = made
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.close_all()
        thread.join(5)
    if made.errors:
        raise made.errors[0]


class _Server(ThreadingHTTPServer):
    gateway: Gateway
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._open: set[socket.socket] = set()
        self._closed = threading.Event()

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        threading.Thread(target=self.shutdown, daemon=True).start()
        self.socket.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Clients that go away in the middle are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _exchange(self) -> None:
        headers = end_to_end(self.headers)
        try:
            answer = self.server.gateway.answer(Request(self.command, self.path, headers, self._body()))
            self._send(answer)
        except (Reset, OSError, http.client.HTTPException):
            self._reset()
        except Exception as error:
            self.server.gateway.errors.append(error)
            self._reset()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _exchange  # noqa: N815 - named by the base class

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(self._bearable(int(self.headers.get("Content-Length") or 0)))
        parts, whole = [], 0
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            whole = self._bearable(whole + size)
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    @staticmethod
    def _bearable(size: int) -> int:
        """Bodies are held in memory: what is larger is taken for one that never ends."""
        if size > _MAX_BODY:
            raise Reset
        return size

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command != "HEAD" and not answer.header("Content-Length"):
            self.send_header("Content-Length", str(len(answer.body)))
        elif self.command == "HEAD" and not answer.header("Content-Length"):
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.command == "HEAD":
            return
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        step = answer.chunk if answer.pause else max(len(body), 1)
        for start in range(0, len(body), step):
            time.sleep(answer.pause)
            self.wfile.write(body[start : start + step])
        while answer.endless:
            self.wfile.write(_BLANKS)
        if answer.cut is not None:
            raise Reset

    def _reset(self) -> None:
        """End the connection by RST, not politely."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass
