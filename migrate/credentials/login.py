"""What a login is: the credential of now, for a whole registry or for some of its repositories."""

import base64
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from migrate.errors import LoginError

TOKEN_USER = "unused"  # noqa: S105 - OpenShift ignores the user name beside a token; this is the one CSC's guide uses
_FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a token or password, as registries take them (HTTP Basic), or an OAuth2 refresh token.

    Attributes:
        identity_token: a refresh token, good only for fetching Bearer tokens; comes before the password there.
    """

    username: str
    secret: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of `Authorization: Basic ...` and of `auth` in an authfile."""
        return base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()


Drawer = Mapping[str, Callable[[], Credential | None]]
"""Logins by scope: a repository's path, a path above it, or empty for all of the registry."""


class Keyring:
    """The logins of one registry, as they were at one moment.

    Args:
        drawers: searched in this order, each for the most particular scope first.
        missing: what to raise for a repository without a login; without it that is anonymous.
    """

    def __init__(self, drawers: Sequence[Drawer], missing: Callable[[str], LoginError] | None = None) -> None:
        self._drawers = drawers
        self._missing = missing
        self._scopes = {scope for drawer in drawers for scope in drawer}

    def credential(self, repository: str) -> Credential | None:
        """The credential for a repository; for an empty path, that of the whole registry."""
        for drawer in self._drawers:
            for scope in _upwards(repository):
                found = drawer[scope]() if scope in drawer else None
                if found:
                    return found
        if self._missing:
            raise self._missing(repository)
        return None

    def scope(self, repository: str) -> str:
        """The most particular scope that has a repository in it: all repositories of a scope have one login."""
        return next((scope for scope in _upwards(repository) if scope in self._scopes), "")

    @property
    def is_of_parts(self) -> bool:
        """Whether there are logins, and none for the whole registry."""
        return bool(self._scopes) and "" not in self._scopes

    def scopes(self, repository: str) -> set[str]:
        """The scopes that a repository is in, or that are below it (then it is a project); the empty one if none."""
        below = {scope for scope in self._scopes if scope.startswith(f"{repository}/")}
        return (below | {self.scope(repository)}) & self._scopes or {""}


def _upwards(repository: str) -> list[str]:
    """A repository's path and the paths above it, up to the empty one."""
    parts = repository.split("/") if repository else []
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


class Login:
    """A login that is read again whenever it is needed, because tokens are renewed while a run goes on.

    Args:
        origin: where it comes from, for messages.
        read: gives the credential, or None for anonymous; or several of them, in a keyring.
        fresh: seconds for which an answer of `read` is good.
        scoped: whether some repositories may have a login of their own.
        places: where exactly was looked, for who wonders that nothing was found.
        how_anew: what a person does for a new login, in words; None where none can come while this process runs.
    """

    def __init__(
        self,
        origin: str,
        read: Callable[[], Credential | Keyring | None],
        fresh: float = _FRESH_SECONDS,
        *,
        scoped: bool = False,
        places: str = "",
        how_anew: Callable[[], str] | None = None,
    ) -> None:
        self.origin = origin
        self.how_anew = how_anew
        self.places = places
        self._read = read
        self._fresh = fresh
        self._scoped = scoped
        self._lock = threading.Lock()
        self._known: tuple[float, Keyring] | None = None

    def credential(self, repository: str = "") -> Credential | None:
        """The credential of now (a few seconds old at most); None means anonymous.

        Args:
            repository: who is asked for, where repositories have logins of their own; empty for the registry itself.

        Raises:
            LoginError: it cannot be had; names the place.
        """
        with self._lock:
            return self._keyring().credential(repository)

    def renewed(self, refused: Credential, repository: str = "") -> Credential | None:
        """The credential, read again unless that was done since `refused` was given out."""
        with self._lock:
            if self._known and self._known[1].credential(repository) is refused:
                self._known = None
            return self._keyring().credential(repository)

    def name(self, host: str, scope: str) -> str:
        """A login in words, without its secret: where it comes from, its entry in an auth file, the user."""
        with self._lock:
            found = self._keyring().credential(scope)
        entry = f", entry {host}{'/' if scope else ''}{scope}" if self._scoped else ""
        named = found is not None and found.username not in ("", TOKEN_USER) and not found.identity_token
        user = f", user {found.username}" if found and named else ""
        return f"{self.origin}{entry}{user}"

    @property
    def is_of_parts(self) -> bool:
        """Whether there are logins, and none for the whole registry."""
        with self._lock:
            return self._scoped and self._keyring().is_of_parts

    def scope(self, repository: str) -> str:
        """What has the same login as this repository: it, a path above it, or (empty) the whole registry."""
        if not self._scoped:
            return ""
        with self._lock:
            return self._keyring().scope(repository)

    def scopes(self, repositories: Iterable[str]) -> list[str]:
        """The scopes that some repositories (or projects) are in: one for each login that they have."""
        if not self._scoped:
            return [""]
        with self._lock:
            keyring = self._keyring()
            return sorted({scope for path in repositories for scope in keyring.scopes(path)}) or [""]

    def _keyring(self) -> Keyring:
        if self._known is None or time.monotonic() - self._known[0] > self._fresh:
            found = self._read()
            self._known = (time.monotonic(), found if isinstance(found, Keyring) else Keyring([{"": lambda: found}]))
        return self._known[1]
