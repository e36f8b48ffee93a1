"""What each run did: its tries, and what it left otherwise than the runs before."""

from collections.abc import Sequence
from typing import Any

from migrate.state.rows import OF_PROJECT, Rows, decoded
from migrate.state.statuses import UNWANTED

_SEEN = ("status", "error_class", "target_digest", "verdict")
"""What people are told of a change."""
_NEWS = (
    *_SEEN, "source", "source_digest", "target_media_type", "error", "verdict_words", "verdict_class", "attempts",
    "ended_at",
)  # fmt: skip
"""What makes a run's row of a tag another than that of the runs before."""
_KEPT = (
    *_NEWS, "source_project", "source_media_type", "reason", "advice", "warnings", "size", "bytes", "seconds",
    "verified_at", "replaced_digest",
)  # fmt: skip
"""What is kept of a tag with each change."""
_COLUMNS, _SHOWN = ", ".join(_KEPT), ", ".join(_SEEN)
_LATEST = "(select max(id) from changes l where l.target = c.target)"
_DIFFERS = " or ".join(f"h.{name} is not c.{name}" for name in _NEWS)
_UNSETTLED = (
    f"select target, {_COLUMNS} from copies c where {_LATEST} is null "  # noqa: S608 - constants, as all below
    f"or exists (select 1 from changes h where h.id = {_LATEST} and ({_DIFFERS}))"
)
"""The tags that are otherwise than what was kept of them last."""
_WHY = f"case when status = '{UNWANTED}' then '' else coalesce(' (' || nullif(error_class, status) || ')', '') end"
_WORDS = f"status || {_WHY} || coalesce(', verified: ' || verdict, '')"
_LAST_ID = 2**63 - 1


class HistoryRows(Rows):
    """The tables `runs`, `attempts` and `changes`."""

    @property
    def keeps_history(self) -> bool:
        """Whether what runs changed is kept; older versions did not, and only a run makes their states new."""
        changes = self._db.table("changes")
        return changes.exists() and set(_KEPT) <= set(changes.columns_dict)

    def last_run(self) -> dict[str, Any] | None:
        """The newest run."""
        return next(self._db.table("runs").rows_where(order_by="id desc", limit=1), None)

    def ends(self, run: int = 0) -> tuple[str, str]:
        """Source and target of a run; of the newest where none is named."""
        query = "select source, target from runs where ? in (0, id) order by id desc limit 1"
        row = self._db.execute(query, [run]).fetchone() or ("", "")
        return row[0] or "", row[1] or ""

    def runs(self, project: str = "") -> list[dict[str, Any]]:
        """All runs, oldest first; with the tags that each copied, failed at and changed, and the bytes it sent."""
        of = self._of(project)
        last = f"select run_id, target, outcome, max(id) from attempts where {of} group by run_id, target"  # noqa: S608
        query = f"select run_id, sum(outcome = 'done'), sum(outcome != 'done') from ({last}) group by run_id"  # noqa: S608
        ended = {row[0]: row[1:] for row in self._db.execute(query, self._values(project))}
        query = f"select run_id, coalesce(sum(bytes), 0) from attempts where {of} group by run_id"  # noqa: S608
        sent = dict(self._db.execute(query, self._values(project)).fetchall())
        changed = {row[0]: row[1] for row in self._steps("run_id, count(*)", of, self._values(project), "group by 1")}
        return [
            {
                **row,
                "copied": ended.get(row["id"], (0, 0))[0],
                "failed": ended.get(row["id"], (0, 0))[1],
                "sent": sent.get(row["id"], 0),
                "changed": changed.get(row["id"], 0),
            }
            for row in self._db.table("runs").rows_where(order_by="id")
        ]

    def attempts(self, run: int, project: str = "") -> list[dict[str, Any]]:
        """Every try of a run, oldest first."""
        chosen = f"run_id = ? and {self._of(project)}"
        return self._tries(chosen, [run, *self._values(project)])

    def attempts_at(self, target: str) -> list[dict[str, Any]]:
        """Every try at a target tag, oldest first."""
        return self._tries("target = ?", [target])

    def _tries(self, chosen: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        rows = self._db.table("attempts").rows_where(f"ended_at is not null and {chosen}", values, order_by="id")
        return list(rows)

    def progress(self, run: int, project: str = "") -> tuple[int, int, str | None]:
        """Tags that were brought in a run, and bytes; and when the last try of any run ended."""
        of, values = self._of(project), self._values(project)
        query = "select coalesce(sum(outcome = 'done'), 0), coalesce(sum(bytes), 0) from attempts where run_id = ?"
        done, moved = self._db.execute(f"{query} and {of}", [run, *values]).fetchone()
        last = self._db.execute(f"select ended_at from attempts where {of} order by id desc limit 1", values).fetchone()  # noqa: S608
        return int(done), int(moved), last[0] if last else None

    def workers(self, run: int, project: str = "") -> list[tuple[str, int, int]]:
        """(worker, tags that it brought, bytes) of a run; nothing where the process that planned copied alone."""
        if "worker" not in self._db.table("attempts").columns_dict:
            return []
        query = (
            "select worker, sum(outcome = 'done'), sum(bytes) from attempts "  # noqa: S608
            f"where run_id = ? and worker is not null and {self._of(project)} group by 1 order by 1"
        )
        rows = self._db.execute(query, [run, *self._values(project)])
        return [(row[0], int(row[1]), int(row[2] or 0)) for row in rows]

    def changes(self, run: int, project: str = "") -> list[tuple[str, str, str]]:
        """(target, before, after) of the tags that a run left otherwise, `before` empty where nothing was known."""
        of = f"run_id = ? and {self._of(project)}"
        columns = "target, before, after, digest_before is not target_digest"
        rows = self._steps(columns, of, [run, *self._values(project)], "order by target")
        return [(row[0], row[1], _told(*row[1:])) for row in rows]

    def history(self, target: str) -> list[tuple[int, str, str]]:
        """(run, what it left of a tag, its digest at the target), oldest first."""
        rows = self._steps("run_id, after, coalesce(target_digest, '')", "target = ?", [target], "order by id")
        return [(row[0], row[1], row[2]) for row in rows]

    def outcomes_after(self, run: int) -> dict[str, dict[str, Any]]:
        """What had become of each tag when a run ended, as the columns of `copies` have it, by target."""
        if not self.keeps_history:
            return {}
        query = f"select target, {_COLUMNS}, max(id) from changes where run_id <= ? group by target"  # noqa: S608
        rows = self._db.execute(query, [run])
        return {row[0]: decoded(dict(zip(_KEPT, row[1:], strict=False))) for row in rows}

    def knows_run(self, run: int) -> bool:
        """Whether it was kept how a run left things: by itself, or by one that came after it."""
        if not self.keeps_history:
            return False
        query = (
            "select project is not null or exists (select 1 from changes where run_id <= r.id) from runs r where id = ?"
        )
        row = self._db.execute(query, [run]).fetchone()
        return bool(row and row[0])

    def settle(self, run: int) -> None:
        """Keep what has become of each tag that is otherwise than after the runs before."""
        self._db.execute(f"insert into changes (run_id, target, {_COLUMNS}) select ?, * from ({_UNSETTLED})", [run])  # noqa: S608

    def _steps(self, columns: str, chosen: str, values: Sequence[Any], end: str) -> list[Any]:
        """What people are told of changes: run_id, target, before, after, digests; also of a run that has not ended."""
        if not self.keeps_history:
            return []
        rows = f"select id, run_id, target, {_SHOWN} from changes"  # noqa: S608
        last = self.last_run()
        if last and not last["ended_at"]:
            rows += f" union all select {_LAST_ID}, {int(last['id'])}, target, {_SHOWN} from ({_UNSETTLED})"  # noqa: S608
        query = (
            f"with each_run as (select *, max(id) from ({rows}) group by run_id, target), "  # noqa: S608
            f"told as (select *, {_WORDS} as after from each_run), "
            "steps as (select *, coalesce(lag(after) over by_tag, '') as before, "
            "lag(target_digest) over by_tag as digest_before from told "
            "window by_tag as (partition by target order by id)) "
            f"select {columns} from steps where {chosen} "
            f"and (before != after or digest_before is not target_digest) {end}"
        )
        return self._db.execute(query, [*values]).fetchall()

    def _of(self, project: str) -> str:
        """A condition for tags of a project (source or target); of all where none is named."""
        return f"target in (select target from copies where {OF_PROJECT})" if project else "true"  # noqa: S608

    def _values(self, project: str) -> list[str]:
        return [project] if project else []


def _told(before: str, after: str, is_other: int) -> str:
    """What is said of a tag after a run, where perhaps nothing but its digest has changed."""
    return f"{after}, another digest" if before == after and is_other else after
