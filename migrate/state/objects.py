"""What was applied of workloads, kept so that it can be taken back. Of Secrets nothing but their names is kept."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from migrate.kinds import Kind
from migrate.state.rows import Rows
from migrate.state.statuses import TAKEN_BACK
from migrate.state.times import now
from migrate.workloads.applied import AppliedObject, digest_of, our_fields, replaced

if TYPE_CHECKING:  # a copy needs the state, and none of the rules for workloads
    from migrate.workloads.apply import Planned, Sent


class ObjectRows(Rows):
    """The table `objects`."""

    def record_sending(self, planned: "Planned", server: str) -> int:
        """An object is about to be sent; the number of its row."""
        item = planned.item
        row = {
            "run_id": self.run_id, "server": server, "project": item.project, "api_group": item.kind.group,
            "version": item.kind.version, "kind": item.kind.name, "plural": item.kind.plural, "name": item.name,
            "created": int(planned.before is None), "begun_at": now(),
        }  # fmt: skip
        with self._writing():
            return int(self._db.table("objects").insert(row).last_pk or 0)

    def record_sent(self, row: int, sent: "Sent") -> None:
        """What came of it; one that was surely not taken leaves nothing."""
        with self._writing():
            if sent.document is not None:
                fields = our_fields(sent.document)
                meta = sent.document.get("metadata") or {}
                is_secret = sent.planned.item.kind.name == "Secret"  # short passwords can be guessed from a digest
                digest = "" if is_secret else digest_of(sent.document, fields, created=self._is_created(row))
                before = replaced(sent.planned.before, sent.document, fields, sent.planned.item.kind)
                known = {"uid": meta.get("uid", ""), "ours": _text(fields), "digest": digest, "before": _text(before)}
                self._db.table("objects").update(row, {**known, "applied_at": now()})
            elif sent.error and not sent.error.maybe:
                self._db.table("objects").delete_where("id = ?", [row])

    def _is_created(self, row: int) -> bool:
        """Whether the first of the writes that were not taken back made the object of a row."""
        same = " and ".join(f"o.{name} = r.{name}" for name in ("server", "project", "api_group", "kind", "name"))
        query = f"select o.created from objects o join objects r on {same}"  # noqa: S608 - constants
        query += " where r.id = ? and o.reverted_at is null order by o.id limit 1"
        found = self._db.execute(query, [row]).fetchone()
        return bool(found and found[0])

    def applied_objects(self) -> list[AppliedObject]:
        """Every object of workloads that this state's runs wrote and have not taken back; newest first."""
        rows = self._db.table("objects").rows_where("reverted_at is null", order_by="id")
        written: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            key = (row["server"], row["project"], row["api_group"], row["kind"], row["name"])
            written.setdefault(key, []).append(row)
        found = [_applied(rows) for rows in written.values()]
        return sorted(found, key=lambda item: item.rows[0], reverse=True)

    def record_object_reverted(self, applied: AppliedObject, *, kept: bool) -> None:
        """It was taken back, or is kept at the target for good."""
        with self._writing():
            for row in applied.rows:
                self._db.table("objects").update(row, {"reverted_at": now(), "kept": int(kept)})
            if not kept:
                query = f"update workloads set standing = '{TAKEN_BACK}' where project = ? and object = ?"  # noqa: S608 - a constant
                self._db.execute(query, [applied.project, applied.label])


def _applied(rows: list[dict[str, Any]]) -> AppliedObject:
    """One object over all writes of it, oldest first."""
    first, last = rows[0], rows[-1]
    known = next((row for row in reversed(rows) if row["uid"]), last)
    kind = Kind(last["api_group"], last["version"], last["kind"], last["plural"])
    return AppliedObject(
        tuple(row["id"] for row in rows), last["server"], kind, last["project"], last["name"], bool(first["created"]),
        known["uid"] or "", json.loads(known["ours"] or "{}"), known["digest"] or "", last["begun_at"] or "",
        tuple(json.loads(row["before"]) if row["before"] else None for row in reversed(rows) if not row["created"]),
    )  # fmt: skip


def _text(document: Mapping[str, Any] | None) -> str | None:
    return None if document is None else json.dumps(document)
