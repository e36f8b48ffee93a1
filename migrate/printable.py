"""Other people's words, made fit to be shown: one line, not endless, without secrets."""

import re

_ODD = r"\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
_UNPRINTABLE = re.compile(rf"[\x00-\x1f{_ODD}]+")
_HARMFUL = re.compile(rf"[\x00-\x08\x0b-\x1f{_ODD}]")
"""What does something to a terminal, or to a line; but for the ends of lines and tabs."""


_QUERY = re.compile(r"""(https?://[^\s"'?]+)\?[^\s"']*""")


_LOGIN = re.compile(r"(\w://[^/\s:@]*:)[^@\s/]+@")
"""The password in an address."""


_SECRET = re.compile(r"(?i)\b(basic|bearer)\s+[a-z0-9+/_.~=-]{8,}")
"""A login as it stands in a request; some servers give back what they were sent."""


def harmless(text: str) -> str:
    """Text of many lines that no terminal takes for a command: escape sequences, changes of direction become spaces."""
    return text if text.isprintable() else _HARMFUL.sub(" ", text)


def harmless_json(text: str) -> str:
    """JSON whose strings have what does something to a terminal as escapes (RFC 8259, section 7)."""
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def printable(text: str, limit: int = 500) -> str:
    """Somebody else's words on one line, not endless.

    Control characters (a registry may send escape sequences) and what no file or database can hold become spaces; the
    queries of addresses are cut off, for those of object stores hold signatures, and so are passwords in addresses.
    """
    clean = text if text.isascii() and text.isprintable() else _UNPRINTABLE.sub(" ", text)
    if "://" in clean:
        clean = _QUERY.sub(r"\1?...", _LOGIN.sub(r"\1...@", clean))
    if re.search("basic|bearer", clean, re.IGNORECASE):
        clean = _SECRET.sub(r"\1 ...", clean)
    clean = clean.strip()
    return clean if len(clean) <= limit else f"{clean[:limit]}..."
