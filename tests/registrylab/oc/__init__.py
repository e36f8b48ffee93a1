"""A stand-in for `oc`, for tests that run what people are told to type: put it on PATH with `put_oc`.

What it reads and writes, says and returns was compared with oc 4 on the same fake clusters. It knows what a guide needs
and refuses all else. Where real clusters run something, a test brings that along: a pod's files are those in the folder
`$OC_PODS/<project>/<pod>`, and programs that `oc exec` is to find there, besides a few harmless ones, those in the
folder `$OC_PROGRAMS`. Unlike oc it sends its token over plain HTTP, too.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path


def put_oc(folder: Path, pods: Path, programs: Mapping[str, str] | None = None) -> Path:
    """Write an executable `oc` into a folder that a test puts on PATH.

    Args:
        folder: where.
        pods: where pods have their files, as <project>/<pod>.
        programs: name -> shell script, for what `oc exec` finds in every pod; it runs in the folder of its files.
    """
    own = folder / "in-pods"
    scripts = {own / name: script for name, script in (programs or {}).items()}
    settings = {"OC_PODS": pods, "OC_PROGRAMS": own, "PYTHONPATH": Path(__file__).parent.parent.parent}
    environment = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in settings.items())
    scripts[folder / "oc"] = f'{environment} exec {shlex.quote(sys.executable)} -P -m {__name__} "$@"'
    for path, script in scripts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return folder
