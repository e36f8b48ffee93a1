"""Both clusters, for commands that write to the target's API: who we are there, which project goes where."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from migrate.access.stage import Ends, login_refused
from migrate.cli.memory import begun_run
from migrate.cli.options import login_wait
from migrate.cli.paths import state_path
from migrate.cli.program import command_line, options_given, wait_given
from migrate.cli.session import Session, open_session
from migrate.cluster import Cluster, ClusterError, Problem
from migrate.errors import MigrateError, UsageError
from migrate.state.memory import State


@dataclass
class AccessRun:
    """A command that writes access rights: a session, its state, both clusters, and the options it was given."""

    session: Session
    state: State
    known: Ends | None
    options: tuple[str, ...] = ()

    @property
    def ends(self) -> Ends:
        """Both clusters.

        Raises:
            UsageError: the manifest names no API of the target.
        """
        return self.known or open_ends(self.session, carry=False)


@contextmanager
def open_access(manifest: Path, state: Path | None, project: str, command: str, wait_login: str) -> Iterator[AccessRun]:
    """Open what a command needs that writes access rights; a rollback may find that it needs no API."""
    with open_session(manifest, project, login_wait(wait_login)) as session:
        options = options_given(state, project)
        has_api = command != "rollback" or session.cluster("target") is not None
        ends = open_ends(session, carry=command not in ("access revert", "rollback")) if has_api else None
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
        if not session.manifest.file.access and not session.manifest.file.workloads:
            words = f"{session.manifest.path}: there is neither `access` nor `workloads` in this manifest"
            raise UsageError(
                words, "nothing of it is for a cluster; to change that see docs/access.md and docs/rules.md"
            )
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
    return f"set `{end}.api: {{kubeconfigContext: ...}}`, or `{{server: https://..., tokenEnv: ...}}`, in the manifest"


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
