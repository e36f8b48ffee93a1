"""An open state: all of its tables, and the runs."""

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import sqlite_utils

from migrate import __version__
from migrate.state.copies import CopyRows
from migrate.state.findings import FindingRows
from migrate.state.grants import GrantRows
from migrate.state.objects import ObjectRows
from migrate.state.reading import Records
from migrate.state.times import now


class State(Records, CopyRows, GrantRows, ObjectRows, FindingRows):
    """An open state; `run_id` is the run that writes (0 while there is none).

    `moved_from` is where its manifest was before, if it was found at another place this time.
    """

    def __init__(self, db: sqlite_utils.Database, path: Path, moved_from: str = "") -> None:
        super().__init__(db, path)
        self.moved_from = moved_from
        self._began = time.monotonic()

    def begin_run(self, command: str, source: str, target: str, skopeo_version: str = "", project: str = "") -> None:
        """Note that a run begins; what the last one changed, if that was killed, is noted too."""
        row = {
            "command": command, "started_at": now(), "version": __version__, "skopeo_version": skopeo_version,
            "host": socket.gethostname(), "pid": os.getpid(), "source": source, "target": target, "project": project,
        }  # fmt: skip
        last = self.last_run()
        self._began = time.monotonic()
        with self._writing():
            if last:
                self.settle(int(last["id"]))
            self.run_id = int(self._db.table("runs").insert(row).last_pk or 0)

    def end_run(self, exit_code: int, counts: Mapping[str, int], error: str = "", advice: str = "") -> None:
        """Note how the run ended, and what it changed; `error` is what ended it before its end, in words."""
        seconds = round(time.monotonic() - self._began, 3)
        with self._writing():
            row = {
                "ended_at": now(), "exit_code": exit_code, "counts": json.dumps(counts), "seconds": seconds,
                "error": error or None, "advice": advice or None,
            }  # fmt: skip
            self._db.table("runs").update(self.run_id, row)
            self.settle(self.run_id)
