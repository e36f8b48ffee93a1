"""The objects of a fake cluster: kept as JSON, each write with a new resourceVersion."""

import base64
import copy
import datetime
import itertools
import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registrylab.kubestatus import Object, Objects, Resource, bad_request, failure

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result."
    " You can start a new list without the continue parameter."
)


def now() -> str:
    """This second, as metadata has it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Page:
    """Some objects of a list; `following` is the token for the next ones, empty at the end."""

    objects: Objects
    revision: int
    following: str
    remaining: int


class Store:
    """Objects by resource, namespace (empty for those of the cluster) and name.

    Whoever reads and then writes holds `lock` meanwhile. `list` and `peek` give the kept objects themselves: read only.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.compacted = 0
        self._objects: dict[str, dict[str, dict[str, Object]]] = defaultdict(lambda: defaultdict(dict))
        self._revisions = itertools.count(700)
        self.revision = next(self._revisions)

    def peek(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object itself."""
        with self.lock:
            return self._objects[resource][namespace].get(name)

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """A copy of an object."""
        return copy.deepcopy(self.peek(resource, namespace, name))

    def list(self, resource: str, namespace: str | None = None) -> Objects:
        """All objects of a namespace, or of all; sorted as etcd has them."""
        with self.lock:
            kept = self._objects[resource]
            places = sorted(kept) if namespace is None else [namespace]
            return [kept[place][name] for place in places for name in sorted(kept[place])]

    def put(self, resource: str, item: Object) -> Object:
        """Keep an object, new or changed; what is kept."""
        with self.lock:
            self.revision = next(self._revisions)
            made = {"creationTimestamp": now(), "uid": str(uuid.uuid4())}
            metadata = {**made, **item["metadata"], "resourceVersion": str(self.revision)}
            kept = {**item, "metadata": metadata}
            self._objects[resource][metadata.get("namespace", "")][metadata["name"]] = kept
            return kept

    def delete(self, resource: str, namespace: str, name: str) -> Object | None:
        """Take an object away; what it was."""
        with self.lock:
            self.revision = next(self._revisions)
            return self._objects[resource][namespace].pop(name, None)

    def delete_namespace(self, namespace: str) -> None:
        """Take away everything in a namespace, and it."""
        with self.lock:
            for kept in self._objects.values():
                kept.pop(namespace, None)
            self.delete("namespaces", "", namespace)

    def page(self, objects: Iterable[Object], limit: int, token: str) -> Page:
        """So many of the sorted objects, from where the token says.

        A real server goes on with the list as it was at the first page; here what was added since is seen.
        """
        start, revision = self._position(token)
        rest = [item for item in objects if _position_of(item) > list(start)] if token else list(objects)
        page = rest[: limit or None]
        remaining = len(rest) - len(page)
        following = _token(_position_of(page[-1]), revision) if remaining else ""
        return Page(page, revision, following, remaining)

    def _position(self, token: str) -> tuple[Sequence[str], int]:
        if not token:
            return (), self.revision
        try:
            read = json.loads(base64.urlsafe_b64decode(token))
            position, revision = [str(part) for part in read["start"]], int(read["rv"])
        except (ValueError, KeyError, TypeError):
            raise bad_request(f"continue key is not valid: {token}") from None
        if revision <= self.compacted:
            raise failure(410, "Expired", _TOO_OLD)
        return position, revision


def full_name(item: Object) -> str:
    """Namespace and name."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def described(resource: Resource, item: Object, api_version: str = "") -> Object:
    """With kind and apiVersion in front."""
    kept = {key: value for key, value in item.items() if key not in ("kind", "apiVersion")}
    return {"kind": resource.kind, "apiVersion": api_version or resource.api_version, **kept}


def _position_of(item: Object) -> list[str]:
    return [item["metadata"].get("namespace", ""), item["metadata"]["name"]]


def _token(position: list[str], revision: int) -> str:
    read = {"v": "meta.k8s.io/v1", "rv": revision, "start": position}
    return base64.urlsafe_b64encode(json.dumps(read).encode()).decode()
