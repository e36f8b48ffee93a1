"""Validation errors in words: what is wrong with a key, and what would be right. Pure."""

from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from migrate.manifest.schema import description, known_keys
from migrate.manifest.yaml_source import Loc, Problem, Source

_NEEDED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}
_OTHERWISE = {"all": " or a list such as [linux/amd64]", "auto": " or a whole number"}
"""What else is right where the one word that is allowed stands beside another type."""


def problem(error: ErrorDetails, source: Source) -> Problem:
    """One of pydantic's errors, placed in the file and said in words."""
    loc, missing = _real_loc(error, source.data)
    if error["type"] == "extra_forbidden":
        place = source.key_place(loc)
        return Problem(place.line, place.column, _unknown_key(loc))
    place = source.place(loc)
    if missing:
        return Problem(place.line, place.column, _missing_key((*loc, missing)))
    name = f"{_name(loc)}: " if loc else ""
    return Problem(place.line, place.column, name + _value_words(error, place.text))


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
    return f"unknown key `{key}`{place}: {guess}known here are {', '.join(known)}"


def _missing_key(loc: Loc) -> str:
    place = f" in {_name(loc[:-1])}" if loc[:-1] else ""
    meaning = description(loc)
    return f"`{loc[-1]}` is missing{place}" + (f": {meaning}" if meaning else "")


def _value_words(error: ErrorDetails, text: str) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "wrong":
        return str(context["words"])
    if kind in _NEEDED:
        return _wrong_type(kind, error["input"], text)
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        return f"{text or 'this'!r} is not right here: {expected}{_OTHERWISE.get(expected, '')} is"
    if kind == "string_too_short":
        return "is empty: write what belongs here, or leave the key out"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        return f"{text} is out of range: it must be {'at least' if 'ge' in context else 'at most'} {bound}"
    return str(error["msg"])


def _wrong_type(kind: str, value: Any, text: str) -> str:
    needed = _NEEDED[kind]
    if kind == "model_type" and isinstance(value, bool | int | float):
        needed = "text or a mapping"
    if value is None:
        return f"is empty: {needed} is needed, or leave the key out"
    if kind == "string_type" and isinstance(value, bool | int | float):
        sort = "true or false" if isinstance(value, bool) else "a number"
        return f"{text} is {sort} to YAML, and text is needed: put it in quotes, '{text}'"
    found = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(text)
    return f"{needed} is needed here, and {found} was found"
