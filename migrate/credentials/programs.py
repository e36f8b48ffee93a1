"""Programs that tell a secret: run within a time, their output kept out of every message."""

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_MAX_OUTPUT_BYTES = 2**20


class ProgramError(Exception):
    """A program could not be run, or said nothing that can be used; the message goes on from the program's name."""


class ProgramMissingError(ProgramError):
    """The program could not even be started."""


def run_program(
    argv: Sequence[str],
    seconds: float,
    given: str = "",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a program to its end: its exit code, and what it printed.

    Args:
        argv: program and arguments; never a secret.
        seconds: how long it may take.
        given: what it reads.
        folder: where it runs.
        environment: more than ours.

    Raises:
        ProgramError: in words that hold nothing of what it printed.
    """
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    everything = {**os.environ, **(environment or {})}
    try:
        process = subprocess.Popen(argv, cwd=folder, env=everything, stdin=pipe, stdout=pipe, stderr=nothing, bufsize=0)
    except (OSError, ValueError) as error:
        raise ProgramMissingError(f"cannot be run: {getattr(error, 'strerror', error)}") from None
    try:
        code, output = _ended(process, time.monotonic() + seconds, given)
        return code, output.decode()
    except subprocess.TimeoutExpired:
        raise ProgramError(f"did not end within {seconds:g} s") from None
    except UnicodeDecodeError:
        raise ProgramError("printed something that is not text") from None


def _ended(process: "subprocess.Popen[bytes]", deadline: float, given: str) -> tuple[int, bytes]:
    with process:
        try:
            assert process.stdin
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(given.encode())
            output = _output(process, deadline)
            return process.wait(max(deadline - time.monotonic(), 0)), output
        finally:
            process.kill()


def _output(process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
    """What it prints until it closes its output.

    Raises:
        subprocess.TimeoutExpired: it did not by then.
        ProgramError: it is too much.
    """
    assert process.stdout
    ready = select.poll()
    ready.register(process.stdout, select.POLLIN)
    output = b""
    while len(output) <= _MAX_OUTPUT_BYTES:
        if not ready.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise subprocess.TimeoutExpired(process.args, 0)
        chunk = os.read(process.stdout.fileno(), _MAX_OUTPUT_BYTES)
        if not chunk:
            return output
        output += chunk
    raise ProgramError(f"printed more than {_MAX_OUTPUT_BYTES} bytes")
