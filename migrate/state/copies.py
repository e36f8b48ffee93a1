"""What was planned, copied and verified: one row for each target tag, and what planning needs of it again."""

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sqlite_utils

from migrate.images.delta import Seen, unread
from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest, NotAnImageManifestError, parse_image_manifest
from migrate.images.plan import Action, Copy, Delivered, Plan
from migrate.images.transfer import CopyResult, Job, JobResult
from migrate.images.unpacking import Unpacked
from migrate.images.verdicts import FINE, Verdict
from migrate.images.verify import Verified
from migrate.reference import Reference, parse_reference
from migrate.state.rows import OF_PROJECT, Rows
from migrate.state.statuses import CONFLICT, DONE, FAILED, REFUSED, RUNNING, SKIPPED, UNWANTED, WAITING
from migrate.state.times import now, stamp

_PLANNED_STATUS = {
    Action.COPY: WAITING,
    Action.LINK: WAITING,
    Action.SKIP: SKIPPED,
    Action.CONFLICT: CONFLICT,
    Action.REFUSED: REFUSED,
}
_NOT_FOUND = str(FailureClass.NOT_FOUND)
_IS_OURS = "put_digest != '' and put_digest = target_digest and put_from = source_digest"
_COLUMNS_PUT = "target, put_digest, put_from, begun_digest, begun_from, replaced_digest"


@dataclass(frozen=True, slots=True)
class _Put:
    """What this tool put under a target tag.

    Attributes:
        put_digest: the last that is known to have arrived; empty for none.
        put_from: the source digest that it was made of.
        begun_digest: what a worker began to put since, and whose end was not seen (a kill, a lost answer); empty
            where skopeo makes it, for its digest is not known before.
        begun_from: the source digest that this would be made of; empty where nothing is open.
        replaced_digest: what somebody else had there, and `onConflict: overwrite` replaces; empty for nothing.
    """

    put_digest: str = ""
    put_from: str = ""
    begun_digest: str = ""
    begun_from: str = ""
    replaced_digest: str = ""


class CopyRows(Rows):
    """The tables `copies`, `attempts`, `image_manifests`, `blobs` and `diff_ids`."""

    def __init__(self, db: sqlite_utils.Database, path: Path) -> None:
        super().__init__(db, path)
        self._one_asks = threading.Lock()
        self._known_manifests: set[str] | None = None

    # --- memory for the planner ---------------------------------------------------------------------------------

    def image_manifest(self, digest: str) -> ImageManifest | None:
        """An image manifest that was read before, by digest; which ones there are is asked once, at the first."""
        if self._known_manifests is None:
            with self._one_asks:
                self._known_manifests = {row[0] for row in self._db.execute("select digest from image_manifests")}
        if digest not in self._known_manifests:
            return None
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

    def digests_of_copies(self, registry: str) -> dict[tuple[str, str], tuple[str, str]]:
        """(source repository, digest) -> (target repository, digest), of what was copied from a registry."""
        query = "select source, source_digest, target, target_digest from copies where status in (?, ?)"
        query += f" or (status = ? and {_IS_OURS})"
        found = {}
        for source, digest, target, target_digest in self._db.execute(query, [DONE, SKIPPED, UNWANTED]):
            if digest and target_digest and source.startswith(f"{registry}/"):
                path = parse_reference(source, registry).repository.path
                found[path, digest] = (parse_reference(target, registry).repository.path, target_digest)
        return found

    def planned_tags(self) -> dict[str, set[str] | None]:
        """Target repository -> the tags that plans have found a source for; None where that could not be asked."""
        found: dict[str, set[str] | None] = {}
        for target, kind in self._db.execute("select target, error_class from copies order by target"):
            wanted = parse_reference(target, "")
            tags = found.setdefault(wanted.repository.path, set())
            if not wanted.tag and kind != FailureClass.NOT_FOUND:
                found[wanted.repository.path] = None
            elif wanted.tag and tags is not None and kind != FailureClass.NOT_FOUND:
                tags.add(wanted.tag)
        return found

    def seen(self) -> list[Seen]:
        """The tags that were planned before, as they were then."""
        newest = "max(run_id) over (partition by source_project, target_project)"
        query = f"select source, target, source_digest, put_digest != '', run_id = {newest} from copies"  # noqa: S608
        rows = self._db.execute(
            f"{query} where action is not null and (source_digest != '' or put_digest != '') order by target"
        )
        return [
            Seen(_asked(source), parse_reference(target, ""), digest or "", bool(arrived), bool(wanted))
            for source, target, digest, arrived, wanted in rows
        ]

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

    def diff_ids(self) -> dict[tuple[str, str], Unpacked]:
        """What is known of layers, by the owner of the config that told it (empty: unpacked here) and digest."""
        rows = self._db.execute("select owner, digest, diff_id, size from diff_ids")
        return {(owner, digest): Unpacked(diff_id, size) for owner, digest, diff_id, size in rows}

    def _put(self) -> dict[str, _Put]:
        rows = self._db.execute(f"select {_COLUMNS_PUT} from copies")  # noqa: S608 - a constant
        return {row[0]: _Put(*(value or "" for value in row[1:])) for row in rows}

    # --- a run, as it goes --------------------------------------------------------------------------------------

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
            self._drop_what_is_there(plan, project)
            rows = [self._planned_row(copy, put.get(str(copy.target), _Put())) for copy in plan.copies]
            self._keep_what_was_seen(plan, rows)
            self._keep_sizes(rows)
            self._db.table("copies").upsert_all(rows, pk="target", batch_size=200)
            self._db.execute("update copies set target_media_type = null where target_digest is not put_digest")
            self._db.execute("update copies set verdict = null where status = ?", [UNWANTED])
            fine = f"verdict in {tuple(map(str, FINE))}"  # what was found fine is no longer what is wanted
            self._db.execute(f"update copies set verdict = null where {fine} and status not in (?, ?)", [DONE, SKIPPED])  # noqa: S608 - constants
            seen = now()
            read = ((digest, m.media_type, m.body, seen) for digest, m in plan.image_manifests.items())
            self._db.conn.executemany("insert or ignore into image_manifests values (?, ?, ?, ?)", read)

    def _drop_what_is_there(self, plan: Plan, project: str) -> None:
        """What was copied stays at the target; who no longer asks for it is not bothered with it either."""
        query = f"select target, source from copies where status in (?, ?) and {OF_PROJECT}"  # noqa: S608 - a constant
        rows = self._db.execute(query, [DONE, SKIPPED, project]).fetchall()
        starts = tuple(f"{place}{mark}" for place in unread(plan) for mark in ":@/")
        wanted = {str(copy.target) for copy in plan.copies}
        gone = [(UNWANTED, target) for target, source in rows if target not in wanted and not source.startswith(starts)]
        self._db.conn.executemany("update copies set status = ? where target = ?", gone)

    def _keep_what_was_seen(self, plan: Plan, rows: list[dict[str, Any]]) -> None:
        """What cannot be read now is no news: its tags stay wanted, and what they named last is remembered."""
        query = "update copies set run_id = ? where substr(source, 1, ?) = ? and status != ?"
        for start in (f"{place}{mark}" for place in unread(plan) for mark in ":@/"):
            self._db.execute(query, [self.run_id, len(start), start, UNWANTED])
        unseen = {row["target"]: row for row in rows if not row["source_digest"] and row["error_class"] != _NOT_FOUND}
        for target, row in unseen.items():
            found = self._db.execute("select source_digest from copies where target = ?", [target]).fetchone()
            row["source_digest"] = found[0] if found else ""

    def _keep_sizes(self, rows: list[dict[str, Any]]) -> None:
        """What an image manifest does not tell (Docker schema 1), and a copy has counted."""
        query = "select size from copies where target = ? and source_digest = ?"
        for row in rows:
            if not row["size"] and row["source_digest"]:
                found = self._db.execute(query, [row["target"], row["source_digest"]]).fetchone()
                row["size"] = found[0] if found else 0

    def _planned_row(self, copy: Copy, before: _Put) -> dict[str, Any]:
        put = _seen(before, copy)
        if copy.moves and copy.present and copy.present != put.put_digest and not put.replaced_digest:
            put = replace(put, replaced_digest=copy.present)
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
        if copy.failure and copy.action is not Action.SKIP:
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
                self._change("copies", "target", str(copy.target), values)

    def record(self, result: JobResult, retry_at: float | None = None) -> None:
        """Keep how a job ended, all of it or nothing; `retry_at` (seconds since the epoch) where it is tried again."""
        with self._writing():
            for copied in result.results:
                self._record_copy(copied, stamp(retry_at) if retry_at else None, result.worker)
            seen, path = now(), result.job.target.path
            rows = ((digest, path, size, seen) for digest, size in result.blobs)
            self._db.conn.executemany("insert or ignore into blobs values (?, ?, ?, ?)", rows)
            learnt = ((digest, owner, it.diff_id, it.size, seen) for owner, digest, it in result.diff_ids)
            self._db.conn.executemany("insert or replace into diff_ids values (?, ?, ?, ?, ?)", learnt)

    def record_left(self, left: Mapping[str, Failure]) -> None:
        """Target tags that nobody could copy, and why: they wait for the next run, however often they were tried."""
        with self._writing():
            for target, failure in left.items():
                self._change("copies", "target", target, {"status": WAITING, "retry_at": None, **_failed(failure)})

    def _record_copy(self, copied: CopyResult, retry_at: str | None, worker: str) -> None:
        failure = copied.failure
        target = str(copied.copy.target)
        ended: dict[str, Any] = {
            "status": DONE if not failure else WAITING if retry_at else _failed_status(failure),
            "ended_at": stamp(copied.ended), "seconds": round(copied.ended - copied.started, 3),
            "attempts": copied.attempt, "retry_at": retry_at, **_failed(failure),
        }  # fmt: skip
        if not failure:
            if copied.size and not copied.copy.size:  # Docker schema 1 does not tell it
                ended["size"] = copied.size
            ended |= {
                "bytes": copied.bytes + self._sent_before(target),
                "target_digest": copied.target_digest, "put_digest": copied.target_digest,
                "target_media_type": copied.target_media_type, "put_from": copied.copy.source.digest,
                "begun_digest": "", "begun_from": "", "warnings": json.dumps(_warnings(copied)),
                "verdict": None, "verdict_words": None, "verdict_class": None, "verified_at": None,
            }  # fmt: skip
        self._change("copies", "target", target, ended)
        attempt = {
            "run_id": self.run_id, "target": target, "number": copied.attempt, "bytes": copied.bytes,
            "started_at": stamp(copied.started), "ended_at": stamp(copied.ended), "retry_at": retry_at,
            "outcome": str(ended["status"]) if not retry_at else FAILED,
            "error_class": ended["error_class"], "error": ended["error"], "worker": worker or None,
        }  # fmt: skip
        self._add("attempts", attempt)

    def _sent_before(self, target: str) -> int:
        """Bytes of the tries of this run that failed."""
        query = "select coalesce(sum(bytes), 0) from attempts where run_id = ? and target = ?"
        return int(self._db.execute(query, [self.run_id, target]).fetchone()[0])

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
                    self._change(
                        "copies", "target", target, {**words, "verified_at": now(), "verified_deep": int(deep)}
                    )

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

    def replaced_tags(self) -> list[dict[str, Any]]:
        """The rows of tags that were overwritten, and what stood there before."""
        ours = f"replaced_digest != '' and (status = ? or (status = ? and {_IS_OURS}))"
        return list(self._db.table("copies").rows_where(ours, [DONE, UNWANTED]))

    def put_tags(self) -> list[dict[str, Any]]:
        """The rows of tags that stand at the target as this tool put them, also of those that are no longer wanted."""
        ours = f"status = ? or (status = ? and {_IS_OURS})"
        return list(self._db.table("copies").rows_where(ours, [DONE, UNWANTED], order_by="target"))

    def record_tag_back(self, target: str) -> None:
        """A tag is again what it was before."""
        with self._writing():
            kept = {"replaced_digest": "", "put_digest": "", "put_from": "", "status": UNWANTED, "verdict": None}
            self._change("copies", "target", target, kept)


def _asked(source: str) -> Reference:
    """A source as it was asked for: a tag without the digest that it had."""
    found = parse_reference(source, "")
    return found.repository.tagged(found.tag) if found.tag else found


def _seen(put: _Put, copy: Copy) -> _Put:
    """A put whose end was not seen has arrived where the target now shows what it would have made."""
    if not put.begun_from or not copy.present:
        return put
    if put.begun_digest:
        arrived = put.begun_digest == copy.present
    else:
        same_content = copy.action is Action.SKIP and copy.options.on_conflict != "skip"
        arrived = same_content and put.begun_from == copy.source.digest
    return _Put(copy.present, put.begun_from, replaced_digest=put.replaced_digest) if arrived else put


def _warnings(copied: CopyResult) -> list[str]:
    """What the plan warned of, and what came to light on the way."""
    return [*copied.copy.warnings, *filter(None, [copied.note])]


def _failed_status(failure: Failure) -> str:
    if failure.kind is FailureClass.INTERRUPTED:
        return WAITING
    return CONFLICT if failure.kind is FailureClass.CONFLICT else FAILED


def _failed(failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return {"error_class": None, "error": None, "advice": None}
    return {"error_class": str(failure.kind), "error": str(failure), "advice": failure.advice}
