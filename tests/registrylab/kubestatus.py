"""What a Kubernetes API server says when it does not do as asked: Status objects, with the words of the real ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object, as JSON."""
Objects = list[Object]


@dataclass(frozen=True)
class Resource:
    """A row of the API: what lies under /apis/<group>/<version>/[namespaces/*/]<name>.

    Attributes:
        blind_update: a PUT need not say which resourceVersion it changes.
        put_creates: a PUT of what is not there makes it.
        stored: objects of its own are kept; the others are made from those of other resources.
    """

    group: str
    name: str
    kind: str
    namespaced: bool = True
    blind_update: bool = True
    put_creates: bool = False
    stored: bool = True

    @property
    def full(self) -> str:
        """With its group, as messages have it."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects: every group here has a v1 only."""
        return f"{self.group}/v1" if self.group else "v1"


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """The answer is a Status that says no."""

    def __init__(self, status: Object) -> None:
        super().__init__(status["message"])
        self.status = status


@dataclass(frozen=True)
class Cause:
    """What is wrong with one field."""

    reason: str
    field: str
    message: str


def failure(code: int, reason: str, message: str, details: Object | None = None) -> Refusal:
    """A Status of a failure; details and reason are left out where they are empty, as real servers do."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        status["reason"] = reason
    if details is not None:
        status["details"] = details
    return Refusal({**status, "code": code})


def success(resource: Resource, name: str, uid: str) -> Object:
    """What a DELETE answers."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": _details(resource, name) | {"uid": uid},
    }  # fmt: skip


def unauthorized() -> Refusal:
    """The token is not known."""
    return failure(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str) -> Refusal:
    """Not allowed, or not now."""
    named = f'{resource.full} "{name}"' if name else resource.full
    return failure(403, "Forbidden", f"{named} is forbidden: {why}", _details(resource, name))


def not_found(resource: Resource, name: str) -> Refusal:
    """No such object."""
    return failure(404, "NotFound", f'{resource.full} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str, singular: str = "") -> Refusal:
    """There is one of that name; OpenShift says `project` and `imagestreamtag` where others say the plural."""
    full = f"{singular}.{resource.group}" if singular else resource.full
    return failure(409, "AlreadyExists", f'{full} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> Refusal:
    """Somebody else was there first."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    words = f'Operation cannot be fulfilled on {resource.full} "{name}": {why}'
    return failure(409, "Conflict", words, _details(resource, name))


def apply_conflict(causes: Sequence[tuple[str, str]]) -> Refusal:
    """A server-side apply of fields that others own: (manager, field) of each."""
    details = [_cause(Cause("FieldManagerConflict", path, f"conflict with {who}")) for who, path in causes]
    if len(causes) == 1:
        said = f"1 conflict: conflict with {causes[0][0]}: {causes[0][1]}"
    else:
        owners = list(dict.fromkeys(who for who, _ in causes))
        fields = {who: [f"- {path}" for other, path in causes if other == who] for who in owners}
        said = f"{len(causes)} conflicts: " + "\n".join(f"conflicts with {w}:\n" + "\n".join(fields[w]) for w in owners)
    return failure(409, "Conflict", f"Apply failed with {said}", {"causes": details})


def invalid(resource: Resource, name: str, *causes: Cause) -> Refusal:
    """An object that cannot be."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    words = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _details(resource, name) | {"kind": resource.kind, "causes": [_cause(cause) for cause in causes]}
    return failure(422, "Invalid", f'{kind} "{name}" is invalid: {words}', details)


def bad_request(message: str) -> Refusal:
    """A request that makes no sense."""
    return failure(400, "BadRequest", message)


def wrong_value(field: str, value: object, why: str) -> Cause:
    """A value that the field cannot have."""
    shown = json.dumps(value, separators=(",", ":"))
    return Cause("FieldValueInvalid", field, f"Invalid value: {shown}: {why}")


def required(field: str, why: str = "") -> Cause:
    """A field that must be there."""
    return Cause("FieldValueRequired", field, f"Required value{': ' if why else ''}{why}")


def unsupported(field: str, value: str, *supported: str) -> Cause:
    """A value that is none of those there are."""
    known = ", ".join(f'"{name}"' for name in supported)
    return Cause("FieldValueNotSupported", field, f'Unsupported value: "{value}": supported values: {known}')


def _cause(cause: Cause) -> Object:
    return {"reason": cause.reason, "message": cause.message, "field": cause.field}


def _details(resource: Resource, name: str) -> Object:
    details = {"name": name, "group": resource.group, "kind": resource.name}
    return {key: value for key, value in details.items() if value}
