"""The gateway of the tests themselves: it must change nothing of what it only passes on."""

from dataclasses import replace

import httpx2
import pytest
from conftest import Ends
from registrylab.client import LabClient, missing_from, skopeo_copy
from registrylab.gateway import Answer, Forward, Gateway, Request, Reset, gateway
from registrylab.images import make_image, make_layer
from registrylab.registry import LabRegistry

IMAGE = make_image([make_layer("one", 100_000), make_layer("two", 10)])


def through(lab: LabRegistry, passing: Gateway) -> LabRegistry:
    return replace(lab, host=passing.host)


def test_a_gateway_that_passes_on_is_not_seen(ends: Ends, target: LabClient) -> None:
    with gateway(ends.target.host) as passing:
        near = through(ends.target, passing)
        with LabClient(near) as client:
            client.push("a/b", IMAGE, "1")
            assert missing_from(client, "a/b", "1") == []
            skopeo_copy(near, "a/b:1", "c/d:2", "--format", "oci")
            assert client.tags("c/d") == ["2"]
            skopeo_copy(near, "c/d:2", "c/e:3")
        assert missing_from(target, "c/d", "2") == missing_from(target, "c/e", "3") == []
        phases = {request.phase for request in passing.seen}
        assert {"ping", "blob", "upload", "commit", "manifest", "manifest put"} <= phases
        assert {r.repository for r in passing.asked("commit")} == {"a/b", "c/d", "c/e"}


def test_a_handler_answers_changes_cuts_and_resets(ends: Ends) -> None:
    def handle(request: Request, forward: Forward) -> Answer:
        if request.path.endswith("/reset"):
            raise Reset
        if request.path.endswith("/cut"):
            return Answer(200, (("Content-Length", "100"),), b"x" * 100, cut=10)
        return replace(forward(request), status=418).with_headers(X_Changed="yes")

    with gateway(ends.target.host, handle) as passing, httpx2.Client(base_url=f"http://{passing.host}") as http:
        answer = http.get("/v2/")
        assert (answer.status_code, answer.headers["X-Changed"]) == (418, "yes")
        with pytest.raises(httpx2.HTTPError):
            http.get("/reset")
        with pytest.raises(httpx2.HTTPError):
            http.get("/cut")
        passing.refuse()
        with pytest.raises(httpx2.HTTPError):
            http.get("/v2/")
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"http://{passing.host}/v2/")
