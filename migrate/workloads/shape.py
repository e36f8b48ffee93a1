"""What a file says, as a flat stream: to compare what was written with what was meant."""

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from migrate.workloads.nodes import NULLS, Map, Node, Scalar, Seq
from migrate.workloads.parse import Loader
from migrate.workloads.scalars import resolves_to_text


def shape(nodes: Iterable[Node]) -> Iterator[tuple[str, str]]:
    """Trees as a flat stream: what comes in which order, each scalar's value, and whether it is a text."""
    waiting: list[Node | tuple[str, str]] = [*reversed([*nodes])]
    while waiting:
        here = waiting.pop()
        if isinstance(here, tuple):
            yield here
        elif isinstance(here, Map):
            yield "{", ""
            waiting.append(("}", ""))
            for key, value in zip(reversed(here.keys), reversed(here.values), strict=True):
                waiting += [value, key]
        elif isinstance(here, Seq):
            yield "[", ""
            waiting.append(("]", ""))
            waiting += reversed(here.nodes)
        elif isinstance(here, Scalar):
            yield _scalar_shape(here.value, is_plain=not here.is_text)
        else:
            yield "*", ""


def yaml_shape(text: str) -> Iterator[tuple[str, str]]:
    """The same stream, of a YAML text, without a tree."""
    event: Any
    for event in yaml.parse(text, Loader=Loader):
        kind = type(event)
        if kind is yaml.ScalarEvent:
            yield _scalar_shape(event.value, is_plain=not event.style and not event.tag)
        elif kind in _SIGNS:
            yield _SIGNS[kind], ""


_SIGNS = {
    yaml.MappingStartEvent: "{", yaml.MappingEndEvent: "}", yaml.SequenceStartEvent: "[", yaml.SequenceEndEvent: "]",
    yaml.AliasEvent: "*",
}  # fmt: skip


def _scalar_shape(value: str, *, is_plain: bool) -> tuple[str, str]:
    if is_plain and value in NULLS:
        return "null", ""
    return "text" if not is_plain or resolves_to_text(value) else "other", value
