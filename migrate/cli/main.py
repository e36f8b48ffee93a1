"""The entry point: which commands there are, and the one place where errors become words and exit codes."""

import logging
import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import click
import typer

from migrate import __version__
from migrate.cli import copy, demo, plan, run, schema, status, verify
from migrate.cli.interrupt import STOP_SIGNALS
from migrate.cli.options import say
from migrate.errors import ExitCode, MigrateError

log = logging.getLogger(__name__)

app = typer.Typer(
    name="rahti-migrate",
    help="Move the images of OpenShift 3.11 projects (Rahti 1) to OpenShift 4 (Rahti 2), as OCI, confirmed.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo.demo, plan.plan, copy.copy, verify.verify, run.run, status.status, schema.schema):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rahti-migrate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and exit with the code that docs/cli.md promises."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        code = _exit_code()
        sys.stdout.flush()
    except BrokenPipeError:  # `rahti-migrate plan x.yaml | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    if code == ExitCode.INTERRUPTED:
        sys.stderr.flush()
        os._exit(code)  # threads may still wait for a registry's answer; nothing of theirs is needed
    sys.exit(code)


class _StoppedError(BaseException):
    """A signal asked to stop. Not an Exception, so that nothing on the way takes it for a failure."""


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _StoppedError


def _exit_code() -> int:
    try:
        return int(app(standalone_mode=False) or ExitCode.OK)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except _StoppedError:
        say("stopped; the state is good: run again to go on")
        return ExitCode.INTERRUPTED
    except MigrateError as error:
        say(f"rahti-migrate: {error}")
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        log.debug("traceback", exc_info=True)
        say(f"rahti-migrate: this is a bug: {type(error).__name__}: {error}")
        say("  -> run again: nothing is lost; and please report it with the output of -vv")
        return ExitCode.FAILED
