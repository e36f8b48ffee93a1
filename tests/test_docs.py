"""What the documents say is true: examples load, commands run, references are those of the code."""

import ast
import json
import re
import sqlite3
import textwrap
from pathlib import Path
from statistics import median
from typing import Any, cast

import jsonschema
import pydantic
import pytest
import yaml
from clusters import NEW_TOKEN, OLD_TOKEN, two_clusters
from conftest import Ends
from generated import COMMANDS, FILES, ROOT
from registrylab.client import LabClient
from registrylab.images import make_image, make_layer
from test_rewrite import CONFIG, put

from migrate.manifest import load_manifest
from migrate.manifest.model import ManifestFile, RewriteOptions
from migrate.manifest.schema import manifest_schema
from migrate.workloads.context import Context, registries_of
from migrate.workloads.documents import read_document
from migrate.workloads.engine import rule, run_rules
from migrate.workloads.findings import Mode
from migrate.workloads.pods import TEMPLATES, pod_spec
from migrate.workloads.rules import RULES

EXAMPLES = sorted((ROOT / "manifests").glob("*.yaml"))
IMAGE = make_image([make_layer("one", 5_000)])


@pytest.mark.parametrize("name", FILES)
def test_files_made_from_the_code_are_up_to_date(name: str) -> None:
    if name == "manifests/migration.schema.json" and pydantic.VERSION.startswith("2.10."):
        pytest.skip("pydantic 2.10 says two defaults twice")
    assert (ROOT / name).read_text() == FILES[name](), f"{name}: run `make docs`"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_good_manifest_and_explains_itself(path: Path) -> None:
    manifest = load_manifest(path)
    assert manifest.images
    jsonschema.validate(yaml.safe_load(path.read_text()), manifest_schema())
    assert path.read_text().startswith("# ")


def test_the_readme_names_every_command_there_is() -> None:
    words = (ROOT / "README.md").read_text() + (ROOT / "docs/cli.md").read_text()
    assert [name for name in COMMANDS if f"rahti-migrate {name}" not in words] == []


def test_the_readmes_commands_do_what_it_says(ends: Ends, source: LabClient, target: LabClient) -> None:
    readme = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    side = "{{registry: '{0}', plainHttp: true, login: {{username: rahti, passwordEnv: LAB_PASSWORD}}}}"
    for key, lab in (("source", ends.source), ("target", ends.target)):
        example, changed = re.subn(rf"^{key}: .*$", f"{key}: {side.format(lab.host)}", example, flags=re.MULTILINE)
        assert changed == 1
    (ends.folder / "my-app.yaml").write_text(example)
    for name in ("web", "backend"):
        source.push(f"my-app/{name}", IMAGE, "1")
    commands = readme_commands()
    assert len(commands) >= 4
    with_api = ("access", "init", "rewrite", "finish", "rollback")
    for command in (command for command in commands if not command.startswith(with_api)):
        ran = ends.run(*command.split())
        assert ran.code == 0, f"{command}: {ran.text}"
    assert set(target.images()) == {"my-app-2/web:1", "my-app-2/backend:1"}


def test_the_readmes_rewrite_does_what_it_says(tmp_path: Path) -> None:
    desk = Ends(cast(Any, None), cast(Any, None), tmp_path)
    put(tmp_path / "exports/my-app", dc_yaml=CONFIG)
    (tmp_path / "my-app.yaml").write_text(
        "version: 1\nworkloads: [{from: exports/my-app, to: rewritten/my-app-2, project: my-app-2}]\n"
    )
    commands = [command for command in readme_commands() if command.startswith("rewrite")]
    assert len(commands) == 2
    for command in commands:
        ran = desk.run(*command.split())
        assert ran.code == 0, ran.text
    assert "kind: Deployment" in (tmp_path / "rewritten/my-app-2/dc.yaml").read_text()


def test_the_readmes_last_commands_do_what_it_says(tmp_path: Path) -> None:
    with two_clusters(tmp_path) as clusters:
        manifest = clusters.manifest("workloads: [{from: exports, to: rewritten, project: my-app-2}]\n")
        manifest.rename(manifest.with_name("my-app.yaml"))
        put(clusters.ends.folder / "exports", c_yaml="{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n")
        commands = [command for command in readme_commands() if command.startswith(("finish", "rollback"))]
        assert len(commands) == 3
        for command in commands:
            ran = clusters.run(*command.split())
            assert ran.code == 0, ran.text
        assert clusters.new.get("ConfigMap", "my-app-2", "c")


def test_every_key_of_the_json_of_rewrite_is_described(tmp_path: Path) -> None:
    described = set(re.findall(r"`([a-zA-Z]+)`", (ROOT / "docs/output.md").read_text()))
    desk = Ends(cast(Any, None), cast(Any, None), tmp_path)
    put(tmp_path, dc_yaml=CONFIG)
    document = desk.run("rewrite", "dc.yaml", "--project", "a", "--to", "out", "--format", "json").json
    assert keys(document) - described - {rule.id for rule in RULES} == set()


def test_the_example_of_a_rule_works() -> None:
    """The one that docs/rules.md shows, on what it is for."""
    text = (ROOT / "docs/rules.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"rule": rule, "Mode": Mode, "TEMPLATES": TEMPLATES, "pod_spec": pod_spec}
    exec("from __future__ import annotations\n" + textwrap.dedent(code), names)
    document = read_document("a.yaml", b"apiVersion: v1\nkind: Pod\nspec: {priorityClassName: high, x: y}\n")
    context = Context("a", {}, registries_of(ManifestFile(version=1)), RewriteOptions())
    (finding,) = run_rules([names["pod_priority"]], [document], context)
    assert (finding.path, finding.before) == ("spec.priorityClassName", "high")
    assert document.written().endswith(b"spec: {x: y}\n")


def test_the_readmes_init_does_what_it_says(tmp_path: Path) -> None:
    (command,) = [command for command in readme_commands() if command.startswith("init")]
    with two_clusters(tmp_path) as both:
        both.push(both.old, OLD_TOKEN, "my-app/web", "1")
        like = both.manifest("images: [my-app]\n")
        ran = both.run(*command.split(), "--like", like)
        assert ran.code == 0, ran.text
        assert both.run("plan", "my-app.yaml").code == 0


def readme_commands() -> list[str]:
    return re.findall(r"^\$ rahti-migrate (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_the_readmes_access_commands_do_what_it_says(tmp_path: Path) -> None:
    commands = [command for command in readme_commands() if command.startswith("access")]
    assert len(commands) == 4
    with two_clusters(tmp_path) as both:
        both.push(both.new, NEW_TOKEN, "my-app-2/web", "1")
        manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
        for command in commands:
            ran = both.run(*command.replace("my-app.yaml", str(manifest)).split())
            assert ran.code == 0, f"{command}: {ran.text}"
        assert both.ours() == {}


def test_every_key_of_the_json_of_access_is_described(tmp_path: Path) -> None:
    described = set(re.findall(r"`([a-zA-Z]+)`", (ROOT / "docs/output.md").read_text()))
    with two_clusters(tmp_path) as both:
        manifest = both.access(
            "[{project: my-app-2, allow: [anonymous]}, {project: x, allow: [anonymous]},"
            " {project: my-app-2, allow: ['user:ann'], images: [web]}]"
        )
        documents = [both.run("access", "plan", manifest, "--format", "json").json]
        for command in ("apply", "verify", "revert"):
            out = both.run("access", command, manifest, "--format", "json")
            documents += [out.json] if command == "verify" else out.events
        documents.append(both.run("finish", manifest, "--format", "json").json)
    assert keys(documents) - described == set()


def test_the_targets_that_the_readme_names_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text())):
        assert f"\n{target}: " in makefile


def test_the_queries_of_the_states_readme_answer(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    assert ends.run("copy", ends.manifest("images: ['a/b:1', 'a/b:2']")).code == 3
    queries = re.findall(r"```sql\n--.*?\n(.*?)```", (ROOT / "state/README.md").read_text(), re.DOTALL)
    assert len(queries) == 3
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        assert [len(db.execute(query).fetchall()) for query in queries] == [1, 1, 1]


def test_every_key_of_the_json_is_described(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1", "2")
    manifest = ends.manifest("images: ['a/b:1', 'a/b:2', 'a/b:9']")
    described = set(re.findall(r"`([a-zA-Z]+)`", (ROOT / "docs/output.md").read_text()))
    documents = [*ends.run("run", manifest, "--format", "json").events]
    documents += [ends.run(name, manifest, "--format", "json").json for name in ("check", "plan", "verify", "status")]
    assert keys(documents) - described == set()


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(keys(item) for item in value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_relative_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_schema_is_json() -> None:
    assert json.loads((ROOT / "manifests/migration.schema.json").read_text())["title"] == "rahti-migrate manifest"


def test_every_error_says_what_to_do() -> None:
    """Where it is made: what went wrong, and the way out."""
    errors = {"MigrateError", "UsageError", "LoginError", "CheckError", "StateError"}
    for path in sorted((ROOT / "migrate").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors:
                assert len(node.args) == 2, f"{path}:{node.lineno}"
                assert ast.unparse(node.args[1]) != "''", f"{path}:{node.lineno}"


def test_modules_and_functions_stay_as_small_as_the_page_says() -> None:
    """docs/architecture.md has the figures of the day on which they were measured; these are the bounds."""
    modules, functions = [], []
    for path in sorted((ROOT / "migrate").rglob("*.py")):
        text = path.read_text()
        modules.append((len(text.splitlines()), path.name))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(((node.end_lineno or 0) - node.lineno + 1, f"{path.name}: {node.name}"))
    assert max(modules)[0] <= 420, max(modules)
    assert max(functions)[0] <= 61, max(functions)
    assert median(lines for lines, _ in functions) <= 8
    assert median(lines for lines, name in modules if name != "__init__.py") <= 150
