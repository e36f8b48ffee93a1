"""What no single key can tell: references, clashing targets, things that do not go together. Pure.

Every function takes raw data and looks only at what is well-formed by itself, so that all errors of a file come at
once.
"""

import shlex
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from migrate.manifest import requests
from migrate.manifest.model import AccessEntry, Api, ImageEntry, Login, Model, WorkloadEntry
from migrate.manifest.yaml_source import Loc
from migrate.reference import InvalidReference

Finding = tuple[Loc, str]
M = TypeVar("M", bound=Model)

LOGIN_WAYS = (
    "kubeconfig_context",
    "token_env",
    "token_file",
    "password_env",
    "password_file",
    "authfile",
    "command",
)
_WORDS_FOR_ALL = ("anonymous", "unauthenticated", "authenticated")


def all_findings(data: dict[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong between keys, each with the place it is said at."""
    yield from _something_to_do(data)
    for side in ("source", "target"):
        yield from _side(side, _mapping(data.get(side)))
    yield from _images(data)
    for index, access in _valid_items(data, "access", AccessEntry):
        yield from _access(("access", index), access)
    yield from _workloads(data)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _valid(kind: type[M], value: Any) -> M | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _valid_items(data: dict[str, Any], key: str, kind: type[M]) -> Iterator[tuple[int, M]]:
    items = data.get(key)
    for index, item in enumerate(items if isinstance(items, list) else []):
        value = _valid(kind, {"from": item} if isinstance(item, str) and kind is ImageEntry else item)
        if value is not None:
            yield index, value


def _something_to_do(data: dict[str, Any]) -> Iterator[Finding]:
    if not any(data.get(key) for key in ("images", "access", "workloads")):
        yield (), "there is nothing to do: at least one of `images`, `access`, `workloads` is needed"


def _side(side: str, data: dict[str, Any]) -> Iterator[Finding]:
    if data.get("plainHttp") is True:
        for key in ("caFile", "insecureSkipTlsVerify"):
            if data.get(key):
                yield (side, key), f"{side}.{key}: plainHttp means that there is no TLS; keep one of the two"
    login = _valid(Login, data["login"]) if isinstance(data.get("login"), dict) else None
    if login is not None:
        yield from _login((side, "login"), login)
    api = _valid(Api, data["api"]) if isinstance(data.get("api"), dict) else None
    if api is not None and bool(api.kubeconfig_context) == bool(api.server):
        yield (side, "api"), f"{side}.api: say kubeconfigContext or server, one of the two"


def _login(loc: Loc, login: Login) -> Iterator[Finding]:
    ways = [to_camel(way) for way in LOGIN_WAYS if getattr(login, way) is not None]
    name = f"{loc[0]}.login"
    if len(ways) != 1:
        known = ", ".join(to_camel(way) for way in LOGIN_WAYS)
        found = f"{' and '.join(ways)} are both there" if ways else "it says none"
        yield loc, f"{name}: a login comes from one place of {known}; {found}"
        return
    if ways[0].startswith("password") and not login.username:
        yield loc, f"{name}: {ways[0]} needs `username` too"
    if login.username and ways[0] in ("kubeconfigContext", "authfile"):
        yield (*loc, "username"), f"{name}.username: {ways[0]} brings its own user; leave this out"
    if isinstance(login.command, str):
        yield from _command(loc, login.command)


def _command(loc: Loc, command: str) -> Iterator[Finding]:
    try:
        shlex.split(command)
    except ValueError as error:
        yield (*loc, "command"), f"{loc[0]}.login.command cannot be split like a shell does: {error}"


def _images(data: dict[str, Any]) -> Iterator[Finding]:
    ends = requests.Ends.of(data)
    targets: dict[str, int] = {}
    for index, entry in _valid_items(data, "images", ImageEntry):
        loc: Loc = ("images", index)
        try:
            request = requests.request(entry, ends, index)
        except InvalidReference as error:
            key = (*loc, "from") if isinstance(data["images"][index], dict) else loc
            yield key, f"images[{index}]: {error}"
            continue
        except requests.Contradiction as error:
            yield (*loc, error.key) if error.key else loc, f"images[{index}]: {error}"
            continue
        target = request.single_target
        if target and target in targets:
            yield loc, f"images[{index}] goes to {target}, and so does images[{targets[target]}]: rename one with `to`"
        elif target:
            targets[target] = index


def _access(loc: Loc, entry: AccessEntry) -> Iterator[Finding]:
    name = f"access[{loc[1]}]"
    if not entry.allow and not entry.carry_over:
        yield loc, f"{name}: nobody is named: `allow: [...]` or `carryOver: true` is needed"
    if entry.images and entry.role:
        yield (*loc, "role"), f"{name}.role: with `images` a narrow role is made; leave `role` out"
    for index, grantee in enumerate(entry.allow or ()):
        words = _grantee(grantee)
        if words:
            yield (*loc, "allow", index), f"{name}.allow: {words}"
    for grantee in entry.prove_with or {}:
        if grantee not in (entry.allow or ()):
            yield (*loc, "proveWith", grantee), f"{name}.proveWith: {grantee!r} is not in this entry's `allow`"


def _grantee(text: str) -> str:
    kind, colon, name = text.partition(":")
    if text in _WORDS_FOR_ALL:
        return ""
    if not colon or not name or kind not in ("project", "user", "group", "serviceaccount"):
        return (
            f"{text!r} is nobody: anonymous, unauthenticated, authenticated, project:P, user:U, group:G or"
            " serviceaccount:P/S"
        )
    if kind == "serviceaccount" and name.count("/") != 1:
        return f"{text!r}: a service account is named with its project, serviceaccount:P/S"
    return ""


def _workloads(data: dict[str, Any]) -> Iterator[Finding]:
    folders: dict[str, int] = {}
    for index, entry in _valid_items(data, "workloads", WorkloadEntry):
        folder = entry.to.rstrip("/")
        if isinstance(entry.from_, str) and (entry.from_.rstrip("/") + "/").startswith(folder + "/"):
            yield (
                ("workloads", index, "to"),
                f"workloads[{index}].to: {entry.to!r} holds the input; choose another folder",
            )
        if folder in folders:
            yield (
                ("workloads", index, "to"),
                f"workloads[{index}].to: workloads[{folders[folder]}] writes there already",
            )
        folders.setdefault(folder, index)
