"""Days later: what has changed at the source, and what the target has besides."""

import json

from conftest import Ends
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.gateway import Answer, gateway
from registrylab.images import Image, make_image, make_layer

from migrate.images.delta import Seen, delta
from migrate.images.failures import FailureClass
from migrate.images.plan import Action, Copy, Plan
from migrate.manifest import ImageOptions
from migrate.reference import Reference, Repository

BASE = make_layer("base", 40_000)


def small(name: str) -> Image:
    return make_image([BASE, make_layer(name, 5_000)])


def digest(client: LabClient, repository: str, tag: str) -> str:
    found = client.manifest(repository, tag)
    assert found
    return found.digest


def test_days_later_only_what_changed_is_copied_and_said_to_have(
    ends: Ends, source: LabClient, target: LabClient
) -> None:
    for name in ("one", "two", "three"):
        source.push("a/web", small(name), name)
    source.push("a/old", small("old"), "1")
    manifest = ends.manifest("images: [a]\n")
    first = ends.run("copy", manifest)
    assert "since the last run" not in first.text
    again = ends.run("copy", manifest)
    assert "nothing new at the source (4 tags)" in again.err
    before = digest(source, "a/web", "two")
    source.push("a/web", small("four"), "four")
    source.push("a/web", small("another two"), "two")
    source.delete_manifest("a/web", digest(source, "a/web", "three"))
    source.delete_manifest("a/old", digest(source, "a/old", "1"))

    planned = ends.run("plan", manifest, "--since-last-run")
    assert planned.code == 0, planned.text
    assert "1 new tag, 1 moved, 2 gone, 1 as they were" in planned.out
    lines = {line.split()[1]: line for line in planned.out.splitlines() if line.startswith(("new", "moved", "gone"))}
    assert set(lines) == {"a/web:four", "a/web:two", "a/web:three", "a/old:1"}
    assert f"was {before[:19]}; link: the source tag has moved since" in lines["a/web:two"]
    document = ends.run("plan", manifest, "--since-last-run", "--format", "json").json["since"]
    assert (document["run"], document["unchanged"]) == (2, 1)
    assert [tag["target"].partition("/")[2] for tag in document["new"]] == ["a/web:four"]
    (moved,) = document["moved"]
    assert (moved["before"], moved["now"]) == (before, digest(source, "a/web", "two"))
    assert {tag["source"].partition("@")[0].partition("/")[2] for tag in document["gone"]} == {"a/web:three", "a/old:1"}

    ran = ends.run("copy", manifest, "--format", "json")
    assert ran.code == 0, ran.text
    events = [event["event"] for event in ran.events]
    assert events == ["planned", "since", "skip", "done", "done", "summary"]
    assert {event["target"].partition("/")[2] for event in ran.events if event["event"] == "done"} == {
        "a/web:four",
        "a/web:two",
    }
    assert digest(source, "a/web", "two") != digest(target, "a/web", "two")  # converted to OCI
    later = ends.run("plan", manifest, "--since-last-run")
    assert "nothing new at the source (3 tags)" in later.out
    assert target.tags("a/old") == ["1"], "nothing is deleted"


def test_without_a_run_before_there_is_nothing_to_compare_with(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    ran = ends.run("plan", ends.manifest("images: [a]\n"), "--since-last-run")
    assert ran.code == 2
    assert "there is no state yet" in ran.err
    missing = ends.manifest("images: [a/none]\n")
    assert ends.run("copy", missing).code == 3
    ran = ends.run("plan", missing, "--since-last-run")
    assert ran.code == 2
    assert "state/m.db: no run has found an image at the source yet" in ran.err


def test_what_cannot_be_listed_now_is_not_called_gone(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    source.push("b/web", small("two"), "1")
    assert ends.run("copy", ends.manifest("images: [a/web, b/web]\n")).code == 0
    manifest = ends.manifest("images: [a/web, b/web]\n")
    manifest.write_text(manifest.read_text().replace("LAB_PASSWORD", "NO_PASSWORD"))
    ran = ends.run("plan", manifest, "--since-last-run", NO_PASSWORD="wrong")
    assert ran.code == 4, "the login is asked first"
    only_a = ends.run("plan", ends.manifest("images: [a/web]\n"), "--since-last-run")
    assert "nothing new at the source (1 tag)" in only_a.out, "what the manifest does not ask for has not changed"


def test_tags_that_only_the_target_has_are_listed_and_stay(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/web", small("one"), "1", "2")
    source.push("a/gone", small("two"), "1")
    target.push("a/web", small("theirs"), "theirs")
    target.push("other/web", small("theirs"), "1")
    manifest = ends.manifest("images: [a]\n")
    assert ends.run("copy", manifest).code == 0
    nothing = ends.run("plan", manifest, "--prune-report", "--format", "json").json["leftovers"]
    assert [(each["target"].partition("/")[2], each["putByThisTool"]) for each in nothing] == [("a/web:theirs", False)]
    source.delete_manifest("a/gone", digest(source, "a/gone", "1"))
    source.push("a/web", small("three"), "2")
    source.delete_manifest("a/web", digest(source, "a/web", "1"))
    ran = ends.run("plan", manifest, "--prune-report")
    assert ran.code == 0, ran.text
    for line in (
        "a/gone:1      this tool      a/gone:1 is gone",
        "a/web:1       this tool      a/web:1 is gone",
        "a/web:theirs  somebody else  a/web has no tag theirs",
        "3 tags at the target and not at the source: 2 put there by this tool, 1 by somebody else",
    ):
        assert line in ran.out
    assert "To delete one yourself: oc tag -n a -d " in ran.out
    assert ends.run("copy", manifest).code == 0
    report = ends.run("plan", manifest, "--prune-report", "--format", "json").json["leftovers"]
    assert len(report) == 3, "also after a run that no longer wanted them"
    assert sorted(target.tags("a/web")) == ["1", "2", "theirs"]


def test_tags_that_a_selection_leaves_out_are_not_called_gone(ends: Ends, source: LabClient, target: LabClient) -> None:
    source.push("a/web", small("one"), "1", "2", "rc")
    assert ends.run("copy", ends.manifest("images: [a/web]\n")).code == 0
    narrow = ends.manifest("images: [{from: a/web, tags: {exclude: [rc]}, to: a/web}]\n")
    assert "0 tags at the target and not at the source\n\n" in ends.run("plan", narrow, "--prune-report").out


def test_two_sources_of_one_repository_are_both_asked(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1")
    source.push("c/web", small("two"), "2")
    both = "images: [{from: a/web, to: p/web}, {from: c/web, to: p/web}]\n"
    manifest = ends.manifest(both)
    assert ends.run("copy", manifest).code == 0
    nothing = "0 tags at the target and not at the source\n\n"
    assert nothing in ends.run("plan", manifest, "--prune-report").out
    assert nothing in ends.run("plan", manifest, "--prune-report", "--project", "a").out
    narrow = ends.manifest("images: [{from: a/web, to: p/web}]\n")
    assert nothing in ends.run("plan", narrow, "--prune-report").out, "the source has it, whoever asks for it"
    ends.manifest(both)
    other = ends.run("plan", manifest, "--prune-report", "--project", "a", "--state", "none.db")
    assert nothing in other.out


def test_what_could_not_be_read_once_is_no_news_afterwards(ends: Ends, source: LabClient) -> None:
    for name in ("web", "ok"):
        source.push(f"a/{name}", small(name), "1", "2")
    manifest = ends.manifest("images: [a/web, a/ok]\n")
    assert ends.run("copy", manifest).code == 0
    denied = json.dumps({"errors": [{"code": "DENIED", "message": "no"}]}).encode()
    for phase in ("tags", "manifest"):
        with gateway(ends.source.host) as near:
            near.handle = lambda request, forward, phase=phase: (
                Answer(403, (("Content-Type", "application/json"),), denied)
                if request.phase == phase and "/web/" in request.path
                else forward(request)
            )
            address = ends.source.host
            ends.through(manifest, source=near.host)
            manifest.write_text(manifest.read_text())
            ran = ends.run("copy", manifest)
            assert ran.code == 3, ran.text
            assert "2 gone" not in ran.err
            assert "2 new" not in ran.err
            manifest.write_text(manifest.read_text().replace(near.host, address))


def test_a_tag_under_another_name_or_asked_for_no_more_is_not_gone(ends: Ends, source: LabClient) -> None:
    source.push("a/web", small("one"), "1", "2")
    assert ends.run("copy", ends.manifest("images: [a/web]\n")).code == 0
    narrow = ends.manifest("images: [{from: a/web, tags: {include: ['1']}, to: a/web}]\n")
    assert "nothing new at the source (1 tag)" in ends.run("plan", narrow, "--since-last-run").out
    renamed = ends.manifest("images: [{from: a/web, to: a/site}]\n")
    assert "2 new tags, 0 as they were" in ends.run("plan", renamed, "--since-last-run").out


# --- pure -------------------------------------------------------------------------------------------------------

NAMES = st.tuples(st.sampled_from(["a/x", "a/y", "b/x"]), st.sampled_from("123"))
SOME = st.dictionaries(NAMES, st.sampled_from(["d1", "d2"]), max_size=9)


def wanted(name: tuple[str, str], found: str) -> Copy:
    source = Reference(Repository("old", name[0]), name[1], found)
    return Copy(source, Reference(Repository("new", name[0]), name[1]), Action.COPY, "", ImageOptions())


def seen(name: tuple[str, str], found: str, *, is_wanted: bool = True) -> Seen:
    source, target = (Reference(Repository(host, name[0]), name[1]) for host in ("old", "new"))
    return Seen(source, target, found, arrived=True, wanted=is_wanted)


@given(SOME, SOME)
def test_every_tag_is_new_or_moved_or_as_it_was_or_gone(
    before: dict[tuple[str, str], str], now: dict[tuple[str, str], str]
) -> None:
    plan = Plan(tuple(wanted(*item) for item in now.items()))
    found = delta(plan, [seen(*item) for item in before.items()])
    key = {copy.target: name for name, copy in zip(now, plan.copies, strict=True)}
    assert {key[copy.target] for copy in found.new} == now.keys() - before.keys()
    assert {key[copy.target] for copy, _ in found.moved} == {n for n in now.keys() & before if now[n] != before[n]}
    assert found.unchanged == sum(before.get(name) == digest_ for name, digest_ in now.items())
    projects = {path.partition("/")[0] for path, _ in now}
    gone = {(each.target.repository.path, each.target.tag) for each in found.gone}
    assert gone == {name for name in before.keys() - now if name[0].partition("/")[0] in projects}


@given(SOME, st.sampled_from(["a", "a/x", "b", "b/x"]))
def test_what_could_not_be_listed_is_never_gone(before: dict[tuple[str, str], str], unread: str) -> None:
    place = Repository("old", unread), Repository("new", unread)
    kept = [wanted(("a/none", "1"), "d1"), wanted(("b/none", "1"), "d1")]
    for kind, may_be_gone in ((FailureClass.NETWORK, False), (FailureClass.NOT_FOUND, True)):
        refused = Copy(Reference(place[0]), Reference(place[1]), Action.REFUSED, "", ImageOptions(), failure=kind)
        found = delta(Plan((*kept, refused)), [seen(*item) for item in before.items()])
        under = [each for each in found.gone if f"{each.source.repository.path}/".startswith(f"{unread}/")]
        assert bool(under) is (may_be_gone and any(f"{path}/".startswith(f"{unread}/") for path, _ in before))


def test_what_an_earlier_run_wanted_and_the_last_one_did_not_is_no_news() -> None:
    plan = Plan((wanted(("a/x", "1"), "d1"),))
    found = delta(plan, [seen(("a/x", "1"), "d1"), seen(("a/x", "2"), "d1", is_wanted=False)])
    assert (found.new, found.moved, found.gone, found.unchanged) == ((), (), (), 1)
