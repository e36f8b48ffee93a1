"""A minute of the storm: what no kill may break. `make storm` makes hundreds."""

import page
import pytest
from conftest import Ends
from storm import storm

KILLS = 12


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_kill_breaks_a_promise(ends: Ends, seed: int) -> None:
    made = storm(ends, KILLS, seed)
    assert made.problems == []
    assert made.kills.total() >= KILLS


def test_the_page_tells_of_a_long_storm() -> None:
    killed = page.rows(page.section("storm"))
    assert int(killed["in all"]["times"]) >= 200
    assert int(killed["the registry, under a copy"]["times"]) > 0
    assert any(name.endswith("while it wrote its state") for name in killed)
    assert "promises broken: 0." in page.section("storm")
