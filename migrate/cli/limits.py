"""The limits that a run may be given: time, bytes, bytes a second; and in which order it copies."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import typer

from migrate.cli.options import say
from migrate.errors import ExitCode, MigrateError, UsageError
from migrate.images.budget import Budget
from migrate.images.order import Order
from migrate.images.transfer import Stop
from migrate.quantities import format_size, parse_duration, parse_rate, parse_size

MaxDurationOption = Annotated[
    str,
    typer.Option(
        "--max-duration",
        metavar="TIME",
        help="Stop after this time, such as 6h or 90m, with exit code 5; run again to continue.",
        show_default=False,
    ),
]
MaxBytesOption = Annotated[
    str,
    typer.Option(
        "--max-bytes",
        metavar="SIZE",
        help="Stop before more than this is sent, such as 500GB, with exit code 5; run again to continue.",
        show_default=False,
    ),
]
RateOption = Annotated[
    str,
    typer.Option(
        "--bwlimit",
        metavar="RATE",
        help="Bytes a second at most in each direction, all workers together, such as 50MB.",
        show_default=False,
    ),
]
OrderOption = Annotated[
    Order,
    typer.Option(
        "--order",
        metavar="ORDER",
        help="What comes first: fastest (shortest total time), smallest, largest, in-use (what workloads name).",
    ),
]


_SLOWEST = 10_000
"""Bytes a second below which requests would wait longer than anybody waits for an answer."""


class LimitReachedError(MigrateError):
    """A limit ended the work before its end."""

    exit_code = ExitCode.LIMIT


@dataclass(frozen=True)
class Limits:
    """What a run was asked not to exceed; nothing where it was not asked.

    `seconds`, `bytes` and `rate` (bytes a second) are 0 for no limit; `given` is as it was typed; `began` is by
    time.monotonic.
    """

    seconds: float = 0.0
    bytes: int = 0
    rate: int = 0
    order: Order = Order.FASTEST
    given: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return bool(self.seconds) and time.monotonic() >= self.began + self.seconds

    @property
    def time_words(self) -> str:
        """The limit of time, as it was typed."""
        return f"--max-duration {self.given[self.given.index('--max-duration') + 1]}" if self.seconds else ""

    def check_time(self, done: str, again: str) -> None:
        """Look whether there is time left; `done` says how far the work is, `again` what to type to go on.

        Raises:
            LimitReachedError: there is none.
        """
        if self.is_over:
            raise LimitReachedError(f"{self.time_words} is over; {done}", f"to continue: {again}")

    @contextmanager
    def watching(self, stop: Stop) -> Iterator[None]:
        """Ask to stop soon when the time is over."""
        if not self.seconds:
            yield
            return
        timer = threading.Timer(max(self.began + self.seconds - time.monotonic(), 0), self._end, [stop])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self, stop: Stop) -> None:
        if not stop.soon.is_set():
            stop.limit = self.time_words
            say(f"{self.time_words} is over: nothing new begins, running copies may end for {stop.grace:.0f} s")
            stop.soon.set()


def limits(max_duration: str = "", max_bytes: str = "", rate: str = "", order: Order = Order.FASTEST) -> Limits:
    """The limits, of what was typed.

    Raises:
        UsageError: that is no time, no size, or no rate.
    """
    typed = {"--max-duration": max_duration, "--max-bytes": max_bytes, "--bwlimit": rate}
    given = [part for option, value in typed.items() if value for part in (option, value)]
    if order is not Order.FASTEST:
        given += ["--order", str(order)]
    return Limits(
        _number("--max-duration", max_duration, parse_duration, "give a time such as 90m or 6h"),
        int(_number("--max-bytes", max_bytes, parse_size, "give a size such as 500GB")),
        int(_number("--bwlimit", rate, parse_rate, "give bytes a second such as 50MB, or 400Mbit", _SLOWEST)),
        order,
        tuple(given),
    )


def _number(option: str, value: str, parse: Callable[[str], float], advice: str, least: int = 1) -> float:
    """What an option says, and not less than what makes sense; 0 where it was not given."""
    if not value:
        return 0.0
    try:
        number = parse(value)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", advice) from None
    if number < least:
        more = f"give at least {format_size(least)}, or " if least > 1 else ""
        raise UsageError(f"{option} {value}: nothing can be done in that", f"{more}leave it out for no limit")
    return number


def reached(stop: Stop, budget: Budget, limits: Limits) -> str:
    """Which limit has kept something from being done, in words; empty for none, or where a person stopped it before."""
    if stop.limit or stop.soon.is_set():
        return stop.limit
    return f"--max-bytes {format_size(limits.bytes)}" if budget.waiting else ""
