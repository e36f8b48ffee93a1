"""Ctrl-C and SIGTERM: the first asks to stop soon, the second stops now."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from migrate.errors import ExitCode

if TYPE_CHECKING:  # `--help` needs nothing of images
    from migrate.images.transfer import Stop


def stop_signals() -> list[signal.Signals]:
    """The signals that ask to stop; not those that somebody told to be ignored (nohup)."""
    wishes = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in wishes if signal.getsignal(number) is not signal.SIG_IGN]


drawn = threading.Event()
"""Set while bars are drawn, which say by themselves that the run is stopping: other words would be drawn over."""


@contextmanager
def stoppable(stop: "Stop", clean_up: Callable[[], None]) -> Iterator[None]:
    """The signals set `stop`; at the second one `clean_up` runs and the process ends at once.

    skopeo runs in process groups of its own and dies with us (see images/skopeo.py), so none is left behind.
    """
    asked: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            stop.now.set()
            clean_up()
            _say("stopped now; the state is good: run again to continue")
            os._exit(ExitCode.INTERRUPTED)
        stop.soon.set()
        if not drawn.is_set():
            _say(f"{signal.Signals(number).name}: {stopping(stop)}")

    before = {number: signal.signal(number, handle) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopping(stop: "Stop") -> str:
    """What is said while a run ends."""
    return f"stopping: running copies have {stop.grace:.0f} s to end; Ctrl-C (again) stops at once"


def _say(words: str) -> None:
    """Safe inside a signal handler: print() may be interrupted in the middle of itself."""
    with suppress(OSError, AttributeError, ValueError):
        os.write(sys.stderr.fileno(), f"\n{words}\n".encode())
