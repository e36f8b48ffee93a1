"""One process per state: who holds it is known, and nothing of a dead one stays."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from migrate.errors import StateError
from migrate.lock import Holder, hold, holder

HOLDING = """
import sys
from pathlib import Path
from migrate.lock import hold
with hold(Path(sys.argv[1]), "copy") as private:
    (private / "auth.json").write_text("secret")
    print(private, flush=True)
    sys.stdin.read()
"""
ASKING = """
import sys
from pathlib import Path
from migrate.lock import holder
print("ready", flush=True)
while True:
    holder(Path(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where private folders are made in these tests."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "my-app.db"


@contextmanager
def another(script: str, state: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process that runs the script on the state, and its first line."""
    argv = [sys.executable, "-c", script, str(state)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_it_can_be_held_once_and_then_again(state: Path) -> None:
    for _ in range(2):
        with hold(state, "copy"):
            pass
    assert state.parent.is_dir()
    assert not state.exists()


def test_who_holds_it_is_known(state: Path) -> None:
    with hold(state, "copy"):
        found = holder(state)
    assert found
    assert (found.pid, found.command, found.host) == (os.getpid(), "copy", os.uname().nodename)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.since)
    assert re.fullmatch(r"`rahti-migrate copy` of \S+ \(process \d+ on \S+, since \S+Z\)", str(found))


def test_nobody_holds_what_was_never_held_or_let_go(state: Path) -> None:
    assert holder(state) is None
    with hold(state, "copy"):
        pass
    assert holder(state) is None


def test_a_second_one_is_told_who_holds_it(state: Path) -> None:
    with another(HOLDING, state) as (process, _):
        with pytest.raises(StateError) as caught, hold(state, "verify"):
            pass
        assert f"{state}: in use by `rahti-migrate copy` of " in caught.value.what
        assert f"process {process.pid} " in caught.value.what
        assert "rahti-migrate status" in caught.value.advice
        found = holder(state)
        assert found
        assert found.pid == process.pid


def test_a_second_one_in_the_same_process_is_told_too(state: Path) -> None:
    with hold(state, "copy"), pytest.raises(StateError, match=r"in use by `rahti-migrate copy`"), hold(state, "run"):
        pass


def test_two_states_are_held_side_by_side(state: Path) -> None:
    with hold(state, "copy") as one, hold(state.with_name("other.db"), "copy") as two:
        assert one != two


def test_the_lock_dies_with_its_process(state: Path) -> None:
    with another(HOLDING, state) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holder(state) is None
        with hold(state, "copy"):
            pass


def test_somebody_who_only_asks_keeps_nobody_out(state: Path) -> None:
    with hold(state, "copy"):
        pass
    with another(ASKING, state):
        for _ in range(200):
            with hold(state, "copy"):
                pass


def test_of_many_at_once_one_gets_it(state: Path) -> None:
    barrier, release = threading.Barrier(8), threading.Event()
    got: list[str] = []

    def take() -> None:
        barrier.wait()
        try:
            with hold(state, "copy"):
                got.append("held")
                release.wait()
        except StateError:
            got.append("refused")
            if got.count("refused") == 7:
                release.set()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["held"] + ["refused"] * 7


# --- the private folder -----------------------------------------------------------------------------------------


def test_the_private_folder_is_ours_alone_and_goes_at_the_end(state: Path, runtime: Path) -> None:
    with hold(state, "copy") as private:
        assert private.parent == runtime
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        (private / "deep").mkdir()
        (private / "deep" / "auth.json").write_text("secret")
    assert not private.exists()


def test_the_private_folder_goes_when_we_fail(state: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(state, "copy") as private:
        raise ZeroDivisionError
    assert not private.exists()
    assert holder(state) is None


def test_what_a_killed_process_left_is_swept_by_the_next_one(state: Path) -> None:
    with another(HOLDING, state) as (process, private):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (Path(private) / "auth.json").read_text() == "secret"
        with hold(state, "copy") as mine:
            assert not Path(private).exists()
            assert mine.exists()


def test_what_a_living_process_has_is_not_swept(state: Path) -> None:
    with another(HOLDING, state) as (_, private):
        with pytest.raises(StateError), hold(state, "copy"):
            pass
        with hold(state.with_name("other.db"), "copy"):
            pass
        assert (Path(private) / "auth.json").exists()


def left_behind(state: Path, private: object, host: str = "") -> None:
    """A lock file as a killed process leaves it."""
    dead = Holder(2**22, host or os.uname().nodename, "ann", "2026-01-01T00:00:00Z", "copy")
    state.parent.mkdir(exist_ok=True)
    state.with_name(f"{state.name}.lock").write_text(json.dumps({**asdict(dead), "private": private}))


@pytest.mark.parametrize(
    ("name", "mode", "host", "stays"),
    [
        ("rahti-migrate-abc", 0o700, "", False),
        ("rahti-migrate-abc", 0o755, "", True),
        ("rahti-migrate-abc", 0o1700, "", True),
        ("my-data", 0o700, "", True),
        ("rahti-migrate-abc", 0o700, "elsewhere", True),
    ],
)
def test_nothing_but_a_private_folder_of_ours_is_ever_swept(
    state: Path, runtime: Path, name: str, mode: int, host: str, stays: bool
) -> None:
    folder = runtime / name
    folder.mkdir()
    (folder / "file").write_text("mine")
    folder.chmod(mode)
    left_behind(state, str(folder), host)
    with hold(state, "copy"):
        assert (folder / "file").exists() is stays


def test_a_link_to_a_folder_is_not_followed(state: Path, runtime: Path) -> None:
    target = runtime / "rahti-migrate-target"
    target.mkdir(mode=0o700)
    (runtime / "rahti-migrate-link").symlink_to(target)
    left_behind(state, str(runtime / "rahti-migrate-link"))
    with hold(state, "copy"):
        assert target.is_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what belongs to others")
def test_the_folder_of_another_user_is_not_swept(state: Path, runtime: Path) -> None:
    folder = runtime / "rahti-migrate-theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    left_behind(state, str(folder))
    with hold(state, "copy"):
        assert folder.is_dir()


@pytest.mark.parametrize("private", ["", "gone", "a\0b", 5, None, ["x"]])
def test_a_private_folder_that_cannot_be_there_is_no_error(state: Path, private: object) -> None:
    left_behind(state, private)
    with hold(state, "copy"):
        pass


def test_one_that_ended_well_leaves_nothing_to_sweep(state: Path) -> None:
    with hold(state, "copy") as private:
        pass
    private.mkdir(mode=0o700)
    with hold(state, "copy"):
        assert private.is_dir()


@pytest.mark.parametrize("content", ["", "garbage", "[]", "{}", '{"pid": 1}', "\0" * 100, '{"a":' * 5_000])
def test_a_lock_file_of_any_content_can_be_taken(state: Path, content: str) -> None:
    state.parent.mkdir()
    lock_file = state.with_name(f"{state.name}.lock")
    lock_file.write_text(content)
    with hold(state, "copy"):
        found = holder(state)
    assert found
    assert found.command == "copy"


def test_without_a_runtime_folder_the_private_one_is_with_the_temporary_files(
    monkeypatch: pytest.MonkeyPatch, state: Path, tmp_path: Path
) -> None:
    for value in ("", str(tmp_path / "gone"), __file__):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        with hold(state, "copy") as private:
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert not private.exists()


# --- places that cannot be written ------------------------------------------------------------------------------


def test_a_place_that_is_no_folder_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"file: the state cannot be written there: ") as caught:
        hold(tmp_path / "file" / "my-app.db", "copy").__enter__()
    assert caught.value.advice == "choose another place with --state"


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_folder_is_said_with_the_way_out(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro,size=64k") as disk:
        with pytest.raises(StateError, match=r"disk: the state cannot be written there: Read-only file system"):
            hold(disk / "my-app.db", "copy").__enter__()
        assert holder(disk / "my-app.db") is None


def test_a_full_disk_is_said_and_leaves_nothing_private(tmp_path: Path, runtime: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        (disk / "my-app.db.lock").touch()
        with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(StateError, match=r"my-app.db.lock: cannot be written: No space left on device") as caught:
            hold(disk / "my-app.db", "copy").__enter__()
        assert caught.value.advice == "make room, then run again"
        assert list(runtime.iterdir()) == []
        (disk / "filler").unlink()
        with hold(disk / "my-app.db", "copy"):
            pass
