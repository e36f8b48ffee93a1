"""What every command opens that copies or verifies images, and what it knows of itself."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from migrate.cli.limits import Limits
from migrate.cli.memory import begun_run
from migrate.cli.options import say
from migrate.cli.paths import state_path
from migrate.cli.program import command_line, options_given
from migrate.cli.session import Session, open_session
from migrate.errors import MigrateError
from migrate.images import skopeo
from migrate.proxies import is_this_machine
from migrate.state.memory import State


@dataclass
class Run:
    """A command that writes: a session, its state, a private folder for authfiles, and the options it was given.

    `options` are those that every such command has, `own` those of this one, with its `limits`; `dask` is the
    scheduler whose workers copy, empty for this process.
    """

    session: Session
    state: State
    private: Path
    options: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    program: skopeo.Skopeo | None = None
    name: str = "copy"
    limits: Limits = field(default_factory=Limits)
    dask: str = ""

    def command(self, name: str = "") -> str:
        """What to type for this or another command on the same manifest, with the options that were given here."""
        own = self.own if name in ("", self.name) else ()
        return command_line(name or self.name, self.session.manifest.path, (*self.options, *own))

    def check_time(self, done: str) -> None:
        """Look whether there is time left; `done` says how far the work is.

        Raises:
            LimitReachedError: there is none.
        """
        self.limits.check_time(done, self.command())

    def ended(self, exit_code: int, counts: Counter[str], error: MigrateError | None = None) -> None:
        """Note how it ended; `error` is what ended it before its end."""
        self.state.end_run(exit_code, counts, error.what if error else "", error.advice if error else "")


@contextmanager
def open_run(
    manifest: Path,
    state: Path | None,
    project: str,
    command: str,
    own: tuple[str, ...] = (),
    wait_login: float = 0.0,
    limits: Limits | None = None,
) -> Iterator[Run]:
    """Open everything a writing command needs, in the order that tells the user most when something is missing."""
    limits = limits or Limits()
    with (
        open_session(manifest, project, wait_login) as session,
        _capped(session, limits.rate),
        limits.watching(session.stop),
    ):
        session.requests()
        program = skopeo.probe() if command != "verify" else None
        options = options_given(state, project)
        again = command_line(command, manifest, (*options, *own))
        version = program.version if program else ""
        with begun_run(session, state_path(manifest, state), command, again, version) as (opened, private):
            if command != "run":  # which asks more, and says more
                session.check_ends()
            yield Run(session, opened, private, options, own, program, command, limits)


@contextmanager
def _capped(session: Session, rate: int) -> Iterator[None]:
    """Let everything go through a cap on bandwidth, where one was asked for."""
    if not rate:
        yield
        return
    file = session.manifest.file
    near = sorted(
        {
            host
            for host in (file.source.registry, file.target.registry)
            if is_this_machine(urlsplit(f"//{host}").hostname or "")
        }
    )
    if near:
        say(f"note: --bwlimit does not slow what skopeo itself moves to or from this machine: {' and '.join(near)}")
    from migrate.bandwidth.serving import limited  # asyncio and all: loaded by who needs it

    with limited(rate) as session.way:
        yield
