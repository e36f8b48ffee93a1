"""How this program was started, so that it can be started again, by us or by who reads what to type."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

_NAME = "rahti-migrate"


def own_program() -> list[str]:
    """This very program, as an argument list."""
    started = sys.argv[0]
    is_program = Path(started).name != "__main__.py" and shutil.which(started, os.X_OK) is not None
    return [started] if is_program else [sys.executable, "-m", "migrate"]


def shown_program() -> list[str]:
    """What to type: the name where a shell finds it, else the path by which it was started."""
    return [_NAME] if shutil.which(_NAME) else own_program()


def command_line(name: str, manifest: Path, options: Iterable[str] = ()) -> str:
    """What to type for a command on a manifest; `name` may be of several words."""
    return shlex.join([*shown_program(), *name.split(), str(manifest), *options])


def options_given(state: Path | None, project: str) -> tuple[str, ...]:
    """`--state` and `--project` as they are typed again; nothing for what was not said."""
    return (*(("--state", str(state)) if state else ()), *(("--project", project) if project else ()))


def jobs_given(jobs: int) -> tuple[str, ...]:
    """`--jobs` as it is typed again; nothing where it was not said."""
    return ("--jobs", str(jobs)) if jobs else ()


def dask_given(address: str) -> tuple[str, ...]:
    """`--dask` as it is typed again; nothing where it was not said."""
    return ("--dask", address) if address else ()


def wait_given(wait_login: str) -> tuple[str, ...]:
    """`--wait-login` as it is typed again; nothing where it was not said."""
    return ("--wait-login", wait_login) if wait_login else ()
