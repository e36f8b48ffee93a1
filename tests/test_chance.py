"""A storm of faults by chance on both ends: run again until done; nothing wrong, nothing false on the way."""

import sqlite3

import pytest
from conftest import Ends
from registrylab.client import LabClient, missing_from
from registrylab.faults import FAULTS, Rule, faulty
from registrylab.population import fill_demo

STORM = [fault for fault in FAULTS if fault not in ("refused", "silent", "slow")]
RUNS = 12


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_only_costs_time(ends: Ends, source: LabClient, target: LabClient, seed: int) -> None:
    wanted = fill_demo(source, scale=0.01)
    rules = [Rule(fault, chance=0.006) for fault in STORM]
    with (
        faulty(ends.source.host, *rules, seed=seed) as (near, at_source),
        faulty(ends.target.host, *rules, seed=seed + 100) as (far, at_target),
    ):
        manifest = ends.through(ends.manifest("images: [shop, tools]"), source=near.host, target=far.host)
        codes = []
        for _ in range(RUNS):
            ran = ends.run("copy", manifest, "--jobs", "4")
            codes.append(ran.code)
            nothing_false(ends, target, far.host)
            if codes[-1] == 0:
                break
        assert codes[-1] == 0, codes
        assert at_source.struck.total() + at_target.struck.total() > 5
        at_source.rules = at_target.rules = []
        ran = ends.run("verify", manifest, "--deep")
    assert ran.code == 0, ran.text
    assert f"{wanted} tags verified: {wanted} equal" in ran.out


def nothing_false(ends: Ends, target: LabClient, host: str) -> None:
    """What the state calls done is there whole, and nothing stands at the target that is not what the source has."""
    state = ends.folder / "state/m.db"
    if not state.exists():
        return
    with sqlite3.connect(state) as db:
        done = db.execute("select target, target_digest from copies where status in ('done', 'skipped')").fetchall()
        expected = set(db.execute("select target, expected_digest from copies where expected_digest != ''").fetchall())
    there = target.images()
    for name, digest in done:
        short = name.removeprefix(f"{host}/")
        assert there[short] == digest
        assert missing_from(target, *short.rsplit(":", 1)) == []
    for name, digest in expected:
        assert there.get(name.removeprefix(f"{host}/"), digest) == digest
