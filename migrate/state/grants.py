"""What `access apply` wrote, kept so that it can be taken back."""

import json
from typing import Any

from migrate.access.plan import Change
from migrate.access.subjects import Subject, subjects_of
from migrate.access.write import Applied, Written
from migrate.cluster import ROLE_BINDING, Problem
from migrate.state.rows import Rows
from migrate.state.times import now


class GrantRows(Rows):
    """The table `grants`."""

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
