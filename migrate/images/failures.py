"""How things fail: one table of classes, each with what it means, what to do, and whether waiting helps.

skopeo's texts are from 1.9.3 to 1.22, matched case-insensitively in the last fatal line, the names of images and
hosts left out (one may be called "certificate"). HTTP answers follow the error codes of the OCI distribution
specification 1.1.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class FailureClass(StrEnum):
    """What went wrong; the words are stable, scripts may rely on them."""

    LOGIN = "login"
    DENIED = "denied"
    NOT_FOUND = "not-found"
    TOO_LARGE = "too-large"
    RATE_LIMITED = "rate-limited"
    UNAVAILABLE = "unavailable"
    NETWORK = "network"
    TLS = "tls"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    CORRUPT = "corrupt"
    BLOB_UNKNOWN = "blob-unknown"
    DAMAGED = "damaged"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported"
    CONFLICT = "conflict"
    CLASH = "clash"
    NOT_CONFIRMED = "not-confirmed"
    LOCAL = "local"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A class in words: what it means, what to do, and whether the same try may succeed later."""

    meaning: str
    advice: str
    retry: bool


MEANINGS: dict[FailureClass, Meaning] = {
    FailureClass.LOGIN: Meaning(
        "a login is missing, or the registry does not accept it",
        "log in again (oc login), check `login` in the manifest, run again",
        False,
    ),
    FailureClass.DENIED: Meaning(
        "the login is good, but it has no right here, or there is no such project",
        "check the project's name (oc get project), ask its admin for the right to pull or push, run again",
        False,
    ),
    FailureClass.NOT_FOUND: Meaning(
        "there is no such image, tag or repository",
        "check the name and `tags` in the manifest, or take the entry out",
        False,
    ),
    FailureClass.TOO_LARGE: Meaning(
        "the target does not take an image or upload of this size, or a quota is used up",
        "ask for a larger quota, or make the image smaller; then run again",
        False,
    ),
    FailureClass.RATE_LIMITED: Meaning("the registry asks to be asked less often", "run again with fewer --jobs", True),
    FailureClass.UNAVAILABLE: Meaning(
        "the registry answered that it cannot answer now",
        "wait a little and run again; if it stays, tell its operator",
        True,
    ),
    FailureClass.NETWORK: Meaning(
        "the connection failed or broke", "check the network, the address and the proxy settings; run again", True
    ),
    FailureClass.TLS: Meaning(
        "the two sides do not agree on TLS",
        "`plainHttp: true` for a registry without TLS, `caFile:` for one with a private authority",
        False,
    ),
    FailureClass.TIMEOUT: Meaning(
        "it took too long", "run again; raise transfer.copyTimeout for very large images", True
    ),
    FailureClass.STALLED: Meaning("no byte moved for a long time", "run again; if it stays, look at the network", True),
    FailureClass.CORRUPT: Meaning(
        "the bytes that came are not the bytes that were asked for",
        "run again; if it stays, the source's blob is damaged",
        True,
    ),
    FailureClass.BLOB_UNKNOWN: Meaning(
        "a layer or config is missing in the registry", "run again; if it stays, the image is damaged there", True
    ),
    FailureClass.DAMAGED: Meaning(
        "the target holds a blob whose bytes do not match its digest",
        "no push can repair it: ask the target's operator to delete the blob that is named, then run again",
        False,
    ),
    FailureClass.INVALID: Meaning(
        "what came is not a registry's answer", "is the address a registry, and no login page in between?", True
    ),
    FailureClass.UNSUPPORTED: Meaning(
        "this sort of image cannot be copied as asked", "see the reason; `format:` or `platforms:` may help", False
    ),
    FailureClass.CONFLICT: Meaning(
        "other content is at the target, and no run of this state put it there",
        "look at it; then add `- {from: <source image>, to: <target tag>, onConflict: overwrite}` to `images`"
        " (or `skip`, to leave it), and copy",
        False,
    ),
    FailureClass.CLASH: Meaning(
        "two images of the manifest want the same target tag", "rename one of them with `to`; then run again", False
    ),
    FailureClass.NOT_CONFIRMED: Meaning(
        "the target does not give back what was put there", "run again; if it stays, tell the target's operator", True
    ),
    FailureClass.LOCAL: Meaning("something is missing on this machine", "do what the message says; run again", False),
    FailureClass.INTERRUPTED: Meaning("stopped before it was done", "run again", False),
    FailureClass.UNKNOWN: Meaning("an error that this tool has no name for", "run again; with -v more is said", True),
}


ONCE_MORE = frozenset({FailureClass.DENIED, FailureClass.NOT_FOUND})
"""Nothing tells a "no" that passes (a router's, a replica's) from one that stays: these are tried twice."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not work: its class and the words of whoever said it."""

    kind: FailureClass
    words: str
    retry_after: float = 0.0

    @property
    def retry(self) -> bool:
        """Whether the same try may succeed later."""
        return MEANINGS[self.kind].retry

    @property
    def advice(self) -> str:
        """What a person can do."""
        return MEANINGS[self.kind].advice

    def __str__(self) -> str:
        return f"{MEANINGS[self.kind].meaning}: {self.words}" if self.words else MEANINGS[self.kind].meaning


_OVER_LIMIT = r"exceeded quota|quota (?:has been |is )?exceeded|maximum .* usage|request entity too large"
"""Kubernetes' ResourceQuota and LimitRange, Quay, proxies. A bare "quota" may be the name of an image."""
_SKOPEO_TEXTS: tuple[tuple[str, FailureClass], ...] = (
    (r"repository name .* must be of the format", FailureClass.UNSUPPORTED),
    (r"invalid username/password", FailureClass.DENIED),
    (r"pinging container .*(status code from registry 404|statuscode: 404|name unknown)", FailureClass.INVALID),
    (r"unexpected http status: [23]\d\d|status code from registry [23]\d\d", FailureClass.INVALID),
    (r"stopped after \d+ redirects", FailureClass.INVALID),
    (r"loading trust policy|error loading trust policy", FailureClass.LOCAL),
    (r"getting username and password|reading json file", FailureClass.LOCAL),
    (r"unknown flag|invalid reference format|invalid source name|invalid destination name", FailureClass.LOCAL),
    (r"no space left on device|too many open files|cannot allocate memory|failed to execute", FailureClass.LOCAL),
    (r"blob unknown|fetching blob: (.*\b404\b|name unknown)", FailureClass.BLOB_UNKNOWN),
    (r"manifest unknown|name unknown|status code from registry 404|statuscode: 404", FailureClass.NOT_FOUND),
    (rf"{_OVER_LIMIT}|statuscode: 413", FailureClass.TOO_LARGE),
    (r"toomanyrequests|too many requests|status code from registry 429|statuscode: 429", FailureClass.RATE_LIMITED),
    (r"obtain access token: .*status code from registry 400", FailureClass.DENIED),
    (
        r"unauthorized|authentication required|access denied|\bdenied\b|forbidden|statuscode: 40[13]",
        FailureClass.DENIED,
    ),
    (
        r"first record does not look like a tls handshake|http response to https client|x509:|certificate",
        FailureClass.TLS,
    ),
    (r"remote error: tls|tls: (?!handshake timeout)", FailureClass.TLS),
    (
        r"digest did not match|digest mismatch|digest invalid|does not match expected|invalid checksum|corrupt"
        r"|gzip: invalid",
        FailureClass.CORRUPT,
    ),
    (r"context deadline exceeded|i/o timeout|handshake timeout|client.timeout|timed out", FailureClass.TIMEOUT),
    (r"status: 5\d\d|status code from registry 5\d\d|statuscode: 5\d\d", FailureClass.UNAVAILABLE),
    (r"\b50[0234]\b", FailureClass.UNAVAILABLE),
    (
        r"\beof\b|connection refused|connection reset|broken pipe|no such host|no route to host|network is unreachable"
        r"|name or service not known|no address associated"
        r"|server misbehaving|use of closed network connection|closed pipe|temporary failure in name resolution",
        FailureClass.NETWORK,
    ),
    (r"invalid character '<'|looking for beginning of value|malformed (?:mime|http)", FailureClass.INVALID),
    (
        r"no image found in (manifest list|image index)|unexpectedly received a manifest list|saved with digest"
        r"|compression is not supported|unsupported|unknown media type|cannot be converted"
        r"|must be converted|manifest invalid|creating an updated image manifest|image id .* is invalid",
        FailureClass.UNSUPPORTED,
    ),
)
_NAMES = re.compile(
    r"docker://\S+|https?://[^\s\"]+|\bmanifest \S+ (?:in|to) \S+|\b(?:in|to|registry) \S+[:/]\S*|\blookup \S+"
)

_HTTP_STATUS = {
    401: FailureClass.LOGIN,
    403: FailureClass.DENIED,
    404: FailureClass.NOT_FOUND,
    408: FailureClass.TIMEOUT,
    413: FailureClass.TOO_LARGE,
    429: FailureClass.RATE_LIMITED,
}


def class_of_text(text: str) -> FailureClass:
    """The class of what skopeo said."""
    said = _NAMES.sub("", text.lower())
    return next((kind for pattern, kind in _SKOPEO_TEXTS if re.search(pattern, said)), FailureClass.UNKNOWN)


def class_of_status(status: int, words: str) -> FailureClass:
    """The class of an HTTP answer, from its status and the registry's words."""
    lowered = words.lower()
    if "blob unknown" in lowered or "blob_unknown" in lowered:
        return FailureClass.BLOB_UNKNOWN
    if re.search(_OVER_LIMIT, lowered):
        return FailureClass.TOO_LARGE
    if "digest_invalid" in lowered or "digest invalid" in lowered:
        return FailureClass.CORRUPT
    if "manifest_invalid" in lowered or "manifest invalid" in lowered:
        return FailureClass.UNSUPPORTED
    if "http request to an https server" in lowered:
        return FailureClass.TLS
    if status in _HTTP_STATUS:
        return _HTTP_STATUS[status]
    return FailureClass.UNAVAILABLE if status >= 500 else FailureClass.INVALID
