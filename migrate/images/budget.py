"""How many bytes a run may send: what is begun has its share set aside, so that no more than that is sent."""

import heapq
import threading


class Budget:
    """Bytes that may be sent, and the images that wait for some of them. Safe to use from many threads.

    Args:
        limit: bytes; 0 for no limit.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._spent = 0
        self._set_aside: dict[int, int] = {}
        self._moved: dict[int, int] = {}
        self._waiting: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    def take(self, job: int, expected: int) -> bool:
        """Set bytes aside for a job that is to begin; False where not so many are left: then it waits."""
        with self._lock:
            left = self.limit - self._spent - sum(self._set_aside.values())
            if self.limit and expected > left:
                heapq.heappush(self._waiting, (expected, job))
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

    def again(self, most: int) -> list[int]:
        """Some jobs that wait, those that need least first, to be asked for again: they may need less by now."""
        with self._lock:
            return [heapq.heappop(self._waiting)[1] for _ in range(min(most, len(self._waiting)))]

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def least(self) -> int:
        """What the smallest of the jobs that wait needs, as far as is known; 0 where none waits."""
        return self._waiting[0][0] if self._waiting else 0
