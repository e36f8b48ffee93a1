"""Which tags a selector means: globs, version ranges, the newest so many. Pure."""

import operator
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from semver import Version

from migrate.quantities import quoted

_CLAUSE = re.compile(r"(>=|<=|==|!=|=|>|<)?\s*v?(\S+)")
_OPERATORS: dict[str, Callable[[Version, Version], bool]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt,
    "==": operator.eq, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip

Range = tuple[tuple[str, Version], ...]


def parse_version(tag: str) -> Version | None:
    """The version that a tag is (`1.4`, `v1.4.2`, `2.0.0-rc1`), or None."""
    try:
        return Version.parse(tag.removeprefix("v"), optional_minor_and_patch=True)
    except ValueError:
        return None


def parse_range(text: str) -> Range:
    """Read `>=1.2,<3`: clauses that must all hold.

    Raises:
        ValueError: a clause is not an operator and a version.
    """
    return tuple(_clause(part.strip()) for part in text.split(","))


def _clause(text: str) -> tuple[str, Version]:
    found = _CLAUSE.fullmatch(text)
    version = parse_version(found[2]) if found else None
    if not found or version is None:
        words = "is not a version condition such as >=1.2 or <3 (several are joined by commas)"
        raise ValueError(f"{quoted(text)} {words}")
    return found[1] or "==", version


def in_range(version: Version, conditions: Range) -> bool:
    """Whether a version meets every condition; `<3` does not mean 3.0.0-rc1."""
    return all(_holds(version, sign, bound) for sign, bound in conditions)


def _holds(version: Version, sign: str, bound: Version) -> bool:
    if sign == "<" and version.prerelease and not bound.prerelease:
        return version.finalize_version() < bound
    return _OPERATORS[sign](version, bound)


def matching(
    names: Iterable[str], include: Iterable[str] | None, exclude: Iterable[str] | None, semver: str | None
) -> list[str]:
    """The tags that pass the globs and the version range, in the order given."""
    conditions = parse_range(semver) if semver else None

    def passes(name: str) -> bool:
        if include is not None and not any(fnmatchcase(name, glob) for glob in include):
            return False
        if exclude is not None and any(fnmatchcase(name, glob) for glob in exclude):
            return False
        if conditions is None:
            return True
        version = parse_version(name)
        return version is not None and in_range(version, conditions)

    return [name for name in names if passes(name)]


def newest(names: list[str], count: int, created: Callable[[str], str]) -> list[str]:
    """The newest so many, in the order given: by version where every tag is one, else by their images' created time.

    Args:
        names: tags, each once.
        count: how many to keep.
        created: the RFC 3339 time of a tag's image; empty where it is unknown (oldest). Only asked when needed.
    """
    if len(names) <= count:
        return names
    versions = {name: parse_version(name) for name in names}
    if all(versions.values()):
        order = sorted(names, key=lambda name: (versions[name], name), reverse=True)
    else:
        order = sorted(names, key=lambda name: (_instant(created(name)), name), reverse=True)
    kept = set(order[:count])
    return [name for name in names if name in kept]


def _instant(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time; the oldest of all where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return float("-inf")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
