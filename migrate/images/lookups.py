"""What the planner and verify ask the registries, each question once. No decisions here."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Protocol, TypeVar

from migrate.errors import LoginError
from migrate.images.content import Content, content_of, created
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest, Kind
from migrate.images.registry import Found, RegistryError
from migrate.images.streams import ImageStream, Kept, StreamCatalog, StreamTag
from migrate.printable import printable
from migrate.reference import DOCKER_HUB, Reference, Repository

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
_UNREADABLE = (FailureClass.NOT_FOUND, FailureClass.DENIED, FailureClass.INVALID, FailureClass.CORRUPT)
"""What a look may tell better, or otherwise: a "no" is asked once more."""


class Reader(Protocol):
    """The reading half of a registry."""

    def catalog(self) -> Iterator[str]:
        """All repositories."""

    def tags(self, repository: str) -> Iterator[str]:
        """All tags of a repository."""

    def find_manifest(self, repository: str, identifier: str) -> Found | None:
        """What stands under a tag or digest; None where there is nothing."""

    def manifest(self, repository: str, identifier: str) -> ImageManifest:
        """The image manifest under a tag or digest."""

    def small_blob(self, repository: str, digest: str) -> bytes:
        """A config."""

    def blob_size(self, repository: str, digest: str) -> int | None:
        """The size of a blob, None where it is missing."""


class Lookups:
    """Questions to registries, remembered by digest: what has a digest never changes.

    Args:
        registry: gives the reader of a registry host.
        known: an image manifest that the state remembers by its digest, or None.
        streams: the image streams of registries whose API tells of them: then tags need no question.
    """

    def __init__(
        self,
        registry: Callable[[str], Reader],
        known: Callable[[str], ImageManifest | None],
        streams: Sequence[StreamCatalog] = (),
    ) -> None:
        self._registry = registry
        self._known = known
        self._streams = streams
        self._manifests: dict[str, ImageManifest] = {}
        self._configs: dict[str, bytes] = {}
        self.read: dict[str, ImageManifest] = {}

    def repositories(self, registry: str, prefix: str) -> list[str]:
        """The repositories of a project: its image streams; or its name, and all below it."""
        for catalog in self._streams:
            streams = catalog.project(registry, prefix)
            if streams is not None:
                return sorted(streams)
        return [name for name in self._registry(registry).catalog() if name == prefix or name.startswith(f"{prefix}/")]

    def tags(self, repository: Repository) -> list[str]:
        """The tags of a repository that name an image, sorted."""
        stream = self.stream(repository)
        if stream:
            return sorted(tag.name for tag in stream.tags.values() if tag.kept is not Kept.NOWHERE)
        return sorted(set(self._registry(repository.registry).tags(repository.path)))

    def tags_or_none(self, repository: Repository) -> list[str] | None:
        """The tags of a repository; None where there is no such repository."""
        projects = (catalog.project(repository.registry, repository.project) for catalog in self._streams)
        if any(project is not None and repository.path not in project for project in projects):
            return None
        try:
            return self.tags(repository)
        except RegistryError as error:
            if error.failure.kind is not FailureClass.NOT_FOUND:
                raise
            return None

    def find(self, reference: Reference) -> Found | None:
        """What stands under a tag or digest now."""
        tag = self.stream_tag(reference)
        if tag and tag.digest:
            known = self._known(tag.digest)
            return Found(tag.digest, known.media_type if known else "")
        return self._registry(reference.repository.registry).find_manifest(
            reference.repository.path, reference.identifier
        )

    def find_and_read(self, reference: Reference) -> Found | None:
        """What stands under a tag that was never seen before: its manifest is read at once, for it is needed anyway.

        Docker Hub counts what is read, and not what is looked at; what cannot be read is looked at, which tells why.
        """
        tag = self.stream_tag(reference)
        if (tag and tag.digest) or reference.digest or reference.repository.registry == DOCKER_HUB:
            return self.find(reference)
        try:
            found = self._registry(reference.repository.registry).manifest(reference.repository.path, reference.tag)
        except RegistryError as error:
            if error.failure.kind not in _UNREADABLE:
                raise
            return self.find(reference)
        self._manifests.setdefault(found.digest, found)
        self.read.setdefault(found.digest, found)
        return Found(found.digest, found.media_type)

    def stream(self, repository: Repository) -> ImageStream | None:
        """The image stream of a repository; None where no API tells of it."""
        return next(filter(None, (catalog.stream(repository) for catalog in self._streams)), None)

    def stream_tag(self, reference: Reference) -> StreamTag | None:
        """What a tag of an image stream is; None where no API tells."""
        return next(filter(None, (catalog.tag(reference) for catalog in self._streams)), None)

    def readable(self, reference: Reference) -> bool:
        """Whether its registry gives the image of a digest; the registry is asked, whatever the API says.

        Raises:
            LoginError: its login cannot be had.
        """
        registry = self._registry(reference.repository.registry)
        try:
            return registry.find_manifest(reference.repository.path, reference.digest) is not None
        except RegistryError:
            return False

    def manifest(self, repository: Repository, digest: str) -> ImageManifest:
        """An image manifest by digest, from memory where it is known."""
        found = self._manifests.get(digest) or self._known(digest)
        if found is None:
            found = self._registry(repository.registry).manifest(repository.path, digest)
            self.read[digest] = found
        self._manifests[digest] = found
        return found

    def config(self, repository: Repository, manifest: ImageManifest) -> bytes | None:
        """An image's config blob; None for schema 1, which has none."""
        if manifest.kind is Kind.SCHEMA1:
            return None
        digest = manifest.config.digest
        if digest not in self._configs:
            self._configs[digest] = self._registry(repository.registry).small_blob(repository.path, digest)
        return self._configs[digest]

    def content(self, repository: Repository, manifest: ImageManifest) -> Content:
        """What an image holds."""
        return content_of(manifest, self.config(repository, manifest))

    def created(self, reference: Reference) -> str:
        """When a tag's image was made; of an index, its first child; empty where nothing tells."""
        found = self.find(reference)
        if found is None:
            return ""
        manifest = self.manifest(reference.repository, found.digest)
        if manifest.kind is Kind.INDEX:
            if not manifest.children:
                return ""
            manifest = self.manifest(reference.repository, manifest.children[0].digest)
        if manifest.kind is Kind.ARTIFACT:
            return ""
        return created(manifest, self.config(reference.repository, manifest))


def answers(executor: Executor, ask: Callable[[T], R], questions: Iterable[T]) -> tuple[dict[T, R], dict[T, Failure]]:
    """Ask many at a time; what was answered, and what failed and why."""
    futures = {question: executor.submit(ask, question) for question in dict.fromkeys(questions)}
    answered: dict[T, R] = {}
    failed: dict[T, Failure] = {}
    for question, future in futures.items():
        try:
            answered[question] = future.result()
        except RegistryError as error:
            failed[question] = error.failure
        except LoginError as error:
            failed[question] = Failure(FailureClass.LOGIN, error.what)
        except Exception as error:  # an answer that nobody thought of must not end the other questions
            log.debug("%s", question, exc_info=True)
            failed[question] = Failure(FailureClass.UNKNOWN, printable(f"{type(error).__name__}: {error}"))
    return answered, failed
