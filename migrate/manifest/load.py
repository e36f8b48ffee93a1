"""The user's file: read it, say all that is wrong with it at once, and hand it on as values."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from migrate.errors import UnreadableManifestError, UsageError
from migrate.manifest import checks, model, requests, words
from migrate.manifest.requests import ImageRequest
from migrate.manifest.yaml_source import Problem, Source, UnreadableYaml, parse_source, read_raw

_SHOWN = 50


class ManifestError(UsageError):
    """A wrong manifest; one line for each problem, as `file:line:column: words`."""

    names_its_place = True

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems))
        lines = [f"{path}:{p.line}:{p.column}: {p.message}" for p in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"{path}: and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Manifest:
    """A checked manifest: the file as it was written, and its image entries as requests."""

    path: Path
    file: model.ManifestFile
    images: tuple[ImageRequest, ...]
    raw: bytes = field(default=b"", repr=False)

    def file_path(self, name: str) -> Path:
        """A path of the manifest, which is relative to the manifest's folder."""
        return self.path.parent / os.path.expanduser(name)  # noqa: PTH111 - Path's own fails on an unknown ~user


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest. Contacts nothing.

    Raises:
        ManifestError: everything that is wrong with it.
        UnreadableManifestError: it cannot be read.
    """
    try:
        raw = read_raw(path)
    except OSError as error:
        raise UnreadableManifestError(path, error) from None
    return parse_manifest(raw, path)


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Like `load_manifest`, from bytes that are said to be the file at `path`."""
    try:
        source = parse_source(raw)
    except UnreadableYaml as error:
        raise ManifestError(path, [error.problem]) from None
    return replace(_checked(path, source), raw=raw)


def _checked(path: Path, source: Source) -> Manifest:
    if not isinstance(source.data, dict):
        raise ManifestError(path, [Problem(1, 1, "a manifest is a mapping and begins with `version: 1`")])
    if "kind" in source.data and "version" not in source.data:
        raise ManifestError(path, [_kubernetes(source)])
    problems = list(source.problems)
    file = None
    try:
        file = model.ManifestFile.model_validate(source.data)
    except ValidationError as error:
        problems += [words.problem(detail, source) for detail in error.errors()]
    for loc, message in checks.all_findings(source.data):
        place = source.place(loc)
        problems.append(Problem(place.line, place.column, message))
    if problems or file is None:
        raise ManifestError(path, problems)
    ends = requests.Ends.of(source.data)
    entries = [model.ImageEntry.model_validate({"from": e}) if isinstance(e, str) else e for e in file.images or ()]
    images = tuple(requests.request(entry, ends, index) for index, entry in enumerate(entries))
    return Manifest(path, file, images)


def _kubernetes(source: Source) -> Problem:
    place = source.key_place(("kind",))
    words = "this is Kubernetes YAML: a manifest begins with `version: 1`, and names such files under `workloads`"
    return Problem(place.line, place.column, words)
