"""What `access apply` wrote, kept so that it can be taken back."""

import json
from typing import Any

from migrate.access.plan import Change
from migrate.access.subjects import Subject, subjects_of
from migrate.access.write import Applied, Written
from migrate.kinds import ROLE_BINDING
from migrate.state.rows import Rows
from migrate.state.times import now


class GrantRows(Rows):
    """The table `grants`."""

    def record_writing(self, change: Change, server: str) -> int:
        """A change of access is about to be sent; the number of its row."""
        row = {
            "run_id": self.run_id, "project": change.project, "kind": change.kind.name, "name": change.name,
            "before": json.dumps(change.before), "after": json.dumps(change.after), "server": server,
        }  # fmt: skip
        with self._writing():
            return int(self._db.table("grants").insert(row).last_pk or 0)

    def record_written(self, row: int, written: Written) -> None:
        """What came of it; one that was surely not taken leaves nothing."""
        with self._writing():
            if written.document is not None:
                after = json.dumps(written.document)
                self._db.table("grants").update(row, {"after": after, "applied_at": now()})
            elif written.error and not written.error.maybe:
                self._db.table("grants").delete_where("id = ?", [row])

    def applied(self) -> list[Applied]:
        """Every object of access rights that this state's runs wrote and have not taken back; bindings first."""
        rows = self._db.table("grants").rows_where("reverted_at is null", order_by="id")
        written: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            written.setdefault((row["server"] or "", row["project"], row["kind"], row["name"]), []).append(row)
        found = [_applied(rows) for rows in written.values()]
        return sorted(found, key=lambda item: (item.project, item.kind != ROLE_BINDING.name, item.name))

    def record_reverted(self, applied: Applied) -> None:
        """It was taken back."""
        with self._writing():
            for row in applied.ids:
                self._db.table("grants").update(row, {"reverted_at": now()})


def _applied(rows: list[dict[str, Any]]) -> Applied:
    """One object over all writes of it, oldest first; writes of one that was deleted since do not count."""
    uids = [_uid(row["after"]) if row["applied_at"] else "" for row in rows]
    uid = next((each for each in reversed(uids) if each), "")
    ours = [row for row, each in zip(rows, uids, strict=True) if each in ("", uid)]
    added: set[Subject] = set()
    for row in ours:
        old = subjects_of(json.loads(row["before"]) or {}, row["project"])
        added |= set(subjects_of(json.loads(row["after"]), row["project"])) - set(old)
    first, last = ours[0], ours[-1]
    return Applied(
        tuple(row["id"] for row in rows), first["project"], first["kind"], first["name"],
        json.loads(first["before"]) is None, uid, frozenset(added), json.loads(last["after"]), last["server"] or "",
    )  # fmt: skip


def _uid(document: str) -> str:
    metadata = json.loads(document).get("metadata")
    return str(metadata.get("uid", "")) if isinstance(metadata, dict) else ""
