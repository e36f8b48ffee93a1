"""Requests to one registry: logins, turns, and retries of questions. Knows no verbs.

Every failure is a RegistryError with a class and words. Questions, which change nothing, are repeated a few times; what
to do after a failed write is the caller's business.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import stamina

from migrate.credentials import Login, LoginGate, LoginPatience
from migrate.errors import LoginError
from migrate.images.authorization import Authorization, Scopes, repository_of
from migrate.images.connections import HEADERS, Answer, Connections, UnansweredError
from migrate.images.failures import Failure, FailureClass
from migrate.images.pace import Lane, Pace, PausedError
from migrate.images.responses import RegistryError, busy, failure_of, is_web_page, read_response
from migrate.reference import DOCKER_HUB

log = logging.getLogger(__name__)
stamina.instrumentation.set_on_retry_hooks([])

_MAX_ANSWER_BYTES = 16 * 2**20
"""Of a list of tags, say: 100,000 of 128 characters. Many are asked at a time."""
_ATTEMPTS = 4
_WHOLE_ANSWER = 5
"""An answer may keep us waiting this many times the timeout before it must have come fast."""
_LOGIN_TRIES = 3
"""Without a login, with one, and with another where the first answer's challenge was not the true one."""
LOGIN_ROUNDS = 5
"""So often one thing is asked again with a new login: one that is taken and then refused has another trouble."""
_PING = "/v2/"
_PING_ATTEMPTS = 2
_PING_SECONDS = 15.0
_REPOSITORY_PATH = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags)/")

T = TypeVar("T")
Content = bytes | Callable[[], Iterable[bytes]] | None
"""What is sent; what is read while it is sent is asked for again each time."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How a registry is reached; `way` is a proxy for everything, that of a cap on bandwidth."""

    host: str
    plain_http: bool = False
    ca_file: Path | None = None
    insecure: bool = False
    way: str = field(default="", repr=False)


class Transport:
    """Connections and a login to one registry. Safe to use from many threads.

    Args:
        connection: where it is.
        login: who asks.
        pace: how much at a time it is asked.
        timeout: seconds without an answer or without a byte.
        patience: how long an ended login is waited for.
    """

    def __init__(
        self, connection: Connection, login: Login, pace: Pace, timeout: float, patience: LoginPatience
    ) -> None:
        self.login = login
        self.host = connection.host
        self.pace = pace
        self.gate = LoginGate(connection.host, login, patience)
        self.clock_ahead: float | None = None
        self._ping_seconds = min(timeout, _PING_SECONDS)
        host = "registry-1.docker.io" if connection.host == DOCKER_HUB else connection.host
        self.base = f"{'http' if connection.plain_http else 'https'}://{host}"
        self._http = Connections(
            timeout, timeout * _WHOLE_ANSWER, connection.ca_file, insecure=connection.insecure, way=connection.way
        )
        self._http.check_way(self.base)
        self.authorization = Authorization(self.base, login, self._http, self.refuses_login)

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
        if answer.status != 200:
            self.fail(what, answer, {401: FailureClass.LOGIN, 404: FailureClass.INVALID}.get(answer.status))
        self.clock_ahead = _seconds_ahead(answer.headers.get("Date", ""))
        if self.login.credential(repository) is not None:
            self.gate.works(repository)

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        accept: str = "*/*",
        limit: int = _MAX_ANSWER_BYTES,
        attempts: int = _ATTEMPTS,
        *,
        follow: bool = False,
    ) -> Answer:
        """A request that changes nothing: repeated while waiting may help, and once where the answer is no."""

        def question() -> Answer:
            answer = self.send(method, path, what, scopes, headers={"Accept": accept}, limit=limit, follow=follow)
            if answer.status == 429 or answer.status >= 500:
                self.fail(what, answer)
            if is_web_page(answer):
                raise RegistryError(what, Failure(FailureClass.INVALID, "a web page (a login page?) came as answer"))
            return answer

        answer = self.repeated(question, attempts)
        if answer.status in (401, 403):
            answer = self.repeated(question, attempts)  # a router's hiccup must not be taken for a missing right
        return answer

    def repeated(self, question: Callable[[], T], attempts: int = _ATTEMPTS) -> T:
        """Ask something that changes nothing, again where it fails in a way that may pass.

        Tries in an outage do not count: the pace ends those, by its patience.

        Raises:
            RegistryError: the last failure.
        """
        left = attempts

        def again(error: Exception) -> bool:
            nonlocal left
            left -= not self.pace.in_outage
            may_pass = isinstance(error, RegistryError) and error.failure.retry and not error.unasked
            return may_pass and left > 0 and not self.pace.stopped

        first: RegistryError | None = None
        try:
            return question()  # mostly that is all; what follows costs more than a small answer
        except RegistryError as error:
            first = error

        def asked() -> T:
            nonlocal first
            if first is None:
                return question()
            error, first = first, None
            raise error

        caller = stamina.RetryingCaller(attempts=None, timeout=None, wait_initial=0.2, wait_max=2.0)
        return caller.on(again)(asked)

    def send(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        headers: dict[str, str] | None = None,
        content: Content = None,
        limit: int = _MAX_ANSWER_BYTES,
        *,
        follow: bool = False,
    ) -> Answer:
        """One request with the login, its answer read up to `limit` bytes; redirects are followed where wanted."""
        with self.exchange(method, path, what, scopes, headers, content, follow=follow) as answer:
            return read_response(answer, what, limit)

    @contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        headers: dict[str, str] | None = None,
        content: Content = None,
        *,
        follow: bool = False,
    ) -> Iterator[Answer]:
        """One request with the login, in its turn; the body is not read yet.

        Raises:
            RegistryError: no answer, also where the connection breaks while the body is read.
        """
        try:
            with self.pace.place(Lane.REQUESTS) as place:
                try:
                    send = partial(self._open, method, path, what, scopes, headers, content, follow=follow)
                    answer = send() if path == _PING else self._admitted(send, repository_of(scopes))
                    try:
                        place.ended(busy(answer))
                        yield answer
                    finally:
                        answer.close()
                except UnansweredError as error:
                    place.ended(error.failure)
                    raise RegistryError(what, error.failure) from None
        except PausedError as paused:
            raise RegistryError(what, paused.failure, unasked=True) from None
        log.debug("%s %s: %s", method, what, answer.status)

    def _admitted(self, send: Callable[[], Answer], repository: str) -> Answer:
        """Send one request; where the login itself is refused and has worked before, wait for another, then again."""
        for left in reversed(range(LOGIN_ROUNDS)):
            try:
                answer = send()
            except (RegistryError, LoginError) as error:
                ended = isinstance(error, LoginError) or error.failure.kind is FailureClass.LOGIN
                if left and ended and self.wait_for_login(repository):
                    continue
                raise
            if not left or answer.status != 401 or not self.gate.may_wait(repository):
                break
            refused = self.authorization.class_of_refusal(repository) is FailureClass.LOGIN
            if not refused or not self.wait_for_login(repository):
                break
            answer.close()
        return answer

    def wait_for_login(self, repository: str) -> bool:
        """Wait until an ended login is taken again; False where that is not worth waiting for, or was given up.

        Raises:
            RegistryError: whoever waited was stopped.
        """
        again = self.gate.wait(repository, lambda: not self.refuses_login(repository))
        if not again and self.gate.stopped:
            raise RegistryError(self.host, Failure(FailureClass.INTERRUPTED, ""), unasked=True)
        return again

    def _open(
        self,
        method: str,
        path: str,
        what: str,
        scopes: Scopes,
        headers: dict[str, str] | None,
        content: Content,
        *,
        follow: bool,
    ) -> Answer:
        """Send one request; send it again while the registry's challenge brings forth another login than was sent."""
        sent = self.authorization.header(what, scopes, None)
        for left in reversed(range(_LOGIN_TRIES)):
            answer = self._send(method, path, sent, headers or {}, content, follow=follow)
            if answer.status != 401 or not left:
                break
            answer = read_response(answer, what, _MAX_ANSWER_BYTES)
            self.authorization.learn(answer)
            before, sent = sent, self.authorization.header(what, scopes, sent)
            if sent == before:
                break
        return answer

    def _send(
        self,
        method: str,
        path: str,
        authorization: str,
        headers: dict[str, str],
        content: Content,
        *,
        follow: bool,
    ) -> Answer:
        own = {"Authorization": authorization} if authorization else {}
        timeout = self._ping_seconds if path == _PING else None
        body = content() if callable(content) else content
        return self._http.open(
            method, f"{self.base}{path}", {**HEADERS, **headers, **own}, body, timeout, follow=follow
        )

    def fail(self, what: str, answer: Answer, kind: FailureClass | None = None) -> NoReturn:
        """Turn an answer into a RegistryError; a 401 is a refused login only where the login itself is refused."""
        failure = failure_of(answer, kind)
        if kind is None and answer.status == 401:
            named = _REPOSITORY_PATH.match(urlsplit(answer.url).path)
            failure = self._refusal(named[1] if named else "", failure)
        raise RegistryError(what, failure)

    def _refusal(self, repository: str, failure: Failure) -> Failure:
        kind = self.authorization.class_of_refusal(repository)
        if kind is not FailureClass.LOGIN:
            return replace(failure, kind=kind)
        return replace(failure, kind=kind, words=f"{self._login_words(repository)}: {failure.words}")

    def _login_words(self, repository: str) -> str:
        """What is wrong with a login: it was refused, or there is none."""
        if self.login.credential(repository) is not None:
            return f"the login from {self.login.origin} is not accepted"
        if not repository and self.login.is_of_parts:
            return "listing needs a login for the whole registry, and there are only some for parts of it"
        return f"no login was found in {self.login.origin}; without one"

    def refuses_login(self, repository: str = "") -> bool:
        """Whether the login itself (that of a repository) is refused, and not only what was asked with it."""
        try:
            self.ping(repository)
        except RegistryError as error:
            return error.failure.kind is FailureClass.LOGIN
        return False


def _seconds_ahead(date: str) -> float | None:
    """How far a clock is ahead of ours by its `Date` header (RFC 9110, 6.6.1), which has whole seconds."""
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
