"""A YAML or JSON document as a tree that remembers where each value stood in its text.

Rules read and change this tree; write.py makes text of it again, in which everything that was not changed is the text
as it was, byte for byte. Reading is tolerant as `oc` is: a missing or null mapping reads as an empty one.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
FRESH: Final = -1
PLAIN: Final = ""
QUOTED: Final = '"'


class Node:
    """A value: where its text begins and ends (code points of the file's text; FRESH where it is new), and its parent.

    `dirty` says that it or something below it was changed. Anchors and tags stand before `start`.
    """

    __slots__ = ("dirty", "end", "parent", "start")

    def __init__(self, start: int = FRESH, end: int = FRESH) -> None:
        self.start, self.end = start, end
        self.parent: Node | None = None
        self.dirty = False

    @property
    def is_fresh(self) -> bool:
        """Whether it stood nowhere in the file."""
        return self.start == FRESH

    def touch(self) -> None:
        """Say that this was changed."""
        node: Node | None = self
        while node is not None and not node.dirty:
            node.dirty = True
            node = node.parent

    def nearest_start(self) -> int:
        """Where it stood; for a new one, where the nearest thing around it stood."""
        node: Node | None = self
        while node is not None and node.is_fresh:
            node = node.parent
        return node.start if node is not None else 0


class Scalar(Node):
    """A value without parts. `style` is how it was written: plain, quoted (' or "), literal (|) or folded (>).

    `raw` is its changed text where that could be made from the text that was there.
    """

    __slots__ = ("raw", "style", "value")

    def __init__(self, value: str, style: str = PLAIN, start: int = FRESH, end: int = FRESH) -> None:
        super().__init__(start, end)
        self.value, self.style = value, style
        self.raw: str | None = None

    @property
    def is_null(self) -> bool:
        """Whether YAML and JSON mean nothing by it."""
        return self.value in NULLS and not self.is_text

    @property
    def is_text(self) -> bool:
        """Whether it is a text for certain: it stands in quotes, or was given another value (always a text)."""
        return self.style != PLAIN or (self.dirty and self.raw is None and not self.is_fresh)

    def put(self, value: str, raw: str | None = None) -> None:
        """Change the value; `raw` is its text, where the caller knows it."""
        self.value, self.raw = value, raw
        self.touch()


class Alias(Node):
    """`*name`: what stands at the anchor of that name."""

    __slots__ = ("target",)

    def __init__(self, target: Node, start: int, end: int) -> None:
        super().__init__(start, end)
        self.target = target


class Map(Node):
    """A mapping. `flow` is how it was written (`{...}`); `before` its entries before the first change."""

    __slots__ = ("before", "flow", "keys", "values")

    def __init__(self, start: int = FRESH, end: int = FRESH, *, flow: bool = False) -> None:
        super().__init__(start, end)
        self.flow = flow
        self.keys: list[Node] = []
        self.values: list[Node] = []
        self.before: tuple[list[Node], list[Node]] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def items(self) -> Iterator[tuple[str, Node]]:
        """Its own keys and values, aliases followed."""
        return ((text_of(key), followed(value)) for key, value in zip(self.keys, self.values, strict=True))

    def index(self, name: str) -> int:
        """Where its own key of that name stands; -1 where there is none."""
        for at, key in enumerate(self.keys):
            if key.value == name:  # type: ignore[attr-defined]  # a key is a Scalar: parse.py refuses others
                return at
        return -1

    def get(self, name: str) -> Node | None:
        """The value of a key, its own or one merged into it (`<<: *base`)."""
        is_merged = False
        for key, value in zip(self.keys, self.values, strict=True):
            own = key.value  # type: ignore[attr-defined]  # as in index
            if own == name:
                return value if type(value) is not Alias else followed(value)
            is_merged = is_merged or own == "<<"
        for other in self._merged() if is_merged else ():
            found = other.get(name)
            if found is not None:
                return found
        return None

    def key(self, name: str) -> Node | None:
        """The key of that name, where it has one of its own."""
        at = self.index(name)
        return self.keys[at] if at >= 0 else None

    def _merged(self) -> Iterator["Map"]:
        at = self.index("<<")
        if at < 0:
            return
        value = followed(self.values[at])
        for other in [followed(item) for item in value.nodes] if isinstance(value, Seq) else [value]:
            if isinstance(other, Map):
                yield other

    def has(self, name: str) -> bool:
        """Whether there is something other than null."""
        found = self.get(name)
        return found is not None and not (isinstance(found, Scalar) and found.is_null)

    def map(self, *names: str) -> "Map":
        """The mapping at the end of these keys; an empty one that belongs nowhere if there is none."""
        here: Map = self
        for name in names:
            found = here.get(name)
            if not isinstance(found, Map):
                return Map()
            here = found
        return here

    def nodes_of(self, name: str) -> list[Node]:
        """The items of the list under a key."""
        found = self.get(name)
        return [followed(item) for item in found.nodes] if isinstance(found, Seq) else []

    def maps(self, name: str) -> "list[Map]":
        """The mappings in the list under a key."""
        return [item for item in self.nodes_of(name) if isinstance(item, Map)]

    def text(self, name: str) -> str:
        """The text of a scalar; empty where there is none, or null."""
        found = self.get(name)
        return "" if found is None else text_of(found)

    def scalar(self, name: str) -> Scalar | None:
        """The scalar under a key, null or not."""
        found = self.get(name)
        return found if isinstance(found, Scalar) else None

    # --- changes ---

    def _change(self) -> None:
        if self.before is None and not self.is_fresh:
            self.before = (list(self.keys), list(self.values))
        self.touch()

    def put(self, name: str, value: Node, after: str = "", *, first: bool = False) -> None:
        """Set a key's value where it stands; a new key goes behind another one, or first, else to the end."""
        self._change()
        at = self.index(name)
        value.parent = self
        if at >= 0:
            self.values[at] = value
            return
        key = Scalar(name)
        key.parent = self
        at = self.index(after) + 1 if after else 0
        at = 0 if first else at or len(self.keys)
        self.keys.insert(at, key)
        self.values.insert(at, value)

    def drop(self, name: str) -> Node | None:
        """Take a key of its own out; its value is given back."""
        at = self.index(name)
        if at < 0:
            return None
        self._change()
        del self.keys[at]
        return self.values.pop(at)


class Seq(Node):
    """A list. `flow` is how it was written (`[...]`); `before` its items before the first change."""

    __slots__ = ("before", "flow", "nodes")

    def __init__(self, start: int = FRESH, end: int = FRESH, *, flow: bool = False) -> None:
        super().__init__(start, end)
        self.flow = flow
        self.nodes: list[Node] = []
        self.before: list[Node] | None = None

    def __len__(self) -> int:
        return len(self.nodes)

    def _change(self) -> None:
        if self.before is None and not self.is_fresh:
            self.before = list(self.nodes)
        self.touch()

    def add(self, value: Node, at: int | None = None) -> None:
        """Put an item in, at the end or at a place."""
        self._change()
        value.parent = self
        self.nodes.insert(len(self.nodes) if at is None else at, value)

    def drop(self, wanted: Node) -> None:
        """Take an item out (by identity; an alias by what it names)."""
        self._change()
        self.nodes = [node for node in self.nodes if followed(node) is not wanted]


def followed(node: Node) -> Node:
    """What an alias names; else the node itself."""
    while isinstance(node, Alias):
        node = node.target
    return node


def text_of(node: Node) -> str:
    """The text of a scalar; empty for null and for what has parts."""
    if type(node) is not Scalar:
        node = followed(node)
        if type(node) is not Scalar:
            return ""
    return "" if node.is_null else node.value


def fresh(data: Any) -> Node:
    """New nodes of plain data (str, int, bool, None, dict, list); nodes inside are taken as they are (moved)."""
    if isinstance(data, Node):
        return data
    if isinstance(data, dict):
        mapping = Map()
        for key, value in data.items():
            mapping.put(key, fresh(value))
        return mapping
    if isinstance(data, list):
        seq = Seq()
        for value in data:
            seq.add(fresh(value))
        return seq
    if isinstance(data, str):
        return Scalar(data, QUOTED)
    return Scalar("null" if data is None else str(data).lower() if isinstance(data, bool) else str(data))


def data_of(node: Node, scalar: "Callable[[Scalar], Any] | None" = None) -> Any:
    """Plain data: texts stay texts; plain true, false, null and whole numbers become what JSON has for them.

    `scalar` says what else a scalar becomes.
    """
    node = followed(node)
    if isinstance(node, Map):
        merged = [data_of(other, scalar) for other in node._merged()]
        own = {text_of(key): data_of(value, scalar) for key, value in zip(node.keys, node.values, strict=True)}
        own = {key: value for key, value in own.items() if not (key == "<<" and merged)}
        return {key: value for other in reversed(merged) for key, value in other.items()} | own
    if isinstance(node, Seq):
        return [data_of(item, scalar) for item in node.nodes]
    assert isinstance(node, Scalar)
    return (scalar or plain_data)(node)


def plain_data(node: Scalar) -> Any:
    """A scalar as plain data."""
    if node.is_text:
        return node.value
    if node.value in NULLS:
        return None
    if node.value in _TRUE or node.value in _FALSE:
        return node.value in _TRUE
    whole = node.value.removeprefix("-")
    is_number = whole.isascii() and whole.isdigit() and len(whole) < 19 and (whole == "0" or whole[0] != "0")
    return int(node.value) if is_number else node.value


def walk(node: Node, enter: Callable[[Node], bool] = lambda _: True) -> Iterator[Node]:
    """Every node below and itself, in the order of the text; aliases as they stand; not what `enter` refuses."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if not enter(here):
            continue
        yield here
        if isinstance(here, Map):
            for key, value in zip(reversed(here.keys), reversed(here.values), strict=True):
                waiting += [value, key]
        elif isinstance(here, Seq):
            waiting += reversed(here.nodes)


def scalars(node: Node) -> Iterator[Scalar]:
    """Every scalar below a node that is a value, not a key."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Scalar):
            yield here
        elif isinstance(here, Map):
            waiting += reversed(here.values)
        elif isinstance(here, Seq):
            waiting += reversed(here.nodes)


def path_of(node: Node, root: Node) -> str:
    """Where a node stands below a root, as `spec.template.spec.containers[0].image`."""
    steps: list[str] = []
    while node is not root and node.parent is not None:
        above = node.parent
        if isinstance(above, Map):
            at = next((i for i, v in enumerate(above.values) if v is node), -1)
            at = at if at >= 0 else next((i for i, k in enumerate(above.keys) if k is node), -1)
            name = text_of(above.keys[at]) if at >= 0 else "?"
            steps.append(f"[{name}]" if "." in name or "/" in name else f".{name}")
        elif isinstance(above, Seq):
            steps.append(f"[{next((i for i, v in enumerate(above.nodes) if v is node), '?')}]")
        node = above
    return "".join(reversed(steps)).removeprefix(".")
