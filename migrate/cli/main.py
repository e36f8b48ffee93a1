"""The entry point: which commands there are, and the one place where errors become words and exit codes."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Annotated, NoReturn

import typer

from migrate import __version__
from migrate.cli import access, check, copy, demo, finish, init, plan, rewrite, rollback, run, schema, status, verify
from migrate.cli.interrupt import StoppedError, stop_signals
from migrate.cli.options import result, say
from migrate.errors import ExitCode, MigrateError
from migrate.manifest import ManifestError

log = logging.getLogger(__name__)

app = typer.Typer(
    name="rahti-migrate",
    help="Move OpenShift 3.11 projects (Rahti 1) to OpenShift 4 (Rahti 2): images, who may pull, workloads.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _exiting(command: Callable[..., int]) -> Callable[..., NoReturn]:
    """A command that gives its exit code back, as typer wants it."""

    @wraps(command)
    def run_and_exit(*args: object, **kwargs: object) -> NoReturn:
        raise typer.Exit(command(*args, **kwargs))

    return run_and_exit


_COMMANDS = (
    demo.demo, init.init, check.check, plan.plan, copy.copy, verify.verify, rewrite.rewrite, run.run, finish.finish,
    status.status, rollback.rollback, schema.schema,
)  # fmt: skip
for command in _COMMANDS:
    app.command()(_exiting(command))
for subcommand in (access.plan, access.apply, access.revert, access.verify):
    access.app.command()(_exiting(subcommand))
app.add_typer(access.app)


def _version(wanted: bool) -> None:
    if wanted:
        result([f"rahti-migrate {__version__}"])
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
    _open_closed_streams()
    for number in stop_signals():
        signal.signal(number, _stop)
    code = _exit_code()
    if code == ExitCode.INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads may still wait for a registry's answer; nothing of theirs is needed
    sys.exit(code)


def _open_closed_streams() -> None:
    """Where somebody closed stdout or stderr (`>&-`), the next file opened would take its number, and our words."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    raise StoppedError


def _exit_code() -> int:
    try:
        app()
    except SystemExit as end:
        if end.code == ExitCode.USAGE and "--json" in sys.argv:
            say("  -> for JSON say --format json")
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except StoppedError as stopped:
        kept = f"the state is good: run again to go on: {stopped.again}" if stopped.again else "nothing was written"
        say(f"stopped; {kept}")
        return ExitCode.INTERRUPTED
    except ManifestError as error:
        say(str(error))
        return error.exit_code
    except MigrateError as error:
        say(f"rahti-migrate: {error}")
        return error.exit_code
    except Exception as error:
        log.debug("traceback", exc_info=True)
        say(f"rahti-migrate: this is a bug: {type(error).__name__}: {error}")
        say("  -> run again: nothing is lost; and please report it with the output of -vv")
        return ExitCode.FAILED
    return ExitCode.OK
