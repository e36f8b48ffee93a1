"""Failures have a class, a meaning and a way out; other people's words are harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.images.failures import (
    MEANINGS,
    Failure,
    FailureClass,
    class_of_status,
    class_of_text,
)
from migrate.printable import printable

SOURCE = "docker-registry.rahti.csc.fi/shop/web"
TARGET = "image-registry.apps.2.rahti.csc.fi/shop-2/web"
BLOB = "sha256:4d3abb918352aa29e2da33b38626467f1b0045680e640842b02a0866a5b56f4e"
READING = f"initializing source docker://{SOURCE}:1.4: reading manifest 1.4 in {SOURCE}"
OPENING = f"initializing image from source docker://{SOURCE}:1.4"
PINGING = f"initializing source docker://{SOURCE}:1.4: pinging container registry docker-registry.rahti.csc.fi"
URL = "https://docker-registry.rahti.csc.fi/v2/"
WRITING = f"writing manifest: uploading manifest 1.4 to {TARGET}"
UPLOADING = (
    "writing blob: initiating layer upload to /v2/shop-2/web/blobs/uploads/ in image-registry.apps.2.rahti.csc.fi"
)
DOCKER, OCI = "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json"

GETTING = f'initializing source docker://{SOURCE}:1.4: Get "{URL}shop/web/manifests/1.4"'
ANSWERING = f"initializing source docker://{SOURCE}:1.4: received unexpected HTTP status"
FETCHING = f"reading blob {BLOB}: Error fetching blob: invalid status code from registry"
READ = "writing blob: happened during read"
CHOOSING = "choosing an image from manifest list docker://docker.io/library/x:1"
LOGGING_IN = "unable to retrieve auth token: invalid username/password: unauthorized"

TEXTS = {
    # reference/skopeo.md, section 3, and what later versions and other machines say
    "not-found": (
        f"{READING}: manifest unknown: manifest unknown",
        f"{READING}: name unknown: repository name not known to registry",
    ),
    "denied": (
        f"{LOGGING_IN}: authentication required",
        f"{READING}: unauthorized: authentication required",
        f"{READING}: denied: requested access to the resource is denied",
        f"{UPLOADING}: unauthorized: authentication required",
        f"{UPLOADING}: denied",
        f"checking whether a blob {BLOB} exists in {TARGET}: unauthorized: authentication required",
        f"{OPENING}: Trying to obtain access token: invalid status code from registry 400 (Bad Request)",
    ),
    "rate-limited": (
        f"{READING}: toomanyrequests: You have reached your pull rate limit",
        f"{FETCHING} 429 (Too Many Requests)",
    ),
    "unavailable": (
        f"{ANSWERING}: 500 Internal Server Error",
        f"{ANSWERING}: 502 Bad Gateway",
        f"{ANSWERING}: 503 Service Unavailable",
        f"{FETCHING} 500 (Internal Server Error)",
        "writing blob: uploading layer chunked: received unexpected HTTP status: 500 Internal Server Error",
        f"{WRITING}: received unexpected HTTP status: 500 Internal Server Error",
    ),
    "invalid": (
        f"{OPENING}: invalid character '<' looking for beginning of value",
        f"{PINGING}: invalid status code from registry 404 (Not Found)",
        f"{PINGING}: name unknown: repository name not known to registry",
        f"{UPLOADING}: received unexpected HTTP status: 200 OK",
    ),
    "unsupported": (
        f"{OPENING}: unsupported schema version 2",
        f"Uploading manifest failed, attempted the following formats: {DOCKER}({WRITING}: manifest invalid),"
        f" {OCI}({WRITING}: manifest invalid: manifest invalid)",
        f"{WRITING}: manifest invalid: manifest invalid",
        f'{CHOOSING}: no image found in manifest list for architecture amd64, variant "", OS linux',
        'choosing image instance: no image found in image index for architecture "arm64", variant "", OS "linux"',
        f'{LOGGING_IN}: repository name "x" invalid: it must be of the format <project>/<name>',
        f'Manifest list must be converted to type "{OCI}" to be written to destination, but we cannot modify it:'
        ' "Instructed to preserve digests"',
        'unsupported docker v2s2 media type: "application/vnd.oci.image.layer.v1.tar+gzip"',
    ),
    "network": (
        f"{GETTING}: EOF",
        f'{PINGING}: Get "{URL}": registry.example.org: Name or service not known',
        f'{PINGING}: Get "{URL}": dial tcp 193.166.0.1:443: connect: connection refused',
        f'{PINGING}: Get "{URL}": dial tcp: lookup docker-registry.rahti.csc.fi on 10.0.0.2:53: no such host',
        f"{READ}: unexpected EOF",
        f"{READ}: (heuristic tuning data: last retry 0, current offset 7): unexpected EOF",
        f"{READ}: read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer",
        'writing blob: Patch "https://image-registry.apps.2.rahti.csc.fi/v2/shop-2/web/blobs/uploads/7": EOF',
        "writing blob: write tcp 10.0.0.1:55612->10.0.0.2:443: write: broken pipe",
        "writing blob: Patch: use of closed network connection",
    ),
    "timeout": (
        f"{GETTING}: context deadline exceeded",
        f'{PINGING}: Get "{URL}": dial tcp 193.166.0.1:443: i/o timeout',
        f'{PINGING}: Get "{URL}": net/http: TLS handshake timeout',
    ),
    "tls": (
        f'{PINGING}: Get "{URL}": tls: first record does not look like a TLS handshake',
        f'{PINGING}: Get "{URL}": x509: certificate signed by unknown authority',
        f'{PINGING}: Get "{URL}": remote error: tls: bad certificate',
        f'{PINGING}: Get "{URL}": http: server gave HTTP response to HTTPS client',
    ),
    "blob-unknown": (
        f"{FETCHING} 404 (Not Found)",
        f"{WRITING}: manifest blob unknown: blob unknown to registry",
        f"reading blob {BLOB}: fetching blob: blob unknown to registry",
        f"reading blob {BLOB}: fetching blob: name unknown: repository name not known to registry",
        f'reading blob {BLOB}: fetching blob: StatusCode: 404, "<html>..."',
    ),
    "corrupt": (
        f"{READ}: Digest did not match, expected {BLOB}, got sha256:{'0' * 64}",
        f"reading config blob {BLOB}: Download config.json digest {BLOB} does not match expected {BLOB}",
        f"{WRITING}: digest invalid",
    ),
    "too-large": (
        f"{UPLOADING}: StatusCode: 413, too large",
        f"{WRITING}: denied: exceeded quota: images, requested: openshift.io/imagestreams=1",
        f"{WRITING}: denied: maximum openshift.io/Image usage per Container is 1Gi, but limit is 2Gi",
    ),
    "local": (
        "Error loading trust policy: open /etc/containers/policy.json: no such file or directory",
        f"initializing destination docker://{TARGET}:1.4: getting username and password: 1 error occurred:  * reading"
        ' JSON file "/run/a.json": unmarshaling JSON at "/run/a.json": unexpected end of JSON input',
        "Invalid source name docker://A/B: invalid reference format: repository name must be lowercase",
        "open /var/tmp/stream-blob7: no space left on device",
        "unknown flag: --image-parallel-copies",
        "setpriv: failed to execute /usr/bin/skopeo: No such file or directory",
    ),
    "unknown": ("panic: runtime error: index out of range", ""),
}
SAID = [(text, kind) for kind, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("text", "kind"), SAID)
def test_what_skopeo_says_has_the_class_that_helps(text: str, kind: str) -> None:
    assert class_of_text(text) == kind
    assert class_of_text(text.upper()) == kind


@pytest.mark.parametrize("name", ["certificate", "corrupt", "denied", "forbidden", "unauthorized", "500", "eof", "tls"])
@pytest.mark.parametrize(
    ("place", "telling"),
    [("shop/web", "shop/{}"), ("1.4", "{}"), ("docker-registry.rahti.csc.fi", "{}.csc.fi:5000")],
)
def test_names_of_images_and_hosts_say_nothing_about_the_failure(name: str, place: str, telling: str) -> None:
    for text, kind in SAID:
        assert class_of_text(text.replace(place, telling.format(name))) == kind


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (401, "HTTP 401 Unauthorized: UNAUTHORIZED authentication required", "login"),
        (403, "HTTP 403 Forbidden: DENIED requested access to the resource is denied", "denied"),
        (403, "HTTP 403 Forbidden: DENIED exceeded quota: q, requested: openshift.io/images=1", "too-large"),
        (403, "HTTP 403 Forbidden: DENIED maximum openshift.io/Image usage per Image is 1Gi", "too-large"),
        (404, "HTTP 404 Not Found: MANIFEST_UNKNOWN manifest unknown", "not-found"),
        (404, "HTTP 404 Not Found: NAME_UNKNOWN repository name not known {'name': 'shop/quota'}", "not-found"),
        (401, "HTTP 401 Unauthorized: UNAUTHORIZED [{'Name': 'maximum/quota', 'Action': 'pull'}]", "login"),
        (404, "HTTP 404 Not Found: BLOB_UNKNOWN blob unknown to registry", "blob-unknown"),
        (400, "HTTP 400 Bad Request: MANIFEST_BLOB_UNKNOWN blob unknown to registry", "blob-unknown"),
        (400, "HTTP 400 Bad Request: DIGEST_INVALID provided digest did not match uploaded content", "corrupt"),
        (400, "HTTP 400 Bad Request: MANIFEST_INVALID manifest invalid", "unsupported"),
        (400, "HTTP 400 Bad Request: Client sent an HTTP request to an HTTPS server.", "tls"),
        (400, "HTTP 400 Bad Request", "invalid"),
        (302, "HTTP 302 Found", "invalid"),
        (408, "HTTP 408 Request Timeout", "timeout"),
        (413, "HTTP 413 Request Entity Too Large", "too-large"),
        (429, "HTTP 429 Too Many Requests", "rate-limited"),
        (500, "HTTP 500 Internal Server Error", "unavailable"),
        (503, "HTTP 503 Service Unavailable", "unavailable"),
    ],
)
def test_http_answers_have_the_class_that_helps(status: int, words: str, kind: str) -> None:
    assert class_of_status(status, words) == kind


@given(st.text(), st.integers(100, 599))
def test_whatever_is_said_has_some_class(text: str, status: int) -> None:
    assert class_of_text(text) in MEANINGS
    assert class_of_status(status, text) in MEANINGS


@pytest.mark.parametrize("kind", FailureClass)
def test_every_class_has_a_meaning_and_a_way_out(kind: FailureClass) -> None:
    meaning = MEANINGS[kind]
    assert meaning.meaning
    assert meaning.advice
    assert not meaning.meaning.endswith(".")


PASSING = {"rate-limited", "unavailable", "network", "timeout", "stalled", "corrupt", "blob-unknown", "not-confirmed"}
PASSING |= {"invalid", "unknown"}


@pytest.mark.parametrize("kind", FailureClass)
def test_only_what_may_pass_by_itself_is_tried_again(kind: FailureClass) -> None:
    assert Failure(kind, "").retry is (kind in PASSING)


def test_a_failure_says_what_it_means_and_what_was_said() -> None:
    failure = Failure(FailureClass.NOT_FOUND, "manifest unknown")
    assert str(failure) == "there is no such image, tag or repository: manifest unknown"
    assert str(Failure(FailureClass.NOT_FOUND, "")) == "there is no such image, tag or repository"
    assert failure.advice == "check the name and `tags` in the manifest, or take the entry out"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("\x1b]0;title\x07after", "]0;title after"),
        ("\x9b2Jone\x9b", "2Jone"),
        ("two\r\nlines\ttab", "two lines tab"),
        ("right\u202eleft\u2066x\u200bzero", "right left x zero"),
        ("line\u2028separator", "line separator"),
        ("half \ud83d a character", "half   a character"),
        ("  sää 天気 🙂 ", "sää 天気 🙂"),
        ("", ""),
    ],
)
def test_control_characters_and_what_cannot_be_stored_become_spaces(text: str, clean: str) -> None:
    assert printable(text) == clean


@given(st.text(st.characters(categories=None)), st.integers(1, 60))
def test_foreign_words_become_one_line_of_limited_length_that_can_be_stored(text: str, limit: int) -> None:
    clean = printable(text, limit)
    assert len(clean) <= limit + 3
    assert len(clean.splitlines()) <= 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in clean)
    clean.encode()


def test_queries_of_addresses_are_cut_off_because_they_hold_signatures() -> None:
    words = printable('Get "https://store.example.org/b/x?X-Amz-Signature=secret&y=1": EOF, see http://h/p?q=1')
    assert words == 'Get "https://store.example.org/b/x?...": EOF, see http://h/p?...'
