"""Proofs of grants: asks the target registry as those who are let in, and its API about the others."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from migrate.access.plan import PlannedGrant, ProjectPlan, Standing
from migrate.access.prove import Proof, open_beyond, prove
from migrate.access.read import Stream, read_streams
from migrate.access.stage import Ends, login_refused
from migrate.access.subjects import GROUP, USER, WITHOUT_LOGIN, Subject, normal, subject_of
from migrate.cli.options import say
from migrate.cli.session import Session, questions
from migrate.cluster import Cluster, ClusterError, Problem
from migrate.credentials import Login, login_of
from migrate.errors import LoginError, MigrateError
from migrate.images.failures import FailureClass
from migrate.images.pace import TROUBLE, Pace
from migrate.images.registry import Registry, RegistryError
from migrate.manifest.model import Login as LoginEntry

_SAY_EVERY = 10.0
"""Seconds between two lines of progress."""
_PATIENCE = 30.0
"""Seconds for a registry that stops answering: whoever looks on waits for the answer."""
T = TypeVar("T")


def proved(session: Session, ends: Ends, plans: Sequence[ProjectPlan]) -> tuple[list[Proof], dict[str, list[str]]]:
    """A proof for each grant; and project -> image streams that are open beyond the manifest."""
    _check_registry(session)
    say("asking as those who are let in ...")
    pull = _Puller(session, ends.target)
    readable = [each for each in plans if not each.problem]
    with questions() as executor:
        asked = executor.map(partial(_proved_project, ends.target, pull), readable)
        found = list(_told(asked, len(readable)))
    pull.close()
    proofs = [proof for proofs, _ in found for proof in proofs]
    return proofs, {each.project: beyond for each, (_, beyond) in zip(readable, found, strict=True)}


def _check_registry(session: Session) -> None:
    """Nobody is asked as somebody else by a registry that is not there.

    Raises:
        MigrateError: it is out of reach.
    """
    try:
        session.target.ping()
    except RegistryError as error:
        if error.failure.kind in TROUBLE:
            words = f"the target registry {session.target.host}: {error.failure}"
            raise MigrateError(words, error.failure.advice) from None


def _told(projects: Iterable[T], total: int) -> Iterator[T]:
    """Say now and then how far it has come."""
    last = time.monotonic()
    for number, project in enumerate(projects, 1):
        yield project
        if time.monotonic() - last > _SAY_EVERY and number < total:
            last = time.monotonic()
            say(f"{number} of {total} projects asked")


def _proved_project(target: Cluster, pull: "_Puller", plan: ProjectPlan) -> tuple[list[Proof], list[str]]:
    try:
        streams = read_streams(target, plan.project)
    except ClusterError:
        streams = None
    if streams is None:
        say(f"note: the image streams of {plan.project} cannot be listed: what else is open there is not known")
        streams = []
    good = [
        each for each in plan.grants if each.standing is not Standing.REFUSED and each.grant.subject in WITHOUT_LOGIN
    ]
    proofs = [_proof(planned, streams, pull, target) for planned in plan.grants]
    try:
        return proofs, open_beyond(plan.project, streams, [each.images for each in good], pull)
    except MigrateError as error:
        say(f"note: what else is open in {plan.project} could not be asked: {error.what}")
        return proofs, []


def _proof(planned: PlannedGrant, streams: Sequence[Stream], pull: "_Puller", target: Cluster) -> Proof:
    """A proof; a grant that is not there is none, and one that cannot be asked about does not hold as far as known."""
    grant = planned.grant
    if planned.standing is Standing.REFUSED:
        return Proof(grant, holds=False, words=f"it cannot be granted: {planned.words}")
    if planned.standing is Standing.ADD:
        return Proof(grant, holds=False, words="it is not granted: `access apply` would add it")
    try:
        return prove(grant, planned.images, streams, pull, target.may)
    except MigrateError as error:
        words = f"it could not be asked: {error.what}"
        return Proof(grant, holds=False, words=words, login=isinstance(error, LoginError))
    except ClusterError as error:
        if error.problem is Problem.LOGIN:
            raise login_refused(target, error) from None
        return Proof(grant, holds=False, words=f"it could not be asked: {error}")


class _Puller:
    """Asks the target registry for manifests as somebody: without a login, or with a token of `proveWith`."""

    def __init__(self, session: Session, target: Cluster) -> None:
        self._host = session.manifest.file.target.registry
        self._target = target
        self._session = session
        self._tokens = _tokens(session)
        self._registries: dict[str, Registry | MigrateError] = {}
        self._answers: dict[tuple[str, str, Stream], bool | None] = {}
        self._lock = threading.Lock()

    def __call__(self, subject: Subject, project: str, stream: Stream) -> bool | None:
        """Whether they get the manifest of an image stream's tag; None where nobody can ask for them."""
        who = "" if subject in WITHOUT_LOGIN else str(subject)
        registry = self._registry(who, subject)
        if registry is None:
            return None
        key = (who, project, stream)
        if key not in self._answers:
            self._answers[key] = self._gives(registry, project, stream)
        return self._answers[key]

    def _gives(self, registry: Registry, project: str, stream: Stream) -> bool | None:
        try:
            found = registry.find_manifest(f"{project}/{stream.name}", stream.tag)
            return None if found is None else True  # who may not read it is not told that it is missing
        except RegistryError as error:
            if error.failure.kind in (FailureClass.LOGIN, FailureClass.DENIED):
                return False
            raise MigrateError(f"the target registry {self._host}: {error.failure}", error.failure.advice) from None

    def close(self) -> None:
        """Give the connections back."""
        for registry in self._registries.values():
            if isinstance(registry, Registry):
                registry.close()

    def _registry(self, who: str, subject: Subject) -> Registry | None:
        login = self._tokens.get(subject) if who else Login("nobody", lambda: None)
        if login is None:
            return None
        with self._lock:
            if who not in self._registries:
                wrong = _wrong_token(self._target, subject, login) if who else None
                made = Registry(self._session.connection(self._host), login, Pace(self._host, patience=_PATIENCE))
                self._registries[who] = wrong or made
            found = self._registries[who]
        if isinstance(found, MigrateError):
            raise found
        return found


def _wrong_token(target: Cluster, subject: Subject, login: Login) -> MigrateError | None:
    """Why a token of `proveWith` proves nothing about a subject, where the API tells whose it is.

    Of a group it does not tell who is in it.
    """
    where = f"the token of proveWith for {subject} ({login.origin})"
    asker = target.seen_by(login)
    try:
        name = asker.whoami()
    except LoginError as error:
        return LoginError(f"{where}: {error.what}", error.advice or "check `proveWith` in the manifest")
    except ClusterError as error:
        is_over = error.problem is Problem.LOGIN
        return LoginError(f"{where} is not taken (expired?)", "get a new one, then verify again") if is_over else None
    finally:
        asker.close()
    owner = normal(Subject(USER, name))
    alone = subject.kind != GROUP or subject.project
    theirs = owner == subject or (subject.kind == GROUP and owner.project == subject.project)
    if not name or not alone or theirs:
        return None
    return MigrateError(f"{where} is {owner}'s", f"name a token of {subject}, or take it out of `proveWith`")


def _tokens(session: Session) -> dict[Subject, Login]:
    """The logins of `proveWith`, by whom they are for."""
    found = {}
    for entry in session.manifest.file.access or ():
        for who, proof in (entry.prove_with or {}).items():
            entry_of_login = LoginEntry(tokenEnv=proof.token_env, tokenFile=proof.token_file)
            found[subject_of(who)] = login_of(entry_of_login, who, session.manifest.path.parent)
    return found
