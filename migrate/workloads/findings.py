"""What a rule did or saw, as values."""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How much of a human a finding needs; in the order in which people want to read them."""

    BLOCKED = "blocked"
    ASKED = "asked"
    WARNED = "warned"
    LEFT_OUT = "leftOut"
    NOTED = "noted"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was changed, or that is to be known.

    Attributes:
        file: as it is called below the folder that was given.
        line: in the file as it was, from 1.
        object: `Deployment/web`; empty where it is about the file.
        path: where in the object, as `spec.template.spec.containers[0].image`.
        before, after: the value, cut to a line; empty where nothing stood or stands there.
        words: what is to be known beyond the rule's sentence; for a human that must act, what to do.
    """

    file: str
    line: int
    object: str
    path: str
    rule: str
    mode: Mode
    before: str = ""
    after: str = ""
    words: str = ""

    @property
    def needs_human(self) -> bool:
        """Whether somebody must decide or act before this can be applied."""
        return self.mode in (Mode.BLOCKED, Mode.ASKED)
