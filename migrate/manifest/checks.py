"""What no single key can tell: references, clashing targets, things that do not go together. Pure.

Every function takes raw data and looks only at what is well-formed by itself, so that all errors of a file come at
once.
"""

import os.path
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from migrate.manifest import requests
from migrate.manifest.model import ImageEntry
from migrate.manifest.values import valid_project
from migrate.manifest.yaml_source import Loc
from migrate.quantities import quoted
from migrate.reference import InvalidReference, parse_reference

Finding = tuple[Loc, str]

_LOGIN_WAYS = (
    "kubeconfigContext",
    "tokenEnv",
    "tokenFile",
    "passwordEnv",
    "passwordFile",
    "authfile",
    "command",
)
_API_WAYS = ("kubeconfigContext", "server")
_WORDS_FOR_ALL = ("anonymous", "unauthenticated", "authenticated")


def all_findings(data: dict[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong between keys, each with the place it is said at."""
    yield from _something_to_do(data)
    for side in ("source", "target"):
        yield from _side(side, _mapping(data, side))
    yield from _one_registry(data)
    yield from _images(data)
    for index, access in _mappings(data, "access"):
        yield from _access(("access", index), access)
    yield from _workloads(data)


def _one_registry(data: dict[str, Any]) -> Iterator[Finding]:
    """One registry has one login: which of two would speak for a repository is nowhere said."""
    ends = requests.Ends.of(data)
    logins = [_mapping(data, side).get("login") for side in ("source", "target")]
    if ends.source == ends.target and all(logins) and logins[0] != logins[1]:
        words = "source and target are one registry, and it has two logins: keep one that may pull and push"
        yield ("target", "login"), f"target.login: {words}"


def _mapping(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []


def _mappings(data: dict[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((index, item) for index, item in enumerate(_list(data, key)) if isinstance(item, dict))


def _there(data: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if data.get(key) is not None]


def _something_to_do(data: dict[str, Any]) -> Iterator[Finding]:
    if not _there(data, ("images", "access", "workloads")):
        yield (), "there is nothing to do: at least one of `images`, `access`, `workloads` is needed"


def _side(side: str, data: dict[str, Any]) -> Iterator[Finding]:
    if data.get("plainHttp") is True:
        for key in ("caFile", "insecureSkipTlsVerify"):
            if data.get(key):
                yield (side, key), f"{side}.{key}: plainHttp means that there is no TLS; keep one of the two"
    if isinstance(data.get("login"), dict):
        yield from _login((side, "login"), data["login"])
    if isinstance(data.get("api"), dict):
        yield from _api((side, "api"), data["api"])


def _login(loc: Loc, login: dict[str, Any]) -> Iterator[Finding]:
    ways = _there(login, _LOGIN_WAYS)
    name, username = f"{loc[0]}.login", login.get("username")
    if len(ways) != 1:
        yield loc, f"{name}: {_one_of(ways, _LOGIN_WAYS)}"
        return
    if ways[0].startswith("password") and username is None:
        yield loc, f"{name}: {ways[0]} needs `username` too"
    if username is not None and ways[0] in ("kubeconfigContext", "authfile"):
        yield (*loc, "username"), f"{name}.username: {ways[0]} brings its own user; leave this out"
    if isinstance(login.get("command"), str):
        yield from _command(loc, login["command"])


def _one_of(found: list[str], known: tuple[str, ...]) -> str:
    if not found:
        return f"one of {', '.join(known)} is needed"
    return f"{', '.join(found[:-1])} and {found[-1]} do not go together: keep one of them"


def _command(loc: Loc, command: str) -> Iterator[Finding]:
    try:
        shlex.split(command)
    except ValueError as error:
        words = f"cannot be split like a shell does ({str(error).lower()}): correct the quotes, or write a list"
        yield (*loc, "command"), f"{loc[0]}.login.command: {words}"


def _api(loc: Loc, api: dict[str, Any]) -> Iterator[Finding]:
    name = f"{loc[0]}.api"
    ways = _there(api, _API_WAYS)
    tokens = _there(api, ("tokenEnv", "tokenFile"))
    if len(ways) != 1:
        yield loc, f"{name}: {_one_of(ways, _API_WAYS)}"
    elif tokens and ways == ["kubeconfigContext"]:
        yield (*loc, tokens[0]), f"{name}.{tokens[0]}: kubeconfigContext brings its own token; leave this out"
    if len(tokens) > 1:
        yield (*loc, tokens[1]), f"{name}: {_one_of(tokens, ())}"


def _images(data: dict[str, Any]) -> Iterator[Finding]:
    ends = requests.Ends.of(data)
    targets: dict[str, requests.ImageRequest] = {}
    for index, item in enumerate(_list(data, "images")):
        loc: Loc = ("images", index)
        try:
            request = _request(item, ends, index)
        except InvalidReference as error:
            key, name = ((*loc, "from"), ".from") if isinstance(item, dict) else (loc, "")
            yield key, f"images[{index}]{name}: {error}"
        except requests.Contradiction as error:
            key, name = ((*loc, error.key), f".{error.key}") if error.key else (loc, "")
            yield key, f"images[{index}]{name}: {error}"
        else:
            if request and request.single_target:
                yield from _clash(request, targets.setdefault(request.single_target, request))


def _request(item: Any, ends: requests.Ends, index: int) -> requests.ImageRequest | None:
    """The request of an entry; None where its own errors, which are said elsewhere, leave none.

    Raises:
        InvalidReference: `from` is not a reference, whatever else is wrong with the entry.
        Contradiction: `from`, `to` and `tags` do not go together.
    """
    data = item if isinstance(item, dict) else {"from": item}
    name = data.get("from")
    if not isinstance(name, str) or not name:
        return None
    try:
        entry = ImageEntry.model_validate({key: data[key] for key in ("from", "to", "tags") if key in data})
    except ValidationError:
        entry = None
    try:
        if entry:
            return requests.request(entry, ends, index)
        parse_reference(name, ends.source)
    except InvalidReference as error:
        hint = "; for many tags write `tags: {include: [...]}`" if any(sign in name for sign in "*?[") else ""
        raise InvalidReference(f"{error}{hint}") from None
    return None


def _clash(request: requests.ImageRequest, first: requests.ImageRequest) -> Iterator[Finding]:
    if first is request:
        return
    way = "keep one of the two" if request.source == first.source else "rename one with `to`"
    words = f"images[{first.index}] goes to {request.single_target} already: {way}"
    yield ("images", request.index), f"images[{request.index}]: {words}"


def _access(loc: Loc, entry: dict[str, Any]) -> Iterator[Finding]:
    name = f"access[{loc[1]}]"
    if entry.get("allow") is None and not entry.get("carryOver"):
        yield loc, f"{name}: nobody is named: `allow: [...]` or `carryOver: true` is needed"
    if _there(entry, ("images",)) and _there(entry, ("role",)):
        yield (*loc, "role"), f"{name}.role: with `images` a narrow role is made; leave `role` out"
    for index, grantee in enumerate(_list(entry, "allow")):
        words = _grantee(grantee) if isinstance(grantee, str) and grantee else ""
        if words:
            yield (*loc, "allow", index), f"{name}.allow[{index}]: {words}"
    for grantee in _mapping(entry, "proveWith"):
        words = _grantee(grantee)
        if words:
            yield (*loc, "proveWith", grantee), f"{name}.proveWith: {words}"


def _grantee(text: str) -> str:
    """What is wrong with one of `allow`; empty where nothing is."""
    kind, _, name = text.partition(":")
    project, _, account = name.partition("/")
    if text in _WORDS_FOR_ALL or (kind in ("user", "group") and name):
        return ""
    if kind == "project":
        needed = "" if valid_project(name) else "project:P, with the name of a target project"
    elif kind == "serviceaccount":
        needed = "" if valid_project(project) and account and "/" not in account else "serviceaccount:PROJECT/NAME"
    else:
        ways = "anonymous, unauthenticated, authenticated, project:P, user:U, group:G or serviceaccount:P/S"
        return f"{quoted(text)} is nobody: write {ways}"
    return f"{quoted(text)} is nobody: write {needed}" if needed else ""


def _workloads(data: dict[str, Any]) -> Iterator[Finding]:
    folders: dict[str, int] = {}
    for index, entry in _mappings(data, "workloads"):
        if not isinstance(entry.get("to"), str) or not entry["to"]:
            continue
        loc, folder = ("workloads", index, "to"), os.path.normpath(entry["to"])
        first = folders.setdefault(folder, index)
        if first != index:
            yield loc, f"workloads[{index}].to: workloads[{first}] writes there already; choose another folder"
        if isinstance(entry.get("from"), str) and _holds(folder, os.path.normpath(entry["from"])):
            yield loc, f"workloads[{index}].to: {quoted(entry['to'])} holds the input; choose another folder"


def _holds(folder: str, name: str) -> bool:
    return PurePosixPath(name).is_relative_to(folder)
