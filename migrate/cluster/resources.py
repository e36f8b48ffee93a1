"""Kinds and objects as lightkube wants them, and names that may stand in an address."""

import threading
from collections.abc import Mapping
from typing import Any

from migrate.cluster.problems import ClusterError, Problem
from migrate.kinds import Kind
from migrate.printable import printable
from migrate.quantities import quoted


def _warmed(resource: Any) -> Any:
    """A resource after its first use: two threads that use a type of msgspec 0.22 for the first time crash together."""
    from lightkube.core.decoders import decode_list
    from lightkube.models import meta_v1

    decode_list(b'{"items": []}', resource)
    resource.from_dict({"metadata": {"name": "x"}}).metadata  # noqa: B018
    meta_v1.Status.from_dict({"details": {"causes": [{}]}})
    return resource


MAKING = threading.Lock()
"""For what lightkube may not do in two threads at once."""
_made: dict[Kind, Any] = {}


def resource_of(kind: Kind) -> Any:
    """The class that lightkube has for a kind; one for each, for all threads."""
    from lightkube.generic_resource import create_global_resource, create_namespaced_resource

    with MAKING:  # lightkube 1.0 refuses a second class of the same kind in the core group
        if kind not in _made:
            make = create_namespaced_resource if kind.namespaced else create_global_resource
            _made[kind] = _warmed(make(kind.group, kind.version, kind.name, kind.plural))
        return _made[kind]


def document_of(kind: Kind, document: Mapping[str, Any]) -> Any:
    """A document as lightkube's object of that kind."""
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return resource_of(kind).from_dict({"apiVersion": version, "kind": kind.name, **document})


def sendable(kind: Kind, document: Mapping[str, Any]) -> tuple[Any, str]:
    """What is sent, and what it is called."""
    metadata = document.get("metadata") or {}
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
    what = name_of(kind, name, namespace)
    check_names(what, name, *([namespace] if kind.namespaced else []))
    return document_of(kind, document), what


def check_names(what: str, *names: str) -> None:
    """Names become parts of the address as they are: one with other meanings there would ask for something else.

    Raises:
        ClusterError: a name can be none.
    """
    for name in names:
        if name in ("", ".", "..", "~", "*") or not name.isprintable() or any(char in name for char in "?#/%\\"):
            words = f"{quoted(name)} can be no name here" if name else "a name is missing"
            raise ClusterError(printable(what, 200), Problem.INVALID, words)


def name_of(kind: Kind, name: str, namespace: str) -> str:
    """What an object is called in messages."""
    return f"{kind.name} {namespace}/{name}" if namespace else f"{kind.name} {name}"
