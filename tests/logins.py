"""Logins as tests make them, read them, and see them fail."""

import base64
import traceback
from pathlib import Path
from typing import Any

import pytest

from migrate.credentials import Credential, Login, login_of
from migrate.errors import LoginError
from migrate.manifest.model import Login as LoginEntry

HOST = "image-registry.apps.2.rahti.csc.fi"
SECRET = "sha256~s3cret-Kulkuri"


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def program(path: Path, script: str) -> Path:
    written(path, f"#!/bin/sh\n{script}\n").chmod(0o755)
    return path


def auth(user: str = "ann", secret: str = SECRET) -> dict[str, str]:
    """An entry of `auths`."""
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def login(folder: Path, registry: str = HOST, **entry: Any) -> Login:
    return login_of(LoginEntry.model_validate(entry), registry, folder)


def credential(folder: Path, registry: str = HOST, repository: str = "", **entry: Any) -> Credential | None:
    return login(folder, registry, **entry).credential(repository)


def refused(folder: Path, words: str, **entry: Any) -> LoginError:
    """The login fails with these words, and neither they nor the traceback tell the secret."""
    asked = login(folder, **entry)
    with pytest.raises(LoginError) as caught:
        asked.credential()
    assert words in caught.value.what
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(asked) + str(vars(asked))
    assert SECRET not in told
    return caught.value
