"""When something began and ended, whatever is done to this machine's clock meanwhile."""

import time


class Clock:
    """Started when it is made; times are seconds since the epoch, and never go back."""

    def __init__(self) -> None:
        self.started = time.time()
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        """The time of now, by how long it has been."""
        return self.started + time.monotonic() - self._began
