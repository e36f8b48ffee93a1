"""Roles and bindings as the cluster has them, and whom they let pull. Pure.

To pull is `get` on `imagestreams/layers` of image.openshift.io (openshift/image-registry, docs); a role that names only
the legacy group "" grants it on 3.11 alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrate.access.subjects import Subject, subjects_of

CLUSTER_ROLE, ROLE = "ClusterRole", "Role"
_IMAGES = "image.openshift.io"
_LAYERS = "imagestreams/layers"

_LOOKING = {"get", "list", "watch"}
_OF_IMAGES = {
    "imagestreams",
    "imagestreamtags",
    "imagestreamimages",
    "imagestreammappings",
    "imagetags",
    "namespaces",
    "projects",
}

KNOWN_PULLERS = frozenset({"registry-viewer", "system:image-puller"})
"""Roles for pulling and looking alone; every OpenShift has them."""
_PULLING = KNOWN_PULLERS | {
    "admin", "cluster-admin", "cluster-reader", "edit", "registry-admin", "registry-editor", "system:image-builder",
    "system:image-pusher", "view",
}  # fmt: skip
"""The roles of OpenShift itself that allow pulling, for where they cannot be read."""


@dataclass(frozen=True, slots=True, order=True)
class RoleName:
    """What a binding points at."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Pulls:
    """What of a project a role lets be pulled: all of it, or image streams by name.

    Attributes:
        everything: every image stream, also those to come.
        images: names, where it is not everything.
        more: whether the role allows more than looking at images.
        unread: whether that is not known, for the role may not be read (or is not there).
    """

    everything: bool
    images: frozenset[str] = frozenset()
    more: bool = False
    unread: bool = False

    @property
    def nothing(self) -> bool:
        """Whether the role lets nothing be pulled."""
        return not self.everything and not self.images

    def cover(self, images: Iterable[str]) -> bool:
        """Whether these image streams (none named: all) can be pulled."""
        wanted = frozenset(images)
        return self.everything or (bool(wanted) and wanted <= self.images)


@dataclass(frozen=True)
class Binding:
    """A RoleBinding of a project; `document` is as it was read."""

    name: str
    role: RoleName
    subjects: tuple[Subject, ...]
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def binding_of(document: Mapping[str, Any], namespace: str) -> Binding:
    """A RoleBinding of rbac.authorization.k8s.io, authorization.openshift.io, or 3.11's `v1`."""
    metadata, reference = _mapping(document, "metadata"), _mapping(document, "roleRef")
    kind = str(reference.get("kind") or (ROLE if reference.get("namespace") else CLUSTER_ROLE))
    role = RoleName(kind, str(reference.get("name", "")))
    return Binding(str(metadata.get("name", "")), role, subjects_of(dict(document), namespace), document)


def pulls_of_rules(rules: Sequence[Any], *, legacy: bool = False) -> Pulls:
    """What a role's rules let be pulled.

    Args:
        rules: as Role and ClusterRole have them.
        legacy: whether a rule for the group "" counts too (3.11).
    """
    everything, images, more = False, set[str](), False
    for rule in rules if isinstance(rules, list | tuple) else ():
        if not isinstance(rule, dict):
            continue
        more = more or _is_more(rule)
        if not _lets_pull(rule, legacy=legacy):
            continue
        names = _names(rule, "resourceNames")
        images.update(names)
        everything = everything or not names
    return Pulls(everything, frozenset() if everything else frozenset(images), more)


def pulls_of_unread(role: RoleName) -> Pulls:
    """What a role lets be pulled whose rules may not be read: known by its name, or nothing that is known."""
    own = role.kind == CLUSTER_ROLE and (role.name in _PULLING or role.name.startswith("system:"))
    known = own and role.name in _PULLING
    return Pulls(known, more=known and role.name not in KNOWN_PULLERS, unread=not own)


def _is_more(rule: dict[str, Any]) -> bool:
    """Whether a rule is for more than looking at images and the project's name."""
    resources = {name.partition("/")[0] for name in _names(rule, "resources")}
    return bool(set(_names(rule, "verbs")) - _LOOKING or resources - _OF_IMAGES)


def _lets_pull(rule: dict[str, Any], *, legacy: bool) -> bool:
    groups = {_IMAGES, "*", *([""] if legacy else [])}
    return (
        not groups.isdisjoint(_names(rule, "apiGroups"))
        and not {_LAYERS, "*", "*/layers"}.isdisjoint(_names(rule, "resources"))
        and not {"get", "*"}.isdisjoint(_names(rule, "verbs"))
    )


def _names(rule: dict[str, Any], key: str) -> list[str]:
    found = rule.get(key)
    return [str(item) for item in found] if isinstance(found, list) else []


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, Mapping) else {}
