"""A Dask cluster of real processes on loopback: a scheduler, and workers that can be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from netlab import Machine, Net


@dataclass
class DaskCluster:
    """Its processes by name; what they print stands in files of `folder`."""

    folder: Path
    environment: dict[str, str]
    host: str = "127.0.0.1"
    protocol: str = "tcp"
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The scheduler file, by which it is found."""
        return self.folder / "scheduler.json"

    def start(self, name: str, *arguments: object, on: Machine | None = None, **environment: str) -> None:
        """Start one process, in a group of its own; perhaps on another machine."""
        argv = [sys.executable, "-m", "dask", *map(str, arguments)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                on.argv(argv) if on else argv, cwd=self.folder, process_group=0,
                env={**self.environment, **environment}, stdout=log, stderr=log,
            )  # fmt: skip

    def scheduler(self) -> None:
        """Start the scheduler, and wait until it can be found."""
        self.file.unlink(missing_ok=True)
        quiet = ("--host", self.host, "--port", "0", "--no-dashboard", "--no-jupyter", "--protocol", self.protocol)
        self.start("scheduler", "scheduler", *quiet, "--scheduler-file", self.file)
        self._until(lambda: self.file.exists() and self.file.stat().st_size > 0)

    def worker(
        self,
        name: str,
        copies: int = 2,
        resources: str = "",
        on: Machine | None = None,
        threads: int = 0,
        **environment: str,
    ) -> None:
        """Start a worker, with as many threads as it takes copies where nothing else is said."""
        offers = ("--resources", resources or f"copies={copies}", "--protocol", self.protocol)
        place = ("--scheduler-file", self.file, "--local-directory", self.folder / name, "--no-dashboard", "--no-nanny")
        here = ("--host", on.address if on else self.host)
        self.start(
            name,
            "worker",
            *place,
            *here,
            "--name",
            name,
            "--nthreads",
            threads or copies,
            *offers,
            on=on,
            **environment,
        )

    def ready(self, *names: str) -> None:
        """Wait until workers have registered."""
        log = self.folder / "scheduler.log"
        self._until(lambda: all(f"name: {name}" in log.read_text() for name in names))

    def kill(self, name: str) -> None:
        """Kill one, by -9, with its group."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes.pop(name).wait()

    def words(self) -> str:
        """Everything that they have printed."""
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))

    @staticmethod
    def _until(holds: object) -> None:
        deadline = time.monotonic() + 60
        while not holds():  # type: ignore[operator]
            assert time.monotonic() < deadline, "the Dask cluster does not come up"
            time.sleep(0.05)


@contextmanager
def dask_cluster(
    folder: Path,
    environment: dict[str, str],
    workers: Sequence[str] = ("one", "two"),
    copies: int = 2,
    net: Net | None = None,
    protocol: str = "tcp",
) -> Iterator[DaskCluster]:
    """A scheduler and some workers (on machines of their own, where there is a net of them), which end at the end."""
    folder.mkdir()
    with ExitStack() as stack:
        made = DaskCluster(folder, {**environment, "TMPDIR": str(folder)}, net.hub if net else "127.0.0.1", protocol)
        stack.callback(lambda: [made.kill(name) for name in list(made.processes)])
        made.scheduler()
        for name, machine in zip_longest(workers, net.machines if net else ()):
            made.worker(name, copies, on=machine)
        made.ready(*workers)
        yield made
