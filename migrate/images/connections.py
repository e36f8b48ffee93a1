"""HTTP connections to one registry: certificate authorities, proxies, and an end to answers that drip.

httpx waits for each byte anew, so an answer that sends one now and then is never too slow for it. Here the whole of an
answer has a slowest pace, its head as well.
"""

import ssl
import time
from functools import cache
from pathlib import Path
from typing import Any

import httpcore
import httpx

from migrate.errors import UsageError
from migrate.proxies import goes_direct

_SLOWEST = 1024.0
"""Bytes a second below which an answer is given up, once its patience is used."""


def http_client(host: str, patience: float, ca_file: Path | None, *, insecure: bool, **settings: Any) -> httpx.Client:
    """A client for one registry.

    Args:
        host: without its port; proxies of the environment are used unless NO_PROXY names it.
        patience: seconds of waiting that an answer may cost before it must have come faster than 1 KiB/s.
        ca_file: certificate authorities besides the system's, PEM.
        insecure: believe any certificate.
        settings: of httpx.Client.

    Raises:
        UsageError: the file, or a proxy's address, cannot be used.
    """
    mounts = dict.fromkeys(_without_proxy(host), None)
    try:
        client = httpx.Client(verify=_tls(ca_file, insecure), mounts=mounts, **settings)
    except (httpx.InvalidURL, ValueError):  # its own message would show the password in the proxy's address
        words = "a proxy's address in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is none"
        raise UsageError(words, "write http://host:port; percent-encode what is special in its password") from None
    except ImportError:
        words = "a SOCKS proxy in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not supported"
        raise UsageError(words, "name an HTTP proxy, or the host in NO_PROXY") from None
    backend = _Backend(patience)
    for transport in (client._transport, *client._mounts.values()):  # httpx has no public way to say this (0.28)
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = backend
    return client


class _Backend(httpcore.NetworkBackend):
    """Connections whose answers may not drip."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._sockets.connect_tcp(*args, **kwargs), self._patience)

    def sleep(self, seconds: float) -> None:
        self._sockets.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """One connection: counts what an answer has cost in waiting since the request's last byte was sent."""

    def __init__(self, stream: httpcore.NetworkStream, patience: float) -> None:
        self._stream = stream
        self._patience = patience
        self._waited = self._received = 0.0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        started = time.monotonic()
        data = self._stream.read(max_bytes, timeout)
        self._waited += time.monotonic() - started
        self._received += len(data)
        if data and self._waited > self._patience + self._received / _SLOWEST:
            words = f"{self._received:.0f} bytes came in {self._waited:.0f} s, and that was not all"
            raise httpcore.ReadTimeout(words)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._waited = self._received = 0.0
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **kwargs), self._patience)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _without_proxy(host: str) -> list[str]:
    """Where the proxies of the environment do not hold, as patterns of httpx."""
    direct = ["all://localhost", "all://127.0.0.1", "all://[::1]"]
    return [*direct, f"all://[{host}]" if ":" in host else f"all://{host}"] if goes_direct(host) else direct


@cache
def _tls(ca_file: Path | None, insecure: bool) -> ssl.SSLContext:
    """The system's certificate authorities, as skopeo has them, and the manifest's."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a PEM certificate"
            raise UsageError(f"{ca_file}: this caFile cannot be read: {reason}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
