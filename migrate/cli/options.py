"""Arguments and options that several commands share, and how results are printed."""

import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from migrate.errors import ExitCode, MigrateError, StoppedError, UsageError
from migrate.printable import harmless, harmless_json
from migrate.quantities import parse_duration

_WAIT_UNSEEN = 900.0
"""Seconds that an ended login is waited for where nobody sees it, in cron say."""


class OutputFormat(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


ManifestArgument = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The YAML file that says what to move.")]
AskedArgument = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="The YAML file that says what to move; or its state alone.")
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="PATH", help="Where the state is kept.  [default: state/<manifest>.db]"),
]
ProjectOption = Annotated[
    str, typer.Option("--project", metavar="P", help="Only this project, by its name at the source or at the target.")
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs",
        min=0,
        max=1024,
        metavar="N",
        help="Copies at a time, at most 1024.  [default: `transfer.jobs` of the manifest]",
        show_default=False,
    ),
]
WaitLoginOption = Annotated[
    str,
    typer.Option(
        "--wait-login",
        metavar="TIME",
        help="How long to wait for a new login when one ends, such as 2h; 0s for not at all."
        "  [default: until it comes, on a terminal; else 15m]",
        show_default=False,
    ),
]
FormatOption = Annotated[OutputFormat, typer.Option("--format", metavar="text|json", help="How results are printed.")]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Copy by the workers of a Dask cluster: its scheduler (tcp://..., tls://...), or its scheduler file.",
    ),
]
VerboseOption = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Say more; with -vv every request.", show_default=False)
]
LogFileOption = Annotated[
    Path | None,
    typer.Option(
        "--log-file", metavar="FILE", help="Also keep what is said and done in this file; it never exceeds 60 MB."
    ),
]

_SAID = logging.getLogger("said")
"""What people are told, for the log file: on stderr it stands anyway."""
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LOG_BYTES, _LOG_FILES = 10_000_000, 5


def set_up_logging(verbose: int, log_file: Path | None = None) -> None:
    """Log to stderr, and to a file that is begun again when it is full; the last ones are kept beside it.

    HTTP clients stay quiet at any level: their lines hold redirect addresses and cookies: secrets.

    Raises:
        UsageError: the file cannot be written.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(level)
    handlers: list[logging.Handler] = [console]
    _SAID.propagate = False
    if log_file:
        handlers.append(_file_handler(log_file, min(level, logging.INFO)))
        _SAID.addHandler(handlers[-1])
        _SAID.setLevel(logging.INFO)
    logging.basicConfig(level=min(handler.level for handler in handlers), format=_LOG_FORMAT, handlers=handlers)
    for name in ("urllib3", "httpx2", "httpcore2", "lightkube", "stamina"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _file_handler(path: Path, level: int) -> logging.Handler:
    from logging.handlers import RotatingFileHandler  # takes longer to load than most commands need

    class Handler(RotatingFileHandler):
        def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's words
            """A full disk is said once; the work goes on without the file."""
            for logger in (_SAID, logging.getLogger()):
                logger.removeHandler(self)
            error = sys.exc_info()[1]
            with suppress(OSError):
                self.close()  # what it still holds would be a traceback at the end (Python 3.13)
            reason = error.strerror if isinstance(error, OSError) else error
            say(f"note: --log-file {path} cannot be written any more ({reason}): it ends here")

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = Handler(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--log-file {path}: it cannot be written: {error.strerror}", "name another file") from None
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    return handler


def login_wait(given: str) -> float:
    """Seconds to wait for a new login: what was given, else forever where somebody is there to read it.

    Raises:
        UsageError: that is no duration.
    """
    if not given:
        return math.inf if sys.stderr is not None and sys.stderr.isatty() else _WAIT_UNSEEN
    try:
        return parse_duration(given)
    except ValueError as error:
        raise UsageError(f"--wait-login: {error}", "give a time such as 90s, 15m or 2h; 0s for not at all") from None


def say(words: str = "") -> None:
    """Progress, warnings and headings: to stderr; where nobody can read them the work goes on."""
    words = harmless(words)
    _SAID.info("%s", words)
    if sys.stderr is not None:
        with suppress(OSError):
            print(words, file=sys.stderr, flush=True)


def result(lines: Iterable[str]) -> None:
    """Results: to stdout, a line each."""
    _out(harmless("".join(f"{line}\n" for line in lines)))


def json_line(document: Mapping[str, Any]) -> None:
    """One JSON document on one line of stdout."""
    _out(harmless_json(f"{json.dumps(document, ensure_ascii=False)}\n"))


@contextmanager
def told_as_events(*, as_json: bool) -> Iterator[None]:
    """An error that ends a command whose output is JSON lines is such a line, too."""
    try:
        yield
    except MigrateError as error:
        if as_json:
            words = {"error": error.what, "advice": error.advice or None, "exitCode": int(error.exit_code)}
            json_line({"event": "error", **words})
        raise
    except StoppedError:
        if as_json:
            json_line({"event": "error", "error": "stopped", "advice": None, "exitCode": ExitCode.INTERRUPTED})
        raise


def json_document(document: Mapping[str, Any]) -> None:
    """One JSON document, for people too."""
    _out(harmless_json(f"{json.dumps(document, ensure_ascii=False, indent=2)}\n"))


def file_to_stdout(text: str) -> None:
    """What may as well be written to a file: to stdout, in UTF-8 whatever the locale."""
    _out("", text.encode("utf-8"))


def _out(text: str, data: bytes = b"") -> None:
    """Print; where nobody can read any more (`rahti-migrate plan x.yaml | head`, a full disk) the work goes on."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            say(f"rahti-migrate: the output cannot be written: {error.strerror}")
