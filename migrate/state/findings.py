"""What rules found in workloads, and how each object stood with the target; kept for reports."""

import json
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from migrate.state.rows import Rows
from migrate.state.times import now

if TYPE_CHECKING:  # a copy needs the state, and none of the rules for workloads
    from migrate.workloads.apply import Planned
    from migrate.workloads.findings import Finding


class FindingRows(Rows):
    """The tables `findings` and `workloads`; the newest look at a folder replaces what was known of it."""

    def keep_folders(self, folders: Set[str]) -> None:
        """Forget what was found in other folders than these."""
        with self._writing():
            for table in ("findings", "workloads"):
                known = {row[0] for row in self._db.execute(f"select distinct folder from {table}")}  # noqa: S608
                for folder in known - folders:
                    self._db.table(table).delete_where("folder = ?", [folder])

    def record_findings(
        self, folder: str, project: str, findings: Sequence["Finding"], says: Mapping[str, str]
    ) -> None:
        """What a rewrite into a folder has found; `says` is a rule's own sentence, by rule."""
        seen = now()
        rows = (
            {
                "folder": folder, "project": project, "file": each.file, "line": each.line, "object": each.object,
                "path": each.path, "rule": each.rule, "says": says.get(each.rule, ""), "mode": str(each.mode),
                "before": each.before, "after": each.after, "words": each.words, "found_at": seen,
            }
            for each in findings
        )  # fmt: skip
        with self._writing():
            self._db.table("findings").delete_where("folder = ?", [folder])
            self._db.table("findings").insert_all(rows)

    def record_standings(self, folder: str, project: str, planned: Sequence["Planned"]) -> None:
        """How each object of a folder stood with the target when it was looked at last."""
        seen = now()
        rows = (
            {
                "folder": folder, "project": project, "object": each.item.label, "place": each.item.place,
                "images": json.dumps(sorted(set(each.item.images))), "standing": str(each.standing),
                "words": each.words, "planned_at": seen,
            }
            for each in planned
        )  # fmt: skip
        with self._writing():
            self._db.table("workloads").delete_where("folder = ?", [folder])
            self._db.table("workloads").insert_all(rows, pk=("folder", "project", "object"), replace=True)
