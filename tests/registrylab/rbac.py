"""Who may do what in a fake cluster: bindings, roles and their rules, evaluated as Kubernetes does."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from registrylab.kubestatus import Object
from registrylab.kubestore import Store

ANONYMOUS = "system:anonymous"
AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class Caller:
    """A user and the groups that a request comes with; bindings name the one or the others."""

    user: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What somebody wants to do: a verb on a resource (`imagestreams/layers`), or on a path that is none."""

    verb: str
    resource: str = ""
    group: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True)
class Grant:
    """A rule that a caller has, and by which binding."""

    rule: Object
    reason: str


def caller_of(user: str, groups: Iterable[str] = ()) -> Caller:
    """A user with the groups that go with a login; `groups` are those that an administrator made."""
    if user == ANONYMOUS:
        return Caller(user, (UNAUTHENTICATED,))
    if user.startswith(_SERVICE_ACCOUNT):
        project = user.split(":")[2]
        return Caller(user, ("system:serviceaccounts", f"system:serviceaccounts:{project}", AUTHENTICATED))
    return Caller(user, (*groups, "system:authenticated:oauth", AUTHENTICATED))


class Rbac:
    """Decides by the roles and bindings of a store, as they are at each question."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allows(self, caller: Caller, wish: Wish) -> str:
        """Why a caller may, in words; empty where nothing allows it."""
        with self._store.lock:
            return next((g.reason for g in self.grants(caller, wish.namespace) if _matches(g.rule, wish)), "")

    def grants(self, caller: Caller, namespace: str) -> Iterator[Grant]:
        """Every rule that holds for a caller in a namespace (empty: for what is of the cluster)."""
        places = [("clusterrolebindings", "")] + ([("rolebindings", namespace)] if namespace else [])
        for resource, place in places:
            for binding in self._store.list(resource, place):
                subject = next((s for s in binding.get("subjects") or () if _is(s, caller, place)), None)
                if subject:
                    reason = _reason(binding, subject)
                    yield from (Grant(rule, reason) for rule in self.rules_of(binding["roleRef"], place) or ())

    def rules_of(self, role: Object, namespace: str) -> list[Object] | None:
        """The rules that a roleRef names; None where there is no such role."""
        of_cluster = role["kind"] == "ClusterRole"
        resource, place = ("clusterroles", "") if of_cluster else ("roles", namespace)
        found = self._store.peek(resource, place, role["name"])
        return None if found is None else list(found.get("rules") or ())

    def lacking(self, caller: Caller, namespace: str, wanted: Iterable[Object]) -> list[Object]:
        """What a caller would give away without having it: of each rule, what none of the caller's own covers."""
        own = [grant.rule for grant in self.grants(caller, namespace)]
        missing: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
        for wish in itertools.chain.from_iterable(map(_wishes, wanted)):
            if not any(_matches(rule, wish) for rule in own):
                missing[wish.group, wish.resource, wish.name, wish.path].append(wish.verb)
        return sorted((_rule(*what, verbs) for what, verbs in missing.items()), key=in_words)


def in_words(rule: Object) -> str:
    """A rule as Kubernetes writes it where somebody tries to give it away."""
    keys = {"apiGroups": "APIGroups", "resources": "Resources", "nonResourceURLs": "NonResourceURLs",
            "resourceNames": "ResourceNames", "verbs": "Verbs"}  # fmt: skip
    parts = [f"{word}:{listed(rule[key])}" for key, word in keys.items() if rule.get(key)]
    return "{" + ", ".join(parts) + "}"


def listed(names: Iterable[str]) -> str:
    """Names as Go writes a list of them."""
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def _is(subject: Object, caller: Caller, namespace: str) -> bool:
    """Users are only users and groups only groups: a user named like a group is nobody."""
    match subject["kind"]:
        case "User":
            return bool(subject["name"] == caller.user)
        case "Group":
            return subject["name"] in caller.groups
        case "ServiceAccount":
            place = subject.get("namespace") or namespace
            return bool(place) and caller.user == f"{_SERVICE_ACCOUNT}{place}:{subject['name']}"
    return False


def _matches(rule: Object, wish: Wish) -> bool:
    if not {wish.verb, "*"} & set(rule.get("verbs") or ()):
        return False
    if wish.path:
        return any(_path_matches(url, wish.path) for url in rule.get("nonResourceURLs") or ())
    subresource = wish.resource.partition("/")[2]
    resources = {wish.resource, "*", *([f"*/{subresource}"] if subresource else [])}
    names = rule.get("resourceNames") or ()
    return bool(
        {wish.group, "*"} & set(rule.get("apiGroups") or ())
        and resources & set(rule.get("resources") or ())
        and (not names or wish.name in names)
    )


def _path_matches(url: str, path: str) -> bool:
    return path.startswith(url[:-1]) if url.endswith("*") else url == path


def _wishes(rule: Object) -> Iterator[Wish]:
    """A rule taken apart."""
    verbs = rule.get("verbs") or ()
    for verb, url in itertools.product(verbs, rule.get("nonResourceURLs") or ()):
        yield Wish(verb, path=url)
    names = rule.get("resourceNames") or [""]
    for verb, group, resource, name in itertools.product(
        verbs, rule.get("apiGroups") or (), rule.get("resources") or (), names
    ):
        yield Wish(verb, resource, group, name=name)


def _rule(group: str, resource: str, name: str, path: str, verbs: list[str]) -> Object:
    if path:
        return {"nonResourceURLs": [path], "verbs": verbs}
    names = {"resourceNames": [name]} if name else {}
    return {"apiGroups": [group], "resources": [resource], **names, "verbs": verbs}


def _reason(binding: Object, subject: Object) -> str:
    metadata, role = binding["metadata"], binding["roleRef"]
    namespace = metadata.get("namespace")
    named = f'RoleBinding "{metadata["name"]}/{namespace}"' if namespace else f'ClusterRoleBinding "{metadata["name"]}"'
    place = f"/{subject['namespace']}" if subject["kind"] == "ServiceAccount" and subject.get("namespace") else ""
    who = f'{subject["kind"]} "{subject["name"]}{place}"'
    return f'RBAC: allowed by {named} of {role["kind"]} "{role["name"]}" to {who}'
