"""Auth files of podman and docker: all that they can hold, all that can be wrong with them, and no secret told."""

import base64
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logins import HOST, SECRET, auth, credential, login, program, refused, written

from migrate.credentials import Credential, authfile_text, helpers, login_of, programs
from migrate.credentials.authfiles import _default_authfiles
from migrate.errors import LoginError

pytestmark = pytest.mark.usefixtures("home")

ANN = Credential("ann", SECRET)


def authfile(folder: Path, document: object, name: str = "auth.json") -> Path:
    return written(folder / name, json.dumps(document))


def auths(folder: Path, **entries: object) -> Path:
    """An auth file with these entries; `_` in names stands for `/`, HOST goes before them."""
    return authfile(folder, {"auths": {f"{HOST}/{key}".replace("_", "/").rstrip("/"): e for key, e in entries.items()}})


def default(registry: str = HOST, repository: str = "") -> Credential | None:
    return login_of(None, registry, Path("/nowhere")).credential(repository)


# --- one login for a registry -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        HOST,
        HOST.upper(),
        f"https://{HOST}",
        f"http://{HOST}",
        f"https://{HOST}/v1/",
        f"https://{HOST}/v2",
        f"https://{HOST}/any/path",
        f"{HOST}/v1/",
        f"{HOST}/v2/",
    ],
)
def test_an_auth_file_of_podman_or_docker_has_the_login(tmp_path: Path, key: str) -> None:
    authfile(tmp_path, {"auths": {key: auth()}, "credsStore": "desktop"})
    assert credential(tmp_path, authfile="auth.json") == ANN
    assert credential(tmp_path, repository="a/b", authfile="auth.json") == ANN


@pytest.mark.parametrize(
    "key",
    ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io", "index.docker.io/v1/"],
)
def test_docker_hub_goes_by_many_names(tmp_path: Path, key: str) -> None:
    authfile(tmp_path, {"auths": {key: auth()}})
    assert credential(tmp_path, "docker.io", "library/alpine", authfile="auth.json") == ANN


def test_a_key_as_podman_writes_it_comes_before_an_address(tmp_path: Path) -> None:
    address = f"https://{HOST}/v1/"
    for keys in ((address, HOST), (HOST, address)):
        authfile(tmp_path, {"auths": {key: auth("ann" if key == HOST else "old") for key in keys}})
        assert credential(tmp_path, authfile="auth.json") == ANN
    authfile(tmp_path, {"auths": {HOST: {}, address: auth()}})
    assert credential(tmp_path, authfile="auth.json") == ANN


@pytest.mark.parametrize(
    ("secret", "found"), [("a:b:c", "a:b:c"), ("sää 天気", "sää 天気"), (f"{SECRET}\0\0", SECRET), ("", "")]
)
def test_passwords_come_out_as_they_were_put_in(tmp_path: Path, secret: str, found: str) -> None:
    authfile(tmp_path, {"auths": {HOST: auth(secret=secret)}})
    assert credential(tmp_path, authfile="auth.json") == Credential("ann", found)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"username": "ann", "password": SECRET}, ANN),
        ({"username": "bob", "password": "other", **auth()}, ANN),
        ({"auth": f"\n {auth()['auth'][:9]}\n{auth()['auth'][9:]}\n", "email": "ann@example.org"}, ANN),
        ({"identitytoken": SECRET}, Credential("", "", SECRET)),
        ({**auth("ann", ""), "identitytoken": SECRET}, Credential("ann", "", SECRET)),
    ],
)
def test_an_entry_may_hold_more_than_auth(tmp_path: Path, entry: object, found: Credential) -> None:
    auths(tmp_path, **{"": entry})
    assert credential(tmp_path, authfile="auth.json") == found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "the auth file cannot be read: No such file or directory"),
        (f'{{"auths": {{"{HOST}": {{"auth": "{SECRET}', "the auth file is not JSON"),
        (f'[{{"auth": "{SECRET}"' + "[" * 100_000, "the auth file is not JSON"),
        (b"\xff" + SECRET.encode(), "the auth file cannot be read: it is not text"),
        (SECRET.encode("utf-16"), "the auth file cannot be read: it is not text"),
        (" " * (4 * 2**20) + SECRET, "larger than 4194304 bytes"),
        (json.dumps({"auths": {"other.example": auth()}}), f"no login for {HOST} in it"),
        (json.dumps({"auths": {f"{HOST}.example.org": auth(), f"x{HOST}": auth()}}), f"no login for {HOST} in it"),
        (json.dumps({"auths": {HOST: {}}}), f"no login for {HOST} in it"),
        (json.dumps({"auths": None, "credHelpers": None, "credsStore": None}), f"no login for {HOST} in it"),
        ("", f"no login for {HOST} in it"),
        ("[]", "this is no auth file: it is not a mapping"),
        (json.dumps(SECRET), "this is no auth file: it is not a mapping"),
        ('{"auths": []}', "this is no auth file: `auths` is not a mapping"),
        (json.dumps({"auths": SECRET}), "this is no auth file: `auths` is not a mapping"),
        ('{"credHelpers": 7}', "this is no auth file: `credHelpers` is not a mapping"),
        (json.dumps({"credHelpers": {HOST: [SECRET]}}), f"this is no auth file: `credHelpers` of {HOST} is not text"),
        (json.dumps({"credsStore": [SECRET]}), "this is no auth file: `credsStore` is not text"),
        (json.dumps({"auths": {HOST: SECRET}}), f"the entry for {HOST} is broken"),
        (json.dumps({"auths": {HOST: {"auth": SECRET}}}), f"the entry for {HOST} is broken"),
        (json.dumps({"auths": {HOST: {"auth": 7}}}), f"the entry for {HOST} is broken"),
        (json.dumps({"auths": {HOST: {"auth": "ÄÖ" + SECRET}}}), f"the entry for {HOST} is broken"),
        (json.dumps({"auths": {HOST: {"auth": base64.b64encode(SECRET.encode()).decode()}}}), "is broken"),
        (json.dumps({"auths": {HOST: {"auth": base64.b64encode(b"a:\xff").decode()}}}), "is broken"),
        (json.dumps({"auths": {HOST: {**auth(), "identitytoken": {"a": SECRET}}}}), "is broken"),
        (json.dumps({"auths": {HOST: {"identitytoken": f"\ud800{SECRET}"}}}), "is broken"),
        (json.dumps({"auths": {HOST: {"username": [SECRET], "password": SECRET}}}), "is broken"),
    ],
)
def test_an_auth_file_without_the_login_is_named(tmp_path: Path, content: str | bytes | None, words: str) -> None:
    if content is not None:
        written(tmp_path / "auth.json", content)
    error = refused(tmp_path, words, authfile="auth.json")
    assert str(tmp_path / "auth.json") in error.what


def test_what_is_broken_for_other_registries_does_not_matter(tmp_path: Path) -> None:
    others = {"a.example": 7, "b.example": {"auth": "?"}, "": [], "https://": 1, "://": 2, f"{HOST}/x": "broken"}
    helpers_of_others = {"a.example": 7, "b.example": "not-installed"}
    authfile(tmp_path, {"auths": {**others, HOST: auth()}, "credHelpers": helpers_of_others})
    assert credential(tmp_path, repository="a/b", authfile="auth.json") == ANN


def test_a_file_from_another_system_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    written(tmp_path / "auth.json", b"\xef\xbb\xbf" + json.dumps({"auths": {HOST: auth()}}).encode())
    assert credential(tmp_path, authfile="auth.json") == ANN


def test_the_older_dockercfg_holds_entries_and_nothing_else(tmp_path: Path, home: Path) -> None:
    authfile(tmp_path, {HOST: {**auth(), "email": "x"}}, "secret/.dockercfg")
    assert credential(tmp_path, authfile="secret/.dockercfg") == ANN
    authfile(home, {f"https://{HOST}/v1/": auth("old")}, ".dockercfg")
    assert default() == Credential("old", SECRET)


# --- where they are ---------------------------------------------------------------------------------------------


def test_without_a_login_and_without_auth_files_we_are_anonymous() -> None:
    assert default() is None
    assert login_of(None, HOST, Path()).origin == "the auth files of podman and docker"


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        (None, "run/containers/auth.json"),
        (None, "home/.config/containers/auth.json"),
        (None, "home/.docker/config.json"),
        ("XDG_CONFIG_HOME=config", "config/containers/auth.json"),
        ("DOCKER_CONFIG=docker", "docker/config.json"),
        ("REGISTRY_AUTH_FILE=mine.json", "mine.json"),
    ],
)
def test_without_a_login_the_auth_files_of_podman_and_docker_are_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str | None, file: str
) -> None:
    if variable:
        name, _, value = variable.partition("=")
        monkeypatch.setenv(name, str(tmp_path / value))
    authfile(tmp_path, {"auths": {HOST: auth()}}, file)
    assert default() == ANN


def test_podmans_login_comes_before_dockers_and_one_without_the_registry_is_passed_by(tmp_path: Path) -> None:
    authfile(tmp_path, {"auths": {"quay.io": auth("podman")}}, "run/containers/auth.json")
    authfile(tmp_path, {"auths": {HOST: auth("docker"), "quay.io": auth()}}, "home/.docker/config.json")
    assert default("quay.io") == Credential("podman", SECRET)
    assert default() == Credential("docker", SECRET)


def test_a_named_auth_file_is_the_only_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "none.json"))
    authfile(home, {"auths": {HOST: auth()}}, ".docker/config.json")
    assert default() is None
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/dev/null")
    assert default() is None


def test_without_a_runtime_folder_podman_keeps_logins_below_run_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert _default_authfiles()[0] == Path(f"/run/containers/{os.getuid()}/auth.json")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(parents=True), "the auth file cannot be read: Is a directory"),
        (lambda path: written(path, b"\xff"), "the auth file cannot be read: it is not text"),
        (lambda path: written(path, "[1]"), "this is no auth file"),
    ],
)
def test_a_default_file_that_cannot_be_read_is_named(home: Path, make: Callable[[Path], object], words: str) -> None:
    path = home / ".docker/config.json"
    make(path)
    with pytest.raises(LoginError, match=words) as caught:
        default()
    assert str(path) in caught.value.what


def test_a_file_that_the_system_does_not_let_us_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/proc/self/mem")  # to be opened, and not to be read: by root neither
    with pytest.raises(LoginError, match="/proc/self/mem: the auth file cannot be read: Input/output error"):
        default()


# --- repositories with logins of their own ----------------------------------------------------------------------


def test_the_most_particular_entry_counts(tmp_path: Path) -> None:
    auths(tmp_path, a_b=auth("repository"), a=auth("project"), **{"": auth("registry")})
    found = login(tmp_path, authfile="auth.json")
    users = {path: found.credential(path) for path in ("a/b", "a/b/c", "a/c", "a", "ab", "a-b/c", "b", "")}
    assert {path: who.username for path, who in users.items() if who} == {
        "a/b": "repository", "a/b/c": "repository", "a/c": "project", "a": "project",
        "ab": "registry", "a-b/c": "registry", "b": "registry", "": "registry",
    }  # fmt: skip


def test_a_repository_without_an_entry_is_anonymous_or_said(tmp_path: Path, home: Path) -> None:
    auths(tmp_path, a=auth())
    found = login(tmp_path, authfile="auth.json")
    assert found.credential("a/b") == ANN
    for path, name in (("b/c", f"{HOST}/b/c"), ("", HOST)):
        with pytest.raises(LoginError, match=f"no login for {name} in it"):
            found.credential(path)
    auths(home / ".config/containers", a=auth()).rename(home / ".config/containers/auth.json")
    assert default(repository="a/b") == ANN
    assert default(repository="b/c") is None
    assert default() is None


def test_an_address_with_a_path_is_for_the_whole_registry(tmp_path: Path) -> None:
    authfile(tmp_path, {"auths": {f"https://{HOST}/a/b": auth()}})
    assert credential(tmp_path, repository="c/d", authfile="auth.json") == ANN


def test_a_broken_entry_matters_only_to_its_repositories(tmp_path: Path) -> None:
    auths(tmp_path, a={"auth": "?"}, b=auth())
    found = login(tmp_path, authfile="auth.json")
    assert found.credential("b/c") == ANN
    with pytest.raises(LoginError, match=f"the entry for {HOST}/a is broken"):
        found.credential("a/b")


def test_the_first_file_with_a_login_counts_however_particular_the_next_is(tmp_path: Path) -> None:
    authfile(tmp_path, {"auths": {HOST: auth("podman")}}, "run/containers/auth.json")
    authfile(tmp_path, {"auths": {f"{HOST}/a": auth("docker")}}, "home/.docker/config.json")
    assert default(repository="a/b") == Credential("podman", SECRET)


def test_scopes_tell_which_repositories_have_one_login(tmp_path: Path) -> None:
    auths(tmp_path, a_b=auth(), a=auth(), c_d=auth(), c_e=auth())
    found = login(tmp_path, authfile="auth.json")
    assert [found.scope(path) for path in ("a/b/x", "a/y", "c/d", "c", "z", "")] == ["a/b", "a", "c/d", "", "", ""]
    assert found.scopes(["a/b/x", "a/y", "a/z"]) == ["a", "a/b"]
    assert found.scopes(["a/y", "z"]) == ["", "a"]
    assert found.scopes(["c"]) == ["c/d", "c/e"], "a project: those of its repositories"
    assert found.scopes([]) == [""]


def test_other_logins_are_one_for_all_and_not_read_to_know_that(tmp_path: Path) -> None:
    found = login(tmp_path, tokenEnv="NOT_SET")
    assert (found.scope("a/b"), found.scopes(["a/b", "c"])) == ("", [""])


# --- credential helpers -----------------------------------------------------------------------------------------


@pytest.fixture
def bin_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def helper(folder: Path, name: str, **logins: tuple[str, str]) -> Path:
    """A credential helper that knows some logins by server (`_` stands for a dot) and writes down what it is asked."""
    answers = {
        server.replace("_", "."): json.dumps({"ServerURL": server, "Username": user, "Secret": secret})
        for server, (user, secret) in logins.items()
    }
    cases = "".join(f"{server}) echo '{answer}';;\n" for server, answer in answers.items())
    nothing = "*) echo credentials not found in native keychain; exit 1;;"
    return program(
        folder / f"docker-credential-{name}",
        f'server=$(cat); echo "$@ $server" >> "$0.asked"\ncase "$server" in\n{cases}{nothing}\nesac',
    )


def asked(folder: Path, name: str) -> list[str]:
    path = folder / f"docker-credential-{name}.asked"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    "document",
    [
        {"credHelpers": {HOST: "keys"}},
        {"credsStore": "keys"},
        {"credHelpers": {HOST: ""}, "credsStore": "keys"},
        {"auths": {HOST: {}}, "credsStore": "keys"},
        {"credHelpers": {HOST: "keys"}, "credsStore": "not-installed"},
        {"credHelpers": {HOST: "keys"}, "auths": {HOST: auth("bob")}},
    ],
)
def test_a_helper_is_asked_for_the_host_and_never_by_an_argument(
    tmp_path: Path, bin_folder: Path, document: object
) -> None:
    helper(bin_folder, "keys", **{HOST: ("ann", SECRET)})
    authfile(tmp_path, document)
    assert credential(tmp_path, repository="a/b", authfile="auth.json") == ANN
    assert asked(bin_folder, "keys") == [f"get {HOST}"]


def test_helpers_of_a_registry_then_entries_then_the_store(tmp_path: Path, bin_folder: Path) -> None:
    helper(bin_folder, "first", a_example=("helper", "s"))
    helper(bin_folder, "last", a_example=("store", "s"), b_example=("store", "s"), c_example=("store", "s"))
    hosts = ("a.example", "b.example", "c.example")
    authfile(
        tmp_path,
        {
            "credHelpers": dict.fromkeys(hosts, "first"),
            "auths": {"a.example": auth("entry"), "b.example": auth("entry")},
            "credsStore": "last",
        },
    )
    users = [found.username for host in hosts if (found := credential(tmp_path, host, authfile="auth.json"))]
    assert users == ["helper", "entry", "store"]
    assert asked(bin_folder, "last") == ["get c.example"]


def test_an_entry_of_a_repository_comes_before_the_store(tmp_path: Path, bin_folder: Path) -> None:
    helper(bin_folder, "keys", **{HOST: ("store", SECRET)})
    authfile(tmp_path, {"auths": {f"{HOST}/a": auth()}, "credsStore": "keys"})
    found = login(tmp_path, authfile="auth.json")
    assert [who.username for path in ("a/b", "b/c", "") if (who := found.credential(path))] == ["ann", "store", "store"]


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "index.docker.io"])
def test_docker_hub_is_asked_for_by_its_address(tmp_path: Path, bin_folder: Path, key: str) -> None:
    helper(bin_folder, "keys", **{"https://index_docker_io/v1/": ("ann", SECRET)})
    authfile(tmp_path, {"credHelpers": {key: "keys"}})
    assert credential(tmp_path, "docker.io", "library/alpine", authfile="auth.json") == ANN


def test_a_token_for_a_user_is_an_identity_token(tmp_path: Path, bin_folder: Path) -> None:
    helper(bin_folder, "keys", **{HOST: ("<token>", SECRET)})
    authfile(tmp_path, {"credsStore": "keys"})
    found = credential(tmp_path, authfile="auth.json")
    assert found == Credential("<token>", "", SECRET)
    assert SECRET not in repr(found)


def test_a_helper_without_the_login_is_passed_by(tmp_path: Path, bin_folder: Path, home: Path) -> None:
    helper(bin_folder, "keys")
    authfile(home, {"credHelpers": {HOST: "keys"}, "credsStore": "keys"}, ".config/containers/auth.json")
    assert default() is None
    authfile(home, {"auths": {HOST: auth()}}, ".docker/config.json")
    assert default() == ANN
    program(bin_folder / "docker-credential-keys", """echo '{"ServerURL": "", "Username": "", "Secret": ""}'""")
    assert default() == ANN


def test_a_helper_of_another_registry_is_not_asked(tmp_path: Path, bin_folder: Path) -> None:
    helper(bin_folder, "keys", quay_io=("ann", SECRET))
    authfile(tmp_path, {"credHelpers": {"quay.io": "keys", f"{HOST}/a": "keys"}, "auths": {HOST: auth("bob")}})
    assert credential(tmp_path, repository="a/b", authfile="auth.json") == Credential("bob", SECRET)
    assert asked(bin_folder, "keys") == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "cannot be run: No such file or directory"),
        (f"echo {SECRET}; echo {SECRET} >&2; exit 3", "ended with 3 and no login"),
        (f"echo {SECRET}; kill -9 $$", "ended with -9 and no login"),
        (f"echo {SECRET}", "gave no login that can be read"),
        ("true", "gave no login that can be read"),
        (f"echo '[\"{SECRET}\"]'", "gave no login that can be read"),
        (f"""echo '{{"Username": "ann", "Secret": ["{SECRET}"]}}'""", "gave no login that can be read"),
        (f"""echo '{{"Secret": "{SECRET}"}}'""", "gave no login that can be read"),
        (f"""echo '{{"Username": "\\ud800", "Secret": "{SECRET}"}}'""", "gave no login that can be read"),
        ("head -c 200000 /dev/zero | tr '\\0' '['", "gave no login that can be read"),
        (f"printf '{SECRET}\\377'", "printed something that is not text"),
        (f"yes {SECRET}", "printed more than 1048576 bytes"),
        (f"echo {SECRET}; sleep 60", "did not end within 0.3 s"),
        (f"echo {SECRET}; exec >&-; sleep 60", "did not end within 0.3 s"),
    ],
)
def test_a_helper_that_fails_is_named_with_its_file_and_registry_without_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bin_folder: Path, script: str | None, words: str
) -> None:
    monkeypatch.setattr(helpers, "_SECONDS", 0.3 if "sleep" in (script or "") else 20.0)
    if script is not None:
        program(bin_folder / "docker-credential-keys", script)
    authfile(tmp_path, {"credHelpers": {HOST: "keys"}})
    began = time.monotonic()
    error = refused(tmp_path, words, authfile="auth.json")
    assert time.monotonic() - began < 10
    assert f"{tmp_path / 'auth.json'}: the credential helper 'docker-credential-keys' of {HOST}" in error.what
    assert "run it by hand" in error.advice or "install it" in error.advice


@pytest.mark.parametrize("name", ["../keys", "a/b", "-x", "a b", "k\0", "."])
def test_a_helper_that_is_no_name_is_not_run(tmp_path: Path, bin_folder: Path, name: str) -> None:
    authfile(tmp_path, {"credsStore": name})
    refused(tmp_path, "has a name that is none", authfile="auth.json")


def test_a_helper_need_not_read_what_it_is_given(tmp_path: Path, bin_folder: Path) -> None:
    program(bin_folder / "docker-credential-keys", f"""exec <&-; echo '{{"Username": "ann", "Secret": "{SECRET}"}}'""")
    authfile(tmp_path, {"credsStore": "keys"})
    for _ in range(5):
        assert credential(tmp_path, authfile="auth.json") == ANN


def test_a_program_that_leaves_something_unread_is_no_error() -> None:
    assert programs.run_program(["true"], 10, "x" * 1_000) == (0, "")
    assert programs.run_program(["cat"], 10, "ä" * 1_000) == (0, "ä" * 1_000)


def test_many_workers_with_many_repositories_ask_a_helper_once(tmp_path: Path, bin_folder: Path) -> None:
    helper(bin_folder, "keys", **{HOST: ("ann", SECRET)})
    authfile(tmp_path, {"credsStore": "keys"})
    found = login(tmp_path, authfile="auth.json")
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda number: found.credential(f"a/{number}"), range(200))) == {ANN}
    assert len(asked(bin_folder, "keys")) == 1


def test_a_refused_login_is_read_again_once_for_all_who_were_refused(tmp_path: Path, bin_folder: Path) -> None:
    helper(bin_folder, "keys", **{HOST: ("ann", "ended")})
    authfile(tmp_path, {"credsStore": "keys"})
    found = login(tmp_path, authfile="auth.json")
    old = found.credential("a/b")
    assert old == Credential("ann", "ended")
    helper(bin_folder, "keys", **{HOST: ("ann", SECRET)})
    assert found.credential("a/b") is old, "it is a few seconds old at most"
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda number: found.renewed(old, f"a/{number}"), range(50))) == {ANN}
    assert len(asked(bin_folder, "keys")) == 2


# --- any content ------------------------------------------------------------------------------------------------


KEYS = [HOST, f"https://{HOST}/v1/", f"{HOST}/a", f"{HOST}/a/b", "other.example", "", "auth", "username", "password"]
KEYS += ["identitytoken"]
VALUES = [auth()["auth"], "?", SECRET, "", "keys", "../x", "\ud800", "\0", ":", "Og=="]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(VALUES)
SHAPES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
FILES = SHAPES | st.fixed_dictionaries({}, optional={"auths": SHAPES, "credHelpers": SHAPES, "credsStore": LEAVES})


@given(document=FILES, path=st.sampled_from(["", "a", "a/b", "c"]), name=st.sampled_from(["auth.json", ".dockercfg"]))
def test_an_auth_file_of_any_shape_gives_a_login_or_words(
    tmp_path_factory: pytest.TempPathFactory, document: object, path: str, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    file = authfile(folder, document, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder))
        patch.setenv("REGISTRY_AUTH_FILE", str(file))
        for found in (login(folder, authfile=name), login_of(None, HOST, folder)):
            told_or_found(found.scopes, [path])
            who = told_or_found(found.credential, path)
            if who is not None:
                assert told_or_found(lambda who=who: authfile_text(HOST, who))


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_an_auth_file_of_any_bytes_gives_words(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    written(folder / "auth.json", content)
    with pytest.raises(LoginError, match=r"auth\.json"):
        credential(folder, authfile="auth.json")


def told_or_found(ask: Callable[..., Any], *arguments: object) -> Any:
    """What an answer is; None where it fails with words that tell no secret."""
    try:
        return ask(*arguments)
    except LoginError as error:
        assert error.what
        assert SECRET not in str(error)
        return None


# --- what we write ----------------------------------------------------------------------------------------------


NAMES = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SECRETS = TEXTS.filter(lambda secret: secret == secret.strip("\0"))
SCOPES = st.sampled_from(["", "a", "a/b", "v2"])


@given(NAMES, SECRETS, TEXTS, SCOPES)
def test_an_authfile_that_we_write_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, user: str, secret: str, token: str, scope: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "back"
    who = Credential(user, secret, token)
    written(folder / "auth.json", authfile_text(HOST, who, scope))
    assert credential(folder, repository=f"{scope}/x".strip("/"), authfile="auth.json") == who


def test_an_authfile_holds_one_login_and_nothing_else() -> None:
    assert json.loads(authfile_text(HOST, ANN)) == {"auths": {HOST: auth()}}
    assert json.loads(authfile_text(HOST, ANN, "a/b")) == {"auths": {f"{HOST}/a/b": auth()}}
    token = json.loads(authfile_text(HOST, Credential("<token>", "", SECRET)))
    assert token == {"auths": {HOST: {**auth("<token>", ""), "identitytoken": SECRET}}}
