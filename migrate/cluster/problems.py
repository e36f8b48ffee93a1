"""Why an API did not do what was asked: classes, advice, and how answers and errors of the client become them."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from migrate.printable import printable

if TYPE_CHECKING:  # loaded where it is used
    import httpx2
    from lightkube import Client

T = TypeVar("T")


class Problem(StrEnum):
    """Why the API did not do what was asked."""

    LOGIN = "login"
    FORBIDDEN = "forbidden"
    ESCALATION = "escalation"
    QUOTA = "quota"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported"
    UNREACHABLE = "unreachable"


class ClusterError(Exception):
    """The API did not do what was asked.

    `problem` is the class, `what` names the object, `words` are the server's. `maybe`: what was sent may have been done
    all the same, for no answer came, or none that can be understood. Not `connected` where nothing could be sent.
    """

    def __init__(self, what: str, problem: Problem, words: str, *, maybe: bool = False, connected: bool = True) -> None:
        super().__init__(f"{what}: {words}")
        self.what = what
        self.problem = problem
        self.words = words
        self.maybe = maybe
        self.connected = connected


def advice(problem: Problem, project: str, user: str = "") -> str:
    """What a person can do about a problem in a project."""
    who = user or "<user>"
    return {
        Problem.LOGIN: "log in again (oc login ...), then run again",
        Problem.FORBIDDEN: (
            f"see whether it is there and yours: oc get project {project}; an admin of it can let you in: oc policy"
            f" add-role-to-user admin {who} -n {project}; a missing one is made by: oc new-project {project}"
        ),
        Problem.ESCALATION: (
            "nobody can grant more than they may do themselves: name a narrower role (registry-viewer), or ask"
            f" somebody who may do all that in {project}"
        ),
        Problem.QUOTA: f"see what is used: oc describe quota -n {project}; ask whoever runs the cluster for more",
        Problem.NOT_FOUND: f"make it (oc new-project {project}, or your cloud's own form), then run again",
        Problem.CONFLICT: "somebody else changed it at the same time: run again",
        Problem.INVALID: "",
        Problem.UNSUPPORTED: "the server does not offer this: is it OpenShift, and 4 where something is written?",
        Problem.UNREACHABLE: "check the address and the network, then run again",
    }[problem]


def asked(what: str, ask: "Callable[[Client], T]", client: "Client") -> T:
    """What a question gives.

    Raises:
        ClusterError: the API did not do what was asked.
    """
    import httpx2
    import msgspec
    from lightkube import ApiError

    not_connected = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
    try:
        return ask(client)
    except ApiError as error:
        raise _refused(what, error.response, error.status.message) from None
    except httpx2.HTTPStatusError as error:
        raise _refused(what, error.response) from None
    except httpx2.LocalProtocolError as error:  # its words may show the header with the token
        if "header" in str(error):
            words = "the request cannot be sent: is the token one, without spaces and line ends?"
            raise ClusterError(what, Problem.LOGIN, words) from None
        raise ClusterError(what, Problem.UNREACHABLE, "the connection broke", maybe=True) from None
    except httpx2.HTTPError as error:
        words = printable(str(error)) or type(error).__name__
        connected = not isinstance(error, not_connected)
        raise ClusterError(what, Problem.UNREACHABLE, words, maybe=connected, connected=connected) from None
    except (msgspec.MsgspecError, httpx2.InvalidURL, LookupError, AttributeError, TypeError, ValueError) as error:
        response = _answer_behind(error)
        if response is not None:
            raise _refused(what, response) from None
        words = "what answered is no Kubernetes API (a login page, or a proxy's?)"
        raise ClusterError(what, Problem.INVALID, words, maybe=True) from None


def _answer_behind(error: BaseException) -> "httpx2.Response | None":
    """The error answer that lightkube stumbled over: it has no Content-Type, or its JSON is no Status."""
    import httpx2

    behind = error.__context__
    while behind is not None and not isinstance(behind, ClusterError):  # (that is an earlier question's)
        if isinstance(behind, httpx2.HTTPStatusError):
            return behind.response
        behind = behind.__context__
    return None


def _refused(what: str, response: "httpx2.Response", message: str | None = None) -> ClusterError:
    status = response.status_code
    words = printable(message or "", 400) or f"HTTP {status} {response.reason_phrase}".strip()
    return ClusterError(what, _class_of(status, words), words, maybe=status >= 500)


_CLASSES = {
    401: Problem.LOGIN,
    403: Problem.FORBIDDEN,
    404: Problem.NOT_FOUND,
    405: Problem.UNSUPPORTED,
    409: Problem.CONFLICT,
    410: Problem.UNREACHABLE,  # a list that took too long: its pages are gone, and it is read again
    415: Problem.UNSUPPORTED,
    429: Problem.UNREACHABLE,
}


def _class_of(status: int, words: str) -> Problem:
    if status == 403 and "exceeded quota" in words:
        return Problem.QUOTA
    if status == 403 and "attempting to grant" in words:
        return Problem.ESCALATION
    if "field not declared in schema" in words:  # server-side apply says it with 500
        return Problem.INVALID
    return _CLASSES.get(status, Problem.UNREACHABLE if status >= 500 else Problem.INVALID)
