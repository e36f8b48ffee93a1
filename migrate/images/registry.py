"""The registry HTTP API: tags, manifests, blobs, mounts. The only module that speaks it; it decides nothing.

OCI distribution specification 1.1; tokens as docker/distribution documents them ("Token Authentication"). Every
failure is a RegistryError with a class and words. Requests that change nothing are repeated a few times; what to do
after a failed write is the caller's business.
"""

import hashlib
import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import httpx
import stamina

from migrate.credentials import Login
from migrate.errors import UsageError
from migrate.images.failures import Failure, FailureClass, class_of_status, printable
from migrate.images.formats import (
    ACCEPTED,
    MAX_MANIFEST_BYTES,
    ImageManifest,
    NotAnImageManifestError,
    parse_image_manifest,
)
from migrate.reference import DOCKER_HUB

log = logging.getLogger(__name__)
stamina.instrumentation.set_on_retry_hooks([])

_ACCEPT = ", ".join(ACCEPTED)
_PAGE = 1000
_MAX_TAGS = 1_000_000
_MAX_CONFIG_BYTES = 16 * 2**20
_MAX_ANSWER_BYTES = 32 * 2**20
_ATTEMPTS = 4
_LONGEST_WAIT = 60.0
_DEFAULT_TOKEN_SECONDS = 60.0
_CHALLENGE = re.compile(r'([a-zA-Z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


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
class Found:
    """What a HEAD of a manifest says: its digest (empty where the registry does not tell) and media type."""

    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    expires: float


class Registry:
    """A registry and a login to it. Safe to use from many threads.

    Args:
        connection: where it is.
        login: who asks.
        connections: how many at most at a time.
        timeout: seconds without an answer or without a byte.

    """

    def __init__(self, connection: Connection, login: Login, connections: int = 32, timeout: float = 60.0) -> None:
        self.host = connection.host
        self.login = login
        host = "registry-1.docker.io" if connection.host == DOCKER_HUB else connection.host
        self._base = f"{'http' if connection.plain_http else 'https'}://{host}"
        self._http = httpx.Client(
            verify=_tls(connection),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 15.0)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": "rahti-migrate", "Accept-Encoding": "identity"},
        )
        self._challenge: dict[str, str] | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._token_locks: dict[tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # --- verbs ------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Ask whether this is a registry and whether it takes the login.

        Raises:
            RegistryError: out of reach, no registry, or the login is refused.

        """
        what = f"registry {self.host}"
        answer = self._ask("GET", "/v2/", what, ())
        if answer.status_code == 401:
            self._fail(what, answer, FailureClass.LOGIN)
        if answer.status_code != 200:
            self._fail(what, answer)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise RegistryError(what, Failure(FailureClass.INVALID, "it answers with a web page: not a registry"))

    def catalog(self) -> Iterator[str]:
        """All repositories, where the registry tells them to this login."""
        yield from self._pages(
            f"/v2/_catalog?n={_PAGE}", "repositories", f"list of {self.host}", ("registry:catalog:*",)
        )

    def tags(self, repository: str) -> Iterator[str]:
        """All tags of a repository, as the registry names them (they may be no valid tags)."""
        path = f"/v2/{repository}/tags/list?n={_PAGE}"
        yield from self._pages(path, "tags", f"tags of {self.host}/{repository}", _pull(repository))

    def find_manifest(self, repository: str, identifier: str) -> Found | None:
        """What stands under a tag or digest, by HEAD; None where there is nothing."""
        what = self._name(repository, identifier)
        answer = self._ask("HEAD", f"/v2/{repository}/manifests/{identifier}", what, _pull(repository), accept=_ACCEPT)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            self._fail(what, answer)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not digest:
            digest = self.manifest(repository, identifier).digest
        return Found(digest, answer.headers.get("Content-Type", "").partition(";")[0])

    def manifest(self, repository: str, identifier: str) -> ImageManifest:
        """The image manifest under a tag or digest; asked by digest, its bytes are checked against it.

        Raises:
            RegistryError: NOT_FOUND, INVALID where it is no image manifest, CORRUPT where it is another one.

        """
        what = self._name(repository, identifier)
        path = f"/v2/{repository}/manifests/{identifier}"
        answer = self._ask("GET", path, what, _pull(repository), accept=_ACCEPT, limit=MAX_MANIFEST_BYTES)
        if answer.status_code != 200:
            self._fail(what, answer)
        try:
            manifest = parse_image_manifest(answer.content, answer.headers.get("Content-Type", ""))
        except NotAnImageManifestError as error:
            raise RegistryError(what, Failure(FailureClass.INVALID, str(error))) from None
        if ":" in identifier and manifest.digest != identifier and _digest(identifier, answer.content) != identifier:
            raise RegistryError(what, Failure(FailureClass.CORRUPT, f"the manifest that came is {manifest.digest}"))
        return manifest

    def put_manifest(self, repository: str, identifier: str, manifest: ImageManifest) -> None:
        """Put a manifest under a tag or digest. A 201 is no proof: read it back."""
        what = self._name(repository, identifier)
        answer = self._send(
            "PUT",
            f"/v2/{repository}/manifests/{identifier}",
            what,
            _push(repository),
            headers={"Content-Type": manifest.media_type},
            content=manifest.body,
        )
        if answer.status_code != 201:
            self._fail(what, answer)

    def blob_size(self, repository: str, digest: str) -> int | None:
        """The size in bytes of a blob that the repository has (-1 where the registry does not tell), else None."""
        what = self._name(repository, digest)
        answer = self._ask("HEAD", f"/v2/{repository}/blobs/{digest}", what, _pull(repository))
        if answer.status_code == 404:
            return None
        if answer.is_redirect:
            return -1  # kept in an object store: it is there
        if answer.status_code != 200:
            self._fail(what, answer)
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else -1

    def small_blob(self, repository: str, digest: str) -> bytes:
        """A config blob, checked against its digest."""
        return b"".join(self.blob(repository, digest, _MAX_CONFIG_BYTES))

    def blob(self, repository: str, digest: str, limit: int | None = None) -> Iterator[bytes]:
        """A blob's bytes; after the last one they are checked against the digest.

        Raises:
            RegistryError: NOT_FOUND, CORRUPT, INVALID (longer than `limit`), or any failure of the connection.

        """
        what = self._name(repository, digest)
        check = hashlib.new(digest.partition(":")[0])
        size = 0
        try:
            answer = self._open("GET", f"/v2/{repository}/blobs/{digest}", what, _pull(repository), follow=True)
            try:
                if answer.status_code != 200:
                    answer = _read(answer, what, _MAX_ANSWER_BYTES)
                    self._fail(what, answer, FailureClass.BLOB_UNKNOWN if answer.status_code == 404 else None)
                for chunk in answer.iter_raw():
                    size += len(chunk)
                    if limit is not None and size > limit:
                        raise RegistryError(what, Failure(FailureClass.INVALID, f"longer than {limit} bytes"))
                    check.update(chunk)
                    yield chunk
            finally:
                answer.close()
        except httpx.HTTPError as error:
            raise RegistryError(what, _connection_failure(error)) from None
        if check.hexdigest() != digest.partition(":")[2]:
            raise RegistryError(what, Failure(FailureClass.CORRUPT, f"its {size} bytes have another digest"))

    def mount(self, repository: str, digest: str, origin: str) -> bool:
        """Make a blob of another repository of this registry appear in this one; False where the registry will not.

        OpenShift answers 202 where the login may not pull from `origin`; that opens an upload, which is taken back.
        """
        what = self._name(repository, digest)
        path = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={origin}"
        scopes = (*_push(repository), *_pull(origin))
        answer = self._send("POST", path, what, scopes, content=b"")
        if answer.status_code == 201:
            return True
        location = urljoin(f"{self._base}{path}", answer.headers.get("Location", ""))
        if answer.status_code == 202 and urlsplit(location)[:2] == urlsplit(self._base)[:2]:
            self._send("DELETE", location.removeprefix(self._base), what, _push(repository))
        return False

    # --- requests ---------------------------------------------------------------------------------------------

    def _name(self, repository: str, identifier: str) -> str:
        return f"{self.host}/{repository}{'@' if ':' in identifier else ':'}{identifier}"

    def _pages(self, path: str, key: str, what: str, scopes: tuple[str, ...]) -> Iterator[str]:
        seen = 0
        while path:
            answer = self._ask("GET", path, what, scopes)
            if answer.status_code == 400 and not seen and "?" in path:
                path = path.partition("?")[0]  # its pages are smaller than the one asked for: let it choose
                continue
            if answer.status_code != 200:
                self._fail(what, answer)
            try:
                names = answer.json().get(key) or []
            except (ValueError, AttributeError):
                raise RegistryError(what, Failure(FailureClass.INVALID, "the answer is not a list of names")) from None
            yield from (str(name) for name in names)
            seen += len(names)
            following = _next_page(answer, self._base)
            if seen > _MAX_TAGS or (following and not names) or following == path:
                raise RegistryError(what, Failure(FailureClass.INVALID, "the list has no end"))
            path = following

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        scopes: tuple[str, ...],
        accept: str = "*/*",
        limit: int = _MAX_ANSWER_BYTES,
    ) -> httpx.Response:
        """A request that changes nothing: repeated while waiting may help."""
        for attempt in stamina.retry_context(
            on=_wait, attempts=_ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=8.0
        ):
            with attempt:
                answer = self._send(method, path, what, scopes, headers={"Accept": accept}, limit=limit)
                if answer.status_code == 429 or answer.status_code >= 500:
                    self._fail(what, answer)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        what: str,
        scopes: tuple[str, ...],
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        limit: int = _MAX_ANSWER_BYTES,
    ) -> httpx.Response:
        """One request with the login, its answer read up to `limit` bytes."""
        try:
            answer = self._open(method, path, what, scopes, headers, content)
            answer = _read(answer, what, limit)
        except httpx.HTTPError as error:
            raise RegistryError(what, _connection_failure(error)) from None
        log.debug("%s %s: %s", method, what, answer.status_code)
        return answer

    def _open(
        self,
        method: str,
        path: str,
        what: str,
        scopes: tuple[str, ...],
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        *,
        follow: bool = False,
    ) -> httpx.Response:
        """Send one request; send it again once where the registry wants a (newer) login. The body is not read yet."""
        stale = None
        while True:
            authorization = self._authorization(what, scopes, stale)
            own = {"Authorization": authorization} if authorization else {}
            request = self._http.build_request(
                method, f"{self._base}{path}", headers={**(headers or {}), **own}, content=content
            )
            answer = self._http.send(request, stream=True, follow_redirects=follow)
            if answer.status_code != 401 or stale is not None:
                return answer
            _read(answer, what, _MAX_ANSWER_BYTES)
            self._learn(answer)
            stale = authorization

    # --- logins -----------------------------------------------------------------------------------------------

    def _learn(self, answer: httpx.Response) -> None:
        """Remember how this registry wants to be asked."""
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        fields = {key.lower(): quoted or bare for key, quoted, bare in _CHALLENGE.findall(rest)}
        with self._lock:
            self._challenge = {"scheme": scheme.lower(), **fields}

    def _authorization(self, what: str, scopes: tuple[str, ...], stale: str | None) -> str:
        """The Authorization header for these scopes; never `stale`, a token that was just refused."""
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge["scheme"] == "bearer":
            return self._bearer(what, challenge, scopes, stale)
        credential = self.login.credential()
        return f"Basic {credential.basic}" if credential else ""

    def _bearer(self, what: str, challenge: dict[str, str], scopes: tuple[str, ...], stale: str | None) -> str:
        with self._lock:
            lock = self._token_locks.setdefault(scopes, threading.Lock())
        with lock:
            known = self._tokens.get(scopes)
            if known is None or known.header == stale or known.expires < time.monotonic():
                known = self._tokens[scopes] = self._fetch_token(what, challenge, scopes)
            return known.header

    def _fetch_token(self, what: str, challenge: dict[str, str], scopes: tuple[str, ...]) -> _Token:
        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://")) or (
            self._base.startswith("https:") and not realm.startswith("https:")
        ):
            raise RegistryError(what, Failure(FailureClass.INVALID, "it names no safe place to get a token from"))
        credential = self.login.credential()
        parameters: list[tuple[str, str | int | float | bool | None]] = [("scope", scope) for scope in scopes]
        if challenge.get("service"):
            parameters.append(("service", challenge["service"]))
        headers = {"Authorization": f"Basic {credential.basic}"} if credential else {}
        request = self._http.build_request("GET", realm, params=parameters, headers=headers)
        answer = _read(self._http.send(request, stream=True), what, 2**20)
        if answer.status_code in (401, 403):
            self._fail(what, answer, FailureClass.LOGIN)
        if answer.status_code != 200:
            self._fail(what, answer)
        try:
            document = answer.json()
            token = str(document.get("token") or document["access_token"])
            seconds = float(document.get("expires_in") or _DEFAULT_TOKEN_SECONDS)
        except (ValueError, KeyError, AttributeError, TypeError):
            raise RegistryError(what, Failure(FailureClass.INVALID, "what came instead of a token is none")) from None
        return _Token(f"Bearer {token}", time.monotonic() + seconds * 0.9)

    def _fail(self, what: str, answer: httpx.Response, kind: FailureClass | None = None) -> NoReturn:
        """Turn an answer into a RegistryError; a 401 is a refused login only where the login itself is refused."""
        words = _error_words(answer)
        kind = kind or class_of_status(answer.status_code, words)
        if answer.status_code == 401 and kind is FailureClass.LOGIN and not what.startswith("registry "):
            kind = FailureClass.LOGIN if self._login_refused() else FailureClass.DENIED
        raise RegistryError(what, Failure(kind, words, _retry_after(answer)))

    def _login_refused(self) -> bool:
        try:
            self.ping()
        except RegistryError as error:
            return error.failure.kind is FailureClass.LOGIN
        return False


def _read(answer: httpx.Response, what: str, limit: int) -> httpx.Response:
    """Read an answer up to a limit: a registry that never ends must not fill the memory."""
    chunks, size = [], 0
    try:
        for chunk in answer.iter_raw():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise RegistryError(what, Failure(FailureClass.INVALID, f"an answer of over {limit} bytes"))
    finally:
        answer.close()
    return httpx.Response(answer.status_code, headers=answer.headers, content=b"".join(chunks), request=answer.request)


def _tls(connection: Connection) -> ssl.SSLContext:
    """The system's certificate authorities, as skopeo has them, and the manifest's."""
    context = ssl.create_default_context()
    if connection.ca_file:
        try:
            context.load_verify_locations(cafile=str(connection.ca_file))
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a PEM certificate"
            raise UsageError(f"{connection.ca_file}: caFile of {connection.host} cannot be read: {reason}") from None
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _pull(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull",)


def _push(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull,push",)


def _digest(like: str, content: bytes) -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def _next_page(answer: httpx.Response, base: str) -> str:
    """The path of `Link: <...>; rel="next"` (distribution specification, "Listing Tags"), on this registry only."""
    link = answer.links.get("next", {}).get("url", "")
    if not link:
        return ""
    url = urlsplit(urljoin(str(answer.request.url), link))
    if url.netloc != urlsplit(base).netloc:
        raise RegistryError(base, Failure(FailureClass.INVALID, "the next page is said to be on another host"))
    return f"{url.path}?{url.query}"


def _wait(error: Exception) -> bool | float:
    """Whether, and how long, to wait before the same question is asked again."""
    if not isinstance(error, RegistryError) or not error.failure.retry:
        return False
    return min(error.failure.retry_after, _LONGEST_WAIT) or True


def _retry_after(answer: httpx.Response) -> float:
    """Seconds; RFC 9110 allows a number or a date."""
    value = answer.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _error_words(answer: httpx.Response) -> str:
    """The registry's own words: its first error's message and detail, or the status line."""
    status = f"HTTP {answer.status_code} {answer.reason_phrase}"
    try:
        first: Any = json.loads(answer.content)["errors"][0]
        words = " ".join(str(part) for part in (first.get("code"), first.get("message"), first.get("detail")) if part)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        if not answer.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            return status
        words = answer.content[:300].decode(errors="replace")
    return f"{status}: {printable(words, 300)}"


def _connection_failure(error: httpx.HTTPError) -> Failure:
    text = printable(str(error)) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return Failure(FailureClass.TIMEOUT, text)
    if isinstance(error, httpx.ConnectError) and re.search(r"\bssl\b|certificate|tls", text, re.IGNORECASE):
        return Failure(FailureClass.TLS, text)
    if isinstance(error, httpx.RemoteProtocolError) and ("illegal" in text.lower() or "HTTP/0" in text):
        return Failure(FailureClass.TLS, f"{text} (does it speak TLS?)")
    return Failure(FailureClass.NETWORK, text)
