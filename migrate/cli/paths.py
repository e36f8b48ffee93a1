"""The files that commands are given: the manifest, and its state."""

from pathlib import Path

from migrate.errors import UnreadableManifestError, UsageError
from migrate.state.reading import Records, is_database, owner_of


def check_is_there(manifest: Path) -> None:
    """Look whether there is a manifest, whatever is in it.

    Raises:
        UnreadableManifestError: there is none.
    """
    try:
        manifest.stat()
    except OSError as error:
        raise UnreadableManifestError(manifest, error) from None


def state_path(manifest: Path, chosen: Path | None) -> Path:
    """Where a manifest's state is: `--state`, else state/<manifest name>.db under the current directory.

    Raises:
        UsageError: it is a folder.
    """
    if chosen and chosen.is_dir():
        raise UsageError(f"--state {chosen}: is a folder", f"name a file in it: {chosen / manifest.stem}.db")
    return chosen or Path("state") / f"{manifest.stem}.db"


def asked_of(manifest: Path, chosen: Path | None) -> tuple[Path, Path | None]:
    """The manifest and the state that somebody means who only asks, and who may have nothing but the state.

    Args:
        manifest: the manifest, or a state, which knows whose it is.
        chosen: `--state`.

    Returns:
        Both as if the manifest had been named, with `--state` where the state was.

    Raises:
        UsageError: there are two states.
        StateError: it is no state.
    """
    if not manifest.exists() and (manifest.suffix == ".db" or not (chosen or state_path(manifest, None).exists())):
        raise UsageError(f"{manifest}: no such file", "name a manifest, or a state")
    if not is_database(manifest):
        return manifest, chosen
    if chosen:
        raise UsageError(f"{manifest}: is a state already", "leave out --state, or name the manifest")
    return owner_of(manifest), manifest


def check_project(project: str, records: Records) -> None:
    """Look whether a state knows tags of a project; every state knows the empty one, which means all.

    Raises:
        UsageError: it does not.
    """
    known = records.projects() if project else []
    if project and project not in known:
        raise UsageError(
            f"--project {project}: nothing of it is in {records.path}", f"it has {', '.join(known) or 'nothing yet'}"
        )
