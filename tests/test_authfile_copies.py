"""Copies with what auth files hold: helpers, logins of repositories, identity tokens; real registries and skopeo."""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Ends, Ran
from logins import auth, program, written
from registrylab.client import LabClient
from registrylab.gateway import Answer, Forward, Request, gateway
from registrylab.images import make_image, make_layer
from registrylab.registry import PASSWORD, USER, LabRegistry, registry
from registrylab.tokens import TokenServer, token_server

from migrate.cli.private import PrivateAccess
from migrate.cli.session import open_session
from migrate.errors import LoginError
from migrate.reference import Repository

ANN, BOB, REFRESH = "s3cret-of-Ann", "s3cret-of-Bob", "refresh-Kulkuri-4711"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(tmp_path / "tokens", {"ann": ANN, "bob": BOB}) as server:
        yield server


@contextmanager
def with_tokens(tokens: TokenServer, folder: Path, *repositories: str) -> Iterator[LabRegistry]:
    """A registry with Bearer logins that has an image of its own in each of these repositories, under the tag 1."""
    with registry(folder=folder) as lab, LabClient(lab) as client:
        for name in repositories:
            client.push(name, make_image([make_layer(name, 20_000)]), "1")
    with registry(token_auth=tokens.registry_settings, folder=folder) as lab:
        yield lab


def manifest(ends: Ends, source: str, *images: str, target: str = "") -> Path:
    """Without any `login`."""
    sides = {"source": source, "target": target or ends.target.host}
    lines = [f"{side}: {{registry: '{host}', plainHttp: true}}" for side, host in sides.items()]
    return written(ends.folder / "m.yaml", "\n".join(["version: 1", *lines, f"images: [{', '.join(images)}]", ""]))


def podman(ends: Ends, **document: object) -> Path:
    """The auth file of podman."""
    return written(ends.folder / "home/containers/auth.json", json.dumps(document))


def docker(ends: Ends, **document: object) -> Path:
    """docker's config.json."""
    return written(ends.folder / "home/.docker/config.json", json.dumps(document))


@pytest.fixture(autouse=True)
def same_home(monkeypatch: pytest.MonkeyPatch, ends: Ends) -> None:
    """What the program sees when it is run, we see too, with a folder for helpers on PATH."""
    monkeypatch.setenv("PATH", f"{ends.folder / 'bin'}:{os.environ['PATH']}")
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(ends.folder / "home"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def run(ends: Ends, command: str, *arguments: object, **environment: str) -> Ran:
    ran = ends.run(command, *arguments, "-vv", **environment)
    assert not told(ran.text)
    return ran


def refusal(file: Path) -> str:
    """Why none of the commands begins, in words."""
    with open_session(file) as session, pytest.raises(LoginError) as caught:
        session.check_ends()
    assert not told(str(caught.value))
    return caught.value.what


def told(text: str) -> list[str]:
    return [secret for secret in (ANN, BOB, REFRESH, PASSWORD) if secret in text]


def helper(ends: Ends, user: str, file: str = "secret") -> None:
    """The helper docker-credential-keys: a user, and the secret of now in a file; it writes down what it was asked."""
    folder = ends.folder / "bin"
    answer = (
        f"""printf '{{"ServerURL": "%s", "Username": "{user}", "Secret": "%s"}}' "$server" "$(cat {folder}/{file})" """
    )
    program(folder / "docker-credential-keys", f'server=$(cat); echo "$@ $server" >> {folder}/asked; {answer}')


def test_a_copy_with_a_credential_helper(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", make_image([make_layer("one", 20_000)]), "1")
    helper(ends, USER)
    written(ends.folder / "bin/secret", PASSWORD)
    docker(ends, credHelpers={ends.source.host: "keys"}, auths={ends.source.host: {}})
    ran = run(ends, "run", manifest(ends, ends.source.host, "a/b"))
    assert ran.code == 0, ran.text
    assert set(target.images()) == {"a/b:1"}
    assert set((ends.folder / "bin/asked").read_text().splitlines()) == {f"get {ends.source.host}"}


def test_a_helper_that_is_missing_is_said_before_anything_is_done(ends: Ends) -> None:
    file = docker(ends, credsStore="not-there")
    said = refusal(manifest(ends, ends.source.host, "a/b"))
    assert f"{file}: the credential helper 'docker-credential-not-there' of {ends.source.host} cannot be run" in said


def test_repositories_of_one_registry_with_logins_of_their_own(
    ends: Ends, target: LabClient, tokens: TokenServer, tmp_path: Path
) -> None:
    tokens.rights = {"ann": {"one": {"pull"}}, "bob": {"two/app": {"pull"}}}
    with with_tokens(tokens, tmp_path / "bearer", "one/app", "two/app") as lab:
        podman(ends, auths={f"{lab.host}/one": auth("ann", ANN), f"{lab.host}/two/app": auth("bob", BOB)})
        ran = run(ends, "run", manifest(ends, lab.host, "one/app", "two/app"))
        assert ran.code == 0, ran.text
        assert set(target.images()) == {"one/app:1", "two/app:1"}
        users = {(user, scope) for user, scopes in zip(tokens.askers, tokens.asked, strict=True) for scope in scopes}
        assert users == {("ann", "repository:one/app:pull"), ("bob", "repository:two/app:pull")}
        tokens.users["bob"] = "another"
        said = refusal(manifest(ends, lab.host, "one/app", "two/app"))
        assert f"the source registry {lab.host} (two/app): the registry does not accept the login" in said


def test_the_file_for_skopeo_holds_the_one_login_that_is_needed(ends: Ends, tmp_path: Path) -> None:
    podman(ends, auths={"r.example/one": auth("ann", ANN), "r.example/two/app": auth("bob", BOB)})
    docker(ends, credHelpers={"docker.io": "keys"}, auths={"other.example": auth("x", PASSWORD)})
    helper(ends, "<token>")
    written(ends.folder / "bin/secret", REFRESH)
    with open_session(manifest(ends, "r.example", "one/a")) as session:
        access = PrivateAccess(session, tmp_path)
        paths = ("one/a", "one/b", "two/app", "two", "three")
        files = [access(Repository("r.example", path)).authfile for path in paths]
        hub = access(Repository("docker.io", "library/alpine")).authfile
    assert files[0] == files[1]
    assert files[3:] == [None, None]
    found = [json.loads(path.read_text())["auths"] for path in (files[0], files[2], hub) if path]
    assert found == [
        {"r.example/one": auth("ann", ANN)},
        {"r.example/two/app": auth("bob", BOB)},
        {"docker.io": {**auth("<token>", ""), "identitytoken": REFRESH}},
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.json")} == {0o600}


def test_a_registry_with_passwords_that_has_logins_for_some_repositories_only(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    source.push("a/b", make_image([make_layer("one", 20_000)]), "1")
    host = ends.source.host
    podman(ends, auths={f"{host}/a": auth(USER, PASSWORD), f"{host}/z/b": auth(USER, "wrong")})
    ran = run(ends, "run", manifest(ends, host, "a/b"))
    assert ran.code == 0, ran.text
    assert set(target.images()) == {"a/b:1"}
    assert f"{host} (z/b): the registry does not accept the login" in refusal(manifest(ends, host, "a/b", "z"))
    none = f"{host} wants a login, and none was found in the auth files of podman and docker"
    assert none in refusal(manifest(ends, host, "a/b", "y/b:1"))


def test_a_refused_login_is_named_by_its_entry_and_user(ends: Ends) -> None:
    host = ends.source.host
    podman(ends, auths={f"{host}/a": auth(USER, PASSWORD), f"{host}/z/b": auth("bob", BOB)})
    with open_session(manifest(ends, host, "a/b", "z/b")) as session, pytest.raises(LoginError) as caught:
        session.check_ends()
    assert f"entry {host}/z/b, user bob" in caught.value.advice
    assert not told(str(caught.value))


@pytest.mark.parametrize("named", [True, False])
def test_where_a_login_was_looked_for_is_said(ends: Ends, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    if named:
        monkeypatch.setenv("REGISTRY_AUTH_FILE", "/nowhere/auth.json")
    said = refusal(manifest(ends, ends.source.host, "a/b"))
    if named:
        assert said.endswith("podman and docker: /nowhere/auth.json (which REGISTRY_AUTH_FILE names)")
    else:
        home = ends.folder / "home"
        assert f"podman and docker: {home}/containers/auth.json, {home}/.config/containers/auth.json, " in said
        assert said.endswith(f"{home}/.docker/config.json, {home}/.dockercfg")


def test_a_project_is_listed_with_a_login_for_the_whole_registry_only(ends: Ends, source: LabClient) -> None:
    source.push("a/b", make_image([make_layer("one", 20_000)]), "1")
    podman(ends, auths={f"{ends.source.host}/a": auth(USER, PASSWORD)})
    ran = run(ends, "copy", manifest(ends, ends.source.host, "a"))
    assert ran.code == 4
    assert "listing needs a login for the whole registry, and there are only some for parts of it" in ran.text
    assert "list them in the manifest: a/<image stream>" in ran.text
    assert "does not accept the login" not in ran.text


def test_a_copy_with_an_identity_token(ends: Ends, target: LabClient, tokens: TokenServer, tmp_path: Path) -> None:
    tokens.refresh_tokens[REFRESH] = "ann"
    helper(ends, "<token>")
    written(ends.folder / "bin/secret", REFRESH)
    with with_tokens(tokens, tmp_path / "bearer", "a/b", "c/d") as lab:
        documents = {"credsStore": "keys"}, {"auths": {lab.host: {**auth("ann", ""), "identitytoken": REFRESH}}}
        for document, name in zip(documents, ("a/b", "c/d"), strict=True):
            docker(ends, **document)
            ran = run(ends, "run", manifest(ends, lab.host, name))
            assert ran.code == 0, ran.text
        assert set(target.images()) == {"a/b:1", "c/d:1"}
        assert {form["client_id"] for form in tokens.forms} == {"rahti-migrate", "containers/image"}
        assert set(tokens.askers) == {"ann"}
        tokens.refresh_tokens.clear()
        ended = "HTTP 400 Bad Request: invalid_grant the refresh token is not known"
        assert ended in refusal(manifest(ends, lab.host, "a/b"))


def test_a_public_source_is_asked_by_nobody(ends: Ends, target: LabClient, tokens: TokenServer, tmp_path: Path) -> None:
    """skopeo by itself would take a login of docker's, although the auth file that counts has none."""
    tokens.anonymous = {"pull"}
    with with_tokens(tokens, tmp_path / "bearer", "a/b") as lab:
        docker(ends, auths={lab.host: auth("ann", ANN)})
        named = written(ends.folder / "mine.json", json.dumps({"auths": {f"{lab.host}/other": auth("bob", BOB)}}))
        ran = run(ends, "run", manifest(ends, lab.host, "a/b"), REGISTRY_AUTH_FILE=str(named))
        assert ran.code == 0, ran.text
        assert set(target.images()) == {"a/b:1"}
        assert set(tokens.askers) == {""}


def test_a_helper_gives_a_new_token_when_the_first_has_ended(
    ends: Ends, source: LabClient, tokens: TokenServer, tmp_path: Path
) -> None:
    tokens.seconds = 1
    for name in ("a/one", "a/two"):
        source.push(name, make_image([make_layer(name, 20_000)]), "1")
    helper(ends, "ann")
    secret = written(ends.folder / "bin/secret", ANN)

    def renew_at_the_first_put(request: Request, forward: Forward) -> Answer:
        if request.phase == "manifest put" and tokens.users["ann"] == ANN:
            tokens.users["ann"] = BOB
            secret.write_text(BOB)
            time.sleep(1)
        return forward(request)

    with (
        with_tokens(tokens, tmp_path / "bearer") as lab,
        gateway(lab.host, renew_at_the_first_put) as passing,
    ):
        podman(ends, auths={ends.source.host: auth(USER, PASSWORD)})
        docker(ends, credHelpers={passing.host: "keys"})
        file = manifest(ends, ends.source.host, "a/one", "a/two", target=passing.host)
        ran = run(ends, "run", file, "--jobs", "1")
        assert ran.code == 0, ran.text
        assert "2 tags verified: 2 equal" in ran.out
