"""Image streams of the source, as the OpenShift API tells of them: tags, digests, and what each tag is. Pure parsing.

image.openshift.io/v1: `status.tags[].items[0]` is what a tag is now, `spec.tags[].from` what it was asked to follow.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from migrate.cluster import Cluster, ClusterError
from migrate.kinds import IMAGE_STREAM
from migrate.reference import InvalidReference, Reference, Repository, parse_reference, valid_digest, valid_tag


class Kept(StrEnum):
    """Where the bytes of a tag are."""

    STORED = "stored"
    EXTERNAL = "external"
    ALIAS = "alias"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class StreamTag:
    """A tag of an image stream.

    Attributes:
        name: the tag.
        kept: stored in the registry; external, in another one; an alias of another tag; or nowhere (never imported).
        digest: of the image that it is now; empty for none.
        upstream: of an external one: where the bytes come from.
        follows: of an alias: (project, image stream, tag) that it names; of a tag that is nowhere: empty.
        policy: the alias's referencePolicy.
        words: of one that is nowhere: what it names.
        created: when it became what it is now (RFC 3339); empty where that is not told.
    """

    name: str
    kept: Kept
    digest: str = ""
    upstream: Reference | None = None
    follows: tuple[str, str, str] | None = None
    policy: str = ""
    words: str = ""
    created: str = ""


@dataclass(frozen=True)
class ImageStream:
    """An image stream: its tags by name, what else is carried, and the names of the registry that it is in."""

    project: str
    name: str
    tags: Mapping[str, StreamTag]
    labels: Mapping[str, str] = field(default_factory=dict)
    local_lookup: bool = False
    hosts: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Its repository's path in the registry."""
        return f"{self.project}/{self.name}"


def stream_of(document: Mapping[str, Any], own_hosts: Collection[str]) -> ImageStream:
    """An image stream of the API.

    Args:
        document: an ImageStream.
        own_hosts: the names under which its registry is known.
    """
    metadata, spec, status = (mapping(document.get(key)) for key in ("metadata", "spec", "status"))
    project, name = str(metadata.get("namespace", "")), str(metadata.get("name", ""))
    hosts = {*own_hosts, *(_host(status.get(k)) for k in ("dockerImageRepository", "publicDockerImageRepository"))}
    asked = {str(tag.get("name")): tag for tag in mappings(spec.get("tags"))}
    filled = {str(tag.get("tag")): mappings(tag.get("items")) for tag in mappings(status.get("tags"))}
    names = [tag for tag in dict.fromkeys((*filled, *asked)) if valid_tag(tag)]
    tags = {tag: _tag(tag, asked.get(tag, {}), filled.get(tag, []), (project, name), hosts) for tag in names}
    labels = {str(k): str(v) for k, v in mapping(metadata.get("labels")).items()}
    local = mapping(spec.get("lookupPolicy")).get("local") is True
    return ImageStream(project, name, tags, labels, local, frozenset(host for host in hosts if host))


def _tag(
    name: str, asked: Mapping[str, Any], items: list[dict[str, Any]], stream: tuple[str, str], hosts: Collection[str]
) -> StreamTag:
    origin = mapping(asked.get("from"))
    follows = _followed(origin, stream) if origin.get("kind") == "ImageStreamTag" else None
    if not items or not valid_digest(str(items[0].get("image"))):
        return StreamTag(name, Kept.NOWHERE, words=str(origin.get("name", "")))
    digest, reference = str(items[0]["image"]), str(items[0].get("dockerImageReference", ""))
    made = str(items[0].get("created", ""))
    upstream = None if _host(reference) in hosts else _upstream(reference, digest)
    if follows and follows != (*stream, name):
        policy = str(mapping(asked.get("referencePolicy")).get("type", ""))
        return StreamTag(name, Kept.ALIAS, digest, upstream, follows, policy, created=made)
    return StreamTag(name, Kept.EXTERNAL if upstream else Kept.STORED, digest, upstream, created=made)


def _followed(origin: Mapping[str, Any], stream: tuple[str, str]) -> tuple[str, str, str]:
    """What an alias names; without a colon a tag of the same image stream."""
    name, colon, tag = str(origin.get("name", "")).partition(":")
    project = str(origin.get("namespace") or stream[0])
    return (project, name, tag) if colon else (project, stream[1], name)


def _upstream(reference: str, digest: str) -> Reference | None:
    """Where an external image comes from, by digest; None where its reference is none."""
    try:
        return parse_reference(reference, "docker.io").with_digest(digest)
    except InvalidReference:
        return None


def _host(reference: object) -> str:
    return str(reference or "").partition("/")[0]


def mapping(value: object) -> Mapping[str, Any]:
    """What should be a mapping; an empty one where it is none."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[dict[str, Any]]:
    """The mappings of what should be a list of them."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class StreamCatalog:
    """The image streams of the source's projects, each project listed once. Safe to use from many threads.

    Args:
        cluster: the source's API.
        registry: the source registry's host, as the manifest names it.
        own_hosts: further names of that registry.
        tell: told why a project's image streams cannot be listed; the registry is asked instead.
    """

    def __init__(
        self, cluster: Cluster, registry: str, own_hosts: Iterable[str], tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._cluster = cluster
        self._registry = registry
        self._hosts = {registry, *own_hosts}
        self._tell = tell
        self._projects: dict[str, dict[str, ImageStream] | None] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def project(self, registry: str, project: str) -> Mapping[str, ImageStream] | None:
        """The image streams of a project by repository path; None where the API does not tell."""
        if registry != self._registry or not project:
            return None
        with self._lock:
            lock = self._locks.setdefault(project, threading.Lock())
        with lock:
            if project not in self._projects:
                self._projects[project] = self._list(project)
            return self._projects[project]

    def stream(self, repository: Repository) -> ImageStream | None:
        """The image stream of a repository; None where the API does not tell of it."""
        return (self.project(repository.registry, repository.project) or {}).get(repository.path)

    def tag(self, reference: Reference) -> StreamTag | None:
        """What a tag is; None where the API does not tell."""
        stream = self.stream(reference.repository) if reference.tag and not reference.digest else None
        return stream.tags.get(reference.tag) if stream else None

    def _list(self, project: str) -> dict[str, ImageStream] | None:
        try:
            found = [stream_of(document, self._hosts) for document in self._cluster.list(IMAGE_STREAM, project)]
        except ClusterError as error:
            self._tell(f"note: the image streams of {project} cannot be listed ({error.words}); asking the registry")
            return None
        return {stream.path: stream for stream in found if stream.project == project and stream.name}
