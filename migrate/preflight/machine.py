"""This machine: skopeo and its trust policy, room on the disk, the clock."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from migrate.images.failures import Failure, FailureClass
from migrate.images.plan import Plan
from migrate.images.skopeo import POLICIES, Skopeo
from migrate.preflight.checks import Check, failed, ok, warning
from migrate.preflight.trust import accepts_anything, problem_of, requirements_for
from migrate.quantities import count, format_duration, format_size
from migrate.reference import Repository

_RESUMES = (1, 12)
"""The first skopeo that goes on with a download that broke (its release 1.11.1 had it first)."""
_STATE_BYTES_A_TAG = 8_000
_STATE_BYTES = 64 * 10**6
"""Room that the state should have, and more for each tag (seen: 3 kB a tag, and the log of what is written)."""
_TEMPORARY_BYTES = 256 * 10**6
_SKEW_WARNS = 60.0
"""Seconds; token servers bear about as much."""


def check_skopeo(program: Skopeo) -> Check:
    """What the installed skopeo cannot do, and what that means here."""
    gaps = []
    version = _version(program.version)
    if version and version < _RESUMES:
        gaps.append("a download that breaks begins again (skopeo 1.12 or newer would resume it)")
    if not program.can_die_with_parent:
        gaps.append("no setpriv (util-linux): after kill -9 of this program a running copy ends by itself, later")
    words = f"{program.version} ({program.program})"
    return ok("skopeo", "", "; ".join([words, *gaps]))


def _version(text: str) -> tuple[int, int] | None:
    parts = text.split("-")[0].split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else None


def check_trust(sources: Iterable[Repository], files: Iterable[Path] = POLICIES) -> Iterator[Check]:
    """Whether this machine's trust policy lets the sources be copied."""
    path = next((path for path in (file.expanduser() for file in files) if path.exists()), None)
    if path is None:
        yield ok("trust-policy", "", "this machine has none: skopeo is told to take every image")
        return
    policy, problem = _policy(path)
    if problem:
        words = f"{path} cannot be used, and skopeo will copy nothing: {problem}"
        yield failed("trust-policy", "", words, "correct it (man containers-policy.json), or remove it", stops=True)
        return
    demands: dict[str, set[str]] = {}
    for repository in sources:
        found = requirements_for(policy, repository)
        if not accepts_anything(found):
            demands.setdefault(", ".join(found) or "nothing that can be read", set()).add(str(repository))
    for demand, repositories in sorted(demands.items()):
        named = ", ".join(sorted(repositories)[:3])
        words = f"{path} demands {demand} of {count(len(repositories), 'repository')} ({named})"
        if "reject" in demand:
            why = Failure(FailureClass.LOCAL, f"{path} rejects its source")
            words = f"{words}: skopeo will not copy them"
            check = failed("trust-policy", "", words, "let them in there (scope docker)")
            yield replace(check, blocked=dict.fromkeys(repositories, why))
        else:
            yield warning("trust-policy", "", f"{words}: images without such a signature will not be copied")
    if not demands:
        yield ok("trust-policy", "", f"{path} lets all sources be copied")


def _policy(path: Path) -> tuple[Mapping[str, Any], str]:
    """A policy; and why it is none."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        return {}, f"it cannot be read: {error.strerror}"
    except (ValueError, RecursionError):
        return {}, "it is no JSON"
    problem = problem_of(found)
    return ({} if problem else found), problem


def check_disk(state: Path, plan: Plan) -> Iterator[Check]:
    """Whether the state and temporary files have room; images themselves are never kept on this machine."""
    needed = {
        _existing(state.parent): _STATE_BYTES + len(plan.copies) * _STATE_BYTES_A_TAG,
        Path(tempfile.gettempdir()): _TEMPORARY_BYTES,
    }
    purposes = dict(zip(needed, ("the state", "temporary files"), strict=False))
    for folder, size in needed.items():
        if not os.access(folder, os.W_OK | os.X_OK) or (folder / state.parent.name).is_file():
            yield failed(
                "disk",
                "",
                f"{folder}, for {purposes[folder]}, cannot be written to",
                "choose another place with --state",
            )
            continue
        free = shutil.disk_usage(folder).free
        words = f"{format_size(free)} free in {folder} for {purposes[folder]}"
        if free < size // 10:
            yield failed(
                "disk",
                "",
                f"{words}: {format_size(size)} may be needed",
                "make room, or choose another place with --state",
            )
        elif free < size:
            yield warning("disk", "", f"{words}: {format_size(size)} may be needed", "make room")
        else:
            yield ok("disk", "", words)


def _existing(folder: Path) -> Path:
    """The folder, or the first one above it that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def check_clock(ahead: Mapping[str, float | None]) -> Check:
    """Whether this machine and the registries have the same time; seconds that each is ahead, by host."""
    known = {host: seconds for host, seconds in ahead.items() if seconds is not None}
    wrong = {host: seconds for host, seconds in known.items() if abs(seconds) > _SKEW_WARNS}
    if wrong:
        said = ", ".join(
            f"{host} is {format_duration(abs(s))} {'ahead' if s > 0 else 'behind'}" for host, s in wrong.items()
        )
        words = f"this machine and a registry disagree about the time: {said}; tokens may be refused, TLS too"
        return warning("clock", "", words, "set this machine's clock (timedatectl)")
    if not known:
        return ok("clock", "", "no registry tells the time")
    return ok("clock", "", f"the same time here and at {' and '.join(known)}, give or take {_SKEW_WARNS:.0f} s")
