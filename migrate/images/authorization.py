"""The Authorization header for each request to one registry: Basic, or Bearer tokens fetched and kept.

As docker/distribution documents it ("Token Authentication", "OAuth2 Token Authentication").
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from migrate.credentials import Credential, Login
from migrate.images.challenges import Challenge, best_challenge
from migrate.images.connections import HEADERS, Answer, Body, Connections, UnansweredError
from migrate.images.failures import Failure, FailureClass
from migrate.images.responses import RegistryError, failure_of, read_response

_MAX_TOKEN_BYTES = 2**20
_DEFAULT_TOKEN_SECONDS = 60.0
_CLIENT_ID = "rahti-migrate"
_REFUSALS = (400, 401, 403)
_OPENSHIFT_TOKENS = "/openshift/token"

Scopes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    expires: float


class Authorization:
    """What a registry wants of a login, and the tokens that it was given. Safe to use from many threads.

    Args:
        base: scheme and host of the registry.
        login: who asks.
        http: asks for tokens.
        refuses: whether the registry refuses the login of a repository itself, and not only what is asked with it.
    """

    def __init__(self, base: str, login: Login, http: Connections, refuses: Callable[[str], bool]) -> None:
        self._base = base
        self._login = login
        self._http = http
        self._refuses = refuses
        self._challenge: Challenge | None = None
        self._tokens: dict[Scopes, _Token] = {}
        self._token_locks: dict[Scopes, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def is_openshift(self) -> bool:
        """Whether the registry is OpenShift's, as far as it was asked: its token endpoint has a path of its own."""
        realm = self._challenge.fields.get("realm", "") if self._challenge else ""
        return urlsplit(realm).path == _OPENSHIFT_TOKENS

    def learn(self, response: Answer) -> None:
        """Remember how this registry wants to be asked.

        What an object store behind it wants is another thing; so is what OpenShift says of a login that was refused.
        """
        challenge = best_challenge(response.headers.get("WWW-Authenticate", ""))
        if challenge is None or urlsplit(response.url).hostname != urlsplit(self._base).hostname:
            return
        with self._lock:
            if self._challenge is None or "error" not in challenge.fields:
                self._challenge = challenge

    def header(self, what: str, scopes: Scopes, stale: str | None) -> str:
        """The Authorization header for these scopes, empty for none; a newer one than `stale`, which was refused.

        Raises:
            RegistryError: no token comes, or the registry wants a scheme that is not spoken here.
            LoginError: the login cannot be had.
        """
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.scheme == "bearer":
            return self._bearer(what, challenge, scopes, stale)
        if challenge.scheme == "basic":
            return self._basic(what, repository_of(scopes), stale)
        words = f"it wants a login by {challenge.scheme.capitalize()}, which this tool does not speak"
        raise RegistryError(what, Failure(FailureClass.INVALID, words))

    def class_of_refusal(self, repository: str) -> FailureClass:
        """What a 401 for something in a repository means: a missing or refused login, or a missing right."""
        if self._login.credential(repository) is None or self._refuses(repository):
            return FailureClass.LOGIN
        return FailureClass.DENIED

    def _basic(self, what: str, repository: str, stale: str | None) -> str:
        credential = self._login.credential(repository)
        if credential and f"Basic {credential.basic}" == stale:
            credential = self._login.renewed(credential, repository)
        if credential and credential.identity_token and not credential.secret:
            words = "it wants a password (Basic), and the login is an identity token, which only Bearer takes"
            raise RegistryError(what, Failure(FailureClass.LOGIN, words))
        return f"Basic {credential.basic}" if credential else ""

    def _bearer(self, what: str, challenge: Challenge, scopes: Scopes, stale: str | None) -> str:
        with self._lock:
            lock = self._token_locks.setdefault(scopes, threading.Lock())
        with lock:
            known = self._tokens.get(scopes)
            if known is None or known.header == stale or known.expires < time.monotonic():
                known = self._tokens[scopes] = self._fetch_token(what, challenge, scopes)
            return known.header

    def _fetch_token(self, what: str, challenge: Challenge, scopes: Scopes) -> _Token:
        repository = repository_of(scopes)
        credential = self._login.credential(repository)
        response = self._ask_token(what, challenge, scopes, credential)
        if response.status in _REFUSALS:  # once more: with a newer login where there is one, else it may pass
            newer = self._login.renewed(credential, repository) if credential else None
            response = self._ask_token(what, challenge, scopes, newer)
        if response.status != 200:
            identity = credential is not None and bool(credential.identity_token)
            kind = self._class_of_token_failure(response.status, scopes, identity=identity)
            raise RegistryError(what, _of_token_server(challenge, failure_of(response, kind)))
        return _token(what, response)

    def _ask_token(self, what: str, challenge: Challenge, scopes: Scopes, credential: Credential | None) -> Answer:
        realm = challenge.fields.get("realm", "")
        if not realm.startswith(("https://", "http://")) or (
            self._base.startswith("https:") and not realm.startswith("https:")
        ):
            raise RegistryError(what, Failure(FailureClass.INVALID, "it names no safe place to get a token from"))
        method, url, headers, body = _token_request(realm, challenge.fields.get("service", ""), scopes, credential)
        try:
            return read_response(self._http.open(method, url, headers, body), what, _MAX_TOKEN_BYTES)
        except UnansweredError as error:
            raise RegistryError(what, _of_token_server(challenge, error.failure)) from None

    def _class_of_token_failure(self, status: int, scopes: Scopes, *, identity: bool) -> FailureClass | None:
        """Why no token came: 401 may be the login or what is asked; a dead refresh token is 400 (RFC 6749, 5.2)."""
        if identity and status in (400, 404, 405):
            return FailureClass.LOGIN
        if status == 401:
            return self.class_of_refusal(repository_of(scopes)) if _asked(scopes) else FailureClass.LOGIN
        return FailureClass.INVALID if status == 404 else None


def _token_request(
    realm: str, service: str, scopes: Scopes, credential: Credential | None
) -> tuple[str, str, dict[str, str], Body]:
    """Method, address, headers and body: a GET with the password or without a login; with an identity token a POST,
    as OAuth2 has it.
    """
    wanted = {"scope": _asked(scopes), "service": [service] if service else []}
    wanted = {name: values for name, values in wanted.items() if values}
    if credential and credential.identity_token:
        grant = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        form = {**grant, "client_id": _CLIENT_ID, **{name: " ".join(values) for name, values in wanted.items()}}
        return "POST", realm, {**HEADERS, "Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode()
    headers = {"Authorization": f"Basic {credential.basic}"} if credential else {}
    return "GET", _with_query(realm, wanted), {**HEADERS, **headers}, None


def _with_query(url: str, wanted: Mapping[str, list[str]]) -> str:
    """An address with these parameters, besides those that it has."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in wanted]
    return urlunsplit(parts._replace(query=urlencode([*kept, *((n, v) for n, vs in wanted.items() for v in vs)])))


def _of_token_server(challenge: Challenge, failure: Failure) -> Failure:
    host = urlsplit(challenge.fields.get("realm", "")).netloc
    return replace(failure, words=f"its token server {host}: {failure.words}")


def repository_of(scopes: Scopes) -> str:
    """Whose login is to be used: that of the first repository; empty for the registry's own."""
    kind, _, rest = scopes[0].partition(":") if scopes else ("", "", "")
    return rest.rpartition(":")[0] if kind == "repository" else ""


def _asked(scopes: Scopes) -> list[str]:
    """The scopes that a token is asked for; one without actions only names whose login to use."""
    return [scope for scope in scopes if not scope.endswith(":")]


def _token(what: str, response: Answer) -> _Token:
    try:
        document = json.loads(response.content)
        token = str(document.get("token") or document["access_token"])
        seconds = float(document.get("expires_in") or _DEFAULT_TOKEN_SECONDS)
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError):
        raise RegistryError(what, Failure(FailureClass.INVALID, "what came instead of a token is none")) from None
    return _Token(f"Bearer {token}", time.monotonic() + seconds * 0.9)
