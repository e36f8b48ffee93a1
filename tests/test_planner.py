"""Decisions of the planner, against registries that are dictionaries: pure, and many of them."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registrylab.images import Image, make_image, make_index, make_layer

from migrate.images.failures import Failure, FailureClass
from migrate.images.formats import ImageManifest, parse_image_manifest
from migrate.images.lookups import Lookups
from migrate.images.plan import Action, Delivered, Plan
from migrate.images.planner import Scope, make_plan
from migrate.images.registry import Found, RegistryError
from migrate.manifest import parse_manifest
from migrate.reference import parse_reference

LAYERS = [make_layer(f"layer-{n}", 200) for n in range(6)]


class DictRegistry:
    """The reading half of a registry, from a dictionary; counts what it is asked."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, ImageManifest]] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.listed: Counter[str] = Counter()
        self.broken: dict[str, Failure] = {}

    def push(self, repository: str, tag: str, image: Image) -> ImageManifest:
        return self.put(repository, tag, parse_image_manifest(image.body, image.media_type), image.blobs)

    def put(self, repository: str, tag: str, manifest: ImageManifest, blobs: dict[str, bytes]) -> ImageManifest:
        self.blobs.update(blobs)
        self.repositories.setdefault(repository, {}).update({tag: manifest, manifest.digest: manifest})
        return manifest

    def _check(self, repository: str) -> None:
        if repository in self.broken:
            raise RegistryError(repository, self.broken[repository])

    def catalog(self) -> Iterator[str]:
        self._check("catalog")
        return iter(self.repositories)

    def tags(self, repository: str) -> Iterator[str]:
        self.listed[repository] += 1
        self._check(repository)
        if repository not in self.repositories:
            raise RegistryError(repository, Failure(FailureClass.NOT_FOUND, "name unknown"))
        return iter([tag for tag in self.repositories[repository] if ":" not in tag])

    def find_manifest(self, repository: str, identifier: str) -> Found | None:
        self.asked["find"] += 1
        self._check(repository)
        manifest = self.repositories.get(repository, {}).get(identifier)
        return Found(manifest.digest, manifest.media_type) if manifest else None

    def manifest(self, repository: str, identifier: str) -> ImageManifest:
        self.asked[f"manifest {identifier}"] += 1
        if identifier not in self.repositories.get(repository, {}):
            raise RegistryError(repository, Failure(FailureClass.NOT_FOUND, "manifest unknown"))
        return self.repositories[repository][identifier]

    def small_blob(self, repository: str, digest: str) -> bytes:
        self.asked["blob"] += 1
        return self.blobs[digest]

    def blob_size(self, repository: str, digest: str) -> int | None:
        return len(self.blobs[digest]) if digest in self.blobs else None


class World:
    """A source and a target, and plans between them."""

    def __init__(self) -> None:
        self.source, self.target = DictRegistry(), DictRegistry()
        self.delivered: dict[str, Delivered] = {}

    def plan(self, body: str, **scope: object) -> Plan:
        head = "version: 1\nsource: {registry: 'old:1'}\ntarget: {registry: 'new:1'}\n"
        manifest = parse_manifest((head + body).encode(), Path("m.yaml"))
        look = Lookups({"old:1": self.source, "new:1": self.target}.__getitem__, lambda _: None)
        with ThreadPoolExecutor(4) as executor:
            return make_plan(manifest.images, Scope("new:1", self.delivered, **scope), look, executor)

    def carry_out(self, plan: Plan) -> None:
        """What a copy would leave behind, at the target and in memory."""
        for copy in plan.copies:
            if copy.action in (Action.COPY, Action.LINK):
                assert copy.delivery
                assert copy.delivery.top
                self.target.put(copy.target.repository.path, copy.target.tag, copy.delivery.top, self.source.blobs)
                self.delivered[str(copy.target)] = {copy.delivery.top.digest: copy.source.digest}


@pytest.fixture
def world() -> World:
    return World()


def image(*layers: int, **options: object) -> Image:
    return make_image([LAYERS[n] for n in layers], **options)  # type: ignore[arg-type]


def actions(plan: Plan) -> dict[str, str]:
    return {copy.target.short: str(copy.action) for copy in plan.copies}


def test_a_tag_costs_one_question_at_each_end(world: World) -> None:
    for tag in ("1", "2", "3"):
        world.source.push("a/b", tag, image(0, 1))
        world.source.push("a/c", tag, image(0, 1))
    first = world.plan("images: [a]")
    assert world.source.asked == Counter({"manifest 1": 2, "manifest 2": 2, "manifest 3": 2})  # read, not looked at
    assert world.target.asked == Counter(), "two lists of tags tell that nothing is there"
    world.carry_out(first)
    world.source.asked.clear()
    world.plan("images: [a]")
    digest = first.copies[0].source.digest
    assert world.source.asked == Counter({"find": 6, f"manifest {digest}": 1})  # each distinct manifest once
    assert world.target.asked == Counter({"find": 6})


def test_what_the_list_of_tags_has_is_looked_at(world: World) -> None:
    for tag in ("1", "2", "3"):
        world.source.push("a/b", tag, image(0, 1))
    world.target.push("a/b", "2", image(3))
    assert actions(world.plan("images: [a]")) == {"a/b:1": "copy", "a/b:2": "conflict", "a/b:3": "link"}
    assert world.target.asked["find"] == 1
    world.target.broken["a/b"] = Failure(FailureClass.DENIED, "HTTP 401 Unauthorized")
    assert set(actions(world.plan("images: [a]")).values()) == {"refused"}


def test_a_hub_that_counts_what_is_read_is_looked_at(world: World) -> None:
    looks = Lookups({"docker.io": world.source}.__getitem__, lambda _: None)
    world.source.push("library/x", "1", image(0))
    tag = parse_reference("docker.io/library/x:1", "")
    assert looks.find_and_read(tag) == looks.find(tag)
    assert world.source.asked == Counter({"find": 2})


@pytest.mark.parametrize(
    ("held", "link_max", "action", "words"),
    [
        ([0, 1, 2], 10_000, "link", "all but"),
        ([0, 1, 2], 200, "copy", "not at the target yet"),
        ([0, 1, 2], 0, "copy", "not at the target yet"),
        ([0], 10_000, "copy", "not at the target yet"),
        ([], 10_000, "copy", "not at the target yet"),
        ([0, 1, 2, 3, "config"], 1, "link", "all of it is at the target"),
    ],
)
def test_what_is_nearly_there_is_linked(
    world: World, held: list[int | str], link_max: int, action: str, words: str
) -> None:
    pushed = world.source.push("a/b", "1", image(0, 1, 2, 3))
    digests = [pushed.config.digest if which == "config" else LAYERS[int(which)].digest for which in held]
    plan = world.plan("images: [a]", link_max=link_max, held={digest: {"x/y"} for digest in digests})
    assert actions(plan) == {"a/b:1": action}
    assert words in plan.copies[0].reason


def test_overlapping_entries_are_one_wish_and_the_most_particular_options_hold(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    world.source.push("a/b", "2", image(1))
    plan = world.plan("images: [{from: 'a/b:1', format: docker}, a, a/b]")
    assert {copy.target.tag: copy.options.format for copy in plan.copies} == {"1": "docker", "2": "oci"}


def test_an_entry_with_a_new_name_adds_and_takes_nothing_away(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    plan = world.plan("images: [a, {from: a/b, to: a/c}]")
    assert set(actions(plan)) == {"a/b:1", "a/c:1"}


def test_a_project_that_cannot_be_listed_says_to_list_its_repositories(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    world.source.broken["catalog"] = Failure(FailureClass.DENIED, "HTTP 401 Unauthorized")
    plan = world.plan("images: [a, a/b]")
    refused = [copy.reason for copy in plan.copies if copy.action is Action.REFUSED]
    assert len(refused) == 1
    assert "list them in the manifest: a/<image stream>" in refused[0]
    assert plan.count(Action.COPY) == 1


def test_one_unreadable_repository_does_not_fail_the_others(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    world.source.push("a/c", "1", image(1))
    world.source.broken["a/c"] = Failure(FailureClass.UNAVAILABLE, "HTTP 500")
    assert sorted(actions(world.plan("images: [a]")).values()) == ["copy", "refused"]


def test_a_selector_that_lets_nothing_pass_is_said(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    plan = world.plan("images: [{from: a/b, tags: {include: ['9*']}}]")
    assert plan.copies[0].action is Action.REFUSED
    assert "no tag passes `tags`; a/b has 1 tag: 1" in plan.copies[0].reason


def test_tags_that_are_not_there_come_with_those_that_are_and_one_question_a_repository(world: World) -> None:
    for tag in "1234567":
        world.source.push("a/b", tag, image(0))
    plan = world.plan("images: ['a/b:8', 'a/b:9', 'a/c:1', 'a/b:7']")
    reasons = {copy.source.short: copy.reason for copy in plan.copies}
    assert reasons["a/b:8"] == reasons["a/b:9"]
    assert reasons["a/b:8"].endswith(": a/b has 7 tags: 1, 2, 3, 4, 5, ...")
    assert reasons["a/c:1"].endswith("no such image, tag or repository")
    assert [copy.failure for copy in plan.copies[:3]] == [FailureClass.NOT_FOUND] * 3
    assert world.source.listed["a/b"] == 1


def test_an_image_that_is_too_large_for_the_target_is_refused_before_a_byte(world: World) -> None:
    world.source.push("a/b", "1", image(0, 1))
    plan = world.plan("images: [a]", max_image_size=100)
    assert plan.copies[0].failure is FailureClass.TOO_LARGE
    assert "the target takes 100 B at most" in plan.copies[0].reason


def test_what_was_put_here_follows_its_source_and_what_others_put_does_not(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    world.carry_out(world.plan("images: [a]"))
    world.source.push("a/b", "1", image(1))
    assert actions(world.plan("images: [a]")) == {"a/b:1": "copy"}
    world.delivered.clear()
    plan = world.plan("images: [a]")
    assert actions(plan) == {"a/b:1": "conflict"}
    assert "no run of this state put it there" in plan.copies[0].reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", ("the list becomes a single image (linux/amd64)",)),
        ("format: keep", ("the list becomes a single image (linux/amd64)",)),
        ("platforms: all", ()),
        ("platforms: all, format: keep", ()),
    ],
)
def test_a_list_of_one_that_becomes_a_single_image_is_said(world: World, options: str, words: tuple[str, ...]) -> None:
    only = image(0)
    manifest = world.source.push("a/multi", "1", make_index({"linux/amd64": only}))
    world.source.push("a/multi", only.digest, only)
    plan = world.plan(f"images: [a]\ndefaults: {{{options}}}")
    assert manifest.digest == plan.copies[0].source.digest
    assert plan.copies[0].warnings == words


@pytest.mark.parametrize(("policy", "action"), [("fail", "conflict"), ("skip", "skip"), ("overwrite", "copy")])
def test_on_conflict_decides_about_content_of_others(world: World, policy: str, action: str) -> None:
    world.source.push("a/b", "1", image(0))
    world.target.push("a/b", "1", image(1, family="oci"))
    plan = world.plan(f"images: [a]\ndefaults: {{onConflict: {policy}}}")
    assert actions(plan) == {"a/b:1": action}
    assert "layers differ" in plan.copies[0].reason


def test_the_same_content_by_another_conversion_is_there_already(world: World) -> None:
    world.source.push("a/b", "1", image(0, 1, config={"Cmd": ["x"], "OnBuild": ["y"]}))
    world.target.push("a/b", "1", image(0, 1, family="oci", config={"Cmd": ["x"]}))
    assert actions(world.plan("images: [a]")) == {"a/b:1": "skip"}


def test_a_changed_wish_replaces_what_was_put_here(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    world.carry_out(world.plan("images: [a]"))
    plan = world.plan("images: [{from: a/b, format: docker}]")
    assert plan.copies[0].reason == "wanted in another form now"


IMAGES = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)
POPULATIONS = st.dictionaries(
    st.tuples(st.sampled_from(["a/x", "a/y", "b/x", "b/z"]), st.sampled_from(["1", "2", "latest"])), IMAGES, max_size=10
)
POLICIES = st.sampled_from(["fail", "skip", "overwrite"])


@given(POPULATIONS, POPULATIONS, POLICIES, st.booleans())
def test_a_plan_is_complete_lawful_and_ends(
    source: dict[tuple[str, str], list[int]], target: dict[tuple[str, str], list[int]], policy: str, remembers: bool
) -> None:
    world = World()
    for (repository, tag), layers in source.items():
        world.source.push(repository, tag, image(*layers))
    for (repository, tag), layers in target.items():
        world.target.push(repository, tag, image(*layers, family="oci"))
    names = sorted({repository for repository, _ in source})
    if not names:
        return
    body = f"images: {json.dumps(names)}\ndefaults: {{onConflict: {policy}}}"
    plan = world.plan(body)
    assert Counter(copy.target.short for copy in plan.copies) == Counter({f"{r}:{t}": 1 for r, t in source})
    there = dict(world.target.repositories.get("a/x", {}))
    for copy in plan.copies:
        known = world.target.repositories.get(copy.target.repository.path, {}).get(copy.target.tag)
        if copy.action is Action.LINK:
            assert copy.delivery
            assert copy.delivery.top
        if copy.action is Action.CONFLICT:
            assert policy == "fail"
            assert known
        if known and policy == "fail":
            assert copy.action in (Action.SKIP, Action.CONFLICT)
    assert world.target.repositories.get("a/x", {}) == there
    world.carry_out(plan)
    if not remembers:
        world.delivered.clear()
    again = world.plan(body)
    assert again.count(Action.COPY) == again.count(Action.LINK) == 0
    assert again.count(Action.CONFLICT) == plan.count(Action.CONFLICT)


def test_bytes_to_move_are_those_that_the_target_lacks(world: World) -> None:
    world.source.push("a/b", "1", image(0, 1))
    world.carry_out(world.plan("images: [a]"))
    world.source.push("a/b", "2", image(0, 1, 2))
    plan = world.plan("images: [a]")
    new = plan.copies[1].delivery
    assert new
    known = {blob.digest for copy in plan.copies[:1] if copy.delivery for blob in copy.delivery.blobs}
    assert plan.graph.crossing_bytes == sum(blob.size for blob in new.blobs if blob.digest not in known)
    assert plan.graph.total_bytes == new.size


def test_names_that_can_be_no_tags_are_said_and_not_dropped(world: World) -> None:
    world.source.push("a/b", "1", image(0))
    world.source.push("a/b", "-\x1b[31mred", image(1))
    plan = world.plan("images: [a]")
    assert [copy.action for copy in plan.copies] == [Action.REFUSED, Action.COPY]
    assert "1 name in its tag list can be no tag: '- [31mred'" in plan.copies[0].reason
