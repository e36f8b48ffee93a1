"""A file or a folder of workloads: read it, rewrite it, write it to another folder of the same layout."""

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from migrate.errors import UsageError
from migrate.workloads.context import Context
from migrate.workloads.documents import YAML_ENDINGS, Document, Form, NotTheSameError, objects_of, read_document
from migrate.workloads.engine import run_rules
from migrate.workloads.findings import Finding, Mode
from migrate.workloads.moved import is_variable
from migrate.workloads.nodes import Map, Scalar
from migrate.workloads.rules import RULES
from migrate.workloads.shown import secret_texts

RECORD = ".rahti-migrate-files"
"""Remembers, in the output folder, what was written: `sha256  name` lines, as sha256sum reads them."""
_OF_CLUSTER = re.compile(r"default|openshift(-.*)?|kube-.*")
"""Projects that are nobody's own."""
_SKIPPED = frozenset({".git", ".hg", ".svn"})
_LARGEST_TEXT = 5 * 2**20


@dataclass
class Rewritten:
    """What a rewrite makes of its input.

    Attributes:
        files: name -> its new bytes; None where the file is copied as it is and was not read.
        before: name -> its bytes, of those that were read.
        gone: files that are not written, for everything in them is left out.
        secrets: name -> lines of the values of Secrets in it, before and after; no diff shows them.
        objects: how many objects were found.
    """

    files: dict[str, bytes | None] = field(default_factory=dict)
    before: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    secrets: dict[str, set[str]] = field(default_factory=dict)
    sources: dict[str, Path] = field(default_factory=dict)
    objects: int = 0

    @property
    def changed(self) -> list[str]:
        """The files whose text is another one now."""
        return [name for name, new in self.files.items() if new is not None and new != self.before[name]]


def names_of(path: Path) -> Iterator[tuple[str, Path]]:
    """(name in the output, where it is) of a file, or of everything in a folder; links are given, too.

    Raises:
        UsageError: there is nothing of that name, or it cannot be read.
    """
    if path.is_file():
        yield path.name, path
        return
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder", "name what `oc get -o yaml` wrote, or a folder with YAML")
    for folder, below, files in os.walk(path, onerror=_unreadable):
        below[:] = sorted(name for name in below if name not in _SKIPPED)
        links = [name for name in below if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            whole = Path(folder) / name
            if name != RECORD:
                yield whole.relative_to(path).as_posix(), whole


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename}: cannot be read: {error.strerror}", "check its mode") from None


def rewrite_all(paths: Sequence[Path], context: Context, texts: Mapping[str, bytes] | None = None) -> Rewritten:
    """Read files and folders, and run the rules over all of them together. Writes nothing.

    Args:
        paths: files and folders.
        context: what the rules are to know.
        texts: name -> content of what stands in no file.

    Raises:
        UsageError: something cannot be read, or two of the paths hold a file of the same name.
    """
    result = Rewritten()
    documents: list[Document] = []
    for name, raw in (texts or {}).items():
        result.before[name] = raw
        documents.append(read_document(name, raw))
    for path in paths:
        for name, place in names_of(path):
            if name in result.sources:
                raise UsageError(
                    f"{place} and {result.sources[name]} would both be written as {name}",
                    "rewrite them one after the other, each to a folder of its own",
                )
            result.sources[name] = place
            _read(name, place, documents, result)
    context = _with_own_source(context, documents)
    for document in documents:
        _note_secrets(document, result)
        result.objects += sum(1 for _ in objects_of(document))
    result.findings += run_rules(RULES, documents, context)
    for document in documents:
        _note_secrets(document, result)
        _take(document, result)
    return result


def _note_secrets(document: Document, result: Rewritten) -> None:
    for found in objects_of(document):
        if found.kind == "Secret":
            places = [found.root.map("data"), found.root.map("stringData")]
            result.secrets.setdefault(document.name, set()).update(secret_texts(places))


def _read(name: str, place: Path, documents: list[Document], result: Rewritten) -> None:
    if place.is_symlink():
        result.findings.append(_about(name, "link", Mode.NOTED, "a link: neither followed nor copied"))
        del result.sources[name]
        return
    if not place.is_file():
        del result.sources[name]
        return
    try:
        is_large = place.stat().st_size > _LARGEST_TEXT
        if is_large and not name.lower().endswith(YAML_ENDINGS):
            result.files[name] = None
            return
        raw = place.read_bytes()
    except OSError as error:
        raise UsageError(f"{place}: cannot be read: {error.strerror}", "check its mode") from None
    result.before[name] = raw
    documents.append(read_document(name, raw))


def _take(document: Document, result: Rewritten) -> None:
    name = document.name
    try:
        written = document.written()
    except NotTheSameError as error:
        words = f"a bug, please report it; the file stays as it was, for it did not read as what was meant: {error}"
        result.findings.append(_about(name, "check", Mode.BLOCKED, words))
        written = document.raw
    if _is_empty(document):
        result.gone.append(name)
    else:
        result.files[name] = written


def _is_empty(document: Document) -> bool:
    """Whether everything that was in a file was left out."""
    if not document.is_changed or document.form not in (Form.YAML, Form.JSON) or document.extra:
        return False
    kept = [root for index, root in enumerate(document.roots) if index not in document.left_out]
    left = [each for each in objects_of(document) if each.index not in document.left_out]
    return not left and all(_is_nothing(root) for root in kept)


def _is_nothing(root: object) -> bool:
    return (isinstance(root, Scalar) and root.is_null) or (isinstance(root, Map) and root.text("kind") == "List")


def _about(name: str, rule: str, mode: Mode, words: str) -> Finding:
    return Finding(name, 1, "", "", rule, mode, words=words)


def _with_own_source(context: Context, documents: Sequence[Document]) -> Context:
    """The project that the objects say they are of, where nothing else says which one becomes the target's."""
    if context.own_sources - {context.project}:
        return context
    written = Counter(
        found.namespace
        for document in documents
        for found in objects_of(document)
        if found.namespace and not is_variable(found.namespace) and found.namespace not in context.projects
        if not _OF_CLUSTER.fullmatch(found.namespace)
    )
    written.pop(context.project, None)
    return context.with_source(next(iter(written))) if len(written) == 1 else context


# --- writing ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    """What was written, and what was not because somebody changed it since."""

    written: tuple[str, ...]
    same: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]


def check_place(to: Path, paths: Sequence[Path]) -> None:
    """Look whether a folder may be written to.

    Raises:
        UsageError: it is the input, in it, or around it; or it is no folder.
    """
    target = to.resolve()
    if target.exists() and not target.is_dir():
        raise UsageError(f"{to}: is a file", "name a folder for the rewritten files")
    for path in paths:
        source = path.resolve()
        folder = source if source.is_dir() else source.parent
        if target == folder or (source.is_dir() and (source in target.parents or target in source.parents)):
            raise UsageError(
                f"{to}: the rewritten files would lie among those they are made from ({path})",
                "name a folder of its own: nothing is ever written over what it was made from",
            )


def write(result: Rewritten, to: Path, *, force: bool = False) -> Output:
    """Write the files; one that somebody changed since the last time stays, unless `force`.

    Raises:
        UsageError: something cannot be written there.
    """
    try:
        return _write(result, to.resolve(), force=force)
    except OSError as error:
        raise UsageError(f"{error.filename or to}: cannot be written: {error.strerror}", "free the place") from None


def _write(result: Rewritten, to: Path, *, force: bool) -> Output:
    to.mkdir(parents=True, exist_ok=True)
    ours = _read_record(to)
    record: dict[str, str] = {}
    written, same, kept, removed = [], [], [], []
    for name, new in result.files.items():
        place = to / name
        _check_inside(place, to)
        wanted = _hash(new if new is not None else result.sources[name].read_bytes())
        there = _hash(place.read_bytes()) if place.is_file() else ""
        record[name] = wanted
        if there == wanted:
            same.append(name)
        elif there and there != ours.get(name) and not force:
            kept.append(name)
            record[name] = ours.get(name, "")
        else:
            _put(place, new, result.sources.get(name))
            written.append(name)
    for name in sorted(set(ours) - set(record)):
        place = to / name
        _check_inside(place, to)
        if place.is_file() and _hash(place.read_bytes()) == ours[name]:
            place.unlink()
            removed.append(name)
    lines = [f"{digest}  {name}\n" for name, digest in sorted(record.items()) if digest]
    _put(to / RECORD, "".join(lines).encode())
    return Output(tuple(written), tuple(same), tuple(kept), tuple(removed))


def _read_record(to: Path) -> dict[str, str]:
    try:
        lines = (to / RECORD).read_text().splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}


def _check_inside(place: Path, to: Path) -> None:
    """Nothing is written through a link that leads out of the folder.

    Raises:
        UsageError: it would be.
    """
    parent = place.parent.resolve()
    if (parent != to and to not in parent.parents) or place.is_symlink():
        raise UsageError(f"{place}: a link leads out of {to}", "take it away, or name another folder")


def _put(place: Path, new: bytes | None, source: Path | None = None) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.part")
    if new is None:
        assert source is not None
        shutil.copyfile(source, beside)
    else:
        beside.touch(mode=0o666 if source is not None else 0o600)
        beside.write_bytes(new)
        if source is not None:
            shutil.copymode(source, beside)
    beside.replace(place)


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
