"""Files in, files out: what no rule names stays byte for byte, whatever style it was written in."""

import json
import random
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.workloads.documents import Form, objects_of, read_document
from migrate.workloads.nodes import Map, Node, Scalar, Seq, data_of, fresh, walk
from migrate.workloads.parse import top_keys
from migrate.workloads.scalars import is_plain, scalar_text

WORDS = st.one_of(
    st.sampled_from(
        ["yes", "no", "0777", "1e3", "12:30:45", "2018-01-23T23:26:07Z", "null", "~", "", " ", "a: b", "- a", "#x",
         "x #y", "${A}", "${{B}}", "{{ c }}", "'", '"', "a\nb", "a\n", "\n", "  a\n b\n", "é", "\U0001f600", "[x]",
         "*a", "&a", "!a", "%a", "@a", "`a`", "a,b", "?", "-", "=", "<<", ".5", "0o7", "a:", "tab\there", "\x85",
         "\u2028"]
    ),
    st.text(max_size=12),
    st.from_regex(r"[a-z/:.-]{1,30}", fullmatch=True),
)  # fmt: skip
TEXT = WORDS.filter(lambda text: not any(0xD800 <= ord(sign) < 0xE000 for sign in text))
PARTS = TEXT.filter(lambda text: not set(text) & set("\x85\u2028\u2029"))
"""Without YAML 1.1's odd line ends: a block scalar with one is not edited, and the file stays as it was."""
KEYS = st.from_regex(r"[a-zA-Z][a-zA-Z0-9./_-]{0,12}", fullmatch=True)
DATA = st.dictionaries(
    KEYS,
    st.recursive(
        PARTS, lambda inside: st.lists(inside, max_size=4) | st.dictionaries(KEYS, inside, max_size=4), max_leaves=12
    ),
    min_size=1, max_size=6,
)  # fmt: skip
STYLES = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([None, False, False, True]),
        "default_style": st.sampled_from([None, None, None, '"', "'", "|"]),
        "indent": st.sampled_from([2, 4]),
        "width": st.sampled_from([20, 80, 10_000]),
        "allow_unicode": st.booleans(),
    }
)


class Indented(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def commented(text: str, seed: int) -> str:
    """Comments and blank lines between lines where YAML allows them whatever stands there: before `key:` lines."""
    chance = random.Random(seed)
    lines = []
    for line in text.split("\n"):
        if chance.random() < 0.3 and not set("|>'\"") & set(text):
            lines += [" " * chance.randrange(6) + "# remark"] if chance.random() < 0.6 else [""]
        lines.append(line)
    return "\n".join(lines)


def same(one: Any, other: Any) -> bool:
    return bool(one == other)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DATA, STYLES, st.integers(), st.booleans(), st.booleans())
def test_edits_change_what_they_name_and_nothing_else(
    data: dict[str, Any], style: dict[str, Any], seed: int, indented: bool, crlf: bool
) -> None:
    dumper = Indented if indented else yaml.SafeDumper
    text = commented(yaml.dump(data, Dumper=dumper, sort_keys=False, **style), seed)
    text = text.replace("\n", "\r\n") if crlf else text
    edited(text, "a.yaml", seed)


@settings(max_examples=150, deadline=None)
@given(DATA, st.sampled_from([None, 1, 2, 4, "\t"]), st.integers(), st.booleans())
def test_json_stays_json(data: dict[str, Any], indent: Any, seed: int, ascii_only: bool) -> None:
    out = edited(json.dumps(data, indent=indent, ensure_ascii=ascii_only), "a.json", seed)
    json.loads(out)


def edited(text: str, name: str, seed: int) -> str:
    """Edit one top-level entry at random; check the file against the same edits of plain data."""
    document = read_document(name, text.encode())
    assert document.form in (Form.YAML, Form.JSON), document.problem
    assert document.written() == text.encode()
    (root,) = document.roots
    assert isinstance(root, Map)
    chance = random.Random(seed)
    at = chance.randrange(len(root))
    spans = [text[key.start : value.end] for key, value in zip(root.keys, root.values, strict=True)]
    change(root.values[at], root, at, chance)
    wanted = data_of(root)
    out = document.written().decode()
    again = read_document(name, out.encode())
    assert same(data_of(again.roots[0]), wanted)
    for number, span in enumerate(spans):
        assert number == at or span in out
    return out


def change(node: Node, root: Map, at: int, chance: random.Random) -> None:
    """A few changes below one entry."""
    for _ in range(chance.randrange(1, 4)):
        below = [each for each in walk(node) if not (isinstance(each, Scalar) and is_key(each))]
        here = chance.choice(below)
        new = chance.choice(
            ["new", "yes", "a: b", "", "x" * 90, {"a": "1"}, {"a": {"b": ["c", {}]}}, [], ["p", "q"], {}]
        )
        if isinstance(here, Scalar):
            here.put(chance.choice(["new", "yes", "a: b", "", "it's", "two\nlines", "é\u2028"]))
        elif isinstance(here, Map) and len(here) and chance.random() < 0.5:
            key = chance.choice(here.keys)
            assert isinstance(key, Scalar)
            here.drop(key.value)
        elif isinstance(here, Map):
            here.put(f"k{chance.randrange(9)}", fresh(new), first=chance.random() < 0.3)
        elif isinstance(here, Seq) and len(here) and chance.random() < 0.5:
            here.drop(chance.choice(here.nodes))
        elif isinstance(here, Seq):
            here.add(fresh(new), chance.randrange(len(here) + 1))


def is_key(node: Node) -> bool:
    return isinstance(node.parent, Map) and any(key is node for key in node.parent.keys)


@given(TEXT)
def test_a_text_stays_a_text_to_every_reader(text: str) -> None:
    assert yaml.safe_load(f"k: {scalar_text(text)}\n") == {"k": text}
    assert yaml.safe_load(f"[{{k: {scalar_text(text, flow=True)}}}]") == [{"k": text}]
    if is_plain(text):
        assert yaml.safe_load(f"{text}") == text


# --- shapes -----------------------------------------------------------------------------------------------------


def labels(text: str, name: str = "a.yaml") -> list[str]:
    return [found.label for found in objects_of(read_document(name, text.encode()))]


def test_objects_are_found_wherever_they_are() -> None:
    inner = "{apiVersion: v1, kind: Secret, metadata: {name: s}}"
    template = f"{{apiVersion: v1, kind: Template, objects: [{{apiVersion: v1, kind: List, items: [{inner}]}}]}}"
    assert labels(f"---\n# nothing\n---\n{inner}\n---\n\n...\n---\n{inner}") == ["Secret/s", "Secret/s"]
    assert labels(f"{{apiVersion: v1, kind: List, items: [{template}, {inner}]}}") == [
        "Template",
        "Secret/s",
        "Secret/s",
    ]
    assert labels("apiVersion: v1\nkind: List\nitems: null\nmetadata: null\n") == []
    assert labels("{apiVersion: v1, kind: A, metadata: null, spec: {tags: null}}") == ["A"]
    assert labels('{"apiVersion": "v1", "kind": "A"}\n{"apiVersion": "v1", "kind": "B"}', "a.json") == ["A", "B"]
    assert labels("a: 1\n") == []


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        ("a: {b: [1\n", Form.BROKEN, "expected"),
        ("a: 1\na: 2\n", Form.BROKEN, "a stands twice"),
        ('{"a": 1, "a": 2}', Form.BROKEN, "a stands twice"),
        ("a: !vault x\n", Form.BROKEN, "!vault"),
        ("a:\n\tb: 1\n", Form.BROKEN, "cannot start any token"),
        ("a: *b\n", Form.BROKEN, "no anchor &b"),
        ("a: &b [*b]\n", Form.BROKEN, "inside what it names"),
        ("[" * 200 + "]" * 200, Form.BROKEN, "more than 100 deep"),
        ("a: " + "[" * 5_000 + "]" * 5_000, Form.BROKEN, "more than 100 deep"),
        ("a: {? {b: c} : d}\n", Form.BROKEN, "as a key"),
        ("a: \x07\n", Form.BROKEN, "character"),
        ("kind: {{ .Values.kind }}\n", Form.TEMPLATE, ""),
        ("{{- if .Values.x }}\nkind: A\n{{- end }}\n", Form.TEMPLATE, ""),
        ("replicas: ${{REPLICAS}}\n", Form.YAML, ""),
        ("args: ['{{ x }}', \"a {{y}}\"]\n", Form.YAML, ""),
        ("a: 1e3\nb: 0777\nc: yes\n", Form.YAML, ""),
    ],
)
def test_what_cannot_be_read_is_said(text: str, form: Form, words: str) -> None:
    document = read_document("a.yaml", text.encode())
    assert document.form is form
    assert words in document.problem
    assert document.written() == text.encode()


def test_a_bomb_is_refused_at_once() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    began = time.monotonic()
    document = read_document("a.yaml", text.encode())
    assert document.form is Form.BROKEN
    assert "repeat more than a million" in document.problem
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("version: 1\nimages: [a, b]\nx: {kind: a}\nkind: b\n", ["version", "images", "x", "kind"]),
        ("{version: 1, kind: {a: [b]}, c: *d}", ["version", "kind", "c"]),
        ("- version: 1\n", []),
        ("text", []),
        ("a: 1\n---\nkind: b\n", ["a"]),
    ],
)
def test_the_keys_at_the_top(text: str, keys: list[str]) -> None:
    assert list(top_keys(text)) == keys


def test_bytes_that_are_no_text() -> None:
    assert read_document("a.yaml", "kind: A".encode("utf-16")).problem.startswith("this is text in UTF-16")
    assert "UTF-8" in read_document("a.yaml", b"a: \xe4\n").problem
    assert read_document("a.png", b"\x89PNG\xff").form is Form.OTHER


def test_a_bom_anchors_and_merges_survive() -> None:
    text = "\ufeffbase: &base {a: 1}\nx:\n  <<: *base\n  b: 2 # two\ny: *base\n"
    document = read_document("a.yaml", text.encode())
    (root,) = document.roots
    assert isinstance(root, Map)
    x = root.map("x")
    assert x.text("a") == "1"
    assert root.map("y").text("a") == "1"
    x.put("c", fresh("3"))
    x.drop("b")
    assert document.written().decode() == "\ufeffbase: &base {a: 1}\nx:\n  <<: *base\n  c: '3'\ny: *base\n"


def test_json_keeps_its_surrogates_and_slashes() -> None:
    text = '{\n    "a": "\\ud83d\\ude00",\n    "b": "x\\/y",\n    "c": [],\n    "d": {}\n}\n'
    document = read_document("a.json", text.encode())
    (root,) = document.roots
    assert isinstance(root, Map)
    root.map("d").put("k", fresh({"l": [1]}))
    wanted = '    "d": {\n        "k": {\n            "l": [\n                1\n            ]\n        }\n    }\n}\n'
    assert document.written().decode() == text.replace('    "d": {}\n}\n', wanted)
