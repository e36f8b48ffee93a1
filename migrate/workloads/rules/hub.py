"""Names of images without a registry: Docker Hub's."""

import re

from migrate.reference import is_host
from migrate.workloads.moved import is_variable

_HOSTS = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_SHORT = re.compile(r"(?:[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*(?::[\w.${}-]+)?(?:@sha256:[0-9a-f]{64})?")


def with_hub(name: str) -> str:
    """The name with docker.io before it; empty where it has a registry, or cannot be told."""
    head, slash, rest = name.partition("/")
    if head in _HOSTS:
        return f"docker.io/{rest}" if "/" in rest else f"docker.io/library/{rest}"
    if slash and (is_host(head) or is_variable(head)):
        return ""
    if is_variable(name.partition(":")[0]) or not _SHORT.fullmatch(name):
        return ""
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
