"""The auth files of podman and docker: what they hold for one registry, and the private ones that skopeo reads.

containers-auth.json(5), docker's config.json, and the older .dockercfg. Of one file `credHelpers` come first, then
`auths`, then `credsStore`; of several files the first that has a login counts.
"""

import base64
import json
import os
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from migrate.credentials.helpers import ask_helper
from migrate.credentials.login import Credential, Drawer, Keyring
from migrate.credentials.tokens import reason, text_of
from migrate.errors import LoginError
from migrate.reference import canonical_host

_MAX_BYTES = 4 * 2**20
_LEGACY_NAME = ".dockercfg"
_LEGACY_PATHS = ("v1/", "v2/")
"""`docker login` once wrote addresses of the registry API as keys."""


@dataclass(frozen=True, slots=True, repr=False)
class _AuthFile:
    path: Path
    auths: dict[str, Any]
    helpers: dict[str, Any]
    store: str


def default_keyring(registry: str) -> Keyring:
    """The logins for a registry in the files where podman, skopeo and docker look; none means anonymous."""
    files = [_parsed(path, text) for path in _default_authfiles() if (text := _text_if_there(path)) is not None]
    return Keyring([drawer for file in files for drawer in _drawers(file, registry)])


def default_places() -> str:
    """The files where `default_keyring` looks, in words."""
    files = ", ".join(str(path) for path in _default_authfiles())
    return f"{files} (which REGISTRY_AUTH_FILE names)" if os.environ.get("REGISTRY_AUTH_FILE") else files


def named_keyring(path: Path, registry: str) -> Keyring:
    """The logins for a registry in a file that the manifest names: a repository without one is an error."""

    def missing(repository: str) -> LoginError:
        name = _key(registry, repository)
        return LoginError(f"{path}: no login for {name} in it", f"podman login --authfile {path} {registry}")

    return Keyring(_drawers(_parsed(path, _text(path)), registry), missing)


def authfile_text(registry: str, credential: Credential, scope: str = "") -> str:
    """An auth.json with one login.

    Args:
        registry: host.
        credential: the login.
        scope: what of the registry it is for: a path; empty for all of it.
    """
    token = {"identitytoken": credential.identity_token} if credential.identity_token else {}
    return json.dumps({"auths": {_key(registry, scope): {"auth": credential.basic, **token}}})


def _key(registry: str, scope: str) -> str:
    return f"{registry}/{scope}" if scope else registry


# --- files ------------------------------------------------------------------------------------------------------


def _default_authfiles() -> list[Path]:
    """Where podman, skopeo and docker keep logins (containers-auth.json(5)); the first that has one counts."""
    environment = os.environ
    named = environment.get("REGISTRY_AUTH_FILE")
    if named:
        return [Path(named)]
    runtime = environment.get("XDG_RUNTIME_DIR")
    podman = Path(runtime) / "containers" if runtime else Path("/run/containers") / str(os.getuid())
    config = Path(environment.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    docker = Path(environment.get("DOCKER_CONFIG") or "~/.docker").expanduser()
    legacy = Path("~").expanduser() / _LEGACY_NAME
    return [podman / "auth.json", config / "containers/auth.json", docker / "config.json", legacy]


def _text_if_there(path: Path) -> str | None:
    return _text(path) if os.access(path, os.F_OK) else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise LoginError(f"{path}: larger than {_MAX_BYTES} bytes: is this an auth file?", "name another file")
        return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise LoginError(f"{path}: the auth file cannot be read: {reason(error)}", "check its name and mode") from None


def _parsed(path: Path, text: str) -> _AuthFile:
    """An auth file; an empty one has no logins.

    Raises:
        LoginError: it is not JSON, or its outer shape is wrong.
    """
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise LoginError(f"{path}: the auth file is not JSON", f"correct {path}, or log in again") from None
    whole = _mapping(document, "it", path)
    if path.name == _LEGACY_NAME:
        return _AuthFile(path, whole, {}, "")
    store = whole.get("credsStore") or ""
    if not isinstance(store, str):
        raise _wrong("`credsStore`", "text", path)
    auths, helpers = (_mapping(whole.get(name), f"`{name}`", path) for name in ("auths", "credHelpers"))
    return _AuthFile(path, auths, helpers, store)


def _mapping(value: object, name: str, path: Path) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(name, "a mapping", path)
    return value


def _wrong(name: str, wanted: str, path: Path) -> LoginError:
    return LoginError(f"{path}: this is no auth file: {name} is not {wanted}", f"correct {path}, or log in again")


# --- entries ----------------------------------------------------------------------------------------------------


def _drawers(file: _AuthFile, registry: str) -> list[Drawer]:
    """What a file has for a registry. What it has for others is not looked at, and may be broken."""
    name = _of_registry(file.helpers, registry).get("")
    if name and not isinstance(name, str):
        raise _wrong(f"`credHelpers` of {registry}", "text", file.path)
    auths = {
        scope: cache(partial(_decoded, entry, _key(registry, scope), file.path))
        for scope, entry in _of_registry(file.auths, registry).items()
    }
    first, last = (_helper(helper, registry, file.path) for helper in (name, file.store))
    return [drawer for drawer in (first, auths, last) if drawer]


def _helper(name: str | None, registry: str, path: Path) -> Drawer:
    """A helper knows hosts only. It is asked once for as long as the file counts as fresh."""
    return {"": cache(partial(ask_helper, name, registry, path))} if name else {}


def _of_registry(entries: dict[str, Any], registry: str) -> dict[str, Any]:
    """The entries of one registry by scope, the empty ones left out; podman's keys come before addresses."""
    scopes = {key: _scope(key, registry) for key, entry in entries.items() if entry}
    ours = {key: scope for key, scope in scopes.items() if scope is not None}
    exact_last = sorted(ours, key=lambda key: key == _key(registry, ours[key]))
    return {ours[key]: entries[key] for key in exact_last}


def _scope(key: str, registry: str) -> str | None:
    """What of a registry a key is for: a path, empty for all of it; None where it is for another registry."""
    _, address, rest = key.rpartition("://")
    host, _, path = rest.partition("/")
    if canonical_host(host) != canonical_host(registry):
        return None
    return "" if address or path in _LEGACY_PATHS else path.rstrip("/")


def _decoded(entry: object, name: str, path: Path) -> Credential | None:
    try:
        return _credential(entry)
    except ValueError:
        raise LoginError(f"{path}: the entry for {name} is broken", f"podman login --authfile {path} {name}") from None


def _credential(entry: object) -> Credential | None:
    """The login of an entry of `auths`; None where it is empty, as docker leaves it beside a helper.

    Raises:
        ValueError: it is broken.
    """
    if not isinstance(entry, dict):
        raise ValueError("not a mapping")
    auth, user, secret, token = (
        text_of(entry.get(name) or "") for name in ("auth", "username", "password", "identitytoken")
    )
    if auth:
        user, colon, secret = base64.b64decode("".join(auth.split()), validate=True).decode().partition(":")
        if not colon:
            raise ValueError("no colon")
    return Credential(user, secret.strip("\0"), token) if auth or user or secret or token else None
