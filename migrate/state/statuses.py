"""What may come of a target tag: the column `status` of `copies`."""

from collections.abc import Mapping
from typing import Any

WAITING, RUNNING, DONE, SKIPPED, FAILED = "waiting", "running", "done", "skipped", "failed"
CONFLICT, REFUSED = "conflict", "refused"
CUT_OFF = "cut off"
"""What people are told of what runs while nobody is at work; never stored."""
UNWANTED = "no longer wanted"
TAKEN_BACK = "taken back"
"""How a grant or an object of workloads stands that a rollback took away; of their tables, not of `copies`."""
AT_TARGET = (DONE, SKIPPED)
TROUBLED = (FAILED, CONFLICT, REFUSED)


def cut_off(words: str) -> str:
    """What is told of a tag (`running, equal`), where nobody is at work any more."""
    return CUT_OFF + words.removeprefix(RUNNING) if words.startswith(RUNNING) else words


def is_wanted(row: Mapping[str, Any]) -> bool:
    """Whether the manifest still asks for this row of `copies`."""
    return bool(row["status"] != UNWANTED)
