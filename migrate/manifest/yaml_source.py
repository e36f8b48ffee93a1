"""YAML text to plain data that remembers where each value stood. Knows nothing of what the manifest means.

Composes with PyYAML and converts the nodes itself: duplicate keys, bombs and exotic tags are errors with a place,
and timestamps stay the text they were written as.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from migrate.manifest import syntax
from migrate.quantities import quoted

_MAX_BYTES = 20 * 2**20
_MAX_VALUES = 500_000
_MAX_DEPTH = 40
_MAX_KEY = 1000
_MAX_NUMBER = 19
_MAX_TEXT = 10_000
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_TEXT = yaml.reader.Reader.NON_PRINTABLE
_TAG_PREFIX = "tag:yaml.org,2002:"
_TEXT_TAGS = ("str", "timestamp", "value", "merge")
_BOOLS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_TOO_DEEP = f"nested more than {_MAX_DEPTH} deep: this is no manifest"
_TOO_LONG = f"a value of more than {_MAX_TEXT:,} characters: this is no manifest"
_TOO_MANY = f"more than {_MAX_VALUES:,} values, with those that aliases (*) repeat: this is no manifest"
_FLOATS = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}

Loc = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a file, and where (line and column count from 1)."""

    line: int
    column: int
    message: str


@dataclass(frozen=True)
class Place:
    """Where a value stands, and how it was written (empty for mappings and lists)."""

    line: int
    column: int
    text: str = ""


@dataclass
class Source:
    """A file's data with the place of every value and every key."""

    data: Any
    values: dict[Loc, Place] = field(default_factory=dict)
    keys: dict[Loc, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, loc: Loc) -> Place:
        """The place of the value at `loc`, or of the nearest thing around it that is there."""
        while loc and loc not in self.values:
            loc = loc[:-1]
        return self.values.get(loc, Place(1, 1))

    def key_place(self, loc: Loc) -> Place:
        """The place of the key at the end of `loc`."""
        return self.keys.get(loc) or self.place(loc)


class UnreadableYaml(Exception):  # noqa: N818 - carries a Problem to the manifest's own error
    """Not YAML at all; nothing more can be said about the rest of the file."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(line, column, message)


def read_raw(path: Path) -> bytes:
    """A file; of one that is too large only so much that this is seen.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)


def parse_source(raw: bytes) -> Source:
    """Read one YAML document.

    Raises:
        UnreadableYaml: it is not one YAML document of a sensible size.
    """
    root = _compose(_decode(raw))
    source = Source(None)
    source.data = _Converter(source).convert(root, ())
    return source


def _decode(raw: bytes) -> str:
    if len(raw) > _MAX_BYTES:
        raise UnreadableYaml(1, 1, f"the file is larger than {_MAX_BYTES // 2**20} MiB: this is no manifest")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableYaml(1, 1, "this is text in UTF-16: save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableYaml(line, 1, "this is not text in UTF-8: is it the right file?") from None
    found = _NOT_TEXT.search(text)
    if found:
        line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
        character = f"U+{ord(found[0]):04X}"
        raise UnreadableYaml(line, column, f"no text has the character {character}: is it the right file?")
    return text


def _compose(text: str) -> yaml.Node:
    try:
        _check_depth(text)
        documents = list(_nodes(text))
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        raise _unreadable(mark, syntax.words(error, text[mark.index : mark.index + 1])) from None
    except (OverflowError, ValueError):  # only from the loader without libyaml
        raise UnreadableYaml(1, 1, f"not YAML: {syntax.ESCAPE}") from None
    if not documents:
        raise UnreadableYaml(1, 1, "the file is empty: a manifest begins with `version: 1`")
    if len(documents) > 1:
        raise _unreadable(documents[1].start_mark, "there is a second document (`---`): one file is one manifest")
    root: yaml.Node = documents[0]
    return root


def _check_depth(text: str) -> None:
    """Composing recurses in C and would take the whole program down with it; reading events does not."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise _unreadable(event.start_mark, _TOO_DEEP)
    except yaml.MarkedYAMLError as error:
        if "nesting" not in str(error.problem):
            raise
        raise _unreadable(error.problem_mark, _TOO_DEEP) from None  # PyYAML 6.0.4 has a limit of its own


def _unreadable(mark: Any, message: str) -> UnreadableYaml:
    return UnreadableYaml(mark.line + 1, mark.column + 1, message)


def _nodes(text: str) -> Iterator[Any]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


class _Converter:
    """Walks the nodes once, counts what aliases would expand to, and notes every place."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._count = 0

    def convert(self, node: yaml.Node, loc: Loc) -> Any:
        self._count += 1
        mark = node.start_mark
        if self._count > _MAX_VALUES:
            raise _unreadable(mark, _TOO_MANY)
        if len(loc) > _MAX_DEPTH:
            raise _unreadable(mark, _TOO_DEEP)
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if len(text) > _MAX_TEXT:
            raise _unreadable(mark, _TOO_LONG)
        self._source.values[loc] = Place(mark.line + 1, mark.column + 1, text)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in (f"{_TAG_PREFIX}map", f"{_TAG_PREFIX}seq"):
            self._strange_tag(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        return [self.convert(item, (*loc, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not _is_key(key.value):
                self._problem(key, "a key must be plain text in one line")
                continue
            if key.tag == f"{_TAG_PREFIX}merge":
                self._problem(key, "merge keys (<<) are not read: say what all images share under `defaults`")
                continue
            if key.value in data:
                first = self._source.keys[(*loc, key.value)]
                self._problem(key, f"`{key.value}` stands here a second time (first in line {first.line}): keep one")
                continue
            self._source.keys[(*loc, key.value)] = Place(key.start_mark.line + 1, key.start_mark.column + 1, key.value)
            data[key.value] = self.convert(value, (*loc, key.value))
        return data

    def _scalar(self, node: yaml.Node) -> Any:
        tag = node.tag.removeprefix(_TAG_PREFIX)
        if tag in _TEXT_TAGS or (tag in ("int", "float") and len(node.value) > _MAX_NUMBER):
            return node.value
        if tag == "null":
            return None
        if tag == "bool":
            return _BOOLS.get(node.value.lower(), node.value)
        if tag == "int":
            return _integer(node.value)
        if tag == "float":
            return _float(node.value)
        self._strange_tag(node)
        return node.value

    def _strange_tag(self, node: yaml.Node) -> None:
        tag = quoted(node.tag.replace(_TAG_PREFIX, "!!"))
        self._problem(node, f"{tag} is a type that manifests do not have: take it out, or put the value in quotes")

    def _problem(self, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self._source.problems.append(Problem(mark.line + 1, mark.column + 1, message))


def _is_key(text: str) -> bool:
    return 0 < len(text) <= _MAX_KEY and text.isprintable()


def _integer(text: str) -> int | str:
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:
        return text  # 0777, 12:30: numbers to YAML 1.1, text to everybody else


def _float(text: str) -> float | str:
    try:
        return float(_FLOATS.get(text.lower(), text.replace("_", "")))
    except ValueError:
        return text
