"""`rahti-migrate rollback`: takes back what was applied, in reverse order, and says what it leaves."""

from collections.abc import Iterator
from typing import Any

from migrate.access.stage import login_refused
from migrate.cli.access import DryOption
from migrate.cli.clusters import AccessRun, open_access, project_names
from migrate.cli.options import (
    FormatOption,
    ManifestArgument,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    WaitLoginOption,
    json_line,
    result,
    set_up_logging,
)
from migrate.cli.revert import Tally, revert_access
from migrate.cluster import ClusterError, Problem
from migrate.images.registry import RegistryError
from migrate.kinds import ROLE_BINDING
from migrate.quantities import count
from migrate.reference import parse_reference
from migrate.workloads.applied import AppliedObject
from migrate.workloads.undo import UndoObject, send_undo_object, undo_object


def rollback(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    dry_run: DryOption = False,
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Take back what was applied, workloads and then access; nothing that holds data, and nothing that others changed.

    Example: rahti-migrate rollback my-app.yaml --dry-run
    """
    set_up_logging(verbose)
    as_json = output is OutputFormat.JSON
    with open_access(manifest, state, project, "rollback", wait_login) as run:
        tally = Tally()
        _objects(run, tally, dry_run=dry_run, as_json=as_json)
        if any(_is_chosen(run, item.project) for item in run.state.applied()):
            revert_access(run, tally, dry_run=dry_run, as_json=as_json)
        _tags(run, tally, dry_run=dry_run, as_json=as_json)
        code = tally.exit_code
        if as_json:
            counts = {"reverted": tally.back, "left": tally.left, "kept": tally.kept}
            json_line({"event": "rollback", **counts, "exitCode": int(code)})
        else:
            nothing = "nothing that this state knows of is left to take back"
            words = nothing if tally == Tally() else tally.words(dry_run=dry_run)
            result([words, _images_left(run, dry_run=dry_run)])
        run.state.end_run(code, {})
    return code


# --- workloads --------------------------------------------------------------------------------------------------


def _objects(run: AccessRun, tally: Tally, *, dry_run: bool, as_json: bool) -> None:
    """Take back each object, newest first; each is shown and counted."""
    for applied in run.state.applied_objects():
        if not _is_chosen(run, applied.project):
            continue
        undo = _undo(run, applied)
        problem = "" if undo.done else undo.words
        if undo.done and not dry_run:
            problem = _send(run, undo)
        if as_json:
            name = "failed" if problem else "left" if undo.stays else "planned" if dry_run else "reverted"
            words = problem or undo.words
            json_line({"event": name, "object": applied.label, "project": applied.project, "words": words})
        else:
            result(_lines(undo, problem, dry_run=dry_run))
        tally.left += bool(problem)
        tally.kept += undo.stays
        tally.back += not problem and not undo.stays


def _is_chosen(run: AccessRun, project: str) -> bool:
    """Whether a target project is the one that `--project` names, by its own name or a source's."""
    chosen = run.session.project
    return chosen in ("", project) or project in project_names(run.session).get(chosen, ())


def _undo(run: AccessRun, applied: AppliedObject) -> UndoObject:
    cluster = run.ends.target
    if applied.server != cluster.server:
        return UndoObject(applied, f"was written at {applied.server}, and {cluster.server} is another API", done=False)
    try:
        return undo_object(applied, cluster.get(applied.kind, applied.name, applied.project))
    except ClusterError as error:
        if error.problem is Problem.LOGIN:
            raise login_refused(cluster, error) from None
        return UndoObject(applied, f"cannot be read: {error.words}", done=False)


def _send(run: AccessRun, undo: UndoObject) -> str:
    """Take one object back and note it; why that failed, else empty."""
    try:
        send_undo_object(run.ends.target, undo)
    except ClusterError as error:
        if error.problem is Problem.LOGIN:
            raise login_refused(run.ends.target, error) from None
        return error.words
    run.state.record_object_reverted(undo.applied, kept=undo.stays)
    if undo.applied.kind.name == ROLE_BINDING.name and not undo.stays:
        run.state.record_binding_gone(undo.applied.project, undo.applied.name)
    return ""


def _lines(undo: UndoObject, problem: str, *, dry_run: bool) -> Iterator[str]:
    where = f"{undo.applied.label} of project {undo.applied.project}"
    if problem or undo.stays:
        yield f"  left      {where}: {(problem or undo.words).removeprefix('left: ')}"
        if undo.command:
            yield f"            -> if it is to go: {undo.command}"
    else:
        yield f"  {'would be ' if dry_run and (undo.delete or undo.restored) else ''}{undo.words}: {where}"


# --- images -----------------------------------------------------------------------------------------------------


def _tags(run: AccessRun, tally: Tally, *, dry_run: bool, as_json: bool) -> None:
    """Tags that `onConflict: overwrite` replaced go back to what they were; each is shown and counted."""
    for row in run.state.replaced_tags():
        target = parse_reference(row["target"], run.session.target.host)
        project = target.repository.project
        if not _is_chosen(run, project):
            continue
        problem = "" if dry_run else _tag_back(run, row, target.repository.path, target.tag)
        old = row["replaced_digest"][:19]
        if as_json:
            name = "failed" if problem else "planned" if dry_run else "reverted"
            json_line(
                {"event": name, "tag": row["target"], "digest": row["replaced_digest"], "problem": problem or None}
            )
        elif problem:
            result([f"  left      {row['target']}: {problem}"])
        else:
            result([f"  {'would be ' if dry_run else ''}put back to {old}: {row['target']}"])
        tally.left += bool(problem)
        tally.back += not problem


def _tag_back(run: AccessRun, row: dict[str, Any], path: str, tag: str) -> str:
    registry = run.session.target
    try:
        now = registry.find_manifest(path, tag)
        if now is None:
            return "the tag is not there any more"
        if now.digest == row["replaced_digest"]:
            run.state.record_tag_back(row["target"])
            return ""
        if now.digest != row["put_digest"]:
            return "somebody else has put something there since"
        registry.put_manifest(path, tag, registry.manifest(path, row["replaced_digest"]))
    except RegistryError as error:
        return f"{row['replaced_digest'][:19]} cannot be put back: {error.failure}"
    run.state.record_tag_back(row["target"])
    return ""


def _images_left(run: AccessRun, *, dry_run: bool) -> str:
    """What stays at the target for a person to delete; in a dry run, what would."""
    back = {row["target"] for row in run.state.replaced_tags()} if dry_run else set()
    rows = [row for row in run.state.put_tags() if row["target"] not in back]
    if not rows:
        return "No image of this manifest was put to the target."
    projects = sorted({row["target_project"] for row in rows})
    commands = "; ".join(f"oc get imagestreamtags -n {project}" for project in projects)
    stay = "stays" if len(rows) == 1 else "stay"
    return f"{count(len(rows), 'image tag')} {stay} at the target, for images are never deleted: {commands}"
