"""Nothing wrong arrives and nothing is called copied that is not, whatever breaks: the table of docs/faults.md."""

from collections.abc import Iterator

import pytest
from fault_table import PHASES, Lab, documented, lab, row
from registrylab.faults import FAULTS


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with lab() as found:
        yield found


def test_the_table_has_every_fault() -> None:
    assert list(documented()) == list(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_comes_of_a_fault_in_each_phase_is_as_documented(made: Lab, fault: str) -> None:
    assert dict(zip(PHASES, row(made, fault), strict=True)) == dict(zip(PHASES, documented()[fault], strict=True))
