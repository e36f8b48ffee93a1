"""Credential helpers: the programs `docker-credential-<name>` that keep logins in a key store.

Their protocol is that of docker/docker-credential-helpers: the registry on stdin, JSON on stdout.
"""

import json
import re
from pathlib import Path

from migrate.credentials.login import Credential
from migrate.credentials.programs import ProgramError, ProgramMissingError, run_program
from migrate.credentials.tokens import text_of
from migrate.errors import LoginError
from migrate.reference import DOCKER_HUB

_SECONDS = 60.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_NOT_FOUND = "credentials not found"
_DOCKER_HUB_URL = "https://index.docker.io/v1/"
_IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - a user name that says what the secret is


def ask_helper(name: str, registry: str, path: Path) -> Credential | None:
    """What a helper has for a registry; None where it has nothing.

    Args:
        name: what stands behind `docker-credential-`.
        registry: host.
        path: the auth file that names the helper, for messages.

    Raises:
        LoginError: it cannot be asked, or its answer is none.
    """
    program = f"docker-credential-{name}"
    what = f"{path}: the credential helper {program!r} of {registry}"
    if not _NAME.fullmatch(name):
        words = "has a name that is none"  # and is not shown: it may be a token that was put in the wrong place
        raise LoginError(f"{path}: the credential helper of {registry} {words}", f"correct {path}")
    server = _DOCKER_HUB_URL if registry == DOCKER_HUB else registry
    try:
        code, output = run_program([program, "get"], _SECONDS, given=server)
    except ProgramMissingError as error:
        raise LoginError(f"{what} {error}", f"install it (on PATH), or take it out of {path}") from None
    except ProgramError as error:
        raise LoginError(f"{what} {error}", _by_hand(program, server)) from None
    if code and output.strip().lower().startswith(_NOT_FOUND):
        return None
    if code:
        raise LoginError(f"{what} ended with {code} and no login", _by_hand(program, server))
    try:
        return _credential(output)
    except (ValueError, RecursionError):
        raise LoginError(f"{what} gave no login that can be read", _by_hand(program, server)) from None


def _by_hand(program: str, server: str) -> str:
    return f"run it by hand to see why: echo {server} | {program} get"


def _credential(output: str) -> Credential | None:
    """The credential of a helper's answer; None where user and secret are empty.

    Raises:
        ValueError: it is not as the protocol says.
    """
    answer = json.loads(output)
    if not isinstance(answer, dict):
        raise ValueError("not a mapping")
    user, secret = text_of(answer.get("Username")), text_of(answer.get("Secret"))
    if user == _IDENTITY_TOKEN_USER:
        return Credential(user, "", secret) if secret else None
    return Credential(user, secret) if user or secret else None
