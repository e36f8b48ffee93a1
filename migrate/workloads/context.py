"""What the rules know besides the documents: both platforms, the projects, the options, and which images were moved."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from migrate.manifest.model import Limits, ManifestFile, RewriteOptions
from migrate.manifest.rahti import (
    RAHTI2_WORKLOAD_LIMITS,
    SOURCE_REGISTRIES,
    SOURCE_ROUTE_SUFFIX,
    SOURCE_STORAGE_CLASSES,
    TARGET_ROUTE_SUFFIX,
    TARGET_STORAGE_CLASS,
)
from migrate.manifest.requests import ImageRequest
from migrate.manifest.tags import matching

TARGET_INTERNAL_REGISTRY = "image-registry.openshift-image-registry.svc:5000"
_SERVICE_NETWORK = re.compile(r"172\.30\.\d{1,3}\.\d{1,3}:5000")
"""OpenShift 3.11's network for services; old projects name the registry by its address there."""


@dataclass(frozen=True)
class Registries:
    """What both ends call their registries: from inside the cluster, and from outside."""

    source_internal: frozenset[str]
    source_external: str
    target_internal: str
    target_external: str
    known_by_address: bool = True

    def is_internal(self, host: str) -> bool:
        """Whether a host is a name that the source's registry has inside its cluster."""
        host = host.lower()
        return host in self.source_internal or (self.known_by_address and bool(_SERVICE_NETWORK.fullmatch(host)))

    def moved(self, host: str) -> str:
        """The target's name for a name of the source's registry: inside stays inside, outside stays outside."""
        return self.target_internal if self.is_internal(host) else self.target_external

    def pattern(self) -> re.Pattern[str]:
        """Finds any name of the source's registry in a text."""
        return _pattern(self)


@cache
def _pattern(registries: Registries) -> re.Pattern[str]:
    names = sorted({*registries.source_internal, registries.source_external}, key=len, reverse=True)
    known = [*map(re.escape, names), *([_SERVICE_NETWORK.pattern] if registries.known_by_address else [])]
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(known)})(?::443)?(?![\w.:-]*[\w-])", re.IGNORECASE)


@dataclass(frozen=True)
class MovedImages:
    """Which images of the source are at the target, and under which name.

    Attributes:
        requests: the manifest's images; None where nothing says what is moved, and all counts as moved.
        digests: (source repository, digest) -> (target repository, digest) of what was copied.
        planned: target repository -> the tags for which plans have found a source, None where that could not be
            asked; repositories that no plan looked at are not in it.
    """

    requests: tuple[ImageRequest, ...] | None = None
    digests: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    planned: Mapping[str, Collection[str] | None] = field(default_factory=dict)

    def is_unseen(self, path: str, tag: str) -> bool:
        """Whether plans found no source for a target repository's tag, though they looked for it."""
        if path in self.planned:
            tags = self.planned[path]
            return self.requests is not None and tags is not None and tag not in tags
        project = path.partition("/")[0]
        is_whole = any(request.project and request.target_path == project for request in self.requests or ())
        return is_whole and any(each.startswith(f"{project}/") for each in self.planned)

    def by_digest(self, path: str, digest: str) -> tuple[str, str] | None:
        """Where an image of a source repository went: repository and digest."""
        return self.digests.get((path, digest))

    @cached_property
    def _copied(self) -> frozenset[str]:
        return frozenset(path for path, _ in self.digests)

    def may_move(self, path: str, registry: str) -> bool:
        """Whether a digest of a source repository that no copy recorded may still come: its copy is to be made yet."""
        if self.requests is None:
            return True
        return path not in self._copied and any(
            request.source.repository.registry == registry and _is_of(request, path) for request in self.requests
        )

    def target(self, path: str, tag: str, registry: str) -> tuple[str, str] | None:
        """Target repository and tag of a source image; the empty repository where only projects decide.

        None: nothing moves it. `tag` empty: any.
        """
        if self.requests is None:
            return "", tag
        for request in self.requests:
            if request.source.repository.registry == registry and (found := _covers(request, path, tag)):
                return found
        return None


def _is_of(request: ImageRequest, path: str) -> bool:
    source = request.source.repository.path
    return path == source or (request.project and path.startswith(f"{source}/"))


def _covers(request: ImageRequest, path: str, tag: str) -> tuple[str, str] | None:
    source = request.source.repository.path
    if request.project and path.startswith(f"{source}/"):
        below = path.removeprefix(f"{source}/")
        return (f"{request.target_path}/{below}", tag) if _passes(request, tag) else None
    if path != source or request.source.digest:
        return None
    if request.source.tag and tag not in ("", request.source.tag):
        return None
    if not _passes(request, tag):
        return None
    return request.target_path, request.target_tag if request.source.tag and tag else tag


def _passes(request: ImageRequest, tag: str) -> bool:
    """Whether a tag can be among those that are wanted (which are the newest so many cannot be told here)."""
    wanted = request.tags
    return not tag or bool(matching([tag], wanted.include, wanted.exclude, wanted.semver))


@dataclass(frozen=True)
class Platform:
    """What the two clusters call things, and what the target refuses.

    Attributes:
        storage_classes: the source's; any other than the target's is taken for one of them.
    """

    source_suffix: str = SOURCE_ROUTE_SUFFIX
    target_suffix: str = TARGET_ROUTE_SUFFIX
    storage_classes: tuple[str, ...] = SOURCE_STORAGE_CLASSES
    storage_class: str = TARGET_STORAGE_CLASS
    limits: Limits = RAHTI2_WORKLOAD_LIMITS


@dataclass(frozen=True)
class Context:
    """What holds for one rewrite.

    Attributes:
        project: the target project.
        projects: source project -> target project, as far as that was said.
    """

    project: str
    projects: Mapping[str, str]
    registries: Registries
    options: RewriteOptions
    images: MovedImages = MovedImages()
    platform: Platform = Platform()

    def target_project(self, source: str) -> str:
        """What a source project is called at the target; the same where nothing was said."""
        return self.projects.get(source, source)

    @property
    def own_sources(self) -> frozenset[str]:
        """The source projects that become this target project."""
        return frozenset(source for source, target in self.projects.items() if target == self.project)

    def with_source(self, source: str) -> "Context":
        """The same, with a source project that was found to be this one's."""
        return replace(self, projects={**self.projects, source: self.project})


def context_of(file: ManifestFile, project: str, options: RewriteOptions, images: MovedImages) -> Context:
    """What a manifest says for one of its workloads."""
    return Context(project, dict(file.projects), registries_of(file), options, images, platform_of(file))


def platform_of(file: ManifestFile) -> Platform:
    """What a manifest says of both ends, and Rahti's values where it says nothing."""
    source, target = file.platform.source, file.platform.target
    usual = Platform()
    return Platform(
        source.route_suffix or usual.source_suffix,
        target.route_suffix or usual.target_suffix,
        tuple(source.storage_classes) if source.storage_classes is not None else usual.storage_classes,
        target.storage_class or usual.storage_class,
        usual.limits.model_copy(update=target.limits.model_dump(exclude_none=True)),
    )


def registries_of(file: ManifestFile) -> Registries:
    """What a manifest's ends call their registries."""
    said = file.platform.source.registries
    inside = {*(said if said is not None else (*SOURCE_REGISTRIES, "docker-registry.default:5000"))}
    return Registries(
        source_internal=frozenset(host.lower() for host in inside - {file.source.registry}),
        source_external=file.source.registry,
        target_internal=file.platform.target.internal_registry or TARGET_INTERNAL_REGISTRY,
        target_external=file.target.registry,
        known_by_address=said is None,
    )
