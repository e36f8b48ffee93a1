"""Scalars of YAML as text: plain where every reader takes it for a text, else in quotes."""

import json
import re

import yaml

from migrate.workloads.nodes import PLAIN, Scalar

_RESOLVER = yaml.resolver.Resolver
_PLAIN_START = re.compile(r"[A-Za-z0-9_./$+<(\\^~;=-]")
_NUMBER_12 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
"""Numbers of YAML 1.2's core schema; `1e3` is none to PyYAML."""
ODD = re.compile(r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<"}


def scalar_text(text: str, *, flow: bool = False) -> str:
    """A text as a YAML scalar of one line, in quotes where YAML 1.1 or 1.2 could take it for something else."""
    if is_plain(text, flow=flow):
        return text
    return double_quoted(text) if ODD.search(text) else single_quoted(text)


def is_plain(text: str, *, flow: bool = False) -> bool:
    """Whether a text can stand without quotes and is a text to every reader."""
    if not text or not _PLAIN_START.match(text) or ODD.search(text) or text != text.strip():
        return False
    if ": " in text or " #" in text or text.endswith(":") or text.startswith(("- ", "---", "...", "<<")) or text == "-":
        return False
    if flow and re.search(r"[\[\]{},:?]", re.sub(r"\$\{\w+\}", "", text) if not text.startswith("$") else text):
        return False
    if text.lower() in _WORDS or _NUMBER_12.fullmatch(text):
        return False
    return resolves_to_text(text)


def resolves_to_text(text: str) -> bool:
    """Whether a plain scalar is a text by YAML 1.1's rules (PyYAML's resolvers)."""
    found = _RESOLVER.yaml_implicit_resolvers.get(text[0], []) + _RESOLVER.yaml_implicit_resolvers.get(None, [])
    return not any(pattern.match(text) for _, pattern in found)


def single_quoted(text: str) -> str:
    """In single quotes; for texts of one line."""
    return "'" + text.replace("'", "''") + "'"


def double_quoted(text: str) -> str:
    """In double quotes, everything unusual escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return ODD.sub(lambda found: _escaped(ord(found[0])), quoted)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fresh_scalar(node: Scalar, column: int) -> str:
    """A new scalar's text; of several lines as a literal block whose lines begin at `column`."""
    if node.style == PLAIN:
        return node.value or "null"
    lines = node.value.split("\n")
    if len(lines) < 2 or not lines[0].strip() or lines[0][0] == " " or any(ODD.search(line) for line in lines):
        return scalar_text(node.value)
    if any(line != line.rstrip() for line in lines) or node.value.endswith("\n\n"):
        return double_quoted(node.value)
    header = "|" if node.value.endswith("\n") else "|-"
    body = node.value.removesuffix("\n").split("\n")
    return "\n".join([header, *(" " * column + line if line else "" for line in body)])
