"""Which workers of a cluster a run sends copies to: each is looked at first, some drop out, some come later or back."""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from migrate import __version__
from migrate.cli.dask import remote
from migrate.cli.dask.connect import TooLongError, own_version, within
from migrate.cli.options import say
from migrate.errors import CheckError, LoginError, MigrateError, StoppedError
from migrate.images.transfer import Stop
from migrate.quantities import count, format_size

START = f"dask worker ADDRESS --nthreads 8 --resources {remote.RESOURCE}=8"
_FIRST_SECONDS, _SETTLED_SECONDS = 20.0, 2.0
"""How long the first worker is waited for, and after each one for another."""
_ANSWER_SECONDS, _SCHEDULER_SECONDS = 90.0, 30.0
_AGAIN_SECONDS = 30.0
"""After which a worker that could not copy is looked at once more."""
_LOOKS = 64
"""Workers that are looked at side by side."""
_LEAST_FREE = 1_000_000_000


class SchedulerGoneError(MigrateError):
    """The scheduler was killed, or stands still."""

    def __init__(self, words: str = "is gone") -> None:
        super().__init__(f"the Dask scheduler {words}; what is done is recorded", "start it again, then run again")


@dataclass(frozen=True)
class Member:
    """A worker: its name for people, and how many copies it takes at a time."""

    name: str
    copies: int


@dataclass(frozen=True)
class _Unfit:
    member: Member
    since: float
    words: str
    login: bool


class Crew:
    """The workers of a run, by address; those in `fit` may copy. Looked at from several threads."""

    def __init__(self, client: Any, spec: remote.Spec, stop: Stop) -> None:
        self._client, self._spec, self._stop = client, spec, stop
        self.run = spec.id
        self.fit: dict[str, Member] = {}
        self._unfit: dict[str, _Unfit] = {}
        self._looking: set[str] = set()
        self._looks = ThreadPoolExecutor(_LOOKS, thread_name_prefix="look")

    @property
    def slots(self) -> int:
        """Copies that all of them take at a time."""
        return sum(member.copies for member in self.fit.values())

    @property
    def no_login(self) -> str:
        """Why there is no worker that may copy, where that is for a login; else empty."""
        words = [
            f"Dask worker {each.member.name}: {each.words.splitlines()[0]}"
            for each in [*self._unfit.values()]
            if each.login
        ]
        return words[0] if words and not self.fit and not self._looking else ""

    def gather(self, given: str) -> None:
        """Wait for workers and look at all of them, before the first copy.

        Args:
            given: the scheduler, as it was named.

        Raises:
            LoginError: a worker has not the logins that it needs.
            CheckError: a worker cannot do the work.
            MigrateError: there is no worker, or the scheduler is gone.
            StoppedError: somebody does not want to wait.
        """
        members = self._wait_for(given)
        asked = {address: self._looks.submit(self._ask, address) for address in members}
        while not all(each.done() for each in asked.values()):
            if self._stop.soon.wait(0.2):
                raise StoppedError
        found = {address: each.result() for address, each in asked.items()}
        there = self._offered()
        found = {address: each for address, each in found.items() if address in there}
        if not found:
            raise MigrateError(f"--dask {given}: all workers went away while they were asked", f"start some: {START}")
        _check(found, there)
        self.fit = {address: there[address] for address in found}

    def _wait_for(self, given: str) -> dict[str, Member]:
        members: dict[str, Member] = {}
        began = grown = time.monotonic()
        while not members or time.monotonic() - grown < _SETTLED_SECONDS:
            seen = self._offered()
            if seen.keys() - members.keys():
                grown = time.monotonic()
            members = seen
            if not members and time.monotonic() - began > _FIRST_SECONDS:
                known = count(len(self._workers()), "worker")
                words = f"--dask {given}: {known}, and none of them takes copies"
                raise MigrateError(words, f"start workers that say how many they take at a time: {START}")
            if self._stop.soon.wait(0.2):
                raise StoppedError
        return members

    def _workers(self) -> dict[str, Any]:
        """What the scheduler says of its workers.

        Raises:
            SchedulerGoneError: it says nothing.
        """
        if self._client.status != "running":
            raise SchedulerGoneError
        try:
            found = within(_SCHEDULER_SECONDS, partial(self._client.scheduler_info, n_workers=-1), self._stop_now)
        except TooLongError as error:
            raise SchedulerGoneError(f"stands still ({error})") from None
        except OSError as error:
            raise SchedulerGoneError(f"is gone ({error})") from None
        workers: dict[str, Any] = found.get("workers", {})
        return workers

    @property
    def _stop_now(self) -> Stop:
        """Nobody waits for a scheduler any more once copies are to end at once."""
        return Stop(soon=self._stop.now, now=self._stop.now)

    def _offered(self) -> dict[str, Member]:
        """The workers that take copies: as many as they offer, and have threads for."""
        found = {}
        for address, worker in self._workers().items():
            copies = min(int(worker.get("resources", {}).get(remote.RESOURCE, 0)), int(worker.get("nthreads", 1)))
            if copies:
                found[address] = Member(str(worker.get("name", address)), copies)
        return found

    def _ask(self, address: str) -> Any:
        """What a worker says of itself, or why it does not."""
        run = partial(self._client.run, remote.look, self._spec, workers=[address], on_error="return")
        try:
            return within(_ANSWER_SECONDS, run, self._stop_now).get(address, TooLongError("no answer"))
        except Exception as error:  # whatever Dask raises where a worker has gone
            return error

    # --- while copies run -------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """See who has gone, and look at who has come, or may be fit again.

        Raises:
            SchedulerGoneError: nobody knows.
        """
        there = self._offered()
        for known in (self.fit, self._unfit):
            for address in [*known]:
                if address not in there:
                    known.pop(address, None)
        for address, member in there.items():
            before = self._unfit.get(address)
            is_due = before is None or time.monotonic() - before.since > _AGAIN_SECONDS
            if address not in self.fit and address not in self._looking and is_due:
                self._looking.add(address)
                threading.Thread(target=self._look_at, args=(address, member), daemon=True, name="look").start()

    def _look_at(self, address: str, member: Member) -> None:
        found = self._ask(address)
        before = self._unfit.get(address)
        problems = [*_problems(found)]
        if problems:
            is_login = isinstance(found, remote.Found) and found.login
            self._note(address, member, "; ".join(problems), login=is_login)
        else:
            self.fit[address] = member
            self._unfit.pop(address, None)
            if before and before.words:
                say(f"Dask worker {member.name} copies again")
        self._looking.discard(address)

    def drop(self, address: str, unfit: remote.Unfit) -> None:
        """A worker cannot copy now; with no words it only has to be asked before."""
        member = self.fit.pop(address, None)
        if member and unfit.words:
            self._note(address, member, unfit.words, login=unfit.login)

    def _note(self, address: str, member: Member, words: str, *, login: bool) -> None:
        before = self._unfit.get(address)
        self._unfit[address] = _Unfit(member, time.monotonic(), words, login)
        if before is None or before.words != words:
            say(f"Dask worker {member.name} gets no copies for now: {words}")

    def close(self) -> None:
        """Ask nobody any more."""
        self._looks.shutdown(wait=False, cancel_futures=True)


def _check(found: Mapping[str, Any], members: Mapping[str, Member]) -> None:
    problems = [
        f"{members[address].name}{f' ({each.host})' if isinstance(each, remote.Found) else ''}: {words}"
        for address, each in found.items()
        for words in _problems(each)
    ]
    if problems:
        logins = any(isinstance(each, remote.Found) and each.login for each in found.values())
        words = "Dask workers cannot do the work; nothing was begun:\n  " + "\n  ".join(problems)
        advice = "give each worker what it lacks (the same rahti-migrate and skopeo, logins, a way to both registries)"
        raise (LoginError if logins else CheckError)(words, advice)
    if len({each.flags for each in found.values()}) > 1:
        versions = ", ".join(sorted({each.skopeo for each in found.values()}))
        say(f"note: the workers' skopeo differ ({versions}): each is given the flags that its own knows")
    for address, each in found.items():
        if each.copies > members[address].copies:
            threads = count(members[address].copies, "thread")
            say(f"note: Dask worker {members[address].name} offers {each.copies} copies, and has {threads}: so many")


def _problems(found: Any) -> Iterator[str]:
    """Why a worker cannot do the work."""
    if isinstance(found, ModuleNotFoundError) or "No module named 'migrate" in str(found):
        yield "it has no rahti-migrate"
    elif isinstance(found, TooLongError):
        yield str(found)
    elif not isinstance(found, remote.Found):
        yield f"{type(found).__name__}: {found}"
    else:
        yield from found.problems
        for what, there, here in (
            ("rahti-migrate", found.version, __version__),
            ("distributed", found.dask, own_version()),
            ("Python", found.python, remote.python()),
        ):
            if there != here:
                yield f"it has {what} {there}, and this is {here}"
        if found.skopeo and found.free < _LEAST_FREE:
            yield f"only {format_size(found.free)} are free for temporary files"
