"""Opens a state: for writing or reading, with the right manifest, and SQLite's errors in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlite_utils

from migrate import __version__
from migrate.errors import StateError
from migrate.state.memory import State
from migrate.state.reading import BUSY_SECONDS, check_owner, check_version, reading
from migrate.state.rows import in_words
from migrate.state.schema import MIGRATIONS
from migrate.state.times import now

_HEADER = b"SQLite format 3\0"


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
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        db = sqlite_utils.Database(connection)
        try:
            check_version(db, path)
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
    """Open a state for reading, also while another process writes it; all as `reading` has it."""
    with reading(path, manifest, target) as db:
        yield State(db, path)


def _claim(db: sqlite_utils.Database, path: Path, manifest: Path, target: str) -> str:
    """A new state gets its manifest; an old one must have it. Where that was moved, its path of before."""
    if not db.table("about").count:
        rows = {"manifest": str(manifest.resolve()), "made_at": now(), "made_by": f"rahti-migrate {__version__}"}
        db.table("about").insert_all({"key": key, "value": value} for key, value in rows.items())
    owner = check_owner(db, path, manifest, target)
    if owner == str(manifest.resolve()):
        return ""
    db.table("about").update("manifest", {"value": str(manifest.resolve())})
    return owner
