"""The proxies that the user's own environment names: they stay in force behind ours."""

import base64
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from migrate.bandwidth.refused import RefusedError
from migrate.proxies import proxy_url

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class UserProxy:
    """A proxy that the environment names; `login` as a request says it, empty for none."""

    host: str
    port: int
    is_tls: bool
    login: str = field(repr=False)


def user_proxy(scheme: str, host: str) -> UserProxy | None:
    """The proxy that a host is reached through; None for none.

    Raises:
        RefusedError: the environment names one that is none, or that is not spoken to.
    """
    url = proxy_url(scheme, host)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        if not parts.hostname:
            raise ValueError
    except (KeyError, ValueError):  # whose words may show the password
        reason = f"{host}: the proxy in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not an HTTP proxy"
        raise RefusedError(HTTPStatus.BAD_GATEWAY, reason) from None
    login = "" if parts.username is None else basic(unquote(parts.username), unquote(parts.password or ""))
    return UserProxy(parts.hostname, port, parts.scheme == "https", login)


def basic(user: str, password: str) -> str:
    """A login as HTTP's Basic scheme writes it."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()
