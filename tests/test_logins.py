"""Passwords, tokens, TLS: every road to a registry, and every way it can be closed."""

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Ends
from registrylab.client import LabClient
from registrylab.images import make_image, make_layer
from registrylab.proxy import slow_link
from registrylab.registry import PASSWORD, USER, LabRegistry, Tls, registry
from registrylab.tokens import TokenServer, self_signed, token_server

IMAGE = make_image([make_layer("one", 20_000)])


def write(ends: Ends, source: str, target: str, images: str = "['a/b:1']", name: str = "m.yaml") -> Path:
    """A manifest whose two ends are given as they stand in YAML, without the braces."""
    path = ends.folder / name
    path.write_text(f"version: 1\nsource: {{{source}}}\ntarget: {{{target}}}\nimages: {images}\n")
    return path


def plain(lab: LabRegistry, login: str = "") -> str:
    """A side without TLS."""
    return f"registry: '{lab.host}', plainHttp: true" + (f", login: {login}" if login else "")


RAHTI1 = f"{{username: {USER}, passwordEnv: LAB_PASSWORD}}"
ANN = "{username: ann, passwordEnv: ANN}"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(tmp_path / "tokens", {"ann": "s3cret-Token"}) as server:
        yield server


def test_bearer_tokens_on_both_sides(ends: Ends, source: LabClient, tokens: TokenServer, tmp_path: Path) -> None:
    for number in range(4):
        source.push(f"a/app{number}", IMAGE, "1", "2")
    with registry(token_auth=tokens.registry_settings, folder=tmp_path / "bearer") as bearer:
        manifest = write(ends, plain(ends.source, RAHTI1), plain(bearer, ANN), "[a]")
        ran = ends.run("run", manifest, ANN="s3cret-Token")
        assert ran.code == 0, ran.text
        assert "8 tags verified: 8 equal" in ran.out
        assert max(len(scopes) for scopes in tokens.asked) <= 2
        images = "[{from: 'a/app1:1', to: 'b/back:1'}]"
        back = write(ends, plain(bearer, ANN), plain(ends.source, RAHTI1), images, "back.yaml")
        ran = ends.run("run", back, ANN="s3cret-Token")
        assert ran.code == 0, ran.text


def test_a_token_that_ends_soon_is_fetched_again(
    ends: Ends, source: LabClient, tokens: TokenServer, tmp_path: Path
) -> None:
    tokens.seconds = 1
    for number in range(6):
        source.push(f"a/app{number}", make_image([make_layer(f"big-{number}", 700_000)]), "1")
    with (
        registry(token_auth=tokens.registry_settings, folder=tmp_path / "bearer") as bearer,
        slow_link(bearer.host, rate=1_500_000) as link,
    ):
        far = plain(bearer, ANN).replace(bearer.host, link.host)
        manifest = write(ends, plain(ends.source, RAHTI1), far, "[a]")
        ran = ends.run("run", manifest, "--jobs", "2", ANN="s3cret-Token")
    assert ran.code == 0, ran.text


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_a_wrong_password_ends_at_once_with_exit_code_4(
    ends: Ends, tokens: TokenServer, tmp_path: Path, kind: str
) -> None:
    settings = tokens.registry_settings if kind == "bearer" else None
    with registry(password=kind == "basic", token_auth=settings, folder=tmp_path / kind) as lab:
        manifest = write(ends, plain(lab, ANN), plain(ends.target))
        for command in ("plan", "copy", "verify", "run"):
            ran = ends.run(command, manifest, ANN="wrong")
            assert ran.code == 4
            assert "source registry" in ran.err
            assert "environment variable ANN" in ran.err
            assert "wrong" not in ran.text


def test_no_login_where_one_is_needed_is_exit_code_4(ends: Ends) -> None:
    manifest = write(ends, plain(ends.source), plain(ends.target))
    ran = ends.run("plan", manifest)
    assert ran.code == 4
    assert "wants a login, and none was found in the auth files of podman and docker" in ran.err
    assert f"podman login {ends.source.host}" in ran.err


def test_a_missing_variable_is_named(ends: Ends) -> None:
    ran = ends.run("plan", ends.manifest("images: ['a/b:1']"), LAB_PASSWORD="")
    assert ran.code == 4
    assert "LAB_PASSWORD is not set" in ran.err


def test_a_missing_login_is_told_from_one_without_the_right(ends: Ends, tokens: TokenServer, tmp_path: Path) -> None:
    with registry(token_auth=tokens.registry_settings, folder=tmp_path / "bearer") as lab:
        without = ends.run("plan", write(ends, plain(lab), plain(ends.target)))
        tokens.rights["ann"] = {"other": {"pull"}}
        forbidden = ends.run("plan", write(ends, plain(lab, ANN), plain(ends.target)), ANN="s3cret-Token")
    assert without.code == 4
    assert "no login was found in the auth files of podman and docker; without one: HTTP 401" in without.out
    assert "the registry does not accept" not in without.out.replace("or the registry does not accept it", "")
    assert forbidden.code == 3
    assert "the login is good, but it has no right here" in forbidden.out


WAYS = {
    "file": ("{username: rahti, passwordFile: secret}", {}),
    "authfile": ("{authfile: auth.json}", {}),
    "command": ("{username: rahti, command: [cat, secret]}", {}),
    "token-file": ("{username: rahti, tokenFile: secret}", {}),
    "token-env": ("{username: rahti, tokenEnv: T}", {"T": PASSWORD}),
    "kubeconfig": ("{kubeconfigContext: rahti1}", {"KUBECONFIG": "kubeconfig"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_login_copies(ends: Ends, source: LabClient, target: LabClient, way: str) -> None:
    source.push("a/b", IMAGE, "1")
    login, environment = WAYS[way]
    (ends.folder / "secret").write_text(PASSWORD + "\n")
    entry = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    (ends.folder / "auth.json").write_text(json.dumps({"auths": {ends.source.host: entry}}))
    (ends.folder / "kubeconfig").write_text(
        "contexts: [{name: rahti1, context: {cluster: c, user: ann}}]\n"
        f"users: [{{name: ann, user: {{token: {PASSWORD}}}}}]\n"
    )
    manifest = write(ends, plain(ends.source, login), plain(ends.target), "[a]")
    if way == "kubeconfig":
        _take_any_user(ends)
    ran = ends.run("copy", manifest, **environment)
    assert ran.code == 0, ran.text
    assert set(target.images()) == {"a/b:1"}


def _take_any_user(ends: Ends) -> None:
    """OpenShift ignores the user name beside a token; docker-registry does not, so `unused` is made a user too."""
    path = ends.source.folder / "htpasswd"
    path.write_text(path.read_text() + path.read_text().replace(f"{USER}:", "unused:", 1))
    later = time.time() + 5
    os.utime(path, (later, later))


def test_tls_with_an_authority_of_its_own(ends: Ends, source: LabClient, tmp_path: Path) -> None:
    source.push("a/b", IMAGE, "1")
    certificate, _ = self_signed(tmp_path / "tls", "registry")
    tls = Tls(certificate, certificate.with_suffix(".key"))
    with registry(password=True, tls=tls, folder=tmp_path / "secure") as secure:
        login = f"registry: '{secure.host}', login: {RAHTI1}"
        trusts = (f", caFile: '{certificate}'", ", insecureSkipTlsVerify: true", "", ", plainHttp: true")
        for trust, code in zip(trusts, (0, 0, 1, 1), strict=True):
            manifest = write(ends, plain(ends.source, RAHTI1), login + trust, "[a]", f"m{len(trust)}.yaml")
            ran = ends.run("copy", manifest)
            assert ran.code == code, ran.text
            assert ("do not agree on TLS" in ran.err) == bool(code), ran.text


def test_https_to_a_registry_without_tls_is_said(ends: Ends) -> None:
    manifest = write(ends, f"registry: '{ends.source.host}'", plain(ends.target))
    ran = ends.run("plan", manifest)
    assert ran.code == 1
    assert "plainHttp: true" in ran.err


def test_a_login_renewed_in_a_file_is_taken_up(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    secret = ends.folder / "secret"
    secret.write_text("stale")
    login = f"{{username: {USER}, tokenFile: secret}}"
    manifest = write(ends, plain(ends.source, login), plain(ends.target), "[a]")
    assert ends.run("copy", manifest).code == 4
    secret.write_text(PASSWORD)
    assert ends.run("copy", manifest).code == 0


def test_a_login_that_ends_in_the_middle_stops_the_run_with_everything_kept(
    ends: Ends, source: LabClient, tokens: TokenServer, tmp_path: Path
) -> None:
    for number in range(8):
        source.push(f"a/app{number}", make_image([make_layer(f"big-{number}", 600_000)]), "1")
    tokens.seconds = 1
    with (
        registry(token_auth=tokens.registry_settings, folder=tmp_path / "bearer") as bearer,
        slow_link(bearer.host, rate=400_000) as link,
    ):
        far = plain(bearer, ANN).replace(bearer.host, link.host)
        manifest = write(ends, plain(ends.source, RAHTI1), far, "[a]")
        process = ends.start("copy", manifest, "--jobs", "2", ANN="s3cret-Token")
        while "/blobs/uploads/" not in bearer.log:
            time.sleep(0.05)
        time.sleep(1.5)
        tokens.users["ann"] = "another"
        out, err = process.communicate(timeout=60)
        assert process.returncode == 4, out + err
        assert "log in again" in err
        assert "left to do" in out
        link.rate = 0
        ran = ends.run("run", manifest, ANN="another")
        assert ran.code == 0, ran.text
        assert "8 equal" in ran.out


def test_both_ends_may_be_one_registry_with_one_login(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    side = plain(ends.source, RAHTI1)
    images = "[{from: 'a/b:1', to: 'c/b:1'}]"
    for target in (side, plain(ends.source)):
        ran = ends.run("run", write(ends, side, target, images, f"m{len(target)}.yaml"))
        assert ran.code == 0, ran.text
    two = ends.run("plan", write(ends, side, plain(ends.source, ANN), images, "two.yaml"))
    assert two.code == 2
    assert "source and target are one registry, and it has two logins" in two.err


def test_a_registry_that_says_nothing_is_given_up_within_a_minute(ends: Ends) -> None:
    with slow_link(ends.target.host) as link:
        link.open.clear()
        silent = plain(ends.target).replace(ends.target.host, link.host)
        began = time.monotonic()
        ran = ends.run("plan", write(ends, plain(ends.source, RAHTI1), silent))
        assert ran.code == 1
        assert time.monotonic() - began < 60
        assert f"the target registry {link.host}: it took too long" in ran.err
