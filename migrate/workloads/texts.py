"""Every text in an object, with the key that it stands under."""

from collections.abc import Iterator

from migrate.workloads.nodes import Map, Node, Scalar, Seq, text_of


def texts_of(root: Map) -> Iterator[tuple[Scalar, str]]:
    """Every scalar below an object that is a value, in the order of the file, and its nearest key; aliases once."""
    waiting: list[tuple[Node, str]] = [(root, "")]
    while waiting:
        here, name = waiting.pop()
        if isinstance(here, Scalar):
            if len(here.value) > 3:
                yield here, name
        elif isinstance(here, Map):
            entries = list(zip(here.keys, here.values, strict=True))
            waiting += [(value, text_of(key)) for key, value in reversed(entries)]
        elif isinstance(here, Seq):
            waiting += [(each, name) for each in reversed(here.nodes)]
