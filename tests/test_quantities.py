"""Sizes, times and counts: what people write is read exactly, and what they read is rounded well."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migrate.quantities import (
    count,
    format_duration,
    format_size,
    kubernetes_quantity,
    parse_duration,
    parse_rate,
    parse_size,
    quoted,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1024", 1024), ("10B", 10), ("1k", 1000), ("1kB", 1000), ("1Ki", 1024), ("16MiB", 16 * 2**20),
        ("16 MiB", 16 * 2**20), (" 5Gi ", 5 * 2**30), ("10GB", 10**10), ("10gb", 10**10), ("2T", 2 * 10**12),
        ("1.5kB", 1500), ("0.1GB", 10**8), ("1.0001", 1), ("9007199254740993", 9007199254740993),
    ],
)  # fmt: skip
def test_sizes_are_read_exactly(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1e3", "1,5GB", "16 potatoes", "1..5k", "0x10", "inf", "nan", "٣kB", "1k 2k", "9" * 400]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size such as 16MiB or 5GB$"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("0.5s", 0.5), (" 1d ", 86400), ("0s", 0),
        ("366d", 366 * 86400),
    ],
)  # fmt: skip
def test_durations_are_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "10 m", "2 hours", "-1s", "1:30", "h", "1w", "1H", "٣s", "9" * 400 + "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration such as 90s, 10m or 2h$"):
        parse_duration(text)


def test_more_than_a_year_is_refused() -> None:
    words = "'367d' is longer than a year: write a shorter time, such as 90s, 10m or 2h"
    with pytest.raises(ValueError, match=words):
        parse_duration("367d")


@given(st.text())
@example("1" * 5000 + "TiB")
@example("1s" * 5000)
def test_garbage_is_refused_and_never_anything_else(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert len(str(error)) < 250


@given(st.integers(0, 10**15 - 1), st.sampled_from(["", "B", "kB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB"]))
def test_a_bigger_number_is_a_bigger_size(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") >= number
    assert parse_size(f"{number}{unit}") == number * parse_size(f"1{unit}")


@given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 9999))
def test_the_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1, "1 B"), (999, "999 B"), (999.6, "1.0 kB"), (1000, "1.0 kB"), (1500, "1.5 kB"),
        (99_949, "99.9 kB"), (99_950, "100 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"), (16 * 2**20, "16.8 MB"),
        (1_500_000_000, "1.5 GB"), (999_500_000_000, "1.0 TB"), (12_345_600_000_000, "12.3 TB"),
    ],
)  # fmt: skip
def test_sizes_are_written_with_three_digits(size: float, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**15 - 1))
def test_a_written_size_reads_back_as_nearly_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06, abs=0.5)


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_written_sizes_never_have_four_digits_before_the_point(one: int, other: int) -> None:
    smaller, bigger = sorted((one, other))
    assert len(format_size(min(bigger, 10**14)).split()[0].partition(".")[0]) <= 3
    assert parse_size(format_size(smaller)) <= parse_size(format_size(bigger))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (12.4, "12 s"), (59.4, "59 s"),
        (59.6, "1 min 0 s"), (200, "3 min 20 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min"), (360_000, "100 h 0 min"),
    ],
)  # fmt: skip
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "repository", "0 repositories"), (1, "repository", "1 repository"), (2, "tag", "2 tags"),
        (3, "day", "3 days"), (12_345, "image", "12,345 images"), (1, "image", "1 image"),
    ],
)  # fmt: skip
def test_counts_agree_with_their_noun(number: int, noun: str, text: str) -> None:
    assert count(number, noun) == text


@given(st.text())
def test_a_quotation_is_one_short_printable_line(text: str) -> None:
    assert quoted(text).isprintable()
    assert len(quoted(text)) <= 100


@given(st.text(alphabet="abc/:.-", max_size=98))
def test_a_short_quotation_is_whole(text: str) -> None:
    assert quoted(text) == f"'{text}'"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1024", 1024), ("1e3", 1000), ("1E3", 1000), ("3000m", 3), ("1m", 1), ("1.0e2", 100), (".5k", 500),
        ("+1k", 1000), ("-1k", -1000), ("5.", 5), ("1E", 10**18), ("1Ei", 2**60), ("2Pi", 2**51), ("1.5Gi", 3 * 2**29),
        ("1e-3", 1), ("12345678901234567890", 12345678901234567890),
    ],
)  # fmt: skip
def test_quantities_are_those_of_kubernetes(text: str, size: int) -> None:
    assert kubernetes_quantity(text) == size


@pytest.mark.parametrize(
    "text", ["", ".", "k", "+", "1K", "1ki", "1KB", "1e", "1e3k", "1 k", " 1", "1..2", "inf", "None", "1e999"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        kubernetes_quantity(text)


@given(st.integers(0, 10**12), st.sampled_from(["Ki", "Mi", "Gi", "Ti"]))
def test_quantities_and_sizes_agree_where_both_are_written_so(number: int, unit: str) -> None:
    assert kubernetes_quantity(f"{number}{unit}") == parse_size(f"{number}{unit}")


@given(st.text() | st.from_regex(r"[+-]?[0-9.]*([eE][0-9]*|[a-zA-Z]*)", fullmatch=True))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(kubernetes_quantity(text), int)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50MB", 50_000_000), ("50MB/s", 50_000_000), ("400Mbit", 50_000_000), ("400Mbit/s", 50_000_000),
     ("1Mibit", 2**17), ("1000", 1000), ("8bit", 1), (" 2 MB/s ", 2_000_000)],
)  # fmt: skip
def test_rates_are_bytes_a_second_or_bits(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "/s", "bit", "fast", "50MB/h", "50MBs", "-1MB", "10Mbit/s/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate such as 50MB"):
        parse_rate(text)
