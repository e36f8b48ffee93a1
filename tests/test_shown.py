"""What findings show of values: enough to know what is meant, and no secrets."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from migrate.printable import printable
from migrate.workloads.nodes import Scalar, fresh, scalars
from migrate.workloads.parse import parse_yaml
from migrate.workloads.shown import HIDDEN, LENGTH, command_shown, secret_texts, shown

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "env: [{name: PGPASSWORD, value: hunter2}]",
        "env: [{name: DATABASE_URL, value: hunter2}]",
        "execNewPod: {command: [a], env: [{name: X, value: hunter2}]}",
        "httpHeaders: [{name: Authorization, value: hunter2}]",
        "password: hunter2",
        "generic: {secret: hunter2}",
        "dbPassword: hunter2",
        "token: 'hunter2'",
        "Env: ['A=hunter2']",
        "image: {dockerImageMetadata: {Config: {Env: [PATH=/usr/bin, PASSWORD=hunter2]}}}",
        "command: [sh, -c, 'PGPASSWORD=hunter2 psql']",
        "command: [mysql, --password, hunter2]",
        "command: ['mysql -u root -phunter2 -e x']",
        "args: ['--admin-token=hunter2']",
        "args: ['curl https://me:hunter2@example.org/x']",
        "args: ['curl -H \"Authorization: Bearer hunter2aaaa\"']",
        'a: \'[{"name":"a","env":[{"name":"b","value":"hunter2"}]}]\'',
        'a: \'{"password": "hunter2"}\'',
    ],
)
def test_secrets_are_hidden_in_what_is_shown_whole(text: str) -> None:
    (root,), _ = parse_yaml(text)
    assert SECRET not in shown(root)


@pytest.mark.parametrize(
    "text",
    [
        "env: [{name: WORKERS, value: hunter2}]",
        "buildArgs: [{name: X, value: hunter2}]",
        "parameters: [{name: DB_PASSWORD, value: hunter2}]",
        "password: hunter2",
        "x: postgres://me:hunter2@db/x",
    ],
)
def test_secrets_are_hidden_where_only_they_are_shown(text: str) -> None:
    (root,), _ = parse_yaml(text)
    (node,) = (node for node in scalars(root) if SECRET in node.value)
    assert SECRET not in shown(node)


@pytest.mark.parametrize(
    "text",
    [
        "docker-registry.default.svc:5000/my-app/token-service:1.0",
        "image: my-app/secret-store:1.0",
        "secretName: my-certificate",
        "secretKeyRef: {name: db, key: database-password}",
        "password: ${DB_PASSWORD}",
        "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
        "maxSurge: 25%",
        "command: [./manage.py, migrate, --noinput]",
        "command: [mkdir, -pv, /data]",
        "serviceAccountName: tokens",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    (root,), _ = parse_yaml(text)
    assert HIDDEN not in shown(root)
    for node in scalars(root):
        assert shown(node) == node.value


def test_a_command_keeps_all_but_its_password() -> None:
    words = ["psql", "--password", SECRET, "-h", "db"]
    assert command_shown(words) == f"psql --password {HIDDEN} -h db"
    assert command_shown(["x", "--password", "$DB_PASSWORD"]) == "x --password $DB_PASSWORD"


def test_an_address_keeps_all_but_its_password() -> None:
    assert printable(f"see https://me:{SECRET}@example.org/a") == "see https://me:...@example.org/a"
    assert printable("https://example.org:8443/a@b") == "https://example.org:8443/a@b"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=60,
)


@given(VALUES)
def test_anything_is_shown_on_one_short_line(data: object) -> None:
    text = shown(fresh(data))
    assert "\n" not in text
    assert len(text) <= LENGTH + len("...")


@given(st.text(), st.sampled_from(["env", "environment", "buildArgs"]))
def test_no_value_of_a_variable_is_ever_shown(value: str, name: str) -> None:
    node = fresh({name: [{"name": "A", "value": f"<{value}>"}]})
    assert shown(node) == f'{{"{name}":[{{"name":"A","value":"{HIDDEN}"}}]}}'
    (inner,) = (each for each in scalars(node) if each.value.startswith("<"))
    assert isinstance(inner, Scalar)
    assert shown(inner) == HIDDEN


def test_texts_of_secrets_are_those_that_stand_in_lines() -> None:
    (root,), _ = parse_yaml(yaml.safe_dump({"a": "one line", "b": "first\nsecond line\n", "c": "x"}))
    assert set(secret_texts([root])) == {"one line", "first", "second line"}
