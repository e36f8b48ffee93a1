"""The tables, version by version: migrations of sqlite-utils. What was released stays; changes are new ones."""

import sqlite_utils
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("rahti-migrate")


@MIGRATIONS()
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


@MIGRATIONS()
def m002_depth(db: sqlite_utils.Database) -> None:
    """How deep verify has looked."""
    db.table("copies").add_column("verified_deep", int)


@MIGRATIONS()
def m003_verdict_class(db: sqlite_utils.Database) -> None:
    """Why verify does not know, or that only a person can decide."""
    db.table("copies").add_column("verdict_class", str)


@MIGRATIONS()
def m004_server(db: sqlite_utils.Database) -> None:
    """Which API a grant was sent to."""
    db.table("grants").add_column("server", str)


@MIGRATIONS()
def m005_objects(db: sqlite_utils.Database) -> None:
    """What was applied of workloads; nothing ever stood in `rewrites`."""
    db.table("rewrites").drop(ignore=True)
    db.table("objects").create(
        {
            "id": int, "run_id": int, "server": str, "project": str, "api_group": str, "version": str, "kind": str,
            "plural": str, "name": str, "created": int, "before": str, "uid": str, "ours": str, "digest": str,
            "begun_at": str, "applied_at": str, "reverted_at": str,
        },
        pk="id",
    )  # fmt: skip


@MIGRATIONS()
def m006_replaced(db: sqlite_utils.Database) -> None:
    """What `onConflict: overwrite` replaced."""
    db.table("copies").add_column("replaced_digest", str)


@MIGRATIONS()
def m007_diff_ids(db: sqlite_utils.Database) -> None:
    """What layers of Docker schema 1 images are once they are unpacked, and whose config told it."""
    columns = {"digest": str, "owner": str, "diff_id": str, "size": int, "seen_at": str}
    db.table("diff_ids").create(columns, pk=("digest", "owner"))


@MIGRATIONS()
def m008_history(db: sqlite_utils.Database) -> None:
    """What each run changed, and what reports tell of access and workloads beyond what was written."""
    db.table("runs").add_column("seconds", float)
    db.table("runs").add_column("project", str)
    db.table("changes").create(
        {
            "id": int, "run_id": int, "target": str, "status": str, "error_class": str, "target_digest": str,
            "verdict": str,
        },
        pk="id",
    )  # fmt: skip
    db.table("changes").create_index(["target"])
    db.table("attempts").create_index(["run_id"])
    db.table("granted").create(
        {
            "project": str, "subject": str, "role": str, "images": str, "means": str, "why": str, "standing": str,
            "binding": str, "words": str, "planned_at": str, "holds": int, "proof": str, "proved_at": str,
        },
        pk=("project", "subject", "role", "images"),
    )  # fmt: skip
    db.table("findings").create(
        {
            "id": int, "folder": str, "project": str, "file": str, "line": int, "object": str, "path": str,
            "rule": str, "says": str, "mode": str, "before": str, "after": str, "words": str, "found_at": str,
        },
        pk="id",
    )  # fmt: skip
    db.table("workloads").create(
        {
            "folder": str, "project": str, "object": str, "place": str, "images": str, "standing": str, "words": str,
            "planned_at": str,
        },
        pk=("folder", "project", "object"),
    )  # fmt: skip


@MIGRATIONS()
def m009_views(db: sqlite_utils.Database) -> None:
    """Names for what people ask (docs/queries.md)."""
    db.create_view(
        "outcomes",
        "select target, source, source_project, target_project, status, verdict, error_class, "
        "coalesce(error, reason) as words, advice, attempts, size, bytes as bytes_sent, seconds, source_digest, "
        "target_digest, source_media_type, target_media_type, started_at, ended_at, verified_at, run_id "
        "from copies where status != 'no longer wanted'",
    )
    db.create_view(
        "failures",
        "select * from outcomes where status in ('failed', 'conflict', 'refused') or verdict not in ('equal', 'kept')",
    )
    db.create_view(
        "by_project",
        "select target_project, count(*) as tags, sum(status in ('done', 'skipped')) as at_target, "
        "sum(coalesce(verdict, '') in ('equal', 'kept')) as verified, "
        "sum(status in ('failed', 'conflict', 'refused')) as troubled, "
        "sum(status in ('waiting', 'running')) as waiting, "
        "sum(coalesce(size, 0)) as size, sum(coalesce(bytes_sent, 0)) as bytes_sent, "
        "min(started_at) as started_at, max(ended_at) as ended_at from outcomes group by target_project",
    )


@MIGRATIONS()
def m010_history_whole(db: sqlite_utils.Database) -> None:
    """All that is told of a tag is kept with each change; and the views say what reports say."""
    for name in (
        "source", "source_project", "source_digest", "error", "ended_at", "reason", "advice", "warnings",
        "source_media_type", "target_media_type", "verdict_words", "verdict_class", "verified_at", "replaced_digest",
    ):  # fmt: skip
        db.table("changes").add_column(name, str)
    for name, kind in (("attempts", int), ("size", int), ("bytes", int), ("seconds", float)):
        db.table("changes").add_column(name, kind)
    wrong = "coalesce(verdict, 'equal') not in ('equal', 'kept')"
    db.create_view(
        "outcomes",
        "select target, source, source_project, target_project, status, verdict, "  # noqa: S608 - constants
        f"coalesce(error_class, case when {wrong} then verdict_class end) as error_class, "
        f"coalesce(error, case when {wrong} then verdict_words else reason end) as words, advice, attempts, "
        "status in ('done', 'skipped') and coalesce(verdict, '') != 'missing' as at_target, "
        f"status in ('failed', 'conflict', 'refused') or {wrong} as troubled, "
        "max(coalesce(size, 0), coalesce(bytes, 0)) as size, bytes as bytes_sent, seconds, source_digest, "
        "target_digest, source_media_type, target_media_type, started_at, ended_at, verified_at, run_id "
        "from copies where status != 'no longer wanted'",
        replace=True,
    )
    db.create_view(
        "failures",
        "select * from outcomes where troubled or (status in ('waiting', 'running') and error_class is not null)",
        replace=True,
    )
    db.create_view(
        "by_project",
        "select target_project, count(*) as tags, sum(at_target) as at_target, "
        "sum(coalesce(verdict, '') in ('equal', 'kept')) as verified, sum(troubled) as troubled, "
        "sum(status in ('waiting', 'running')) as waiting, sum(size) as size, "
        "sum(at_target * (coalesce(verdict, '') != 'kept') * size) as size_at_target, "
        "sum(coalesce(bytes_sent, 0)) as bytes_sent, "
        "min(started_at) as started_at, max(ended_at) as ended_at from outcomes group by target_project",
        replace=True,
    )


@MIGRATIONS()
def m011_worker(db: sqlite_utils.Database) -> None:
    """Who made a try, where others than this process copy."""
    db.table("attempts").add_column("worker", str)


@MIGRATIONS()
def m012_kept(db: sqlite_utils.Database) -> None:
    """What a rollback leaves at the target, though it is done with it."""
    db.table("objects").add_column("kept", int)


@MIGRATIONS()
def m013_why_a_run_ended(db: sqlite_utils.Database) -> None:
    """What ended a run before its end, and what to do about it."""
    db.table("runs").add_column("error", str)
    db.table("runs").add_column("advice", str)


KNOWN_MIGRATIONS = frozenset(
    {
        "m001_first", "m002_depth", "m003_verdict_class", "m004_server", "m005_objects", "m006_replaced",
        "m007_diff_ids", "m008_history", "m009_views", "m010_history_whole",
        "m011_worker", "m012_kept", "m013_why_a_run_ended",
    }
)  # fmt: skip
