"""How registries say what login they want, and that nothing is sent to who asks for something else."""

import base64
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registrylab.gateway import Answer, Forward, Gateway, Request, gateway
from registrylab.images import sha256
from registrylab.registry import PASSWORD, USER, registry
from registrylab.tokens import TokenServer, token_server

from migrate.credentials import Credential, Login
from migrate.credentials.login import Keyring
from migrate.images.challenges import Challenge, best_challenge
from migrate.images.failures import FailureClass
from migrate.images.registry import Connection, Registry, RegistryError

BEARER = 'Bearer realm="https://t.example/token",service="r",scope="repository:a/b:pull,push"'
FIELDS = {"realm": "https://t.example/token", "service": "r", "scope": "repository:a/b:pull,push"}
RAHTI = Credential(USER, PASSWORD)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (BEARER, Challenge("bearer", FIELDS)),
        (f'Negotiate, Basic realm="x", {BEARER}', Challenge("bearer", FIELDS)),
        (f'{BEARER}, Basic realm="x"', Challenge("bearer", FIELDS)),
        (f"Negotiate YII/ab+c==, {BEARER}", Challenge("bearer", FIELDS)),
        ('basic realm="Bearer x, Bearer realm=y"', Challenge("basic", {"realm": "Bearer x, Bearer realm=y"})),
        ('Digest qop="auth,auth-int", nonce=a, BASIC realm=x', Challenge("basic", {"realm": "x"})),
        (
            'bEARER Realm = "https://t/a\\"b" , SERVICE=s',
            Challenge("bearer", {"realm": 'https://t/a"b', "service": "s"}),
        ),
        ("Basic", Challenge("basic", {})),
        ("Negotiate", Challenge("negotiate", {})),
        ("NTLM TlRMTVNTUAAB==, Negotiate", Challenge("ntlm", {})),
        ("", None),
        ('realm="https://t.example"', None),
        ('=, "', None),
    ],
)
def test_bearer_is_chosen_then_basic(header: str, found: Challenge | None) -> None:
    assert best_challenge(header) == found


WORDS = st.text("abcXYZ019-._~", min_size=1, max_size=6)
VALUES = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=12)
CHALLENGES = st.tuples(WORDS, st.dictionaries(WORDS.map(str.lower), VALUES, max_size=3))


@given(st.lists(CHALLENGES, max_size=3), CHALLENGES.map(lambda challenge: ("Basic", challenge[1])))
def test_whatever_stands_beside_it_the_one_that_we_speak_is_read(
    others: list[tuple[str, dict[str, str]]], ours: tuple[str, dict[str, str]]
) -> None:
    header = ", ".join(written(*challenge) for challenge in [*others, ours])
    if not {scheme.lower() for scheme, _ in others} & {"basic", "bearer"}:
        assert best_challenge(header) == Challenge("basic", ours[1])


def written(scheme: str, fields: dict[str, str]) -> str:
    quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in fields.items()}
    return f"{scheme} " + ", ".join(f'{key}="{value}"' for key, value in quoted.items())


@given(st.text(max_size=200))
def test_any_header_is_read(header: str) -> None:
    found = best_challenge(header)
    assert found is None or found.scheme


# --- asked ------------------------------------------------------------------------------------------------------


def wanting(*headers: str) -> Callable[[Request, Forward], Answer]:
    """A registry that answers 401 to all, and wants these logins."""
    return lambda _request, _forward: Answer(401, tuple(("WWW-Authenticate", header) for header in headers))


def asking(passing: Gateway, credential: Credential | None) -> "closing[Registry]":
    return closing(Registry(Connection(passing.host, plain_http=True), Login("here", lambda: credential)))


def authorizations(passing: Gateway) -> list[str]:
    return [request.headers.get("authorization", "") for request in passing.seen]


@pytest.mark.parametrize("headers", [["Negotiate"], ["Negotiate YII=", 'Digest realm="x"'], ["Basically realm=x"]])
def test_a_password_goes_to_no_scheme_that_is_not_known(headers: list[str]) -> None:
    with gateway("", wanting(*headers)) as passing, asking(passing, RAHTI) as made:
        scheme = headers[0].partition(" ")[0]
        with pytest.raises(
            RegistryError, match=f"it wants a login by {scheme}, which this tool does not speak"
        ) as caught:
            made.ping()
        assert caught.value.failure.kind is FailureClass.INVALID
        assert authorizations(passing) == [""]


def test_a_password_goes_to_nobody_who_does_not_ask_for_it() -> None:
    with gateway("", wanting()) as passing, asking(passing, RAHTI) as made:
        with pytest.raises(RegistryError, match="401") as caught:
            made.ping()
        assert caught.value.failure.kind is FailureClass.LOGIN
        assert set(authorizations(passing)) == {""}


def test_an_identity_token_goes_to_no_basic_login() -> None:
    token = Credential("<token>", "", "refresh-me")
    with gateway("", wanting('Basic realm="x"')) as passing, asking(passing, token) as made:
        with pytest.raises(RegistryError, match="which only Bearer takes") as caught:
            made.ping()
        assert caught.value.failure.kind is FailureClass.LOGIN
        assert authorizations(passing) == [""]


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(tmp_path / "tokens", {USER: PASSWORD}) as server:
        yield server


def test_of_several_headers_bearer_is_answered(tokens: TokenServer, tmp_path: Path) -> None:
    def handle(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        if answer.status != 401:
            return answer
        others = (("WWW-Authenticate", "Negotiate"), ("WWW-Authenticate", 'Basic realm="x"'))
        return Answer(401, (*others, *answer.headers), answer.body)

    with (
        registry(token_auth=tokens.registry_settings, folder=tmp_path / "bearer") as lab,
        gateway(lab.host, handle) as passing,
        asking(passing, RAHTI) as made,
    ):
        made.ping()
        assert made.find_manifest("a/b", "1") is None
        assert {header.partition(" ")[0] for header in authorizations(passing)} == {"", "Bearer"}
        assert tokens.askers == [USER, USER]


def test_a_realm_keeps_its_own_question() -> None:
    def handle(request: Request, forward: Forward) -> Answer:
        if request.phase == "token":
            return Answer(200, body=b'{"access_token": "t", "expires_in": 100000000000000000000000000}')
        if "authorization" in request.headers:
            return Answer(200, body=b"{}")
        return wanting(f'Bearer realm="http://{request.headers["host"]}/token?tenant=a&scope=x",service="s"')(
            request, forward
        )

    with gateway("", handle) as passing, asking(passing, RAHTI) as made:
        made.ping()
        (asked,) = [request for request in passing.seen if request.phase == "token"]
        assert parse_qs(urlsplit(asked.path).query) == {"tenant": ["a"], "scope": ["x"], "service": ["s"]}
        assert asked.headers["authorization"] == f"Basic {RAHTI.basic}"


NO_TOKENS = [
    b"",
    b"[]",
    b"{}",
    b'{"expires_in": 5}',
    b'{"token": "t", "expires_in": "soon"}',
    b'{"token": "t", "expires_in": 1%s}' % (b"0" * 400),
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", NO_TOKENS)
def test_what_is_no_token_is_said(body: bytes) -> None:
    def handle(request: Request, forward: Forward) -> Answer:
        if request.phase == "token":
            return Answer(200, body=body)
        return wanting(f'Bearer realm="http://{request.headers["host"]}/token"')(request, forward)

    with (
        gateway("", handle) as passing,
        asking(passing, RAHTI) as made,
        pytest.raises(RegistryError, match="what came instead of a token is none"),
    ):
        made.ping()


def test_what_an_object_store_wants_is_not_what_the_registry_wants() -> None:
    def handle(request: Request, forward: Forward) -> Answer:
        if request.phase != "blob":
            return Answer(200, body=b"{}")
        return Answer(307, (("Location", f"http://localhost:{store.host.partition(':')[2]}/store"),))

    with (
        gateway("", wanting('Bearer realm="http://127.0.0.1:1/token"')) as store,
        gateway("", handle) as passing,
        asking(passing, RAHTI) as made,
    ):
        with pytest.raises(RegistryError, match="no right here"):
            made.small_blob("a/b", sha256(b""))
        assert set(authorizations(store)) == set(authorizations(passing)) == {""}


def test_a_password_that_was_renewed_is_taken_at_once_and_for_the_repository_that_is_asked() -> None:
    good = {"a/b": "new-a", "c/d": "new-c"}

    def handle(request: Request, forward: Forward) -> Answer:
        wanted = f"ann:{good.get(request.repository, '')}".encode()
        if request.headers.get("authorization") == f"Basic {base64.b64encode(wanted).decode()}":
            return Answer(404)
        return wanting('Basic realm="x"')(request, forward)

    class Renewed(Login):
        def credential(self, repository: str = "") -> Credential | None:
            return Credential("ann", "old")

        def renewed(self, refused: Credential, repository: str = "") -> Credential | None:
            return Credential("ann", good[repository])

    with gateway("", handle) as passing:
        login = Renewed("here", lambda: None)
        with closing(Registry(Connection(passing.host, plain_http=True), login)) as made:
            with suppress(RegistryError):
                made.find_manifest("a/b", "1")  # the first question of all may only learn how to ask
            assert made.find_manifest("a/b", "1") is None
            assert made.find_manifest("c/d", "1") is None


@pytest.mark.parametrize(("path", "kind"), [("a/b", "denied"), ("c/d", "login"), ("e/f", "login")])
def test_a_refused_login_of_a_repository_is_told_from_a_missing_right(path: str, kind: str) -> None:
    """At this registry ann may log in, but not pull from a/b; bob is not known; and e/f has no login here."""

    def handle(request: Request, forward: Forward) -> Answer:
        known = request.headers.get("authorization") == f"Basic {Credential('ann', 'good').basic}"
        return Answer(200, body=b"{}") if known and request.phase == "ping" else wanting("Basic")(request, forward)

    keyring = Keyring([{"a": lambda: Credential("ann", "good"), "c/d": lambda: Credential("bob", "bad")}])
    with gateway("", handle) as passing:
        connection, login = Connection(passing.host, plain_http=True), Login("here", lambda: keyring, scoped=True)
        with closing(Registry(connection, login)) as made, pytest.raises(RegistryError) as caught:
            made.find_manifest(path, "1")
        assert caught.value.failure.kind == kind
