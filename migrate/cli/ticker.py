"""Words now and then, so that whoever waits knows that work goes on, also where nothing ends for an hour."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from migrate.cli.options import say

SECONDS = 30.0


@contextmanager
def now_and_then(words: Callable[[], str]) -> Iterator[None]:
    """Say how far it is, every half minute, in a thread of its own."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(SECONDS):
            say(words())

    thread = threading.Thread(target=tick, name="now and then", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
