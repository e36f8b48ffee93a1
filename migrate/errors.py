"""What can go wrong, and the exit code each ends with. Nothing here prints."""

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The interface to scripts; docs/cli.md says the same in words."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    LOGIN = 4
    LIMIT = 5
    INTERRUPTED = 130


class MigrateError(Exception):
    """A failure the user can understand: what happened, and what to do about it.

    Args:
        what: names the object and says what happened; one sentence without a full stop.
        advice: what to do now; may be empty where `what` already says it.

    Attributes:
        names_its_place: whether each line begins with the file that it is about.
    """

    exit_code = ExitCode.FAILED
    names_its_place = False

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.advice}" if self.advice else self.what


class UsageError(MigrateError):
    """Wrong usage or a wrong manifest; nothing was attempted."""

    exit_code = ExitCode.USAGE


class UnreadableManifestError(UsageError):
    """There is no manifest of that name, or it may not be read."""

    def __init__(self, path: Path, error: OSError) -> None:
        advice = (
            "name an existing manifest, or write one with rahti-migrate init"
            if isinstance(error, FileNotFoundError)
            else "name the manifest file in it"
            if isinstance(error, IsADirectoryError)
            else "check its mode"
        )
        super().__init__(f"{path}: cannot be read: {error.strerror}", advice)


class LoginError(MigrateError):
    """A login is missing, refused or expired."""

    exit_code = ExitCode.LOGIN


class CheckError(MigrateError):
    """A check failed that everything stands on; nothing was attempted."""

    exit_code = ExitCode.INCOMPLETE


class StateError(MigrateError):
    """The state cannot be opened, read or written."""


class StoppedError(BaseException):
    """A signal asked to stop. Not an Exception, so that nothing on the way takes it for a failure.

    `again` is the command that goes on, where it is known.
    """

    again = ""
