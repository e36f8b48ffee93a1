"""Values of workloads as findings and diffs show them: on one line, cut, and without secrets."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from migrate.printable import printable
from migrate.workloads.nodes import Map, Node, Scalar, Seq, data_of, followed, text_of

HIDDEN = "(hidden)"
LENGTH = 200
_MOST_VALUES = 30
_NAMES = r"pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|(?:api|access|private|auth)[_-]?key|jaas"
_ANY_NAME = re.compile(_NAMES, re.IGNORECASE)
_SECRET_NAME = re.compile(rf"(?:{_NAMES})s?[_.-]?\d*$", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    rf"""(?P<name>[\w.-]*(?:{_NAMES})[\w.-]*(?:["']?\s*=\s*|["']\s*:\s*|:\s+)|\s--?[\w-]*(?:{_NAMES})\s+)"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s;&|,}]+)""",
    re.IGNORECASE,
)
"""`password=x`, `"password": "x"`, `password: x`, `--password x`; a `:` alone stands in names of images, too."""
_DATABASE_LOGIN = re.compile(r"(\b(?:mysql|mariadb)\S*\b[^;&|]*?\s-p)(?=\S)(?!\$)\S+")
_VARIABLE = re.compile(r"[\"']?\$[({]?\w")
_ENVIRONMENT = frozenset({"env", "environment", "buildargs"})


def is_secret_name(name: str) -> bool:
    """Whether what stands under such a name (of a key, of a variable) is likely a secret itself."""
    return _SECRET_NAME.search(name) is not None


def shown(node: Node) -> str:
    """A value in one line of at most LENGTH signs; values of variables, and whatever is called a password, hidden."""
    node = followed(node)
    if isinstance(node, Scalar):
        return _shown_scalar(node)
    if sum(1 for _ in zip(_nodes(node), range(_MOST_VALUES + 10), strict=False)) > _MOST_VALUES:
        return "{...}" if isinstance(node, Map) else "[...]"
    return printable(json.dumps(without_secrets(data_of(node)), ensure_ascii=False, separators=(",", ":")), LENGTH)


def _shown_scalar(node: Scalar) -> str:
    if node.is_null:
        return "null"
    if not node.value.strip():
        return f"'{node.value}'"
    return HIDDEN if _is_secret_scalar(node) else printable(_text_without_secrets(node.value), LENGTH)


def _is_secret_scalar(node: Scalar) -> bool:
    """Whether it stands under a name that says so, or is the value of a variable."""
    above = node.parent
    if not isinstance(above, Map):
        return False
    name = next((text_of(key) for key, value in zip(above.keys, above.values, strict=True) if value is node), "")
    if name == "value" and above.has("name"):
        holder = _key_above(above)
        return holder.lower() in _ENVIRONMENT or is_secret_name(above.text("name"))
    return is_secret_name(name) and not _VARIABLE.match(node.value)


def _key_above(node: Node) -> str:
    """The key of the list that a mapping is an item of."""
    seq = node.parent
    if isinstance(seq, Seq) and isinstance(seq.parent, Map):
        above = seq.parent
        return next((text_of(key) for key, value in zip(above.keys, above.values, strict=True) if value is seq), "")
    return ""


def without_secrets(data: Any, name: str = "") -> Any:
    """Plain data, the same but for secrets: HIDDEN stands there.

    `name` is the key that it stands under.
    """
    if isinstance(data, dict):
        is_pair = "name" in data and "value" in data
        return {
            key: HIDDEN if is_pair and key == "value" and value else without_secrets(value, key)
            for key, value in data.items()
        }
    if isinstance(data, list):
        if name.lower() in _ENVIRONMENT:
            data = [re.sub(r"(?s)=.+", f"={HIDDEN}", each) if isinstance(each, str) else each for each in data]
        texts = iter(_words_without_secrets([each for each in data if isinstance(each, str)]))
        return [next(texts) if isinstance(each, str) else without_secrets(each) for each in data]
    if isinstance(data, str):
        return HIDDEN if is_secret_name(name) and not _VARIABLE.match(data) else _text_without_secrets(data)
    return data


def holds_secret(data: Any, name: str = "") -> bool:
    """Whether plain data has a text under a name that says it is a secret, or a variable of such a name."""
    if isinstance(data, dict):
        own = str(data.get("name", ""))
        is_variable = isinstance(data.get("value"), str) and is_secret_name(own) and bool(data["value"])
        return is_variable or any(holds_secret(value, str(key)) for key, value in data.items())
    if isinstance(data, list):
        return any(holds_secret(each) for each in data)
    return isinstance(data, str) and bool(data) and is_secret_name(name) and not _VARIABLE.match(data)


def command_shown(words: Sequence[str]) -> str:
    """A command in one line, without what it names as passwords."""
    return printable(" ".join(_words_without_secrets(words)), LENGTH)


def _words_without_secrets(words: Sequence[str]) -> Iterator[str]:
    """Arguments of a command: the one behind `--password` is hidden, and what stands in each."""
    before = ""
    for word in words:
        is_value = before.startswith("-") and "=" not in before and is_secret_name(before)
        yield HIDDEN if is_value and not _VARIABLE.match(word) else _text_without_secrets(word)
        before = word


def _text_without_secrets(text: str) -> str:
    if text[:1] in ("{", "[") and '"value"' in text:
        return "{...}"
    text = _DATABASE_LOGIN.sub(rf"\1{HIDDEN}", text) if " -p" in text else text
    if not _ANY_NAME.search(text):
        return text
    return _SECRET_IN_TEXT.sub(
        lambda found: found[0] if _VARIABLE.match(found["value"]) else f"{found['name']}{HIDDEN}", text
    )


def _nodes(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        here = followed(waiting.pop())
        yield here
        if isinstance(here, Map):
            waiting += here.values
        elif isinstance(here, Seq):
            waiting += here.nodes


def secret_texts(places: Iterable[Node]) -> Iterator[str]:
    """The lines of every text below some values, as a diff would show them; those of three signs and less are none."""
    for place in places:
        for node in _nodes(place):
            if isinstance(node, Scalar):
                yield from (line.strip() for line in node.value.splitlines() if len(line.strip()) > 3)
