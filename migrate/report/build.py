"""From what a state remembers to the one value that every report is made of. Pure, but for reading the state."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from migrate import __version__
from migrate.errors import UsageError
from migrate.images.failures import MEANINGS
from migrate.images.failures import FailureClass as Class
from migrate.images.formats import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_INDEX,
    OCI_MANIFEST,
)
from migrate.images.verdicts import FINE, Verdict
from migrate.quantities import count
from migrate.report.model import (
    AccessChange,
    Change,
    FailureClass,
    Finding,
    Grant,
    Image,
    Project,
    Report,
    Run,
    Workload,
)
from migrate.report.sharing import sharing_of
from migrate.report.timeline import timeline_of
from migrate.report.todo import todo_of
from migrate.state.reading import Records
from migrate.state.statuses import AT_TARGET, CUT_OFF, DONE, RUNNING, TAKEN_BACK, UNWANTED, WAITING, cut_off
from migrate.state.times import now

_KEPT = "kept"
FORMATS = {
    DOCKER_SCHEMA1: "Docker schema 1",
    DOCKER_SCHEMA1_SIGNED: "Docker schema 1",
    DOCKER_MANIFEST: "Docker",
    DOCKER_LIST: "Docker list",
    OCI_MANIFEST: "OCI",
    OCI_INDEX: "OCI index",
}
"""What people call the media type of an image manifest."""


def build_report(
    records: Records, command: Callable[[str], str], *, project: str = "", run: int = 0, writer: str = ""
) -> Report:
    """Read a state.

    Args:
        records: the state.
        command: what to type for one of our commands on this manifest, such as `copy`.
        project: only this one (of the source or the target); empty for all.
        run: report as things stood when this run ended; 0 for now.
        writer: who is at work now; empty for nobody.

    Raises:
        UsageError: there is no such run.
    """
    past = _is_past(records, run)
    runs = tuple(_runs(records, project, run, writer))
    chosen = runs[-1] if runs else None
    images = tuple(_images(records, project, run if past else 0, writer))
    ours = _ours(images, project)
    access = () if past else tuple(_grant(row) for row in records.granted() if ours(row["project"]))
    workloads = () if past else tuple(each for each in _workloads(records) if ours(each.project))
    findings = () if past else tuple(_finding(row) for row in records.findings() if ours(row["project"]))
    written = [row for row in records.grants_written() if ours(row["project"])]
    todo = todo_of(chosen, images, access, workloads, findings, command)
    ends = records.ends(run)
    busiest = next((each.number for each in reversed(runs) if each.copied or each.failed), 0)
    there = [image for image in images if image.is_here]
    return Report(
        made_at=now(),
        manifest=records.manifest_path(),
        state=str(records.path),
        project=project,
        source=ends[0],
        target=ends[1],
        version=__version__,
        headline=_headline(images, len(todo)),
        well=not todo,
        counts=dict(sorted(Counter(image.outcome for image in images).items())),
        verdicts=dict(
            sorted(Counter(i.verdict or "not yet" for i in images if i.verdict or i.outcome in AT_TARGET).items())
        ),
        todo=todo,
        run=chosen,
        is_past=past,
        runs=runs,
        changes=tuple(_changes(records, chosen, project)) if chosen else (),
        timeline_run=run or busiest,
        timeline=tuple(timeline_of(records.attempts(run or busiest, project))),
        sharing=sharing_of(there, records.image_manifest_bodies()),
        failures=tuple(_failures(images)),
        projects=tuple(_projects(images)),
        images=images,
        access=access,
        access_changes=tuple(_access_change(row) for row in written if not past or row["run_id"] <= run),
        workloads=workloads,
        findings=findings,
    )


def _ours(images: Iterable[Image], project: str) -> Callable[[str], bool]:
    """Whether something of a project of the target is told."""
    targets = {image.target_project for image in images} | {project}
    return lambda name: not project or name in targets


# --- runs -------------------------------------------------------------------------------------------------------


def _runs(records: Records, project: str, last: int, writer: str) -> Iterator[Run]:
    """The runs up to one (0 for all) that had to do with a project."""
    newest = int((records.last_run() or {"id": 0})["id"])
    for row in records.runs(project):
        made = _run(row, writer if row["id"] == newest else "")
        is_of_project = not project or made.project in ("", project) or made.copied or made.failed or made.changed
        if made.number == last or (is_of_project and (not last or made.number < last)):
            yield made


def _run(row: Mapping[str, Any], writer: str) -> Run:
    ended = bool(row["ended_at"])
    return Run(
        number=row["id"],
        command=row["command"],
        how="ended" if ended else "at work" if writer else CUT_OFF,
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        seconds=row.get("seconds"),
        exit_code=row["exit_code"],
        project=row.get("project") or "",
        copied=row["copied"],
        failed=row["failed"],
        changed=row["changed"],
        sent=row["sent"],
        version=row["version"] or "",
        skopeo_version=row["skopeo_version"] or "",
        host=row["host"] or "",
        error=row.get("error") or "",
        advice=row.get("advice") or "",
    )


def _is_past(records: Records, number: int) -> bool:
    """Whether a run (0 for the last) is an earlier one than the last.

    Raises:
        UsageError: there is no such run, or nothing was kept of how it left things.
    """
    last = int((records.last_run() or {"id": 0})["id"])
    if number > last:
        raise UsageError(f"--run {number}: there is no such run", f"there are 1 to {last}" if last else "")
    past = 0 < number < last
    if past and not records.knows_run(number):
        raise UsageError(
            f"--run {number}: an older rahti-migrate made it, and did not keep how it left things",
            "leave --run out: every run is listed with what it copied",
        )
    return past


def _changes(records: Records, run: Run, project: str) -> Iterator[Change]:
    """What a run left otherwise; what runs while nobody is at work was cut off."""
    for target, before, after in records.changes(run.number, project):
        yield Change(target, cut_off(before), after if run.how == "at work" else cut_off(after))


# --- images -----------------------------------------------------------------------------------------------------


def _images(records: Records, project: str, past_run: int, writer: str) -> Iterator[Image]:
    """The tags as they are, or as an earlier run left them."""
    then = records.outcomes_after(past_run) if past_run else {}
    for row in records.copies(project):
        if past_run and row["target"] not in then:
            continue
        seen = {**row, **then[row["target"]]} if past_run else row
        if seen["status"] != UNWANTED:
            yield _image(seen, "" if past_run else writer)


def dropped_images(records: Records) -> Iterator[Image]:
    """The tags that are no longer wanted, of which a report does not tell."""
    for row in records.copies():
        if row["status"] == UNWANTED:
            words = "the last run did not find it at the source or in the manifest, or a rollback put it back"
            yield replace(_image(row, ""), reason=words, advice="plan --prune-report lists such tags")


def _image(row: Mapping[str, Any], writer: str) -> Image:
    repository, tag = _name(row["target"])
    return Image(
        target=row["target"],
        source=row["source"],
        source_project=row["source_project"] or "",
        target_project=row["target_project"] or "",
        repository=repository,
        tag=tag,
        outcome=CUT_OFF if row["status"] == RUNNING and not writer else row["status"],
        verdict=row["verdict"],
        failure=row["error_class"] or _class_of_verdict(row),
        reason=_reason(row),
        advice=_advice(row),
        source_digest=row["source_digest"] or None,
        target_digest=row["target_digest"] or None,
        format_before=FORMATS.get(row["source_media_type"], row["source_media_type"]) or None,
        format_after=FORMATS.get(row["target_media_type"] or "", row["target_media_type"]) or None,
        size=max(row["size"] or 0, row["bytes"] or 0),
        sent=row["bytes"] or 0,
        seconds=row["seconds"],
        attempts=row["attempts"] or 0,
        warnings=tuple(row["warnings"]),
        ended_at=row["ended_at"],
        verified_at=row["verified_at"],
        replaced_digest=row.get("replaced_digest") or None,
    )


def _name(target: str) -> tuple[str, str]:
    """Repository and tag of a target; no tag where an entry that means every tag could not be listed."""
    path, _, tag = target.partition("/")[2].partition(":")
    return path, tag


def _class_of_verdict(row: Mapping[str, Any]) -> str | None:
    return None if row["verdict"] in (None, *FINE) else row["verdict_class"]


def _reason(row: Mapping[str, Any]) -> str:
    """Why it is as it is: what went wrong, else what verify found, else what the plan said."""
    if row["error"]:
        return str(row["error"])
    if row["verdict"] not in (None, *FINE):
        return str(row["verdict_words"] or "")
    if row["status"] == DONE:
        return "copied, and confirmed by the target"
    return str(row["reason"] or "")


def _advice(row: Mapping[str, Any]) -> str:
    if row["error_class"]:
        return str(row["advice"] or MEANINGS[Class(row["error_class"])].advice)
    kind = _class_of_verdict(row)
    if kind:
        return MEANINGS[Class(kind)].advice
    return "copy: that brings it" if row["verdict"] in ("missing", "different") else ""


def _failures(images: Iterable[Image]) -> Iterator[FailureClass]:
    """Classes of failure, the most frequent first."""
    counts = Counter(image.failure for image in images if image.failure)
    for name, number in counts.most_common():
        meaning = MEANINGS[Class(name)]
        yield FailureClass(str(name), meaning.meaning, meaning.advice, number)


def _projects(images: Iterable[Image]) -> Iterator[Project]:
    members: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        members[image.target_project].append(image)
    for name, tags in sorted(members.items()):
        yield Project(
            name=name,
            tags=len(tags),
            at_target=sum(tag.is_there for tag in tags),
            verified=sum(tag.verdict in FINE for tag in tags),
            troubled=sum(tag.is_wrong for tag in tags),
            size=sum(tag.size for tag in tags),
            size_at_target=sum(tag.size for tag in tags if tag.is_here),
            sent=sum(tag.sent for tag in tags),
            seconds=round(sum(tag.seconds or 0 for tag in tags), 3),
        )


def _headline(images: Sequence[Image], todo: int) -> str:
    if not images:
        return "Nothing is known of images yet" if todo else "No image is asked for"
    there = sum(image.is_there for image in images)
    verified = sum(image.verdict in FINE for image in images)
    kept = sum(image.verdict == Verdict.KEPT for image in images)
    left = sum(image.outcome in (WAITING, RUNNING, CUT_OFF) for image in images)
    wrong = sum(image.is_wrong for image in images)
    if there < len(images) or wrong:
        tags = f"{there:,} of {count(len(images), 'tag')} {'is' if there == 1 else 'are'} at the target"
        waiting = f", {left:,} still to be copied" if left else ""
        return f"{tags}{waiting}{f', {wrong:,} in trouble' if wrong else ''}"
    tags = "The one tag is" if there == 1 else f"All {count(there, 'tag')} are"
    if verified < there:
        return f"{tags} at the target, {f'{verified:,} of them verified' if verified else 'not verified yet'}"
    if kept:
        own = there - kept
        tags = f"{own:,} of {count(there, 'tag')} {'is' if own == 1 else 'are'}"
    others = f", {kept:,} left with other content (onConflict: skip)" if kept else ""
    return f"{tags} at the target and verified{others}{'; some things need you' if todo else ''}"


# --- access and workloads ---------------------------------------------------------------------------------------


def _grant(row: Mapping[str, Any]) -> Grant:
    return Grant(
        project=row["project"],
        subject=row["subject"],
        means=row["means"].strip(", "),
        role=row["role"],
        images=tuple(json.loads(row["images"] or "[]")),
        why=row["why"],
        standing=row["standing"],
        binding=row["binding"],
        words=row["words"],
        holds=None if row["holds"] is None else bool(row["holds"]),
        proof=row["proof"] or "",
        proved_at=row["proved_at"],
    )


def _access_change(row: Mapping[str, Any]) -> AccessChange:
    return AccessChange(
        project=row["project"],
        kind=row["kind"],
        name=row["name"],
        before=tuple(_in_words(json.loads(row["before"] or "null"))),
        after=tuple(_in_words(json.loads(row["after"] or "null"))),
        applied_at=row["applied_at"],
        reverted_at=row["reverted_at"],
        run=row["run_id"] or 0,
    )


def _in_words(document: Mapping[str, Any] | None) -> Iterator[str]:
    """Who is in a RoleBinding, or what a Role allows, a line each."""
    for each in (document or {}).get("subjects") or ():
        place = f"{each['namespace']}/" if each.get("namespace") else ""
        yield f"{each.get('kind', '')} {place}{each.get('name', '')}"
    for rule in (document or {}).get("rules") or ():
        names = rule.get("resourceNames") or ["all"]
        yield f"{', '.join(rule.get('verbs') or ())} {', '.join(rule.get('resources') or ())}: {', '.join(names)}"


def _workloads(records: Records) -> Iterator[Workload]:
    """Every object that was looked at or applied, once."""
    written = _written(records.objects_written())
    for row in records.workloads():
        applied, at = written.pop((row["project"], row["object"]), ("", None))
        has_come = (
            row["standing"] in ("new", "changes")
            and applied not in (TAKEN_BACK, _KEPT)
            and (at or "") >= row["planned_at"]
        )
        yield Workload(
            row["project"], row["object"], row["place"], tuple(json.loads(row["images"] or "[]")),
            "same" if has_come else row["standing"], row["words"], applied, at,
        )  # fmt: skip
    for (project, label), (applied, at) in written.items():
        yield Workload(project, label, "", (), "", "", applied, at)


def _written(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[str, str | None]]:
    """(project, `Deployment/web`) -> what was done last, and when."""
    found: dict[tuple[str, str], tuple[str, str | None]] = {}
    for row in rows:
        key = (row["project"], f"{row['kind']}/{row['name']}")
        done = _done(row)
        if done == "changed" and found.get(key, ("",))[0] == "made":
            done = "made"
        found[key] = (done, row["reverted_at"] or row["applied_at"])
    return found


def _done(row: Mapping[str, Any]) -> str:
    if row["reverted_at"]:
        return _KEPT if row.get("kept") else TAKEN_BACK
    return "made" if row["created"] else "changed"


def _finding(row: Mapping[str, Any]) -> Finding:
    names = ("folder", "project", "file", "object", "path", "rule", "says", "mode", "before", "after", "words")
    return Finding(line=row["line"], **{name: str(row[name] or "") for name in names})
