"""The files that commands are given: the manifest, and its state."""

from pathlib import Path

from migrate.errors import UnreadableManifestError


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
    """Where a manifest's state is: `--state`, else state/<manifest name>.db under the current directory."""
    return chosen or Path("state") / f"{manifest.stem}.db"
