"""The wheel: installed elsewhere it has all that it needs, and the commands work without a checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from generated import ROOT
from reportstates import make_state

from migrate import __version__

SCHEMA = ROOT / "manifests/migration.schema.json"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rahti-migrate in an environment of its own; what it depends on comes from ours."""
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin/python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    there = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    (there / "of-the-tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return home / "bin/rahti-migrate"


def run(program: Path, folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(program), *arguments], cwd=folder, env={**clean, "HOME": str(folder), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_wheel_has_the_templates_and_no_tests_but_what_the_demo_needs(wheel: Path) -> None:
    assert wheel.name == f"rahti_migrate-{__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {"migrate/report/templates/report.html.j2", "migrate/report/templates/report.js"} <= set(names)
    assert {name.partition("/")[0] for name in names} == {
        "migrate", "registrylab", f"rahti_migrate-{__version__}.dist-info",
    }  # fmt: skip


def test_it_works_without_a_checkout(program: Path, tmp_path: Path) -> None:
    assert run(program, tmp_path, "--version").stdout == f"rahti-migrate {__version__}\n"
    schema = run(program, tmp_path, "schema")
    written, committed = (json.loads(text) for text in (schema.stdout, SCHEMA.read_text()))
    assert written["properties"].keys() == committed["properties"].keys()  # its details are those of pydantic's version
    state = make_state(tmp_path, 50)
    ran = run(program, tmp_path, "report", str(state), "--html", "page.html")
    assert ran.returncode == 0, ran.stderr
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert f"rahti-migrate {__version__}" in page
    (tmp_path / "m.yaml").write_text("version: 1\nsource: {registry: 127.0.0.1:1}\nwhat: is this\n")
    wrong = run(program, tmp_path, "plan", "m.yaml")
    assert wrong.returncode == 2
    assert "m.yaml:3:1:" in wrong.stderr


def test_the_demo_runs_without_a_checkout(program: Path, tmp_path: Path) -> None:
    ran = run(program, tmp_path, "demo")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "rahti-migrate-demo/report.html").exists()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("rahti-migrate co", {"copy"}),
        ("rahti-migrate access ", {"plan", "apply", "revert", "verify"}),
        ("rahti-migrate copy --max", {"--max-duration", "--max-bytes"}),
        ("rahti-migrate copy --order ", {"fastest", "smallest", "largest", "in-use"}),
    ],
)
def test_shells_complete_commands_and_options(program: Path, tmp_path: Path, typed: str, offered: set[str]) -> None:
    asked = {"_RAHTI_MIGRATE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    assert set(run(program, tmp_path, **asked).stdout.split()) == offered
    script = run(program, tmp_path, "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complete -o default -F _rahti_migrate_completion rahti-migrate" in script.stdout
