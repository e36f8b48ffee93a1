"""Text to trees: YAML by libyaml's events, JSON by a reader of its own (libyaml refuses JSON's surrogate pairs).

Duplicate keys, tags that Kubernetes does not have, aliases that would expand without end and absurd nesting are errors
with a place.
"""

import re
from collections.abc import Iterator
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import Any

import yaml

from migrate.workloads.nodes import PLAIN, QUOTED, Alias, Map, Node, Scalar, Seq

MAX_DEPTH = 100
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
_MAX_EXPANDED = 1_000_000
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq", "int", "bool", "float", "null"))
_BLANK = " \t\r\n"
_REST_OF_LINE = re.compile(r"[ \t]+#[^\r\n]*|[ \t]*(?=[\r\n]|\Z)")


class UnreadableError(ValueError):
    """The text is not what Kubernetes reads; `line` (from 1) is where."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


# --- YAML -------------------------------------------------------------------------------------------------------


def parse_yaml(text: str) -> tuple[list[Node], list[int]]:
    """The documents of a YAML stream (empty ones, null, too), and where each begins: at its `---`, if it has one.

    Raises:
        UnreadableError: why it cannot be read.
    """
    builder = _Builder(text)
    try:
        for event in yaml.parse(text, Loader=Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        words = str(error.problem or error.context)  # PyYAML 6.0.4 has a limit of its own
        raise UnreadableError(mark.line + 1, _TOO_DEEP if "nesting" in words else words) from None
    except yaml.YAMLError as error:
        raise UnreadableError(1, f"a character that YAML does not have: {str(error).splitlines()[0]}") from None
    return builder.documents, builder.marks


def top_keys(text: str) -> Iterator[str]:
    """The keys of a first document's mapping, one by one, without reading further than asked; none of what is none.

    Raises:
        UnreadableError: it cannot be read so far.
    """
    depth, is_key = 0, True
    try:
        event: Any
        for event in yaml.parse(text, Loader=Loader):
            if isinstance(event, yaml.DocumentEndEvent) or (depth == 0 and isinstance(event, yaml.SequenceStartEvent)):
                return
            if depth == 1 and is_key and isinstance(event, yaml.ScalarEvent):
                yield event.value
            was_inside = depth > 0
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth == 1 and was_inside and isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                is_key = not is_key
    except yaml.YAMLError as error:
        raise UnreadableError(1, str(error).splitlines()[0]) from None


class _Builder:
    """Makes nodes of events, without recursion."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[Map | Seq] = []
        self._keys: list[Node | None] = []
        self._names: list[set[str]] = []
        self._sizes: list[int] = []
        self._opened_at: list[str | None] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._intern: dict[str, str] = {}
        self.documents: list[Node] = []
        self.marks: list[int] = []

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._begin(event, Map if kind is yaml.MappingStartEvent else Seq)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._end(event)
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._anchors = {}
            self.marks.append(event.start_mark.index)

    def _scalar(self, event: Any) -> None:
        _check_tag(event)
        start, end, style = event.start_mark.index, event.end_mark.index, event.style or PLAIN
        if event.anchor or event.tag:
            start = _after_properties(self._text, start, end)
        if style in ("|", ">"):
            end = _content_end(self._text, start, end)
        value = event.value
        if len(value) < 64:
            value = self._intern.setdefault(value, value)
        node = Scalar(value, style, start, end)
        if event.tag and style == PLAIN and event.tag.endswith(":str"):
            node.style = "!"
        if event.anchor:
            self._anchors[event.anchor] = (node, 1)
        self._place(node, 1, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            inside = event.anchor in self._opened_at
            what = f"*{event.anchor} stands inside what it names" if inside else f"there is no anchor &{event.anchor}"
            raise UnreadableError(event.start_mark.line + 1, what)
        target, size = self._anchors[event.anchor]
        self._place(Alias(target, event.start_mark.index, event.end_mark.index), size, event)

    def _begin(self, event: Any, kind: type[Map] | type[Seq]) -> None:
        _check_tag(event)
        if len(self._open) >= MAX_DEPTH:
            raise UnreadableError(event.start_mark.line + 1, _TOO_DEEP)
        start = event.start_mark.index
        if (event.anchor or event.tag) and event.flow_style:
            start = _after_properties(self._text, start, event.end_mark.index)
        self._open.append(kind(start, flow=bool(event.flow_style)))
        self._keys.append(None)
        self._names.append(set())
        self._sizes.append(1)
        self._opened_at.append(event.anchor)
        self._anchors.pop(event.anchor, None)

    def _end(self, event: Any) -> None:
        node, size, anchor = self._open.pop(), self._sizes.pop(), self._opened_at.pop()
        self._keys.pop()
        self._names.pop()
        if node.flow:
            node.end = event.end_mark.index
        else:
            _fit_block(self._text, node)
        if anchor:
            self._anchors[anchor] = (node, size)
        self._place(node, size, event)

    def _place(self, node: Node, size: int, event: Any) -> None:
        if not self._open:
            self.documents.append(node)
            return
        above = self._open[-1]
        self._sizes[-1] += size
        if self._sizes[-1] > _MAX_EXPANDED and isinstance(node, Alias):
            raise UnreadableError(event.start_mark.line + 1, "aliases (*) that would repeat more than a million values")
        node.parent = above
        if isinstance(above, Seq):
            above.nodes.append(node)
        elif (key := self._keys[-1]) is None:
            self._check_key(node, event)
            self._keys[-1] = node
        else:
            above.keys.append(key)
            above.values.append(node)
            self._keys[-1] = None

    def _check_key(self, node: Node, event: Any) -> None:
        line = event.start_mark.line + 1
        if not isinstance(node, Scalar):
            what = "an alias as a key" if isinstance(node, Alias) else "a mapping or list as a key"
            raise UnreadableError(line, f"{what} ({{{{...}}}} without quotes?)")
        if node.style in ("|", ">"):
            raise UnreadableError(line, "a key of several lines")
        if node.value in self._names[-1]:
            raise UnreadableError(line, f"the key {node.value[:80]} stands twice in one mapping: keep one")
        self._names[-1].add(node.value)


def _check_tag(event: Any) -> None:
    if event.tag and event.tag != "!" and event.tag not in _TAGS:
        raise UnreadableError(event.start_mark.line + 1, f"the tag {event.tag[:80]}, which Kubernetes does not have")


def _after_properties(text: str, at: int, end: int) -> int:
    """Behind anchors and tags, and what is between them and the value; `end` is the value's end."""
    while at < end and text[at] in ("&", "!"):
        while at < end and not text[at].isspace() and text[at] not in ",[]{}":
            at += 1
        at = min(skip_blank(text, at), end) if at < end else at
    return at


def skip_blank(text: str, at: int) -> int:
    """Behind white space, line ends and comments."""
    while at < len(text):
        if text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif text[at] in _BLANK:
            at += 1
        else:
            break
    return at


def _content_end(text: str, start: int, end: int) -> int:
    """The end of a block scalar's last line, without the line's end; blank lines after it are no part of it."""
    head = text.find("\n", start, end)
    keeps = "+" in text[start : head if head >= 0 else end].partition("#")[0]
    at = end
    while at > start:
        before = text.rfind("\n", start, at)
        if before < 0 or text[before:at].strip(_BLANK):
            break
        at = before - 1 if text[before - 1] == "\r" else before
        if keeps:
            break
    return at


def _fit_block(text: str, node: Map | Seq) -> None:
    """Where a block collection really begins and ends: at its first key or dash, behind its last value's line."""
    if isinstance(node, Map):
        first, last = node.keys[0], node.values[-1]
        node.start = first.start
    else:
        first, last = node.nodes[0], node.nodes[-1]
        node.start = _dash(text, node.start)
    node.end = end_of_line(text, last.end)


def _dash(text: str, at: int) -> int:
    """The dash of an item, from the end of what stands before it."""
    while True:
        at = skip_blank(text, at)
        if text[at : at + 1] not in ("&", "!"):
            return at
        while at < len(text) and not text[at].isspace():
            at += 1


def end_of_line(text: str, at: int) -> int:
    """Behind a comment in the same line, where only that follows; else the place itself."""
    found = _REST_OF_LINE.match(text, at)
    return found.end() if found else at


# --- JSON -------------------------------------------------------------------------------------------------------

_JSON_SPACE = re.compile(r"[ \t\r\n]*")
_JSON_WORD = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null")


def parse_json(text: str) -> list[Node]:
    """The values of a JSON text, one or several after each other.

    Raises:
        UnreadableError: it is not JSON, or has a key twice.
    """
    reader = _Json(text)
    documents = []
    at = reader.space(0)
    while at < len(text):
        node, at = reader.value(at, 0)
        documents.append(node)
        at = reader.space(at)
    return documents


class _Json:
    def __init__(self, text: str) -> None:
        self._text = text
        self._intern: dict[str, str] = {}
        self._space = _JSON_SPACE.match
        self._word = _JSON_WORD.match

    def space(self, at: int) -> int:
        found = self._space(self._text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        sign = self._text[at : at + 1]
        if sign == '"':
            return self._string(at)
        if sign in ("{", "["):
            if depth >= MAX_DEPTH:
                raise self.wrong(at, _TOO_DEEP)
            return self._object(at, depth + 1) if sign == "{" else self._array(at, depth + 1)
        found = self._word(self._text, at)
        if not found:
            raise self.wrong(at, "a value of JSON is needed here: a text stands in double quotes")
        return Scalar(found[0], PLAIN, at, found.end()), found.end()

    def _string(self, at: int) -> tuple[Scalar, int]:
        try:
            value, end = scanstring(self._text, at + 1, True)
        except JSONDecodeError as error:
            raise self.wrong(error.pos, error.msg) from None
        return Scalar(self._intern.setdefault(value, value), QUOTED, at, end), end

    def _object(self, start: int, depth: int) -> tuple[Node, int]:
        node = Map(start, flow=True)
        names: set[str] = set()
        at = self.space(start + 1)
        while self._text[at : at + 1] != "}":
            if self._text[at : at + 1] != '"':
                raise self.wrong(at, "a key in double quotes is needed here")
            key, at = self._string(at)
            if key.value in names:
                raise self.wrong(key.start, f"the key {key.value[:80]} stands twice in one object: keep one")
            names.add(key.value)
            at = self.space(self._sign(at, ":"))
            value, at = self.value(at, depth)
            key.parent = value.parent = node
            node.keys.append(key)
            node.values.append(value)
            at = self._next(at, "}")
        node.end = at + 1
        return node, at + 1

    def _array(self, start: int, depth: int) -> tuple[Node, int]:
        node = Seq(start, flow=True)
        at = self.space(start + 1)
        while self._text[at : at + 1] != "]":
            item, at = self.value(at, depth)
            item.parent = node
            node.nodes.append(item)
            at = self._next(at, "]")
        node.end = at + 1
        return node, at + 1

    def _next(self, at: int, close: str) -> int:
        """Behind a comma, at the next member; or at the closing bracket."""
        at = self.space(at)
        if self._text[at : at + 1] == close:
            return at
        at = self.space(self._sign(at, ","))
        if self._text[at : at + 1] == close:
            raise self.wrong(at, "a comma before a closing bracket")
        return at

    def _sign(self, at: int, sign: str) -> int:
        at = self.space(at)
        if self._text[at : at + 1] != sign:
            raise self.wrong(at, f"{sign} is needed here")
        return at + 1

    def wrong(self, at: int, what: str) -> UnreadableError:
        return UnreadableError(self._text.count("\n", 0, at) + 1, what)
