"""Takes grants back, for `access revert` and `rollback`."""

from collections.abc import Collection
from dataclasses import dataclass

from migrate.access.read import read_bindings
from migrate.access.rights import RoleName
from migrate.access.stage import login_refused, trouble
from migrate.access.write import KINDS, Applied, Undo, send_undo, undo_binding, undo_role
from migrate.cli.clusters import AccessRun
from migrate.cli.options import json_line, result
from migrate.cluster import MANAGED_BY, MANAGER, Cluster, ClusterError, Problem, advice
from migrate.errors import ExitCode, UsageError
from migrate.kinds import ROLE_BINDING
from migrate.report import access as show


@dataclass
class Tally:
    """What came of taking things back: how many went, how many were left for a person, and how many stay for good."""

    back: int = 0
    left: int = 0
    kept: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """3 where a person has something to do."""
        return ExitCode.INCOMPLETE if self.left else ExitCode.OK

    def words(self, *, dry_run: bool) -> str:
        """`9 taken back, 1 left`."""
        verb = "would be taken back" if dry_run else "taken back"
        parts = [f"{self.back:,} {verb}"]
        parts += [f"{self.left:,} left for you to look at"] if self.left else []
        parts += [f"{self.kept:,} kept"] if self.kept else []
        return ", ".join(parts)


def revert_access(run: AccessRun, tally: Tally, *, dry_run: bool, as_json: bool) -> None:
    """Take back every grant of this state, in the chosen project; each is shown and counted."""
    chosen = _chosen(run)
    gone = set[tuple[str, str]]()
    for item in chosen:
        undo = _undo(run.ends.target, item, gone)
        words = undo.words if not undo.done else _taken_back(run, undo, dry_run=dry_run)
        if undo.delete and not words:
            gone.add((item.project, item.name))
        tally.left += bool(words)
        tally.back += not words
        if as_json:
            name = "failed" if words else "planned" if dry_run else "reverted"
            json_line({"event": name, **show.undo_document(undo, words), "problem": words or None})
        else:
            result([show.undo_line(undo, words, dry_run=dry_run)])


def nothing_applied(run: AccessRun) -> str:
    """What is said where a state knows of no grants."""
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
