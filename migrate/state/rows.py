"""What every part of the state stands on: a connection, one writer, and SQLite's errors in words."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils

from migrate.errors import StateError

OF_PROJECT = "? in ('', source_project, target_project)"
"""A condition for rows of `copies`: of one project (source or target), or of all."""


def decoded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `copies` or `changes`, its warnings as a list."""
    return {**row, "warnings": json.loads(row["warnings"] or "[]")}


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """SQLite's errors as StateErrors; what was committed stays."""
    try:
        yield
    except sqlite3.Error as error:
        text, name = str(error), getattr(error, "sqlite_errorname", "")
        if "LOCK" in name and "IOERR" in name:
            advice = "its file system cannot lock files: put the state on a local disk with --state"
        elif "full" in text or "disk I/O" in text:
            advice = "make room on the disk, then run again: what was recorded is kept, and nothing is lost"
        elif "readonly" in text or "unable to open" in text or "authorization" in text:
            advice = (
                "the folder and the file must be writable; or name another place with --state (a copy of it, with the "
                "-wal file beside it)"
            )
        elif "malformed" in text or "not a database" in text:
            advice = (
                "move the file away and run again: what is at the target is found there again, and not copied twice"
            )
        elif "locked" in text:
            advice = (
                "close the program that has it open, and run again; where there is none, its file system cannot lock "
                "files: put the state on a local disk with --state"
            )
        else:
            advice = "run again; if it stays, move the file away: what is at the target is found there again"
        raise StateError(f"{path}: the state cannot be used: {text}", advice) from None


class Rows:
    """An open database; `run_id` is the run that writes (0 while there is none)."""

    def __init__(self, db: sqlite_utils.Database, path: Path) -> None:
        self._db = db
        self.path = path
        self.run_id = 0

    def _change(self, table: str, key: str, value: str, changes: Mapping[str, Any]) -> None:
        """Change one row; sqlite-utils' own `update` reads the row and asks twice for the table's shape before."""
        columns = ", ".join(f"[{name}] = ?" for name in changes)
        query = f"update [{table}] set {columns} where [{key}] = ?"  # noqa: S608 - names of columns are constants
        self._db.execute(query, [*changes.values(), value])

    def _add(self, table: str, row: Mapping[str, Any]) -> None:
        """Add one row; sqlite-utils' own `insert` asks for the table's shape before."""
        columns, places = ", ".join(f"[{name}]" for name in row), ", ".join("?" * len(row))
        query = f"insert into [{table}] ({columns}) values ({places})"  # noqa: S608 - names of columns are constants
        self._db.execute(query, [*row.values()])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with in_words(self.path), self._db.atomic():
            yield
