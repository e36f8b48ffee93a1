"""Where work waits while a login that has worked is no longer taken: nothing fails, and it continues by itself."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from migrate.credentials.login import Credential, Login
from migrate.errors import LoginError
from migrate.quantities import format_duration

_FOR_EVER = math.inf
_LOOK_SECONDS = 3.0
_ASK_SECONDS = 30.0
"""The login that was refused is asked about again so often: it may have been the server's trouble."""


@dataclass
class LoginPatience:
    """How long an ended login is waited for, and who is told; one for all that a command asks.

    Attributes:
        seconds: 0 for not at all.
        stopped: set where waiting makes no sense any more.
        tell: takes words for a person.
        look: seconds between two looks for a newer login.
    """

    seconds: float = 0.0
    stopped: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[str], None] = lambda _: None
    look: float = _LOOK_SECONDS


class LoginGate:
    """The gate of one server. Safe to use from many threads.

    Args:
        server: for messages.
        login: whose credential is looked at.
        patience: how long it is waited for.
        clock: seconds, monotonic.

    Attributes:
        closed: whether somebody waits now, so that nothing new should begin.
    """

    def __init__(
        self, server: str, login: Login, patience: LoginPatience, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._login = login
        self._patience = patience
        self._clock = clock
        self._one = threading.Lock()
        self._worked: set[str] = set()
        self._given_up = False
        self.closed = False

    @property
    def stopped(self) -> bool:
        """Whether waiting makes no sense any more."""
        return self._patience.stopped.is_set()

    def works(self, repository: str) -> None:
        """The login (that of a repository) was taken."""
        self._worked.add(self._login.scope(repository))

    def may_wait(self, repository: str) -> bool:
        """Whether a login that is refused now is worth waiting for: it has worked, and another one can come."""
        can = self._patience.seconds > 0 and self._login.how_anew is not None and not self._given_up
        return can and not self.stopped and self._login.scope(repository) in self._worked

    def wait(self, repository: str, is_taken: Callable[[], bool]) -> bool:
        """Wait until a login is taken again; whoever comes while somebody waits waits too.

        Args:
            repository: whose login is refused.
            is_taken: asks the server.

        Returns:
            Whether to ask again what was refused; False where it was given up, or is stopped.
        """
        with self._one:
            if not self.may_wait(repository):
                return False
            if is_taken():
                return True  # somebody has logged in meanwhile, or it was a passing trouble
            self.closed = True
            started = self._clock()
            self._say_closed()
            taken = self._look(repository, is_taken, started + self._patience.seconds)
            self.closed = False
            self._given_up = not taken and not self.stopped
            if taken:
                waited = format_duration(self._clock() - started)
                self._patience.tell(f"{self._server} takes the login again, after {waited}; continuing")
            return taken

    def _say_closed(self) -> None:
        assert self._login.how_anew
        seconds = self._patience.seconds
        limit = "" if seconds == _FOR_EVER else f" for up to {format_duration(seconds)}"
        self._patience.tell(
            f"{self._server} no longer takes the login ({self._login.origin}). Log in again: {self._login.how_anew()}\n"
            f"  waiting{limit}; it continues by itself, and nothing is lost (Ctrl-C stops)"
        )

    def _look(self, repository: str, is_taken: Callable[[], bool], until: float) -> bool:
        refused = self._credential(None, repository)
        asked = self._clock()
        while self._clock() < until and not self._patience.stopped.wait(self._patience.look):
            newer = self._credential(refused, repository)
            if newer != refused or self._clock() - asked > _ASK_SECONDS:
                asked, refused = self._clock(), newer
                if is_taken():
                    return True
        return False

    def _credential(self, refused: Credential | None, repository: str) -> Credential | None:
        """The credential of now; None where it cannot be had (a file that is being written, say)."""
        try:
            if refused is None:
                return self._login.credential(repository)
            return self._login.renewed(refused, repository)
        except LoginError:
            return None
