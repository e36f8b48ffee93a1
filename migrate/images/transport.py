"""Requests to one registry: TLS, logins, tokens, retries of questions, and failures in words. Knows no verbs.

Tokens as docker/distribution documents them ("Token Authentication"). Every failure is a RegistryError with a class
and words. Questions, which change nothing, are repeated a few times; what to do after a failed write is the caller's
business.
"""

import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx
import stamina

from migrate.credentials import Credential, Login
from migrate.errors import UsageError
from migrate.images.challenges import Challenge, best_challenge
from migrate.images.failures import Failure, FailureClass, class_of_status, printable
from migrate.images.pace import LONGEST_WAIT, Lane, Pace, PausedError
from migrate.reference import DOCKER_HUB

log = logging.getLogger(__name__)
stamina.instrumentation.set_on_retry_hooks([])

_MAX_ANSWER_BYTES = 32 * 2**20
_MAX_TOKEN_BYTES = 2**20
_ATTEMPTS = 4
_WHOLE_ANSWER = 5
"""An answer may take this many times the timeout from its first byte to its last: one that drips never ends."""
_LOGIN_TRIES = 3
"""Without a login, with one, and with another where the first answer's challenge was not the true one."""
_BUSY = (429, 502, 503, 504)
_LONGEST_RETRY_AFTER = 600.0
"""A registry that asks for more is asked again all the same: nobody waits for a day on its word."""
_PING = "/v2/"
_PING_ATTEMPTS = 2
_PING_SECONDS = 15.0
_DEFAULT_TOKEN_SECONDS = 60.0
_CLIENT_ID = "rahti-migrate"
_ERROR_WORDS, _OAUTH_WORDS = ("code", "message", "detail"), ("error", "error_description")
_REPOSITORY_PATH = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags)/")

Scopes = tuple[str, ...]
T = TypeVar("T")


class RegistryError(Exception):
    """The registry did not do what was asked; `failure` says why, `what` names the object."""

    def __init__(self, what: str, failure: Failure) -> None:
        super().__init__(f"{what}: {failure}")
        self.what = what
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Connection:
    """How a registry is reached."""

    host: str
    plain_http: bool = False
    ca_file: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    expires: float


class Transport:
    """Connections and a login to one registry. Safe to use from many threads.

    Args:
        connection: where it is.
        login: who asks.
        pace: how much at a time it is asked.
        timeout: seconds without an answer or without a byte.
    """

    def __init__(self, connection: Connection, login: Login, pace: Pace, timeout: float) -> None:
        self.login = login
        self.host = connection.host
        self.pace = pace
        self._whole_answer = timeout * _WHOLE_ANSWER
        host = "registry-1.docker.io" if connection.host == DOCKER_HUB else connection.host
        self.base = f"{'http' if connection.plain_http else 'https'}://{host}"
        self._http = httpx.Client(
            verify=_tls(connection.ca_file, connection.insecure),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 15.0)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            headers={"User-Agent": "rahti-migrate", "Accept-Encoding": "identity"},
            mounts=dict.fromkeys(_without_proxy(urlsplit(self.base).hostname or ""), None),
        )
        self._challenge: Challenge | None = None
        self._tokens: dict[Scopes, _Token] = {}
        self._token_locks: dict[Scopes, threading.Lock] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def ping(self, repository: str = "") -> None:
        """Ask whether this is a registry and whether it takes the login (that of a repository, where one is named).

        Raises:
            RegistryError: out of reach, no registry, or the login is refused.
        """
        what = f"registry {self.host}"
        scopes = (f"repository:{repository}:",) if repository else ()
        answer = self.ask("GET", _PING, what, scopes, attempts=_PING_ATTEMPTS)
        if answer.status_code == 401:
            self.fail(what, answer, FailureClass.LOGIN)
        if answer.status_code == 404:
            self.fail(what, answer, FailureClass.INVALID)
        if answer.status_code != 200:
            self.fail(what, answer)

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        accept: str = "*/*",
        limit: int = _MAX_ANSWER_BYTES,
        attempts: int = _ATTEMPTS,
    ) -> httpx.Response:
        """A request that changes nothing: repeated while waiting may help."""

        def question() -> httpx.Response:
            answer = self.send(method, path, what, scopes, headers={"Accept": accept}, limit=limit)
            if answer.status_code == 429 or answer.status_code >= 500:
                self.fail(what, answer)
            if _is_web_page(answer):
                raise RegistryError(what, Failure(FailureClass.INVALID, "a web page (a login page?) came as answer"))
            return answer

        return repeated(question, attempts)

    def send(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        limit: int = _MAX_ANSWER_BYTES,
    ) -> httpx.Response:
        """One request with the login, its answer read up to `limit` bytes."""
        with self.exchange(method, path, what, scopes, headers, content) as answer:
            return self.read(answer, what, limit)

    @contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        *,
        follow: bool = False,
    ) -> Iterator[httpx.Response]:
        """One request with the login, in its turn; the body is not read yet.

        Raises:
            RegistryError: no answer, also where the connection breaks while the body is read.
        """
        try:
            with self.pace.place(Lane.REQUESTS) as place:
                try:
                    answer = self._open(method, path, what, scopes, headers, content, follow=follow)
                    try:
                        place.ended(_busy(answer))
                        yield answer
                    finally:
                        answer.close()
                except httpx.HTTPError as error:
                    failure = connection_failure(error)
                    place.ended(failure)
                    raise RegistryError(what, failure) from None
        except PausedError as paused:
            raise RegistryError(what, paused.failure) from None
        except (httpx.InvalidURL, UnicodeError):
            words = "it answers with addresses or tokens that are none"
            raise RegistryError(what, Failure(FailureClass.INVALID, words)) from None
        log.debug("%s %s: %s", method, what, answer.status_code)

    def _open(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        headers: dict[str, str] | None,
        content: bytes | None,
        *,
        follow: bool,
    ) -> httpx.Response:
        """Send one request; send it again while the registry's challenge brings forth another login than was sent."""
        sent = self._authorization(what, scopes, None)
        for left in reversed(range(_LOGIN_TRIES)):
            answer = self._send(method, path, sent, headers or {}, content, follow=follow)
            if answer.status_code != 401 or not left:
                break
            answer = self.read(answer, what, _MAX_ANSWER_BYTES)
            self._learn(answer)
            before, sent = sent, self._authorization(what, scopes, sent)
            if sent == before:
                break
        return answer

    def _send(
        self,
        method: str,
        path: str,
        authorization: str,
        headers: dict[str, str],
        content: bytes | None,
        *,
        follow: bool,
    ) -> httpx.Response:
        own = {"Authorization": authorization} if authorization else {}
        request = self._http.build_request(
            method,
            f"{self.base}{path}",
            headers={**headers, **own},
            content=content,
            timeout=_PING_SECONDS if path == _PING else self._http.timeout,
        )
        return self._http.send(request, stream=True, follow_redirects=follow)

    def read(self, answer: httpx.Response, what: str, limit: int) -> httpx.Response:
        """Read an answer up to a limit of bytes and of time: one that never ends must not hold the work for ever."""
        if answer.is_closed:
            return answer
        chunks, size, deadline = [], 0, time.monotonic() + self._whole_answer
        try:
            for chunk in answer.iter_raw():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise RegistryError(what, Failure(FailureClass.INVALID, f"an answer of over {limit} bytes"))
                if time.monotonic() > deadline:
                    words = f"{size} bytes came in {self._whole_answer:.0f} s, and that was not all"
                    raise RegistryError(what, Failure(FailureClass.TIMEOUT, words))
        finally:
            answer.close()
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-encoding"}
        return httpx.Response(answer.status_code, headers=headers, content=b"".join(chunks), request=answer.request)

    def _learn(self, answer: httpx.Response) -> None:
        """Remember how this registry wants to be asked; what an object store behind it wants is another thing."""
        challenge = best_challenge(answer.headers.get("WWW-Authenticate", ""))
        if challenge and answer.request.url.host == httpx.URL(self.base).host:
            with self._lock:
                self._challenge = challenge

    def _authorization(self, what: str, scopes: Scopes, stale: str | None) -> str:
        """The Authorization header for these scopes; never `stale`, a token that was just refused."""
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.scheme == "bearer":
            return self._bearer(what, challenge, scopes, stale)
        if challenge.scheme == "basic":
            return self._basic(what, _repository(scopes), stale)
        words = f"it wants a login by {challenge.scheme.capitalize()}, which this tool does not speak"
        raise RegistryError(what, Failure(FailureClass.INVALID, words))

    def _basic(self, what: str, repository: str, stale: str | None) -> str:
        credential = self.login.credential(repository)
        if credential and f"Basic {credential.basic}" == stale:
            credential = self.login.renewed(credential, repository)
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
        repository = _repository(scopes)
        credential = self.login.credential(repository)
        answer = self._ask_token(what, challenge, scopes, credential)
        if credential and answer.status_code in (400, 401):
            newer = self.login.renewed(credential, repository)
            if newer != credential:
                answer = self._ask_token(what, challenge, scopes, newer)
        if answer.status_code != 200:
            identity = credential is not None and bool(credential.identity_token)
            self.fail(what, answer, self._token_failure(answer.status_code, scopes, identity=identity))
        return _token(what, answer)

    def _ask_token(
        self, what: str, challenge: Challenge, scopes: Scopes, credential: Credential | None
    ) -> httpx.Response:
        realm = challenge.fields.get("realm", "")
        if not realm.startswith(("https://", "http://")) or (
            self.base.startswith("https:") and not realm.startswith("https:")
        ):
            raise RegistryError(what, Failure(FailureClass.INVALID, "it names no safe place to get a token from"))
        request = self._token_request(httpx.URL(realm), challenge.fields.get("service", ""), scopes, credential)
        return self.read(self._http.send(request, stream=True), what, _MAX_TOKEN_BYTES)

    def _token_request(
        self, realm: httpx.URL, service: str, scopes: Scopes, credential: Credential | None
    ) -> httpx.Request:
        """A GET with the password or without a login; with an identity token a POST, as OAuth2 has it."""
        wanted = {"scope": _asked(scopes), "service": [service] if service else []}
        wanted = {name: values for name, values in wanted.items() if values}
        if credential and credential.identity_token:
            grant = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
            named = {name: " ".join(values) for name, values in wanted.items()}
            return self._http.build_request("POST", realm, data={**grant, "client_id": _CLIENT_ID, **named})
        headers = {"Authorization": f"Basic {credential.basic}"} if credential else {}
        return self._http.build_request("GET", realm.copy_merge_params(wanted), headers=headers)

    def _token_failure(self, status: int, scopes: Scopes, *, identity: bool) -> FailureClass | None:
        """Why no token came: 401 may be the login or what is asked; a dead refresh token is 400 (RFC 6749, 5.2)."""
        if identity and status in (400, 404, 405):
            return FailureClass.LOGIN
        if status != 401:
            return None
        refused = not _asked(scopes) or self.refuses_login(_repository(scopes))
        return FailureClass.LOGIN if refused else FailureClass.DENIED

    def fail(self, what: str, answer: httpx.Response, kind: FailureClass | None = None) -> NoReturn:
        """Turn an answer into a RegistryError; a 401 is a refused login only where the login itself is refused."""
        words = _error_words(answer)
        if kind is None and answer.status_code == 401:
            named = _REPOSITORY_PATH.match(answer.request.url.path)
            refused = self.refuses_login(named[1] if named else "")
            kind = FailureClass.LOGIN if refused else FailureClass.DENIED
        kind = kind or class_of_status(answer.status_code, words)
        raise RegistryError(what, Failure(kind, words, _retry_after(answer)))

    def refuses_login(self, repository: str = "") -> bool:
        """Whether the login itself (that of a repository) is refused, and not only what was asked with it."""
        try:
            self.ping(repository)
        except RegistryError as error:
            return error.failure.kind is FailureClass.LOGIN
        return False


def _repository(scopes: Scopes) -> str:
    """Whose login is to be used: that of the first repository; empty for the registry's own."""
    kind, _, rest = scopes[0].partition(":") if scopes else ("", "", "")
    return rest.rpartition(":")[0] if kind == "repository" else ""


def _asked(scopes: Scopes) -> list[str]:
    """The scopes that a token is asked for; one without actions only names whose login to use."""
    return [scope for scope in scopes if not scope.endswith(":")]


def _token(what: str, answer: httpx.Response) -> _Token:
    try:
        document = answer.json()
        token = str(document.get("token") or document["access_token"])
        seconds = float(document.get("expires_in") or _DEFAULT_TOKEN_SECONDS)
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError):
        raise RegistryError(what, Failure(FailureClass.INVALID, "what came instead of a token is none")) from None
    return _Token(f"Bearer {token}", time.monotonic() + seconds * 0.9)


def repeated(question: Callable[[], T], attempts: int = _ATTEMPTS) -> T:
    """Ask something that changes nothing, again where it fails in a way that may pass.

    Raises:
        RegistryError: the last failure.
    """
    again = stamina.RetryingCaller(attempts=attempts, timeout=None, wait_initial=0.2, wait_max=8.0)
    return again.on(_wait)(question)


def _is_web_page(answer: httpx.Response) -> bool:
    """Whether this is a page for people instead of an answer: a login page, or a proxy's."""
    return answer.status_code == 200 and bool(answer.headers.get("Content-Type", "").startswith("text/html"))


def _without_proxy(host: str) -> list[str]:
    """Where the proxies of the environment do not hold, as patterns of httpx.

    As Go (and so skopeo) has it, what httpx does not do by itself: never for this machine, and not for addresses
    within a network of NO_PROXY such as 10.0.0.0/8.
    """
    direct = ["all://localhost", "all://127.0.0.1", "all://[::1]"]
    with suppress(ValueError):
        address = ip_address(host)
        networks = [entry.strip() for entry in getproxies().get("no", "").split(",") if "/" in entry]
        if address.is_loopback or any(address in ip_network(network, strict=False) for network in networks):
            direct.append(f"all://{host}" if address.version == 4 else f"all://[{host}]")
    return direct


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


def _wait(error: Exception) -> bool | float:
    """Whether, and how long, to wait before the same question is asked again; a long wait frees the worker instead."""
    if not isinstance(error, RegistryError) or not error.failure.retry or error.failure.retry_after > LONGEST_WAIT:
        return False
    return error.failure.retry_after or True


def _busy(answer: httpx.Response) -> Failure | None:
    """What an answer says of a registry that has too much to do, or cannot be reached behind its router."""
    if answer.status_code not in _BUSY:
        return None
    words = f"HTTP {answer.status_code} {answer.reason_phrase}"
    return Failure(class_of_status(answer.status_code, ""), words, _retry_after(answer))


def _retry_after(answer: httpx.Response) -> float:
    """Seconds; RFC 9110 allows a number or a date."""
    value = answer.headers.get("Retry-After", "")
    try:
        seconds = float(value) if value.isascii() and value.isdigit() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _error_words(answer: httpx.Response) -> str:
    """The registry's own words: its first error's message and detail (or OAuth2's), or the status line."""
    status = f"HTTP {answer.status_code} {answer.reason_phrase}"
    try:
        document: Any = json.loads(answer.content)
        first, names = (document, _OAUTH_WORDS) if "error" in document else (document["errors"][0], _ERROR_WORDS)
        words = " ".join(part for part in map(first.get, names) if isinstance(part, str))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        if not answer.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            return status
        words = answer.content[:300].decode(errors="replace")
    return f"{status}: {printable(words, 300)}"


def connection_failure(error: httpx.HTTPError) -> Failure:
    """Why a connection failed: TLS, time, or the network."""
    text = printable(str(error)) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return Failure(FailureClass.TIMEOUT, text)
    if isinstance(error, httpx.ConnectError) and re.search(r"\bssl\b|certificate|tls", text, re.IGNORECASE):
        return Failure(FailureClass.TLS, text)
    if isinstance(error, httpx.RemoteProtocolError) and ("illegal" in text.lower() or "HTTP/0" in text):
        return Failure(FailureClass.TLS, f"{text} (does it speak TLS?)")
    return Failure(FailureClass.NETWORK, text)
