"""Both ends for a manifest that is not written yet: from options, the kubeconfig, or another manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from migrate.cli.options import say
from migrate.cluster import Cluster, ClusterError
from migrate.credentials import api_of, kubeconfig_servers
from migrate.errors import LoginError, UsageError
from migrate.images.streams import mapping
from migrate.kinds import IMAGE_STREAM
from migrate.manifest import load_manifest
from migrate.manifest.model import RAHTI1_REGISTRY, RAHTI2_REGISTRY, Login, Side
from migrate.manifest.rahti import SOURCE_API_HOST, TARGET_API_HOST

_FILES = ("caFile", "tokenFile", "passwordFile", "authfile")
_EXAMPLES = "openshift"
"""A project whose image streams everybody may list, on every OpenShift."""


def ends_like(like: Path, to: Path) -> dict[str, dict[str, Any]]:
    """Both ends of another manifest; file names are absolute where the new one is in another folder."""
    manifest = load_manifest(like)
    same = like.absolute().parent == to.absolute().parent
    sides: tuple[tuple[str, Side], ...] = (("source", manifest.file.source), ("target", manifest.file.target))
    documents = {name: side.model_dump(by_alias=True, exclude_unset=True) for name, side in sides}
    for name, side in sides:
        documents[name].setdefault("registry", side.registry)
    return documents if same else {name: _absolute(document, like) for name, document in documents.items()}


def _absolute(document: Mapping[str, Any], like: Path) -> dict[str, Any]:
    """File names of a manifest, as they are found from anywhere."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            value = _absolute(value, like)
        elif key in _FILES and isinstance(value, str):
            value = str((like.absolute().parent / Path(value).expanduser()).resolve())
        found[key] = value
    return found


def named_ends(
    source_context: str, target_context: str, source_registry: str, target_registry: str
) -> dict[str, dict[str, Any]]:
    """Both ends, by what was typed and what the kubeconfig has."""
    servers = kubeconfig_servers()
    for context in filter(None, (source_context, target_context)):
        if context not in servers:
            raise UsageError(
                f"the kubeconfig has no context {context!r} (there are: {', '.join(servers) or 'none'})",
                "log in with oc login, or name one of these",
            )
    return {
        "source": _end("source", source_context, source_registry, servers),
        "target": _end("target", target_context, target_registry, servers),
    }


def _end(end: str, context: str, registry: str, servers: Mapping[str, str]) -> dict[str, Any]:
    api, rahti = (SOURCE_API_HOST, RAHTI1_REGISTRY) if end == "source" else (TARGET_API_HOST, RAHTI2_REGISTRY)
    own = [name for name, server in servers.items() if urlsplit(server).hostname == api]
    named = [name for name in own if "/" not in name] or own  # a name that a person gave, not `oc login`
    chosen = context or (next(iter(named), "") if registry in ("", rahti) else "")
    if not registry:
        registry = rahti if not chosen or chosen in own else _public_registry(end, chosen)
    if not chosen:
        say(f"note: no login for the {end} is known: name one with --{end}-context, or write it under `{end}.login`")
    scheme, _, address = registry.rpartition("://")
    host = address.removesuffix("/") if scheme in ("http", "https") else registry
    plain = {"plainHttp": True} if scheme == "http" else {}
    return {"registry": host, **plain, **({"login": {"kubeconfigContext": chosen}} if chosen else {})}


def _public_registry(end: str, context: str) -> str:
    """What the API of a context says that its registry is called from outside."""
    access = api_of(None, Login(kubeconfigContext=context), Path())
    found = ""
    if access:
        cluster = Cluster(access)
        try:
            streams = cluster.list(IMAGE_STREAM, _EXAMPLES)
            hosts = [mapping(stream.get("status")).get("publicDockerImageRepository") for stream in streams]
            found = next((str(host).partition("/")[0] for host in hosts if host), "")
        except (ClusterError, LoginError):
            pass
        finally:
            cluster.close()
    if not found:
        words = f"the registry that belongs to the {end}'s context {context!r} is not told by its API"
        raise UsageError(words, f"name it: --{end}-registry HOST (see: oc registry info)")
    return found
