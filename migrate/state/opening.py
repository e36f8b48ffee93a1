"""Opens a state: for writing or reading, with the right manifest, and SQLite's errors in words."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlite_utils

from migrate import __version__
from migrate.errors import StateError, UsageError
from migrate.state.memory import State
from migrate.state.rows import in_words
from migrate.state.schema import KNOWN_MIGRATIONS, MIGRATIONS
from migrate.state.times import now

_BUSY_SECONDS = 30
_HEADER = b"SQLite format 3\0"


class NoStateError(UsageError):
    """Nothing was recorded yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: there is no state yet", "run `rahti-migrate copy` first, or name the state with --state"
        )


def check_is_no_other_file(path: Path) -> None:
    """Look whether a file can be a state, before anything is made beside it.

    Raises:
        StateError: it is something else.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEADER))
    except OSError:
        return  # nothing there yet; or it is said when it is opened
    if head not in (b"", _HEADER):
        advice = "name another file with --state; if it was one it is damaged: move the file away, and run again"
        raise StateError(f"{path}: this is no state of rahti-migrate, nor any SQLite database", advice)


@contextmanager
def open_state(path: Path, manifest: Path, target: str = "") -> Iterator[State]:
    """Open a state for writing, making it where it is not there. The caller holds its lock.

    Args:
        path: the state.
        manifest: whose state it is to be.
        target: the manifest's target registry; by it a manifest that was moved is known again.

    Raises:
        StateError: it cannot be opened, is damaged, or was made by a newer version.
        UsageError: it belongs to another manifest.
    """
    with in_words(path):
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
        db = sqlite_utils.Database(connection)
        try:
            _check_version(db, path)
            db.enable_wal()
            db.execute("pragma synchronous = normal")
            with db.atomic():
                MIGRATIONS.apply(db)
            moved_from = _claim(db, path, manifest, target)
            yield State(db, path, moved_from)
        finally:
            connection.close()


@contextmanager
def read_state(path: Path, manifest: Path, target: str | None = "") -> Iterator[State]:
    """Open a state for reading, also while another process writes it.

    Args:
        path: the state.
        manifest: whose state it is to be.
        target: as for `open_state`; None where any will do.

    Raises:
        NoStateError: there is none.
        UsageError: it belongs to another manifest.
        StateError: it cannot be read.
    """
    if not path.exists():
        raise NoStateError(path)
    with in_words(path):
        connection = sqlite3.connect(_reading(path), uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)
        db = sqlite_utils.Database(connection)
        try:
            _check_version(db, path)
            if not db.table("about").exists():
                raise NoStateError(path)
            _check_owner(db, path, manifest, target)
            yield State(db, path)
        finally:
            connection.close()


def _reading(path: Path) -> str:
    """The URI for reading. To read beside a writer SQLite makes files of its own, which a read-only folder forbids."""
    nobody_writes = not path.with_name(f"{path.name}-wal").exists()
    immutable = "&immutable=1" if nobody_writes and not os.access(path.parent, os.W_OK) else ""
    return f"{path.absolute().as_uri()}?mode=ro{immutable}"


def _check_version(db: sqlite_utils.Database, path: Path) -> None:
    applied = {migration.name for migration in MIGRATIONS.applied(db)}
    if applied - KNOWN_MIGRATIONS:
        raise StateError(
            f"{path}: made by a newer rahti-migrate than this ({__version__})", "update, or use another --state"
        )
    if not applied and set(db.table_names()) - {"_sqlite_migrations"}:  # that one alone: killed while it was made
        raise StateError(f"{path}: a database, but not a state of rahti-migrate", "name another file with --state")


def _claim(db: sqlite_utils.Database, path: Path, manifest: Path, target: str) -> str:
    """A new state gets its manifest; an old one must have it. Where that was moved, its path of before."""
    if not db.table("about").count:
        rows = {"manifest": str(manifest.resolve()), "made_at": now(), "made_by": f"rahti-migrate {__version__}"}
        db.table("about").insert_all({"key": key, "value": value} for key, value in rows.items())
    owner = _check_owner(db, path, manifest, target)
    if owner == str(manifest.resolve()):
        return ""
    db.table("about").update("manifest", {"value": str(manifest.resolve())})
    return owner


def _check_owner(db: sqlite_utils.Database, path: Path, manifest: Path, target: str | None) -> str:
    """A state remembers its manifest: another one's results in it would be lies. The path that it remembers."""
    row = db.execute("select value from about where key = 'manifest'").fetchone()
    mine, owner = str(manifest.resolve()), row[0] if row else ""
    if owner != mine and not _was_moved(db, Path(owner), manifest, target):
        raise UsageError(
            f"{path}: this state belongs to the manifest {owner}, not to {mine}",
            "give this manifest a state of its own: --state state/OTHER.db",
        )
    return owner


def _was_moved(db: sqlite_utils.Database, owner: Path, manifest: Path, target: str | None) -> bool:
    """Whether a manifest is the one that the state knows, at another place: of its name, for the same target."""
    run = db.execute("select target from runs order by id desc limit 1").fetchone()
    same_target = target is None or (run is not None and run[0] == target)
    try:
        return same_target and owner.name == manifest.name and not owner.exists()
    except OSError:
        return False  # a place that we may not see
