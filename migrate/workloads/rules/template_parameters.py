"""What a Template's parameters tell the rules. Values are looked up, never put in."""

import re
from collections.abc import Callable

from migrate.workloads.documents import Object
from migrate.workloads.engine import Editor
from migrate.workloads.nodes import Map

_ADDED = "REWRITE_NAMESPACE"
_OWN_NAMES = ("NAMESPACE", "PROJECT_NAME", "PROJECT", _ADDED)


def parameter(found: Object, name: str) -> Map | None:
    """The parameter of that name, of the Template an object is in."""
    template = found.template
    if template is None:
        return None
    return next((each for each in template.root.maps("parameters") if each.text("name") == name), None)


def default_of(found: Object, name: str) -> str:
    """A parameter's default; empty where it has none."""
    known = parameter(found, name)
    return known.text("value") if known is not None else ""


def with_defaults(found: Object, text: str) -> str:
    """A text with the defaults of its parameters in it; those without stay."""
    return re.sub(r"\$\{\{?(\w+)\}?\}", lambda each: default_of(found, each[1]) or each[0], text)


def change_default(it: Editor, found: Object, text: str, changed: Callable[[str], str], words: str = "") -> None:
    """Give the parameter that a whole text is (`${X}`, `${{X}}`) another default."""
    whole = re.fullmatch(r"\$\{\{?(\w+)\}?\}", text.strip())
    known = parameter(found, whole[1]) if whole else None
    value = known.scalar("value") if known is not None else None
    if value is not None:
        it.change(value, changed(value.value), words=words)


def own_project(it: Editor, found: Object) -> str:
    """The target project, as it is to stand in an image's name: in a Template a parameter, made where there is none."""
    if found.template is None:
        return it.context.project
    for name in _OWN_NAMES:
        known = parameter(found, name)
        is_set = known is not None and (known.has("value") or known.text("required") == "true")
        own = ("", it.context.project, *it.context.own_sources)
        if is_set and (name == _ADDED or default_of(found, name) in own):
            return f"${{{name}}}"
    words = "The project that this Template is used in"
    new = {"name": _ADDED, "description": words, "value": it.context.project}
    words = f"a Template may be used in any project; the default is {it.context.project}"
    it.add_item(found.template.root, "parameters", new, words=words)
    return f"${{{_ADDED}}}"
