"""One module per command: parse, call, print, exit code. No decisions about images here."""

import gc
import os
import signal
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line; a signal that comes while everything is being loaded ends it without a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    gc.disable()  # what is loaded stays: nothing to collect
    from migrate.cli.main import main as run

    run()


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(_INTERRUPTED)
