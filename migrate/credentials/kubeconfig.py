"""Tokens of kubeconfig contexts, as `oc login` and client-go keep them."""

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from migrate.credentials.tokens import from_command, from_file
from migrate.errors import LoginError

_CHECK_KUBECONFIG = "check it with: oc config view"


_CLUSTER_FILE = "certificate-authority"
_USER_FILES = ("client-certificate", "client-key")
_CLUSTER_KEYS = ("server", _CLUSTER_FILE, "certificate-authority-data", "insecure-skip-tls-verify")
_USER_KEYS = (*_USER_FILES, "client-certificate-data", "client-key-data", "username", "password")

Entry = tuple[Path, dict[str, Any]]
"""One entry, with the folder that its relative file names start from."""


class NoServerError(LoginError):
    """A context is there, and names no API server: it is for a registry only."""


@dataclass(frozen=True)
class _Kubeconfig:
    """The entries of all files of KUBECONFIG by name; the first file that has a name wins."""

    contexts: dict[str, Entry]
    clusters: dict[str, Entry]
    users: dict[str, Entry]
    current: str = ""

    def context(self, name: str) -> dict[str, Any]:
        """A context.

        Raises:
            LoginError: there is none of that name.
        """
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise LoginError(f"the kubeconfig has no context {name!r} (there are: {known})", _again(name))
        return self.contexts[name][1]


def kubeconfig_token(context: str) -> str:
    """The token of a context's user: written there, in a file, or from a program."""
    found = _kubeconfig()
    user_name = str(found.context(context).get("user", ""))
    folder, user = found.users.get(user_name, (Path(), {}))
    if user.get("token"):
        return str(user["token"]).strip()
    if user.get("tokenFile"):
        return from_file(folder / str(user["tokenFile"]))
    if user.get("exec"):
        return _exec_token(user["exec"], folder)
    raise LoginError(f"the kubeconfig context {context!r} has no token (user {user_name!r})", _again(context))


def kubeconfig_endpoint(context: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A context's cluster, and its user without tokens, as kubeconfigs have them; file names are absolute.

    Raises:
        NoServerError: it names no server.
        LoginError: there is no such context, or what it says cannot be used.
    """
    found = _kubeconfig()
    names = found.context(context)
    folder, cluster = found.clusters.get(str(names.get("cluster", "")), (Path(), {}))
    if not cluster.get("server"):
        raise NoServerError(f"the kubeconfig context {context!r} names no cluster with a server", _CHECK_KUBECONFIG)
    user_folder, user = found.users.get(str(names.get("user", "")), (Path(), {}))
    chosen = (
        _absolute(folder, {key: cluster[key] for key in _CLUSTER_KEYS if cluster.get(key)}, [_CLUSTER_FILE]),
        _absolute(user_folder, {key: user[key] for key in _USER_KEYS if user.get(key)}, _USER_FILES),
    )
    wrong = _unusable(cluster, user) or _unreadable({**chosen[0], **chosen[1]})
    if wrong:
        raise LoginError(f"the kubeconfig context {context!r}: {wrong}", _CHECK_KUBECONFIG)
    return chosen


def kubeconfig_servers() -> dict[str, str]:
    """The contexts of the kubeconfig, with their servers (empty where a context names none); the current one first.

    Raises:
        LoginError: a file cannot be read.
    """
    found = _kubeconfig()
    names = sorted(found.contexts, key=lambda name: name != found.current)
    clusters = {name: str(found.contexts[name][1].get("cluster", "")) for name in names}
    return {name: str(found.clusters.get(clusters[name], (Path(), {}))[1].get("server") or "") for name in names}


def kubeconfig_has_token(context: str) -> bool:
    """Whether a context's user has a token, or something that gives one."""
    found = _kubeconfig()
    _, user = found.users.get(str(found.context(context).get("user", "")), (Path(), {}))
    return any(user.get(key) for key in ("token", "tokenFile", "exec"))


def _unusable(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> str:
    """Why a cluster or its user cannot be used for the API; never repeats a value, which may hold a secret."""
    for key in ("tls-server-name", "proxy-url"):
        if cluster.get(key):
            return f"`{key}` is not supported"
    if not _is_server(cluster.get("server")):
        return "its `server` is no address such as https://api.example.org:6443 (without user name and password)"
    if not isinstance(cluster.get("insecure-skip-tls-verify") or False, bool):
        return "its `insecure-skip-tls-verify` is neither true nor false"
    for key in (*_CLUSTER_KEYS, *_USER_KEYS):
        value = {**cluster, **user}.get(key)
        if value and key != "insecure-skip-tls-verify" and not isinstance(value, str):
            return f"its `{key}` is no text"
    has = {key: bool(user.get(key) or user.get(f"{key}-data")) for key in _USER_FILES}
    if len(set(has.values())) > 1:
        return "a client certificate and its key are needed together"
    return ""


def _is_server(value: object) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
        plain = "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain


def _unreadable(chosen: Mapping[str, Any]) -> str:
    for key in (_CLUSTER_FILE, *_USER_FILES):
        try:
            if key in chosen:
                Path(chosen[key]).read_bytes()
        except (OSError, ValueError) as error:
            return f"its `{key}` {chosen[key]} cannot be read: {getattr(error, 'strerror', error)}"
    return ""


def _absolute(folder: Path, entry: Mapping[str, Any], files: Iterable[str]) -> dict[str, Any]:
    return {**entry, **{key: str((folder / str(entry[key])).absolute()) for key in files if key in entry}}


def _again(context: str) -> str:
    return f"oc login ... and then check with: oc config get-contexts {context}"


def _kubeconfig() -> _Kubeconfig:
    named = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    found = _Kubeconfig({}, {}, {})
    current = ""
    for path in map(Path, filter(None, named.split(os.pathsep))):
        data = _kubeconfig_file(path)
        current = current or str(data.get("current-context") or "")
        for kind, known in (("context", found.contexts), ("cluster", found.clusters), ("user", found.users)):
            for name, entry in _entries(data, kind).items():
                known.setdefault(name, (path.parent, entry))
    return replace(found, current=current)


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


def oc_login(context: str) -> str:
    """The command that renews a context's token, with its server where it names one."""
    with suppress(LoginError):
        found = _kubeconfig()
        cluster = found.clusters.get(str(found.context(context).get("cluster", "")), (Path(), {}))[1]
        if server := cluster.get("server"):
            return f"oc login {server} --context {shlex.quote(context)}"
    return f"oc login --context {shlex.quote(context)}"


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
    output = from_command([program, *arguments], Path(), environment)
    try:
        status = json.loads(output)["status"]
        token = status.get("token")
    except (ValueError, KeyError, TypeError, AttributeError):
        status = token = None
    if status and not token and status.get("clientCertificateData"):
        words = f"the login program {command!r} gave a client certificate and no token, which is not supported"
        raise LoginError(words, "use a login with a token")
    if not token or not isinstance(token, str):
        raise LoginError(f"the login program {command!r} gave no token", "run it by hand to see why")
    return token
