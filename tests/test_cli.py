"""The command line: exit codes, words, and nothing lost, whatever the user does."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Ends
from registrylab.client import LabClient
from registrylab.images import make_image, make_layer
from registrylab.registry import free_port

from migrate.cli.main import COMMANDS as COMMANDS_OF_THE_PROGRAM
from migrate.state.opening import open_state

IMAGE = make_image([make_layer("one", 20_000)])
COMMANDS = ("plan", "copy", "verify", "run")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_manifest_is_exit_code_2(ends: Ends, command: str) -> None:
    ran = ends.run(command, "nowhere.yaml")
    assert ran.code == 2
    assert "nowhere.yaml: cannot be read" in ran.err
    assert not (ends.folder / "state").exists()


def test_all_errors_of_a_manifest_come_with_their_places(ends: Ends) -> None:
    path = ends.folder / "bad.yaml"
    path.write_text("version: 1\nimagse: [a]\nimages: [A/b]\n")
    ran = ends.run("copy", path)
    assert ran.code == 2
    assert f"{path}:2:1: unknown key `imagse`: did you mean `images`?" in ran.err
    assert f"{path}:3:10: " in ran.err
    assert not (ends.folder / "state").exists()


def test_a_folder_as_manifest_is_said(ends: Ends) -> None:
    ran = ends.run("plan", ends.folder)
    assert ran.code == 2


def test_unknown_commands_and_options_are_exit_code_2(ends: Ends) -> None:
    assert ends.run("cpoy").code == 2
    assert ends.run("copy").code == 2
    assert ends.run("copy", "m.yaml", "--job", "x").code == 2


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [("copy", "--jobs", "9999"), ("copy", "--jobs", "x"), ("copy", "--order", "x"), ("report", "--run", "-1")],
)
def test_a_wrong_value_of_an_option_is_said_in_plain_words(ends: Ends, command: str, option: str, value: str) -> None:
    ran = ends.run(command, "m.yaml", option, value)
    assert ran.code == 2
    assert f"Invalid value for '{option}': " in ran.err
    for phrase in ("Input should", "Value error", "unable to parse"):
        assert phrase not in ran.err, "these are pydantic's, through newer versions of typer"


def test_without_skopeo_it_says_how_to_install_it(ends: Ends, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    manifest = ends.manifest("images: ['a/b:1']")
    ran = ends.run("copy", manifest, PATH=str(programs))
    assert ran.code == 1
    assert "skopeo is not installed" in ran.err
    assert "apt-get install skopeo" in ran.err


def test_a_registry_out_of_reach_is_exit_code_1(ends: Ends) -> None:
    ends.target.host = f"127.0.0.1:{free_port()}"
    ran = ends.run("copy", ends.manifest("images: ['a/b:1']"))
    assert ran.code == 1
    assert f"the target registry {ends.target.host}" in ran.err


def test_the_state_of_another_manifest_is_not_touched(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    assert ends.run("copy", ends.manifest("images: [a]"), "--state", "s.db").code == 0
    ran = ends.run("copy", ends.manifest("images: [a]", "other.yaml"), "--state", "s.db")
    assert ran.code == 2
    assert "belongs to the manifest" in ran.err
    assert "--state" in ran.err
    for reader in ("plan", "status"):
        assert ends.run(reader, ends.folder / "other.yaml", "--state", "s.db").code == 2


def test_a_manifest_that_was_moved_keeps_its_state(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    old = ends.manifest("images: [a]")
    assert ends.run("run", old).code == 0
    (ends.folder / "new").mkdir()
    new = old.rename(ends.folder / "new" / "m.yaml")
    assert ends.run("status", new).code == 0
    assert ends.run("plan", new).code == 0
    ran = ends.run("copy", new)
    assert ran.code == 0, ran.text
    assert f"state/m.db belonged to {old}, which is no longer there; from now on it belongs to {new}" in ran.err
    assert "belonged to" not in ends.run("copy", new).text
    old.write_text(new.read_text())
    assert ends.run("copy", old).code == 2


@pytest.mark.parametrize("change", ["name", "target"])
def test_a_manifest_that_only_resembles_a_moved_one_gets_no_state_of_it(
    ends: Ends, source: LabClient, change: str
) -> None:
    source.push("a/b", IMAGE, "1")
    old = ends.manifest("images: [a]")
    assert ends.run("copy", old).code == 0
    (ends.folder / "new").mkdir()
    new = old.rename(ends.folder / "new" / ("other.yaml" if change == "name" else "m.yaml"))
    if change == "target":
        ends.through(new, target="elsewhere.example")
    for command in ("copy", "plan"):
        ran = ends.run(command, new, "--state", "state/m.db")
        assert ran.code == 2
        assert "belongs to the manifest" in ran.err
    assert ends.run("status", new, "--state", "state/m.db").code == (2 if change == "name" else 0)


def test_a_damaged_state_is_said_and_a_fresh_one_finds_everything_again(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    manifest = ends.manifest("images: [a]")
    assert ends.run("copy", manifest).code == 0
    state = ends.folder / "state/m.db"
    for side in (f"{state}-wal", f"{state}-shm"):
        Path(side).unlink(missing_ok=True)
    state.write_bytes(b"no database" * 1000)
    ran = ends.run("copy", manifest)
    assert ran.code == 1
    assert "move the file away" in ran.err
    state.unlink()
    assert "nothing to do" in ends.run("copy", manifest).out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a small file system")
def test_a_full_disk_stops_the_run_and_loses_nothing(ends: Ends, source: LabClient, target: LabClient) -> None:
    folder = ends.folder / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        for number in range(60):
            source.push(f"a/app{number}", make_image([make_layer(f"l{number}", 500)]), "1")
        manifest = ends.manifest("images: [a]")
        ran = ends.run("copy", manifest, "--state", folder / "m.db")
        assert ran.code == 1, ran.text
        assert "make room" in ran.err
        subprocess.run(["mount", "-o", "remount,size=20m", folder], check=True)
        again = ends.run("copy", manifest, "--state", folder / "m.db")
        assert again.code == 0, again.text
        assert len(target.images()) == 60
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a read-only file system")
def test_a_read_only_state_folder_is_said(ends: Ends) -> None:
    folder = ends.folder / "fixed"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ran = ends.run("copy", ends.manifest("images: ['a/b:1']"), "--state", folder / "m.db")
        assert ran.code == 1
        assert "--state" in ran.err
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def test_status_without_a_state_says_what_to_do(ends: Ends) -> None:
    ran = ends.run("status", ends.manifest("images: [a]"))
    assert ran.code == 2
    assert "there is no state yet" in ran.err


def test_status_of_a_manifest_that_is_not_there_says_that(ends: Ends) -> None:
    ran = ends.run("status", "nowhere.yaml")
    assert ran.code == 2
    assert "nowhere.yaml: cannot be read: No such file" in ran.err
    assert "no state" not in ran.err


def test_status_is_0_only_where_all_is_done_and_the_last_run_ended_well(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    manifest = ends.manifest("images: [a]")
    refused = ends.run("copy", manifest, LAB_PASSWORD="wrong")
    assert refused.code == 4
    seen = ends.run("status", manifest)
    assert seen.code == 3, seen.text
    assert "last run: copy, " in seen.out
    assert "with exit code 4" in seen.out
    assert ends.run("copy", manifest).code == 0
    seen = ends.run("status", manifest)
    assert seen.code == 0
    assert "verified: none yet (1 to do)" in seen.out
    assert ends.run("verify", manifest).code == 0
    assert ends.run("status", manifest).code == 0
    assert ends.run("verify", manifest, LAB_PASSWORD="wrong").code == 4
    assert ends.run("status", manifest).code == 3


def test_status_of_a_run_that_was_cut_off_before_it_knew_anything(ends: Ends) -> None:
    manifest = ends.manifest("images: [a]")
    with open_state(ends.folder / "m.db", manifest) as state:
        state.begin_run("copy", "old.fi", "new.fi")
    seen = ends.run("status", manifest, "--state", "m.db")
    assert seen.code == 3
    assert "was cut off" in seen.out


@pytest.mark.parametrize("command", ["copy", "verify", "run"])
def test_a_file_that_is_no_state_is_left_alone(ends: Ends, command: str) -> None:
    notes = ends.folder / "README.md"
    notes.write_text("# Notes\n")
    before = {path.name for path in ends.folder.iterdir()} | {"m.yaml", "home"}
    ran = ends.run(command, ends.manifest("images: ['a/b:1']"), "--state", notes)
    assert ran.code == 1
    assert "README.md: this is no state of rahti-migrate" in ran.err
    assert {path.name for path in ends.folder.iterdir()} == before
    assert notes.read_text() == "# Notes\n"


def test_status_after_a_kill_says_run_it_again(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    source.push("a/b", IMAGE, "2")
    manifest = ends.manifest("images: ['a/b:1', 'a/b:9']")
    assert ends.run("copy", manifest).code == 3
    ran = ends.run("status", manifest)
    assert ran.code == 3
    assert "1 done" in ran.out
    assert "1 refused" in ran.out
    assert "a/b:9" in ran.out
    document = ends.run("status", manifest, "--format", "json").json
    assert document["counts"] == {"done": 1, "refused": 1}


def test_plan_groups_long_lists_by_repository_and_writes_nothing(ends: Ends, source: LabClient) -> None:
    for number in range(50):
        source.push("a/many", IMAGE, f"v{number}")
    ran = ends.run("plan", ends.manifest("images: [a]"))
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == ["TARGET", "REPOSITORY", "TAGS", "COPY", "LINK", "SKIP", "CONFLICT", "REFUSED", "UNIQUE"]
    assert lines[1].split()[:4] == ["a/many", "50", "1", "49"]
    assert lines[2].split()[:4] == ["total", "50", "1", "49"]
    assert not (ends.folder / "state").exists()
    assert '"P' not in "".join(re.findall(r'"(?:PUT|POST|PATCH|DELETE) ', ends.target.log))


def test_output_can_be_piped_into_a_program_that_stops_reading(ends: Ends, source: LabClient) -> None:
    for number in range(30):
        source.push("a/many", IMAGE, f"v{number}")
    manifest = ends.manifest("images: [a]")
    with ends.start("plan", manifest) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(30) == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.parametrize("closed", ["2>/dev/full", ">/dev/full", ">&- 2>&-", "2>&1 | head -1"])
def test_a_copy_goes_on_where_nobody_can_read_it(ends: Ends, source: LabClient, target: LabClient, closed: str) -> None:
    for number in range(3):
        source.push(f"a/app{number}", IMAGE, "1")
    manifest = ends.manifest("images: [a]")
    command = f"{sys.executable} -m migrate copy {manifest} {closed}"
    subprocess.run(["bash", "-c", command], cwd=ends.folder, env=ends.environment(), timeout=60, check=False)
    assert len(target.images()) == 3


def test_nohup_is_respected(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    copy = f"{sys.executable} -m migrate copy {ends.manifest('images: [a]')}"
    command = f"trap '' HUP; {copy} & sleep 0.9; kill -HUP $!; wait $!"
    done = subprocess.run(["bash", "-c", command], cwd=ends.folder, env=ends.environment(), timeout=60, check=False)
    assert done.returncode == 0
    assert set(target.images()) == {"a/b:1"}


def test_control_characters_of_a_registry_never_reach_the_terminal(ends: Ends, source: LabClient) -> None:
    ran = ends.run("copy", ends.manifest("images: ['a/b:1']"))
    assert "\x1b" not in ran.text


def test_on_a_terminal_there_are_live_bars(ends: Ends, source: LabClient) -> None:
    if not shutil.which("script"):
        pytest.skip("script(1) is not installed")
    source.push("a/b", IMAGE, "1")
    command = f"{shutil.which('env')} {sys.executable} -m migrate copy {ends.manifest('images: [a]')}"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], cwd=ends.folder, env=ends.environment(TERM="xterm"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "\x1b[" in done.stdout
    assert "1 done" in done.stdout


def test_a_manifest_without_images_is_no_mistake(ends: Ends) -> None:
    ran = ends.run("run", ends.manifest("workloads: [{from: x, to: y, project: p}]"))
    assert ran.code == 0, ran.text
    assert "nothing to do: the manifest names no images" in ran.out
    assert "workloads are left: no API of the target is named" in ran.err


def test_a_manifest_with_nothing_to_finish_is_finished(ends: Ends) -> None:
    manifest = ends.manifest("images: [a]")
    for options in ((), ("--apply",), ("--apply", "--wait", "1m")):
        ran = ends.run("finish", manifest, *options)
        assert (ran.code, ran.out) == (0, "nothing to finish: the manifest has neither `access` nor `workloads`\n")
    last = ends.run("finish", manifest, "--apply", "--format", "json")
    assert json.loads(last.out) == {"event": "summary", "exitCode": 0}


def test_access_without_an_api_is_said_before_anything_is_copied(ends: Ends) -> None:
    ran = ends.run("run", ends.manifest("images: [a]\naccess: [{project: p, allow: [anonymous]}]"))
    assert ran.code == 2
    assert "set `target.api: {kubeconfigContext: ...}`" in ran.err


def test_json_is_asked_for_by_another_name(ends: Ends) -> None:
    ran = ends.run("plan", ends.manifest("images: [a]"), "--json")
    assert ran.code == 2
    assert "--format json" in ran.err


def test_what_to_type_is_the_name_where_a_shell_finds_it_else_the_way_it_was_started(
    ends: Ends, source: LabClient
) -> None:
    source.push("a/b", IMAGE, "1")
    manifest = ends.manifest("images: [a]")
    assert f"Next: rahti-migrate verify {manifest}\n" in ends.run("copy", manifest).out
    program = ends.folder / "bin" / "rahti-migrate"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom migrate.cli import main\nmain()\n")
    program.chmod(0o755)
    elsewhere = [f for f in os.environ["PATH"].split(":") if not (Path(f) / "rahti-migrate").exists()]
    path = {"PATH": ":".join(elsewhere)}
    for argv, name in (([str(program)], program), ([sys.executable, "-m", "migrate"], f"{sys.executable} -m migrate")):
        environment = ends.environment(**path, PYTHONPATH=str(Path(__file__).parent.parent))
        done = subprocess.run(
            [*argv, "copy", manifest], cwd=ends.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert f"Next: {name} verify {manifest}\n" in done.stdout, done.stdout + done.stderr


def test_the_list_of_commands_is_shown_without_loading_them(ends: Ends) -> None:
    words = "import sys; from migrate.cli.main import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, cwd=ends.folder)
    *shown, loaded = ran.stdout.splitlines()
    heavy = {"pydantic", "sqlite_utils", "urllib3", "rich", "asyncio", "yaml", "migrate.images", "migrate.manifest"}
    assert not heavy & set(loaded.split())
    for name in COMMANDS_OF_THE_PROGRAM:
        [line] = [line for line in shown if line.startswith(f"  {name} ")]
        assert not line.endswith("..."), "cut off"


def test_version_and_help(ends: Ends) -> None:
    assert ends.run("--version").out.startswith("rahti-migrate ")
    assert ends.run("--help").code == 0
    assert json.loads(ends.run("schema").out)["title"] == "rahti-migrate manifest"


@pytest.mark.parametrize(("module", "said"), [("typer", ""), ("urllib3", "stopped; nothing was written\n")])
def test_interrupted_while_it_is_being_loaded_it_ends_without_a_traceback(module: str, said: str) -> None:
    script = (
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "  def find_spec(self, name, *_):\n"
        f"    if name == '{module}': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from migrate.cli import main\n"
        "main()"
    )
    argv = [sys.executable, "-c", script, "copy", "m.yaml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, said)
