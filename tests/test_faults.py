"""Nothing wrong arrives and nothing is called copied that is not, whatever breaks: the table of docs/faults.md."""

from collections.abc import Iterator

import pytest
from fault_table import ALWAYS, ONCE, PHASES, Lab, check, documented, ending, lab, row
from pipeline import PROGRAM
from registrylab.faults import FAULTS

TABLE_VERSION = "1.9."
"""The table is that of Debian 12's skopeo; with another one the promises are checked, and not each cell."""


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with lab() as found:
        yield found


def test_the_table_has_every_fault() -> None:
    assert list(documented()) == list(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_comes_of_a_fault_in_each_phase_is_as_documented(made: Lab, fault: str) -> None:
    found = row(made, fault)
    if PROGRAM.version.startswith(TABLE_VERSION):
        assert dict(zip(PHASES, found, strict=True)) == dict(zip(PHASES, documented()[fault], strict=True))


WITHOUT_SKOPEO = (
    "401",
    "404",
    "502",
    "reset within the body",
    "truncated",
    "flipped byte",
    "login page",
    "answer lost",
)


@pytest.mark.parametrize("image", ["app", "old"])
@pytest.mark.parametrize("phase", ["source blob", "mount", "commit"])
@pytest.mark.parametrize("fault", WITHOUT_SKOPEO)
def test_what_is_streamed_without_skopeo_outlives_a_fault_and_is_never_wrong(
    made: Lab, fault: str, phase: str, image: str
) -> None:
    once, always = (ending(made, fault, phase, times, 2**24, image) for times in (ONCE, ALWAYS))
    check(once)
    check(always)
    assert once.failure is None
    assert once.struck == 1
    assert always.struck > 0
