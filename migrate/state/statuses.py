"""What may come of a target tag: the column `status` of `copies`."""

from collections.abc import Mapping
from typing import Any

WAITING, RUNNING, DONE, SKIPPED, FAILED = "waiting", "running", "done", "skipped", "failed"
CONFLICT, REFUSED = "conflict", "refused"
UNWANTED = "no longer wanted"
AT_TARGET = (DONE, SKIPPED)
TROUBLED = (FAILED, CONFLICT, REFUSED)


def is_wanted(row: Mapping[str, Any]) -> bool:
    """Whether the manifest still asks for this row of `copies`."""
    return bool(row["status"] != UNWANTED)
