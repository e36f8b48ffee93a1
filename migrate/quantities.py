"""Sizes and times as people write and read them, and quotations of what they wrote."""

import math
import re
from fractions import Fraction
from reprlib import Repr

_SIZE_UNITS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "ki": 2**10, "kib": 2**10, "mi": 2**20, "mib": 2**20, "gi": 2**30, "gib": 2**30, "ti": 2**40, "tib": 2**40,
}  # fmt: skip
_KUBERNETES_UNITS: dict[str, int | Fraction] = {
    "": 1, "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_KUBERNETES = re.compile(
    r"([+-]?)(?=\.?[0-9])([0-9]{0,40})(?:\.([0-9]{0,40}))?(?:[eE]([+-]?[0-9]{1,2})|([a-zA-Z]{0,2}))"
)
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,18})?)"
_SIZE = re.compile(rf"{_NUMBER}\s*([a-zA-Z]*)")
_DURATION_PART = re.compile(rf"{_NUMBER}([smhd])")
_DURATION = re.compile(rf"(?:{_NUMBER}[smhd])+")
_MAX_SECONDS = 366 * 86400
_QUOTE = Repr()
_QUOTE.maxstring = 100


def parse_size(text: str) -> int:
    """Whole bytes of `16MiB`, `5Gi`, `10GB` or `1024`; parts of a byte are cut off.

    Raises:
        ValueError: the text is none of these.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or found[2].lower() not in _SIZE_UNITS:
        raise ValueError(f"{quoted(text)} is not a size such as 16MiB or 5GB")
    return int(Fraction(found[1]) * _SIZE_UNITS[found[2].lower()])


def parse_rate(text: str) -> int:
    """Whole bytes a second of `50MB`, `50MB/s`, `400Mbit` or `400Mbit/s`; bits are an eighth.

    Raises:
        ValueError: the text is none of these.
    """
    amount = text.strip().removesuffix("/s")
    bits = amount.removesuffix("bit")
    try:
        return parse_size(bits) // 8 if bits != amount else parse_size(amount)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a rate such as 50MB (bytes a second) or 400Mbit") from None


def kubernetes_quantity(text: str) -> int:
    """Whole bytes of a quantity as Kubernetes writes them: `5Gi`, `1e3`, `3000m`, `.5k`; parts of a byte count as one.

    Raises:
        ValueError: the text is none.
    """
    return math.ceil(exact_quantity(text))


def exact_quantity(text: str) -> Fraction:
    """A quantity as Kubernetes writes them, exactly: cores of `500m`, bytes of `5Gi`.

    Raises:
        ValueError: the text is none.
    """
    found = _KUBERNETES.fullmatch(text)
    if not found or (found[5] or "") not in _KUBERNETES_UNITS:
        raise ValueError(f"{quoted(text)} is not a quantity such as 5Gi, 1e9 or 500M")
    sign, whole, part, exponent, unit = found.groups(default="")
    number = Fraction(int(f"{whole}{part}"), 10 ** len(part))
    scale = Fraction(10) ** int(exponent) if exponent else _KUBERNETES_UNITS[unit]
    return number * scale * (-1 if sign == "-" else 1)


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `10m`, `2h` or `1h30m`.

    Raises:
        ValueError: the text is none of these, or means more than a year.
    """
    if not _DURATION.fullmatch(text.strip()):
        raise ValueError(f"{quoted(text)} is not a duration such as 90s, 10m or 2h")
    seconds = sum(float(n) * _DURATION_UNITS[unit] for n, unit in _DURATION_PART.findall(text))
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{quoted(text)} is longer than a year: write a shorter time, such as 90s, 10m or 2h")
    return seconds


def format_size(size: float) -> str:
    """`1.5 MB`: decimal units, as disks and links are sold."""
    if size < 999.5:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 99.95 else f"{size:.0f} {unit}"
    return f"{size / 1000:.1f} TB"


def format_duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


FEW = 10
"""So many projects are told of one by one; of more, in the middle of other things, only what needs a person."""


def count(number: int, noun: str) -> str:
    """`1 image`, `2 images`, `0 repositories`, `2 days`."""
    if number == 1:
        return f"1 {noun}"
    plural = re.sub(r"(?<![aeiou])y$", "ie", noun) + "s"
    return f"{number:,} {plural}"


def quoted(text: str) -> str:
    """Text as a message shows it: in quotes, in one line, and cut in the middle where it is long."""
    return _QUOTE.repr(text)
