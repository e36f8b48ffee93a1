"""Everything that is known of one image: as a value, as lines of one screen, as a document. Pure, but for the state."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from migrate.errors import UsageError
from migrate.quantities import count, format_duration, format_size
from migrate.report.json_form import plain
from migrate.report.mentions import Mentions, parts_of
from migrate.report.model import VERSION, Finding, Grant, Image, Report, Workload
from migrate.report.sharing import Bodies, blobs_of
from migrate.state.reading import Records
from migrate.state.statuses import cut_off

_FEW, _SHOWN = 8, 12


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer or config: how many other images of this migration have it, and where the target was seen to have it."""

    digest: str
    size: int
    others: int
    held_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, in which run, and what came of it; `worker` is the Dask worker that made it, empty for none."""

    run: int
    number: int
    started_at: str
    ended_at: str
    sent: int
    outcome: str
    failure: str | None
    words: str
    worker: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What a run left of it."""

    run: int
    outcome: str
    digest: str


@dataclass(frozen=True)
class Explained:
    """One target tag and everything around it."""

    image: Image
    blobs: tuple[Blob, ...]
    attempts: tuple[Attempt, ...]
    history: tuple[Moment, ...]
    access: tuple[Grant, ...]
    workloads: tuple[Workload, ...]
    findings: tuple[Finding, ...]


def find_image(report: Report, name: str, dropped: Iterable[Image] = ()) -> Image:
    """The image that a person means: by its target or source, with or without the registry, or by a digest.

    Args:
        report: of the state.
        name: what they typed.
        dropped: images that are no longer wanted; looked at where no other is meant.

    Raises:
        UsageError: there is none, or more than one.
    """
    found = [image for image in report.images if name in _exact(image)]
    found = found or [image for image in report.images if name in _loose(image)]
    found = found or [image for image in dropped if name in _exact(image)]
    if not found:
        near = [image.name for image in report.images if name.rpartition("/")[2].partition(":")[0] in image.name]
        listed = f"there are {', '.join(near[:_FEW])}" if near else "status and report list what there is"
        raise UsageError(f"{name}: this state knows no such image", listed)
    if len(found) > 1:
        more = f", and {len(found) - _FEW} more" if len(found) > _FEW else ""
        listed = f"choose one of {', '.join(image.name for image in found[:_FEW])}{more}"
        raise UsageError(f"{name}: that may be any of {count(len(found), 'tag')}", listed)
    return found[0]


def _exact(image: Image) -> tuple[str, ...]:
    """What names exactly one target tag."""
    return (image.target, image.name)


def _loose(image: Image) -> Iterator[str]:
    """What may name several: its source, a repository, a digest, with or without the registry."""
    path, tag, _ = parts_of(image.source)
    names = {path, image.repository, *([f"{path}:{tag}"] if tag else [])}
    names |= {f"{path}:{tag}@{image.source_digest}"} if tag else set()
    names |= {f"{path}@{image.source_digest}", f"{image.repository}@{image.target_digest}"}
    yield image.source
    for registry in (image.source.partition("/")[0], image.target.partition("/")[0]):
        yield from (f"{registry}/{name}" for name in names)
    yield from names
    yield from filter(None, (image.source_digest, image.target_digest))


def explain(report: Report, records: Records, image: Image) -> Explained:
    """Gather what is known around an image."""
    blobs = tuple(_blobs(report.images, records, image))
    mentions = Mentions(report.images)
    stream = image.repository.partition("/")[2]
    return Explained(
        replace(image, advice=_filled(image.advice, image, report.source)),
        blobs,
        tuple(_attempt(row) for row in records.attempts_at(image.target)),
        tuple(_history(records.history(image.target), records.last_run() or {}, report)),
        tuple(g for g in report.access if g.project == image.target_project and stream in (g.images or (stream,))),
        tuple(each for each in report.workloads if image.name in mentions.of_workload(each)),
        tuple(each for each in report.findings if image.name in mentions.of_finding(each)),
    )


def _blobs(images: Sequence[Image], records: Records, image: Image) -> Iterator[Blob]:
    """Its layers and configs, and who else has them; only image manifests that name one of them are read."""
    bodies = records.image_manifest_bodies()
    own = dict(blobs_of(image.source_digest or "", bodies))
    near = _with_any(bodies, own)
    near |= _with_any(bodies, near)  # indexes of these
    shared = Counter(digest for each in _distinct(images) & set(near) for digest in dict(blobs_of(each, near)))
    for digest, size in own.items():
        yield Blob(digest, size, max(shared[digest] - 1, 0), tuple(records.repositories_with(digest)))


def _with_any(bodies: Bodies, digests: Iterable[str]) -> dict[str, tuple[str, bytes]]:
    """The image manifests in which one of these digests stands."""
    words = re.compile(b"|".join(re.escape(digest.encode()) for digest in digests) or b"(?!)")
    return {digest: body for digest, body in bodies.items() if words.search(body[1])}


def _history(rows: Sequence[tuple[int, str, str]], last: Mapping[str, Any], report: Report) -> Iterator[Moment]:
    at_work = last.get("id") if report.run and report.run.how == "at work" else 0
    for run, outcome, digest in rows:
        yield Moment(run, outcome if run == at_work else cut_off(outcome), digest)


def _distinct(images: Sequence[Image]) -> set[str]:
    return {image.source_digest for image in images if image.source_digest}


def _attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(
        row["run_id"], row["number"], row["started_at"], row["ended_at"], row["bytes"] or 0, row["outcome"],
        row["error_class"], row["error"] or "", row.get("worker") or "",
    )  # fmt: skip


def explain_document(found: Explained) -> dict[str, Any]:
    """`explain --format json`."""
    return {"version": VERSION, "kind": "explained", **plain(found)}


def explain_lines(found: Explained) -> Iterator[str]:
    """One screen of text."""
    image = found.image
    yield f"{image.name}: {image.outcome}{f', verified: {image.verdict}' if image.verdict else ''}"
    if image.reason:
        yield f"  {image.reason}"
    if image.advice:
        yield f"  -> {image.advice}"
    yield ""
    yield from _ends(image)
    for warning in image.warnings:
        yield f"changed   {warning}"
    yield from _blob_lines(found.blobs)
    yield from _attempt_lines(found)
    for grant in found.access:
        what = ", ".join(grant.images) or grant.role
        holds = {None: "not tried", True: "holds", False: "does NOT hold"}[grant.holds]
        yield f"access    {grant.means}: {what}, {grant.how}, {holds}{f' ({grant.proof})' if grant.proof else ''}"
    for each in found.workloads[:_SHOWN]:
        words = f": {each.words}" if each.words else ""
        yield f"workload  {each.object} of {each.project}: {each.applied or each.standing}{words}"
    yield from _more(found.workloads)
    for finding in found.findings[:_SHOWN]:
        change = f"{finding.before} -> {finding.after}" if finding.after else finding.words or finding.says
        yield f"          {finding.file}:{finding.line} {finding.rule}: {change}"
    yield from _more(found.findings)


def _filled(advice: str, image: Image, registry: str) -> str:
    """A class's advice, with the names of one image in it; `registry` is the source, whose images are named without."""
    path, tag, digest = parts_of(image.source)
    host = image.source.partition("/")[0]
    source = f"{'' if host == registry else f'{host}/'}{path}{f':{tag}' if tag else f'@{digest}'}"
    return advice.replace("<source image>", source).replace("<target tag>", image.name)


def _more(values: Sequence[Any]) -> Iterator[str]:
    if len(values) > _SHOWN:
        yield f"          ... and {len(values) - _SHOWN} more (--format json has all)"


def _ends(image: Image) -> Iterator[str]:
    yield f"source    {image.source.partition('@')[0]}"
    yield f"          {image.format_before or 'not read'}, {image.source_digest or 'no digest known'}"
    yield f"target    {image.target}"
    yield f"          {image.format_after or image.outcome}, {image.target_digest or 'no digest known'}"
    if image.replaced_digest:
        yield f"          replaced {image.replaced_digest} (onConflict: overwrite)"


def _blob_lines(blobs: Sequence[Blob]) -> Iterator[str]:
    if not blobs:
        return
    shared = [blob for blob in blobs if blob.others]
    parts = f", {len(shared)} shared with other images" if shared else ""
    size = sum(blob.size for blob in blobs)
    yield f"layers    {count(len(blobs), 'blob')}{f', {format_size(size)}' if size else ''}{parts}"
    for blob in blobs[:_SHOWN]:
        others = f", in {count(blob.others, 'other image')}" if blob.others else ""
        held = f", at the target in {', '.join(blob.held_in[:2])}" if blob.held_in else ""
        size_words = format_size(blob.size) if blob.size else "size not known"
        yield f"          {blob.digest[:19]} {size_words}{others}{held}"
    yield from _more(blobs)


def _attempt_lines(found: Explained) -> Iterator[str]:
    for attempt in found.attempts[-_SHOWN:]:
        took = format_duration(max(_seconds(attempt.ended_at) - _seconds(attempt.started_at), 0))
        sent = f", {format_size(attempt.sent)} sent in {took}" if attempt.sent or not attempt.words else ""
        words = f"{sent}{f': {attempt.words}' if attempt.words else ''}"
        who = f" by {attempt.worker}" if attempt.worker else ""
        yield f"run {attempt.run:<5} {attempt.started_at[:19]}Z try {attempt.number}{who} {attempt.outcome}{words}"
    if not found.attempts:
        yield from (f"run {each.run:<5} {each.outcome}" for each in found.history[-_SHOWN:])


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
