"""Logins: where a token or password comes from, and the private authfiles that skopeo reads. Never prints a secret."""

import base64
import json
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from migrate.errors import LoginError
from migrate.manifest.model import Login as LoginEntry

TOKEN_USER = "unused"  # noqa: S105 - OpenShift ignores the user name beside a token; this is the one CSC's guide uses
_FRESH_SECONDS = 5.0
_COMMAND_SECONDS = 60
_CHECK_KUBECONFIG = "check it with: oc config view"
_DOCKER_HUB_KEYS = ("docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a token or password, as registries take them (HTTP Basic)."""

    username: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of `Authorization: Basic ...` and of `auth` in an authfile."""
        return base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()


class Login:
    """A login that is read again whenever it is needed, because tokens are renewed while a run goes on.

    Args:
        origin: where it comes from, for messages.
        read: gives the credential, or None for anonymous.
        fresh: seconds for which an answer of `read` is good.
    """

    def __init__(self, origin: str, read: Callable[[], Credential | None], fresh: float = _FRESH_SECONDS) -> None:
        self.origin = origin
        self._read = read
        self._fresh = fresh
        self._lock = threading.Lock()
        self._known: tuple[float, Credential | None] | None = None

    def credential(self) -> Credential | None:
        """The credential of now (a few seconds old at most); None means anonymous.

        Raises:
            LoginError: it cannot be had; names the place.
        """
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > self._fresh:
                self._known = (time.monotonic(), self._read())
            return self._known[1]


def login_of(entry: LoginEntry | None, registry: str, folder: Path) -> Login:
    """The login that a manifest names.

    Args:
        entry: the manifest's `login`; None means the auth files of podman and docker, else anonymous.
        registry: host, for looking into auth files.
        folder: the manifest's folder; file names are relative to it.
    """
    if entry is None:
        return Login("the auth files of podman and docker", lambda: _from_default_authfiles(registry))
    user = entry.username or TOKEN_USER
    if entry.kubeconfig_context:
        context = entry.kubeconfig_context
        return Login(f"kubeconfig context {context!r}", lambda: Credential(user, _kubeconfig_token(context)))
    if name := entry.token_env or entry.password_env:
        return Login(f"environment variable {name}", lambda: Credential(user, _from_environment(name)))
    if file := entry.token_file or entry.password_file:
        path = folder / Path(file).expanduser()
        return Login(f"file {path}", lambda: Credential(user, _from_file(path)))
    if entry.authfile:
        authfile = folder / Path(entry.authfile).expanduser()
        return Login(f"auth file {authfile}", lambda: _from_authfile(authfile, registry))
    command = shlex.split(entry.command) if isinstance(entry.command, str) else list(entry.command or ())
    return Login(f"command {command[0]!r}", lambda: Credential(user, _from_command(command, folder)))


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise LoginError(f"the environment variable {name} is not set", f"export {name}=..., then run again")
    return value


def _from_file(path: Path) -> str:
    try:
        value = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LoginError(
            f"{path}: the login cannot be read: {_reason(error)}", "check the file's name and mode"
        ) from None
    if not value:
        raise LoginError(f"{path}: the file is empty, and a token or password is needed")
    return value


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not text"


def _from_command(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    name = repr(command[0])
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LoginError(f"the login command {name} did not end within {_COMMAND_SECONDS} s") from None
    except OSError as error:
        raise LoginError(
            f"the login command {name} cannot be run: {error.strerror}", "check `command` in the manifest"
        ) from None
    except UnicodeDecodeError:
        raise LoginError(f"the login command {name} printed something that is not text") from None
    token = done.stdout.strip()
    if done.returncode or not token:
        raise LoginError(
            f"the login command {name} ended with {done.returncode} and no token", "run it by hand to see why"
        )
    return token


# --- kubeconfig -------------------------------------------------------------------------------------------------


def _kubeconfig_token(context: str) -> str:
    contexts, users = _kubeconfig()
    again = f"oc login ... and then check with: oc config get-contexts {context}"
    if context not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        raise LoginError(f"the kubeconfig has no context {context!r} (there are: {known})", again)
    user_name = str(contexts[context].get("user", ""))
    folder, user = users.get(user_name, (Path(), {}))
    if user.get("token"):
        return str(user["token"])
    if user.get("tokenFile"):
        return _from_file(folder / str(user["tokenFile"]))
    if user.get("exec"):
        return _exec_token(user["exec"], folder)
    raise LoginError(f"the kubeconfig context {context!r} has no token (user {user_name!r})", again)


def _kubeconfig() -> tuple[dict[str, Any], dict[str, tuple[Path, dict[str, Any]]]]:
    """Contexts, and users with the folder that their relative file names start from, both by name.

    Merged from all files of KUBECONFIG; the first file that has a name wins.
    """
    named = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    contexts: dict[str, Any] = {}
    users: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in map(Path, filter(None, named.split(os.pathsep))):
        data = _kubeconfig_file(path)
        contexts = {**_entries(data, "context"), **contexts}
        users = {**{name: (path.parent, user) for name, user in _entries(data, "user").items()}, **users}
    return contexts, users


def _entries(data: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The well-formed entries of one of a kubeconfig's lists, by name."""
    listed = data.get(f"{kind}s")
    entries = listed if isinstance(listed, list) else []
    return {str(e.get("name")): e[kind] for e in entries if isinstance(e, dict) and isinstance(e.get(kind), dict)}


def _kubeconfig_file(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise LoginError(f"{path}: this kubeconfig cannot be read", _CHECK_KUBECONFIG) from None
    return data if isinstance(data, dict) else {}


def _exec_token(plugin: Mapping[str, Any], folder: Path) -> str:
    """The token of a client-go credential plugin (client.authentication.k8s.io ExecCredential)."""
    try:
        command = str(plugin["command"])
        program = str(folder / command) if "/" in command else command
        asked = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {str(item["name"]): str(item["value"]) for item in plugin.get("env") or ()}
        arguments = [str(argument) for argument in plugin.get("args") or ()]
    except (KeyError, TypeError, AttributeError):
        raise LoginError("the kubeconfig's login program is not written as it should be", _CHECK_KUBECONFIG) from None
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(asked)
    output = _from_command([program, *arguments], Path(), environment)
    try:
        token = json.loads(output)["status"]["token"]
    except (ValueError, KeyError, TypeError):
        token = None
    if not token or not isinstance(token, str):
        raise LoginError(f"the login program {command!r} gave no token", "run it by hand to see why")
    return token


# --- auth files -------------------------------------------------------------------------------------------------


def _from_default_authfiles(registry: str) -> Credential | None:
    for path in _default_authfiles():
        if path.is_file():
            found = _lookup(_read_authfile(path), registry, path)
            if found:
                return found
    return None


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
    return [podman / "auth.json", config / "containers/auth.json", docker / "config.json"]


def _from_authfile(path: Path, registry: str) -> Credential:
    found = _lookup(_read_authfile(path), registry, path)
    if found is None:
        raise LoginError(f"{path}: no login for {registry} in it", f"podman login --authfile {path} {registry}")
    return found


def _read_authfile(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise LoginError(f"{path}: the auth file cannot be read: {_reason(error)}") from None
    except ValueError:
        raise LoginError(f"{path}: the auth file is not JSON") from None
    auths = data.get("auths") if isinstance(data, dict) else None
    return auths if isinstance(auths, dict) else {}


def _lookup(auths: dict[str, Any], registry: str, path: Path) -> Credential | None:
    keys = _DOCKER_HUB_KEYS if registry == "docker.io" else (registry, f"https://{registry}", f"https://{registry}/v2/")
    entry: dict[str, Any] = next((auths[key] for key in keys if isinstance(auths.get(key), dict)), {})
    if not entry.get("auth"):
        return None
    try:
        user, colon, secret = base64.b64decode(str(entry["auth"])).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise LoginError(f"{path}: the entry for {registry} is broken", f"podman login --authfile {path} {registry}")
    return Credential(user, secret.strip("\x00"))


def authfile_text(registry: str, credential: Credential | None) -> str:
    """An auth.json with one login, or with none (so that a program finds no other login by itself)."""
    return json.dumps({"auths": {registry: {"auth": credential.basic}} if credential else {}})
