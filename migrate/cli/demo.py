"""`rahti-migrate demo`: the whole pipeline on two local registries with sample images."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from registrylab.client import LabClient
from registrylab.population import fill_demo
from registrylab.registry import PASSWORD, LabRegistry, RegistryMissingError, registry

from migrate.cli.options import result, say
from migrate.cli.program import own_program, shown_program
from migrate.errors import ExitCode, MigrateError
from migrate.images import skopeo

_SOURCE, _TARGET = "localhost:5001", "localhost:5002"
_PASSWORD_VARIABLE = "RAHTI_DEMO_PASSWORD"  # noqa: S105 - a name
_FILES = ("demo.yaml", "demo.db", "demo.db-wal", "demo.db-shm", "demo.db.lock", "report.html")

FolderOption = Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder for the manifest and the state.")]


def demo(to: FolderOption = Path("rahti-migrate-demo")) -> int:
    """Show everything on two local registries with sample images; needs skopeo and docker-registry.

    Example: rahti-migrate demo
    """
    skopeo.probe()
    folder = _fresh_folder(to)
    say("Starting two docker-registry servers: one as Rahti 1 (password, schema 1 allowed), one as Rahti 2 ...")
    try:
        with registry(password=True, schema1=True) as source, registry() as target:
            return _show(folder, source, target)
    except RegistryMissingError as error:
        raise MigrateError(str(error), "apt-get install docker-registry, then run again") from None


def _fresh_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise MigrateError(f"{folder}: {error.strerror}", "choose another folder with --to") from None
    return folder


def _show(folder: Path, source: LabRegistry, target: LabRegistry) -> int:
    with LabClient(source) as client:
        tags = fill_demo(client)
    say(f"Pushed {tags} tags to {source.host}.")
    manifest = folder / "demo.yaml"
    text = _example().read_text().replace(_SOURCE, source.host).replace(_TARGET, target.host)
    manifest.write_text(text)
    state = ["--state", str(folder / "demo.db")]
    steps = (
        ("1. The manifest says what to move", None),
        ("2. What would happen", ["plan", str(manifest), *state]),
        ("3. Do it", ["copy", str(manifest), *state]),
        ("4. Again: nothing is left to do", ["copy", str(manifest), *state]),
        ("5. Read the target again and compare", ["verify", str(manifest), "--deep", *state]),
        ("6. Where things stand", ["status", str(manifest), *state]),
        ("7. All of it on one page", ["report", str(manifest), *state, "--html", str(folder / "report.html")]),
    )
    for title, arguments in steps:
        result(["", f"=== {title}"])
        code = _run(arguments) if arguments else _print(text)
        if code != ExitCode.OK:
            return code
    result(
        [
            "",
            f"Everything of {source.host} is on {target.host}, as OCI, confirmed. Both registries are gone now.",
            f"Open {folder / 'report.html'} in a browser. What else is left to look at: the manifest {manifest},",
            f"and the state {folder / 'demo.db'} (SQLite), with",
            f"  {shlex.join([*shown_program(), 'explain', str(manifest), 'shop-2/frontend:1.2', *state])}",
        ]
    )
    return ExitCode.OK


def _example() -> Path:
    """manifests/demo.yaml: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent.parent
    places = (package.parent / "manifests", package / "manifests")
    return next(place / "demo.yaml" for place in places if (place / "demo.yaml").exists())


def _print(text: str) -> int:
    result(f"  {line}".rstrip() for line in text.splitlines())
    return ExitCode.OK


def _run(arguments: list[str]) -> int:
    """Run a command as the user would, and show what was typed."""
    result([f"$ {shlex.join([*shown_program(), *arguments])}"])
    environment = {**os.environ, _PASSWORD_VARIABLE: PASSWORD}
    return subprocess.run([*own_program(), *arguments], env=environment, check=False).returncode
