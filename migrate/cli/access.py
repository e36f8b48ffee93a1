"""`rahti-migrate access`: who may pull from the target projects; plan, apply, revert, verify."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from migrate.access.plan import ProjectPlan, Standing, role_of
from migrate.access.prove import Proof
from migrate.access.read import read_bindings
from migrate.access.rights import RoleName
from migrate.access.stage import Ends, Entry, apply_project, login_refused, plan_access, trouble
from migrate.access.subjects import Subject
from migrate.access.write import KINDS, Applied, Undo, Writing, Written, send_undo, undo_binding, undo_role
from migrate.cli.memory import begun_run, keep
from migrate.cli.options import (
    FormatOption,
    ManifestArgument,
    OutputFormat,
    ProjectOption,
    StateOption,
    VerboseOption,
    WaitLoginOption,
    json_document,
    json_line,
    login_wait,
    result,
    set_up_logging,
)
from migrate.cli.paths import state_path
from migrate.cli.program import command_line, options_given, wait_given
from migrate.cli.proofs import proved
from migrate.cli.session import Session, open_session, questions
from migrate.cluster import MANAGED_BY, MANAGER, Cluster, ClusterError, Problem, advice
from migrate.errors import ExitCode, MigrateError, UsageError
from migrate.kinds import ROLE_BINDING
from migrate.report import access as show
from migrate.state.memory import State
from migrate.state.opening import read_state
from migrate.state.reading import NoStateError

DryOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be taken back.")]

app = typer.Typer(
    name="access",
    help="Who may pull from the target projects.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def plan(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Show what the target projects grant now, and what would be added; writes nothing.

    Example: rahti-migrate access plan my-app.yaml
    """
    set_up_logging(verbose)
    with open_session(manifest, project) as session:
        plans = planned_access(session, open_ends(session))
        path = state_path(manifest, state)
        keep(session.manifest, path, "access plan", lambda kept: kept.record_granted(plans))
    left = leftovers(state_path(manifest, state), manifest, plans)
    if output is OutputFormat.JSON:
        json_document(show.access_plan_document(plans, left))
    else:
        result([*show.access_plan_lines(plans), *show.leftover_lines(left)])
        if any(each.changes for each in plans):
            result([f"To apply: {command_line('access apply', manifest, options_given(state, project))}"])
    return access_exit_code(plans)


def apply(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Add what is missing; nothing of others is changed, and `access revert` takes it back.

    Example: rahti-migrate access apply my-app.yaml
    """
    set_up_logging(verbose)
    as_json = output is OutputFormat.JSON
    with open_access(manifest, state, project, "access apply", wait_login) as run:
        code = apply_access(run, planned_access(run.session, run.ends), as_json=as_json)
        run.state.end_run(code, {})
    return code


def revert(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    dry_run: DryOption = False,
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Take back exactly what `access apply` did; what others did since stays.

    Example: rahti-migrate access revert my-app.yaml
    """
    set_up_logging(verbose)
    with open_access(manifest, state, project, "access revert", wait_login) as run:
        code = revert_access(run, dry_run=dry_run, as_json=output is OutputFormat.JSON)
        run.state.end_run(code, {})
    return code


def verify(
    manifest: ManifestArgument,
    state: StateOption = None,
    project: ProjectOption = "",
    wait_login: WaitLoginOption = "",
    output: FormatOption = OutputFormat.TEXT,
    verbose: VerboseOption = 0,
) -> int:
    """Prove each grant: by pulling as the grantee would, else by asking the API about them.

    Example: rahti-migrate access verify my-app.yaml
    """
    set_up_logging(verbose)
    with open_session(manifest, project, login_wait(wait_login)) as session:
        ends = open_ends(session)
        plans = planned_access(session, ends)
        proofs, beyond = proved(session, ends, plans)
        keep(session.manifest, state_path(manifest, state), "access verify", partial(_record, plans, proofs))
    left = leftovers(state_path(manifest, state), manifest, plans)
    if output is OutputFormat.JSON:
        json_document(show.proofs_document(proofs, beyond, plans, left))
    else:
        result([*show.proof_lines(proofs, beyond, plans), *show.leftover_lines(left)])
    if any(proof.login for proof in proofs):
        return ExitCode.LOGIN
    if access_exit_code(plans) or not all(proof.holds for proof in proofs):
        return ExitCode.INCOMPLETE
    return ExitCode.OK


def _record(plans: Sequence[ProjectPlan], proofs: Sequence[Proof], kept: State) -> None:
    kept.record_granted(plans)
    kept.record_proofs(proofs)


# --- what they share --------------------------------------------------------------------------------------------


@dataclass
class AccessRun:
    """A command that writes access rights: a session, its state, both clusters, and the options it was given."""

    session: Session
    state: State
    ends: Ends
    options: tuple[str, ...] = ()


@contextmanager
def open_access(manifest: Path, state: Path | None, project: str, command: str, wait_login: str) -> Iterator[AccessRun]:
    """Open what a command needs that writes access rights."""
    with open_session(manifest, project, login_wait(wait_login)) as session:
        options = options_given(state, project)
        ends = open_ends(session, carry=command not in ("access revert", "rollback"))
        again = command_line(
            command, manifest, (*options, *(["--apply"] if command == "finish" else []), *wait_given(wait_login))
        )
        with begun_run(session, state_path(manifest, state), command, again) as (opened, _):
            yield AccessRun(session, opened, ends, options)


def open_ends(session: Session, *, carry: bool = True) -> Ends:
    """Both clusters; the target is asked who we are.

    Raises:
        UsageError: the manifest names no API where one is needed.
        LoginError: the login is not taken.
        MigrateError: the API is out of reach.
    """
    target = session.cluster("target")
    if target is None:
        raise UsageError(
            "access and workloads are written by the target's OpenShift API, and none is named", api_advice("target")
        )
    entries = session.manifest.file.access or []
    source = session.cluster("source") if carry and any(entry.carry_over for entry in entries) else None
    if source is None and carry and any(entry.carry_over for entry in entries):
        raise UsageError("carryOver reads the source's OpenShift API, and none is named", api_advice("source"))
    return Ends(target, source, project_names(session), _whoami(target), partial(stream_names, session))


def api_advice(end: str) -> str:
    """How a manifest names the API of one end."""
    return f"say `{end}.api: {{kubeconfigContext: ...}}`, or `{{server: https://..., tokenEnv: ...}}`, in the manifest"


def project_names(session: Session) -> dict[str, tuple[str, ...]]:
    """Source project -> the target projects that it goes to, of all that the manifest moves; first what it says."""
    host = session.manifest.file.source.registry
    named = {source: [target] for source, target in session.manifest.file.projects.items()}
    for request in session.manifest.images:
        if request.source.repository.registry == host:
            named.setdefault(request.source.repository.project, []).append(request.target_path.partition("/")[0])
    return {source: tuple(dict.fromkeys(targets)) for source, targets in named.items()}


def stream_names(session: Session, source: str, stream: str, target: str) -> tuple[str, ...]:
    """What an image stream of a source project is called in a target project; nothing where it does not go there.

    A manifest that moves none of the project's images says nothing of it: then names stay.
    """
    host = session.manifest.file.source.registry
    requests = [r for r in session.manifest.images if r.source.repository.registry == host]
    requests = [r for r in requests if r.source.repository.project == source]
    if not requests:
        return (stream,)
    names = []
    for request in requests:
        project, _, name = request.target_path.partition("/")
        if project == target and (request.project or request.source.repository.path == f"{source}/{stream}"):
            names.append(stream if request.project else name)
    return tuple(dict.fromkeys(names))


def _whoami(target: Cluster) -> str:
    try:
        return target.whoami()
    except ClusterError as error:
        if error.problem is Problem.LOGIN:
            raise login_refused(target, error) from None
        if error.problem in (Problem.UNREACHABLE, Problem.INVALID):
            words = f"the API {target.server} cannot be used: {error.words}"
            raise MigrateError(words, "check `target.api` and the network, then run again") from None
        return ""  # a cluster without OpenShift's users


def entries_of(session: Session, project: str) -> list[Entry]:
    """The manifest's entries for a target project."""
    return [(i, entry) for i, entry in enumerate(session.manifest.file.access or ()) if entry.project == project]


def planned_access(session: Session, ends: Ends) -> list[ProjectPlan]:
    """The plan of every project that the manifest grants something in, or of the chosen one.

    Raises:
        UsageError: there is none.
    """
    entries = session.manifest.file.access
    if not entries:
        raise UsageError(
            f"{session.manifest.path}: there is no `access` in this manifest", "add one; see docs/access.md"
        )
    plans = plans_of(session, ends)
    if not plans:
        known = ", ".join(sorted({entry.project for entry in entries}))
        raise UsageError(f"--project {session.project}: nothing is granted there", f"`access` has {known}")
    return plans


def plans_of(session: Session, ends: Ends) -> list[ProjectPlan]:
    """The same, where there may be none."""
    with questions() as executor:
        return plan_access(ends, session.manifest.file.access or [], session.project, executor)


def leftovers(path: Path, manifest: Path, plans: Sequence[ProjectPlan] | None) -> list[tuple[Applied, Subject]]:
    """What earlier runs granted and the manifest no longer names: nothing takes it back by itself.

    Without plans the manifest names nothing; of a project that could not be looked at nothing is said.
    """
    if plans is None:
        with suppress(NoStateError), read_state(path, manifest) as memory:
            return [(item, subject) for item in memory.applied() for subject in sorted(item.added)]
        return []
    grants = [(each.project, p) for each in plans for p in each.grants]
    wanted = {(project, p.grant.subject, name) for project, p in grants for name in (role_of(p.grant), p.binding)}
    looked_at = {each.project for each in plans if not each.problem and not each.incomplete}
    with suppress(NoStateError), read_state(path, manifest) as memory:
        return [
            (item, subject)
            for item in memory.applied()
            for subject in sorted(item.added)
            if item.project in looked_at
            and wanted.isdisjoint((item.project, subject, name) for name in (_role_bound(item), item.name))
        ]
    return []


def _role_bound(item: Applied) -> str:
    return str((item.after.get("roleRef") or {}).get("name", ""))


def access_exit_code(plans: Sequence[ProjectPlan]) -> int:
    """0, or 3 where something cannot be granted."""
    return ExitCode.INCOMPLETE if any(each.needs_attention for each in plans) else ExitCode.OK


# --- apply and revert -------------------------------------------------------------------------------------------


def apply_access(run: AccessRun, plans: Sequence[ProjectPlan], *, as_json: bool, last: str = "summary") -> int:
    """Write what is missing, project by project; one project's trouble does not stop the others.

    Args:
        run: what writes.
        plans: of each project.
        as_json: print JSON lines.
        last: what the last of them is called.
    """
    failed, written = 0, 0
    whole = {each.project for each in plans}
    final = {each.project: each for each in plans}
    for each in plans:
        for event in apply_project(run.ends, each, entries_of(run.session, each.project)):
            if isinstance(event, ProjectPlan):
                final[each.project] = event
                continue
            if isinstance(event, Writing):
                row = run.state.record_writing(event.change, run.ends.target.server)
                continue
            run.state.record_written(row, event)
            if event.again:
                continue
            failed += event.error is not None
            written += event.error is None
            if event.error is not None:
                whole.discard(each.project)
            _say_written(run.ends, event, as_json=as_json)
    again = list(final.values()) != list(plans)
    plans = list(final.values())
    run.state.record_granted([_written_out(each) if each.project in whole else each for each in plans])
    code = ExitCode.INCOMPLETE if failed or access_exit_code(plans) else ExitCode.OK
    if as_json:
        for each in (plan for plan in plans if plan.needs_attention):
            json_line({"event": "project", **show.project_document(each)})
        counts = {str(s): sum(g.standing is s for each in plans for g in each.grants) for s in Standing}
        json_line({"event": last, "counts": counts, "written": written, "exitCode": int(code)})
    else:
        _say_applied(run, plans, written, failed, again=again)
    return code


def _written_out(plan: ProjectPlan) -> ProjectPlan:
    """A project's plan once everything of it was written."""
    return replace(
        plan,
        grants=tuple(replace(g, standing=Standing.THERE) if g.standing is Standing.ADD else g for g in plan.grants),
    )


def _say_written(ends: Ends, event: Written, *, as_json: bool) -> None:
    problem, way_out = trouble(ends, event.change.project, event.error) if event.error else ("", "")
    if as_json:
        name = "failed" if problem else "written"
        document = show.change_document(event.change)
        json_line({"event": name, **document, "problem": problem or None, "advice": way_out or None})
    else:
        result(show.written_lines(event.change, problem, way_out))


def _say_applied(run: AccessRun, plans: Sequence[ProjectPlan], written: int, failed: int, *, again: bool) -> None:
    result(show.trouble_lines(plans))
    if written or failed or again or access_exit_code(plans):
        result([show.applied_summary(plans, written, failed)])
    else:
        result([f"{show.access_summary(plans)}; nothing to write: every grant is there already"])
    if written or any(grant.standing is Standing.THERE for each in plans for grant in each.grants):
        result([f"To prove it: {command_line('access verify', run.session.manifest.path, run.options)}"])


def revert_access(run: AccessRun, *, dry_run: bool, as_json: bool) -> int:
    """Take back every grant of this state, in the chosen project."""
    chosen = _chosen(run)
    left, gone = 0, set[tuple[str, str]]()
    for item in chosen:
        undo = _undo(run.ends.target, item, gone)
        words = undo.words if not undo.done else _taken_back(run, undo, dry_run=dry_run)
        if undo.delete and not words:
            gone.add((item.project, item.name))
        left += bool(words)
        if as_json:
            name = "failed" if words else "planned" if dry_run else "reverted"
            json_line({"event": name, **show.undo_document(undo, words), "problem": words or None})
        else:
            result([show.undo_line(undo, words, dry_run=dry_run)])
    code = ExitCode.INCOMPLETE if left else ExitCode.OK
    if as_json:
        json_line({"event": "summary", "reverted": len(chosen) - left, "left": left, "exitCode": int(code)})
    else:
        verb = "would be taken back" if dry_run else "taken back"
        rest = f", {left} left" if left else ""
        result([f"{len(chosen) - left} {verb}{rest}" if chosen else _nothing_applied(run)])
    return code


def _nothing_applied(run: AccessRun) -> str:
    label = f"oc get rolebindings,roles -l {MANAGED_BY}={MANAGER} -n PROJECT"
    return f"nothing to take back as far as this state ({run.state.path}) knows; what this tool ever made: {label}"


def _chosen(run: AccessRun) -> list[Applied]:
    """What this state has applied, in the chosen project.

    Raises:
        UsageError: neither the manifest nor the state knows that project.
    """
    applied, chosen = run.state.applied(), run.session.project
    if not chosen:
        return applied
    names = {chosen, *run.ends.projects.get(chosen, ())}
    known = {entry.project for entry in run.session.manifest.file.access or ()} | {item.project for item in applied}
    if not names & known:
        raise UsageError(f"--project {chosen}: nothing was granted there", f"there is {', '.join(sorted(known))}")
    return [item for item in applied if item.project in names]


def _undo(target: Cluster, item: Applied, gone: Collection[tuple[str, str]]) -> Undo:
    """What taking one object back means, as it is now; `gone` are bindings that go before it."""
    if item.server and item.server != target.server:
        return Undo(item, f"was written at {item.server}, and {target.server} is another API", done=False)
    try:
        live = target.get(KINDS[item.kind], item.name, item.project)
        if item.kind == ROLE_BINDING.name:
            return undo_binding(item, live)
        bindings = read_bindings(target, item.project)
    except ClusterError as error:
        if error.problem is Problem.LOGIN:
            raise login_refused(target, error) from None
        way_out = advice(error.problem, item.project)
        return Undo(item, f"cannot be read: {error}{f' -> {way_out}' if way_out else ''}", done=False)
    role = RoleName(item.kind, item.name)
    return undo_role(item, live, [b.name for b in bindings if b.role == role and (item.project, b.name) not in gone])


def _taken_back(run: AccessRun, undo: Undo, *, dry_run: bool) -> str:
    """Take one object back and note it; why that failed, in words, else empty."""
    if dry_run:
        return ""
    try:
        send_undo(run.ends.target, undo)
    except ClusterError as error:
        return " -> ".join(filter(None, trouble(run.ends, undo.applied.project, error)))
    run.state.record_reverted(undo.applied)
    return ""


COMMANDS = (plan, apply, revert, verify)
