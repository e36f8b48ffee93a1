"""Real registries and the program as its user runs it."""

import atexit
import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from forkserver import ForkServer
from hypothesis import settings
from registrylab.client import LabClient
from registrylab.registry import PASSWORD, USER, LabRegistry, registry

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background job ignores it, and so would its children
settings.register_profile("house", deadline=None, max_examples=60)
settings.load_profile("house")


@cache
def _forks() -> ForkServer:
    server = ForkServer()
    atexit.register(server.close)
    return server


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Ends:
    """A source with a password and schema 1, an open target, and a folder to work in."""

    source: LabRegistry
    target: LabRegistry
    folder: Path

    def manifest(self, body: str, name: str = "m.yaml", head: str = "") -> Path:
        path = self.folder / name
        path.write_text(
            "version: 1\n"
            f"source: {{registry: '{self.source.host}', plainHttp: true,"
            f" login: {{username: {USER}, passwordEnv: LAB_PASSWORD}}}}\n"
            f"target: {{registry: '{self.target.host}', plainHttp: true}}\n" + head + body
        )
        return path

    @property
    def source_authorization(self) -> str:
        """The header with the source's password."""
        return f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"

    def through(self, manifest: Path, *, source: str = "", target: str = "") -> Path:
        """The same manifest with other ways (host:port) to its ends."""
        text = manifest.read_text()
        for own, other in ((self.source.host, source), (self.target.host, target)):
            text = text.replace(own, other or own)
        manifest.write_text(text)
        return manifest

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        home = self.folder / "home"
        home.mkdir(mode=0o700, exist_ok=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # what is said to be typed can be typed
        own = {
            "PATH": path,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "LAB_PASSWORD": PASSWORD,
            "COLUMNS": "120",
        }
        return {**kept, **own, **more}

    def run(self, *arguments: object, **environment: str) -> Ran:
        """Run rahti-migrate to its end."""
        code, out, err = _forks().run([*map(str, arguments)], self.folder, self.environment(**environment), timeout=120)
        assert "Traceback" not in err, err
        return Ran(code, out, err)

    def start(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """Start rahti-migrate in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "migrate", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, and none of the tester's logins."""
    for name in ("KUBECONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return folder


@pytest.fixture
def own_address() -> str:
    """An address of this machine that is not loopback's: Go's programs use proxies for such only."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: the system only looks which way it would go
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        address = str(probe.getsockname()[0])
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback's")
    return address


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    """Two fresh registries: changes of one test are not seen by another."""
    with (
        registry(password=True, schema1=True, folder=tmp_path / "source") as source,
        registry(folder=tmp_path / "target") as target,
    ):
        folder = tmp_path / "work"
        folder.mkdir()
        yield Ends(source, target, folder)


@pytest.fixture
def source(ends: Ends) -> Iterator[LabClient]:
    """Direct access to the source registry."""
    with LabClient(ends.source) as client:
        yield client


@pytest.fixture
def target(ends: Ends) -> Iterator[LabClient]:
    """Direct access to the target registry."""
    with LabClient(ends.target) as client:
        yield client
