"""Logins: every way to have one, every way to be wrong about it, and no secret anywhere it does not belong."""

import base64
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from logins import SECRET, credential, login, program, refused, written

from migrate.credentials import Credential, Login
from migrate.errors import LoginError

pytestmark = pytest.mark.usefixtures("home")


# --- environment, files, commands -------------------------------------------------------------------------------


def test_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAHTI_TOKEN", f"  {SECRET}\n")
    assert credential(tmp_path, tokenEnv="RAHTI_TOKEN") == Credential("unused", SECRET)
    assert credential(tmp_path, tokenEnv="RAHTI_TOKEN", username="pusher") == Credential("pusher", SECRET)
    assert credential(tmp_path, passwordEnv="RAHTI_TOKEN", username="ann") == Credential("ann", SECRET)
    assert login(tmp_path, tokenEnv="RAHTI_TOKEN").origin == "environment variable RAHTI_TOKEN"


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_variable_that_is_not_set_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None
) -> None:
    monkeypatch.delenv("RAHTI_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("RAHTI_TOKEN", value)
    error = refused(tmp_path, "the environment variable RAHTI_TOKEN is not set", tokenEnv="RAHTI_TOKEN")
    assert error.advice == "export RAHTI_TOKEN=..., then run again"
    assert error.exit_code == 4


@pytest.mark.parametrize("name", ["token", "secrets/token", "~/token"])
def test_a_file_is_looked_for_beside_the_manifest_or_at_home(tmp_path: Path, home: Path, name: str) -> None:
    written((home if "~" in name else tmp_path) / name.removeprefix("~/"), f"{SECRET}\n")
    assert credential(tmp_path, tokenFile=name) == Credential("unused", SECRET)
    assert credential(tmp_path, passwordFile=name, username="ann") == Credential("ann", SECRET)


def test_a_file_may_be_named_from_the_root(tmp_path: Path) -> None:
    path = written(tmp_path / "elsewhere/token", SECRET)
    assert credential(tmp_path / "work", tokenFile=str(path)) == Credential("unused", SECRET)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "the login cannot be read: No such file or directory"),
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        (SECRET.encode() + b"\xff", "the login cannot be read: it is not text"),
    ],
)
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, content: str | bytes | None, words: str) -> None:
    if content is not None:
        written(tmp_path / "token", content)
    assert str(tmp_path / "token") in refused(tmp_path, words, tokenFile="token").what


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path, "the login cannot be read: Is a directory", tokenFile=".")


@pytest.mark.parametrize("command", ["./token.sh 'a b'", ["./token.sh", "a b"]])
def test_a_command_prints_a_token_in_the_manifests_folder(tmp_path: Path, command: str | list[str]) -> None:
    program(tmp_path / "token.sh", 'echo chatter >&2; [ "$1" = "a b" ] && cat token')
    written(tmp_path / "token", f"{SECRET}\n")
    assert credential(tmp_path, command=command) == Credential("unused", SECRET)
    assert credential(tmp_path, command=command, username="ann") == Credential("ann", SECRET)


def test_a_command_sees_the_environment_and_waits_for_no_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAULT_TOKEN", SECRET)
    program(tmp_path / "token.sh", 'read -r line; echo "$VAULT_TOKEN"')
    assert credential(tmp_path, command="./token.sh") == Credential("unused", SECRET)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo {SECRET}; echo {SECRET} >&2; exit 3", "the login command './token.sh' ended with 3 and no token"),
        ("true", "ended with 0 and no token"),
        (f"printf '{SECRET}\\377'", "printed something that is not text"),
    ],
)
def test_a_command_that_gives_no_token_is_named_without_its_words(tmp_path: Path, script: str, words: str) -> None:
    program(tmp_path / "token.sh", script)
    refused(tmp_path, words, command="./token.sh")


def test_a_command_that_cannot_be_run_is_named_without_its_arguments(tmp_path: Path) -> None:
    error = refused(
        tmp_path, "the login command 'no-such-program' cannot be run: No such file", command=["no-such-program", SECRET]
    )
    assert error.advice == "check `command` in the manifest"


# --- kubeconfig -------------------------------------------------------------------------------------------------


def kubeconfig(path: Path, users: dict[str, Any], contexts: dict[str, str] | None = None) -> Path:
    """A kubeconfig with these users, and contexts (name: user)."""
    contexts = {name: name for name in users} if contexts is None else contexts
    document = {
        "contexts": [{"name": name, "context": {"cluster": "c", "user": user}} for name, user in contexts.items()],
        "users": [{"name": name, "user": user} for name, user in users.items()],
    }
    return written(path, yaml.safe_dump(document))


def test_a_context_of_the_default_kubeconfig_gives_its_token(tmp_path: Path, home: Path) -> None:
    kubeconfig(home / ".kube/config", {"ann/rahti": {"token": SECRET}}, {"rahti2": "ann/rahti"})
    found = login(tmp_path, kubeconfigContext="rahti2")
    assert found.credential() == Credential("unused", SECRET)
    assert found.origin == "kubeconfig context 'rahti2'"


def test_a_context_may_have_its_token_in_a_file_beside_the_kubeconfig(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = kubeconfig(
        tmp_path / "kube/config", {"near": {"tokenFile": "token"}, "far": {"tokenFile": str(tmp_path / "far")}}
    )
    written(tmp_path / "kube/token", SECRET)
    written(tmp_path / "far", "far-token")
    monkeypatch.setenv("KUBECONFIG", str(config))
    assert credential(tmp_path, kubeconfigContext="near") == Credential("unused", SECRET)
    assert credential(tmp_path, kubeconfigContext="far") == Credential("unused", "far-token")


def exec_user(command: object, **more: object) -> dict[str, Any]:
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command, **more}}


ANSWER = """
[ "$1 $2" = "get token" ] || exit 1
case "$KUBERNETES_EXEC_INFO" in *'"apiVersion": "client.authentication.k8s.io/v1"'*) ;; *) exit 2;; esac
printf '{"kind": "ExecCredential", "status": {"token": "%s"}}' "$ISSUED"
"""


@pytest.mark.parametrize("command", ["bin/plugin", "plugin", "{}/kube/bin/plugin"])
def test_a_context_may_have_a_program_that_logs_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    bin_folder = program(tmp_path / "kube/bin/plugin", ANSWER).parent
    user = exec_user(
        command.format(tmp_path),
        args=["get", "token"],
        env=[{"name": "ISSUED", "value": SECRET}],
        interactiveMode="Never",
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "kube/config", {"a": user})))
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    assert credential(tmp_path, kubeconfigContext="a") == Credential("unused", SECRET)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 1", "ended with 1 and no token"),
        (f"echo {SECRET}", "the login program './plugin' gave no token"),
        ("""echo '{"status": {"token": null}}'""", "gave no token"),
        ("""echo '{"status": {"token": ""}}'""", "gave no token"),
        (f"""echo '{{"status": {{"clientKeyData": "{SECRET}"}}}}'""", "gave no token"),
        ("echo '[]'", "gave no token"),
    ],
)
def test_a_login_program_without_a_token_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, words: str
) -> None:
    program(tmp_path / "plugin", script)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", {"a": exec_user("./plugin")})))
    refused(tmp_path, words, kubeconfigContext="a")


@pytest.mark.parametrize(
    "plugin", [{"args": ["x"]}, "plugin", {"command": "x", "env": [1]}, {"command": "x", "args": 3}]
)
def test_a_login_program_that_is_written_wrongly_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plugin: object
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", {"a": {"exec": plugin}})))
    refused(tmp_path, "login program is not written as it should be", kubeconfigContext="a")


def test_of_several_kubeconfigs_the_first_that_has_a_name_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = [
        kubeconfig(tmp_path / "1", {"ann": {"token": "first"}}, {"here": "ann", "mixed": "bob"}),
        tmp_path / "missing",
        written(tmp_path / "empty", ""),
        kubeconfig(
            tmp_path / "2", {"ann": {"token": "second"}, "bob": {"token": "bobs"}}, {"here": "bob", "there": "ann"}
        ),
    ]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", *map(str, files)]))
    tokens = {name: credential(tmp_path, kubeconfigContext=name) for name in ("here", "mixed", "there")}
    assert tokens == {
        "here": Credential("unused", "first"),
        "mixed": Credential("unused", "bobs"),
        "there": Credential("unused", "first"),
    }


def test_a_context_that_is_not_there_is_said_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path / "config", {"b": {"token": SECRET}, "a": {"token": SECRET}})
    monkeypatch.setenv("KUBECONFIG", str(config))
    error = refused(tmp_path, "the kubeconfig has no context 'rahti1' (there are: a, b)", kubeconfigContext="rahti1")
    assert "oc login" in error.advice


def test_without_any_kubeconfig_there_are_no_contexts(tmp_path: Path) -> None:
    refused(tmp_path, "has no context 'rahti1' (there are: none)", kubeconfigContext="rahti1")


@pytest.mark.parametrize(
    "user", [{}, {"token": ""}, {"client-certificate-data": SECRET}, {"username": "ann", "password": SECRET}]
)
def test_a_context_without_a_token_is_said_with_its_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: dict[str, str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", {"ann": user}, {"a": "ann", "b": "gone"})))
    refused(tmp_path, "the kubeconfig context 'a' has no token (user 'ann')", kubeconfigContext="a")
    refused(tmp_path, "the kubeconfig context 'b' has no token (user 'gone')", kubeconfigContext="b")


@pytest.mark.parametrize("content", [f"a: [{SECRET}", b"\xff\xfe" + SECRET.encode(), f"a: {SECRET}\n\tb: c"])
def test_a_kubeconfig_that_cannot_be_read_is_named_without_its_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | bytes
) -> None:
    config = written(tmp_path / "config", content)
    monkeypatch.setenv("KUBECONFIG", str(config))
    refused(tmp_path, f"{config}: this kubeconfig cannot be read", kubeconfigContext="a")


def test_a_folder_is_no_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))
    refused(tmp_path, f"{tmp_path}: this kubeconfig cannot be read", kubeconfigContext="a")


SHAPES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["a", "contexts", "users", "name", "user", "context", "exec", "token"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["contexts", "users", "name", "user", "context", "exec", "env"]), inner, max_size=4
        )
    ),
    max_leaves=15,
)


@given(SHAPES)
def test_a_kubeconfig_of_any_shape_gives_a_login_or_words(
    tmp_path_factory: pytest.TempPathFactory, shape: object
) -> None:
    folder = tmp_path_factory.mktemp("kube")
    written(folder / "config", json.dumps(shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(folder / "config"))
        try:
            assert credential(folder, kubeconfigContext="a")
        except LoginError as error:
            assert error.what


# --- what is done with them -------------------------------------------------------------------------------------


def test_a_credential_shows_its_user_and_never_its_secret() -> None:
    found = Credential("ann", SECRET)
    for shown in (repr(found), str(found), f"{found}", repr([found]), repr({"a": found})):
        assert SECRET not in shown
        assert found.basic not in shown
    assert "ann" in repr(found)
    assert base64.b64decode(found.basic).decode() == f"ann:{SECRET}"


def test_a_login_that_was_read_shows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAHTI_TOKEN", SECRET)
    found = login(tmp_path, tokenEnv="RAHTI_TOKEN")
    found.credential()
    assert SECRET not in repr(found) + str(vars(found))


def counting(answers: list[str]) -> tuple[list[float], Callable[[], Credential]]:
    asked: list[float] = []

    def read() -> Credential:
        asked.append(time.monotonic())
        return Credential("unused", answers[min(len(asked), len(answers)) - 1])

    return asked, read


def test_a_token_that_was_renewed_is_used() -> None:
    _, read = counting(["old", "new"])
    found = Login("somewhere", read, fresh=0.05)
    assert found.credential() == Credential("unused", "old")
    time.sleep(0.1)
    assert found.credential() == Credential("unused", "new")


def test_many_workers_ask_for_the_token_once() -> None:
    asked, read = counting([SECRET])
    found = Login("somewhere", read)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: found.credential(), range(200))) == {Credential("unused", SECRET)}
    assert len(asked) == 1


def test_a_login_that_failed_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAHTI_TOKEN", raising=False)
    found = login(tmp_path, tokenEnv="RAHTI_TOKEN")
    with pytest.raises(LoginError):
        found.credential()
    monkeypatch.setenv("RAHTI_TOKEN", SECRET)
    assert found.credential() == Credential("unused", SECRET)
