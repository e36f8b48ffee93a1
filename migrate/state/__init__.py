"""The only package with SQL: what was done, kept so that a run can go on after anything. SQLite in WAL mode.

The registries are the truth, this is a memory: with it deleted a run is still right, only slower. One process writes
at a time (lock.py); any number may read.
"""

from migrate.state.copies import DONE, SKIPPED, is_wanted
from migrate.state.memory import State
from migrate.state.opening import NoStateError, check_is_no_other_file, open_state, read_state

__all__ = [
    "DONE",
    "SKIPPED",
    "NoStateError",
    "State",
    "check_is_no_other_file",
    "is_wanted",
    "open_state",
    "read_state",
]
