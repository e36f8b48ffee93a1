"""Which images the trust policy of this machine lets skopeo copy (containers-policy.json(5)). Pure."""

from collections.abc import Mapping
from typing import Any

from migrate.reference import Repository

_ANYTHING = "insecureAcceptAnything"


def requirements_for(policy: Mapping[str, Any], repository: Repository) -> list[str]:
    """The types of what a policy demands of a repository's images; none where it says nothing that can be read.

    The most particular scope of the transport `docker` holds: the repository, a path above it, the host, `*.domain`,
    the transport's own default; else the policy's default.
    """
    transports = policy.get("transports")
    scopes = transports.get("docker") if isinstance(transports, Mapping) else None
    found: object = None
    if isinstance(scopes, Mapping):
        found = next((scopes[scope] for scope in [*_scopes(repository), ""] if scope in scopes), None)
    if found is None:
        found = policy.get("default")
    return [str(item.get("type")) for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def accepts_anything(requirements: list[str]) -> bool:
    """Whether no signature is asked for."""
    return requirements == [_ANYTHING]


def _scopes(repository: Repository) -> list[str]:
    parts = str(repository).split("/")
    paths = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    domains = repository.registry.partition(":")[0].split(".")
    return [*paths, *(f"*.{'.'.join(domains[start:])}" for start in range(1, len(domains)))]
