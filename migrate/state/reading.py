"""What a state tells people: opened for reading, and asked. Loads nothing of images, access or workloads."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils

from migrate import __version__
from migrate.errors import StateError, UsageError
from migrate.images.verdicts import FINE
from migrate.state.history import HistoryRows
from migrate.state.rows import OF_PROJECT, decoded, in_words
from migrate.state.schema import KNOWN_MIGRATIONS, MIGRATIONS
from migrate.state.statuses import RUNNING, TROUBLED, WAITING

BUSY_SECONDS = 30
_SQLITE = b"SQLite format 3\0"


class NoStateError(UsageError):
    """Nothing was recorded yet."""

    def __init__(self, path: Path) -> None:
        elsewhere = "one that was made while you stood in another folder is named by --state"
        super().__init__(f"{path}: there is no state yet", f"run `rahti-migrate copy` first; {elsewhere}")


class Records(HistoryRows):
    """What was recorded, for whoever asks how things stand."""

    def counts(self) -> dict[str, int]:
        """How many target tags have each status."""
        return dict(self._db.execute("select status, count(*) from copies group by status order by status").fetchall())

    def copies(self, project: str = "") -> list[dict[str, Any]]:
        """One row per target tag, ordered by target; of one project (source or target), or of all."""
        return self._rows_where("true", project)

    def tallies(self, project: str = "") -> list[tuple[str, str | None, int]]:
        """How many target tags there are by (status, verdict); of one project (source or target), or of all."""
        query = f"select status, verdict, count(*) from copies where {OF_PROJECT} group by 1, 2 order by 1, 2"  # noqa: S608 - a constant
        return [(row[0], row[1], row[2]) for row in self._db.execute(query, [project])]

    def troubled(self, project: str = "") -> list[dict[str, Any]]:
        """The rows of `copies` that need a person: that failed, were found wrong, or were given up for now."""
        given_up = f"status in {WAITING, RUNNING} and error_class is not null"
        found_wrong = f"verdict not in {tuple(map(str, FINE))}"
        return self._rows_where(f"(status in {TROUBLED} or {found_wrong} or {given_up})", project)

    def projects(self) -> list[str]:
        """The projects, of the source and of the target, that it knows tags of."""
        query = "select source_project from copies union select target_project from copies order by 1"
        return [row[0] for row in self._db.execute(query)]

    def _rows_where(self, chosen: str, project: str) -> list[dict[str, Any]]:
        rows = self._db.table("copies").rows_where(f"{chosen} and {OF_PROJECT}", [project], order_by="target")
        return [decoded(row) for row in rows]

    def last_run_that_planned(self) -> dict[str, Any] | None:
        """The newest run that looked at the source; this one is not meant."""
        newest = "select max(run_id) from copies where action is not null"
        return next(self._db.table("runs").rows_where(f"id = ({newest})"), None)

    def at_work(self, project: str = "") -> list[tuple[str, str]]:
        """(target, since when) of what runs now, the oldest first."""
        query = f"select target, started_at from copies where status = 'running' and {OF_PROJECT} order by 2, 1"  # noqa: S608 - a constant
        return [(row[0], row[1]) for row in self._db.execute(query, [project])]

    def bytes_sent(self, project: str = "") -> int:
        """Bytes that were sent for what is there; of one project (source or target), or of all."""
        query = f"select coalesce(sum(bytes), 0) from copies where {OF_PROJECT}"  # noqa: S608 - a constant
        return int(self._db.execute(query, [project]).fetchone()[0])

    def image_manifest_bodies(self) -> dict[str, tuple[str, bytes]]:
        """Digest -> media type and body, of every image manifest that was read at the source."""
        return {row[0]: (row[1], bytes(row[2])) for row in self._db.execute("select * from image_manifests")}

    def repositories_with(self, digest: str) -> list[str]:
        """Repositories of the target that were seen to have a blob."""
        rows = self._db.execute("select repository from blobs where digest = ? order by 1", [digest])
        return [row[0] for row in rows]

    def granted(self) -> list[dict[str, Any]]:
        """What is wanted of access, and how it stands."""
        return self._listed("granted", "project, subject, role, images")

    def grants_written(self) -> list[dict[str, Any]]:
        """Every write of a Role or RoleBinding."""
        return self._listed("grants", "id")

    def objects_written(self) -> list[dict[str, Any]]:
        """Every write of an object of workloads."""
        return self._listed("objects", "id")

    def workloads(self) -> list[dict[str, Any]]:
        """How each object of workloads stood when it was looked at last."""
        return self._listed("workloads", "project, object")

    def findings(self) -> list[dict[str, Any]]:
        """What rules found in workloads."""
        return self._listed("findings", "id")

    def _listed(self, table: str, order: str) -> list[dict[str, Any]]:
        """All rows of a table; none where an older version made the state, without it."""
        return list(self._db.table(table).rows_where(order_by=order)) if self._db.table(table).exists() else []

    def manifest_path(self) -> str:
        """The manifest that this state belongs to."""
        return str(self._db.table("about").get("manifest")["value"])


def is_database(path: Path) -> bool:
    """Whether a file is one of SQLite's (https://www.sqlite.org/fileformat2.html, "The Database Header")."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def owner_of(path: Path) -> Path:
    """The manifest that a state belongs to.

    Raises:
        NoStateError: it was never used.
        StateError: it cannot be read, or is no state.
    """
    with _opened(path) as db:
        return Path(Records(db, path).manifest_path())


@contextmanager
def read_records(path: Path, manifest: Path, target: str | None = "") -> Iterator[Records]:
    """What a state tells people; all as `reading` has it."""
    with reading(path, manifest, target) as db:
        yield Records(db, path)


@contextmanager
def reading(path: Path, manifest: Path, target: str | None = "") -> Iterator[sqlite_utils.Database]:
    """Open a state for reading, also while another process writes it.

    Args:
        path: the state.
        manifest: whose state it is to be.
        target: the manifest's target registry, by which one that was moved is known again; None where any will do.

    Raises:
        NoStateError: there is none.
        UsageError: it belongs to another manifest.
        StateError: it cannot be read.
    """
    with _opened(path) as db:
        check_owner(db, path, manifest, target)
        yield db


@contextmanager
def _opened(path: Path) -> Iterator[sqlite_utils.Database]:
    """A state, of whatever manifest; all that is asked is of one moment, whatever is written meanwhile."""
    if not path.exists():
        raise NoStateError(path)
    with in_words(path):
        connection = sqlite3.connect(_reading(path), uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        db = sqlite_utils.Database(connection)
        try:
            check_version(db, path)
            if not db.table("about").exists():
                raise NoStateError(path)
            connection.execute("begin")
            yield db
        finally:
            connection.close()


def _reading(path: Path) -> str:
    """The URI for reading. To read beside a writer SQLite makes files of its own, which a read-only folder forbids."""
    nobody_writes = not path.with_name(f"{path.name}-wal").exists()
    immutable = "&immutable=1" if nobody_writes and not os.access(path.parent, os.W_OK) else ""
    return f"{path.absolute().as_uri()}?mode=ro{immutable}"


def check_version(db: sqlite_utils.Database, path: Path) -> None:
    """Look whether this version can use a database; one without tables is a state that begins.

    Raises:
        StateError: it is a newer version's, or no state.
    """
    applied = {migration.name for migration in MIGRATIONS.applied(db)}
    if applied - KNOWN_MIGRATIONS:
        raise StateError(
            f"{path}: made by a newer rahti-migrate than this ({__version__})", "update, or use another --state"
        )
    if not applied and set(db.table_names()) - {"_sqlite_migrations"}:  # that one alone: killed while it was made
        raise StateError(f"{path}: a database, but not a state of rahti-migrate", "name another file with --state")


def check_owner(db: sqlite_utils.Database, path: Path, manifest: Path, target: str | None) -> str:
    """A state remembers its manifest: another one's results in it would be lies. The path that it remembers."""
    row = db.execute("select value from about where key = 'manifest'").fetchone()
    mine, owner = str(manifest.resolve()), row[0] if row else ""
    if owner not in (mine, str(manifest)) and not _was_moved(db, Path(owner), manifest, target):
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
