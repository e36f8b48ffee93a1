"""Image streams of two clusters: stored, external and alias tags, each of which ends right."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clusters import NEW_TOKEN, OLD_TOKEN, Clusters, image, two_clusters
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.gateway import Answer
from registrylab.kubeapi import Fault
from registrylab.registry import registry

from migrate.cluster import Cluster
from migrate.credentials import ApiAccess
from migrate.images.failures import FailureClass
from migrate.images.plan import Action, Copy
from migrate.images.streams import Kept, stream_of
from migrate.images.target_streams import make_alias
from migrate.manifest import ImageOptions
from migrate.reference import Reference, Repository

MOVE = "images: [my-app]\n"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        yield made


def stream(both: Clusters, name: str) -> dict[str, Any]:
    found = both.new.get("ImageStream", "my-app-2", name)
    assert found
    return found


def alias(both: Clusters, name: str, follows: str) -> None:
    """`oc tag --alias` on the old cluster."""
    origin = {"kind": "ImageStreamTag", "name": follows, "namespace": "my-app"}
    tag = {"name": name.partition(":")[2], "from": origin, "referencePolicy": {"type": "Local"}}
    sent = {"kind": "ImageStreamTag", "apiVersion": "image.openshift.io/v1", "metadata": {"name": name}, "tag": tag}
    path = "/apis/image.openshift.io/v1/namespaces/my-app/imagestreamtags"
    headers = {"Authorization": f"Bearer {OLD_TOKEN}"}
    answer = httpx2.post(f"{both.old.api_url}{path}", json=sent, headers=headers)
    assert answer.status_code == 201, answer.text


def seed(both: Clusters, name: str, tags: list[dict[str, Any]], spec: list[dict[str, Any]], **more: Any) -> None:
    """An image stream of the old cluster as an import would have left it."""
    metadata = {"name": name, "namespace": "my-app", **more}
    both.old.apply({"kind": "ImageStream", "metadata": metadata, "spec": {"tags": spec}, "status": {"tags": tags}})


def test_a_project_is_listed_by_one_question_and_its_tags_by_none(both: Clusters) -> None:
    for name in ("api", "web"):
        both.push(both.old, OLD_TOKEN, f"my-app/{name}", "1", "2")
    manifest = both.manifest(MOVE)
    plan = both.run("plan", manifest, "--format", "json")
    assert plan.code == 0, plan.text
    assert len(plan.json["copies"]) == 4
    assert [r.path for r in both.old.registry.seen if r.phase == "tags"] == []
    asked = [r for r in both.old.registry.seen if r.phase == "manifest" and r.method == "HEAD"]
    assert asked == []
    assert sum("imagestreams" in request.path for request in both.old.api.seen) == 1


def test_a_later_run_asks_both_clusters_for_their_streams_and_the_registries_for_no_tag(both: Clusters) -> None:
    for name in ("api", "web"):
        both.push(both.old, OLD_TOKEN, f"my-app/{name}", "1", "2")
    manifest = both.manifest(MOVE)
    assert both.run("copy", manifest).code == 0
    both.push(both.old, OLD_TOKEN, "my-app/new", "1")
    with both.pushed(both.new, NEW_TOKEN) as client:
        client.push("my-app-2/web", image("another"), "2")
    ends = (both.old.registry, both.new.registry)
    before = [len(end.seen) for end in ends]
    plan = both.run("plan", manifest, "--format", "json")
    assert plan.code == 3, plan.text
    assert plan.json["counts"] == {"copy": 0, "link": 1, "skip": 3, "conflict": 1, "refused": 0}
    asked = [request.path for end, past in zip(ends, before, strict=True) for request in end.seen[past:]]
    named = [path for path in asked if re.search(r"/manifests/\d$|/tags/", path)]
    assert named == ["/v2/my-app-2/new/manifests/1"], "what has no image stream yet is looked at"


def test_image_streams_are_made_first_with_labels_and_lookup_policy(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    old = both.old.get("ImageStream", "my-app", "web")
    assert old
    old["metadata"]["labels"] = {"app": "shop"}
    old["spec"]["lookupPolicy"] = {"local": True}
    both.old.apply({**old, "kind": "ImageStream"})
    ran = both.run("run", both.manifest(MOVE))
    assert ran.code == 0, ran.text
    made = stream(both, "web")
    assert made["metadata"]["labels"] == {"app": "shop"}
    assert made["spec"]["lookupPolicy"] == {"local": True}
    assert [tag["tag"] for tag in made["status"]["tags"]] == ["1"]


def test_what_is_not_to_be_carried_is_not(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    old = both.old.get("ImageStream", "my-app", "web")
    assert old
    old["metadata"]["labels"] = {"app": "shop"}
    both.old.apply({**old, "kind": "ImageStream"})
    assert both.run("copy", both.manifest(f"{MOVE}imageStreams: {{carry: [lookupPolicy]}}\n")).code == 0
    assert "labels" not in stream(both, "web")["metadata"]


def test_an_alias_is_made_again_as_an_alias(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1.4")
    alias(both, "web:prod", "web:1.4")
    alias(both, "other:stable", "web:prod")
    manifest = both.manifest(MOVE)
    plan = both.run("plan", manifest)
    assert "made again as an alias of my-app-2/web:1.4" in plan.out
    ran = both.run("run", manifest)
    assert ran.code == 0, ran.text
    assert "3 done" in ran.out
    (tag,) = stream(both, "web")["spec"]["tags"]
    assert (tag["name"], tag["from"]["name"], tag["referencePolicy"]["type"]) == ("prod", "web:1.4", "Local")
    assert stream(both, "other")["spec"]["tags"][0]["from"]["name"] == "web:prod"
    listed = sum(asked.path.partition("?")[0].endswith("my-app/imagestreams") for asked in both.old.api.seen)
    assert listed == 3, "once by plan, once by the copy of run, once by its verification"
    statuses = [tag for name in ("web", "other") for tag in stream(both, name)["status"]["tags"]]
    assert len(statuses) == 3
    assert len({tag["items"][0]["image"] for tag in statuses}) == 1
    assert "nothing to do: 3 tags at the target already" in both.run("copy", manifest).out


def test_an_alias_without_what_it_follows_is_a_tag_of_its_own(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1.4")
    alias(both, "web:prod", "web:1.4")
    manifest = both.manifest("images: ['my-app/web:prod']\n")
    assert (
        "it followed my-app/web:1.4; here a tag of its own, for my-app/web:1.4 is not moved"
        in both.run("plan", manifest).out
    )
    assert both.run("copy", manifest).code == 0
    assert "tags" not in stream(both, "web")["spec"]


def test_what_was_pushed_over_an_alias_is_a_tag_of_its_own(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1.4")
    alias(both, "web:prod", "web:1.4")
    with both.pushed(both.old, OLD_TOKEN) as client:
        digest = client.push("my-app/web", image("newer"), "prod")
    assert both.run("copy", both.manifest(MOVE)).code == 0
    tags = {tag["tag"]: tag["items"][0]["image"] for tag in stream(both, "web")["status"]["tags"]}
    assert tags["prod"] != tags["1.4"]
    assert digest


@pytest.mark.parametrize("on_conflict", ["fail", "skip"])
def test_an_alias_does_not_follow_what_somebody_else_put_there(both: Clusters, on_conflict: str) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1.4")
    alias(both, "web:prod", "web:1.4")
    with both.pushed(both.new, NEW_TOKEN) as client:
        client.push("my-app-2/web", image("foreign"), "1.4")
    ran = both.run("copy", both.manifest(f"{MOVE}defaults: {{onConflict: {on_conflict}}}\n"))
    assert ran.code == 3
    assert "what it follows, my-app-2/web:1.4, holds other content at the target" in ran.text
    assert [tag["tag"] for tag in stream(both, "web")["status"]["tags"]] == ["1.4"]


@pytest.mark.parametrize("on_conflict", ["fail", "skip"])
def test_an_alias_of_what_skopeo_converts_does_not_follow_what_somebody_else_put_there(
    both: Clusters, on_conflict: str
) -> None:
    """The digest of what skopeo makes is not known before, so there is nothing to compare with but what arrived."""
    both.push(both.old, OLD_TOKEN, "my-app/web", "1.4", "2")
    alias(both, "web:prod", "web:1.4")
    alias(both, "web:next", "web:2")
    with both.pushed(both.new, NEW_TOKEN) as client:
        client.push("my-app-2/web", image("foreign"), "1.4")
    manifest = both.manifest(f"{MOVE}defaults: {{engine: skopeo, onConflict: {on_conflict}}}\n")
    ran = both.run("copy", manifest)
    assert ran.code == 3
    assert "what it follows, my-app-2/web:1.4, does not hold the source's image" in ran.text
    assert sorted(tag["tag"] for tag in stream(both, "web")["status"]["tags"]) == ["1.4", "2", "next"]
    both.old.registry.seen.clear()
    again = both.run("copy", manifest)
    assert (again.code, "does not hold" in again.text) == (3, True), again.text


def test_tags_that_follow_each_other_are_moved(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "x", "y")
    old = both.old.get("ImageStream", "my-app", "web")
    assert old
    spec = [{"name": a, "from": {"kind": "ImageStreamTag", "name": f"web:{b}"}} for a, b in (("x", "y"), ("y", "x"))]
    both.old.apply({**old, "kind": "ImageStream", "spec": {"tags": spec}})
    manifest = both.manifest(MOVE)
    ran = both.run("copy", manifest)
    assert (ran.code, "2 done" in ran.out) == (0, True), ran.text
    (tag,) = stream(both, "web")["spec"]["tags"]
    assert (tag["name"], tag["from"]["name"]) == ("y", "web:x")
    assert "nothing to do: 2 tags" in both.run("copy", manifest).out


def test_an_alias_is_not_made_over_what_was_pushed_meanwhile(both: Clusters) -> None:
    copied = make_image_copy("")
    assert copied.alias
    digests: dict[Reference, str] = {copied.alias: DIGEST, copied.target: f"sha256:{'b' * 64}"}
    made = make_alias(
        Cluster(ApiAccess("a test", {"server": both.new.api_url})), lambda t: digests[t], copied, "", DIGEST
    )
    assert made.failure
    assert made.failure.kind is FailureClass.CONFLICT
    assert "was not there when planned" in made.failure.words


def make_image_copy(present: str) -> Copy:
    repository = Repository("new.example", "my-app-2/web")
    tags = [repository.tagged(name) for name in ("prod", "1.4")]
    return Copy(tags[0], tags[0], Action.LINK, "", ImageOptions(), present=present, alias=tags[1])


def test_an_external_image_comes_from_upstream_where_the_old_registry_does_not_give_it(
    both: Clusters, tmp_path: Path
) -> None:
    with registry(folder=tmp_path / "hub") as hub, LabClient(hub) as client:
        digest = client.push("library/base", image("upstream"), "7")
        reference = f"{hub.host}/library/base@{digest}"
        items = [
            {"image": digest, "dockerImageReference": reference, "created": "2020-01-01T00:00:00Z", "generation": 1}
        ]
        origin = {"kind": "DockerImage", "name": f"{hub.host}/library/base:7"}
        seed(both, "base", [{"tag": "7", "items": items}], [{"name": "7", "from": origin}])
        manifest = both.manifest(MOVE)
        ran = both.run("plan", manifest)
        assert f"kept at {hub.host}/library/base, and read from there" in ran.out, ran.text


def test_an_external_image_of_a_registry_that_is_gone_costs_that_tag_alone(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gone = f"127.0.0.1:{listening.getsockname()[1]}"
    reference = f"{gone}/library/base@{DIGEST}"
    items = [{"image": DIGEST, "dockerImageReference": reference, "created": "2020-01-01T00:00:00Z", "generation": 1}]
    origin = {"kind": "DockerImage", "name": f"{gone}/library/base:7"}
    seed(both, "base", [{"tag": "7", "items": items}], [{"name": "7", "from": origin}])
    ran = both.run("run", both.manifest(f"{MOVE}transfer: {{patience: 2s}}\n"))
    assert ran.code == 3, ran.text
    assert "1 done" in ran.out
    assert f"my-app-2/base:7: the source image cannot be read from {gone}: no answer for" in ran.out


def test_a_tag_that_was_never_imported_is_said_and_fails_nothing(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    seed(both, "gone", [], [{"name": "7", "from": {"kind": "DockerImage", "name": "docker.io/x/y:7"}}])
    ran = both.run("copy", both.manifest(MOVE))
    assert ran.code == 0, ran.text
    assert "my-app/gone:7: it names docker.io/x/y:7 and was never imported" in ran.text


def test_a_limit_range_is_known_before_a_byte_is_sent(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    limit = {"type": "openshift.io/Image", "max": {"storage": "1k"}}
    both.new.apply(
        {"kind": "LimitRange", "metadata": {"name": "l", "namespace": "my-app-2"}, "spec": {"limits": [limit]}}
    )
    ran = both.run("copy", both.manifest(MOVE))
    assert ran.code == 3
    assert "too-large" in ran.out
    assert [r for r in both.new.registry.seen if r.phase == "upload"] == []


def answering(path: str, document: object) -> Fault:
    answer = Answer(200, (("Content-Type", "application/json"),), json.dumps(document).encode())
    return lambda asked: answer if asked.path.partition("?")[0].endswith(path) else None


@pytest.mark.parametrize(
    "items",
    [
        [None], [{}], [{"metadata": None}], [{"metadata": {"labels": ["a"]}}], [{"spec": [1]}],
        [{"spec": {"limits": [1]}}],
        [{"spec": {"limits": [{"type": "openshift.io/Image", "max": "1"}]}}], "abc", None,
    ],
)  # fmt: skip
def test_whatever_lists_hold_ends_nothing(both: Clusters, items: object) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    for kind in ("imagestreams", "limitranges"):
        both.new.api.faults.append(answering(f"my-app-2/{kind}", {"items": items, "metadata": {}}))
    ran = both.run("copy", both.manifest(MOVE))
    assert (ran.code, "1 done" in ran.out) == (0, True), ran.text


@pytest.mark.parametrize(
    "stream",
    [
        {"metadata": None},
        {"metadata": {"name": "web", "namespace": "other"}, "spec": None, "status": {"tags": None}},
        {
            "metadata": {"name": "odd", "namespace": "my-app"},
            "status": {
                "tags": [{"tag": "1", "items": [{"image": "abc", "dockerImageReference": "docker.io/x/y@abc"}]}]
            },
        },
    ],
)
def test_whatever_an_old_stream_is_the_others_are_moved(both: Clusters, stream: object) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    real = both.old.get("ImageStream", "my-app", "web")
    both.old.api.faults.append(answering("my-app/imagestreams", {"items": [stream, real], "metadata": {}}))
    ran = both.run("copy", both.manifest(MOVE))
    assert "1 done" in ran.out, ran.text
    assert "bug" not in ran.text


def test_a_stream_that_may_not_be_made_is_explained(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    both.new.quotas["my-app-2", "ImageStream"] = 0
    ran = both.run("copy", both.manifest(MOVE))
    assert ran.code == 3
    assert "the image stream could not be made before: " in ran.out
    assert "exceeded quota" in ran.out
    assert "oc describe quota -n my-app-2" in ran.out


def test_verify_looks_at_the_image_stream_tag_too(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    manifest = both.manifest(MOVE)
    assert both.run("run", manifest).code == 0
    made = stream(both, "web")
    items = [{"image": f"sha256:{'0' * 64}", "dockerImageReference": "x", "created": "2020-01-01T00:00:00Z"}]
    listing = "/namespaces/my-app-2/imagestreams"
    both.new.api.faults.append(
        lambda asked: _list(made, items) if asked.path.partition("?")[0].endswith(listing) else None
    )
    ran = both.run("verify", manifest)
    assert ran.code == 3
    assert "the registry has it, but its image stream tag names sha256:0000" in ran.out


def _list(made: dict[str, Any], items: list[dict[str, Any]]) -> Any:

    document = {**made, "status": {"tags": [{"tag": "1", "items": items}]}}
    return Answer(
        200, (("Content-Type", "application/json"),), json.dumps({"items": [document], "metadata": {}}).encode()
    )


def test_without_a_right_to_list_the_registry_is_asked(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/web", "1")
    both.old.add_user("carl", "sha256~carl")
    both.old.bind("my-app", "system:image-puller", both.subject("User", "carl"))
    both.login("old", both.old, "sha256~carl")
    ran = both.run("copy", both.manifest("images: [my-app/web]\n"))
    assert ran.code == 0, ran.text
    assert "the image streams of my-app cannot be listed" in ran.err
    assert "1 done" in ran.out


# --- parsing ----------------------------------------------------------------------------------------------------

DIGEST = f"sha256:{'a' * 64}"


def parsed(spec: dict[str, Any], reference: str = "") -> Any:
    items = [{"image": DIGEST, "dockerImageReference": reference}] if reference else []
    status = {"dockerImageRepository": "old.svc:5000/p/s", "tags": [{"tag": "t", "items": items}]}
    document = {"metadata": {"namespace": "p", "name": "s"}, "spec": {"tags": [spec]}, "status": status}
    return stream_of(document, {"public.example"}).tags["t"]


@pytest.mark.parametrize(
    ("spec", "reference", "kept"),
    [
        ({"name": "t"}, f"old.svc:5000/p/s@{DIGEST}", Kept.STORED),
        ({"name": "t"}, f"public.example/q/r@{DIGEST}", Kept.STORED),
        ({"name": "t", "from": {"kind": "DockerImage", "name": "x"}}, f"docker.io/x/y@{DIGEST}", Kept.EXTERNAL),
        ({"name": "t", "from": {"kind": "ImageStreamTag", "name": "u"}}, f"old.svc:5000/p/s@{DIGEST}", Kept.ALIAS),
        ({"name": "t", "from": {"kind": "ImageStreamTag", "name": "t"}}, f"old.svc:5000/p/s@{DIGEST}", Kept.STORED),
        (
            {"name": "t", "from": {"kind": "ImageStreamImage", "name": f"s@{DIGEST}"}},
            f"old.svc:5000/p/s@{DIGEST}",
            Kept.STORED,
        ),
        ({"name": "t", "from": {"kind": "DockerImage", "name": "x"}}, "", Kept.NOWHERE),
    ],
)
def test_what_a_tag_is(spec: dict[str, Any], reference: str, kept: Kept) -> None:
    assert parsed(spec, reference).kept is kept


def test_an_alias_names_its_own_stream_without_a_colon_and_its_own_project_without_a_namespace() -> None:
    def follows(**origin: str) -> Any:
        spec = {"name": "t", "from": {"kind": "ImageStreamTag", **origin}}
        return parsed(spec, f"old.svc:5000/p/s@{DIGEST}").follows

    assert follows(name="u") == ("p", "s", "u")
    assert follows(name="o:u") == ("p", "o", "u")
    assert follows(name="o:u", namespace="q") == ("q", "o", "u")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(st.fixed_dictionaries({}, optional={"metadata": JSON, "spec": JSON, "status": JSON}))
def test_whatever_an_api_answers_is_an_image_stream(document: dict[str, Any]) -> None:
    stream_of(document, set())
