"""Cases of rules, as text: `tests/rules/<rule>.txt` holds what stands before, what after, and what is told.

    # what the case shows; options, projects or a file's name may follow: [hooks=job, my-app=my-app-2, name=Dockerfile]
    <the file before>
    ==>
    <the file after>
    --
    <mode> <line> <path>: <before> -> <after>

`python tests/rulecases.py` writes what follows `==>` anew, to be read before it is believed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migrate.manifest.model import ManifestFile, RewriteOptions
from migrate.workloads.context import Context, registries_of
from migrate.workloads.documents import read_document
from migrate.workloads.engine import run_rules
from migrate.workloads.findings import Finding
from migrate.workloads.rules import RULES

FOLDER = Path(__file__).parent / "rules"
_HEAD = re.compile(r"^# (.*?)(?: \[(.*)\])?$")


@dataclass(frozen=True)
class Case:
    """One case of one rule."""

    rule: str
    title: str
    settings: str
    before: str
    after: str
    findings: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.title}"


def cases_in(path: Path) -> Iterator[Case]:
    for part in re.split(r"^(?=# )", path.read_text(), flags=re.MULTILINE):
        if not part.strip():
            continue
        head, _, rest = part.partition("\n")
        found = _HEAD.match(head)
        assert found, f"{path}: {head}"
        before, _, wanted = rest.partition("==>\n")
        after, findings = re.split(r"^--\n", wanted, maxsplit=1, flags=re.MULTILINE)
        yield Case(path.stem, found[1], found[2] or "", before, after, findings.strip())


def all_cases() -> list[Case]:
    return [case for path in sorted(FOLDER.glob("*.txt")) for case in cases_in(path)]


def outcome(case: Case) -> tuple[str, str]:
    """The text and the findings that a case's rule gives; where the file's name is no rule's, all of them run."""
    options, projects, name = {}, {}, "a.yaml"
    for setting in filter(None, re.split(r",\s*", case.settings)):
        key, _, value = setting.partition("=")
        if key == "name":
            name = value
        elif key in RewriteOptions().model_dump(by_alias=True):
            options[key] = {"true": True, "false": False}.get(value, value)
        else:
            projects[key] = value
    rules = [rule for rule in RULES if rule.id == case.rule] or RULES
    context = Context(
        "my-app-2", projects or {"my-app": "my-app-2"}, registries_of(ManifestFile(version=1)),
        RewriteOptions.model_validate(options),
    )  # fmt: skip
    document = read_document(name, case.before.encode())
    findings = run_rules(rules, [document], context)
    return document.written().decode(), "\n".join(map(_line, findings))


def _line(finding: Finding) -> str:
    change = " -> ".join(filter(None, [finding.before, finding.after]))
    return f"{finding.mode} {finding.line} {finding.path}: {change}".rstrip(": ")


if __name__ == "__main__":
    for each in sorted(FOLDER.glob("*.txt")):
        parts = []
        for case in cases_in(each):
            after, told = outcome(case)
            settings = f" [{case.settings}]" if case.settings else ""
            parts.append(f"# {case.title}{settings}\n{case.before}==>\n{after}--\n{told}\n\n")
        each.write_text("".join(parts).rstrip("\n") + "\n")
