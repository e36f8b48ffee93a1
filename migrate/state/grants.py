"""Who may pull: what was written, kept so that it can be taken back; what is wanted, and what was proved."""

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from migrate.access.grants import Grant
from migrate.access.plan import Change, PlannedGrant, ProjectPlan, Standing
from migrate.access.prove import Proof
from migrate.access.subjects import Subject, subjects_of, words_for
from migrate.access.write import Applied, Written
from migrate.kinds import ROLE_BINDING
from migrate.state.rows import Rows
from migrate.state.statuses import TAKEN_BACK
from migrate.state.times import now

_KEY = ("project", "subject", "role", "images")
_KEY_IS = " and ".join(f"{name} = ?" for name in _KEY)


class GrantRows(Rows):
    """The tables `grants` (what was written) and `granted` (what is wanted, and whether it holds)."""

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

    def keep_projects(self, projects: Set[str]) -> None:
        """Forget what was wanted in other projects than these; what was written stays, to be taken back."""
        with self._writing():
            for project in {row[0] for row in self._db.execute("select distinct project from granted")} - projects:
                self._db.table("granted").delete_where("project = ?", [project])

    def record_granted(self, plans: Sequence[ProjectPlan]) -> None:
        """What is wanted in these projects, and how things stand with it; proofs of grants that are there are kept."""
        with self._writing():
            for plan in (plan for plan in plans if not plan.problem):
                known = self._proofs(plan.project)
                self._db.table("granted").delete_where("project = ?", [plan.project])
                rows = [_granted_row(planned) for planned in plan.grants]
                rows = [{**row, **(known.get(_key(row), {}) if _is_there(row) else {})} for row in rows]
                self._db.table("granted").insert_all(rows, pk=_KEY, replace=True)

    def record_proofs(self, proofs: Iterable[Proof]) -> None:
        """Whether each grant was found to hold."""
        with self._writing():
            for proof in proofs:
                row = _grant_row(proof.grant)
                query = f"update granted set holds = ?, proof = ?, proved_at = ? where {_KEY_IS}"  # noqa: S608 - a constant
                self._db.execute(query, [int(proof.holds), proof.words, now(), *_key(row)])

    def _proofs(self, project: str) -> dict[tuple[str, ...], dict[str, Any]]:
        rows = self._db.table("granted").rows_where("project = ? and proved_at is not null", [project])
        return {_key(row): {name: row[name] for name in ("holds", "proof", "proved_at")} for row in rows}

    def record_reverted(self, applied: Applied) -> None:
        """It was taken back."""
        with self._writing():
            for row in applied.ids:
                self._db.table("grants").update(row, {"reverted_at": now()})
        self.record_binding_gone(applied.project, applied.name)

    def record_binding_gone(self, project: str, name: str) -> None:
        """A RoleBinding was taken back: what it opened is open no more, as far as is known."""
        query = "update granted set standing = ?, holds = null, proof = null, proved_at = null"
        with self._writing():
            self._db.execute(f"{query} where project = ? and binding = ?", [TAKEN_BACK, project, name])


def _grant_row(grant: Grant) -> dict[str, Any]:
    return {
        "project": grant.project, "subject": str(grant.subject), "role": grant.role,
        "images": json.dumps(list(grant.images)), "means": words_for(grant.subject), "why": grant.why,
    }  # fmt: skip


def _granted_row(planned: PlannedGrant) -> dict[str, Any]:
    found = {"standing": str(planned.standing), "binding": planned.binding, "words": planned.words}
    return {**_grant_row(planned.grant), **found, "planned_at": now()}


def _is_there(row: Mapping[str, Any]) -> bool:
    return bool(row["standing"] == Standing.THERE)


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _KEY)


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
