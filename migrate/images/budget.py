"""How many bytes a run may send: what is begun has its share set aside, so that no more than that is sent."""

import threading


class Budget:
    """Bytes that may be sent. Safe to use from many threads.

    Args:
        limit: bytes; 0 for no limit.

    Attributes:
        refused: how many images were not begun for it.
        smallest_refused: the bytes of the smallest of these.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.refused = 0
        self.smallest_refused = 0
        self._spent = 0
        self._set_aside: dict[int, int] = {}
        self._moved: dict[int, int] = {}
        self._lock = threading.Lock()

    def take(self, job: int, expected: int) -> bool:
        """Set bytes aside for a job that is to begin; False where not so many are left."""
        with self._lock:
            left = self.limit - self._spent - sum(self._set_aside.values())
            if self.limit and expected > left:
                self.refused += 1
                self.smallest_refused = min(expected, self.smallest_refused or expected)
                return False
            self._set_aside[job] = expected
            return True

    def moved(self, job: int, so_far: int) -> None:
        """A running job has sent so many bytes so far: what fails in the end was sent all the same."""
        with self._lock:
            self._moved[job] = so_far

    def settle(self, job: int, sent: int) -> None:
        """A job has ended; `sent` is what it says, if it says it."""
        with self._lock:
            self._set_aside.pop(job, None)
            self._spent += max(sent, self._moved.pop(job, 0))
