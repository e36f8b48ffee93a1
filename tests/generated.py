"""Files that are made from the code: `python tests/generated.py` writes them, a test compares them."""

import inspect
import json
from pathlib import Path
from typing import Any

from typer.main import get_command

from migrate.cli.main import app
from migrate.images.failures import MEANINGS
from migrate.manifest.schema import manifest_schema
from migrate.report.json_form import report_schema
from migrate.workloads.rules import RULES

ROOT = Path(__file__).parent.parent
COMMANDS = (
    "demo", "init", "check", "plan", "copy", "verify", "rewrite", "access plan", "access apply", "access revert",
    "access verify", "finish", "run", "status", "report", "explain", "rollback", "schema",
)  # fmt: skip

_RULES = "## The rules\n"
_EXIT_CODES = """\
## Exit codes

| exit | meaning |
|---|---|
| 0 | all done, nothing left |
| 1 | could not continue (registry or API out of reach, no skopeo, the state in use, a full disk, a bug) |
| 2 | wrong usage or wrong manifest; nothing was attempted |
| 3 | finished, but something failed, conflicts, is refused, does not verify, fails a check or waits for you |
| 4 | a login is missing, refused or expired |
| 5 | stopped at a limit that was asked for; run again |
| 130 | interrupted (Ctrl-C, SIGTERM); the state is good; run again |
"""


def cli_reference() -> str:
    """docs/cli.md."""
    commands = _commands(get_command(app))
    assert set(commands) == set(COMMANDS)
    parts = ["# The command line", "", "Made from the code by `make docs`.", "", _EXIT_CODES]
    for name in COMMANDS:
        words, _, example = inspect.cleandoc(commands[name].help).partition("Example: ")
        cells = [(_cell(_parameter(each)), _cell(each.help + _default(each))) for each in commands[name].params]
        rows = [f"| {parameter} | {says} |" for parameter, says in cells]
        parts += [f"## rahti-migrate {name}", "", " ".join(words.split()), "", f"```sh\n{example.strip()}\n```", ""]
        parts += ["| | |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(parts)


def _commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """All commands by what is typed, those of groups too."""
    found: dict[str, Any] = {}
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        below = _commands(command, f"{prefix}{name} ") if hasattr(command, "commands") else {f"{prefix}{name}": command}
        found.update(below)
    return found


def _parameter(parameter: Any) -> str:
    if not parameter.opts[0].startswith("-"):
        return f"`{parameter.metavar}`"
    value = f" {parameter.metavar}" if parameter.metavar else ""
    return ", ".join(f"`{option}{value}`" for option in parameter.opts)


def _cell(text: str) -> str:
    """What Markdown would take for the cell's end, or for HTML."""
    return text.replace("|", "\\|").replace("<", "\\<")


def _default(parameter: Any) -> str:
    """What holds where an option is not given, as its help shows it."""
    shown = parameter.default if parameter.show_default and parameter.opts[0].startswith("-") else None
    return f"  [default: {shown}]" if shown else ""


def failures() -> str:
    """docs/failures.md."""
    lines = [
        "# When a copy fails",
        "",
        "Every failure has a class; the state, the reports and `--format json` name it. Made from the table in",
        "`migrate/images/failures.py` by `make docs`. *Tried again*: by the same run, five tries in all,",
        "after growing and random waits, or as long as the registry asks to wait.",
        "",
        "| class | what it means | what to do | tried again |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{kind}` | {m.meaning} | {m.advice} | {'yes' if m.retry else 'no'} |" for kind, m in MEANINGS.items()]
    return "\n".join([*lines, ""])


def schema() -> str:
    """manifests/migration.schema.json."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


def rules() -> str:
    """docs/rules.md: its words as they are, and the table."""
    head, _, _ = (ROOT / "docs/rules.md").read_text().partition(_RULES)
    rows = [f"| [`{rule.id}`]({rule.link}) | `{rule.mode}` | {rule.says} |" for rule in RULES]
    return "\n".join([f"{head}{_RULES}", "", "| rule | mode | why |", "|---|---|---|", *rows, ""])


def of_report() -> str:
    """docs/report.schema.json."""
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


FILES = {
    "docs/cli.md": cli_reference,
    "docs/failures.md": failures,
    "docs/report.schema.json": of_report,
    "docs/rules.md": rules,
    "manifests/migration.schema.json": schema,
}

if __name__ == "__main__":
    for name, make in FILES.items():
        (ROOT / name).write_text(make())
