"""Runs rahti-migrate again and again without importing it anew: a server that has it loaded, and forks for each run.

Each run is a process of its own with its own arguments, environment, folder, output and exit code, as from a shell. An
import costs half a second of CPU; the tests run the program many hundreds of times.
"""

import faulthandler
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_READY = b"ready\n"


class ForkServer:
    """A running server; it ends with the process that started it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self._address = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == _READY

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> tuple[int, str, str]:
        """Run the program to its end: exit code (negative for a signal), stdout, stderr."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(self._address)
                wish = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
                socket.send_fds(connection, [b"."], [out.fileno(), err.fileno()])
                connection.sendall(json.dumps(wish).encode())
                connection.shutdown(socket.SHUT_WR)
                code = os.waitstatus_to_exitcode(int(connection.makefile().read()))
            for file in (out, err):
                file.seek(0)
            return code, out.read().decode(), err.read().decode()

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def serve(address: str) -> None:
    """Answer until stdin closes; in the forked process this returns, to go on as the program."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        sys.stdout.buffer.write(_READY)
        sys.stdout.flush()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            readable, _, _ = select.select([server, sys.stdin], [], [])
            if sys.stdin in readable:
                os._exit(0)
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                if _become(connection):
                    return
                os._exit(0)
            connection.close()


def _become(connection: socket.socket) -> bool:
    """Read the wish and fork once more: true in the process that is to be the program; the other tells its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    wish = json.loads(connection.makefile().read())
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        connection.sendall(str(status).encode())
        return False
    connection.close()
    for descriptor, number in zip(descriptors, (1, 2), strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(wish["folder"])
    os.environ.clear()
    os.environ.update(wish["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["rahti-migrate", *wish["arguments"]]
    faulthandler.enable()
    return True


if __name__ == "__main__":
    from migrate.cli.main import main

    serve(sys.argv[1])
    main()
