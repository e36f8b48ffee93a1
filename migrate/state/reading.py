"""What a state tells people: opened for reading, and asked. Loads nothing of images, access or workloads."""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils

from migrate import __version__
from migrate.errors import StateError, UsageError
from migrate.images.verdicts import FINE
from migrate.state.rows import Rows, in_words
from migrate.state.schema import KNOWN_MIGRATIONS, MIGRATIONS
from migrate.state.statuses import TROUBLED

BUSY_SECONDS = 30
_OF_PROJECT = "? in ('', source_project, target_project)"


class NoStateError(UsageError):
    """Nothing was recorded yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: there is no state yet", "run `rahti-migrate copy` first, or name the state with --state"
        )


class Records(Rows):
    """What was recorded, for whoever asks how things stand."""

    def counts(self) -> dict[str, int]:
        """How many target tags have each status."""
        return dict(self._db.execute("select status, count(*) from copies group by status order by status").fetchall())

    def copies(self, project: str = "") -> list[dict[str, Any]]:
        """One row per target tag, ordered by target; of one project (source or target), or of all."""
        return self._rows_where("true", project)

    def tallies(self, project: str = "") -> list[tuple[str, str | None, int]]:
        """How many target tags there are by (status, verdict); of one project (source or target), or of all."""
        query = f"select status, verdict, count(*) from copies where {_OF_PROJECT} group by 1, 2 order by 1, 2"  # noqa: S608 - a constant
        return [(row[0], row[1], row[2]) for row in self._db.execute(query, [project])]

    def troubled(self, project: str = "") -> list[dict[str, Any]]:
        """The rows of `copies` that need a person: not at the target, or not found there as they should be."""
        return self._rows_where(f"(status in {TROUBLED} or verdict not in {tuple(map(str, FINE))})", project)

    def projects(self) -> list[str]:
        """The projects, of the source and of the target, that it knows tags of."""
        query = "select source_project from copies union select target_project from copies order by 1"
        return [row[0] for row in self._db.execute(query)]

    def _rows_where(self, chosen: str, project: str) -> list[dict[str, Any]]:
        rows = self._db.table("copies").rows_where(f"{chosen} and {_OF_PROJECT}", [project], order_by="target")
        return [{**row, "warnings": json.loads(row["warnings"] or "[]")} for row in rows]

    def last_run(self) -> dict[str, Any] | None:
        """The newest run."""
        return next(self._db.table("runs").rows_where(order_by="id desc", limit=1), None)

    def last_run_that_planned(self) -> dict[str, Any] | None:
        """The newest run that looked at the source; this one is not meant."""
        newest = "select max(run_id) from copies where action is not null"
        return next(self._db.table("runs").rows_where(f"id = ({newest})"), None)

    def at_work(self, project: str = "") -> list[tuple[str, str]]:
        """(target, since when) of what runs now, the oldest first."""
        query = f"select target, started_at from copies where status = 'running' and {_OF_PROJECT} order by 2, 1"  # noqa: S608 - a constant
        return [(row[0], row[1]) for row in self._db.execute(query, [project])]

    def progress(self, run: int) -> tuple[int, int, str | None]:
        """Tags that were brought in a run, and bytes; and when the last try of any run ended."""
        query = "select coalesce(sum(outcome = 'done'), 0), coalesce(sum(bytes), 0) from attempts where run_id = ?"
        done, moved = self._db.execute(query, [run]).fetchone()
        last = self._db.execute("select ended_at from attempts order by id desc limit 1").fetchone()
        return int(done), int(moved), last[0] if last else None

    def bytes_sent(self, project: str = "") -> int:
        """Bytes that were sent for what is there; of one project (source or target), or of all."""
        query = f"select coalesce(sum(bytes), 0) from copies where {_OF_PROJECT}"  # noqa: S608 - a constant
        return int(self._db.execute(query, [project]).fetchone()[0])

    def runs(self) -> list[dict[str, Any]]:
        """All runs, oldest first; with the tags that each copied and failed at, and the bytes it sent."""
        last = "select run_id, target, outcome, max(id) from attempts group by run_id, target"
        query = f"select run_id, sum(outcome = 'done'), sum(outcome != 'done') from ({last}) group by run_id"  # noqa: S608 - constants
        ended = {row[0]: row[1:] for row in self._db.execute(query)}
        query = "select run_id, coalesce(sum(bytes), 0) from attempts group by run_id"
        sent = dict(self._db.execute(query).fetchall())
        changed = dict(self._all("select run_id, count(*) from changes group by run_id", "changes"))
        rows = self._db.table("runs").rows_where(order_by="id")
        return [
            {
                **row,
                "copied": ended.get(row["id"], (0, 0))[0],
                "failed": ended.get(row["id"], (0, 0))[1],
                "sent": sent.get(row["id"], 0),
                "changed": changed.get(row["id"], 0),
            }
            for row in rows
        ]

    def attempts(self, run: int = 0, target: str = "") -> list[dict[str, Any]]:
        """Every try of a run, or of a target tag, oldest first."""
        return list(
            self._db.table("attempts").rows_where(
                "? in (0, run_id) and ? in ('', target)", [run, target], order_by="id"
            )
        )

    def changes(self, run: int) -> list[tuple[str, str, str]]:
        """(target, before, after) of the tags that a run left otherwise, `before` empty where nothing was known."""
        words = "case when {0}.verdict is null then {0}.status else {0}.status || ', ' || {0}.verdict end"
        words += " || case when {0}.error_class is null then '' else ' (' || {0}.error_class || ')' end"
        earlier = "(select max(id) from changes e where e.target = c.target and e.run_id < c.run_id)"
        query = (
            f"select c.target, coalesce({words.format('b')}, ''), {words.format('c')} from changes c "  # noqa: S608 - constants
            f"left join changes b on b.id = {earlier} where c.run_id = ? "
            "and c.id = (select max(id) from changes l where l.target = c.target and l.run_id = c.run_id) "
            "order by c.target"
        )
        return [(row[0], row[1], row[2]) for row in self._all(query, "changes", [run])]

    def history(self, target: str) -> list[tuple[int, str, str]]:
        """(run, what it left of a tag, its digest at the target), oldest first."""
        words = "case when verdict is null then status else status || ', ' || verdict end"
        query = f"select run_id, {words}, coalesce(target_digest, '') from changes where target = ? order by id"  # noqa: S608 - constants
        return [(row[0], row[1], row[2]) for row in self._all(query, "changes", [target])]

    def outcomes_after(self, run: int) -> dict[str, dict[str, Any]]:
        """What had become of each tag when a run ended: status, error_class, target_digest and verdict, by target."""
        names = ("status", "error_class", "target_digest", "verdict")
        query = f"select target, {', '.join(names)}, max(id) from changes where run_id <= ? group by target"  # noqa: S608 - constants
        return {row[0]: dict(zip(names, row[1:], strict=False)) for row in self._all(query, "changes", [run])}

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

    def _all(self, query: str, table: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._db.execute(query, [*values]).fetchall() if self._db.table(table).exists() else []

    def manifest_path(self) -> str:
        """The manifest that this state belongs to."""
        return str(self._db.table("about").get("manifest")["value"])


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
    if not path.exists():
        raise NoStateError(path)
    with in_words(path):
        connection = sqlite3.connect(_reading(path), uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        db = sqlite_utils.Database(connection)
        try:
            check_version(db, path)
            if not db.table("about").exists():
                raise NoStateError(path)
            check_owner(db, path, manifest, target)
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
