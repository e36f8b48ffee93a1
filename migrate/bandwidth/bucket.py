"""A budget of bytes a second that many connections share: a token bucket. Pure but for its clock."""

import time
from collections.abc import Callable

_BURST_SECONDS = 0.05
"""Unused budget is kept for so long: it makes up for a thread that wakes late, and is what may pass at once."""
_CHUNK_SECONDS = 0.02
"""Of the budget, in one chunk. Less, and a busy thread does not wake often enough; more, and many wait long in turn."""
_READ_AHEAD_SECONDS = 0.03
"""Of the budget, for each connection: enough that a link of some 50 ms is kept busy by one."""
_SMALLEST_READ_AHEAD, _LARGEST_READ_AHEAD = 16 * 1024, 4 * 2**20
_SMALLEST_CHUNK, _LARGEST_CHUNK = 1024, 256 * 1024


class Bucket:
    """Bytes that may pass a second. Pure but for its clock; for one thread.

    In any time of T seconds at most rate * T + burst bytes pass, and none waits longer than that takes.

    Args:
        rate: bytes a second.
        burst: bytes that may pass at once after a pause; none may ask for more at a time.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._kept = burst / rate
        self._spent_until = float("-inf")
        self._clock = clock

    def reserve(self, size: int) -> float:
        """The seconds after which these bytes may pass: those who ask first pass first."""
        now = self._clock()
        self._spent_until = max(self._spent_until, now - self._kept) + size / self._rate
        return max(self._spent_until - now, 0.0)


def chunk_size(rate: int) -> int:
    """How many bytes pass at a time. Pure."""
    return min(max(int(rate * _CHUNK_SECONDS), _SMALLEST_CHUNK), _LARGEST_CHUNK)


def burst_size(rate: int) -> int:
    """How many bytes may pass at once: a twentieth of a second's, and at least a chunk. Pure."""
    return max(int(rate * _BURST_SECONDS), chunk_size(rate))


def read_ahead(rate: int) -> int:
    """How many bytes of a connection may be on this machine before they may pass. Pure.

    They have crossed the link already, and count only later: with many connections that would be seconds of the rate.
    """
    return min(max(int(rate * _READ_AHEAD_SECONDS), _SMALLEST_READ_AHEAD), _LARGEST_READ_AHEAD)
