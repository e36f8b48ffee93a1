"""The bench of a run: what its workers share, on this machine or at a Dask worker."""

from collections.abc import Mapping
from pathlib import Path

from migrate.cli.private import PrivateAccess
from migrate.cli.session import Session
from migrate.images import skopeo
from migrate.images.bench import Bench, BlobBook, PutGate


def bench_of(
    session: Session, program: skopeo.Skopeo, private: Path, known: dict[str, set[str]], why_denied: Mapping[str, str]
) -> Bench:
    """A bench for the manifest of a session.

    Args:
        session: gives registries and logins.
        program: the installed skopeo.
        private: a folder for authfiles.
        known: blob digest -> target repositories that had it.
        why_denied: why image streams could not be made, by repository path.
    """
    transfer = session.manifest.file.transfer
    return Bench(
        registry=session.registry,
        target=session.target,
        look=session.lookups(lambda _: None),
        program=program,
        access=PrivateAccess(session, private),
        data_home=private,
        watch=skopeo.Watch(timeout=transfer.copy_timeout, stop=session.stop.now),
        gate=PutGate(transfer.manifest_puts_per_repository),
        book=BlobBook(known),
        link_max=transfer.link_max_missing,
        way=session.way,
        why_denied=why_denied,
    )
