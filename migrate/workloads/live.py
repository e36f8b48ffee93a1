"""A project's objects as its API has them, as files that the rules can read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from migrate.cluster import Cluster, ClusterError, Object, Problem
from migrate.kinds import (
    BUILD_CONFIG,
    CLAIM,
    CONFIG_MAP,
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    DEPLOYMENT_CONFIG,
    DISRUPTION_BUDGET,
    ENDPOINTS,
    IMAGE_STREAM,
    INGRESS,
    JOB,
    NETWORK_POLICY,
    OLDER,
    POD,
    POD_AUTOSCALER,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    ROLE,
    ROLE_BINDING,
    ROUTE,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    TEMPLATE,
    Kind,
)

_KINDS = (
    IMAGE_STREAM, BUILD_CONFIG, DEPLOYMENT_CONFIG, DEPLOYMENT, STATEFUL_SET, DAEMON_SET, CRON_JOB, JOB, REPLICA_SET,
    REPLICATION_CONTROLLER, POD, SERVICE, ENDPOINTS, ROUTE, INGRESS, CONFIG_MAP, CLAIM, SERVICE_ACCOUNT, ROLE,
    ROLE_BINDING, POD_AUTOSCALER, DISRUPTION_BUDGET, NETWORK_POLICY, TEMPLATE,
)  # fmt: skip
_MADE_BY_OTHERS = (POD, REPLICA_SET, REPLICATION_CONTROLLER, JOB)
"""Kinds of which others make many: those with an owner are not read into files."""
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass
class Exported:
    """What was read from a project.

    Attributes:
        files: name -> YAML, one object each.
        unread: plural of a kind -> why it could not be read.
        owned: how many objects were passed over, because others made them.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    owned: int = 0


def export_project(cluster: Cluster, project: str, *, secrets: bool) -> Exported:
    """Read what the user may read of a project: every kind that the rules know, in pages; Secrets only if `secrets`.

    Raises:
        ClusterError: the API is out of reach, or the login is refused.
    """
    found = Exported()
    for kind in (*_KINDS, *([SECRET] if secrets else [])):
        try:
            for read, document in _listed(cluster, kind, project):
                if kind in _MADE_BY_OTHERS and (document.get("metadata") or {}).get("ownerReferences"):
                    found.owned += 1
                    continue
                _add(found, read, document)
        except ClusterError as error:
            if error.problem is Problem.LOGIN or not error.connected:
                raise
            found.unread[kind.plural] = error.words
    return found


def _listed(cluster: Cluster, kind: Kind, project: str) -> Iterator[tuple[Kind, Object]]:
    """All of a kind; in the older version where this API has only that; none where it does not have the kind."""
    try:
        yield from ((kind, document) for document in cluster.list(kind, project))
    except ClusterError as error:
        if kind in OLDER and error.problem in (Problem.NOT_FOUND, Problem.FORBIDDEN):  # rights are looked at first
            yield from _listed(cluster, OLDER[kind], project)
        elif error.problem is not Problem.NOT_FOUND:
            raise


def _add(found: Exported, kind: Kind, document: Object) -> None:
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    whole = {"apiVersion": version, "kind": kind.name, **_without_kind(document)}
    name = str((document.get("metadata") or {}).get("name", ""))
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
    path, number = f"{kind.plural}/{safe}.yaml", 1
    while path in found.files:
        number += 1
        path = f"{kind.plural}/{safe}~{number}.yaml"
    text = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    found.files[path] = text.encode()


def _without_kind(document: Object) -> Object:
    return {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}
