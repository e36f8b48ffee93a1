"""skopeo's logins and certificates: files that nobody else can read, in a folder that goes at the end."""

import os
import threading
from pathlib import Path

from migrate.cli.session import Session
from migrate.credentials import authfile_text
from migrate.images.skopeo import Access
from migrate.reference import Repository


class PrivateAccess:
    """skopeo's way to each registry: authfiles in a private folder, written again when a login changes."""

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._lock = threading.Lock()
        self._written: dict[tuple[str, str], tuple[Path, str]] = {}

    def __call__(self, repository: Repository) -> Access:
        """What skopeo needs for a repository.

        Raises:
            LoginError: the login cannot be had.
        """
        connection = self._session.connection(repository.registry)
        certificates = self._certificates(connection.host, connection.ca_file) if connection.ca_file else None
        return Access(self._authfile(repository), certificates, not (connection.plain_http or connection.insecure))

    def _authfile(self, repository: Repository) -> Path | None:
        """A file with the one login that is needed; repositories that share a login share a file."""
        host, login = repository.registry, self._session.registry(repository.registry).login
        with self._lock:
            scope, credential = login.scope(repository.path), login.credential(repository.path)
            if credential is None:
                return None
            text = authfile_text(host, credential, scope)
            path, written = self._written.get((host, scope), (self._folder / f"{len(self._written)}.json", ""))
            if written != text:
                _write_private(path, text)
                self._written[host, scope] = (path, text)
            return path

    def _certificates(self, host: str, ca_file: Path) -> Path:
        folder = self._folder / f"{host.replace(':', '_')}.certificates"
        with self._lock:
            if not folder.exists():
                folder.mkdir(mode=0o700)
                _write_private(folder / "ca.crt", ca_file.read_text())
        return folder


def _write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, so that a reader sees the old or the new one, never a part."""
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
