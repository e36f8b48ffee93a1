"""The registry HTTP API: tags, manifests, blobs, mounts. With transport.py the only module that speaks it.

A list of verbs of the OCI distribution specification 1.1; decides nothing.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from migrate.credentials import Login, LoginPatience
from migrate.images.authorization import Scopes
from migrate.images.connections import Answer
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import (
    ACCEPTED,
    MAX_MANIFEST_BYTES,
    ImageManifest,
    NotAnImageManifestError,
    parse_image_manifest,
)
from migrate.images.pace import Pace
from migrate.images.responses import RegistryError, failure_of, read_response
from migrate.images.transport import Connection, Content, Transport
from migrate.reference import valid_digest

__all__ = ["Connection", "Found", "Registry", "RegistryError", "Upload"]

_ACCEPT = ", ".join(ACCEPTED)
_PAGE = 1000
_NEXT = re.compile(r"<([^>]*)>[^,<]*;\s*rel=\"?next\b", re.IGNORECASE)
_MAX_TAGS = 1_000_000
_MAX_CONFIG_BYTES = 16 * 2**20
_MAX_ERROR_BYTES = 2**20
_WHY_OPENSHIFT_DENIES_A_PUT = (
    "the blobs were taken, so the login may push: the image is over the project's size limit (oc describe limits), the"
    " login may not create the image stream (oc create imagestream), or there is no such project"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a HEAD of a manifest says: its digest (empty where the registry does not tell) and media type."""

    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that a registry has opened: in which repository, and its path there."""

    repository: str
    path: str


class Registry:
    """A registry and a login to it. Safe to use from many threads.

    Args:
        connection: where it is.
        login: who asks.
        pace: how much at a time it is asked; its own where none is given.
        timeout: seconds without an answer or without a byte.
        patience: how long an ended login is waited for; not at all where none is given.
    """

    def __init__(
        self,
        connection: Connection,
        login: Login,
        pace: Pace | None = None,
        timeout: float = 60.0,
        patience: LoginPatience | None = None,
    ) -> None:
        self.host = connection.host
        self.login = login
        self.pace = pace or Pace(connection.host)
        self._transport = Transport(connection, login, self.pace, timeout, patience or LoginPatience())

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    @property
    def is_openshift(self) -> bool:
        """Whether this is OpenShift's registry, as far as it was asked."""
        return self._transport.authorization.is_openshift

    def ping(self, repository: str = "") -> None:
        """Ask whether this is a registry and whether it takes the login (that of a repository, where one is named).

        Raises:
            RegistryError: out of reach, no registry, or the login is refused.
        """
        self._transport.ping(repository)

    @property
    def clock_ahead(self) -> float | None:
        """Seconds that the registry's clock was ahead of ours at the last ping; None where it did not tell."""
        return self._transport.clock_ahead

    def refuses_login(self, repository: str = "") -> bool:
        """Whether the login itself (that of a repository) is refused, and not only what was asked with it."""
        return self._transport.refuses_login(repository)

    @property
    def waits_for_login(self) -> bool:
        """Whether the login has ended, and somebody waits for another."""
        return self._transport.gate.closed

    def wait_for_login(self, repository: str) -> bool:
        """Where the login (that of a repository) has ended: wait until one is taken; whether to ask again then.

        Raises:
            RegistryError: whoever waited was stopped.
        """
        return self._transport.wait_for_login(repository)

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
        answer = self._transport.ask(
            "HEAD", f"/v2/{repository}/manifests/{identifier}", what, _pull(repository), accept=_ACCEPT, follow=True
        )
        if answer.status == 404:
            return None
        if answer.status != 200:
            self._transport.fail(what, answer)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not valid_digest(digest):
            return self._found_by_reading(repository, identifier)
        return Found(digest, answer.headers.get("Content-Type", "").partition(";")[0])

    def _found_by_reading(self, repository: str, identifier: str) -> Found | None:
        try:
            manifest = self.manifest(repository, identifier)
        except RegistryError as error:
            if error.failure.kind is FailureClass.NOT_FOUND:
                return None
            raise
        return Found(manifest.digest, manifest.media_type)

    def manifest(self, repository: str, identifier: str) -> ImageManifest:
        """The image manifest under a tag or digest; asked by digest, its bytes are checked against it.

        Raises:
            RegistryError: NOT_FOUND, INVALID where it is no image manifest, CORRUPT where it is another one.
        """
        what = self._name(repository, identifier)
        path = f"/v2/{repository}/manifests/{identifier}"

        def question() -> ImageManifest:
            answer = self._transport.send(
                "GET", path, what, _pull(repository), {"Accept": _ACCEPT}, limit=MAX_MANIFEST_BYTES, follow=True
            )
            if answer.status != 200:
                self._transport.fail(what, answer)
            return _image_manifest(what, identifier, answer)

        return self._transport.repeated(question)

    def put_manifest(self, repository: str, identifier: str, manifest: ImageManifest) -> str:
        """Put a manifest under a tag or digest; the digest of what arrived. A 201 is no proof: read it back."""
        what = self._name(repository, identifier)
        path, headers = f"/v2/{repository}/manifests/{identifier}", {"Content-Type": manifest.media_type}
        answer = self._written("PUT", path, what, _push(repository), headers, manifest.body)
        if answer.status == 403:
            raise RegistryError(what, self.explain_denied_put(failure_of(answer)))
        if answer.status != 201:
            self._transport.fail(what, answer)
        return str(answer.headers.get("Docker-Content-Digest", manifest.digest))

    def _written(
        self, method: str, path: str, what: str, scopes: Scopes, headers: dict[str, str], content: Content
    ) -> Answer:
        """A request that writes; a "no" is asked once more: a router's hiccup must not be taken for a missing right."""
        answer = self._transport.send(method, path, what, scopes, headers, content)
        if answer.status in (401, 403):
            answer = self._transport.send(method, path, what, scopes, headers, content)
        return answer

    def explain_denied_put(self, failure: Failure) -> Failure:
        """OpenShift takes all blobs and then answers a bare "denied" for reasons that it does not give."""
        if failure.kind is not FailureClass.DENIED or not self.is_openshift:
            return failure
        return replace(failure, words=f"{failure.words} ({_WHY_OPENSHIFT_DENIES_A_PUT})")

    def blob_size(self, repository: str, digest: str) -> int | None:
        """The size in bytes of a blob that the repository has (-1 where the registry does not tell), else None."""
        what = self._name(repository, digest)
        answer = self._transport.ask("HEAD", f"/v2/{repository}/blobs/{digest}", what, _pull(repository))
        if answer.status == 404:
            return None
        if answer.is_redirect:
            return -1  # kept in an object store: it is there
        if answer.status != 200:
            self._transport.fail(what, answer)
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else -1

    def small_blob(self, repository: str, digest: str) -> bytes:
        """A config blob, checked against its digest."""
        return self._transport.repeated(lambda: b"".join(self.blob(repository, digest, _MAX_CONFIG_BYTES)))

    def check_blob(self, repository: str, digest: str) -> int:
        """Read a blob whole, keep nothing of it, and check it against its digest; its bytes."""
        return self._transport.repeated(lambda: sum(map(len, self.blob(repository, digest))))

    def blob(self, repository: str, digest: str, limit: int | None = None) -> Iterator[bytes]:
        """A blob's bytes; after the last one they are checked against the digest.

        Raises:
            RegistryError: NOT_FOUND, CORRUPT, INVALID (longer than `limit`), or any failure of the connection.
        """
        what = self._name(repository, digest)
        path = f"/v2/{repository}/blobs/{digest}"
        check = hashlib.new(digest.partition(":")[0])
        size = 0
        with self._transport.exchange("GET", path, what, _pull(repository), follow=True) as answer:
            if answer.status != 200:
                answer = read_response(answer, what, _MAX_ERROR_BYTES)
                self._transport.fail(what, answer, FailureClass.BLOB_UNKNOWN if answer.status == 404 else None)
            if limit is not None:
                answer = read_response(answer, what, limit)
            for chunk in [answer.content] if answer.is_read else answer.chunks():
                size += len(chunk)
                check.update(chunk)
                yield chunk
        if check.hexdigest() != digest.partition(":")[2]:
            raise RegistryError(what, Failure(FailureClass.CORRUPT, f"its {size} bytes have another digest"))

    def mount(self, repository: str, digest: str, origin: str) -> "Upload | None":
        """Make a blob of a repository of this registry (also the same one) appear in this one; None where it does now.

        Where the registry will not (it is not there; OpenShift: the login may not pull from `origin`), it opens an
        upload instead (OCI distribution-spec 1.1, "Mounting a blob from another repository"): send the blob there, or
        cancel it.

        Raises:
            RegistryError: neither of the two.
        """
        what = self._name(repository, digest)
        scopes = (*_push(repository), *(_pull(origin) if origin != repository else ()))
        return self._opened(f"/v2/{repository}/blobs/uploads/?mount={digest}&from={origin}", what, repository, scopes)

    def open_upload(self, repository: str) -> "Upload":
        """Open an upload.

        Raises:
            RegistryError: the registry does not.
        """
        what = f"{self.host}/{repository}"
        opened = self._opened(f"/v2/{repository}/blobs/uploads/", what, repository, _push(repository))
        if opened is None:
            raise RegistryError(what, Failure(FailureClass.INVALID, "an upload ended before it began"))
        return opened

    def _opened(self, path: str, what: str, repository: str, scopes: Scopes) -> "Upload | None":
        answer = self._written("POST", path, what, scopes, {}, b"")
        if answer.status == 201:
            return None
        if answer.status != 202:
            self._transport.fail(what, answer)
        location = _upload(answer, self._transport.base, path)
        if not location:
            raise RegistryError(what, Failure(FailureClass.INVALID, "an upload was opened, and not said where"))
        return Upload(repository, location.removeprefix(self._transport.base))

    def send_blob(self, upload: "Upload", digest: str, size: int, content: Callable[[], Iterable[bytes]]) -> None:
        """Send a blob in one piece to an upload, which ends with it; the registry compares the digest.

        Args:
            upload: where to.
            digest: of the whole.
            size: bytes of the whole; -1 where that is not known.
            content: gives it from the beginning; asked again where a login had to be renewed.

        Raises:
            RegistryError: it was not taken, or what `content` raises.
        """
        what = self._name(upload.repository, digest)
        path = f"{upload.path}{'&' if '?' in upload.path else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream", **({"Content-Length": str(size)} if size >= 0 else {})}
        answer = self._written("PUT", path, what, _push(upload.repository), headers, content)
        if answer.status != 201:
            self._transport.fail(what, answer)

    def cancel(self, upload: "Upload") -> None:
        """Take an upload back; one that stays open is the registry's to clean up."""
        with suppress(RegistryError):
            self._transport.send("DELETE", upload.path, f"{self.host}/{upload.repository}", _push(upload.repository))

    def check_push(self, repository: str) -> None:
        """Ask whether the login may push to a repository: an upload is opened and taken back, and nothing is kept.

        Raises:
            RegistryError: DENIED, or what else is in the way.
        """
        what = f"{self.host}/{repository}"
        path = f"/v2/{repository}/blobs/uploads/"

        def question() -> Answer:
            answer = self._transport.send("POST", path, what, _push(repository), content=b"")
            if answer.status != 202:
                self._transport.fail(what, answer)
            return answer

        answer = self._transport.repeated(question)
        location = _upload(answer, self._transport.base, path)
        if location:
            self.cancel(Upload(repository, location.removeprefix(self._transport.base)))

    def _name(self, repository: str, identifier: str) -> str:
        return f"{self.host}/{repository}{'@' if ':' in identifier else ':'}{identifier}"

    def _pages(self, path: str, key: str, what: str, scopes: Scopes) -> Iterator[str]:
        seen: set[str] = set()
        while path:
            answer = self._transport.ask("GET", path, what, scopes)
            if answer.status == 400 and not seen and "?" in path:
                path = path.partition("?")[0]  # its pages are smaller than the one asked for: let it choose
                continue
            if answer.status != 200:
                self._transport.fail(what, answer)
            names = _names(answer, key, what)
            new = [name for name in names if name not in seen]
            yield from new
            seen.update(new)
            following = _next_page(answer, self._transport.base)
            if len(seen) > _MAX_TAGS or (following and not new):
                raise RegistryError(what, Failure(FailureClass.INVALID, "the list has no end"))
            path = following


def _image_manifest(what: str, identifier: str, answer: Answer) -> ImageManifest:
    """The manifest of an answer, whose bytes are what was asked for, or what the registry says that they are."""
    said = identifier if ":" in identifier else answer.headers.get("Docker-Content-Digest", "")
    asked = said if valid_digest(said) else ""
    came = _digest(asked, answer.content) if asked else ""
    try:
        manifest = parse_image_manifest(answer.content, answer.headers.get("Content-Type", ""))
    except NotAnImageManifestError as error:
        kind = FailureClass.INVALID if came == asked else FailureClass.CORRUPT
        raise RegistryError(what, Failure(kind, str(error))) from None
    if asked and asked not in (came, manifest.digest):
        raise RegistryError(what, Failure(FailureClass.CORRUPT, f"the manifest that came is {manifest.digest}"))
    return manifest


def _names(answer: Answer, key: str, what: str) -> list[str]:
    try:
        names = json.loads(answer.content).get(key) or []
        return [str(name) for name in names]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise RegistryError(what, Failure(FailureClass.INVALID, "the answer is not a list of names")) from None


def _pull(repository: str) -> Scopes:
    return (f"repository:{repository}:pull",)


def _push(repository: str) -> Scopes:
    return (f"repository:{repository}:pull,push",)


def _digest(like: str, content: bytes) -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def _upload(answer: Answer, base: str, path: str) -> str:
    """Where an upload was opened, on this registry; empty where none was."""
    try:
        location = urljoin(f"{base}{path}", answer.headers.get("Location", ""))
        return location if answer.status == 202 and urlsplit(location)[:2] == urlsplit(base)[:2] else ""
    except ValueError:
        return ""


def _next_page(answer: Answer, base: str) -> str:
    """The path of `Link: <...>; rel="next"` (distribution specification, "Listing Tags"), on this registry only."""
    link = _NEXT.search(answer.headers.get("Link", ""))
    if link is None:
        return ""
    try:
        url = urlsplit(urljoin(answer.url, link[1]))
    except ValueError:
        raise RegistryError(base, Failure(FailureClass.INVALID, "the next page has no address")) from None
    if url.netloc != urlsplit(base).netloc:
        raise RegistryError(base, Failure(FailureClass.INVALID, "the next page is said to be on another host"))
    return f"{url.path}?{url.query}"
