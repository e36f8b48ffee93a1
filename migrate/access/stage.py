"""The stage as a whole: for each target project its entries, what both clusters say, and the plan that follows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial

from migrate.access.grants import Grant, carried, written
from migrate.access.plan import ProjectPlan, plan_project
from migrate.access.read import ClusterRoles, pulls_of, read_bindings, read_project, read_roles
from migrate.access.subjects import GROUP, SERVICE_ACCOUNT, USER
from migrate.access.write import Writing, Written, apply_changes
from migrate.cluster import Cluster, ClusterError, Problem, advice
from migrate.errors import LoginError
from migrate.kinds import GROUP as GROUP_KIND
from migrate.kinds import PROJECT, Kind
from migrate.kinds import SERVICE_ACCOUNT as ACCOUNT_KIND
from migrate.kinds import USER as USER_KIND
from migrate.manifest.model import AccessEntry

_PEOPLE = {USER: USER_KIND, GROUP: GROUP_KIND}
_TRIES = 3
_LOOK_AGAIN = (Problem.CONFLICT, Problem.UNREACHABLE)
"""Somebody changed it at the same time; or the answer got lost, and it may have arrived."""
Entry = tuple[int, AccessEntry]


@dataclass
class Ends:
    """Both clusters, and how projects are called at each.

    Attributes:
        target: where grants go.
        source: where `carryOver` looks; None where the manifest names no API for it.
        projects: source project -> its target projects, of all that the manifest moves.
        user: who asks at the target, for advice; empty where that is not known.
        moved: (source project, image stream, target project) -> its names there; none where it does not go there.
    """

    target: Cluster
    source: Cluster | None
    projects: Mapping[str, Sequence[str]]
    user: str = ""
    moved: Callable[[str, str, str], Sequence[str]] = lambda _source, stream, _target: (stream,)
    target_roles: ClusterRoles = field(init=False)
    source_roles: ClusterRoles | None = field(init=False)

    def __post_init__(self) -> None:
        self.target_roles = ClusterRoles(self.target)
        self.source_roles = ClusterRoles(self.source, legacy=True) if self.source else None

    def sources(self, project: str) -> list[str]:
        """The source projects that a target project is made of; itself where the manifest says nothing."""
        return sorted(source for source, targets in self.projects.items() if project in targets) or [project]


def plan_access(ends: Ends, entries: Sequence[AccessEntry], project: str, executor: Executor) -> list[ProjectPlan]:
    """What would happen in each project, in the manifest's order; `project` chooses one (empty: all).

    Raises:
        LoginError: a cluster no longer takes the login.
    """
    grouped: dict[str, list[Entry]] = {}
    for index, entry in enumerate(entries):
        if not project or project in (entry.project, *ends.sources(entry.project)):
            grouped.setdefault(entry.project, []).append((index, entry))
    return list(executor.map(lambda item: plan_one(ends, *item), grouped.items()))


def plan_one(ends: Ends, project: str, entries: Sequence[Entry]) -> ProjectPlan:
    """What would happen in one project.

    Raises:
        LoginError: a cluster no longer takes the login.
    """
    try:
        found = read_project(ends.target, project, ends.target_roles)
        wanted, notes, complete = _wanted(ends, project, entries)
        return replace(plan_project(found, wanted, notes), incomplete=not complete)
    except ClusterError as error:
        problem, way_out = trouble(ends, project, error)
        return ProjectPlan(project, problem=problem, advice=way_out)


def trouble(ends: Ends, project: str, error: ClusterError) -> tuple[str, str]:
    """A problem of one project in words, and what to do; a login that ends is everybody's.

    Raises:
        LoginError: it is that.
    """
    _check_login(ends.target, error)
    return f"{error.problem}: {error}", advice(error.problem, project, ends.user)


def _check_login(cluster: Cluster, error: ClusterError) -> None:
    if error.problem is Problem.LOGIN:
        raise login_refused(cluster, error) from None


def login_refused(cluster: Cluster, error: ClusterError) -> LoginError:
    """A cluster does not take the login."""
    words = f"the API {cluster.server} does not accept the login ({cluster.origin}): {error.words}"
    return LoginError(words, "log in again (oc login ...), then run again")


def _wanted(ends: Ends, project: str, entries: Sequence[Entry]) -> tuple[list[Grant], list[str], bool]:
    """The grants, what else is to be known, and whether everything could be read."""
    grants: list[Grant] = []
    notes: list[str] = []
    complete = True
    for index, entry in entries:
        grants += written(index, entry)
        if entry.carry_over:
            for source in ends.sources(project):
                more, left, whole = _carried(ends, index, entry, source)
                grants += more
                notes += left
                complete = complete and whole
    return grants, [*notes, *_absent(ends.target, grants)], complete


def _carried(ends: Ends, index: int, entry: AccessEntry, source: str) -> tuple[list[Grant], list[str], bool]:
    assert ends.source
    assert ends.source_roles
    try:
        if ends.source.get(PROJECT, source) is None:
            return [], [f"there is no project {source} at the source: nothing is carried over from it"], False
        bindings = read_bindings(ends.source, source)
        local = read_roles(ends.source, source)
        pulls = partial(pulls_of, ends.source_roles, local)
        grants, notes = carried(
            index, entry, source, bindings, pulls, ends.projects, lambda name: ends.moved(source, name, entry.project)
        )
        if len(ends.sources(entry.project)) > 1 and any(not grant.images for grant in grants):
            notes.append(f"whoever could pull all of {source} can pull all of {entry.project}: it is made of several")
        return grants, notes, True
    except ClusterError as error:
        _check_login(ends.source, error)
        who = f"an admin of it can list that there: oc get rolebindings -n {source}"
        named = "" if source in ends.projects else "; where it has another name there, say so under `projects`"
        words = f"what the source project {source} grants today could not be read ({error.problem}: {error.words})"
        return [], [f"{words}; {who}{named}"], False


def _absent(target: Cluster, grants: Sequence[Grant]) -> Iterator[str]:
    """Whom the target does not know, where it lets us ask; users and groups may come with their first login."""
    for subject in dict.fromkeys(grant.subject for grant in grants):
        if subject.kind == SERVICE_ACCOUNT and _is_absent(target, ACCOUNT_KIND, subject.name, subject.namespace):
            yield f"there is no service account {subject.name} in {subject.namespace} (yet)"
        elif subject.kind == GROUP and subject.project and _is_absent(target, PROJECT, subject.project, or_hidden=True):
            yield (
                f"project {subject.project} is not there, or not yours to see: the grant is for the service accounts of"
                " whoever has, or will make, a project of that name"
            )
        elif subject.name.startswith("system:") or subject.kind not in _PEOPLE:
            continue
        elif _is_absent(target, _PEOPLE[subject.kind], subject.name):
            yield f"{subject} is not known to the target (yet): the grant holds once there is one of that name"


def _is_absent(target: Cluster, kind: Kind, name: str, project: str = "", *, or_hidden: bool = False) -> bool:
    """Whether something is surely not there; of what may not be seen that is not known."""
    try:
        return target.get(kind, name, project) is None
    except ClusterError as error:
        _check_login(target, error)
        return or_hidden and error.problem is Problem.FORBIDDEN


def apply_project(ends: Ends, plan: ProjectPlan, entries: Sequence[Entry]) -> Iterator[Writing | Written | ProjectPlan]:
    """Write what a plan says; where somebody changed something at the same time, look and plan again, and say that."""
    for left in reversed(range(_TRIES)):
        again: Written | None = None
        for event in apply_changes(ends.target, plan.changes):
            if isinstance(event, Written) and event.error and event.error.problem in _LOOK_AGAIN and left:
                event = again = replace(event, again=True)
            yield event
        if again is None:
            return
        plan = plan_one(ends, plan.project, entries)
        if plan.problem:  # whether it arrived is not known: the first trouble stands
            yield replace(again, again=False)
            return
        yield plan
