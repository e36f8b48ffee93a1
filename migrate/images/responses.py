"""What registries answer, read within bounds and turned into failures in words."""

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from migrate.images.failures import Failure, FailureClass, class_of_status
from migrate.printable import printable

_BUSY = (429, 502, 503, 504)
_LONGEST_RETRY_AFTER = 600.0
"""A registry that asks for more is asked again all the same: nobody waits for a day on its word."""
_ERROR_WORDS, _OAUTH_WORDS = ("code", "message", "detail"), ("error", "error_description")


class RegistryError(Exception):
    """The registry did not do what was asked, or (`unasked`) is not to be asked now.

    `failure` says why, `what` names the object.
    """

    def __init__(self, what: str, failure: Failure, *, unasked: bool = False) -> None:
        super().__init__(f"{what}: {failure}")
        self.what = what
        self.failure = failure
        self.unasked = unasked


def read_response(response: httpx.Response, what: str, limit: int) -> httpx.Response:
    """Read a response whole; one that was read already comes back as it is.

    Args:
        response: its head has come.
        what: the object, for messages.
        limit: bytes; a registry that never ends must not fill the memory.
    """
    if response.is_closed:
        return response
    chunks, size = [], 0
    try:
        for chunk in response.iter_raw():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise RegistryError(what, Failure(FailureClass.INVALID, f"an answer of over {limit} bytes"))
    finally:
        response.close()
    headers = {name: value for name, value in response.headers.items() if name.lower() != "content-encoding"}
    return httpx.Response(response.status_code, headers=headers, content=b"".join(chunks), request=response.request)


def is_web_page(response: httpx.Response) -> bool:
    """Whether this is a page for people instead of an answer: a login page, or a proxy's."""
    return response.status_code == 200 and bool(response.headers.get("Content-Type", "").startswith("text/html"))


def failure_of(response: httpx.Response, kind: FailureClass | None = None) -> Failure:
    """What a response says that is not the wanted one; its class by the status where none is given."""
    words = _error_words(response)
    return Failure(kind or class_of_status(response.status_code, words), words, _retry_after(response))


def busy(response: httpx.Response) -> Failure | None:
    """What a response says of a registry that has too much to do, or cannot be reached behind its router."""
    if response.status_code not in _BUSY:
        return None
    words = f"HTTP {response.status_code} {response.reason_phrase}"
    return Failure(class_of_status(response.status_code, ""), words, _retry_after(response))


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


def _retry_after(response: httpx.Response) -> float:
    """Seconds; RFC 9110 allows a number or a date."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value) if value.isascii() and value.isdigit() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _error_words(response: httpx.Response) -> str:
    """The server's own words beside the status line, where it has some."""
    status = f"HTTP {response.status_code} {response.reason_phrase}"
    try:
        words = _document_words(json.loads(response.content))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        if not response.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            return status
        words = response.content[:300].decode(errors="replace")
    return f"{status}: {printable(words, 300)}" if words else status


def _document_words(document: Any) -> str:
    """A registry's first error, an OAuth2 error (RFC 6749, 5.2), or what OpenShift's token endpoint says."""
    if "error" in document:
        return _joined(document, _OAUTH_WORDS)
    if "errors" in document:
        return _joined(document["errors"][0], _ERROR_WORDS)
    return _joined(document, ("details",))


def _joined(document: Any, names: tuple[str, ...]) -> str:
    return " ".join(part for part in map(document.get, names) if isinstance(part, str))
