"""What we depend on: the bounds that are tested, the versions that development uses."""

import re
import tomllib

from generated import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dask"]]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def bounds(requirements: list[str]) -> dict[str, str]:
    return dict(re.split(r">=|,", each)[:2] for each in requirements if ">=" in each)


def test_the_oldest_versions_are_those_that_are_tested() -> None:
    assert dict(PINNED.findall((ROOT / ".ci/lowest.txt").read_text())) == bounds(WANTED)


def test_the_lock_file_has_everything_with_hashes_and_names_no_host() -> None:
    text = (ROOT / ".ci/dev.lock").read_text()
    locked = {name.lower(): version for name, version in PINNED.findall(text)}
    wanted = bounds([*WANTED, *PROJECT["dependency-groups"]["dev"]])
    for name, low in wanted.items():
        assert numbers(locked[name.lower()]) >= numbers(low), name
    assert text.count("--hash=sha256:") >= len(locked)
    assert "://" not in text
