"""Registries that mean ill: nothing hangs, fills the memory, reaches the terminal raw, or arrives wrong."""

import resource
import time
from collections.abc import Iterator

import pytest
from fault_table import ALWAYS, PHASES, Lab, check, ending, lab
from registrylab.faults import HOSTILE

KINDS = ("link", "carry", "schema 1", "linked index")
SECONDS, MEGABYTES = 60, 250


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with lab(len(KINDS)) as found:
        yield found


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("evil", HOSTILE)
def test_no_answer_does_harm(made: Lab, evil: str, phase: str) -> None:
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = ending(made, evil, phase, ALWAYS, KINDS, len(KINDS))
    check(found)
    assert time.monotonic() - begun < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1000
    for failure in filter(None, found.failures):
        words = str(failure)
        assert words.isprintable(), words
        assert len(words) < 1000
