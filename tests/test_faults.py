"""Nothing wrong arrives and nothing is called copied that is not, whatever breaks: as docs/reliability.md has it."""

from collections.abc import Iterator

import page
import pytest
from fault_table import ALWAYS, CROWD, KINDS, ONCE, PHASES, Lab, cell, check, ending, lab
from pipeline import PROGRAM
from registrylab.faults import FAULTS

TABLE_VERSION = "1.9."
"""The tables are those of Debian 12's skopeo; with another one the promises are checked, and not each cell."""
SECTIONS = [*(f"faults, {kind}" for kind in KINDS), "faults, sixteen"]
GROUPS = (
    "token",
    "source manifest",
    "source blob",
    "blob check",
    "mount",
    "upload",
    "commit",
    "manifest put",
    "target tag",
)
OF_EACH_CLASS = (
    "401", "403", "404", "429, Retry-After", "503", "reset", "truncated", "flipped byte", "silent", "login page",
    "wrong content type", "answer lost",
)  # fmt: skip


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with lab() as found:
        yield found


@pytest.fixture(scope="module")
def crowd() -> Iterator[Lab]:
    with lab(CROWD) as found:
        yield found


@pytest.mark.parametrize("name", SECTIONS)
def test_the_tables_have_every_fault_and_phase(name: str) -> None:
    found = page.rows(page.section(name))
    assert list(found) == list(FAULTS)
    for fault, cells in found.items():
        assert list(cells) == list(PHASES), fault
        assert all(cells.values()), fault
        assert "unknown" not in {word.strip(" !") for cell in cells.values() for word in cell.split(",")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(len(OF_EACH_CLASS)))
def test_what_comes_of_a_fault_is_as_documented(made: Lab, number: int, kind: str) -> None:
    """Each sort of fault for each way of an image, each time in another phase."""
    fault = OF_EACH_CLASS[number]
    turn = list(KINDS).index(kind) * 2
    for phase in (GROUPS[(number + turn) % len(GROUPS)], GROUPS[(number + turn + 4) % len(GROUPS)]):
        found = cell(made, fault, phase, [kind])
        if PROGRAM.version.startswith(TABLE_VERSION):
            assert found == page.rows(page.section(f"faults, {kind}"))[fault][phase], (fault, phase)


@pytest.mark.parametrize(("fault", "phase"), [("503", "upload"), ("reset", "source blob"), ("answer lost", "commit")])
def test_sixteen_workers_break_no_promise(crowd: Lab, fault: str, phase: str) -> None:
    kinds = ([*KINDS] * CROWD)[:CROWD]
    once, always = (ending(crowd, fault, phase, times, kinds, CROWD) for times in (ONCE, ALWAYS))
    check(once)
    check(always)
    assert not any(once.failures)
    assert always.struck > once.struck == 1
