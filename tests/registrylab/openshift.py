"""A stand-in for OpenShift 4's integrated registry: a docker-registry behind a gateway that answers as OpenShift does.

The docker-registry keeps blobs and plain manifests. Who may do what, image streams with their tags, and indexes are
kept here, for that is where OpenShift differs. What is imitated was seen on openshift/image-registry d4cce000 with
openshift-apiserver 56aa2d96. Not imitated: a Docker schema 2 tag that turns into schema 1 without an Accept header,
pull-through, signatures, and blobs that are pruned.
"""

import base64
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

from registrylab.gateway import Answer, Forward, Gateway, Request, gateway
from registrylab.images import DOCKER_LIST, OCI_INDEX, sha256
from registrylab.registry import LabRegistry, Tls, registry

ANONYMOUS = "system:anonymous"
VIEWER = frozenset({"get"})
"""registry-viewer, view, system:image-puller: pull."""
PUSHER = frozenset({"get", "update"})
"""system:image-pusher: pull, and push to image streams that exist."""
EDITOR = frozenset({"get", "update", "create"})
"""registry-editor, edit, admin, system:image-builder: pull, push, and create image streams by pushing."""
ACTIVE, TERMINATING = "Active", "Terminating"

_TOKEN_PATH = "/openshift/token"
_ANONYMOUS_TOKEN = "anonymous"
_DENIED_CHALLENGE = (("WWW-Authenticate", 'Basic realm=openshift,error="access denied"'),)
_STREAM_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_ACTIONS = {"GET": ("pull",), "HEAD": ("pull",), "DELETE": ("delete",)}
_VERBS = {"pull": "get", "push": "update"}

Query = dict[str, list[str]]


@dataclass(frozen=True)
class Put:
    """One put of a manifest and its answer's status.

    `at_once` puts of tags ran in this image stream, this one included; of a put by digest, which touches none, it is 0.
    """

    repository: str
    identifier: str
    at_once: int
    status: int


@dataclass(frozen=True)
class Mount:
    """One wish to mount a blob: 201 where it was, 202 where it became an ordinary upload."""

    repository: str
    origin: str
    digest: str
    status: int


@dataclass(frozen=True)
class Pushed:
    """An image whose tag was put; `config` is its config's content, empty where it has none."""

    digest: str
    media_type: str
    manifest: bytes
    config: dict[str, Any]


class Authority(Protocol):
    """An API server: it decides who may do what, and keeps the image streams."""

    def may(self, user: str, repository: str, verb: str) -> bool:
        """Whether a user has a verb on an image stream, which need not exist."""

    def may_list(self, user: str) -> bool:
        """Whether a user may list the image streams of all projects."""

    def tagged(self, repository: str, tag: str, pushed: Pushed) -> bool:
        """Keep a tag; False where a quota is used up."""


@dataclass(frozen=True)
class _Kept:
    """Where the docker-registry has an image, and what the image names."""

    repository: str
    named: frozenset[str]


@dataclass(frozen=True)
class _Index:
    media_type: str
    body: bytes

    @property
    def children(self) -> set[str]:
        return {child["digest"] for child in json.loads(self.body)["manifests"]}


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


@dataclass
class OpenShiftRegistry:
    """A running stand-in; users, rights and limits may be changed while it runs.

    With an authority `cluster_admins` and `rights` mean nothing; projects, limits and streams are views of what it has.

    Attributes:
        inner: the docker-registry behind it; it knows no rights, and no tags that mean anything.
        host: where to connect.
        users: token -> user name.
        cluster_admins: users who may do everything but delete, in every project.
        projects: name -> ACTIVE or TERMINATING.
        rights: (user, project or project/stream) -> verbs, such as VIEWER, PUSHER, EDITOR; asked at every request.
        image_limits: project -> bytes that an image may have (a LimitRange for openshift.io/Image).
        streams: project/stream -> tag -> digests, newest first.
        puts_at_once: more puts of tags of one image stream at a time get 500.
        put_seconds: how long each put of a tag takes.
        puts: every put of a manifest, in the order in which they ended.
        mounts: every wish to mount a blob.
        authority: who is asked for rights; None for `rights` and `cluster_admins`.
    """

    inner: LabRegistry
    host: str = ""
    tls: Tls | None = None
    users: dict[str, str] = field(default_factory=dict)
    cluster_admins: set[str] = field(default_factory=set)
    projects: MutableMapping[str, str] = field(default_factory=dict)
    rights: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    image_limits: MutableMapping[str, int] = field(default_factory=dict)
    streams: MutableMapping[str, dict[str, list[str]]] = field(default_factory=dict)
    puts_at_once: int = 4
    put_seconds: float = 0.0
    puts: list[Put] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    authority: Authority | None = None
    _gateway: Gateway | None = None
    _indexes: dict[str, _Index] = field(default_factory=dict)
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _putting: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seen(self) -> list[Request]:
        """All requests, oldest first."""
        return list(self._gateway.seen) if self._gateway else []

    def seen_by(self, token: str) -> LabRegistry:
        """This registry for a LabClient with that token."""
        return replace(self.inner, host=self.host, tls=self.tls, credential=("whoever", token))

    def may(self, user: str, repository: str, verb: str) -> bool:
        """Whether a user has a verb on an image stream, which need not exist."""
        if self.authority:
            return self.authority.may(user, repository, verb)
        if user in self.cluster_admins:
            return True
        project = repository.partition("/")[0]
        granted = (self.rights.get((user, where), frozenset()) for where in (project, repository))
        return project in self.projects and any(verb in verbs for verbs in granted)

    def handle(self, request: Request, forward: Forward) -> Answer:
        """Answer one request: the gateway's handler."""
        if self.tls:
            request = replace(request, headers={**request.headers, "x-forwarded-proto": "https"})
        try:
            return self._answer(request, forward)
        except _Refused as refused:
            return refused.answer

    # --- who ----------------------------------------------------------------------------------------------------

    def _token(self, request: Request, query: Query) -> Answer:
        """The token of a login is the OpenShift token itself; its scopes are looked at for names only."""
        for scope in " ".join(query.get("scope", [])).split():
            kind, _, rest = scope.partition(":")
            name = rest.rpartition(":")[0]
            if kind == "repository" and name.count("/") != 1:
                return _json(401, {"details": _wrong_name(name)})
        token = _ANONYMOUS_TOKEN
        if "authorization" in request.headers:
            token = _password(request)
            if token not in self.users:
                return Answer(401, (("Content-Type", "application/json"),))
        return _json(200, {"token": token, "access_token": token})

    def _user(self, request: Request) -> str:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind not in ("Bearer", "Basic"):
            realm = f"{'https' if self.tls else 'http'}://{self.host}{_TOKEN_PATH}"
            challenge = (("WWW-Authenticate", f'Bearer realm="{realm}"'),)
            raise _Refused(_error(401, "UNAUTHORIZED", "authentication required", headers=challenge))
        if kind == "Bearer" and value == _ANONYMOUS_TOKEN:
            return ANONYMOUS
        token = value if kind == "Bearer" else _password(request)
        if token not in self.users:
            raise _Refused(_unauthorized(request.repository, request.method))
        return self.users[token]

    def _check_rights(self, user: str, request: Request) -> None:
        """Two names are needed, then the right for what is asked: 401 where it is missing, never 403."""
        if request.repository.count("/") != 1:
            raise _Refused(Answer(400))
        for action in _ACTIONS.get(request.method, ("pull", "push")):
            verb = "update" if action == "delete" and request.phase == "upload" else _VERBS.get(action, "")
            if not verb or not self.may(user, request.repository, verb):
                raise _Refused(_unauthorized(request.repository, request.method))

    # --- what ---------------------------------------------------------------------------------------------------

    def _answer(self, request: Request, forward: Forward) -> Answer:
        address = urlsplit(request.path)
        query = parse_qs(address.query)
        if address.path == _TOKEN_PATH:
            return self._token(request, query)
        user = self._user(request)
        if request.phase == "ping":
            return _json(200, {})
        if address.path == "/v2/_catalog":
            return self._catalog(user, query)
        self._check_rights(user, request)
        match request.phase:
            case "tags":
                return self._tags(request.repository, query)
            case "manifest":
                return self._manifest(request, forward)
            case "manifest put":
                return self._put(user, request, forward)
            case "mount":
                return self._mount(user, request, query, forward)
            case "blob":
                return self._blob(request, forward)
        return forward(request)

    def _catalog(self, user: str, query: Query) -> Answer:
        if not (self.authority.may_list(user) if self.authority else user in self.cluster_admins):
            detail = [{"Type": "registry", "Class": "", "Name": "catalog", "Action": "*"}]
            return _error(401, "UNAUTHORIZED", "authentication required", detail, _DENIED_CHALLENGE)
        return _page("/v2/_catalog", {}, "repositories", self.streams, query)

    def _tags(self, repository: str, query: Query) -> Answer:
        if repository not in self.streams:
            return _name_unknown({"name": repository})
        path = f"/v2/{repository}/tags/list"
        return _page(path, {"name": repository}, "tags", self.streams[repository], query)

    def _manifest(self, request: Request, forward: Forward) -> Answer:
        digest = self._digest(request.repository, _identifier(request))
        index = self._indexes.get(digest)
        if index is None:
            answer = forward(replace(request, path=f"/v2/{request.repository}/manifests/{digest}"))
            if answer.status == 404 and digest in self._kept:
                return forward(replace(request, path=f"/v2/{self._kept[digest].repository}/manifests/{digest}"))
            return answer
        if index.media_type == OCI_INDEX and OCI_INDEX not in request.headers.get("accept", ""):
            return _manifest_unknown("OCI index found, but accept header does not support OCI indexes")
        headers = {"Content-Type": index.media_type, "Content-Length": str(len(index.body))}
        return Answer(200, (*headers.items(), ("Docker-Content-Digest", digest)), index.body)

    def _blob(self, request: Request, forward: Forward) -> Answer:
        """A blob is where it was pushed; a tag that was made from another stream's reads it there."""
        answer = forward(request)
        if answer.status != 404 or request.method not in ("GET", "HEAD"):
            return answer
        digest = _identifier(request)
        for image in self._readable(self.streams.get(request.repository, {})):
            kept = self._kept.get(image)
            if kept and digest in kept.named:
                return forward(replace(request, path=f"/v2/{kept.repository}/blobs/{digest}"))
        return answer

    def _digest(self, repository: str, identifier: str) -> str:
        """What a tag or digest means in an image stream: digests that no tag has or had there cannot be read."""
        stream = self.streams.get(repository)
        by_digest = ":" in identifier
        if stream is None:
            raise _Refused(_unknown() if by_digest else _name_unknown())
        if not by_digest and identifier not in stream:
            raise _Refused(_manifest_unknown("manifest unknown", {"Tag": identifier}))
        if by_digest and identifier not in self._readable(stream):
            raise _Refused(_manifest_unknown("manifest unknown"))
        return identifier if by_digest else stream[identifier][0]

    def _readable(self, stream: dict[str, list[str]]) -> set[str]:
        named = {digest for history in list(stream.values()) for digest in history}
        return named.union(*(self._indexes[digest].children for digest in named if digest in self._indexes))

    # --- puts ---------------------------------------------------------------------------------------------------

    def _put(self, user: str, request: Request, forward: Forward) -> Answer:
        repository, identifier = request.repository, _identifier(request)
        with self._one_more(repository, identifier) as at_once:
            try:
                digest = self._keep(request, forward)
                if at_once:
                    time.sleep(self.put_seconds)
                    self._check_mapping(user, request, at_once)
                    self._map(request, identifier, digest, forward)
                location = f"/v2/{repository}/manifests/{digest}"
                answer = Answer(201, (("Location", location), ("Docker-Content-Digest", digest)))
            except _Refused as refused:
                answer = refused.answer
        self.puts.append(Put(repository, identifier, at_once, answer.status))
        return answer

    @contextmanager
    def _one_more(self, repository: str, identifier: str) -> Iterator[int]:
        """Count the puts of tags of one image stream that run at once."""
        if ":" in identifier:
            yield 0
            return
        with self._lock:
            self._putting[repository] += 1
            at_once = self._putting[repository]
        try:
            yield at_once
        finally:
            with self._lock:
                self._putting[repository] -= 1

    def _keep(self, request: Request, forward: Forward) -> str:
        """Keep a manifest under its digest; only those of plain images must have everything that they name."""
        media_type = request.headers.get("content-type", "")
        if media_type in (OCI_INDEX, DOCKER_LIST):
            digest = sha256(request.body)
            self._indexes[digest] = _Index(media_type, request.body)
            return digest
        answer = forward(request)
        if answer.status != 201:
            raise _Refused(answer)
        digest = answer.header("Docker-Content-Digest")
        self._kept.setdefault(digest, _Kept(request.repository, frozenset(_named(request.body))))
        return digest

    def _check_mapping(self, user: str, request: Request, at_once: int) -> None:
        """What OpenShift's API says to a new tag event: it comes last, when everything is written."""
        project, _, name = request.repository.partition("/")
        phase = self.projects.get(project)
        if phase == TERMINATING or not _STREAM_NAME.fullmatch(name) or at_once > self.puts_at_once:
            raise _Refused(_unknown())
        missing = request.repository not in self.streams and not self.may(user, request.repository, "create")
        too_large = _size(request.body) > self.image_limits.get(project, _size(request.body))
        if phase is None or missing or too_large:
            raise _Refused(_error(403, "DENIED", "requested access to the resource is denied"))

    def _map(self, request: Request, tag: str, digest: str, forward: Forward) -> None:
        """One more item in the tag's history, unless it is the newest already."""
        repository = request.repository
        if self.authority:
            config = _config(request, forward)
            pushed = Pushed(digest, request.headers.get("content-type", ""), request.body, config)
            if not self.authority.tagged(repository, tag, pushed):
                raise _Refused(_error(403, "DENIED", "requested access to the resource is denied"))
            return
        with self._lock:
            stream = self.streams.setdefault(repository, {})
            history = stream.get(tag, [])
            if history[:1] != [digest]:
                stream[tag] = [digest, *history]

    def _mount(self, user: str, request: Request, query: Query, forward: Forward) -> Answer:
        """Where the origin may not be read the wish is not heard: an ordinary upload begins."""
        origin = query.get("from", [""])[0]
        heard = self.may(user, origin, "get")
        answer = forward(request if heard else replace(request, path=request.path.partition("?")[0]))
        self.mounts.append(Mount(request.repository, origin, query["mount"][0], answer.status))
        return answer


@contextmanager
def openshift_registry(folder: Path, tls: Tls | None = None) -> Iterator[OpenShiftRegistry]:
    """A stand-in without users and projects on a free loopback port; its files are in `folder`."""
    with registry(schema1=True, folder=folder) as inner:
        made = OpenShiftRegistry(inner, tls=tls)
        with gateway(inner.host, made.handle, tls) as passing:
            made.host, made._gateway = passing.host, passing
            yield made


def _identifier(request: Request) -> str:
    return urlsplit(request.path).path.rpartition("/")[2]


def _password(request: Request) -> str:
    """What stands behind the user name, which means nothing."""
    value = request.headers["authorization"].partition(" ")[2]
    return base64.b64decode(value).decode().partition(":")[2]


def _named(body: bytes) -> Iterator[str]:
    """The blobs of a plain image."""
    document = json.loads(body)
    for blob in (*document.get("layers", ()), *filter(None, [document.get("config")])):
        yield blob["digest"]
    for layer in document.get("fsLayers", ()):
        yield layer["blobSum"]


def _config(request: Request, forward: Forward) -> dict[str, Any]:
    """The content of an image's config, from behind."""
    digest = (json.loads(request.body).get("config") or {}).get("digest")
    if not digest:
        return {}
    answer = forward(Request("GET", f"/v2/{request.repository}/blobs/{digest}", {"host": request.headers["host"]}))
    try:
        read = json.loads(answer.body)
    except ValueError:
        return {}
    return read if answer.status == 200 and isinstance(read, dict) else {}


def _size(body: bytes) -> int:
    """Bytes of a plain image, as its manifest says."""
    document = json.loads(body)
    return sum(blob["size"] for blob in (*document.get("layers", ()), document.get("config", {"size": 0})))


def _page(path: str, more: dict[str, str], key: str, names: Iterable[str], query: Query) -> Answer:
    """A list of names, `n` of them after `last`."""
    last, limit = query.get("last", [""])[0], int(query.get("n", ["0"])[0])
    rest = sorted(name for name in list(names) if name > last)
    page = rest[: limit or None]
    following = f'<{path}?{urlencode({"last": page[-1], "n": limit})}>; rel="next"' if len(page) < len(rest) else ""
    return _json(200, {**more, key: page}, (("Link", following),) if following else ())


def _json(status: int, document: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    kept = (("Content-Type", "application/json"), ("Docker-Distribution-Api-Version", "registry/2.0"), *headers)
    return Answer(status, kept, json.dumps(document).encode())


def _error(
    status: int, code: str, message: str, detail: Any = None, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    error = {"code": code, "message": message, **({"detail": detail} if detail else {})}
    return _json(status, {"errors": [error]}, headers)


def _unauthorized(repository: str, method: str) -> Answer:
    actions = _ACTIONS.get(method, ("pull", "push")) if repository else ()
    detail = [{"Type": "repository", "Class": "", "Name": repository, "Action": action} for action in actions]
    return _error(401, "UNAUTHORIZED", "authentication required", detail, _DENIED_CHALLENGE)


def _wrong_name(name: str) -> str:
    return f'repository name "{name}" invalid: it must be of the format <project>/<name>'


def _name_unknown(detail: Any = None) -> Answer:
    return _error(404, "NAME_UNKNOWN", "repository name not known to registry", detail)


def _manifest_unknown(message: str, detail: Any = None) -> Answer:
    return _error(404, "MANIFEST_UNKNOWN", message, detail)


def _unknown() -> Answer:
    return _error(500, "UNKNOWN", "unknown error")
