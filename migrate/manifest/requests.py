"""Image entries as requests: what to look for at the source, and where it goes. Pure."""

from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from migrate.manifest.model import Defaults, ImageEntry, SourceSide, TagSelector, TargetSide
from migrate.manifest.values import Engine, Format, OnConflict
from migrate.quantities import quoted
from migrate.reference import Reference, Repository, is_host, parse_reference

ALL_PLATFORMS = ("all",)


class Contradiction(ValueError):  # noqa: N818 - becomes one line of the manifest's errors
    """Keys of one entry that do not go together; `key` is the one to point at."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How one image is to arrive; the words are the manifest's."""

    format: Format = "oci"
    on_conflict: OnConflict = "fail"
    platforms: tuple[str, ...] = ("linux/amd64",)
    engine: Engine = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class ImageRequest:
    """One entry of `images`.

    Attributes:
        source: a repository with a tag, with a digest, or with neither (every tag that `tags` lets pass). Where
            `project` is true, its path is a project's name and every repository below it is meant.
        target_path: the target repository; for a project, the target project.
        target_tag: the one tag at the target; empty where each tag keeps its name.
    """

    index: int
    source: Reference
    project: bool
    target_path: str
    target_tag: str
    tags: TagSelector
    options: ImageOptions

    @property
    def single_target(self) -> str:
        """`<path>:<tag>` where the entry means exactly one target tag; else empty."""
        return f"{self.target_path}:{self.target_tag}" if self.target_tag else ""


@dataclass(frozen=True)
class Ends:
    """What of the manifest decides where an entry points."""

    source: str
    target: str
    projects: dict[str, str]
    defaults: Defaults

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """From a manifest's raw data; where a part is wrong its default stands in (the error is said elsewhere)."""

        def host(key: str, side: type[SourceSide | TargetSide]) -> str:
            try:
                return side.model_validate({"registry": data[key]["registry"]}).registry
            except (ValidationError, KeyError, TypeError):
                return side().registry

        try:
            defaults = Defaults.model_validate(data.get("defaults", {}))
        except ValidationError:
            defaults = Defaults()
        raw = data.get("projects")
        projects = {k: v for k, v in raw.items() if isinstance(v, str)} if isinstance(raw, dict) else {}
        return cls(host("source", SourceSide), host("target", TargetSide), projects, defaults)


def request(entry: ImageEntry, ends: Ends, index: int) -> ImageRequest:
    """What an entry asks for.

    Raises:
        InvalidReference: `from` is not a reference.
        Contradiction: `from`, `to` and `tags` do not go together.
    """
    source = parse_reference(entry.from_, ends.source)
    project = _is_project(entry.from_, source)
    if project:
        source = Reference(Repository(ends.source, entry.from_))
    target_path, target_tag = _target(entry, source, project, ends)
    if entry.tags and (source.tag or source.digest):
        raise Contradiction("tags", "`from` names one image, and `tags` chooses among many: leave one of the two out")
    if source.repository.registry == ends.target and source.repository.path == target_path:
        way = "rename it under `projects`" if project else "say where it goes with `to`"
        raise Contradiction("", f"{source.repository} is both source and target: {way}")
    options = ImageOptions(
        format=entry.format or ends.defaults.format,
        on_conflict=entry.on_conflict or ends.defaults.on_conflict,
        platforms=_platforms(entry.platforms or ends.defaults.platforms),
        engine=entry.engine or ends.defaults.engine,
    )
    return ImageRequest(index, source, project, target_path, target_tag, entry.tags or TagSelector(), options)


def _is_project(text: str, source: Reference) -> bool:
    """A single component without a host, tag and digest is a project (or, on a plain registry, a prefix)."""
    return "/" not in text and not source.tag and not source.digest and not is_host(text)


def _platforms(value: list[str] | str) -> tuple[str, ...]:
    return ALL_PLATFORMS if value == "all" else tuple(dict.fromkeys(value))


def _target(entry: ImageEntry, source: Reference, project: bool, ends: Ends) -> tuple[str, str]:
    if entry.to is None:
        return _default_target(source, project, ends)
    path, _, tag = entry.to.partition(":")
    if project:
        raise Contradiction("to", "a whole project is renamed under `projects:`, not by `to`")
    if tag and not (source.tag or source.digest):
        raise Contradiction("to", "`to` names one tag, and `from` means many: leave the tag out of `to`")
    return path, tag or _own_tag(source)


def _default_target(source: Reference, project: bool, ends: Ends) -> tuple[str, str]:
    repository = source.repository
    if repository.registry != ends.source:
        raise Contradiction(
            "", f"{repository} is outside the source registry: say where it goes, `to: <project>/<name>`"
        )
    if not project and "/" not in repository.path:
        raise Contradiction(
            "", f"{quoted(repository.path)} stands in no project: say where it goes, `to: <project>/<name>`"
        )
    first, slash, rest = repository.path.partition("/")
    mapped = ends.projects.get(first, first)
    path = mapped if project else f"{mapped}{slash}{rest}"
    return path, "" if project else _own_tag(source)


def _own_tag(source: Reference) -> str:
    """A digest without a tag gets `sha256-<first 12 hex>`, as the manifest's description promises."""
    if source.tag or not source.digest:
        return source.tag
    algorithm, _, value = source.digest.partition(":")
    return f"{algorithm}-{value[:12]}"


def repository_target(item: ImageRequest, repository: Repository) -> str:
    """Where one repository of a request goes: a project's repositories keep their names below the target project."""
    if not item.project:
        return item.target_path
    return item.target_path + repository.path.removeprefix(item.source.repository.path)
