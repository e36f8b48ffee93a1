"""What registries answer, read within bounds and turned into failures in words."""

import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

from migrate.images.connections import Answer
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


def read_response(answer: Answer, what: str, limit: int) -> Answer:
    """Read an answer whole; one that was read already stays as it is.

    Args:
        answer: its head has come.
        what: the object, for messages.
        limit: bytes; a registry that never ends must not fill the memory.

    Raises:
        RegistryError: it is longer.
        UnansweredError: it breaks off.
    """
    if answer.is_read:
        return answer
    content = bytearray()
    try:
        for chunk in answer.chunks():
            content += chunk
            if len(content) > limit:
                raise RegistryError(what, Failure(FailureClass.INVALID, f"an answer of over {limit} bytes"))
    finally:
        answer.close()
    answer.content, answer.is_read = bytes(content), True
    return answer


def is_web_page(answer: Answer) -> bool:
    """Whether this is a page for people instead of an answer: a login page, or a proxy's."""
    return answer.status == 200 and bool(answer.headers.get("Content-Type", "").startswith("text/html"))


def failure_of(answer: Answer, kind: FailureClass | None = None) -> Failure:
    """What a response says that is not the wanted one; its class by the status where none is given."""
    words = _error_words(answer)
    return Failure(kind or class_of_status(answer.status, words), words, _retry_after(answer))


def busy(answer: Answer) -> Failure | None:
    """What a response says of a registry that has too much to do, or cannot be reached behind its router."""
    if answer.status not in _BUSY:
        return None
    words = f"HTTP {answer.status} {answer.reason}"
    return Failure(class_of_status(answer.status, ""), words, _retry_after(answer))


def _retry_after(answer: Answer) -> float:
    """Seconds; RFC 9110 allows a number or a date."""
    value = answer.headers.get("Retry-After", "")
    try:
        seconds = float(value) if value.isascii() and value.isdigit() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _error_words(answer: Answer) -> str:
    """The server's own words beside the status line, where it has some."""
    status = f"HTTP {answer.status} {answer.reason}"
    try:
        words = _document_words(json.loads(answer.content))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        if not answer.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            return status
        words = answer.content[:300].decode(errors="replace")
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
