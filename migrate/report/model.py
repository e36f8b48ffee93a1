"""What a report tells, as one frozen value; every form of it (text, JSON, CSV, Markdown, HTML) is made from this.

Sizes are bytes, durations seconds, times RFC 3339 in UTC; what is not known is None.
"""

from dataclasses import dataclass, field

from migrate.images.verdicts import FINE, Verdict
from migrate.state.statuses import AT_TARGET, TROUBLED

VERSION = 1
"""Of the JSON document; docs/report.schema.json describes it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command that writes the state.

    Attributes:
        number: runs are counted from 1.
        how: `ended`, `at work`, or `cut off` (killed; it ended without a word).
        exit_code: as docs/cli.md says.
        project: the one that `--project` chose; empty for all.
        copied: tags that it brought, by its attempts.
        failed: tags whose last attempt in it failed.
        changed: tags that it changed.
        sent: bytes.
        error: what ended it before its end; empty where nothing did.
        advice: what to do about that.
    """

    number: int
    command: str
    how: str
    started_at: str
    ended_at: str | None
    seconds: float | None
    exit_code: int | None
    project: str
    copied: int
    failed: int
    changed: int
    sent: int
    version: str
    skopeo_version: str
    host: str
    error: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """One target tag.

    Attributes:
        target, source: references.
        outcome: done, skipped (it was there), waiting, cut off, failed, conflict or refused.
        verdict: what verify said (equal, kept, different, missing, unknown); None where it was not asked.
        failure: the class of what went wrong (docs/failures.md).
        reason: why it is as it is, in words.
        advice: what to do; empty where nothing is.
        format_before, format_after: what sort of image it was and is.
        size: of all its layers and configs, as the source has them; of Docker schema 1 as the target has.
        sent: bytes that were sent for it; the first tag of an image has them all.
        seconds: of its last attempt.
        warnings: what was lost or changed on the way.
        replaced_digest: what somebody else had under the tag and was overwritten because the manifest says so.
    """

    target: str
    source: str
    source_project: str
    target_project: str
    repository: str
    tag: str
    outcome: str
    verdict: str | None
    failure: str | None
    reason: str
    advice: str
    source_digest: str | None
    target_digest: str | None
    format_before: str | None
    format_after: str | None
    size: int
    sent: int
    seconds: float | None
    attempts: int
    warnings: tuple[str, ...]
    ended_at: str | None
    verified_at: str | None
    replaced_digest: str | None

    @property
    def is_there(self) -> bool:
        """Whether it is at the target, as far as is known: copied or found there, and not missed by verify since."""
        return self.outcome in AT_TARGET and self.verdict != Verdict.MISSING

    @property
    def is_here(self) -> bool:
        """Whether its own content is there, and not that of somebody else, which is kept."""
        return self.is_there and self.verdict != Verdict.KEPT

    @property
    def is_wrong(self) -> bool:
        """Whether it failed, or verify found something else than it should be."""
        return self.outcome in TROUBLED or self.verdict not in (None, *FINE)

    @property
    def name(self) -> str:
        """The target without its registry."""
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository} (every tag)"


@dataclass(frozen=True, slots=True)
class Todo:
    """Something that needs a person: how many of what, why, what to do, and what to type."""

    topic: str
    number: int
    words: str
    advice: str
    command: str


@dataclass(frozen=True, slots=True)
class FailureClass:
    """Tags that failed for the same sort of reason."""

    name: str
    meaning: str
    advice: str
    tags: int


@dataclass(frozen=True, slots=True)
class Project:
    """A target project in numbers of tags.

    Attributes:
        size: of all its tags, each counted by itself; `size_at_target` of those that are there.
        seconds: the sum of all its copies'.
    """

    name: str
    tags: int
    at_target: int
    verified: int
    troubled: int
    size: int
    size_at_target: int
    sent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Sharing:
    """Where the bytes went of what is at the target; all but `total` add up to it.

    Attributes:
        total: each tag counted by itself.
        tags: more tags of an image that is there once.
        layers: layers and configs that several images share.
        there: what the target had already, or lent from another repository.
        sent: what was sent.
    """

    total: int
    tags: int
    layers: int
    there: int
    sent: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A piece of the time of a run: bytes a second, and copies at work on average."""

    at: str
    seconds: float
    rate: float
    busy: float


@dataclass(frozen=True, slots=True)
class Change:
    """A tag that the reported run changed; empty where nothing was known before."""

    target: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Who is to be let in, to what, and whether it holds.

    Attributes:
        means: who that is, for a person.
        images: image streams; none for all.
        why: where the wish comes from.
        standing: there, add (not applied yet), taken back or refused.
        binding: the RoleBinding that has it or would.
        holds: whether that was found true; None where nobody has tried.
        proof: how that is known.
    """

    project: str
    subject: str
    means: str
    role: str
    images: tuple[str, ...]
    why: str
    standing: str
    binding: str
    words: str
    holds: bool | None
    proof: str
    proved_at: str | None

    @property
    def how(self) -> str:
        """The standing, for people."""
        return {"add": "not applied yet", "refused": "impossible as written"}.get(self.standing, self.standing)


@dataclass(frozen=True, slots=True)
class AccessChange:
    """A Role or RoleBinding that was written: who was in it before and after, and whether it was taken back."""

    project: str
    kind: str
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    applied_at: str | None
    reverted_at: str | None
    run: int


@dataclass(frozen=True, slots=True)
class Workload:
    """An object of workloads: how it stands with the target, and what was applied of it.

    Attributes:
        object: `Deployment/web`.
        place: file and line; empty where only what was applied is known.
        images: what its containers name.
        standing: new, changes, same, there, waits, taken back, conflict or refused; empty where it was not looked at.
        applied: made, changed, taken back, kept (by a rollback, for it holds data); or empty.
    """

    project: str
    object: str
    place: str
    images: tuple[str, ...]
    standing: str
    words: str
    applied: str
    applied_at: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule changed in a workload, or what is to be known of it (docs/rules.md)."""

    folder: str
    project: str
    file: str
    line: int
    object: str
    path: str
    rule: str
    says: str
    mode: str
    before: str
    after: str
    words: str


@dataclass(frozen=True)
class Report:
    """Everything that is told of a migration.

    Attributes:
        headline: whether it worked, in a sentence.
        well: whether nothing is left that needs a person.
        todo: what needs a person, the most important first.
        counts: tags by outcome.
        verdicts: tags at the target by verdict; `not yet` where verify has not looked.
        run: the run that is reported.
        is_past: whether it is an earlier run than the last; access, workloads and findings are known only as of now,
            and left out then.
        timeline_run: the run whose copies `timeline` shows: this one, or the last that copied anything; 0 for none.
        changes: what the run changed.
    """

    made_at: str
    manifest: str
    state: str
    project: str
    source: str
    target: str
    version: str
    headline: str
    well: bool
    counts: dict[str, int]
    verdicts: dict[str, int]
    todo: tuple[Todo, ...]
    run: Run | None
    is_past: bool
    runs: tuple[Run, ...]
    changes: tuple[Change, ...]
    timeline_run: int
    timeline: tuple[Slot, ...]
    sharing: Sharing
    failures: tuple[FailureClass, ...]
    projects: tuple[Project, ...]
    images: tuple[Image, ...] = field(repr=False)
    access: tuple[Grant, ...] = ()
    access_changes: tuple[AccessChange, ...] = ()
    workloads: tuple[Workload, ...] = ()
    findings: tuple[Finding, ...] = ()
