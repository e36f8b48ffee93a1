"""Trees to text: what was not changed is the text as it was; what was is written in the style around it."""

import json
import re
from collections.abc import Iterator

from migrate.workloads.nodes import PLAIN, QUOTED, Alias, Map, Node, Scalar, Seq, data_of, followed, text_of
from migrate.workloads.parse import end_of_line, skip_blank
from migrate.workloads.scalars import ODD, double_quoted, fresh_scalar, scalar_text, single_quoted


class Writer:
    """Makes text of one file's trees.

    Args:
        text: the file's text.
        is_json: JSON stays JSON.
    """

    def __init__(self, text: str, *, is_json: bool = False) -> None:
        self._text, self._json = text, is_json
        self._newline = "\r\n" if "\r\n" in text[:2000] else "\n"
        self._unit = _indent_unit(text) if is_json else "  "
        self._indented_lists = _lists_are_indented(text)

    def text(self, node: Node) -> str:
        """The text of a node that has a place in the file, from its `start` to its `end`."""
        if not node.dirty:
            return self._text[node.start : node.end]
        if isinstance(node, Scalar):
            return self._changed_scalar(node)
        if isinstance(node, Alias):
            return self._text[node.start : node.end]
        assert isinstance(node, Map | Seq)
        if not len(node):
            return "{}" if isinstance(node, Map) else "[]"
        return self._flow(node) if node.flow else self._block(node)

    def document(self, node: Map) -> str:
        """A new object as a whole document."""
        if self._json:
            return json.dumps(data_of(node), ensure_ascii=False, indent=self._unit or None)
        return self.fresh(node, 0, inside=0).lstrip("\n")

    def with_newlines(self, text: str) -> str:
        """A new text with the file's line ends."""
        return text if self._newline == "\n" else re.sub(r"\r?\n", self._newline, text)

    # --- places -------------------------------------------------------------------------------------------------

    def _column(self, at: int) -> int:
        return at - self._text.rfind("\n", 0, at) - 1

    def _indent_at(self, at: int) -> str:
        """The white space that the line of a place begins with."""
        begin = self._text.rfind("\n", 0, at) + 1
        found = re.compile(r"[ \t]*").match(self._text, begin)
        return found[0] if found else ""

    # --- collections in block style -----------------------------------------------------------------------------

    def _block(self, node: Map | Seq) -> str:
        """The entries that are left, with what stood between them, and the new ones."""
        entries = _Entries(node)
        column = self._column(node.start)
        out = _Lines()
        pending = entries.new_at_first
        end = node.start
        for index, (start, stop, slot) in enumerate(self._spans(node, entries.before)):
            gap = self._text[end:start] if index else ""
            end = stop
            body = self._slot(node, slot, start, entries)
            if body is None:
                out.comments(_without_last_line(gap))
                continue
            if pending and out.is_empty:
                self._add_new(out, pending, column)
                gap = gap or self._newline + " " * column
            pending = []
            out.entry(gap, body)
            self._add_new(out, entries.new_after(slot[0]), column)
        self._add_new(out, pending, column)
        return out.text()

    def _add_new(self, out: "_Lines", entries: list[tuple[Node | None, Node]], column: int) -> None:
        for key, value in entries:
            out.entry(self._newline + " " * column, self._new_entry(key, value, column))

    def _spans(self, node: Map | Seq, before: list[tuple[Node, Node]]) -> Iterator[tuple[int, int, tuple[Node, Node]]]:
        """Where each entry that was there began (its key or dash) and ended (behind a comment in its line)."""
        if isinstance(node, Map):
            for key, value in before:
                yield key.start, end_of_line(self._text, value.end), (key, value)
            return
        end = node.start
        for key, value in before:
            start = skip_blank(self._text, end)
            end = end_of_line(self._text, value.end)
            yield start, end, (key, value)

    def _slot(self, node: Map | Seq, slot: tuple[Node, Node], start: int, entries: "_Entries") -> str | None:
        """The text of an entry that was there; None where it was taken out."""
        key, old = slot
        value = entries.value_of(key)
        if value is None:
            return None
        if isinstance(node, Seq):
            between = self._text[start : old.start]
            if old.dirty and (_became_empty(old) or old.start == old.end):
                between = between.split("\n")[0].partition(" #")[0].rstrip() + " "
            return between + self.text(old) + self._text[old.end : end_of_line(self._text, old.end)]
        name = self.text(key)
        behind = self._text[old.end : end_of_line(self._text, old.end)]
        if value is old and not (value.dirty and _became_empty(value)):
            between = self._text[key.end : old.start]
            if value.dirty and old.start == old.end and between.endswith(":"):
                between += " "
            return name + between + self.text(value) + behind
        if getattr(old, "flow", False) and isinstance(value, Map | Seq) and value.is_fresh:
            value.flow = True
        return name + self._replaced(self._text[key.end : old.start], value, behind, self._column(node.start))

    def _replaced(self, between: str, value: Node, behind: str, column: int) -> str:
        """A new value after what stood between key and old value: the colon, anchor or tag, comment, line ends."""
        head = between.split("\n")[0].rstrip()
        head, hash_, comment = head.partition(" #")
        behind = f" #{comment}" if hash_ else behind
        body = self.fresh(value, column + 2, inside=column)
        if body.startswith("\n"):
            return head.rstrip() + behind + body
        if body.startswith(("|", ">")):
            first, _, rest = body.partition("\n")
            return f"{head.rstrip()} {first}{behind}\n{rest}"
        return f"{head.rstrip()} {body}{behind}"

    def _new_entry(self, key: Node | None, value: Node, column: int) -> str:
        if key is None:
            body = self.fresh(value, column + 2, inside=column + 2)
            return "- " + (body.lstrip("\n ") if body.startswith("\n") else body)
        name = scalar_text(text_of(key))
        body = self.fresh(value, column + 2, inside=column)
        return f"{name}:{body}" if body.startswith("\n") else f"{name}: {body}"

    # --- new and moved values -----------------------------------------------------------------------------------

    def fresh(self, value: Node, column: int, *, inside: int) -> str:
        """A value's text in block style; one of several lines begins with a line end.

        Args:
            value: a new node, or one that was moved here.
            column: where its lines begin, counted from 0.
            inside: the column of the key or dash it belongs to.
        """
        if not value.is_fresh:
            return self._moved(value, column, inside)
        if isinstance(value, Scalar):
            return fresh_scalar(value, column)
        if getattr(value, "flow", False):
            return self.flow_text(value)
        if isinstance(value, Map):
            lines = [
                "\n" + " " * column + self._new_entry(key, each, column)
                for key, each in zip(value.keys, value.values, strict=True)
            ]
            return "".join(lines) if lines else "{}"
        assert isinstance(value, Seq)
        column = column if self._indented_lists else inside
        lines = ["\n" + " " * column + self._new_entry(None, each, column) for each in value.nodes]
        return "".join(lines) if lines else "[]"

    def _moved(self, value: Node, column: int, inside: int) -> str:
        text = self.text(value)
        if isinstance(value, Scalar):
            if "\n" not in text:
                return text
            return fresh_scalar(Scalar(value.value, QUOTED), column)
        if isinstance(value, Alias):
            return text
        assert isinstance(value, Map | Seq)
        if value.flow or not len(value):
            return text if "\n" not in text else self.flow_text(value)
        if isinstance(value, Seq) and not self._indented_lists:
            column = inside
        moved = _shifted(text, column - self._column(value.start))
        return "\n" + " " * column + moved

    # --- collections in flow style ------------------------------------------------------------------------------

    def _flow(self, node: Map | Seq) -> str:
        """`{...}` and `[...]` with their own signs between, as far as there are any."""
        entries = _Entries(node)
        before = entries.before
        opening, closing = ("{", "}") if isinstance(node, Map) else ("[", "]")
        if not before:
            return self._flow_value(fresh_copy(node), node.start)
        spans = [(key.start, value.end) for key, value in before]
        lead = self._text[node.start + 1 : spans[0][0]]
        tail = self._text[spans[-1][1] : node.end - 1]
        usual = self._text[spans[0][1] : spans[1][0]] if len(spans) > 1 else f",{lead}" if "\n" in lead else ", "
        place = spans[0][0]
        parts = [("", text) for text in self._new_flow(entries.new_at_first, place)]
        for index, slot in enumerate(before):
            gap = self._text[spans[index - 1][1] : spans[index][0]] if index else ""
            body = self._flow_slot(node, slot, entries)
            if body is not None:
                parts.append((gap, body))
                parts += [("", text) for text in self._new_flow(entries.new_after(slot[0]), place)]
        text = "".join((gap or usual) * bool(number) + body for number, (gap, body) in enumerate(parts))
        return opening + lead + text + tail + closing

    def _flow_slot(self, node: Map | Seq, slot: tuple[Node, Node], entries: "_Entries") -> str | None:
        key, old = slot
        value = entries.value_of(key)
        if value is None:
            return None
        if isinstance(node, Seq):
            return self.text(old)
        between = self._text[key.end : old.start]
        if old.start == old.end and (value is not old or value.dirty):
            between = ": "
        return self.text(key) + between + (self.text(value) if value is old else self._flow_value(value, key.start))

    def _new_flow(self, entries: "list[tuple[Node | None, Node]]", place: int) -> Iterator[str]:
        for key, value in entries:
            body = self._flow_value(value, place)
            yield body if key is None else f"{self._flow_key(key)}: {body}"

    def _flow_key(self, key: Node) -> str:
        return json.dumps(text_of(key), ensure_ascii=False) if self._json else scalar_text(text_of(key), flow=True)

    def _flow_value(self, value: Node, at: int) -> str:
        """A new or moved value's text in flow style; in JSON with the file's own indentation, as the line `at` has."""
        if self._json:
            data = data_of(value)
            if not self._unit:
                return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
            text = json.dumps(data, ensure_ascii=False, indent=self._unit)
            return text.replace("\n", self._newline + self._indent_at(at))
        return self.flow_text(value)

    def flow_text(self, value: Node) -> str:
        """A value in one line of flow style."""
        if not value.is_fresh and (isinstance(value, Alias | Scalar) or getattr(value, "flow", False)):
            text = self.text(value)
            if "\n" not in text:
                return text
        value = followed(value)
        if isinstance(value, Map):
            entries = zip(value.keys, value.values, strict=True)
            inside = [f"{scalar_text(text_of(key), flow=True)}: {self.flow_text(each)}" for key, each in entries]
            return "{" + ", ".join(inside) + "}"
        if isinstance(value, Seq):
            return "[" + ", ".join(self.flow_text(each) for each in value.nodes) + "]"
        assert isinstance(value, Scalar)
        if value.style == PLAIN:
            return value.value or "null"
        return scalar_text(value.value, flow=True)

    # --- scalars ------------------------------------------------------------------------------------------------

    def _changed_scalar(self, node: Scalar) -> str:
        """A scalar whose value was changed, in the style it had where that can hold it."""
        if node.raw is not None:
            return node.raw
        if self._json:
            return json.dumps(node.value, ensure_ascii=False)
        if node.style == "'" and not ODD.search(node.value):
            return single_quoted(node.value)
        if node.style == '"':
            return double_quoted(node.value)
        if node.style == "|" and (text := self._literal_again(node)):
            return text
        return scalar_text(node.value, flow=getattr(node.parent, "flow", False))

    def _literal_again(self, node: Scalar) -> str:
        """A literal block with other lines, under its own header and indentation; empty where it cannot hold them."""
        header, _, rest = self._text[node.start : node.end].partition("\n")
        indent = next((re.match(r" *", line)[0] for line in rest.split("\n") if line.strip()), "")  # type: ignore[index]
        lines = node.value.removesuffix("\n").split("\n")
        is_fit = lines[0].strip() and lines[-1].strip() and lines[0][0] not in " \t"
        has_indicator = re.match(r"\|[-+]?\d", header)
        if not indent or has_indicator or not is_fit or any(ODD.search(line.replace("\t", "")) for line in lines):
            return ""
        chomp = "" if node.value.endswith("\n") else "-"
        header = re.sub(r"^\|[-+]?", f"|{chomp}", header.rstrip("\r"))
        return "\n".join([header, *(indent + line if line else "" for line in lines)]).replace("\n", self._newline)


class _Lines:
    """Entries under each other: comments of those taken out stay, and the first one needs no line end before it."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._comments = ""
        self.is_empty = True

    def comments(self, gap: str) -> None:
        self._comments += gap if gap.strip() else ""

    def entry(self, gap: str, body: str) -> None:
        gap = self._comments + gap
        self._comments = ""
        self._parts.append((gap.lstrip() if self.is_empty else gap) + body)
        self.is_empty = False

    def text(self) -> str:
        return "".join(self._parts) + self._comments


class _Entries:
    """The entries of a collection as they were and as they are; those of lists are their own keys."""

    def __init__(self, node: Map | Seq) -> None:
        if isinstance(node, Map):
            keys, values = node.before or (node.keys, node.values)
            self.before = list(zip(keys, values, strict=True))
            now: list[tuple[Node, Node]] = list(zip(node.keys, node.values, strict=True))
        else:
            self.before = [(each, each) for each in (node.before if node.before is not None else node.nodes)]
            now = [(each, each) for each in node.nodes]
        self._values = {id(key): value for key, value in now}
        self._new: dict[int | None, list[tuple[Node | None, Node]]] = {}
        known = {id(key) for key, _ in self.before}
        last: int | None = None
        for key, value in now:
            if id(key) in known:
                last = id(key)
            else:
                self._new.setdefault(last, []).append((key if isinstance(node, Map) else None, value))

    def value_of(self, key: Node) -> Node | None:
        """The value an entry has now; None where it was taken out."""
        return self._values.get(id(key))

    @property
    def new_at_first(self) -> list[tuple[Node | None, Node]]:
        """New entries before all that are left."""
        return self._new.get(None, [])

    def new_after(self, key: Node) -> list[tuple[Node | None, Node]]:
        """New entries behind one that is left."""
        return self._new.get(id(key), [])


def _became_empty(node: Node) -> bool:
    return isinstance(node, Map | Seq) and not node.flow and not len(node)


def _without_last_line(gap: str) -> str:
    at = gap.rfind("\n")
    return gap[:at].removesuffix("\r") if at >= 0 else ""


def fresh_copy(node: Map | Seq) -> Map | Seq:
    """The same entries as a new node."""
    if isinstance(node, Map):
        copy: Map | Seq = Map()
        copy.keys, copy.values = node.keys, node.values  # type: ignore[union-attr]
        return copy
    copy = Seq()
    copy.nodes = node.nodes
    return copy


def _shifted(text: str, by: int) -> str:
    """Lines moved to the right, or to the left as far as they are indented; the first one and empty ones stay."""
    if by >= 0:
        return re.sub(r"\n(?=[^\r\n])", "\n" + " " * by, text)
    return re.sub(rf"\n {{1,{-by}}}", "\n", text)


def _indent_unit(text: str) -> str:
    found = re.search(r"[{\[]\r?\n([ \t]+)", text)
    return found[1] if found else ""


def _lists_are_indented(text: str) -> bool:
    """Whether the file's lists stand further right than their keys; `oc` writes them under the key."""
    found = re.search(r"^( *)(?:- +)?[^\s#:'\"]+:[ \t]*\r?\n( *)- ", text, re.MULTILINE)
    return bool(found) and len(found[2]) > len(found[1]) if found else False
