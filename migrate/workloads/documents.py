"""A file of the user's: what it is, the objects in it, and its text again after the rules."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest

from migrate.workloads.nodes import Map, Node, Scalar, Seq, followed, fresh
from migrate.workloads.parse import UnreadableError, parse_json, parse_yaml
from migrate.workloads.shape import shape, yaml_shape
from migrate.workloads.write import Writer

_BOM = "\ufeff"
_HELM = re.compile(r"(?<!\$)\{\{[-\s]*[^}\s]")
_LOOKS_LIKE_OBJECTS = re.compile(r"^[ \t-]*[\"']?kind[\"']?[ \t]*:", re.MULTILINE)
YAML_ENDINGS = (".yaml", ".yml", ".json", ".template")


class Form(StrEnum):
    """What sort of file it is."""

    YAML = "YAML"
    JSON = "JSON"
    TEMPLATE = "a Helm template (or another language's), which is no YAML before it is filled in"
    BROKEN = "not readable as YAML"
    TEXT = "text"
    OTHER = "not text"


class NotTheSameError(Exception):
    """What was written does not read as what was meant; the caller leaves the file as it was. A bug."""


@dataclass
class Document:
    """One file.

    Attributes:
        name: its path below the folder that was given, with `/`.
        roots: the top values of its YAML documents (or JSON values), in order; empty unless YAML or JSON.
        problem: why it cannot be read, where `form` is BROKEN; `problem_line` is where.
        looks_like_objects: it has a line that only Kubernetes objects have.
        extra: new objects to write behind those that are there.
    """

    name: str
    raw: bytes
    form: Form
    text: str = ""
    roots: list[Node] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    problem: str = ""
    problem_line: int = 1
    left_out: set[int] = field(default_factory=set)
    extra: list[Map] = field(default_factory=list)
    new_text: str = ""
    _ends: "array[int] | None" = None

    @property
    def looks_like_objects(self) -> bool:
        """Whether a line says `kind:`."""
        return bool(_LOOKS_LIKE_OBJECTS.search(self.text))

    def line(self, at: int) -> int:
        """The line, from 1, of a place in the text."""
        if self._ends is None:
            self._ends = array("q", (found.start() for found in re.finditer("\n", self.text)))
        return bisect_right(self._ends, at - 1) + 1 if at else 1

    @property
    def is_changed(self) -> bool:
        """Whether a rule changed something."""
        return bool(self.left_out or self.extra or self.new_text or any(root.dirty for root in self.roots))

    def written(self) -> bytes:
        """The file after the rules; the bytes it had where none changed it.

        Raises:
            NotTheSameError: what was written reads otherwise.
        """
        if not self.is_changed:
            return self.raw
        bom = self.raw.startswith(_BOM.encode())
        text = self.new_text or self._written_text()
        return (_BOM if bom else "").encode() + text.encode()

    def _written_text(self) -> str:
        writer = Writer(self.text, is_json=self.form is Form.JSON)
        parts, end = [], 0
        for index, root in enumerate(self.roots):
            if index in self.left_out:
                begin, until = self._region(index)
                parts.append(self.text[end:begin])
                end = until
            else:
                parts += (
                    [self.text[end : root.start], writer.with_newlines(writer.text(root))]
                    if root.dirty
                    else [self.text[end : root.end]]
                )
                end = root.end
        parts.append(self.text[end:])
        text = "".join(parts)
        kept = [root for index, root in enumerate(self.roots) if index not in self.left_out]
        text = self._with_extra(text, writer)
        self._check(text, [*kept, *self.extra])
        return text

    def _region(self, index: int) -> tuple[int, int]:
        """From where to where a document stands that is left out; its own `---` goes with it."""
        start = self.marks[index] if index < len(self.marks) else self.roots[index].start
        following = self.marks[index + 1] if index + 1 < len(self.marks) else len(self.text)
        if index == 0 and not self.text.startswith("---", start):
            start = self.roots[0].start
        return start, following

    def _with_extra(self, text: str, writer: Writer) -> str:
        for node in self.extra:
            body = writer.document(node)
            gap = "" if not text or text.endswith("\n") else "\n"
            text += gap + ("" if self.form is Form.JSON else "---\n") + body + "\n"
        return writer.with_newlines(text) if self.extra else text

    def _check(self, text: str, kept: list[Node]) -> None:
        """Read the text again and compare."""
        try:
            again = shape(parse_json(text)) if self.form is Form.JSON else yaml_shape(text)
            for number, (wanted, found) in enumerate(zip_longest(shape(kept), again), start=1):
                if wanted != found:
                    raise NotTheSameError(f"{self.name}: value {number} of what was written is not what was meant")
        except UnreadableError as error:
            raise NotTheSameError(f"{self.name}: {error.what} (line {error.line} of what was written)") from None


def read_document(name: str, raw: bytes) -> Document:
    """What a file is, and its trees where it is YAML or JSON. Never fails: `form` and `problem` say what is wrong."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _undecoded(name, raw)
    text = text.removeprefix(_BOM)
    if "\0" in text:
        return Document(name, raw, Form.OTHER)
    if not name.lower().endswith(YAML_ENDINGS) and not _LOOKS_LIKE_OBJECTS.search(text):
        return Document(name, raw, Form.TEXT, text)
    if text.lstrip()[:1] in ("{", "["):
        try:
            roots = parse_json(text)
            return Document(name, raw, Form.JSON, text, roots, [root.start for root in roots])
        except UnreadableError as error:
            if name.lower().endswith(".json") and not _HELM.search(text):
                return Document(name, raw, Form.BROKEN, text, problem=error.what, problem_line=error.line)
    return _read_yaml(name, raw, text)


def _undecoded(name: str, raw: bytes) -> Document:
    if name.lower().endswith(YAML_ENDINGS):
        utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        problem = "this is text in UTF-16: save it as UTF-8" if utf16 else "this is not text in UTF-8"
        return Document(name, raw, Form.BROKEN, problem=problem)
    return Document(name, raw, Form.OTHER)


def _read_yaml(name: str, raw: bytes, text: str) -> Document:
    is_yaml = name.lower().endswith(YAML_ENDINGS)
    try:
        roots, marks = parse_yaml(text)
    except UnreadableError as error:
        if _HELM.search(text):
            return Document(name, raw, Form.TEMPLATE, text)
        form = Form.BROKEN if is_yaml else Form.TEXT
        return Document(name, raw, form, text, problem=error.what, problem_line=error.line)
    return Document(name, raw, Form.YAML, text, roots, marks)


# --- objects ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Object:
    """A Kubernetes object in a file.

    Attributes:
        root: its mapping.
        holder: the list it is an item of (of a List, of a Template); None where it is a whole document.
        template: the Template it is in.
        index: of the document in its file.
        old_kind: its kind before any rule.
    """

    document: Document
    index: int
    root: Map
    holder: Seq | None = None
    template: "Object | None" = None
    old_kind: str = ""
    is_left_out: bool = False
    _known: dict[str, Scalar] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its kind now."""
        return self._text("kind")

    @property
    def api_version(self) -> str:
        """Its apiVersion now, as `apps/v1`."""
        return self._text("apiVersion")

    def _text(self, name: str) -> str:
        """A text of its top level; every rule asks for these of every object, so where they stand is remembered."""
        node = self._known.get(name)
        if node is None or node.parent is not self.root:
            node = self.root.scalar(name)
            if node is None:
                return ""
            self._known[name] = node
        return "" if node.is_null else node.value

    @property
    def group(self) -> str:
        """The group of its apiVersion; empty for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def meta(self) -> Map:
        """Its metadata."""
        return self.root.map("metadata")

    @property
    def name(self) -> str:
        """Its name, or the beginning of one that is to be generated."""
        return self.meta.text("name") or self.meta.text("generateName")

    @property
    def namespace(self) -> str:
        """The project that is written in it; often empty."""
        return self.meta.text("namespace")

    @property
    def spec(self) -> Map:
        """Its spec."""
        return self.root.map("spec")

    @property
    def label(self) -> str:
        """What a person calls it: `Deployment/web`."""
        return f"{self.old_kind or self.kind}/{self.name}" if self.name else self.old_kind or self.kind


def objects_of(document: Document) -> Iterator[Object]:
    """Every object in a file, also those in Lists and Templates, nested either way; the containers are none, but
    Templates are.
    """
    for index, root in enumerate(document.roots):
        yield from _objects(document, index, followed(root), None, None)


def is_list(root: Map) -> bool:
    """Whether a mapping is a List, a typed one too."""
    return root.text("kind").endswith("List") and isinstance(root.get("items"), Seq | Scalar) and root.has("apiVersion")


def _objects(
    document: Document, index: int, root: Node, holder: Seq | None, template: Object | None
) -> Iterator[Object]:
    if not isinstance(root, Map):
        if isinstance(root, Seq) and holder is None:
            for item in root.nodes:
                yield from _objects(document, index, followed(item), root, template)
        return
    if is_list(root):
        items = root.get("items")
        for item in list(items.nodes) if isinstance(items, Seq) else []:
            assert isinstance(items, Seq)
            yield from _objects(document, index, followed(item), items, template)
        return
    if not root.has("kind") or not (root.has("apiVersion") or holder is not None):
        return
    found = Object(document, index, root, holder, template, root.text("kind"))
    yield found
    if found.kind in ("Template", "ProcessedTemplate"):
        objects = root.get("objects")
        for item in list(objects.nodes) if isinstance(objects, Seq) else []:
            assert isinstance(objects, Seq)
            yield from _objects(document, index, followed(item), objects, found)


def beside(found: Object, data: Mapping[str, object]) -> Object:
    """A new object where another one stands: in the same List or Template, else as a document of its own."""
    root = fresh(dict(data))
    assert isinstance(root, Map)
    if found.holder is not None:
        found.holder.add(root)
    else:
        found.document.extra.append(root)
    return Object(found.document, found.index, root, found.holder, found.template, root.text("kind"))


def leave_out(found: Object) -> None:
    """Take an object out of its file."""
    found.is_left_out = True
    if found.holder is not None:
        found.holder.drop(found.root)
    else:
        found.document.left_out.add(found.index)
