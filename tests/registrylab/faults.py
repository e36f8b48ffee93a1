"""What can go wrong between a client and a registry, by rule and by chance, made to happen in a gateway."""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from registrylab.gateway import Answer, Forward, Gateway, Request, Reset, gateway, pass_on
from registrylab.registry import Tls

_SILENT_SECONDS = 60.0
_OF_BODIES = {
    "reset before the body",
    "reset within the body",
    "truncated",
    "flipped byte",
    "wrong content type",
    "slow",
}
_WORDS = {
    401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 429: "TOOMANYREQUESTS", 500: "UNKNOWN",
    502: "UNKNOWN", 503: "UNAVAILABLE", 504: "UNKNOWN",
}  # fmt: skip


@dataclass
class Rule:
    """When a fault strikes.

    Attributes:
        fault: one of FAULTS or HOSTILE.
        phase: of a request (see Request.phase); empty for every one.
        times: how often; -1 for ever.
        chance: of each request that fits.
        repository: only requests to this one; empty for all.
    """

    fault: str
    phase: str = ""
    times: int = -1
    chance: float = 1.0
    repository: str = ""

    def fits(self, request: Request) -> bool:
        """Whether a request is one of those that may be struck."""
        return self.times != 0 and self.phase in ("", request.phase) and self.repository in ("", request.repository)


@dataclass
class Faults:
    """A handler for a gateway: strikes as the rules say, else lets `inner` answer.

    `struck` counts (fault, phase); rules may be changed while it runs.
    """

    rules: list[Rule]
    inner: Callable[[Request, Forward], Answer] = pass_on
    seed: int = 0
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    gateway: Gateway | None = None

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._lock = threading.Lock()

    def __call__(self, request: Request, forward: Forward) -> Answer:
        """Answer, or do the worse."""
        rule = self._rule(request)

        def answer(asked: Request) -> Answer:
            return self.inner(asked, forward)

        return (FAULTS | HOSTILE)[rule.fault](self, request, answer) if rule else answer(request)

    def _rule(self, request: Request) -> Rule | None:
        with self._lock:
            for rule in self.rules:
                if rule.fits(request) and self._dice.random() < rule.chance:
                    rule.times -= rule.times > 0
                    self.struck[rule.fault, request.phase] += 1
                    return rule
        return None


def _status(status: int, **headers: str) -> Callable[[Faults, Request, Forward], Answer]:
    body = json.dumps({"errors": [{"code": _WORDS[status], "message": "made by the tests"}]}).encode()
    answer = Answer(status, (("Content-Type", "application/json"),), body).with_headers(**headers)
    return lambda _faults, _request, _forward: answer


def _refused(faults: Faults, _request: Request, _forward: Forward) -> Answer:
    assert faults.gateway
    faults.gateway.refuse()
    raise Reset


def _reset(_faults: Faults, _request: Request, _forward: Forward) -> Answer:
    raise Reset


def _answer_lost(_faults: Faults, request: Request, forward: Forward) -> Answer:
    forward(request)
    raise Reset


def _cut_before_body(_faults: Faults, request: Request, forward: Forward) -> Answer:
    return replace(forward(request), cut=0)


def _cut_within_body(_faults: Faults, request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return replace(answer, cut=len(answer.body) // 2)


def _truncated(_faults: Faults, request: Request, forward: Forward) -> Answer:
    return _with_body(request, forward, lambda body: body[: len(body) // 2])


def _flipped(_faults: Faults, request: Request, forward: Forward) -> Answer:
    def flip(body: bytes) -> bytes:
        middle = len(body) // 2
        return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body

    return _with_body(request, forward, flip)


def _with_body(request: Request, forward: Forward, change: Callable[[bytes], bytes]) -> Answer:
    """Change the body that is under way: of what is uploaded, else of what is read."""
    if request.body:
        return forward(replace(request, body=change(request.body)))
    answer = forward(request)
    return replace(answer, body=change(answer.body))


def _slow(_faults: Faults, request: Request, forward: Forward) -> Answer:
    return replace(forward(request), pause=0.02, chunk=4096)


def _silent(faults: Faults, _request: Request, _forward: Forward) -> Answer:
    faults.over.wait(_SILENT_SECONDS)
    raise Reset


def _wrong_type(_faults: Faults, request: Request, forward: Forward) -> Answer:
    return forward(request).with_headers(Content_Type="text/plain; charset=utf-8")


def _login_page(_faults: Faults, request: Request, _forward: Forward) -> Answer:
    return Answer(200, (("Content-Type", "text/html"),), b"<!DOCTYPE html><html><body>Please log in</body></html>")


FAULTS: dict[str, Callable[[Faults, Request, Forward], Answer]] = {
    "401": _status(401),
    "403": _status(403),
    "404": _status(404),
    "429": _status(429),
    "429, Retry-After": _status(429, Retry_After="1"),
    "500": _status(500),
    "502": _status(502),
    "503": _status(503),
    "504": _status(504),
    "refused": _refused,
    "reset": _reset,
    "reset before the body": _cut_before_body,
    "reset within the body": _cut_within_body,
    "truncated": _truncated,
    "flipped byte": _flipped,
    "slow": _slow,
    "silent": _silent,
    "wrong content type": _wrong_type,
    "login page": _login_page,
    "answer lost": _answer_lost,
}


def _endless(_faults: Faults, request: Request, forward: Forward) -> Answer:
    return replace(forward(request).with_headers(Content_Length=str(2**40)), endless=True)


def _too_long(_faults: Faults, request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return answer.with_headers(Content_Length=str(len(answer.body) + 1000))


def _too_short(_faults: Faults, request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return answer.with_headers(Content_Length=str(max(len(answer.body) - 5, 0)))


def _loop(_faults: Faults, request: Request, _forward: Forward) -> Answer:
    return Answer(307, (("Location", request.path),))


def _deep(_faults: Faults, _request: Request, _forward: Forward) -> Answer:
    return Answer(200, (("Content-Type", "application/json"),), b"[" * 200_000)


def _escapes(_faults: Faults, _request: Request, _forward: Forward) -> Answer:
    words = "\x1b]0;owned\x07\x1b[2J\u202e\x00 <script>alert(1)</script>" + "x" * 100_000
    body = json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()
    return Answer(403, (("Content-Type", "application/json"), ("X-Odd", "\x1b[31m")), body)


def _odd_types(_faults: Faults, _request: Request, _forward: Forward) -> Answer:
    document = {"name": 5, "tags": {"a": [None]}, "schemaVersion": "2", "layers": [[]], "config": None, "token": []}
    return Answer(200, (("Content-Type", "application/vnd.oci.image.manifest.v1+json"),), json.dumps(document).encode())


def _traversal(_faults: Faults, _request: Request, _forward: Forward) -> Answer:
    where = ("Location", "../../../../etc/passwd"), ("Docker-Content-Digest", "sha256:../../etc/passwd")
    document = {"name": "../../x", "tags": ["../../../x", "ok", "a/b", "\x1b[2J"]}
    return Answer(202, (*where, ("Content-Type", "application/json")), json.dumps(document).encode())


HOSTILE: dict[str, Callable[[Faults, Request, Forward], Answer]] = {
    "endless body": _endless,
    "length too long": _too_long,
    "length too short": _too_short,
    "redirect loop": _loop,
    "deep JSON": _deep,
    "escape sequences": _escapes,
    "odd types": _odd_types,
    "path tricks": _traversal,
}
"""What no registry does that means well."""


@contextmanager
def faulty(
    upstream: str,
    *rules: Rule,
    inner: Callable[[Request, Forward], Answer] = pass_on,
    seed: int = 0,
    tls: Tls | None = None,
) -> Iterator[tuple[Gateway, Faults]]:
    """A gateway before `upstream` (host:port) in which the rules strike."""
    faults = Faults(list(rules), inner, seed)
    with gateway(upstream, faults, tls) as made:
        faults.gateway = made
        try:
            yield made, faults
        finally:
            faults.over.set()
