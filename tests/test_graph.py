"""The blobs of a plan: each counted once, however many tags need it."""

from hypothesis import given
from hypothesis import strategies as st

from migrate.images.formats import Descriptor
from migrate.images.graph import graph_of
from migrate.reference import Reference, Repository

SIZES = {"a": 5, "b": 7, "c": 1000, "d": -1, "e": 0}
TAGS = st.dictionaries(
    st.tuples(st.sampled_from("xyz"), st.sampled_from("12345")), st.sets(st.sampled_from("abcde")), max_size=12
)
HELD = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from(["p/x", "p/q"])), max_size=4)


def needs(tags: dict[tuple[str, str], set[str]]) -> list[tuple[Reference, list[Descriptor]]]:
    return [
        (
            Repository("new", f"p/{name}").tagged(tag),
            [Descriptor("", digest, SIZES[digest]) for digest in sorted(blobs)],
        )
        for (name, tag), blobs in tags.items()
    ]


@given(TAGS, HELD, HELD)
def test_what_crosses_and_what_is_saved_add_up(
    tags: dict[tuple[str, str], set[str]], held: dict[str, set[str]], more: dict[str, set[str]]
) -> None:
    graph = graph_of(needs(tags), held, more)
    wanted = set().union(*tags.values())
    assert set(graph.blobs) == wanted
    assert set(graph.crossing) == {digest for digest in wanted if not held.get(digest) and not more.get(digest)}
    assert graph.total_bytes == sum(max(SIZES[digest], 0) for blobs in tags.values() for digest in blobs)
    assert graph.saved_bytes + graph.crossing_bytes == graph.total_bytes
    assert 0 <= graph.crossing_bytes <= graph.bytes <= max(graph.total_bytes, graph.bytes)
    for digest, blob in graph.blobs.items():
        assert [target.short for target in blob.needed_by] == [
            f"p/{n}:{t}" for (n, t), b in tags.items() if digest in b
        ]
        assert blob.held_in == held.get(digest, set()) | more.get(digest, set())
