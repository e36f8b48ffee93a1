"""What the source's workloads use, for who asks that it be copied first."""

from collections.abc import Callable

from migrate.cli.options import say
from migrate.cli.session import Session, questions
from migrate.discover.stage import Source, in_use
from migrate.errors import UsageError
from migrate.images.transfer import Job
from migrate.quantities import count


def check_can_tell(session: Session) -> None:
    """Look whether there is an API that tells of the source's workloads, before anything is done.

    Raises:
        UsageError: the manifest names none.
        LoginError: its login cannot be had.
    """
    if session.cluster("source") is None:
        words = "--order in-use needs the source's OpenShift API, which tells of the workloads"
        raise UsageError(words, "name it (`source.api`), or leave --order out")


def used_by_workloads(session: Session) -> Callable[[Job], bool]:
    """Whether a workload of the source's projects names an image of a job; after `check_can_tell`."""
    cluster = session.cluster("source")
    requests = [r for r in session.requests() if r.source.repository.registry == session.source.host]
    projects = {r.source.repository.project: r.target_path.partition("/")[0] for r in requests}
    hosts = frozenset(session.manifest.file.platform.source.registries or ())
    with questions() as executor:
        look = session.lookups(lambda _: None)
        source = Source(
            session.source.host,
            projects,
            session.scope(None),
            look,
            executor,
            cluster,
            session.planned_streams,
            hosts,
            say,
        )
        users = in_use(source)
    say(f"{count(len(users), 'image')} in use by workloads: what is to be brought of them comes first")

    def is_used(job: Job) -> bool:
        path = job.source.path
        names = {f"{path}:{copy.source.tag}" for copy in job.copies}
        return any(name in users for name in (*names, f"{path}@{job.copies[0].source.digest}"))

    return is_used
