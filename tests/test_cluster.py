"""What the API's answers mean: refused for sure, done perhaps, not even asked; and when it is asked again."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from clusters import NEW_TOKEN
from lightkube import Client
from registrylab.cluster import OpenShiftCluster, openshift_cluster
from registrylab.gateway import Answer, Request, Reset
from registrylab.kubeapi import login_page, server_error, strike, throttled
from registrylab.tokens import self_signed

from migrate.cluster import Cluster, ClusterError, Problem
from migrate.credentials.api import ApiAccess, api_of
from migrate.credentials.login import Credential, Login
from migrate.errors import LoginError
from migrate.kinds import ROLE, ROLE_BINDING
from migrate.manifest.model import Login as LoginEntry

RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]


@pytest.fixture
def new(tmp_path: Path) -> Iterator[OpenShiftCluster]:
    with openshift_cluster(tmp_path / "new", "4", users={NEW_TOKEN: "ann"}) as made:
        made.add_project("p", "ann")
        yield made


@pytest.fixture
def cluster(new: OpenShiftCluster) -> Iterator[Cluster]:
    made = Cluster(access(new.api_url))
    yield made
    made.close()


def access(server: str, read: Callable[[], Credential] = lambda: Credential("", NEW_TOKEN)) -> ApiAccess:
    return ApiAccess("a test", {"server": server}, login=Login("a test", read, fresh=0))


def role(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "r", "namespace": "p", **metadata}, "rules": RULES}


def said(status: int, body: bytes = b"", content_type: str = "") -> Answer:
    return Answer(status, (("Content-Type", content_type),) if content_type else (), body)


def after(new: OpenShiftCluster, answer: Callable[[], Answer], times: int = 99) -> None:
    """What was asked is done, and the answer is another one."""
    real = new.api._answer
    left = [times]

    def changed(caller: Any, request: Request) -> Answer:
        done = real(caller, request)
        left[0] -= request.method != "GET"
        return answer() if request.method != "GET" and left[0] >= 0 else done

    new.api._answer = changed  # type: ignore[method-assign]


def lost() -> Answer:
    raise Reset


@pytest.mark.parametrize(
    "answer",
    [
        lost,
        lambda: said(504),
        lambda: said(502, b"<html>", "text/html"),
        lambda: said(200, b'{"kind":"RoleB', "application/json"),
        lambda: server_error(500),
        login_page,
    ],
)
def test_a_write_without_an_answer_that_can_be_understood_may_be_done(
    new: OpenShiftCluster, cluster: Cluster, answer: Callable[[], Answer]
) -> None:
    after(new, answer)
    with pytest.raises(ClusterError) as caught:
        cluster.apply(ROLE, role())
    assert caught.value.maybe
    assert new.get("Role", "p", "r")


@pytest.mark.parametrize(
    ("text", "problem", "maybe"),
    [
        ("Illegal header value b'Bearer half-of-secret\\n'", Problem.LOGIN, False),
        ("Can't send data when our state is ERROR", Problem.UNREACHABLE, True),
    ],
)
def test_a_broken_connection_is_told_from_a_token_that_is_none(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, text: str, problem: Problem, maybe: bool
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise httpx2.LocalProtocolError(text)

    monkeypatch.setattr(Client, "create", broken)
    with pytest.raises(ClusterError) as caught:
        cluster.create(ROLE, role())
    assert (caught.value.problem, caught.value.maybe) == (problem, maybe)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("answer", [lost, lambda: said(504)])
def test_a_conflict_of_a_second_try_may_be_with_the_first(
    new: OpenShiftCluster, cluster: Cluster, answer: Callable[[], Answer]
) -> None:
    version = cluster.create(ROLE, role())["metadata"]["resourceVersion"]
    after(new, answer, 1)
    rules = [{**RULES[0], "verbs": ["list"]}]
    with pytest.raises(ClusterError) as caught:
        cluster.apply(ROLE, {**role(resourceVersion=version), "rules": rules})
    assert (caught.value.problem, caught.value.maybe) == (Problem.CONFLICT, True)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (said(403, b"no", "text/plain"), Problem.FORBIDDEN),
        (throttled(0), Problem.UNREACHABLE),
        (said(401), Problem.LOGIN),
        (said(409, b'{"kind":"Status","message":null}', "application/json"), Problem.CONFLICT),
        (said(302), Problem.INVALID),
    ],
)
def test_what_is_refused_at_once_is_not_done(
    new: OpenShiftCluster, cluster: Cluster, answer: Answer, problem: Problem
) -> None:
    new.api.faults.append(strike("PATCH", "", answer, 99))
    with pytest.raises(ClusterError) as caught:
        cluster.apply(ROLE, role())
    assert (caught.value.problem, caught.value.maybe) == (problem, False)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(
    ("body", "content_type"), [(b"", ""), (b"", "application/json"), (b"null", "application/json")]
)
def test_an_error_without_words_is_classed_by_its_status_and_asked_again(
    new: OpenShiftCluster, cluster: Cluster, status: int, body: bytes, content_type: str
) -> None:
    new.api.faults.append(strike("GET", "", said(status, body, content_type), 2))
    assert cluster.list(ROLE, "p") == []
    assert len(new.api.seen) == 3


def test_a_dropped_request_keeps_nobody_from_asking(new: OpenShiftCluster, cluster: Cluster) -> None:
    new.api.faults.append(strike("PATCH", "", None, 99))
    with pytest.raises(ClusterError) as caught:
        cluster.apply(ROLE, role())
    assert caught.value.connected
    assert cluster.list(ROLE, "p") == []


def test_who_cannot_be_connected_to_is_not_tried_again_and_nothing_was_done() -> None:
    cluster = Cluster(access("http://127.0.0.1:1"))
    for _ in range(5):
        with pytest.raises(ClusterError) as caught:
            cluster.apply(ROLE, role())
        assert (caught.value.problem, caught.value.maybe, caught.value.connected) == (Problem.UNREACHABLE, False, False)
    cluster.close()


def test_the_login_is_renewed_only_where_it_is_refused(new: OpenShiftCluster) -> None:
    asked = []

    def read() -> Credential:
        asked.append(1)
        return Credential("", NEW_TOKEN)

    where = access(new.api_url)
    cluster = Cluster(ApiAccess("a test", where.cluster, login=Login("a test", read, fresh=600)))
    for _ in range(3):
        assert cluster.get(ROLE_BINDING, "nosuch", "p") is None
        with pytest.raises(ClusterError):
            cluster.list(ROLE, "elsewhere")
    assert len(asked) == 1
    new.api.faults.append(strike("GET", "", said(401), 1))
    with pytest.raises(ClusterError, match="401"):
        cluster.get(ROLE_BINDING, "nosuch", "p")
    assert len(asked) == 2
    cluster.close()


@pytest.mark.parametrize("name", ["", ".", "..", "../roles", "a/b", "a?b", "a#b", "%2e", "~", "*", "a\nb", "a\\b"])
def test_a_name_that_means_something_else_in_an_address_is_not_sent(
    new: OpenShiftCluster, cluster: Cluster, name: str
) -> None:
    asks: list[Callable[[], object]] = [
        lambda: cluster.get(ROLE, name, "p"),
        lambda: cluster.get(ROLE, "r", name),
        lambda: cluster.delete(ROLE, role(name=name)),
        lambda: cluster.list(ROLE, name),
        lambda: cluster.may(name, "bob", (), {}),
        *(
            lambda write=write: write(ROLE, role(name=name))  # type: ignore[misc]
            for write in (cluster.apply, cluster.create, cluster.replace)
        ),
    ]
    for ask in asks:
        with pytest.raises(ClusterError, match=r"can be no name here|a name is missing") as caught:
            ask()
        assert (caught.value.problem, caught.value.maybe) == (Problem.INVALID, False)
    assert new.api.seen == []
    assert cluster.whoami() == "ann"


KEY = {"client-key-data": "QUJD"}
CERTIFICATE = {"client-certificate-data": "QUJD"}


@pytest.mark.parametrize(
    ("where", "who", "words"),
    [
        ({"server": 5}, {}, "`server` is no address"),
        ({"server": "http://[::1"}, {}, "`server` is no address"),
        ({"server": "https://u:pw-secret@api.example"}, {}, "`server` is no address"),
        ({"insecure-skip-tls-verify": "true"}, {}, "neither true nor false"),
        ({"tls-server-name": "x"}, {}, "`tls-server-name` is not supported"),
        ({"proxy-url": "http://p"}, {}, "`proxy-url` is not supported"),
        ({"certificate-authority": "nosuch"}, {}, "cannot be read: No such file"),
        ({}, CERTIFICATE, "needed together"),
        ({}, {"client-certificate": "c", "client-key": "k"}, "cannot be read"),
        ({}, {"password": 5}, "`password` is no text"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: dict[str, Any], who: dict[str, Any], words: str
) -> None:
    kubeconfig(tmp_path, monkeypatch, where, who)
    with pytest.raises(LoginError, match=words) as caught:
        api_of(None, LoginEntry.model_validate({"kubeconfigContext": "it"}), tmp_path)
    assert "pw-secret" not in str(caught.value)


def kubeconfig(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: dict[str, Any],
    who: dict[str, Any],
    token: str = NEW_TOKEN,
) -> None:
    login = {"token": token} if token else {}
    document = {
        "contexts": [{"name": "it", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example", **where}}],
        "users": [{"name": "u", "user": {**login, **who}}],
    }
    (folder / "config").write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(folder / "config"))


def test_a_certificate_and_a_token_are_both_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig(tmp_path, monkeypatch, {}, {**KEY, **CERTIFICATE})
    found = api_of(None, LoginEntry.model_validate({"kubeconfigContext": "it"}), tmp_path)
    assert found
    assert (found.token(), found.user) == (NEW_TOKEN, {**KEY, **CERTIFICATE})


def test_a_login_without_a_server_is_no_api_and_one_that_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig(tmp_path, monkeypatch, {"server": ""}, {})
    assert api_of(None, LoginEntry.model_validate({"kubeconfigContext": "it"}), tmp_path) is None
    with pytest.raises(LoginError, match="has no context 'other'"):
        api_of(None, LoginEntry.model_validate({"kubeconfigContext": "other"}), tmp_path)


@contextmanager
def api_over_tls(folder: Path, client: Path) -> Iterator[tuple[str, Path]]:
    """An API that asks for a client certificate and answers users/~ with the name in it; its address, its own one."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.connection, ssl.SSLSocket)
            subject = dict(pair for (pair,) in (self.connection.getpeercert() or {}).get("subject", ()))
            body = json.dumps({"kind": "User", "metadata": {"name": subject["commonName"]}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    certificate, _ = self_signed(folder, "api")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    context.load_verify_locations(client)
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", certificate
        server.shutdown()


def test_a_client_certificate_is_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = self_signed(tmp_path / "client", "ann")
    user = {"client-certificate": str(client), "client-key": str(client.with_suffix(".key"))}
    with api_over_tls(tmp_path / "api", client) as (server, certificate):
        kubeconfig(tmp_path, monkeypatch, {"server": server, "certificate-authority": str(certificate)}, user, token="")
        assert Cluster(of_context(tmp_path)).whoami() == "ann"
        kubeconfig(tmp_path, monkeypatch, {"server": server}, user, token="")
        with pytest.raises(ClusterError, match="certificate") as caught:
            Cluster(of_context(tmp_path)).whoami()
        assert caught.value.problem is Problem.UNREACHABLE
        kubeconfig(tmp_path, monkeypatch, {"server": server, "insecure-skip-tls-verify": True}, user, token="")
        assert Cluster(of_context(tmp_path)).whoami() == "ann"


def of_context(folder: Path) -> ApiAccess:
    found = api_of(None, LoginEntry.model_validate({"kubeconfigContext": "it"}), folder)
    assert found
    return found


@pytest.mark.parametrize("page", [[], [role()]])
def test_a_list_without_an_end_is_given_up(
    new: OpenShiftCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, page: list[Any]
) -> None:
    monkeypatch.setattr("migrate.cluster.client._OBJECTS", 50)
    asked = []

    def endless(caller: Any, request: Request) -> Answer:
        asked.append(request)
        body = {"kind": "RoleList", "apiVersion": "v1", "metadata": {"continue": f"p{len(asked)}"}, "items": page}
        return said(200, json.dumps(body).encode(), "application/json")

    new.api._answer = endless  # type: ignore[method-assign]
    with pytest.raises(ClusterError, match="its list has no end") as caught:
        cluster.list(ROLE, "p")
    assert caught.value.problem is Problem.INVALID
    assert len(asked) <= 102


def test_empty_pages_within_a_list_lose_nothing(new: OpenShiftCluster, cluster: Cluster) -> None:
    pages = [[role()], [], [], [role(name="s")]]

    def with_gaps(caller: Any, request: Request) -> Answer:
        place = int(dict(parse_qsl(urlsplit(request.path).query)).get("continue", "0"))
        following = {"continue": str(place + 1)} if place < 3 else {}
        body = {"kind": "RoleList", "apiVersion": "v1", "metadata": following, "items": pages[place]}
        return said(200, json.dumps(body).encode(), "application/json")

    new.api._answer = with_gaps  # type: ignore[method-assign]
    assert [found["metadata"]["name"] for found in cluster.list(ROLE, "p")] == ["r", "s"]
