"""Tokens of kubeconfig contexts, as `oc login` and client-go keep them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from migrate.credentials.tokens import from_command, from_file
from migrate.errors import LoginError

_CHECK_KUBECONFIG = "check it with: oc config view"


def kubeconfig_token(context: str) -> str:
    """The token of a context's user: written there, in a file, or from a program."""
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
        return from_file(folder / str(user["tokenFile"]))
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
    output = from_command([program, *arguments], Path(), environment)
    try:
        token = json.loads(output)["status"]["token"]
    except (ValueError, KeyError, TypeError):
        token = None
    if not token or not isinstance(token, str):
        raise LoginError(f"the login program {command!r} gave no token", "run it by hand to see why")
    return token
