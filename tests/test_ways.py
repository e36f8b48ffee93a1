"""The ways to a registry: proxies, what NO_PROXY leaves out, object stores behind redirects, registries without TLS."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Ends
from registrylab.client import LabClient, missing_from
from registrylab.forward import forward_proxy
from registrylab.gateway import Answer, Forward, Gateway, Request, gateway
from registrylab.images import make_image, make_layer
from registrylab.registry import Tls, registry
from registrylab.tokens import self_signed

IMAGE = make_image([make_layer("one", 40_000)], config={"Cmd": ["x"], "OnBuild": ["RUN y"]})
NOBODY = "http://127.0.0.1:9"
SIGNATURE = "Sig-0f9a7c"


def test_proxies_of_the_environment_lead_to_registries_that_nobody_else_knows(
    ends: Ends, source: LabClient, tmp_path: Path
) -> None:
    source.push("a/b", IMAGE, "1", "2")
    certificate, _ = self_signed(tmp_path / "tls", "registry", "images.example")
    with (
        registry(tls=Tls(certificate, certificate.with_suffix(".key")), folder=tmp_path / "secure") as secure,
        forward_proxy({"old.example:5000": ends.source.host, "images.example:8443": secure.host}) as proxy,
    ):
        manifest = ends.through(ends.manifest("images: [a]"), source="old.example:5000", target="images.example:8443")
        text = manifest.read_text().replace("8443', plainHttp: true", f"8443', caFile: '{certificate}'")
        manifest.write_text(text)
        ran = ends.run("run", manifest, HTTP_PROXY=proxy.url, HTTPS_PROXY=proxy.url)
        assert ran.code == 0, ran.text
        assert "2 tags verified: 2 equal" in ran.out
        assert "CONNECT images.example:8443" in proxy.asked
        assert "GET old.example:5000" in proxy.asked
        with LabClient(secure) as client:
            assert missing_from(client, "a/b", "2") == []


@pytest.mark.parametrize("no_proxy", ["", "127.0.0.0/8", "*"])
def test_loopback_needs_no_proxy_for_us_as_for_skopeo(ends: Ends, source: LabClient, no_proxy: str) -> None:
    source.push("a/b", IMAGE, "1")
    environment = {"HTTP_PROXY": NOBODY, "HTTPS_PROXY": NOBODY, "NO_PROXY": no_proxy}
    ran = ends.run("copy", ends.manifest("images: [a]"), **environment)
    assert ran.code == 0, ran.text


def test_no_proxy_is_kept_and_a_dead_proxy_is_named(ends: Ends) -> None:
    manifest = ends.through(ends.manifest("images: ['a/b:1']"), source="old.invalid:5000")
    without = ends.run("plan", manifest, HTTP_PROXY=NOBODY, NO_PROXY="old.invalid")
    assert without.code == 1
    assert "Name or service not known" in without.err or "No address associated" in without.err
    dead = ends.run("plan", manifest, HTTP_PROXY=NOBODY)
    assert dead.code == 1
    assert "Connection refused" in dead.err
    assert "proxy settings" in dead.err


def into_store(registry_side: Gateway, store_host: str) -> None:
    """Blobs are answered by a redirect to another host, with a signature in the address."""

    def handle(request: Request, forward: Forward) -> Answer:
        if request.phase == "blob":
            answer = forward(replace(request, method="HEAD"))
            if answer.status == 200:
                where = f"http://{store_host}{request.path}?X-Amz-Signature={SIGNATURE}"
                return Answer(307, (("Location", where),))
        return forward(request)

    registry_side.handle = handle


def test_credentials_do_not_follow_a_blob_to_another_host(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    authorization = {}

    def store(request: Request, forward: Forward) -> Answer:
        """The object store: it takes the signature, and would refuse a login beside it, as S3 does."""
        if "authorization" in request.headers:
            return Answer(400, (), b"Only one auth mechanism allowed")
        return forward(replace(request, headers={**request.headers, **authorization}))

    with (
        gateway(ends.source.host) as near,
        gateway(ends.target.host) as far,
        gateway(ends.source.host, store) as source_store,
        gateway(ends.target.host, store) as target_store,
    ):
        into_store(near, source_store.host.replace("127.0.0.1", "localhost"))
        into_store(far, target_store.host.replace("127.0.0.1", "localhost"))
        authorization["authorization"] = ends.source_authorization
        body = "images: [a/b, {from: 'a/b:1', to: 'a/skopeo:1', engine: skopeo}]"
        manifest = ends.through(ends.manifest(body), source=near.host, target=far.host)
        ran = ends.run("copy", manifest)
        assert ran.code == 0, ran.text
        ran = ends.run("verify", manifest, "--deep")
        assert ran.code == 0, ran.text
        asked = [*source_store.seen, *target_store.seen]
        assert {request.method for request in asked} >= {"GET"}
        assert [request.path for request in asked if "authorization" in request.headers] == []
    assert missing_from(target, "a/b", "1") == []


def test_what_an_object_store_refuses_leaves_no_signature_anywhere(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")

    def closed(request: Request, forward: Forward) -> Answer:
        return Answer(403, (("Content-Type", "application/xml"),), b"<Error>Request has expired</Error>")

    with gateway(ends.source.host) as near, gateway(ends.source.host, closed) as store:
        into_store(near, store.host)
        ran = ends.run("copy", ends.through(ends.manifest("images: [a]"), source=near.host), "-vv")
    assert ran.code == 3
    assert "403" in ran.out
    assert SIGNATURE not in ran.text
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        assert SIGNATURE not in "\n".join(db.iterdump())


def test_a_redirect_to_nowhere_is_a_failure_of_that_image(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")
    with gateway(ends.source.host) as near:
        into_store(near, "127.0.0.1:9")
        ran = ends.run("copy", ends.through(ends.manifest("images: [a]"), source=near.host))
    assert ran.code == 3
    assert "connection refused" in ran.out.lower()


def test_manifests_behind_a_redirect_are_read(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/b", IMAGE, "1")

    def open_to_all(request: Request, forward: Forward) -> Answer:
        return forward(replace(request, headers={**request.headers, "authorization": ends.source_authorization}))

    with gateway(ends.source.host, open_to_all) as mirror, gateway(ends.source.host) as near:

        def elsewhere(request: Request, forward: Forward) -> Answer:
            if request.phase == "manifest":
                return Answer(307, (("Location", f"http://{mirror.host}{request.path}"),))
            return forward(request)

        near.handle = elsewhere
        ran = ends.run("run", ends.through(ends.manifest("images: [a/b]"), source=near.host))
    assert ran.code == 0, ran.text
    assert missing_from(target, "a/b", "1") == []


def test_a_server_that_gives_back_the_login_does_not_show_it(ends: Ends, source: LabClient) -> None:
    source.push("a/b", IMAGE, "1")

    def echo(request: Request, forward: Forward) -> Answer:
        if request.phase == "manifest":
            return Answer(400, (("Content-Type", "text/plain"),), f"bad: {request.headers}".encode())
        return forward(request)

    with gateway(ends.source.host, echo) as near:
        ran = ends.run("copy", ends.through(ends.manifest("images: [a/b]"), source=near.host), "-vv")
    assert ran.code == 3
    secret = ends.source_authorization.removeprefix("Basic ")
    assert secret not in ran.text
    with sqlite3.connect(ends.folder / "state/m.db") as db:
        assert secret not in "\n".join(db.iterdump())


def test_a_proxy_address_that_is_none_is_said_without_its_password(ends: Ends) -> None:
    manifest = ends.through(ends.manifest("images: ['a/b:1']"), source="old.invalid:5000")
    ran = ends.run("plan", manifest, HTTP_PROXY="http://user:Pa55/word@proxy.example")
    assert ran.code == 2
    assert "a proxy's address in the environment" in ran.err
    assert "Pa55" not in ran.text
