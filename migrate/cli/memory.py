"""The state of a command that writes: locked, opened, with a run in it whose end is kept whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migrate.cli.options import say
from migrate.cli.session import Session
from migrate.errors import ExitCode, MigrateError, StateError, StoppedError
from migrate.lock import hold
from migrate.manifest import Manifest
from migrate.state.memory import State
from migrate.state.opening import check_is_no_other_file, open_state


@contextmanager
def begun_run(
    session: Session, path: Path, command: str, again: str, skopeo_version: str = ""
) -> Iterator[tuple[State, Path]]:
    """A state with a run that has begun, and a private folder for authfiles.

    Args:
        session: of the manifest that the state belongs to.
        path: the state's.
        command: the run's name.
        again: what to type to go on after an interruption.
        skopeo_version: where skopeo is used.
    """
    check_is_no_other_file(path)
    file, manifest = session.manifest.file, session.manifest.path
    with hold(path, command) as private, open_state(path, manifest, file.target.registry) as opened:
        if opened.moved_from:
            before = f"{path} belonged to {opened.moved_from}, which is no longer there"
            say(f"note: {before}; from now on it belongs to {manifest.resolve()}")
        _forget(opened, session.manifest)
        opened.begin_run(command, file.source.registry, file.target.registry, skopeo_version, session.project)
        with _recorded(opened, again):
            yield opened, private


def keep(manifest: Manifest, path: Path, command: str, record: Callable[[State], None]) -> None:
    """Keep for reports what a command has found that only looks, where there is a state, and nobody else is at it."""
    if not path.exists():
        return
    try:
        with hold(path, command), open_state(path, manifest.path, manifest.file.target.registry) as opened:
            _forget(opened, manifest)
            record(opened)
    except StateError as error:
        say(f"note: a report will not tell of this: {error.what}")


def _forget(state: State, manifest: Manifest) -> None:
    """Access and workloads that the manifest no longer names are nobody's concern."""
    state.keep_folders({str(manifest.file_path(entry.to)) for entry in manifest.file.workloads or ()})
    state.keep_projects({entry.project for entry in manifest.file.access or ()})


@contextmanager
def _recorded(state: State, again: str) -> Iterator[None]:
    """An error, or a signal, is an end that is kept too."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, StoppedError):
            error.again = again
        with suppress(StateError):
            state.end_run(*_ending(error))
        raise


def _ending(error: BaseException) -> tuple[int, dict[str, int], str, str]:
    """What the state keeps of an end before the end."""
    if isinstance(error, MigrateError):
        return error.exit_code, {}, error.what, error.advice
    if isinstance(error, Exception):
        return ExitCode.FAILED, {}, f"this is a bug: {type(error).__name__}", "see what it said; please report it"
    return ExitCode.INTERRUPTED, {}, "", ""
