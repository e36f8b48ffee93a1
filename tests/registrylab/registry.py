"""A real docker-registry (Debian package, distribution 2.8) on a free port, of loopback by default."""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

PROGRAM = "docker-registry"
USER, PASSWORD = "rahti", "demo-Kulkuri-4711"
# bcrypt of PASSWORD: docker-registry reads nothing else, and a fixed one spares the demo a dependency
_HTPASSWD = f"{USER}:$2b$05$ksEhLqAcXY3ZWF3b2qrSF.4JDgn2aTiqmDmiY./tx3Bp57ahryGnq\n"
_START_SECONDS = 20


class RegistryMissingError(RuntimeError):
    """docker-registry is not installed, or did not start."""


@dataclass(frozen=True)
class Tls:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass
class LabRegistry:
    """A running registry. `storage` is its folder; `log` what it says."""

    host: str
    folder: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    credential: tuple[str, str] | None = None
    tls: Tls | None = None

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def storage(self) -> Path:
        """Where it keeps blobs and links."""
        return self.folder / "storage"

    @property
    def log(self) -> str:
        """What it has said so far, one line a request."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """End it and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """Start it where it was, on what it had."""
        self.process = _launch(self.folder)
        _wait_until_up(self)


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free now, of loopback or another of this machine's addresses."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextmanager
def registry(
    *,
    password: bool = False,
    schema1: bool = False,
    urls: bool = False,
    tls: Tls | None = None,
    token_auth: dict[str, str] | None = None,
    folder: Path | None = None,
    port: int = 0,
    address: str = "127.0.0.1",
) -> Iterator[LabRegistry]:
    """A running registry, gone afterwards (its folder too, unless one is given).

    Args:
        password: ask for USER and PASSWORD (HTTP Basic).
        schema1: take Docker schema 1, as Rahti 1's registry does.
        urls: take images with layers that are kept elsewhere (foreign layers).
        tls: speak TLS with this certificate.
        token_auth: docker-registry's `auth.token` settings (realm, service, issuer, rootcertbundle).
        folder: where its files go.
        port: 0 for any that is free.
        address: where it listens; Go's programs use proxies for others than loopback's only.
    """
    own = folder or Path(tempfile.mkdtemp(prefix="registrylab-"))
    lab = start(
        own, password=password, schema1=schema1, urls=urls, tls=tls, token_auth=token_auth, port=port, address=address
    )
    try:
        yield lab
    finally:
        lab.stop()
        if folder is None:
            shutil.rmtree(own, ignore_errors=True)


def start(
    folder: Path,
    *,
    password: bool = False,
    schema1: bool = False,
    urls: bool = False,
    tls: Tls | None = None,
    token_auth: dict[str, str] | None = None,
    port: int = 0,
    address: str = "127.0.0.1",
) -> LabRegistry:
    """Start a registry whose files are in `folder`; the caller stops it. Arguments as `registry`."""
    if not shutil.which(PROGRAM):
        raise RegistryMissingError(f"{PROGRAM} is not installed: apt-get install docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    host = f"{address}:{port or free_port(address)}"
    config = _config(folder, host, schema1=schema1, tls=tls)
    if urls:
        config["validation"] = {"manifests": {"urls": {"allow": [".*"]}}}
    if password:
        (folder / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "lab", "path": str(folder / "htpasswd")}}
    if token_auth:
        config["auth"] = {"token": token_auth}
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    process = _launch(folder)
    lab = LabRegistry(host, folder, process, (USER, PASSWORD) if password else None, tls)
    _wait_until_up(lab)
    return lab


def _launch(folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [PROGRAM, "serve", str(folder / "config.yml")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "REGISTRY_AUTH_FILE"},
            start_new_session=True,
        )


def _config(folder: Path, host: str, *, schema1: bool, tls: Tls | None) -> dict[str, object]:
    http: dict[str, object] = {"addr": host, "secret": "lab"}
    if tls:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}},
        "http": http,
        "compatibility": {"schema1": {"enabled": schema1}},
    }


def _wait_until_up(lab: LabRegistry) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if lab.process.poll() is not None:
            raise RegistryMissingError(f"{PROGRAM} ended at once: {lab.log[-2000:]}")
        try:
            _get(lab)
        except OSError:
            time.sleep(0.02)
        else:
            return
    lab.stop()
    raise RegistryMissingError(f"{PROGRAM} did not answer within {_START_SECONDS} s")


def _get(lab: LabRegistry) -> None:
    if lab.tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(lab.host, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection(lab.host, timeout=2)
    connection.request("GET", "/v2/")
    connection.getresponse().read()
    connection.close()
