"""The entry point: which commands there are, and the one place where errors become words and exit codes."""

import gc
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.main import get_command

from migrate import __version__
from migrate.cli.interrupt import stop_signals
from migrate.cli.options import result, say
from migrate.errors import ExitCode, MigrateError, StoppedError

log = logging.getLogger(__name__)

GROUPS = {
    "Begin": {
        "demo": "show everything on two local registries",
        "init": "write a manifest from what the source projects hold",
        "check": "check that everything is ready; writes nothing",
        "plan": "show what would be copied, and why; writes nothing",
    },
    "Move": {
        "run": "check, plan, copy, verify, then show the final step",
        "copy": "copy what the plan lists; run it again to continue",
        "verify": "compare every tag with the source, by content",
        "rewrite": "rewrite workloads for the target, as files",
        "access": "plan, apply, verify or revert who may pull",
        "finish": "the final step: who may pull, then the workloads",
        "rollback": "take back what was applied",
    },
    "Ask": {
        "status": "show where things stand, also during a run",
        "report": "what happened, as text, HTML, JSON, CSV, Markdown",
        "explain": "everything known about one image",
        "schema": "print the manifest's JSON Schema, for editors",
    },
}
COMMANDS = [name for group in GROUPS.values() for name in group]
"""In the order of a move. Each is a module of this package, with a function of the same name; `access` has commands of
its own."""
_EXAMPLE = "Example: rahti-migrate init my-app; rahti-migrate run my-app.yaml"


_PHRASES = {
    "Value error, ": "",
    "a valid integer, unable to parse string as an integer": "a whole number",
    "Input should be": "it should be",
}


_RANGE = re.compile(r"\s+\[[0-9<>=]*x[0-9<>=]*\]$")
"""What typer adds to the help of a number: `[0<=x<=1024]`."""


class Command(TyperCommand):
    """A command whose help and errors speak of its arguments as its words do, without Python's types."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; a wrong value is said without pydantic's phrases (through typer 0.29.2)."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            for theirs, ours in _PHRASES.items():
                error.message = error.message.replace(theirs, ours)
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's words
        """After the command's name: `[OPTIONS] MANIFEST`."""
        return ["[OPTIONS]", *(argument.metavar or argument.name for argument in self._arguments())]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments, then the options."""
        if arguments := [(argument.metavar or argument.name, argument.help or "") for argument in self._arguments()]:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        options = [p.get_help_record(ctx) for p in self.get_params(ctx) if not isinstance(p, TyperArgument)]
        with formatter.section("Options"):
            formatter.write_dl([(names, _RANGE.sub("", words)) for names, words in filter(None, options)])

    def _arguments(self) -> list[TyperArgument]:
        return [parameter for parameter in self.params if isinstance(parameter, TyperArgument)]


class Commands(TyperGroup):
    """The commands, each loaded when it is asked for: all together take longer to load than a small copy to run."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's words
        """Their names."""
        return COMMANDS

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - click's words
        """The list in `--help`, for which none of them is loaded."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(group.items()), col_max=12)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of them, loaded now; all where there is none of that name, for one of them is meant."""
        for name in (cmd_name,) if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_loaded(name), name)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="rahti-migrate",
    cls=Commands,
    help=f"""Move OpenShift 3.11 projects (Rahti 1) to OpenShift 4 (Rahti 2): images, who may pull, workloads.

    {_EXAMPLE}""",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _loaded(name: str) -> Any:
    module = import_module(f"migrate.cli.{name}")
    group = getattr(module, "app", None) or typer.Typer(add_completion=False, rich_markup_mode=None)
    for function in getattr(module, "COMMANDS", None) or (getattr(module, name),):
        group.command(cls=Command)(_exiting(function))
    return get_command(group)


def _exiting(command: Callable[..., int]) -> Callable[..., NoReturn]:
    """A command that gives its exit code back, as typer wants it."""

    @wraps(command)
    def run_and_exit(*args: object, **kwargs: object) -> NoReturn:
        gc.freeze()
        gc.enable()
        raise typer.Exit(command(*args, **kwargs))

    return run_and_exit


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
            say("  -> for JSON use --format json")
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except StoppedError as stopped:
        kept = f"the state is good: run again to continue: {stopped.again}" if stopped.again else "nothing was written"
        say(f"stopped; {kept}")
        return ExitCode.INTERRUPTED
    except MigrateError as error:
        say(str(error) if error.names_its_place else f"rahti-migrate: {error}")
        return error.exit_code
    except Exception as error:
        log.debug("traceback", exc_info=True)
        say(f"rahti-migrate: this is a bug: {type(error).__name__}: {error}")
        say("  -> nothing is lost; please report it, with what the same command says with -vv where it takes that")
        return ExitCode.FAILED
    return ExitCode.OK
