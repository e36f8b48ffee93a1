"""Times as they are stored: RFC 3339 in UTC, milliseconds."""

import time
from datetime import UTC, datetime


def now() -> str:
    """The time of now as it is stored."""
    return stamp(time.time())


def stamp(seconds: float) -> str:
    """A time as it is stored, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
