"""Who may pull, where others work at the same time, answers get lost, and things are not what they should be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import BOB_TOKEN, NEW_TOKEN, OLD_TOKEN, Clusters, two_clusters
from registrylab.gateway import Answer, Request

WEB = "my-app-2/web:1"
VIEWER = "rahti-migrate-registry-viewer"
JSON = (("Content-Type", "application/json"),)
REFUSED = Answer(403, JSON, b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","code":403}')
ONE_STREAM = {"apiGroups": ["image.openshift.io"], "resources": ["imagestreams/layers"], "verbs": ["get"]}


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        for name in ("web", "api"):
            made.push(made.new, NEW_TOKEN, f"my-app-2/{name}", "1")
        yield made


def put_into(both: Clusters, name: str, user: str) -> None:
    """Somebody adds a user to a binding of ours."""
    there = both.new.get("RoleBinding", "my-app-2", name)
    assert there
    subjects = [*(there.get("subjects") or ()), both.subject("User", user)]
    both.new.apply({**there, "kind": "RoleBinding", "subjects": subjects})


def once(method: str, part: str, act: Any) -> Any:
    """A fault that acts at the first such request."""
    waiting = [act]

    def fault(asked: Request) -> Answer | None:
        if waiting and asked.method == method and part in asked.path:
            return waiting.pop()(asked)  # type: ignore[no-any-return]
        return None

    return fault


# --- at the same time -------------------------------------------------------------------------------------------


def test_a_role_stays_while_the_binding_that_points_at_it_could_not_be_taken_back(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous], images: [web]}]")
    assert both.run("access", "apply", manifest).code == 0
    (name,) = both.ours()
    both.new.api.faults.append(once("DELETE", "/rolebindings", lambda _: put_into(both, name, "bob")))
    ran = both.run("access", "revert", manifest)
    assert ran.code == 3
    assert "NOT taken back: conflict" in ran.out
    assert "0 taken back, 2 left" in ran.out
    assert both.pulls(WEB, BOB_TOKEN)
    again = both.run("access", "revert", manifest)
    assert "kept for User bob (- User system:anonymous)" in again.out
    assert both.pulls(WEB, BOB_TOKEN)
    assert not both.pulls(WEB)


def test_who_is_let_in_at_the_moment_of_the_deletion_keeps_it(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest).code == 0
    both.new.api.faults.append(once("DELETE", "/rolebindings", lambda _: put_into(both, VIEWER, "bob")))
    ran = both.run("access", "revert", manifest)
    assert (ran.code, "conflict" in ran.out) == (3, True), ran.text
    assert both.pulls(WEB, BOB_TOKEN)


def test_what_cannot_be_planned_any_more_is_not_called_done(both: Clusters) -> None:
    both.old.bind("my-app", "registry-viewer", both.subject("User", "carol"), name="c")
    taken: list[bool] = []

    def take(_: Request) -> None:
        taken.append(True)
        both.new.bind("my-app-2", "registry-viewer", both.subject("User", "bob"), name=VIEWER)

    both.new.api.faults.append(once("POST", "/rolebindings", take))
    both.old.api.faults.append(lambda asked: REFUSED if taken and "/rolebindings" in asked.path else None)
    ran = both.run("access", "apply", both.access("[{project: my-app-2, carryOver: true}]"))
    assert ran.code == 3, ran.text
    assert "what the source project my-app grants today could not be read (forbidden: no)" in ran.out
    assert "every grant is there already" not in ran.out


def test_a_write_whose_answer_got_lost_is_not_called_nothing(both: Clusters) -> None:
    def lose(asked: Request) -> Answer:
        both.new.api.handle(asked, lambda _: Answer(500))
        return Answer(504)

    both.new.api.faults.append(once("POST", "/rolebindings", lose))
    ran = both.run("access", "apply", both.access("[{project: my-app-2, allow: [anonymous]}]"))
    assert ran.code == 0, ran.text
    assert "1 project: nothing written, 1 grant there already" in ran.out
    assert both.pulls(WEB)


def test_a_binding_that_this_state_never_made_is_left(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    never = Answer(503)
    fault = lambda asked: never if asked.method == "POST" and "/rolebindings" in asked.path else None  # noqa: E731
    both.new.api.faults.append(fault)
    assert both.run("access", "apply", manifest, "--state", "a.db").code == 3
    both.new.api.faults.remove(fault)
    assert both.run("access", "apply", manifest, "--state", "b.db").code == 0
    ran = both.run("access", "revert", manifest, "--state", "a.db")
    assert "was made by somebody else: left as it is" in ran.out
    assert both.pulls(WEB)
    assert both.run("access", "revert", manifest, "--state", "b.db").code == 0
    assert not both.pulls(WEB)


def test_what_was_applied_at_another_api_is_taken_back_there(both: Clusters) -> None:
    both.old.add_project("my-app-2", "ann")
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    right = manifest.read_text()
    wrong = right.replace("target: {", "target: {api: {kubeconfigContext: old}, ")
    for text, command in ((wrong, "apply"), (right, "apply")):
        manifest.write_text(text)
        assert both.run("access", command, manifest).code == 0
    assert both.run("access", "revert", manifest).code == 3
    assert not both.pulls(WEB)
    manifest.write_text(wrong)
    assert both.run("access", "revert", manifest).code == 0
    assert VIEWER not in [item["metadata"]["name"] for item in both.old.list("RoleBinding", "my-app-2")]


# --- carry over -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_a_project_that_goes_to_several_is_read_for_each(both: Clusters, turned: bool) -> None:
    """And a project of the old cluster that only has the target's name is not asked."""
    for name in ("shop", "shop-2"):
        both.old.add_project(name, "ann")
    both.new.add_project("shop-2", "ann")
    both.old.bind("shop", "registry-viewer", both.subject("User", "carol"), name="c")
    both.old.bind("shop-2", "registry-viewer", both.subject("User", "mallory"), name="c")
    images = ["{from: shop/web, to: shop-2/web}", "{from: shop/frontend, to: web-2/frontend}"]
    listed = ", ".join(reversed(images) if turned else images)
    manifest = both.manifest(f"images: [{listed}]\naccess: [{{project: shop-2, carryOver: true}}]\n")
    plan = both.run("access", "plan", manifest)
    assert "User carol" in plan.out
    assert "mallory" not in plan.out


def test_a_narrow_grant_goes_to_every_name_that_the_image_stream_gets(both: Clusters) -> None:
    metadata = {"name": "n", "namespace": "my-app"}
    both.old.apply({"kind": "Role", "metadata": metadata, "rules": [{**ONE_STREAM, "resourceNames": ["web"]}]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "n"}
    subjects = [both.subject("User", "bob")]
    both.old.apply({"kind": "RoleBinding", "metadata": metadata, "roleRef": reference, "subjects": subjects})
    images = "images: [my-app, {from: my-app/web, to: my-app-2/site}]"
    plan = both.run("access", "plan", both.manifest(f"{images}\naccess: [{{project: my-app-2, carryOver: true}}]\n"))
    assert "user bob can pull 2 image streams (site, web) of my-app-2" in plan.out


def test_who_is_named_already_is_not_carried_over_too(both: Clusters) -> None:
    both.old.bind("my-app", "registry-viewer", both.subject("User", "bob"), name="c")
    entries = (
        "[{project: my-app-2, allow: ['user:bob'], role: 'system:image-puller'}, {project: my-app-2, carryOver: true}]"
    )
    assert both.run("access", "apply", both.access(entries)).code == 0
    assert both.ours() == {"rahti-migrate-system:image-puller": {("User", "bob")}}


def test_what_could_not_be_read_is_not_called_left_over(both: Clusters) -> None:
    both.old.bind("my-app", "registry-viewer", both.subject("User", "carol"), name="c")
    manifest = both.access("[{project: my-app-2, carryOver: true}]")
    assert both.run("access", "apply", manifest).code == 0
    both.old.api.faults.append(lambda asked: REFUSED if "/rolebindings" in asked.path else None)
    plan = both.run("access", "plan", manifest)
    assert (plan.code, "no longer in the manifest" in plan.out) == (3, False), plan.text
    proof = both.run("access", "verify", manifest)
    assert (proof.code, "UNKNOWN  my-app-2: what the source project my-app grants" in proof.out) == (3, True)


# --- what is said -----------------------------------------------------------------------------------------------


def test_a_role_of_another_name_is_still_the_one_that_is_wanted(both: Clusters) -> None:
    metadata = {"name": "rahti-migrate-pull-web", "namespace": "my-app-2"}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    both.new.apply({"kind": "Role", "metadata": metadata, "rules": rules})
    manifest = both.access("[{project: my-app-2, allow: [anonymous], images: [web]}]")
    assert both.run("access", "apply", manifest).code == 0
    assert "no longer in the manifest" not in both.run("access", "plan", manifest).out


def test_a_role_for_some_image_streams_is_proved_for_those(both: Clusters) -> None:
    metadata = {"name": "narrow", "namespace": "my-app-2"}
    both.new.apply({"kind": "Role", "metadata": metadata, "rules": [{**ONE_STREAM, "resourceNames": ["web"]}]})
    manifest = both.access("[{project: my-app-2, allow: [anonymous, 'user:bob'], role: narrow}]")
    assert both.run("access", "apply", manifest).code == 0
    ran = both.run("access", "verify", manifest)
    assert ran.code == 0, ran.text
    assert "2 grants: 2 hold" in ran.out
    assert "open beyond" not in ran.out


def test_what_cannot_be_granted_is_in_every_answer(both: Clusters) -> None:
    both.new.add_project("others")
    manifest = both.access(
        "[{project: others, allow: [anonymous]}, {project: my-app-2, allow: ['user:bob'], role: registry-viewr}]"
    )
    applied = both.run("access", "apply", manifest, "--format", "json")
    assert applied.code == 3
    other, mine = (event for event in applied.events if event["event"] == "project")
    assert (other["project"], other["problem"].partition(":")[0]) == ("others", "forbidden")
    assert mine["grants"][0]["standing"] == "refused"
    text = both.run("access", "apply", manifest)
    assert "2 projects: nothing written, 1 grant refused, 1 project could not be looked at" in text.out
    proof = both.run("access", "verify", manifest)
    assert proof.code == 3
    assert "UNKNOWN  others: forbidden" in proof.out
    assert (
        "FAILS  my-app-2  User bob, registry-viewr: it cannot be granted: there is no role registry-viewr" in proof.out
    )


def test_taking_back_without_the_right_to_is_a_failure(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous, 'user:bob']}]")
    assert both.run("access", "apply", manifest).code == 0
    dry = both.run("access", "revert", manifest, "--dry-run")
    assert "would be deleted (- User bob, - User system:anonymous)" in dry.out
    planned = both.run("access", "revert", manifest, "--dry-run", "--format", "json").events
    assert [event["event"] for event in planned] == ["planned", "summary"]
    both.login("new", both.new, BOB_TOKEN)
    failed, summary = both.run("access", "revert", manifest, "--format", "json").events
    assert (failed["event"], summary["left"], summary["exitCode"]) == ("failed", 1, 3)
    assert "forbidden" in failed["problem"]


def test_who_is_not_there_is_noted(both: Clusters) -> None:
    words = "'serviceaccount:my-app-2/robot', 'project:nosuch', 'serviceaccount:my-app-2/builder'"
    plan = both.run("access", "plan", both.access(f"[{{project: my-app-2, allow: [{words}]}}]"))
    assert "there is no service account robot in my-app-2 (yet)" in plan.out
    assert "project nosuch is not there, or not yours to see" in plan.out
    assert "service account builder in my-app-2 (yet)" not in plan.out


def test_a_registry_out_of_reach_is_no_closed_door(both: Clusters) -> None:
    head = "target: {{registry: '127.0.0.1:9', plainHttp: true, api: {{kubeconfigContext: new}}}}\n"
    manifest = both.manifest("access: [{project: my-app-2, allow: [anonymous]}]\n", head)
    assert both.run("access", "apply", manifest).code == 0
    ran = both.run("access", "verify", manifest)
    assert (ran.code, "the target registry 127.0.0.1:9" in ran.err, "FAILS" in ran.out) == (1, True, False), ran.text


def test_what_others_changed_in_our_role_is_shown_and_put_right(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous], images: [web]}]")
    assert both.run("access", "apply", manifest).code == 0
    role = both.new.get("Role", "my-app-2", "rahti-migrate-pull-web")
    assert role
    role["rules"][0]["resourceNames"] = ["api"]
    both.new.apply({**role, "kind": "Role"})
    assert "      - pull api\n      + pull web\n" in both.run("access", "plan", manifest).out
    ran = both.run("access", "apply", manifest)
    assert "changed Role" in ran.out
    assert "changed RoleBinding" not in ran.out
    assert (both.pulls(WEB), both.pulls("my-app-2/api:1")) == (True, False)


def test_finish_too_says_what_earlier_runs_granted(both: Clusters) -> None:
    assert both.run("access", "apply", both.access("[{project: my-app-2, allow: [anonymous, 'user:bob']}]")).code == 0
    manifest = both.access("[{project: my-app-2, allow: ['user:bob']}]")
    left = both.run("finish", manifest, "--format", "json").json["access"]["leftOver"]
    assert [each["subject"]["name"] for each in left] == ["system:anonymous"]
    without = both.run("finish", both.manifest("images: [my-app]\n"))
    assert without.out.count("no longer in the manifest") == 2


def test_a_token_with_a_line_end_is_never_shown(both: Clusters) -> None:
    path = both.ends.folder / "new.kube"
    document = json.loads(path.read_text())
    document["users"][0]["user"]["token"] = "sha256~half\nsecond-half-of-secret\n"
    path.write_text(json.dumps(document))
    ran = both.run("access", "plan", both.access("[{project: my-app-2, allow: [anonymous]}]"))
    assert ran.code == 4, ran.text
    assert "half" not in ran.text


# --- image streams ----------------------------------------------------------------------------------------------


def test_an_alias_is_not_made_over_what_somebody_else_wants_there(both: Clusters) -> None:
    """A tag that is named in spec and not imported yet is nothing that the registry knows of."""
    both.push(both.old, OLD_TOKEN, "my-app/site", "1.4")
    old = both.old.get("ImageStream", "my-app", "site")
    assert old
    tags = [{"name": "prod", "from": {"kind": "ImageStreamTag", "name": "site:1.4"}}]
    (item,) = old["status"]["tags"]
    old["status"]["tags"].append({**item, "tag": "prod"})
    both.old.apply({**old, "kind": "ImageStream", "spec": {**old.get("spec", {}), "tags": tags}})
    origin = {"kind": "DockerImage", "name": "quay.example/acme/site:stable"}
    metadata = {"name": "site", "namespace": "my-app-2"}
    both.new.apply({"kind": "ImageStream", "metadata": metadata, "spec": {"tags": [{"name": "prod", "from": origin}]}})
    ran = both.run("copy", both.manifest("images: [my-app]\n"))
    assert ran.code == 3, ran.text
    assert "somebody made this tag follow DockerImage quay.example/acme/site:stable; it is left" in ran.out
    there = both.new.get("ImageStream", "my-app-2", "site")
    assert there
    assert there["spec"]["tags"][0]["from"] == origin
    force = both.run("copy", both.manifest("images: [my-app]\ndefaults: {onConflict: overwrite}\n"))
    assert force.code == 0, force.text
