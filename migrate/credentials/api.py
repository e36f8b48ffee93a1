"""How the OpenShift API of one end is reached, and as whom: what the manifest says of it, or a kubeconfig context."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrate.credentials.kubeconfig import (
    NoServerError,
    kubeconfig_endpoint,
    kubeconfig_has_token,
)
from migrate.credentials.login import Login
from migrate.credentials.origins import login_of
from migrate.errors import LoginError
from migrate.manifest.model import Api
from migrate.manifest.model import Login as LoginEntry


@dataclass(frozen=True)
class ApiAccess:
    """An API server and a login to it.

    Attributes:
        origin: where this comes from, for messages.
        cluster: a kubeconfig's `cluster`: server, and what certificates are trusted; file names are absolute.
        user: a kubeconfig's client certificate and key, or name and password, where it has them.
        login: gives the token of now; None where the client certificate, or name and password, is the login.
    """

    origin: str
    cluster: Mapping[str, Any]
    user: Mapping[str, str] = field(default_factory=dict, repr=False)
    login: Login | None = None

    @property
    def server(self) -> str:
        """https://host:port."""
        return str(self.cluster["server"]).rstrip("/")

    def token(self, *, renew: bool = False) -> str:
        """The token of now, empty where there is none; with `renew` it is read again.

        Raises:
            LoginError: it cannot be had.
        """
        if self.login is None:
            return ""
        credential = self.login.credential()
        if renew and credential:
            credential = self.login.renewed(credential)
        return credential.secret if credential else ""


def api_of(entry: Api | None, login: LoginEntry | None, folder: Path) -> ApiAccess | None:
    """The API that a manifest names for one end; else that of the login's context; else None.

    Args:
        entry: the manifest's `api`.
        login: the manifest's `login`.
        folder: the manifest's folder; file names are relative to it.

    Raises:
        LoginError: what `api`, or the login's context, names is not there, or cannot be used. (A login's context that
            names no server is no API.)
    """
    if entry and entry.server:
        return _named(entry, login, folder)
    if entry and entry.kubeconfig_context:
        return _of_context(entry.kubeconfig_context)
    if login and login.kubeconfig_context:
        with suppress(NoServerError):
            return _of_context(login.kubeconfig_context)
    return None


def _of_context(context: str) -> ApiAccess:
    cluster, user = kubeconfig_endpoint(context)
    origin = f"kubeconfig context {context!r}"
    other = any(name in user for name in ("client-certificate", "client-certificate-data", "username"))
    if other and not kubeconfig_has_token(context):
        return ApiAccess(origin, cluster, user)
    return ApiAccess(origin, cluster, user, login=login_of(LoginEntry(kubeconfigContext=context), "", Path()))


def _named(entry: Api, login: LoginEntry | None, folder: Path) -> ApiAccess:
    cluster: dict[str, Any] = {"server": entry.server}
    if entry.ca_file:
        path = folder / Path(entry.ca_file).expanduser()
        if not path.is_file():
            raise LoginError(f"{path}: this caFile of the API {entry.server} is not there", "check the manifest")
        cluster["certificate-authority"] = str(path)
    if entry.insecure_skip_tls_verify:
        cluster["insecure-skip-tls-verify"] = True
    if entry.token_env or entry.token_file:
        login = LoginEntry(tokenEnv=entry.token_env, tokenFile=entry.token_file)
    if login and (login.kubeconfig_context or login.token_env or login.token_file or login.command):
        token = login_of(login, "", folder)  # that of the registry, too: OpenShift's two take the same
        return ApiAccess(token.origin, cluster, login=token)
    raise LoginError(f"no login for the API {entry.server} is named", "set `tokenEnv` or `tokenFile` beside `server`")
