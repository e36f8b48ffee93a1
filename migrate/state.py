"""The only module with SQL: what was done, kept so that a run can go on after anything. SQLite in WAL mode.

The registries are the truth, this is a memory: with it deleted a run is still right, only slower. One process writes
at a time (lock.py); any number may read. Times are RFC 3339 in UTC.
"""

import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlite_utils
from sqlite_utils.migrations import Migrations

from migrate import __version__
from migrate.access.plan import Change
from migrate.access.subjects import Subject, subjects_of
from migrate.access.write import Applied, Written
from migrate.cluster import ROLE_BINDING, Problem
from migrate.errors import StateError, UsageError
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest, NotAnImageManifestError, parse_image_manifest
from migrate.images.plan import Action, Copy, Delivered, Plan
from migrate.images.transfer import CopyResult, Job, JobResult
from migrate.images.verify import FINE, Verdict, Verified

_BUSY_SECONDS = 30
_HEADER = b"SQLite format 3\0"
_migrations = Migrations("rahti-migrate")


@_migrations()
def m001_first(db: sqlite_utils.Database) -> None:
    """The tables of the first version, with those that later stages fill."""
    db.table("about").create({"key": str, "value": str}, pk="key")
    db.table("runs").create(
        {
            "id": int, "command": str, "started_at": str, "ended_at": str, "exit_code": int, "counts": str,
            "version": str, "skopeo_version": str, "host": str, "pid": int, "source": str, "target": str,
        },
        pk="id",
    )  # fmt: skip
    db.table("copies").create(
        {
            "target": str, "source": str, "source_project": str, "target_project": str,
            "action": str, "status": str, "reason": str, "warnings": str,
            "source_digest": str, "source_media_type": str, "expected_digest": str,
            "target_digest": str, "target_media_type": str, "put_digest": str, "put_from": str,
            "begun_digest": str, "begun_from": str,
            "error_class": str, "error": str, "advice": str, "attempts": int, "retry_at": str,
            "size": int, "bytes": int, "seconds": float, "started_at": str, "ended_at": str, "run_id": int,
            "verdict": str, "verdict_words": str, "verified_at": str,
        },
        pk="target",
    )  # fmt: skip
    db.table("copies").create_index(["status"])
    db.table("copies").create_index(["source_digest"])
    db.table("attempts").create(
        {
            "id": int, "run_id": int, "target": str, "number": int, "started_at": str, "ended_at": str,
            "outcome": str, "error_class": str, "error": str, "retry_at": str, "bytes": int,
        },
        pk="id",
    )  # fmt: skip
    db.table("attempts").create_index(["target"])
    db.table("image_manifests").create({"digest": str, "media_type": str, "body": bytes, "seen_at": str}, pk="digest")
    db.table("blobs").create(
        {"digest": str, "repository": str, "size": int, "seen_at": str}, pk=("digest", "repository")
    )
    db.table("grants").create(
        {
            "id": int, "run_id": int, "project": str, "kind": str, "name": str, "before": str, "after": str,
            "applied_at": str, "reverted_at": str,
        },
        pk="id",
    )  # fmt: skip
    db.table("rewrites").create(
        {
            "id": int, "run_id": int, "file": str, "line": int, "object": str, "path": str, "rule": str, "mode": str,
            "before": str, "after": str, "applied_at": str, "reverted_at": str,
        },
        pk="id",
    )  # fmt: skip


@_migrations()
def m002_depth(db: sqlite_utils.Database) -> None:
    """How deep verify has looked."""
    db.table("copies").add_column("verified_deep", int)


@_migrations()
def m003_verdict_class(db: sqlite_utils.Database) -> None:
    """Why verify does not know, or that only a person can decide."""
    db.table("copies").add_column("verdict_class", str)


KNOWN_MIGRATIONS = frozenset({"m001_first", "m002_depth", "m003_verdict_class"})

UNWANTED = "no longer wanted"
WAITING, RUNNING, DONE, SKIPPED, FAILED = "waiting", "running", "done", "skipped", "failed"
_PLANNED_STATUS = {
    Action.COPY: WAITING,
    Action.LINK: WAITING,
    Action.SKIP: SKIPPED,
    Action.CONFLICT: "conflict",
    Action.REFUSED: "refused",
}
_COLUMNS_PUT = "target, put_digest, put_from, begun_digest, begun_from"


@dataclass(frozen=True, slots=True)
class _Put:
    """What this tool put under a target tag.

    Attributes:
        put_digest: the last that is known to have arrived; empty for none.
        put_from: the source digest that it was made of.
        begun_digest: what a worker began to put since, and whose end was not seen (a kill, a lost answer); empty
            where skopeo makes it, for its digest is not known before.
        begun_from: the source digest that this would be made of; empty where nothing is open.
    """

    put_digest: str = ""
    put_from: str = ""
    begun_digest: str = ""
    begun_from: str = ""


def is_wanted(row: Mapping[str, Any]) -> bool:
    """Whether the manifest still asks for this row of `copies`."""
    return bool(row["status"] != UNWANTED)


def now() -> str:
    """The time of now as it is stored."""
    return stamp(datetime.now(UTC).timestamp())


def stamp(seconds: float) -> str:
    """A time as it is stored, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
def open_state(path: Path, manifest: Path, target: str = "") -> Iterator["State"]:
    """Open a state for writing, making it where it is not there. The caller holds its lock.

    Args:
        path: the state.
        manifest: whose state it is to be.
        target: the manifest's target registry; by it a manifest that was moved is known again.

    Raises:
        StateError: it cannot be opened, is damaged, or was made by a newer version.
        UsageError: it belongs to another manifest.
    """
    with _in_words(path):
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
        db = sqlite_utils.Database(connection)
        try:
            _check_version(db, path)
            db.enable_wal()
            db.execute("pragma synchronous = normal")
            _migrations.apply(db)
            moved_from = _claim(db, path, manifest, target)
            yield State(db, path, moved_from)
        finally:
            connection.close()


@contextmanager
def read_state(path: Path, manifest: Path, target: str | None = "") -> Iterator["State"]:
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
    with _in_words(path):
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
    applied = {migration.name for migration in _migrations.applied(db)}
    if applied - KNOWN_MIGRATIONS:
        raise StateError(
            f"{path}: made by a newer rahti-migrate than this ({__version__})", "update, or use another --state"
        )
    if not applied and db.table_names():
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


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """SQLite's errors as StateErrors; what was committed stays."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            advice = "make room on the disk, then run again: what was recorded is kept, and nothing is lost"
        elif "readonly" in text or "unable to open" in text or "authorization" in text:
            advice = "the folder and the file must be writable; or name another place with --state"
        elif "malformed" in text or "not a database" in text:
            advice = (
                "move the file away and run again: what is at the target is found there again, and not copied twice"
            )
        elif "locked" in text:
            advice = "another program has it open for writing; close it and run again"
        else:
            advice = "run again; if it stays, move the file away: what is at the target is found there again"
        raise StateError(f"{path}: the state cannot be used: {text}", advice) from None


class State:
    """An open state; `run_id` is the run that writes (0 while there is none).

    `moved_from` is where its manifest was before, if it was found at another place this time.
    """

    def __init__(self, db: sqlite_utils.Database, path: Path, moved_from: str = "") -> None:
        self.moved_from = moved_from
        self._db = db
        self._one_asks = threading.Lock()
        self.path = path
        self.run_id = 0

    # --- memory for the planner ---------------------------------------------------------------------------------

    def image_manifest(self, digest: str) -> ImageManifest | None:
        """An image manifest that was read before, by digest."""
        query = "select media_type, body from image_manifests where digest = ?"
        with self._one_asks:  # many threads ask, and a connection's statements are not made for that
            row = self._db.execute(query, [digest]).fetchone()
        if row is None:
            return None
        try:
            manifest = parse_image_manifest(bytes(row[1]), row[0])
        except NotAnImageManifestError:
            return None
        return manifest if manifest.digest == digest else None

    def delivered(self) -> dict[str, Delivered]:
        """What this tool put under target tags, by target; what it began to put before a kill may be there too."""
        found: dict[str, Delivered] = {}
        for target, put in self._put().items():
            ours = {put.begun_digest: put.begun_from, put.put_digest: put.put_from}
            ours.pop("", None)
            if ours:
                found[target] = ours
        return found

    def damaged(self) -> dict[str, str]:
        """What verify last found wrong, by target; only where something else than equal or missing was found."""
        query = "select target, verdict_words from copies where verdict = 'different'"
        return dict(self._db.execute(query).fetchall())

    def blobs(self) -> dict[str, set[str]]:
        """Blob digest -> target repositories (paths) that were seen to have it."""
        found: dict[str, set[str]] = {}
        for digest, repository in self._db.execute("select digest, repository from blobs"):
            found.setdefault(digest, set()).add(repository)
        return found

    def _put(self) -> dict[str, _Put]:
        rows = self._db.execute(f"select {_COLUMNS_PUT} from copies")  # noqa: S608 - a constant
        return {row[0]: _Put(*(value or "" for value in row[1:])) for row in rows}

    # --- a run, as it goes --------------------------------------------------------------------------------------

    def begin_run(self, command: str, source: str, target: str, skopeo_version: str = "") -> None:
        """Note that a run begins."""
        row = {
            "command": command, "started_at": now(), "version": __version__, "skopeo_version": skopeo_version,
            "host": socket.gethostname(), "pid": os.getpid(), "source": source, "target": target,
        }  # fmt: skip
        with self._writing():
            self.run_id = int(self._db.table("runs").insert(row).last_pk or 0)

    def end_run(self, exit_code: int, counts: Mapping[str, int]) -> None:
        """Note how the run ended."""
        with self._writing():
            row = {"ended_at": now(), "exit_code": exit_code, "counts": json.dumps(counts)}
            self._db.table("runs").update(self.run_id, row)

    def record_plan(self, plan: Plan, project: str = "") -> None:
        """Keep what is wanted and what was read; what earlier runs did stays.

        What was open or failed and is not in this plan (of `project`, where it was made for one) is nobody's trouble
        any more.
        """
        put = self._put()
        with self._writing():
            self._db.execute(
                "update copies set status = ? where status not in (?, ?) and ? in ('', source_project, target_project)",
                [UNWANTED, DONE, SKIPPED, project],
            )
            rows = (self._planned_row(copy, put.get(str(copy.target), _Put())) for copy in plan.copies)
            self._db.table("copies").upsert_all(rows, pk="target", batch_size=200)
            self._db.execute("update copies set verdict = null where status = ?", [UNWANTED])
            self._db.table("image_manifests").insert_all(
                (
                    {"digest": digest, "media_type": m.media_type, "body": m.body, "seen_at": now()}
                    for digest, m in plan.image_manifests.items()
                ),
                pk="digest",
                ignore=True,
            )

    def _planned_row(self, copy: Copy, before: _Put) -> dict[str, Any]:
        put = _seen(before, copy)
        is_ours = copy.action is Action.SKIP and put.put_digest and put.put_digest == copy.present
        row = {
            "target": str(copy.target), "source": str(copy.source),
            "source_project": copy.source.repository.project, "target_project": copy.target.repository.project,
            "action": str(copy.action), "status": DONE if is_ours else _PLANNED_STATUS[copy.action],
            "reason": copy.reason, "warnings": json.dumps(list(copy.warnings)), "source_digest": copy.source.digest,
            "source_media_type": copy.media_type, "size": copy.size, "run_id": self.run_id,
            "expected_digest": copy.delivery.top.digest if copy.delivery and copy.delivery.top else "",
            "target_digest": copy.present, "retry_at": None, **_failed(None), **asdict(put),
        }  # fmt: skip
        if copy.failure:
            row |= {**_failed(Failure(copy.failure, "")), "error": copy.reason}
        return row

    def record_started(self, job: Job) -> None:
        """A worker begins: should this process be killed now, what stands there later is known to be ours."""
        top = job.delivery.top
        with self._writing():
            for copy in job.copies:
                values = {
                    "status": RUNNING, "started_at": now(), "attempts": job.attempt, "retry_at": None,
                    "begun_digest": top.digest if top else "", "begun_from": copy.source.digest,
                }  # fmt: skip
                self._db.table("copies").update(str(copy.target), values)

    def record(self, result: JobResult, retry_at: float | None = None) -> None:
        """Keep how a job ended, all of it or nothing; `retry_at` (seconds since the epoch) where it is tried again."""
        with self._writing():
            for copied in result.results:
                self._record_copy(copied, stamp(retry_at) if retry_at else None)
            seen = now()
            self._db.table("blobs").insert_all(
                (
                    {"digest": digest, "repository": result.job.target.path, "size": size, "seen_at": seen}
                    for digest, size in result.blobs
                ),
                pk=("digest", "repository"),
                ignore=True,
            )

    def record_left(self, left: Mapping[str, Failure]) -> None:
        """Target tags that nobody could copy, and why: they wait for the next run, however often they were tried."""
        with self._writing():
            for target, failure in left.items():
                self._db.table("copies").update(target, {"status": WAITING, "retry_at": None, **_failed(failure)})

    def _record_copy(self, copied: CopyResult, retry_at: str | None) -> None:
        failure = copied.failure
        target = str(copied.copy.target)
        ended: dict[str, Any] = {
            "status": DONE if not failure else WAITING if retry_at else _failed_status(failure),
            "ended_at": stamp(copied.ended), "seconds": round(copied.ended - copied.started, 3),
            "attempts": copied.attempt, "retry_at": retry_at, **_failed(failure),
        }  # fmt: skip
        if not failure:
            ended |= {
                "bytes": copied.bytes, "target_digest": copied.target_digest, "put_digest": copied.target_digest,
                "target_media_type": copied.target_media_type, "put_from": copied.copy.source.digest,
                "begun_digest": "", "begun_from": "", "warnings": json.dumps(_warnings(copied)),
                "verdict": None, "verdict_words": None, "verdict_class": None, "verified_at": None,
            }  # fmt: skip
        self._db.table("copies").update(target, ended)
        attempt = {
            "run_id": self.run_id, "target": target, "number": copied.attempt, "bytes": copied.bytes,
            "started_at": stamp(copied.started), "ended_at": stamp(copied.ended), "retry_at": retry_at,
            "outcome": str(ended["status"]) if not retry_at else FAILED,
            "error_class": ended["error_class"], "error": ended["error"],
        }  # fmt: skip
        self._db.table("attempts").insert(attempt)

    def record_verified(self, verified: Iterable[Verified], refused: Iterable[Copy] = (), *, deep: bool) -> None:
        """Keep what verify said of each target tag, also of one that no copy has put there; and what it refused.

        What a deep look has found wrong stays until a deep one finds it right, or it is copied again: a shallow one
        that finds nothing, or could not look, says nothing of it.
        """
        verified = list(verified)
        with self._writing():
            found = self._db.execute("select target from copies where verdict = 'different' and verified_deep = 1")
            found_deep = {row[0] for row in found}
            self._record_unplanned([*map(self._unplanned_row, verified), *map(self._refused_row, refused)])
            for item in verified:
                target = str(item.copy.target)
                if deep or target not in found_deep or item.verdict in (Verdict.DIFFERENT, Verdict.MISSING):
                    words = {"verdict": str(item.verdict), "verdict_words": item.words, "verdict_class": item.failure}
                    self._db.table("copies").update(target, {**words, "verified_at": now(), "verified_deep": int(deep)})

    def _record_unplanned(self, rows: list[dict[str, Any]]) -> None:
        """Keep tags of which only verify knows yet, as it sees them now."""
        stale = "delete from copies where target = ? and action is null and ifnull(verified_deep, 0) = 0"
        self._db.conn.executemany(stale, ((row["target"],) for row in rows))
        self._db.table("copies").insert_all(rows, pk="target", ignore=True)

    def _refused_row(self, copy: Copy) -> dict[str, Any]:
        return {**self._planned_row(copy, _Put()), "action": None}

    def _unplanned_row(self, item: Verified) -> dict[str, Any]:
        status = SKIPPED if item.verdict in FINE else WAITING
        row = self._planned_row(item.copy, _Put())
        return {**row, "action": None, "reason": "", "status": status, "target_digest": item.target_digest}

    # --- grants -------------------------------------------------------------------------------------------------

    def record_writing(self, change: Change) -> int:
        """A change of access is about to be sent; the number of its row."""
        row = {
            "run_id": self.run_id, "project": change.project, "kind": change.kind.name, "name": change.name,
            "before": json.dumps(change.before), "after": json.dumps(change.after),
        }  # fmt: skip
        with self._writing():
            return int(self._db.table("grants").insert(row).last_pk or 0)

    def record_written(self, row: int, written: Written) -> None:
        """What came of it; one that was surely not taken leaves nothing."""
        with self._writing():
            if written.document is not None:
                after = json.dumps(written.document)
                self._db.table("grants").update(row, {"after": after, "applied_at": now()})
            elif written.error and written.error.problem is not Problem.UNREACHABLE:
                self._db.table("grants").delete(row)

    def applied(self) -> list[Applied]:
        """Every object of access rights that this state's runs wrote and have not taken back; bindings first."""
        rows = self._db.table("grants").rows_where("reverted_at is null", order_by="id")
        written: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in rows:
            written.setdefault((row["project"], row["kind"], row["name"]), []).append(row)
        found = [_applied(rows) for rows in written.values()]
        return sorted(found, key=lambda item: (item.project, item.kind != ROLE_BINDING.name, item.name))

    def record_reverted(self, applied: Applied) -> None:
        """It was taken back."""
        with self._writing():
            for row in applied.ids:
                self._db.table("grants").update(row, {"reverted_at": now()})

    # --- for people ---------------------------------------------------------------------------------------------

    def manifest_path(self) -> str:
        """The manifest that this state belongs to."""
        return str(self._db.table("about").get("manifest")["value"])

    def counts(self) -> dict[str, int]:
        """How many target tags have each status."""
        return dict(self._db.execute("select status, count(*) from copies group by status order by status").fetchall())

    def copies(self) -> list[dict[str, Any]]:
        """One row per target tag, ordered by target."""
        rows = self._db.table("copies").rows_where(order_by="target")
        return [{**row, "warnings": json.loads(row["warnings"] or "[]")} for row in rows]

    def bytes_done(self) -> int:
        """Bytes that were sent for what is done."""
        return int(self._db.execute("select coalesce(sum(bytes), 0) from copies").fetchone()[0])

    def last_run(self) -> dict[str, Any] | None:
        """The newest run."""
        return next(self._db.table("runs").rows_where(order_by="id desc", limit=1), None)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _in_words(self.path), self._db.atomic():
            yield


def _applied(rows: list[dict[str, Any]]) -> Applied:
    """One object over all writes of it, oldest first."""
    first, last = rows[0], rows[-1]
    before, after = (json.loads(first["before"]) or {}), json.loads(last["after"])
    added: set[Subject] = set()
    for row in rows:
        old = subjects_of(json.loads(row["before"]) or {}, row["project"])
        added |= set(subjects_of(json.loads(row["after"]), row["project"])) - set(old)
    uid = str(after["metadata"].get("uid", "")) if last["applied_at"] else ""
    return Applied(
        tuple(row["id"] for row in rows), first["project"], first["kind"], first["name"],
        not before, uid, frozenset(added), after,
    )  # fmt: skip


def _seen(put: _Put, copy: Copy) -> _Put:
    """A put whose end was not seen has arrived where the target now shows what it would have made."""
    if not put.begun_from or not copy.present:
        return put
    if put.begun_digest:
        arrived = put.begun_digest == copy.present
    else:
        same_content = copy.action is Action.SKIP and copy.options.on_conflict != "skip"
        arrived = same_content and put.begun_from == copy.source.digest
    return _Put(copy.present, put.begun_from) if arrived else put


def _warnings(copied: CopyResult) -> list[str]:
    """What the plan warned of, and what came to light on the way."""
    return [*copied.copy.warnings, *filter(None, [copied.note])]


def _failed_status(failure: Failure) -> str:
    if failure.kind is FailureClass.INTERRUPTED:
        return WAITING
    return "conflict" if failure.kind is FailureClass.CONFLICT else FAILED


def _failed(failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return {"error_class": None, "error": None, "advice": None}
    return {"error_class": str(failure.kind), "error": str(failure), "advice": failure.advice}
