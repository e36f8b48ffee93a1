"""Which tags a selector means: globs, version ranges, the newest so many."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from semver import Version

from migrate.manifest.tags import in_range, matching, newest, parse_range, parse_version

RELEASES = st.builds(Version, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
VERSIONS = st.builds(
    Version, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.sampled_from([None, "rc1", "rc.2", "alpha"])
)
NAMES = st.lists(
    st.one_of(VERSIONS.map(str), VERSIONS.map(lambda v: f"v{v}"), st.sampled_from(["latest", "1.4", "2", "nightly"])),
    unique=True,
    max_size=12,
)
GLOBS = st.lists(st.sampled_from(["*", "1.*", "v*", "*-rc*", "latest", "[0-9]*", "?", "[!v]*"]), min_size=1, max_size=3)
SIGNS = st.sampled_from([">=", ">", "<=", "<", "=", "==", "!=", ""])
CONDITIONS = st.tuples(SIGNS, VERSIONS.map(str)).map("".join)
RANGES = st.lists(CONDITIONS, min_size=1, max_size=3).map(",".join)


def unasked(tag: str) -> str:
    raise AssertionError(f"the created time of {tag} was asked for")


@pytest.mark.parametrize(
    ("include", "exclude", "passed"),
    [
        (None, None, ["1.4", "1.5-rc1", "2.0", "latest", "Latest"]),
        (["1.*"], None, ["1.4", "1.5-rc1"]),
        (["1.*", "latest"], None, ["1.4", "1.5-rc1", "latest"]),
        (None, ["*-rc*"], ["1.4", "2.0", "latest", "Latest"]),
        (["1.*", "latest"], ["*-rc*"], ["1.4", "latest"]),
        (["[12].?"], None, ["1.4", "2.0"]),
        (["[!0-9]*"], None, ["latest", "Latest"]),
        (["latest"], ["latest"], []),
        (["1"], None, []),
        (["*"], ["*"], []),
    ],
)
def test_a_tag_passes_by_any_include_and_no_exclude(
    include: list[str] | None, exclude: list[str] | None, passed: list[str]
) -> None:
    assert matching(["1.4", "1.5-rc1", "2.0", "latest", "Latest"], include, exclude, None) == passed


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1", "1.0.0"),
        ("1.4", "1.4.0"),
        ("v1.4.2", "1.4.2"),
        ("2.0.0-rc1", "2.0.0-rc1"),
        ("2.0-rc1", "2.0.0-rc1"),
        ("20240131", "20240131.0.0"),
    ],
)
def test_versions_may_be_short_and_have_a_v(tag: str, version: str) -> None:
    assert str(parse_version(tag)) == version


@pytest.mark.parametrize("tag", ["latest", "", "v", "1.4.2.1", "01.2", "1.x", "V1", "vv1", "1.2-", "9" * 5000])
def test_other_tags_are_no_versions(tag: str) -> None:
    assert parse_version(tag) is None


@pytest.mark.parametrize(
    ("semver", "inside", "outside"),
    [
        (">=1.2,<3", ["1.2", "v1.2.0", "2.9.9", "2.0.0-rc1"], ["1.1.9", "3", "3.0.0"]),
        ("<3", ["2.9.9", "2.9.9-rc1"], ["3.0.0-rc1", "3.0.0-alpha", "3.0.0"]),
        ("<3.0.0-rc2", ["3.0.0-rc1", "2.9.9"], ["3.0.0-rc2", "3.0.0"]),
        ("<=3", ["3.0.0", "3.0.0-rc1"], ["3.0.1"]),
        (">=3", ["3.0.0", "3.0.1-rc1"], ["3.0.0-rc1", "2.9.9"]),
        (">2", ["2.0.1", "3.0.0-rc1"], ["2.0.0", "2.0.0-rc1"]),
        ("1.4", ["1.4", "1.4.0", "v1.4"], ["1.4.1", "1.4.0-rc1"]),
        ("=1.4", ["1.4.0"], ["1.4.1"]),
        ("==1.4", ["1.4.0"], ["1.4.1"]),
        (">=1,!=1.4", ["1.3", "1.4.1", "1.5"], ["1.4", "1.4.0"]),
        (" >= v1.2 , < v3 ", ["1.2", "2.9"], ["3.0"]),
        (">=1", [], ["latest", "1.x", "nightly-1"]),
    ],
)
def test_a_range_means_the_versions_that_meet_every_condition(
    semver: str, inside: list[str], outside: list[str]
) -> None:
    assert matching(inside + outside, None, None, semver) == inside


@pytest.mark.parametrize(
    ("semver", "wrong"),
    [
        ("", ""),
        (">=", ">="),
        (">=1.2,", ""),
        (">1 <2", ">1 <2"),
        ("^1.2", "^1.2"),
        ("~>1.2", "~>1.2"),
        (">=1.x", ">=1.x"),
        ("=>1", "=>1"),
        (">=1,latest", "latest"),
    ],
)
def test_a_wrong_condition_is_named(semver: str, wrong: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_range(semver)
    assert str(caught.value) == (
        f"'{wrong}' is not a version condition such as >=1.2 or <3 (several are joined by commas)"
    )


@given(st.text(alphabet="<>=!~^v0129.,-rcx \n", max_size=30))
@example(">=" + "9" * 5000)
def test_a_garbled_range_is_refused_and_never_anything_else(text: str) -> None:
    try:
        parse_range(text)
    except ValueError as error:
        assert "is not a version condition" in str(error)


@given(NAMES, st.none() | GLOBS, st.none() | GLOBS, st.none() | RANGES)
def test_what_passes_is_a_part_of_the_tags_in_their_order(
    names: list[str], include: list[str] | None, exclude: list[str] | None, semver: str | None
) -> None:
    passed = matching(names, include, exclude, semver)
    assert passed == [name for name in names if name in passed]
    assert matching(passed, include, exclude, semver) == passed


@given(NAMES, GLOBS, GLOBS)
def test_excluding_takes_away_what_including_would_add(names: list[str], one: list[str], other: list[str]) -> None:
    included = matching(names, one, None, None)
    assert set(matching(names, one, other, None)) == set(included) - set(matching(included, other, None, None))


@given(NAMES, RANGES, RANGES)
def test_two_ranges_joined_mean_what_both_mean(names: list[str], one: str, other: str) -> None:
    both = set(matching(names, None, None, one)) & set(matching(names, None, None, other))
    assert set(matching(names, None, None, f"{one},{other}")) == both


@given(RELEASES, RELEASES)
def test_for_releases_below_and_not_below_are_opposites(version: Version, bound: Version) -> None:
    assert in_range(version, parse_range(f"<{bound}")) != in_range(version, parse_range(f">={bound}"))


@given(VERSIONS, RELEASES)
def test_below_a_release_its_own_prereleases_are_not_meant(version: Version, bound: Version) -> None:
    assert in_range(version, parse_range(f"<{bound}")) == (version.finalize_version() < bound)


def test_versions_are_ordered_as_versions_without_asking_when_they_were_made() -> None:
    assert newest(["1.9", "1.10", "1.10.0-rc1", "v1.2"], 2, unasked) == ["1.10", "1.10.0-rc1"]


def test_few_enough_tags_are_all_kept_without_asking_when_they_were_made() -> None:
    assert newest(["latest", "nightly"], 2, unasked) == ["latest", "nightly"]


def test_other_tags_are_ordered_by_when_their_images_were_made() -> None:
    made = {"latest": "2024-02-01T00:00:00Z", "1.9": "2024-01-01T00:00:00Z", "old": "2019-01-01T00:00:00Z", "none": ""}
    assert newest(list(made), 2, made.__getitem__) == ["latest", "1.9"]
    assert newest(list(made), 3, made.__getitem__) == ["latest", "1.9", "old"]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("", "0001-01-01T00:00:00Z"),
        ("not a time", "1970-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5Z"),
        ("2024-01-01T00:00:00.12Z", "2024-01-01T00:00:00.123456789Z"),
        ("2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00", "2024-01-01T00:00:01Z"),
    ],
)
def test_times_are_compared_as_times_not_as_text(older: str, newer: str) -> None:
    assert newest(["x", "y"], 1, {"x": older, "y": newer}.__getitem__) == ["y"]
    assert newest(["x", "y"], 1, {"x": newer, "y": older}.__getitem__) == ["x"]


@given(NAMES, st.integers(1, 14))
def test_the_newest_are_so_many_of_the_tags_in_their_order(names: list[str], wanted: int) -> None:
    made = {name: f"20{index:02}-01-01T00:00:00Z" for index, name in enumerate(names)}
    kept = newest(names, wanted, made.__getitem__)
    assert len(kept) == min(wanted, len(names))
    assert kept == [name for name in names if name in kept]


@given(st.lists(VERSIONS.map(str), unique=True, max_size=10), st.integers(1, 10))
def test_no_version_left_out_is_newer_than_one_kept(names: list[str], wanted: int) -> None:
    kept = newest(names, wanted, unasked)
    left = set(names) - set(kept)
    assert all(Version.parse(a) < Version.parse(b) for a in left for b in kept)


@given(st.lists(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])), min_size=2, max_size=8))
def test_no_image_left_out_is_newer_than_one_kept(times: list[datetime]) -> None:
    made = {f"tag{index}": time for index, time in enumerate(times)}
    kept = newest(list(made), 1, lambda tag: made[tag].isoformat())
    assert made[kept[0]] == max(times)


@given(NAMES, st.integers(1, 6), st.integers(1, 6))
def test_the_newest_few_are_among_the_newest_many(names: list[str], one: int, other: int) -> None:
    made = {name: f"20{len(name):02}-01-01T00:00:00Z" for name in names}
    few, many = sorted((one, other))
    assert set(newest(names, few, made.__getitem__)) <= set(newest(names, many, made.__getitem__))
