"""Validation errors in words: what is wrong with a key, and what would be right. Pure."""

from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from migrate.manifest.schema import description, is_required, known_keys
from migrate.manifest.values import OTHER
from migrate.manifest.yaml_source import Loc, Problem, Source
from migrate.quantities import quoted

_NEEDED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}
_BESIDE_WORD = {"all": " or a list such as [linux/amd64]", "auto": " or a whole number"}
"""What else is right where one word is."""
_BESIDE_TYPE = {"platforms": "all", "jobs": "auto"}
"""Which text is right where another type is; any text for the other keys."""
_SECRET_PLACES = {"login", "api", "proveWith"}
"""What is written below these keys is not repeated in messages."""


def problem(error: ErrorDetails, source: Source) -> Problem:
    """One of pydantic's errors, placed in the file and said in words."""
    loc, missing = _real_loc(error, source.data)
    if error["type"] == "extra_forbidden":
        return _at_key(source, loc, _unknown_key(loc))
    if missing:
        place = source.place(loc)
        return Problem(place.line, place.column, _missing_key((*loc, missing)))
    place = source.place(loc)
    words = f"{_name(loc)}: {_value_words(error, loc, place.text)}"
    if error["loc"][-1] == "[key]":
        return _at_key(source, loc, words)
    return Problem(place.line, place.column, words)


def _at_key(source: Source, loc: Loc, words: str) -> Problem:
    place = source.key_place(loc)
    return Problem(place.line, place.column, words)


def _real_loc(error: ErrorDetails, data: Any) -> tuple[Loc, str]:
    """The error's place without the union tags that pydantic puts into it, and the key that is missing there."""
    loc: list[str | int] = []
    for step in error["loc"]:
        if isinstance(data, dict) and step in data:
            data = data[str(step)]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            continue
        loc.append(step)
    return tuple(loc), str(error["loc"][-1]) if error["type"] == "missing" else ""


def _name(loc: Loc) -> str:
    """`images[2].tags.newest`."""
    parts = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc]
    return "".join(parts).removeprefix(".")


def _unknown_key(loc: Loc) -> str:
    key, known = str(loc[-1]), known_keys(loc[:-1])
    near = get_close_matches(key.lower(), {name.lower(): name for name in known}, n=1)
    meant = next((name for name in known if near and name.lower() == near[0]), "")
    place = f" in {_name(loc[:-1])}" if loc[:-1] else ""
    guess = f"did you mean `{meant}`? " if meant else ""
    return f"unknown key `{key}`{place}: {guess}allowed here are {', '.join(known)}"


def _missing_key(loc: Loc) -> str:
    place = f" in {_name(loc[:-1])}" if loc[:-1] else ""
    return f"`{loc[-1]}` is missing{place}: {description(loc)}"


def _value_words(error: ErrorDetails, loc: Loc, text: str) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "wrong":
        return str(context["words"])
    if kind == "literal_error":
        return _not_among(context["expected"].replace("'", ""), error["input"], loc, text)
    if kind == "string_too_short":
        return _empty("text is needed", loc)
    if kind == "too_short":
        return _empty("write what belongs here", loc)
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return f"{text} is out of range: it must be {bound}"
    needed = context.get("needed") or _NEEDED.get(kind)
    return _wrong_type(needed, error, loc, text) if needed else error["msg"]


def _not_among(expected: str, value: Any, loc: Loc, text: str) -> str:
    right = expected + _BESIDE_WORD.get(expected, "")
    return _empty(f"write {right}", loc) if value is None else f"{_found(value, text)} is not right here: write {right}"


def _wrong_type(needed: str, error: ErrorDetails, loc: Loc, text: str) -> str:
    value, hidden = error["input"], not _SECRET_PLACES.isdisjoint(loc)
    found = _found(value, text)
    if error["loc"][-1] == OTHER:
        needed = f"{_BESIDE_TYPE.get(str(loc[-1]), 'text')} or {needed}"
    if value is None:
        return _empty(f"{needed} is needed", loc)
    if error["type"] == "string_type" and isinstance(value, bool | int | float):
        sort = "true or false" if isinstance(value, bool) else "a number"
        what, example = ("this", "") if hidden else (text, f", '{text}'")
        return f"{what} is {sort} to YAML, and text is needed: put it in quotes{example}"
    if hidden and not isinstance(value, dict | list):
        return f"{needed} is needed here, and a plain value was found"
    return f"{needed} is needed here, and {'the text ' if isinstance(value, str) else ''}{found} was found"


def _found(value: Any, text: str) -> str:
    if isinstance(value, dict | list):
        return "a mapping (key: value)" if isinstance(value, dict) else "a list"
    return quoted(text) if isinstance(value, str) else text


def _empty(needed: str, loc: Loc) -> str:
    optional = isinstance(loc[-1], str) and not is_required(loc)
    return f"this is empty: {needed}{', or leave the key out' if optional else ''}"
