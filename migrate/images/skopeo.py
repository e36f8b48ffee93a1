"""The only module that runs skopeo: what it can do, argument lists (pure), and one run under watch.

Seen with skopeo 1.9.3 (Debian 12); flags that it lacks are found by asking the program that is installed.
"""

import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from migrate.errors import MigrateError
from migrate.images.failures import Failure, FailureClass, class_of_text
from migrate.printable import printable
from migrate.reference import Reference

log = logging.getLogger(__name__)

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')
"""The death of a parent that came before the wish was heard is asked for too: else skopeo would go on alone."""

_INSTALL = "install it: apt-get install skopeo (or your system's package)"
_NEEDED = {"--src-authfile", "--dest-authfile", "--src-cert-dir", "--dest-cert-dir", "--format", "--all"}
_WHERE_KNOWN = ("--quiet", "--remove-signatures")
"""Passed where this skopeo has them: an unknown flag would fail every copy."""
_CANNOT_BE_RUN = (126, 127)
"""What a shell ends with where the program is not there (POSIX, "Exit Status for Commands")."""
_FORMATS = {"oci": "oci", "docker": "v2s2"}
_FATAL = re.compile(r'level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"|^(?:FATA|ERRO)\[\d+\] (.*)$', re.MULTILINE)
_LOOK_SECONDS = 0.25
_NAP_SECONDS = 0.05
_KILL_SECONDS = 5.0
_STILL_BYTES, _STILL_SECONDS = 1024, 20.0
"""Less than this in that time is housekeeping of skopeo's runtime or a drip, not progress."""
_KEPT_STDERR_BYTES = 2**20
_KEPT_ENVIRONMENT = re.compile(
    r"(?i)(PATH|HOME|USER|LANG|LC_[A-Z]+|TMPDIR|TZ|XDG_[A-Z]+_(HOME|DIRS?)|(https?|all|no|ftp)_proxy"
    r"|SSL_CERT_(FILE|DIR)|CONTAINERS_[A-Z_]*CONF[A-Z_]*|GODEBUG|LD_LIBRARY_PATH)"
)
POLICIES = (Path("~/.config/containers/policy.json"), Path("/etc/containers/policy.json"))


class SkopeoMissingError(MigrateError):
    """skopeo is not installed, or what is called so is not skopeo."""


@dataclass(frozen=True, slots=True)
class Skopeo:
    """The skopeo that is installed: the program, its version and the flags that `skopeo copy` knows."""

    program: str
    version: str
    flags: frozenset[str]
    has_policy: bool = True
    can_die_with_parent: bool = True


@dataclass(frozen=True, slots=True)
class Access:
    """How skopeo reaches one side. Secrets are in the authfile only, never in arguments.

    Attributes:
        authfile: None for anonymous: an authfile without logins would make skopeo look into the user's own.
    """

    authfile: Path | None
    certificates: Path | None = None
    verify_tls: bool = True


@dataclass(frozen=True, slots=True)
class Watch:
    """When a run of skopeo is given up, and who may stop it. All times in seconds.

    Attributes:
        timeout: in all; skopeo is told too.
        stalled: without a byte.
        grace: more than `timeout`, for skopeo to say it itself.
        on_bytes: told now and then how much it has moved so far.
        on_written: told at the end how many bytes it has written, which are those that it sent and some more; not where
            the system does not tell.
    """

    timeout: float = 7200.0
    stalled: float = 300.0
    stop: threading.Event = field(default_factory=threading.Event)
    on_bytes: Callable[[int], None] = lambda _: None
    on_written: Callable[[int], None] = lambda _: None
    grace: float = 10.0


def probe(program: str = "skopeo", patience: float = 30.0) -> Skopeo:
    """Ask the installed skopeo what it is; each answer may take `patience` seconds.

    Raises:
        SkopeoMissingError: there is none, or it does not answer.
    """
    found = shutil.which(program)
    if not found:
        raise SkopeoMissingError(f"{program} is not installed (not on PATH)", _INSTALL)
    try:
        version = _ask(found, "--version", patience=patience)
        flags = frozenset(re.findall(r"--[a-z][a-z-]+", _ask(found, "copy", "--help", patience=patience)))
    except (OSError, subprocess.SubprocessError) as error:
        raise SkopeoMissingError(f"{found} does not run: {_why(error)}", _INSTALL) from None
    if not flags >= _NEEDED:
        raise SkopeoMissingError(f"{found} is no skopeo that can be used ({printable(version)})", _INSTALL)
    policy = any(path.expanduser().exists() for path in POLICIES)
    return Skopeo(found, version.removeprefix("skopeo version").strip(), flags, policy, _can_die_with_parent(patience))


def _ask(*argv: str, patience: float) -> str:
    done = subprocess.run(argv, capture_output=True, timeout=patience, check=True, stdin=subprocess.DEVNULL)
    return done.stdout.decode(errors="replace")


def _why(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with {error.returncode}: {printable(error.stderr.decode(errors='replace')) or 'no words'}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {error.timeout:g} s"
    return printable(str(error))


def _can_die_with_parent(patience: float) -> bool:
    """Whether there is a setpriv (util-linux) that sets the signal; busybox has one that does not."""
    try:
        return "--pdeathsig" in _ask("setpriv", "--help", patience=patience)
    except (OSError, subprocess.SubprocessError):
        return False


def carry_arguments(
    skopeo: Skopeo, source: Reference, target: Reference, source_access: Access, target_access: Access, timeout: float
) -> tuple[str, ...]:
    """Arguments that bring an image's blobs to the target as they are, under its digest: no tag, no conversion."""
    return (*_copy(skopeo, timeout), *_sides(source_access, target_access), *_names(source, target))


def convert_arguments(
    skopeo: Skopeo,
    source: Reference,
    target: Reference,
    source_access: Access,
    target_access: Access,
    timeout: float,
    target_format: str,
    *,
    whole_index: bool = False,
) -> tuple[str, ...]:
    """Arguments with which skopeo converts an image (or a whole index) itself and puts it under the target's tag.

    `--format` is always said for oci and docker: without it skopeo 1.9.3 quietly falls back to other formats.
    """
    wanted = ("--format", _FORMATS[target_format]) if target_format in _FORMATS else ()
    every = ("--all",) if whole_index else ()
    return (*_copy(skopeo, timeout), *every, *wanted, *_sides(source_access, target_access), *_names(source, target))


def inspect_arguments(skopeo: Skopeo, image: Reference, access: Access, timeout: float) -> tuple[str, ...]:
    """Arguments with which skopeo reads one manifest, to see whether it gets there at all."""
    login = ("--authfile", str(access.authfile)) if access.authfile else ("--no-creds",)
    certificates = ("--cert-dir", str(access.certificates)) if access.certificates else ()
    tls = () if access.verify_tls else ("--tls-verify=false",)
    limit = ("--command-timeout", f"{timeout:.0f}s")
    return (skopeo.program, *limit, "inspect", "--raw", *login, *certificates, *tls, _name(image))


def _copy(skopeo: Skopeo, timeout: float) -> tuple[str, ...]:
    policy = () if skopeo.has_policy else ("--insecure-policy",)
    known = (flag for flag in _WHERE_KNOWN if flag in skopeo.flags)
    return (skopeo.program, *policy, "--command-timeout", f"{timeout:.0f}s", "copy", *known)


def _sides(source: Access, target: Access) -> tuple[str, ...]:
    arguments: list[str] = []
    for side, access in (("src", source), ("dest", target)):
        arguments += [f"--{side}-authfile", str(access.authfile)] if access.authfile else [f"--{side}-no-creds"]
        if access.certificates:
            arguments += [f"--{side}-cert-dir", str(access.certificates)]
        if not access.verify_tls:
            arguments.append(f"--{side}-tls-verify=false")
    return tuple(arguments)


def _names(source: Reference, target: Reference) -> tuple[str, str]:
    return _name(source), _name(target)


def _name(reference: Reference) -> str:
    """Skopeo takes a tag or a digest, not both."""
    end = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    return f"docker://{reference.repository}{end}"


def child_environment(environment: Mapping[str, str], data_home: Path) -> dict[str, str]:
    """What skopeo may see of our environment: no secrets.

    Args:
        environment: ours.
        data_home: where a skopeo that is not root's keeps its blob info cache.
    """
    kept = {key: value for key, value in environment.items() if _KEPT_ENVIRONMENT.fullmatch(key)}
    return {**kept, "XDG_DATA_HOME": str(data_home)}


def run(skopeo: Skopeo, argv: tuple[str, ...], environment: Mapping[str, str], watch: Watch) -> Failure | None:
    """Run skopeo to its end; None where it ended well.

    It runs in a process group of its own, so that Ctrl-C reaches us alone, and dies with us even by kill -9.
    """
    log.debug("%s", " ".join(argv))
    if skopeo.can_die_with_parent:
        argv = (*_DIE_WITH_PARENT, str(os.getpid()), *argv)
    with ExitStack() as stack:
        try:
            output = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                argv,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                process_group=0,
            )
        except OSError as error:
            return Failure(FailureClass.LOCAL, f"{argv[0]} cannot be run: {error.strerror}")
        with _never_orphaned(process):
            given_up = _wait(process, watch)
        return given_up or _failure(process.returncode, _end_of(output))


def _end_of(output: IO[bytes]) -> str:
    """The last of what skopeo said: the reason of a failure is in its last line."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _KEPT_STDERR_BYTES))
    return output.read().decode(errors="replace")


@contextmanager
def _never_orphaned(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Skopeo has no signal handler: SIGTERM ends it at once, and the registry forgets the open upload by itself."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, end)
            process.wait(_KILL_SECONDS)
        except ProcessLookupError:
            process.wait()
        except subprocess.TimeoutExpired:
            continue
        return


def _wait(process: subprocess.Popen[bytes], watch: Watch) -> Failure | None:
    """Wait for the end; the reason where the run was ended from here."""
    started = moved = looked = time.monotonic()
    seen = 0
    pause = 0.01
    while True:
        if _ends(process, pause):
            if counted := _counted(process.pid):
                watch.on_written(counted[1])
            process.wait()
            return None
        pause = min(pause * 2, _LOOK_SECONDS)
        now = time.monotonic()
        counted = _counted(process.pid)
        bytes_now = sum(counted) if counted else None
        if bytes_now is None or bytes_now - seen >= _STILL_BYTES:
            seen, moved, looked = bytes_now or 0, now, now
            watch.on_bytes(seen // 2)
        elif now - looked > _STILL_SECONDS:
            seen, looked = bytes_now, now
        given_up = _reason_to_stop(watch, now - started, now - moved)
        if given_up:
            _end(process)
            return given_up


def _reason_to_stop(watch: Watch, running: float, still: float) -> Failure | None:
    if watch.stop.is_set():
        return Failure(FailureClass.INTERRUPTED, "")
    if running > watch.timeout + watch.grace:
        return Failure(FailureClass.TIMEOUT, f"skopeo was stopped after {running:.0f} s")
    if still > watch.stalled:
        return Failure(FailureClass.STALLED, f"skopeo moved no byte for {still:.0f} s and was stopped")
    return None


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ends within so long; it is not waited for yet, so that the system still knows what it did."""
    until = time.monotonic() + seconds
    pause = 0.0005
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= until:
            return False
        time.sleep(pause)
        pause = min(pause * 2, _NAP_SECONDS)
    return True


def _counted(pid: int) -> tuple[int, int] | None:
    """Bytes read and written so far, sockets included (proc(5), /proc/pid/io); None where that cannot be asked."""
    try:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(fields["rchar"]), int(fields["wchar"])
    except (OSError, ValueError, KeyError):
        return None


def _failure(returncode: int, stderr: str) -> Failure | None:
    if returncode == 0:
        return None
    if returncode in _CANNOT_BE_RUN:
        return Failure(FailureClass.LOCAL, f"skopeo cannot be run: {printable(stderr.rpartition('exec: ')[2])}")
    if returncode < 0:
        return Failure(FailureClass.UNKNOWN, f"skopeo was ended by signal {-returncode} (out of memory?)")
    found = [quoted or bare for quoted, bare in _FATAL.findall(stderr)]
    words = printable(re.sub(r"\\([nt])", " ", found[-1] if found else stderr[-2000:]).replace('\\"', '"'))
    return Failure(class_of_text(words), words or f"skopeo ended with {returncode} and said nothing")
