"""Heads of requests to a proxy, and of the answers to them (RFC 9112). Pure."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from migrate.bandwidth.refused import RefusedError
from migrate.bandwidth.upstream import UserProxy

_HOP_HEADERS = {"connection", "keep-alive", "proxy-connection", "proxy-authorization"}
_REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) (HTTP/1\.[01])")
_WHOLE_ADDRESS = re.compile(r"http://([^/?#]+)([/?][^#]*)?", re.IGNORECASE)
_HEADER = re.compile(r"[!-9;-~]+:[^\r\n\0]*")


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request or an answer: its first line, and the others."""

    first: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, head: bytes) -> "Head":
        """From what came before the empty line."""
        first, *lines = head.decode("latin-1").split("\r\n")
        return cls(first, tuple(lines))

    def value(self, name: str) -> str:
        """The first header of this name (in small letters); empty where there is none."""
        return next((line.partition(":")[2].strip() for line in self.lines if _name(line) == name), "")

    def rewritten(self, first: str, without: set[str], *more: str) -> bytes:
        """Another first line, less some headers (in small letters), with others."""
        kept = (line for line in self.lines if _name(line) not in without)
        return "\r\n".join((first, *kept, *more, "", "")).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants.

    Attributes:
        authority: host and port, as it has said them.
        path: with the query; empty for a tunnel.
    """

    method: str
    authority: str
    host: str
    port: int
    path: str
    version: str
    head: Head

    @property
    def is_tunnel(self) -> bool:
        """Whether it only wants to be connected, for TLS."""
        return not self.path

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.is_tunnel else "http"

    def onward(self, proxy: "UserProxy | None") -> bytes:
        """The head for whom comes next."""
        login = (f"Proxy-Authorization: Basic {proxy.login}",) if proxy and proxy.login else ()
        if self.is_tunnel:
            return self.head.rewritten(self.head.first, _HOP_HEADERS, *login)
        target = f"http://{self.authority}{self.path}" if proxy else self.path
        own = (f"Host: {self.authority}", "Connection: close")
        return self.head.rewritten(f"{self.method} {target} {self.version}", _HOP_HEADERS | {"host"}, *own, *login)


def _name(line: str) -> str:
    return line.partition(":")[0].lower()


def parse_request(head: Head) -> Request:
    """What the head of a request says.

    Raises:
        RefusedError: it is none, or none for a proxy.
    """
    line = _REQUEST_LINE.fullmatch(head.first)
    if not line or not all(_HEADER.fullmatch(header) for header in head.lines):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1")
    method, target, version = line.groups()
    if method == "CONNECT":
        authority, path, port = target, "", 443
    elif whole := _WHOLE_ADDRESS.fullmatch(target):
        authority, path, port = whole[1].rpartition("@")[2], whole[2] or "/", 80
        path = path if path.startswith("/") else f"/{path}"
    else:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not the address of something on a server")
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname or "", port if parts.port is None else parts.port
    except ValueError:
        host = ""
    if not host or parts.netloc != authority or "@" in authority:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not the address of a server")
    return Request(method, authority, host, port, path, version, head)


def closing(head: bytes) -> bytes:
    """The head of an answer after which the connection is closed."""
    answer = Head.of(head)
    return answer.rewritten(answer.first, _HOP_HEADERS, "Connection: close")
