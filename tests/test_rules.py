"""Each rule: what stands before, what after, what is told (tests/rules/); and what holds for all of them together."""

import copy
import json
import os
import random
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kubecheck import filled, objects_of, problems, values_of
from rulecases import FOLDER, Case, all_cases, outcome

from migrate.manifest.model import ManifestFile, RewriteOptions
from migrate.workloads.context import Context, registries_of
from migrate.workloads.documents import Document, Form, read_document
from migrate.workloads.engine import run_rules
from migrate.workloads.findings import Finding, Mode
from migrate.workloads.rules import RULES

CASES = all_cases()
RULE_SAYS = {rule.id: rule.says for rule in RULES}
CORPUS = os.environ.get("WORKLOAD_CORPUS", "")
"""A folder of real files, tried where it is named."""


def context(**options: object) -> Context:
    return Context(
        "my-app-2", {"my-app": "my-app-2"}, registries_of(ManifestFile(version=1)),
        RewriteOptions.model_validate(options),
    )  # fmt: skip


def run(name: str, raw: bytes, **options: object) -> tuple[Document, list[Finding]]:
    document = read_document(name, raw)
    return document, run_rules(RULES, [document], context(**options))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_does_what_its_case_says(case: Case) -> None:
    after, findings = outcome(case)
    assert after == case.after
    assert findings == case.findings


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES} - {path.stem for path in FOLDER.glob("*.txt")} == set()


def test_every_case_is_of_a_rule() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} - {rule.id for rule in RULES} == {"whole"}


def test_rules_say_why_and_where_that_is_written() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.says.endswith(".")
        assert rule.link.startswith("https://")
        assert rule.act.__doc__


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_second_rewrite_of_a_case_changes_nothing(case: Case) -> None:
    name = (
        "Dockerfile" if "name=Dockerfile" in case.settings else "a.json" if "name=a.json" in case.settings else "a.yaml"
    )
    first, _ = run(name, case.before.encode(), hooks="job")
    once = first.written()
    second, findings = run(name, once, hooks="job")
    assert second.written() == once
    assert not [each for each in findings if each.mode in (Mode.DONE, Mode.LEFT_OUT)]


CHOICES = [
    (field.alias or name, value)
    for name, field in RewriteOptions.model_fields.items()
    for value in (get_args(field.annotation) or (True,))
    if value != field.default and name != "missing_images"  # no case says which images are moved: test_rewrite.py
]


@pytest.mark.parametrize(("option", "value"), CHOICES)
def test_what_an_option_does_names_the_option(option: str, value: object) -> None:
    """Whoever reads the report later is to know what was chosen, and did not come from the rules alone."""
    seen = 0
    for case in CASES:
        (_, by_default), (_, chosen) = (
            run("a.yaml", case.before.encode(), **choice) for choice in ({}, {option: value})
        )
        new = set(chosen) - set(by_default)
        if new and case.rule != "scale-target":  # which follows what became of another object, and that names it
            told = " ".join(f"{each.words} {RULE_SAYS[each.rule]}" for each in new)
            assert f"options.{option}" in told, f"{case}: {new}"
            seen += 1
    assert seen


ODD = [
    None, "", {}, [], "x", 5, True, ["a"], {"a": "b"}, [None], [{"name": "a"}], "${X}", "${{X}}",
    "docker-registry.default.svc:5000", "docker-registry.default.svc:5000/my-app/web@sha256:" + "0" * 64,
]  # fmt: skip
PARSED = [list(yaml.safe_load_all(case.before)) for case in CASES if case.rule not in ("unreadable", "helm-template")]


@settings(max_examples=400)
@given(
    st.sampled_from(PARSED), st.integers(), st.sampled_from(["ask", "job", "initContainer"]),
    st.sampled_from(["finding", "bridge"]), st.sampled_from(["convert", "convert", "keep"]),
    st.sampled_from([None, False]),
)  # fmt: skip
def test_odd_objects_break_no_rule_and_a_second_rewrite_changes_nothing(
    data: list[Any], seed: int, hooks: str, missing: str, configs: str, flow: bool | None
) -> None:
    documents = copy.deepcopy(data)
    chance = random.Random(seed)
    for document in documents:
        make_odd(document, chance)
    text = yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=flow)
    options = {"hooks": hooks, "missingImages": missing, "deploymentConfig": configs}
    once = run("a.yaml", text.encode(), **options)[0].written()
    assert run("a.yaml", once, **options)[0].written() == once


def make_odd(data: Any, chance: random.Random) -> None:
    """Take a few values out of an object, or put others in their place."""
    places: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting:
        here = waiting.pop()
        inside = (
            list(here.items()) if isinstance(here, dict) else list(enumerate(here)) if isinstance(here, list) else []
        )
        places += [(here, key) for key, _ in inside]
        waiting += [value for _, value in inside]
    for where, key in chance.sample(places, min(len(places), chance.randrange(4))):
        if isinstance(where, dict) and chance.random() < 0.3:
            where.pop(key)
        else:
            where[key] = copy.deepcopy(chance.choice(ODD))


def corpus() -> list[Path]:
    return sorted(path for path in Path(CORPUS).rglob("*") if path.is_file()) if CORPUS else []


@pytest.mark.parametrize("path", corpus(), ids=lambda path: str(path.relative_to(CORPUS)))
@pytest.mark.parametrize("hooks", ["ask", "job", "initContainer"])
def test_real_files_come_out_valid_and_stay_so(path: Path, hooks: str) -> None:
    document, findings = run(path.name, path.read_bytes(), hooks=hooks)
    once = document.written()
    again, _ = run(path.name, once, hooks=hooks)
    assert again.written() == once
    if document.form not in (Form.YAML, Form.JSON):
        return
    assert invalid(path.name, once.decode(), findings) == []


def invalid(name: str, text: str, findings: list[Finding]) -> list[tuple[str, list[str]]]:
    """What the target would refuse and no finding tells to look at."""
    told = {each.object.partition("/")[2] for each in findings if each.mode in (Mode.BLOCKED, Mode.ASKED, Mode.WARNED)}
    values = [values_of(each) for each in templates_in(parsed(name, text))]
    told |= {filled(each, known) for each in told for known in values}
    found = [(found, problems(found)) for found in objects_in(name, text) if isinstance(found, dict)]
    metas = [each.get("metadata") for each, _ in found]
    names = [meta.get("name", "") if isinstance(meta, dict) else "" for meta in metas]
    return [(str(each), wrong) for (each, wrong), own in zip(found, names, strict=True) if wrong and own not in told]


WITH_OBJECTS = [case for case in CASES if "name=" not in case.settings and case.rule != "unreadable"]


@pytest.mark.parametrize("case", WITH_OBJECTS, ids=str)
def test_what_comes_out_of_a_case_is_valid_or_told(case: Case) -> None:
    document, findings = run("a.yaml", case.before.encode(), hooks="job")
    if document.form is Form.YAML:
        broken = {str(wrong) for _, wrong in invalid("a.yaml", case.before, [])}
        wrong = invalid("a.yaml", document.written().decode(), findings)
        assert [each for each in wrong if str(each[1]) not in broken] == []


def parsed(name: str, text: str) -> list[Any]:
    text = text.removeprefix("\ufeff")
    is_json = text.lstrip().startswith("{") and name.endswith("json")
    return [json.loads(text)] if is_json else list(yaml.safe_load_all(text))


def templates_in(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, list):
        return [found for each in data for found in templates_in(each)]
    if not isinstance(data, dict):
        return []
    below = [found for key in ("items", "objects") for found in templates_in(data.get(key) or [])]
    return [data, *below] if data.get("kind") == "Template" else below


def objects_in(name: str, text: str) -> list[dict[str, Any]]:
    return [found for document in parsed(name, text) for found in objects_of(document)]
