"""An end to answers that drip. urllib3 waits for each byte again, so an answer that sends one now and then is never too
slow for it. Here the whole of an answer has a slowest pace, its head as well.
"""

import io
import time
from typing import Any

TOO_SLOW = "that was not all"
"""What the error says."""
_SLOWEST = 1024.0
"""Bytes a second below which an answer is given up, once its patience is used."""


class Watched:
    """A socket; counts what an answer has cost in waiting since the request's last byte was sent."""

    def __init__(self, sock: Any, patience: float) -> None:
        self._sock = sock
        self._patience = patience
        self._waited = self._received = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: Any) -> None:
        """Send some of a request; its answer may then take its time again."""
        self._waited = self._received = 0.0
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client reads answers from."""
        return io.BufferedReader(_Reader(self, self._sock.makefile("rb", buffering=0)), 64 * 1024)

    def count(self, seconds: float, size: int) -> None:
        """Some bytes came.

        Raises:
            TimeoutError: too slowly.
        """
        self._waited += seconds
        self._received += size
        if size and self._waited > self._patience + self._received / _SLOWEST:
            raise TimeoutError(f"{self._received:.0f} bytes came in {self._waited:.0f} s, and {TOO_SLOW}")


class _Reader(io.RawIOBase):
    def __init__(self, watched: Watched, raw: io.RawIOBase) -> None:
        self._watched = watched
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        started = time.monotonic()
        size = self._raw.readinto(buffer)
        self._watched.count(time.monotonic() - started, size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
