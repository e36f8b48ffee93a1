"""Which images the trust policy of this machine lets skopeo copy (containers-policy.json(5)). Pure."""

from collections.abc import Mapping
from typing import Any

from migrate.quantities import quoted
from migrate.reference import Repository

_ANYTHING = "insecureAcceptAnything"
_TYPES = {_ANYTHING, "reject", "signedBy", "signedBaseLayer", "sigstoreSigned"}
_TRANSPORTS = "transports"


def problem_of(policy: object) -> str:
    """Why skopeo would refuse the whole file, in words; empty where it would not, as far as this is looked at."""
    if not isinstance(policy, Mapping):
        return "it is no JSON object"
    if unknown := sorted(set(policy) - {"default", _TRANSPORTS}):
        return f"it has the unknown key {quoted(str(unknown[0]))}"
    if "default" not in policy:
        return "it has no `default`"
    transports = policy.get(_TRANSPORTS, {})
    if not isinstance(transports, Mapping) or not all(isinstance(scopes, Mapping) for scopes in transports.values()):
        return "`transports` is no object of objects"
    every = {"default": policy["default"], **{s: r for scopes in transports.values() for s, r in scopes.items()}}
    return next((words for scope, found in every.items() if (words := _wrong(scope, found))), "")


def _wrong(scope: str, found: object) -> str:
    if not isinstance(found, list) or not found:
        return f"{quoted(scope)} has no list of requirements"
    for requirement in found:
        kind = requirement.get("type") if isinstance(requirement, Mapping) else None
        if kind not in _TYPES:
            return f"{quoted(scope)} has a requirement of the unknown type {quoted(str(kind))}"
    return ""


def requirements_for(policy: Mapping[str, Any], repository: Repository) -> list[str]:
    """The types of what a policy demands of a repository's images; none where it says nothing that can be read.

    The most particular scope of the transport `docker` holds: the repository, a path above it, the host, `*.domain`,
    the transport's own default; else the policy's default.
    """
    transports = policy.get(_TRANSPORTS)
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
