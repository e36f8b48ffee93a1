"""One process per state: a lock that dies with its process, and a private folder that is removed with it.

flock(2) is released by the kernel whenever the process ends, also by kill -9. The lock file then still names the
private folder of the dead process, so that the next one can remove it.
"""

import errno
import fcntl
import getpass
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from migrate.errors import StateError

_PREFIX = "rahti-migrate-"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What network file systems say that are mounted without locks (NFS without lockd, Lustre without -o flock)."""
_PATIENCE_SECONDS = 0.5
"""Somebody who only asks who holds the lock has it too, for an instant."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    host: str
    user: str
    since: str
    command: str
    private: str = ""

    def __str__(self) -> str:
        return f"`rahti-migrate {self.command}` of {self.user} (process {self.pid} on {self.host}, since {self.since})"


def _lock_path(state: Path) -> Path:
    state = state.resolve()
    return state.with_name(f"{state.name}.lock")


@contextmanager
def hold(state: Path, command: str) -> Iterator[Path]:
    """Hold the lock of a state; gives a private folder (mode 0700) for authfiles, removed at the end.

    Raises:
        StateError: another process holds it (says who), or the folder cannot be written.
    """
    path = _lock_path(state)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise StateError(
            f"{path.parent}: the state cannot be written there: {error.strerror}", "choose another place with --state"
        ) from None
    with file:
        _take(file, path)
        _remove_private(_read(file))
        private = _private_folder()
        try:
            _write(file, _myself(command, private))
            yield private
        finally:
            shutil.rmtree(private, ignore_errors=True)
            with suppress(OSError):
                os.ftruncate(file.fileno(), 0)


def holder(state: Path) -> Holder | None:
    """Who holds the lock of a state now; None where nobody does."""
    try:
        with _lock_path(state).open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file)
    except OSError:
        return None
    return None


def _take(file: IO[str], path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _taken(file, path):
        if time.monotonic() > deadline:
            raise StateError(
                f"{path.with_suffix('')}: in use by {_read(file) or 'another process'}",
                "wait until it ends; rahti-migrate status shows how far it is",
            )
        time.sleep(0.02)


def _taken(file: IO[str], path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        reason = "its file system has no locks" if error.errno in _NO_LOCKS else error.strerror
        raise StateError(f"{path}: cannot be locked: {reason}", "put the state on a local disk with --state") from None
    return True


def _private_folder() -> Path:
    """In XDG_RUNTIME_DIR, which is in memory; where that cannot be used (after `su`, say), with the temporary files.

    Raises:
        StateError: neither can be written.
    """
    for folder in (os.environ.get("XDG_RUNTIME_DIR") or None, None):
        try:
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        except OSError as error:
            reason = error.strerror
    raise StateError(f"no private folder for logins can be made: {reason}", "name a place for it: export TMPDIR=...")


def _myself(command: str, private: Path) -> Holder:
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Holder(os.getpid(), socket.gethostname(), _user(), since, command, str(private))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _write(file: IO[str], me: Holder) -> None:
    try:
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), json.dumps(asdict(me)).encode())
    except OSError as error:
        raise StateError(f"{file.name}: cannot be written: {error.strerror}", "make room, then run again") from None


def _read(file: IO[str]) -> Holder | None:
    file.seek(0)
    try:
        data: dict[str, Any] = json.loads(file.read(10_000))
        return Holder(**data)
    except (ValueError, TypeError, RecursionError):
        return None


def _remove_private(dead: Holder | None) -> None:
    """Remove what a killed process left: only a folder of ours, of our name and mode."""
    if dead is None or not dead.private or dead.host != socket.gethostname():
        return
    path = Path(str(dead.private))
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return
    mine = status.st_uid == os.getuid() and (status.st_mode & 0o7777777) == 0o40700
    if path.name.startswith(_PREFIX) and mine:
        shutil.rmtree(path, ignore_errors=True)
