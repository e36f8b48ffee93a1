"""The login that a manifest names, or that is found where nothing is named."""

import shlex
from pathlib import Path

from migrate.credentials.authfiles import default_keyring, default_places, named_keyring
from migrate.credentials.kubeconfig import kubeconfig_token, oc_login
from migrate.credentials.login import TOKEN_USER, Credential, Login
from migrate.credentials.tokens import from_command, from_environment, from_file
from migrate.manifest.model import Login as LoginEntry

__all__ = ["TOKEN_USER", "login_of"]


def login_of(entry: LoginEntry | None, registry: str, folder: Path) -> Login:
    """The login that a manifest names.

    Args:
        entry: the manifest's `login`; None means the auth files of podman and docker, else anonymous.
        registry: host, for looking into auth files.
        folder: the manifest's folder; file names are relative to it.
    """
    if entry is None:
        origin = "the auth files of podman and docker"
        places = default_places()
        return Login(
            origin,
            lambda: default_keyring(registry),
            scoped=True,
            places=places,
            how_anew=lambda: f"podman login {registry}",
        )
    user = entry.username or TOKEN_USER
    if entry.kubeconfig_context:
        context = entry.kubeconfig_context
        return Login(
            f"kubeconfig context {context!r}",
            lambda: Credential(user, kubeconfig_token(context)),
            how_anew=lambda: oc_login(context),
        )
    if name := entry.token_env or entry.password_env:
        return Login(f"environment variable {name}", lambda: Credential(user, from_environment(name)))
    if file := entry.token_file or entry.password_file:
        path = folder / Path(file).expanduser()
        return Login(
            f"file {path}", lambda: Credential(user, from_file(path)), how_anew=lambda: f"write a new one to {path}"
        )
    if entry.authfile:
        authfile = folder / Path(entry.authfile).expanduser()
        return Login(
            f"auth file {authfile}",
            lambda: named_keyring(authfile, registry),
            scoped=True,
            how_anew=lambda: f"podman login --authfile {authfile} {registry}",
        )
    command = shlex.split(entry.command) if isinstance(entry.command, str) else list(entry.command or ())
    return Login(
        f"command {command[0]!r}",
        lambda: Credential(user, from_command(command, folder)),
        how_anew=lambda: f"see why {command[0]!r} prints no login that is taken",
    )
