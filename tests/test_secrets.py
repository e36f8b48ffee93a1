"""A password that must appear nowhere: arguments, environments of other programs, logs, state, left-over files."""

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Ends
from processes import arguments_of_all, family, skopeos
from registrylab.client import LabClient
from registrylab.images import make_image, make_layer
from registrylab.proxy import SlowLink, slow_link
from registrylab.registry import PASSWORD, USER

CANARIES = (PASSWORD.encode(), base64.b64encode(f"{USER}:{PASSWORD}".encode()))
BODY = "images: [a]\ntransfer: {linkMaxMissing: 0}"  # skopeo carries everything


def holding(folder: Path) -> list[Path]:
    """Files below a folder in which a canary stands."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(canary in path.read_bytes() for canary in CANARIES)]


@pytest.fixture
def link(ends: Ends, source: LabClient) -> Iterator[SlowLink]:
    """Copies to the target last long enough to be looked at."""
    for number in range(3):
        source.push(f"a/app{number}", make_image([make_layer(f"big-{number}", 800_000)]), "1")
    with slow_link(ends.target.host, rate=500_000) as slow:
        ends.target.host = slow.host
        yield slow


def runtime(ends: Ends) -> Path:
    folder = ends.folder / "runtime"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def wait_for_skopeo(host: str) -> int:
    deadline = time.monotonic() + 20
    while not (found := skopeos(host)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0]


def test_no_process_shows_the_password(ends: Ends, link: SlowLink) -> None:
    process = ends.start("copy", ends.manifest(BODY), "-vv", XDG_RUNTIME_DIR=str(runtime(ends)))
    pid = wait_for_skopeo(link.host)
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    ours = family(process.pid)
    shown = [argv for each, argv in arguments_of_all() if each in ours and any(PASSWORD in part for part in argv)]
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert pid in ours
    assert shown == []
    assert not any(canary in environment for canary in CANARIES)
    assert not any(canary in (out + err).encode() for canary in CANARIES)


def test_authfiles_are_private_while_they_are_there_and_gone_afterwards(ends: Ends, link: SlowLink) -> None:
    process = ends.start("copy", ends.manifest(BODY), XDG_RUNTIME_DIR=str(runtime(ends)))
    wait_for_skopeo(link.host)
    files = holding(runtime(ends))
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files} == {0o700}
    process.communicate(timeout=60)
    assert holding(ends.folder) == []
    assert list(runtime(ends).iterdir()) == []


def test_what_kill_9_leaves_is_swept_by_the_next_run(ends: Ends, link: SlowLink) -> None:
    manifest = ends.manifest(BODY)
    process = ends.start("copy", manifest, XDG_RUNTIME_DIR=str(runtime(ends)))
    wait_for_skopeo(link.host)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    link.rate = 0
    assert ends.run("copy", manifest, XDG_RUNTIME_DIR=str(runtime(ends))).code == 0
    assert holding(ends.folder) == []
    assert list(runtime(ends).iterdir()) == []


def test_a_refused_login_is_not_repeated_to_the_user(ends: Ends) -> None:
    ran = ends.run("copy", ends.manifest("images: ['a/b:1']"), "-vv", LAB_PASSWORD="canary-of-mine")
    assert ran.code == 4
    assert "canary-of-mine" not in ran.text
    assert holding(ends.folder) == []


def test_no_word_of_a_long_run_holds_the_password(ends: Ends, link: SlowLink) -> None:
    """Logs at their fullest, the state and its log while they are written, a run that is killed, every command."""
    log = ends.folder / "all.log"
    manifest = ends.manifest(BODY)
    process = ends.start("run", manifest, "-vv", "--log-file", log, XDG_RUNTIME_DIR=str(runtime(ends)))
    wait_for_skopeo(link.host)
    state = [path for path in (ends.folder / "state").iterdir() if path.is_file()]
    assert any(path.name.endswith("-wal") for path in state)
    assert not any(path.parent == ends.folder / "state" for path in holding(ends.folder))
    os.killpg(process.pid, signal.SIGKILL)
    out, err = process.communicate()
    link.rate = 0
    said = [out + err]
    commands = ["check", "plan", "run", "verify", "status", "copy", "rollback"]
    for command in commands:
        for output in ("text", "json"):
            ran = ends.run(command, manifest, "--format", output, "-vv", XDG_RUNTIME_DIR=str(runtime(ends)))
            said.append(ran.text)
    files = ("--html", "r.html", "--json", "r.json", "--csv", "r.csv", "--markdown", "r.md")
    said += [ends.run("report", manifest, "-vv", *files).text, ends.run("status", manifest, "--metrics", "m.prom").text]
    image = json.loads((ends.folder / "r.json").read_text())["images"][0]["target"]
    said += [ends.run("explain", manifest, image, "--format", output, "-vv").text for output in ("text", "json")]
    assert log.stat().st_size > 0
    assert holding(ends.folder) == []
    assert not any(canary in text.encode() for canary in CANARIES for text in said)


def test_a_bug_shows_no_secret(ends: Ends) -> None:
    """A crash in the middle, with everything logged: names of errors, and no values."""
    script = (
        "import migrate.images.worker as w, sys\n"
        "def broken(bench, job): raise RuntimeError('made by the tests')\n"
        "w.perform = broken\n"
        "from migrate.cli import main\n"
        "main()\n"
    )
    with LabClient(ends.source) as source:
        source.push("a/app", make_image([make_layer("one", 5_000)]), "1")
    argv = [sys.executable, "-c", script, "copy", str(ends.manifest("images: [a]")), "-vv"]
    done = subprocess.run(argv, cwd=ends.folder, env=ends.environment(), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"made by the tests" in done.stdout + done.stderr
    assert not any(canary in done.stdout + done.stderr for canary in CANARIES)
    assert holding(ends.folder) == []
