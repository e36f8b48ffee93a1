"""Runs rules over all documents of a run, and gives them the means to look, to change and to tell.

A rule is one function with an id, a mode, a sentence and a link; docs/rules.md shows how to write one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern

from migrate.printable import printable
from migrate.workloads.context import Context
from migrate.workloads.documents import Document, Object, beside, leave_out, objects_of
from migrate.workloads.findings import Finding, Mode
from migrate.workloads.nodes import Map, Node, Scalar, Seq, data_of, followed, fresh, path_of, text_of
from migrate.workloads.shown import HIDDEN, LENGTH, shown

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: short and stable; it stands in reports.
        mode: of what it finds, where the rule does not say otherwise for one finding.
        says: one sentence for the user: why.
        link: where that is written.
        act: called with each object (and the means of the run), or with each document where `on_documents`.
        kinds: only objects of these kinds (as they are when the rule comes to them); empty: all.
    """

    id: str
    mode: Mode
    says: str
    link: str
    act: Callable[..., None]
    kinds: frozenset[str] = frozenset()
    on_documents: bool = False


def rule(
    name: str, mode: Mode, says: str, link: str, kinds: Iterable[str] = (), *, on_documents: bool = False
) -> Callable[[Callable[..., None]], Rule]:
    """Make a function a rule: `act(it, found)` for each object, `act(it, document)` for each file."""
    return lambda act: Rule(name, mode, says, link, act, frozenset(kinds), on_documents)


@dataclass
class World:
    """All documents of a run, as they are now.

    Attributes:
        objects: in the order of the files; new ones are added, those left out are taken away.
        memory: what rules keep for later rules, by the name of whoever keeps it.
        tags_by_digest: (repository, digest) -> a tag that has it, as the status of image streams says; streams that
            name no project stand as `/stream`.
    """

    context: Context
    documents: Sequence[Document]
    objects: list[Object] = field(default_factory=list)
    memory: dict[str, object] = field(default_factory=dict)
    tags_by_digest: dict[tuple[str, str], str] = field(default_factory=dict)
    _names: dict[str, list[Object]] | None = None

    def of_kind(self, *kinds: str) -> Iterator[Object]:
        """The objects that are of a kind now."""
        return (each for each in self.objects if each.kind in kinds)

    def named(self, kinds: Iterable[str], name: str, namespace: str = "") -> Object | None:
        """The object of a kind (as it was) and a name; where both say a project, of that one."""
        wanted = frozenset(kinds)
        known = self._by_name().get(name, ())
        return next(
            (each for each in known if each.old_kind in wanted and same_project(each.namespace, namespace)), None
        )

    def beside(self, found: Object, *kinds: str) -> Object | None:
        """Another object of these kinds and the same name; where that has parameters, of the same Template."""
        for each in self._by_name().get(found.name, ()):
            near = each.template is found.template or "${" not in found.name
            if each is not found and near and each.old_kind in kinds and same_project(each.namespace, found.namespace):
                return each
        return None

    def _by_name(self) -> dict[str, list[Object]]:
        if self._names is None:
            self._names = {}
            for each in self.objects:
                self._names.setdefault(each.name, []).append(each)
        return self._names

    def forget_names(self) -> None:
        """Somebody gave an object another name, or made one."""
        self._names = None


def same_project(one: str, other: str) -> bool:
    """Whether two projects are one, as far as both are said."""
    return not one or not other or one == other


class Editor:
    """What a rule may do to one object (or file): each change is a finding, too."""

    def __init__(self, rule: Rule, world: World, document: Document, found: Object | None, out: list[Finding]) -> None:
        self._rule, self._document, self._object, self._out = rule, document, found, out
        self.world = world

    @property
    def context(self) -> Context:
        """Platforms, projects, options."""
        return self.world.context

    def is_in_file(self, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern is found in the text of the file as it was; asked once for each file."""
        key = f"{pattern.pattern} in {self._document.name}"
        if key not in self.world.memory:
            self.world.memory[key] = pattern.search(self._document.text) is not None
        return bool(self.world.memory[key])

    # --- changes ------------------------------------------------------------------------------------------------

    def put(
        self, where: Map, name: str, data: object, *, words: str = "", mode: Mode | None = None, after: str = "",
        first: bool = False,
    ) -> None:  # fmt: skip
        """Set a key, where that changes something."""
        old, new = where.get(name), fresh(data)
        if old is not None and not isinstance(data, Node) and data_of(old) == data_of(new):
            return
        before = self._shown(old) if old is not None else ""
        at = old if old is not None and where.index(name) >= 0 else where
        line = self._line(at)
        if isinstance(old, Scalar) and isinstance(data, str) and not old.is_null and where.index(name) >= 0:
            old.put(data)
        else:
            where.put(name, new, after, first=first)
        self._tell(line, self.path(where, name), mode, before, self._shown(new), words)

    def ensure(self, where: Map, name: str, *, after: str = "") -> Map:
        """The mapping under a key; made, where there is none or null. No finding: what is put in will be one."""
        found = where.get(name)
        if isinstance(found, Map):
            return found
        made = Map()
        where.put(name, made, after)
        return made

    def remove(self, where: Map, name: str, *, words: str = "", mode: Mode | None = None) -> None:
        """Take a key out, where it is there."""
        at = where.index(name)
        if at < 0:
            return
        value = where.values[at]
        line, path = self._line(where.keys[at]), self.path(where, name)
        before = "(a copy of the object)" if name == LAST_APPLIED else self._shown(value)
        where.drop(name)
        self._tell(line, path, mode, before, "", words)

    def add_item(self, where: Map, name: str, data: object, *, words: str = "", after: str = "") -> None:
        """Put an item at the end of the list under a key; a new list, where there is none."""
        there = where.get(name)
        line, path = self._line(there or where), self.path(where, name)
        if isinstance(there, Seq):
            there.add(fresh(data))
        else:
            where.put(name, fresh([data]), after)
        self._tell(line, path, None, "", self._shown(fresh(data)), words)

    def remove_item(self, where: Seq, item: Node, *, words: str = "", mode: Mode | None = None) -> None:
        """Take an item out of a list."""
        line, before, path = self._line(item), self._shown(item), self.path(item)
        where.drop(item)
        self._tell(line, path, mode, before, "", words)

    def change(
        self, node: Scalar, value: str, *, words: str = "", mode: Mode | None = None, raw: str | None = None,
        told: tuple[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Give a scalar another value, in the style it has; `told` is before and after, if not the whole."""
        if value == node.value:
            return
        before, after = told or (self._shown(node), "")
        line, path = self._line(node), self.path(node)
        node.put(value, raw)
        self._tell(line, path, mode, before, after if told else self._shown(node), words)

    def substitute(self, node: Scalar, changes: dict[str, str], *, words: str = "", mode: Mode | None = None) -> None:
        """Replace parts of a scalar, of several lines too; only the parts are shown."""
        value, raw = node.value, self._raw(node)
        for old, new in changes.items():
            if raw is not None and raw.count(old) == value.count(old) and _is_safe(old + new):
                raw = raw.replace(old, new)
            else:
                raw = None
            value = value.replace(old, new)
        before = self._raw(node) or ""
        for old, new in changes.items():
            line = self._document.line(node.nearest_start() + max(before.find(old), 0))
            self._tell(line, self.path(node), mode, printable(old, LENGTH), printable(new, LENGTH), words)
        node.put(value, raw)

    def _raw(self, node: Scalar) -> str | None:
        if node.raw is not None:
            return node.raw
        return None if node.is_fresh or node.dirty else self._document.text[node.start : node.end]

    def leave_out(self, words: str = "") -> None:
        """Take the object out of what is written."""
        found = self._object
        assert found is not None
        if found.is_left_out:
            return
        self._tell(self._line(found.root), "", Mode.LEFT_OUT, "", "", words)
        leave_out(found)

    def add(self, data: Mapping[str, object], *, words: str = "", mode: Mode | None = None) -> Object:
        """Put a new object beside this one."""
        assert self._object is not None
        made = beside(self._object, data)
        self.world.objects.append(made)
        self.world.forget_names()
        self._out.append(
            Finding(self._document.name, self._line(self._object.root), made.label, "", self._rule.id,
                    mode or self._rule.mode, "", "a new object", words)
        )  # fmt: skip
        return made

    # --- words --------------------------------------------------------------------------------------------------

    def say(
        self, node: Node, words: str, *, mode: Mode | None = None, path: str = "", before: str | None = None,
        after: str = "",
    ) -> None:  # fmt: skip
        """Tell something about a place, without changing it."""
        if before is None:
            before = self._shown(node) if isinstance(followed(node), Scalar) else ""
        self._tell(self._line(node), path or self.path(node), mode, before, after, words)

    def say_line(self, line: int, words: str, *, mode: Mode | None = None, before: str = "", after: str = "") -> None:
        """Tell something about a line of the file."""
        self._tell(line, "", mode, before, after, words)

    def _tell(self, line: int, path: str, mode: Mode | None, before: str, after: str, words: str) -> None:
        label = intern(self._object.label) if self._object is not None else ""
        path, before, after, words = intern(path), intern(before), intern(after), intern(words)
        self._out.append(
            Finding(
                self._document.name, line, label, path, self._rule.id, mode or self._rule.mode, before, after, words
            )
        )

    def _line(self, node: Node) -> int:
        return self._document.line(node.nearest_start())

    def path(self, node: Node, name: str = "") -> str:
        """Where a value (or a key of it) stands in the object."""
        root = self._object.root if self._object is not None else self._document.roots[0]
        path = path_of(node, root)
        step = (f"[{name}]" if re.search(r"[./]", name) else f".{name}") if name else ""
        return f"{path}{step}".removeprefix(".")

    def _shown(self, node: Node) -> str:
        """A value in one line; nothing of a Secret."""
        if self._object is not None and self._object.old_kind == "Secret" and self._is_secret(node):
            return HIDDEN
        return shown(node)

    def _is_secret(self, node: Node) -> bool:
        assert self._object is not None
        return not path_of(node, self._object.root).startswith(("metadata", "kind", "apiVersion", "type"))


def _is_safe(text: str) -> bool:
    """Whether a text stands for itself in every style of scalar."""
    return re.fullmatch(r"[\w./:@${}+-]*", text) is not None


def run_rules(rules: Sequence[Rule], documents: Sequence[Document], context: Context) -> list[Finding]:
    """Change the documents' trees by the rules, in the rules' order.

    Returns:
        What was done and seen, in the order of the files.
    """
    out: list[Finding] = []
    world = World(context, documents)
    objects_found = False
    for each in rules:
        if each.on_documents:
            for document in documents:
                each.act(Editor(each, world, document, None, out), document)
            continue
        if not objects_found:
            world.objects = [found for document in documents for found in objects_of(document)]
            world.tags_by_digest = _tags_by_digest(world)
            objects_found = True
        _run_rule(each, world, out)
    order = {document.name: index for index, document in enumerate(documents)}
    return sorted(out, key=lambda finding: (order[finding.file], finding.line))


def _tags_by_digest(world: World) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for stream in world.of_kind("ImageStream"):
        for tag in stream.root.map("status").maps("tags"):
            for item in tag.maps("items")[:1]:
                found.setdefault((f"{stream.namespace}/{stream.name}", item.text("image")), tag.text("tag"))
    return found


def _run_rule(each: Rule, world: World, out: list[Finding]) -> None:
    gone = False
    for found in list(world.objects):
        if found.is_left_out:
            gone = True
            continue
        if each.kinds and found.kind not in each.kinds:
            continue
        each.act(Editor(each, world, found.document, found, out), found)
    if gone:
        world.objects = [found for found in world.objects if not found.is_left_out]


def name_of(node: Map) -> str:
    """The `name` of a mapping, such as a container's."""
    return text_of(node.get("name") or Map())
