"""Which images a workload or a finding names. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from migrate.report.model import Finding, Image, Workload

_NAME = re.compile(r"((?:[\w.-]+/)*[\w.-]+)(?::([\w.-]+))?(?:@(sha\d+:[0-9a-f]+))?")


def parts_of(reference: str) -> tuple[str, str, str]:
    """Path, tag and digest (empty where it has none) of a reference that begins with its registry."""
    name, _, digest = reference.partition("/")[2].partition("@")
    path, _, tag = name.partition(":")
    return path, tag, digest


class Mentions:
    """The images of a report by all that may name them: repository, with tag or digest, at the target or the source."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._at_target: dict[str, list[str]] = defaultdict(list)
        self._anywhere: dict[str, list[str]] = defaultdict(list)
        for image in images:
            path, tag, _ = parts_of(image.source)
            here = _names(image.repository, image.tag, image.target_digest)
            there = _names(path, tag, image.source_digest)
            for name in here[1:]:
                self._at_target[name].append(image.name)
            for name in dict.fromkeys((*here, *there)):
                self._anywhere[name].append(image.name)

    def of_workload(self, workload: Workload) -> tuple[str, ...]:
        """The target tags that its containers name; a reference without tag is that of `latest`."""
        found = (self._at_target.get(_written(reference), ()) for reference in workload.images)
        return tuple(dict.fromkeys(name for names in found for name in names))

    def of_finding(self, finding: Finding) -> tuple[str, ...]:
        """The target tags that its values name, by their name at the source or the target; without tag all of them."""
        wanted = (name for text in (finding.before, finding.after) for name in _mentioned(text))
        return tuple(dict.fromkeys(each for name in wanted for each in self._anywhere.get(name, ())))


def _names(path: str, tag: str, digest: str | None) -> list[str]:
    return [path, *([f"{path}:{tag}"] if tag else []), *([f"{path}@{digest}"] if digest else [])]


def _written(reference: str) -> str:
    path, tag, digest = parts_of(reference)
    return f"{path}@{digest}" if digest else f"{path}:{tag or 'latest'}"


def _mentioned(text: str) -> Iterator[str]:
    """Every name in a text that may be an image's; what stands before a slash in it may be a registry."""
    for path, tag, digest in _NAME.findall(text):
        end = f"@{digest}" if digest else f":{tag}" if tag else ""
        parts = path.split("/")
        yield from (f"{'/'.join(parts[place:])}{end}" for place in range(len(parts)))
