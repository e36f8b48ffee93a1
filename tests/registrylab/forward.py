"""A forward proxy as companies have them: CONNECT for TLS, whole addresses for plain HTTP; it alone knows the hosts."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from registrylab.gateway import Request, ask, end_to_end

_CHUNK = 65_536


@dataclass
class ForwardProxy:
    """A running forward proxy.

    Attributes:
        url: for HTTP_PROXY and HTTPS_PROXY.
        hosts: what it knows: `name:port` as clients say it -> host:port on loopback.
        asked: `METHOD name:port`, oldest first.
        authorization: what it wants to see as Proxy-Authorization; empty where it lets all through.
    """

    url: str
    hosts: dict[str, str]
    asked: list[str] = field(default_factory=list)
    authorization: str = ""


@contextmanager
def forward_proxy(hosts: dict[str, str], authorization: str = "") -> Iterator[ForwardProxy]:
    """A forward proxy on a free loopback port; arguments as its attributes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    made = ForwardProxy(f"http://127.0.0.1:{server.server_port}", hosts, authorization=authorization)
    server.proxy = made  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _host(self, name: str) -> str:
        """Where a name leads; empty where nobody gets through, who has then been told."""
        proxy: ForwardProxy = self.server.proxy  # type: ignore[attr-defined]
        proxy.asked.append(f"{self.command} {name}")
        if proxy.authorization and self.headers.get("Proxy-Authorization") != proxy.authorization:
            self.send_error(407)
            return ""
        if name not in proxy.hosts:
            self.send_error(502)
        return proxy.hosts.get(name, "")

    def do_CONNECT(self) -> None:
        host, _, port = self._host(self.path).partition(":")
        if not host:
            return
        with socket.create_connection((host, int(port))) as far:
            self.send_response_only(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(far, self.connection), daemon=True)
            back.start()
            _pump(self.connection, far)
            back.join()
        self.close_connection = True

    def _forward(self) -> None:
        url = urlsplit(self.path)
        host = self._host(url.netloc)
        if not host:
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b"".join(self._chunks())
        headers = end_to_end(self.headers)
        path = f"{url.path}?{url.query}" if url.query else url.path
        answer = ask(host, Request(self.command, path, headers, body))
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _forward  # noqa: N815 - named by the base class

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().strip() or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: object) -> None:
        pass


def _pump(near: socket.socket, far: socket.socket) -> None:
    with suppress(OSError):
        while data := near.recv(_CHUNK):
            far.sendall(data)
    with suppress(OSError):
        far.shutdown(socket.SHUT_WR)
