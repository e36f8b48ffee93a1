"""A token or password from the environment, a file, or a program that prints it."""

import os
from collections.abc import Mapping
from pathlib import Path

from migrate.credentials.programs import ProgramError, ProgramMissingError, run_program
from migrate.errors import LoginError

_COMMAND_SECONDS = 60.0


def from_environment(name: str) -> str:
    """The value of a variable."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise LoginError(f"the environment variable {name} is not set", f"export {name}=..., then run again")
    return value


def from_file(path: Path) -> str:
    """What a file holds, without white space around it."""
    try:
        value = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LoginError(
            f"{path}: the login cannot be read: {reason(error)}", "check the file's name and mode"
        ) from None
    if not value:
        raise LoginError(f"{path}: the file is empty", "write a token or password to it")
    return value


def reason(error: OSError | ValueError) -> str:
    """Why a file could not be read."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not text"


def from_command(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a program prints, without white space around it."""
    name = repr(command[0])
    try:
        code, output = run_program(command, _COMMAND_SECONDS, folder=folder, environment=environment)
    except ProgramMissingError as error:
        raise LoginError(f"the login command {name} {error}", "check `command` in the manifest") from None
    except ProgramError as error:
        raise LoginError(f"the login command {name} {error}", "run it by hand to see why") from None
    token = output.strip()
    if code or not token:
        raise LoginError(f"the login command {name} ended with {code} and no token", "run it by hand to see why")
    return token


def text_of(value: object) -> str:
    """A value of somebody else's JSON that must be text.

    Raises:
        ValueError: it is not, or no encoding has it (a lone surrogate).
    """
    if not isinstance(value, str):
        raise ValueError("not text")
    value.encode()
    return value
