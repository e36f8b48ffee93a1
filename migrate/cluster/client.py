"""Asks and tells the Kubernetes/OpenShift API. Objects are plain dictionaries, as the API has them.

Reads OKD 3.11 (Kubernetes 1.11) and writes OKD 4. Lists are read in pages; questions and server-side applies, which
may be sent twice, are repeated where waiting may help.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import stamina

from migrate.cluster.problems import ClusterError, Problem, asked
from migrate.cluster.resources import MAKING, check_names, document_of, name_of, resource_of, sendable
from migrate.credentials import ApiAccess, Login, LoginGate, LoginPatience
from migrate.kinds import LOCAL_REVIEW, SELF_REVIEW, USER, Kind
from migrate.printable import printable
from migrate.proxies import goes_direct

if (
    TYPE_CHECKING
):  # loaded where it is used: it takes longer than a small copy between plain registries, which needs none
    from lightkube import Client

log = logging.getLogger(__name__)

MANAGER = "rahti-migrate"
"""The field manager of server-side apply, and the label of what this tool made."""
MANAGED_BY = "app.kubernetes.io/managed-by"

Object = dict[str, Any]
T = TypeVar("T")

_PAGE = 500
_EMPTY_PAGES, _OBJECTS = 100, 500_000
"""So many empty pages one after another, or objects of a kind in a project, are no list any more."""
_TIMEOUT = 60.0
_ATTEMPTS = 4
_HASTY_TIMEOUT, _HASTY_ATTEMPTS = 15.0, 2
_SILENT_SECONDS = 30.0
"""For so long nobody waits again for an API that could not be connected to."""


class Cluster:
    """The API of one end. Safe to use from many threads.

    Args:
        access: where it is, and who asks.
        patience: how long an ended login is waited for; not at all where none is given.
        hasty: whether to give up soon where nothing answers.
    """

    def __init__(self, access: ApiAccess, patience: LoginPatience | None = None, *, hasty: bool = False) -> None:
        self._hasty = hasty
        self.origin = access.origin
        self.server = access.server
        self.login = access.login
        self._access = access
        self._gate = LoginGate(access.server, access.login, patience or LoginPatience()) if access.login else None
        self._lock = threading.Lock()
        self._client: tuple[str, Client] | None = None
        self._silent: tuple[float, str] | None = None

    def close(self) -> None:
        """Give the connections back."""
        if self._client:
            self._client[1].close()

    def seen_by(self, login: Login) -> "Cluster":
        """The same API, asked by somebody else."""
        return Cluster(replace(self._access, origin=login.origin, user={}, login=login), hasty=self._hasty)

    def list(self, kind: Kind, namespace: str) -> list[Object]:
        """All objects of a kind in a project.

        Raises:
            ClusterError: they cannot be read.
        """
        what = f"{kind.plural} of project {namespace}"
        check_names(what, namespace)
        resource = resource_of(kind)

        def pages(client: "Client") -> list[Object]:
            listed = client.list(resource, namespace=namespace, chunk_size=_PAGE)
            return _of_pages(what, listed._inner_iter)  # lightkube 1.0 goes on forever where pages are empty

        return self._repeated(what, pages)

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """One object; None where there is none.

        Raises:
            ClusterError: it cannot be read.
        """
        resource = resource_of(kind)
        what = name_of(kind, name, namespace)
        where = {"namespace": namespace} if kind.namespaced else {}
        if (kind, name) != (USER, "~"):
            check_names(what, name, *where.values())
        try:
            return self._repeated(what, lambda c: dict(c.get(resource, name, **where)))
        except ClusterError as error:
            if error.problem is Problem.NOT_FOUND:
                return None
            raise

    def apply(self, kind: Kind, document: Mapping[str, Any], *, force: bool = True, dry_run: bool = False) -> Object:
        """Server-side apply, as this tool's field manager; with a resourceVersion only onto that one.

        Args:
            kind: where it is sent.
            document: what we want of it.
            force: other managers' values of the same fields are replaced: whoever applies has read the object before.
            dry_run: the server only tries it, and gives what would come of it.

        Raises:
            ClusterError: refused; CONFLICT where the object is another one by now, or (without `force`) others manage
                a field that would change.
        """
        given, what = sendable(kind, document)
        return self._repeated(what, lambda c: dict(c.apply(given, field_manager=MANAGER, force=force, dry_run=dry_run)))

    def create(self, kind: Kind, document: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Make an object; sent once.

        Raises:
            ClusterError: refused; CONFLICT where one of that name exists.
        """
        given, what = sendable(kind, document)
        return self._sent_once(what, lambda c: dict(c.create(given, dry_run=dry_run)))

    def replace(self, kind: Kind, document: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Write an object back that was read; sent once.

        Raises:
            ClusterError: refused; CONFLICT where it changed since it was read.
        """
        given, what = sendable(kind, document)
        return self._sent_once(what, lambda c: dict(c.replace(given, dry_run=dry_run)))

    def delete(self, kind: Kind, document: Mapping[str, Any]) -> None:
        """Delete an object as it was read; one that is gone already is well, too.

        Raises:
            ClusterError: refused; CONFLICT where it changed since it was read.
        """
        resource, metadata = resource_of(kind), document.get("metadata") or {}
        name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", ""))
        what = name_of(kind, name, namespace)
        check_names(what, name, namespace)
        known = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": known}
        options["propagationPolicy"] = "Background"  # what it made goes too, of Jobs as well

        def send(client: "Client") -> None:
            sender = client._client  # lightkube 1.0 has no word for preconditions
            request = sender.prepare_request("delete", resource, name=name, namespace=namespace)
            request.data = options
            sender.handle_response("delete", sender.send(sender.build_adapter_request(request)), request)

        try:
            self._repeated(what, send)
        except ClusterError as error:
            if error.problem is not Problem.NOT_FOUND:
                raise

    def may(self, namespace: str, user: str, groups: tuple[str, ...], attributes: Mapping[str, str]) -> bool:
        """Whether somebody may do something in a project: a LocalSubjectAccessReview, which a project admin may ask.

        Args:
            namespace: the project.
            user: the name that is asked about.
            groups: what it is a member of.
            attributes: as `spec.resourceAttributes` has them: group, resource, subresource, verb, name.

        Raises:
            ClusterError: the question is refused.
        """
        spec = {"user": user, "groups": [*groups], "resourceAttributes": {**attributes, "namespace": namespace}}
        check_names(f"access review in project {namespace}", namespace)
        sent = document_of(LOCAL_REVIEW, {"metadata": {"namespace": namespace}, "spec": spec})
        answer = self._repeated(f"access review in project {namespace}", lambda c: dict(c.create(sent)))
        return _is_allowed(answer)

    def i_may(self, namespace: str, attributes: Mapping[str, str]) -> bool:
        """Whether who asks may do something in a project: a SelfSubjectAccessReview, which everybody may ask.

        Args:
            namespace: the project.
            attributes: as `spec.resourceAttributes` has them: group, resource, subresource, verb, name.

        Raises:
            ClusterError: the question is refused.
        """
        what = f"access review in project {namespace}"
        check_names(what, namespace)
        sent = document_of(
            SELF_REVIEW, {"metadata": {}, "spec": {"resourceAttributes": {**attributes, "namespace": namespace}}}
        )
        return _is_allowed(self._repeated(what, lambda c: dict(c.create(sent))))

    def whoami(self) -> str:
        """The name of who asks.

        Raises:
            ClusterError: the login is not taken, or the API is out of reach.
        """
        metadata = (self.get(USER, "~") or {}).get("metadata")
        return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""

    def _repeated(self, what: str, ask: "Callable[[Client], T]") -> T:
        def again(error: Exception) -> bool:
            return isinstance(error, ClusterError) and error.problem is Problem.UNREACHABLE

        maybe = False

        def attempt() -> T:
            nonlocal maybe
            try:
                return self._once(what, ask)
            except ClusterError as error:  # a refusal (a conflict, say) may be of what an earlier try has done
                maybe = error.maybe = error.maybe or maybe
                raise

        self._check_silence(what)
        attempts = _HASTY_ATTEMPTS if self._hasty else _ATTEMPTS
        caller = stamina.RetryingCaller(attempts=attempts, timeout=None, wait_initial=0.3, wait_max=5.0)
        try:
            return caller.on(again)(attempt)
        except ClusterError as error:
            if not error.connected:
                self._silent = (time.monotonic(), error.words)
            raise

    def _sent_once(self, what: str, ask: "Callable[[Client], T]") -> T:
        """Send what must not be sent twice."""
        self._check_silence(what)
        try:
            return self._once(what, ask)
        except ClusterError as error:
            if not error.connected:
                self._silent = (time.monotonic(), error.words)
            raise

    def _check_silence(self, what: str) -> None:
        """Nobody waits again for an API that could not be connected to a moment ago."""
        silent = self._silent
        if silent and time.monotonic() - silent[0] < _SILENT_SECONDS:
            raise ClusterError(what, Problem.UNREACHABLE, silent[1], connected=False)

    def _once(self, what: str, ask: "Callable[[Client], T]") -> T:
        """Ask; where the login is refused, again with a newer one, and where one that has worked ended, wait for it."""
        client = self._open()
        try:
            return self._told(what, ask, client)
        except ClusterError as error:
            if error.problem is not Problem.LOGIN:
                raise
            refused = error
        newer = self._open(renew=True)
        if newer is not client:
            try:
                return self._told(what, ask, newer)
            except ClusterError as error:
                if error.problem is not Problem.LOGIN:
                    raise
                refused = error
        if self._gate is None or not self._gate.wait("", self._takes_login):
            raise refused
        return self._told(what, ask, self._open())

    def _takes_login(self) -> bool:
        try:
            self._told("user ~", lambda c: c.get(resource_of(USER), "~"), self._open(renew=True))
        except ClusterError as error:
            return error.problem is not Problem.LOGIN
        return True

    def _told(self, what: str, ask: "Callable[[Client], T]", client: "Client") -> T:
        """Ask; who gets through knows that the API is there."""
        log.debug("%s: %s", self.server, what)
        try:
            found = asked(what, ask, client)
        except ClusterError as error:
            if error.connected:
                self._silent = None
            raise
        self._silent = None
        if self._gate:
            self._gate.works("")
        return found

    def _open(self, *, renew: bool = False) -> "Client":
        """A client with the login of now."""
        token = self._access.token(renew=renew)
        with self._lock:
            if self._client is None or self._client[0] != token:
                self._client = (token, self._connect(token))
            return self._client[1]

    def _connect(self, token: str) -> "Client":
        import httpx2
        import msgspec
        from lightkube import Client, KubeConfig
        from lightkube.core.exceptions import ConfigError

        user = {**self._access.user, **({"token": token} if token else {})}
        parts = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {**self._access.cluster}}],
            "users": [{"name": "it", "user": user}],
        }
        timeout = httpx2.Timeout(_HASTY_TIMEOUT if self._hasty else _TIMEOUT, connect=15.0)
        try:
            direct = goes_direct(urlsplit(self.server).hostname or "")
            with MAKING:
                config = KubeConfig.from_dict(parts)
            return Client(config=config, timeout=timeout, trust_env=not direct, field_manager=MANAGER)
        except ImportError:
            words = "a SOCKS proxy in the environment is not supported: name an HTTP proxy, or NO_PROXY"
            raise ClusterError(self.server, Problem.INVALID, words) from None
        except (OSError, ValueError, TypeError, ConfigError, msgspec.MsgspecError, httpx2.InvalidURL) as error:
            words = f"{self.origin}: its certificates or address cannot be used: {printable(str(error))}"
            raise ClusterError(self.server, Problem.INVALID, words) from None


def _of_pages(what: str, pages: Iterable[tuple[str | None, list[Any]]]) -> list[Object]:
    """What is on the pages of a list, which has an end."""
    found: list[Object] = []
    empty = 0
    for _, page in pages:
        found += map(dict, page)
        empty = 0 if page else empty + 1
        if empty > _EMPTY_PAGES or len(found) > _OBJECTS:
            words = f"its list has no end: {len(found):,} objects, and still another page"
            raise ClusterError(what, Problem.INVALID, words)
    return found


def _is_allowed(review: Object) -> bool:
    status = review.get("status")
    return isinstance(status, dict) and status.get("allowed") is True
