"""How a registry wants to be asked: its WWW-Authenticate headers (RFC 9110, 11.6.1). Pure."""

import re
from dataclasses import dataclass

SPOKEN = ("bearer", "basic")
"""The schemes that this tool speaks, the best first."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the word of RFC 9110, 5.6.2
_QUOTED = r'"(?P<quoted>(?:[^"\\]|\\.)*)"'
_BARE = r'(?P<bare>[^\s,"=][^\s,"]*)'
_FIELD = rf"(?<![^\s,])(?P<name>{_TOKEN})\s*=\s*(?:{_QUOTED}|{_BARE})"
_SCHEME = rf"(?:^|,)\s*(?P<scheme>{_TOKEN})(?=\s|,|$)(?!\s*=)"
_PART = re.compile(f"{_FIELD}|{_SCHEME}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to ask; `scheme` and the names of `fields` are in small letters."""

    scheme: str
    fields: dict[str, str]


def best_challenge(header: str) -> Challenge | None:
    """The challenge to answer: Bearer, else Basic, else (there is nothing to answer it with) the first; None of none.

    Args:
        header: the values of all WWW-Authenticate headers, joined by commas.
    """
    found = _challenges(header)
    spoken = (challenge for scheme in SPOKEN for challenge in found if challenge.scheme == scheme)
    return next(spoken, found[0] if found else None)


def _challenges(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    for part in _PART.finditer(header):
        name, quoted, bare, scheme = part.group("name", "quoted", "bare", "scheme")
        if scheme:
            found.append(Challenge(scheme.lower(), {}))
        elif found:
            found[-1].fields[name.lower()] = bare or re.sub(r"\\(.)", r"\1", quoted)
    return found
