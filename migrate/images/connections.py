"""HTTP connections of one registry: certificate authorities, proxies, redirects, and an end to answers that drip.

The only module that knows urllib3 (2.x). Connections are kept alive and shared by all threads.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.client import BadStatusLine
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    HTTPError,
    InsecureRequestWarning,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ProxySchemeUnknown,
    SSLError,
)
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

from migrate.bandwidth.refused import MARK
from migrate.errors import UsageError
from migrate.images.failures import Failure, FailureClass
from migrate.images.watched import TOO_SLOW, Watched
from migrate.printable import printable
from migrate.proxies import proxy_url

HEADERS = {"User-Agent": "rahti-migrate", "Accept": "*/*", "Accept-Encoding": "identity"}
"""What every request says, where it says nothing else."""
Body = bytes | Iterable[bytes] | None
CHUNK = 256 * 1024
"""Bytes of a body that are read and passed on at a time."""

_KEPT = 256
"""Connections to one address that are kept for the next request; more are made where more are needed at a time."""
_MOST_REDIRECTS = 10
_ERRNO = re.compile(r"\[Errno -?[0-9]+\] ")
"""What Python puts before the system's words."""
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_SHALLOW = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)]
"""Before a proxy that holds bytes back: what waits in megabytes of buffers is not sent yet, and the answer is late."""


class UnansweredError(Exception):
    """No answer came, or not all of it; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Answer:
    """An answer whose head has come.

    Attributes:
        status: the HTTP status.
        reason: its words.
        headers: by name, whatever its case; several of one name are joined by commas.
        url: what answered, after redirects.
        content: the body, once it was read.
    """

    def __init__(self, url: str, raw: urllib3.BaseHTTPResponse) -> None:
        self.url = url
        self.status = raw.status
        self.reason = raw.reason or ""
        self.headers: Mapping[str, str] = raw.headers
        self.content = b""
        self.is_read = False
        self._raw = raw
        self._raw_ended = False

    @property
    def is_redirect(self) -> bool:
        """Whether it says where else to ask."""
        return self.status in _REDIRECTS and "Location" in self.headers

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, at most CHUNK bytes at a time.

        Raises:
            UnansweredError: it breaks off.
        """
        with _failing():
            while chunk := self._raw.read(CHUNK):
                yield chunk
        self._raw.release_conn()
        self._raw_ended = True

    def close(self) -> None:
        """Give the connection back; one with bytes of the body still to come is closed."""
        if not self._raw_ended:
            self._raw.close()


class Connections:
    """Connections to one registry and to where it sends us. Safe to use from many threads.

    Args:
        timeout: seconds without an answer or without a byte.
        patience: seconds of waiting that an answer may cost before it must have come faster than 1 KiB/s.
        ca_file: certificate authorities besides the system's, PEM.
        insecure: believe any certificate.
        way: the address of a proxy for everything, whatever the environment names; empty for none.

    Raises:
        UsageError: the file cannot be used.
    """

    def __init__(
        self, timeout: float, patience: float, ca_file: Path | None = None, *, insecure: bool = False, way: str = ""
    ) -> None:
        self._timeout = _waiting(timeout)
        self._through = way
        self._tls = _tls(ca_file, insecure)
        self._pools = _pools(patience)
        self._ways: dict[tuple[str, str], Callable[..., urllib3.BaseHTTPResponse]] = {}
        self._managers: list[urllib3.PoolManager] = []

    def check_way(self, url: str) -> None:
        """Look how a host is reached; asks nothing.

        Raises:
            UsageError: a proxy's address in the environment is none.
        """
        scheme, _, rest = url.partition("://")
        self._way(scheme, rest.partition("/")[0])

    def close(self) -> None:
        """Close what is kept."""
        for manager in self._managers:
            manager.clear()

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        timeout: float | None = None,
        *,
        follow: bool = False,
    ) -> Answer:
        """Send one request; the body of its answer is not read yet.

        Args:
            method: GET, HEAD, POST, PUT, DELETE.
            url: absolute.
            headers: of the request; Authorization does not follow a redirect to another host.
            body: bytes, or what gives them (`Content-Length` then belongs into the headers).
            timeout: seconds without an answer, where another one is wanted.
            follow: whether redirects are followed.

        Raises:
            UnansweredError: no answer; INVALID where an address or a header is none.
            UsageError: a proxy's address in the environment is none.
            Whatever `body` raises.
        """
        waiting = _waiting(timeout) if timeout else self._timeout
        for _ in range(_MOST_REDIRECTS):
            with _failing():
                answer = Answer(url, self._send(method, url, headers, body, waiting))
            if self._through and MARK in answer.headers:
                answer.close()
                raise UnansweredError(Failure(FailureClass.NETWORK, printable(answer.reason)))
            if not (follow and answer.is_redirect):
                return answer
            answer.close()
            before, url = url, _joined(url, answer.headers["Location"])
            if _origin(url) != _origin(before):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
        raise UnansweredError(Failure(FailureClass.INVALID, "it redirects without end"))

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, waiting: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0]
        way = self._ways.get((scheme, host)) or self._way(scheme, host)
        return way(
            method,
            url,
            body=body,
            headers=headers,
            timeout=waiting,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _way(self, scheme: str, host: str) -> Callable[..., urllib3.BaseHTTPResponse]:
        """How requests get to a host: straight to its connections, or through a proxy."""
        name = urlsplit(f"{scheme}://{host}").hostname or ""
        proxy = proxy_url(scheme, name)
        _check_proxy(proxy)
        proxy = self._through or proxy
        manager = self._manager(proxy)
        if proxy:
            self._ways[scheme, host] = manager.urlopen
            return manager.urlopen
        pool, prefix = manager.connection_from_url(f"{scheme}://{host}"), len(f"{scheme}://{host}")

        def straight(method: str, url: str, **more: Any) -> urllib3.BaseHTTPResponse:
            return pool.urlopen(method, url[prefix:] or "/", assert_same_host=False, **more)

        self._ways[scheme, host] = straight
        return straight

    def _manager(self, proxy: str) -> urllib3.PoolManager:
        settings: dict[str, Any] = {"num_pools": 100, "maxsize": _KEPT, "ssl_context": self._tls}
        if proxy and proxy == self._through:
            settings["socket_options"] = _SHALLOW
        manager: urllib3.PoolManager = (
            urllib3.ProxyManager(proxy, proxy_headers=_proxy_login(proxy), **settings)
            if proxy
            else urllib3.PoolManager(**settings)
        )
        manager.pool_classes_by_scheme = self._pools
        self._managers.append(manager)
        return manager


def _check_proxy(proxy: str) -> None:
    """Look whether a proxy of the environment can be used.

    Raises:
        UsageError: it cannot.
    """
    if proxy.startswith("socks"):
        words = "a SOCKS proxy in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not supported"
        raise UsageError(words, "name an HTTP proxy, or the host in NO_PROXY")
    if not proxy:
        return
    try:
        urllib3.ProxyManager(proxy)
    except (ProxySchemeUnknown, ValueError):  # whose words may show the password
        words = "a proxy's address in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is none"
        way_out = "write http://host:port; percent-encode what is special in its password"
        raise UsageError(words, way_out) from None


def _waiting(timeout: float) -> urllib3.Timeout:
    return urllib3.Timeout(connect=min(timeout, 15.0), read=timeout)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def _joined(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        UnansweredError: nowhere.
    """
    try:
        found = urljoin(url, location)
        parts = urlsplit(found)
        good = parts.scheme in _PORTS and parts.hostname and (parts.scheme == "https" or url.startswith("http:"))
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise UnansweredError(Failure(FailureClass.INVALID, "it redirects to an address that is none, or not safe"))
    return found


def _proxy_login(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return dict(urllib3.make_headers(proxy_basic_auth=login))


@cache
def _tls(ca_file: Path | None, insecure: bool) -> ssl.SSLContext:
    """The system's certificate authorities, as skopeo has them, and the manifest's."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a PEM certificate"
            raise UsageError(f"{ca_file}: this caFile cannot be read: {reason}", "name a PEM file") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        urllib3.disable_warnings(InsecureRequestWarning)
    return context


def _pools(patience: float) -> dict[str, Any]:
    """urllib3's pools, with connections whose answers may not drip."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = Watched(self.sock, patience)

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = Watched(self.sock, patience)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


# --- failures ---------------------------------------------------------------------------------------------------


@contextmanager
def _failing() -> Iterator[None]:
    """urllib3's errors in our words.

    Raises:
        UnansweredError: for each of them.
    """
    try:
        yield
    except ValueError:  # of an address, or of a header, that is none
        raise UnansweredError(
            Failure(FailureClass.INVALID, "it answers with addresses or tokens that are none")
        ) from None
    except HTTPError as error:
        raise UnansweredError(_failure(error)) from None


def _failure(error: HTTPError) -> Failure:
    """Why a connection failed: TLS, time, or the network."""
    if isinstance(error, ProxyError) and isinstance(error.original_error, HTTPError):
        error = error.original_error
    cause = _cause(error)
    text = _ERRNO.sub("", printable(str(cause))) or type(cause).__name__
    if isinstance(error, Urllib3TimeoutError) and not isinstance(
        error, NewConnectionError
    ):  # which is one, for urllib3
        drips = TOO_SLOW in text
        return Failure(FailureClass.TIMEOUT, text if drips else "timed out")
    if isinstance(error, SSLError) or isinstance(cause, ssl.SSLError):
        plain = " (does it speak HTTP without TLS?)" if "WRONG_VERSION_NUMBER" in text else ""
        return Failure(FailureClass.TLS, f"{text}{plain}")
    if isinstance(cause, BadStatusLine) and not isinstance(cause, ConnectionResetError):
        return Failure(FailureClass.TLS, f"what came is not HTTP: {text} (does it speak TLS?)")
    return Failure(FailureClass.NETWORK, text)


def _cause(error: BaseException) -> BaseException:
    """The innermost reason: urllib3 wraps the system's and http.client's errors."""
    if isinstance(error, ProtocolError | SSLError) and len(error.args) and isinstance(error.args[-1], BaseException):
        return _cause(error.args[-1])
    return error.__cause__ if isinstance(error.__cause__, OSError) else error
