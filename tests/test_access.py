"""Who may pull, on a cluster that decides by its bindings, with skopeo as the witness."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from clusters import ADMIN_TOKEN, BOB_TOKEN, NEW_TOKEN, OLD_TOKEN, Clusters, two_clusters
from registrylab.gateway import Answer, Request

WEB = "my-app-2/web:1"
VIEWER = "rahti-migrate-registry-viewer"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        for name in ("web", "api"):
            made.push(made.new, NEW_TOKEN, f"my-app-2/{name}", "1")
        yield made


def test_anyone_can_pull_after_apply_and_nobody_after_revert(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    before = both.bindings()
    plan = both.run("access", "plan", manifest)
    assert plan.code == 0, plan.text
    assert "anyone on the internet, without a login, can pull all 2 image streams of my-app-2" in plan.out
    assert "allow `authenticated` too" in plan.out
    assert f"make RoleBinding {VIEWER}" in plan.out
    assert "      + User system:anonymous" in plan.out
    assert both.bindings() == before
    assert not both.pulls(WEB)
    applied = both.run("access", "apply", manifest)
    assert applied.code == 0, applied.text
    assert f"made RoleBinding my-app-2/{VIEWER}: + User system:anonymous" in applied.out
    assert both.pulls(WEB)
    assert not both.pulls(WEB, BOB_TOKEN)
    proved = both.run("access", "verify", manifest)
    assert proved.code == 0, proved.text
    assert (
        "holds  my-app-2  User system:anonymous, registry-viewer: pulled without a login: 2 image streams" in proved.out
    )
    reverted = both.run("access", "revert", manifest)
    assert reverted.code == 0, reverted.text
    assert f"RoleBinding my-app-2/{VIEWER}: deleted" in reverted.out
    assert not both.pulls(WEB)
    assert both.bindings() == before
    failed = both.run("access", "verify", manifest)
    assert failed.code == 3
    assert "FAILS  my-app-2  User system:anonymous" in failed.out


@pytest.mark.parametrize(
    ("word", "anonymous", "bob"),
    [
        ("anonymous", True, False),
        ("unauthenticated", True, False),
        ("authenticated", False, True),
        ("user:bob", False, True),
        ("group:devs", False, True),
        ("project:ci", False, False),
        ("serviceaccount:ci/robot", False, False),
    ],
)
def test_every_kind_of_grant_lets_in_who_is_meant(both: Clusters, word: str, anonymous: bool, bob: bool) -> None:
    both.new.add_user("bob", BOB_TOKEN, groups=["devs"])
    both.new.add_project("ci")
    both.new.add_service_account("ci", "robot", "sha256~robot")
    manifest = both.access(f"[{{project: my-app-2, allow: ['{word}'], role: 'system:image-puller'}}]")
    assert both.run("access", "apply", manifest).code == 0
    assert (both.pulls(WEB), both.pulls(WEB, BOB_TOKEN)) == (anonymous, bob)
    assert both.pulls(WEB, "sha256~robot") == (word in ("authenticated", "project:ci", "serviceaccount:ci/robot"))
    ran = both.run("access", "verify", manifest)
    assert ran.code == 0, ran.text
    how = "pulled without a login" if anonymous else "the API says that they may pull"
    assert how in ran.out


def test_applying_twice_changes_nothing_the_second_time(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous, 'user:bob']}]")
    assert both.run("access", "apply", manifest).code == 0
    there = both.new.get("RoleBinding", "my-app-2", VIEWER)
    asked = len(both.new.api.seen)
    ran = both.run("access", "apply", manifest)
    assert ran.code == 0
    assert "nothing to write: every grant is there already" in ran.out
    assert both.new.get("RoleBinding", "my-app-2", VIEWER) == there
    assert {request.method for request in both.new.api.seen[asked:]} == {"GET"}
    assert there
    assert there["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "rahti-migrate"}
    assert [field["manager"] for field in there["metadata"]["managedFields"]] == ["rahti-migrate"]


def test_single_image_streams_are_opened_by_a_narrow_role(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [unauthenticated], images: [web]}]")
    assert both.run("access", "apply", manifest).code == 0
    assert both.pulls(WEB)
    assert not both.pulls("my-app-2/api:1")
    assert both.run("access", "verify", manifest).code == 0
    shown = both.run("access", "revert", manifest, "--dry-run")
    assert (shown.code, shown.out.count("deleted")) == (0, 2), shown.text
    assert both.run("access", "revert", manifest).code == 0
    assert not both.pulls(WEB)
    assert [item["metadata"]["name"] for item in both.new.list("Role", "my-app-2")] == []


def test_revert_leaves_what_others_did_since(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest).code == 0
    mine = both.new.get("RoleBinding", "my-app-2", VIEWER)
    assert mine
    both.new.apply({**mine, "kind": "RoleBinding", "subjects": [*mine["subjects"], both.subject("User", "bob")]})
    ran = both.run("access", "revert", manifest)
    assert ran.code == 0, ran.text
    assert "kept for User bob" in ran.out
    assert both.ours() == {VIEWER: {("User", "bob")}}
    assert not both.pulls(WEB)
    assert both.pulls(WEB, BOB_TOKEN)
    assert "nothing to take back" in both.run("access", "revert", manifest).out


def test_two_states_take_back_their_own_and_leave_nothing_empty(both: Clusters) -> None:
    before = both.bindings()
    ours, theirs = both.ends.folder / "a.db", both.ends.folder / "b.db"
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest, "--state", ours).code == 0
    manifest = both.access("[{project: my-app-2, allow: ['user:bob']}]")
    assert both.run("access", "apply", manifest, "--state", theirs).code == 0
    assert "kept for User bob" in both.run("access", "revert", manifest, "--state", ours).out
    assert both.pulls(WEB, BOB_TOKEN)
    assert "deleted" in both.run("access", "revert", manifest, "--state", theirs).out
    assert both.bindings() == before


def test_a_project_that_nobody_knows_is_said(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest).code == 0
    ran = both.run("access", "revert", manifest, "--project", "my-ap")
    assert (ran.code, "there is my-app-2" in ran.err) == (2, True), ran.text
    assert both.run("access", "revert", manifest, "--project", "my-app").code == 0
    assert not both.pulls(WEB)


def test_grants_of_others_are_seen_and_not_doubled(both: Clusters) -> None:
    both.new.bind("my-app-2", "registry-viewer", both.subject("User", "system:anonymous"), name="by-hand")
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    ran = both.run("access", "apply", manifest)
    assert "nothing to write" in ran.out
    assert both.ours() == {}


def test_what_anyone_can_pull_beyond_the_manifest_is_reported(both: Clusters) -> None:
    both.new.bind("my-app-2", "view", both.subject("Group", "system:unauthenticated"))
    manifest = both.access("[{project: my-app-2, allow: ['user:bob']}]")
    both.run("access", "apply", manifest)
    ran = both.run("access", "verify", manifest)
    assert "open beyond the manifest: anyone can pull api, web of my-app-2 without a login" in ran.out


def test_proof_with_a_token_asks_the_registry_as_that_user(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: ['user:bob'], proveWith: {'user:bob': {tokenEnv: BOB}}}]")
    assert both.run("access", "verify", manifest, BOB=BOB_TOKEN).code == 3
    assert both.run("access", "apply", manifest).code == 0
    ran = both.run("access", "verify", manifest, BOB=BOB_TOKEN)
    assert ran.code == 0, ran.text
    assert "pulled with their token: 2 image streams" in ran.out


def test_a_token_that_is_somebody_elses_or_too_old_proves_nothing(both: Clusters) -> None:
    both.new.add_user("bob", BOB_TOKEN, groups=["devs"])
    manifest = both.access(
        "[{project: my-app-2, allow: ['user:bob', 'group:devs'],"
        " proveWith: {'user:bob': {tokenEnv: BOB}, 'group:devs': {tokenEnv: DEV}}}]"
    )
    assert both.run("access", "apply", manifest).code == 0
    ran = both.run("access", "verify", manifest, BOB=NEW_TOKEN, DEV=BOB_TOKEN)
    assert ran.code == 3
    assert (
        "FAILS  my-app-2  User bob, registry-viewer: it could not be asked: the token of proveWith for User bob"
        " (environment variable BOB) is User ann's" in ran.out
    )
    assert "holds  my-app-2  Group devs, registry-viewer: pulled with their token: 2 image streams" in ran.out
    old = both.run("access", "verify", manifest, BOB="sha256~old", DEV=BOB_TOKEN)
    assert "the token of proveWith for User bob (environment variable BOB) is not taken (expired?)" in old.out
    assert old.code == 4
    missing = both.run("access", "verify", manifest, DEV=BOB_TOKEN)
    assert (missing.code, "BOB is not set" in missing.out) == (4, True), missing.text
    assert "holds  my-app-2  Group devs" in missing.out
    assert "sha256~old" not in old.text


# --- carry over -------------------------------------------------------------------------------------------------


def test_what_the_old_project_grants_is_carried_over(both: Clusters) -> None:
    """Legacy bindings with userNames and groupNames too."""
    both.old.add_project("helper", "ann")
    legacy = {"metadata": {"name": "legacy", "namespace": "my-app"}, "roleRef": {"name": "registry-viewer"}}
    names = {"userNames": ["carol", "system:serviceaccount:helper:robot"], "groupNames": ["system:authenticated"]}
    path = "/apis/authorization.openshift.io/v1/namespaces/my-app/rolebindings"
    sent = {"kind": "RoleBinding", "apiVersion": "authorization.openshift.io/v1", **legacy, **names}
    answer = httpx2.post(f"{both.old.api_url}{path}", json=sent, headers={"Authorization": f"Bearer {OLD_TOKEN}"})
    assert answer.status_code == 201, answer.text
    both.old.bind("my-app", "registry-viewer", both.subject("User", "system:unauthenticated"), name="useless")
    both.old.bind("my-app", "system:image-puller", both.subject("Group", "system:serviceaccounts:elsewhere"), name="x")
    manifest = both.manifest("images: [helper/tool]\naccess: [{project: my-app-2, carryOver: true}]\n")
    ran = both.run("access", "apply", manifest)
    assert ran.code == 0, ran.text
    assert both.ours() == {
        VIEWER: {("User", "carol"), ("Group", "system:authenticated"), ("ServiceAccount", "robot")},
    }
    plan = both.run("access", "plan", manifest)
    assert (
        "Group system:serviceaccounts:elsewhere has system:image-puller in my-app and is not carried over" in plan.out
    )
    assert "is a group: as a user it is nobody" in plan.out
    assert both.pulls(WEB, BOB_TOKEN)


def test_a_renamed_image_stream_is_opened_by_its_new_name(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/db", "1")
    rules = [{"apiGroups": ["image.openshift.io"], "resources": ["imagestreams/layers"], "verbs": ["get"]}]
    rules[0]["resourceNames"] = ["db"]
    metadata = {"name": "db-only", "namespace": "my-app"}
    both.old.apply({"kind": "Role", "metadata": metadata, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "db-only"}
    subjects = [both.subject("User", "system:anonymous")]
    both.old.apply({"kind": "RoleBinding", "metadata": metadata, "roleRef": reference, "subjects": subjects})
    moves = "images: [{from: my-app/db, to: my-app-2/database}]\naccess: [{project: my-app-2, carryOver: true}]\n"
    ran = both.run("run", both.manifest(moves), "--apply")
    assert ran.code == 0, ran.text
    assert both.pulls("my-app-2/database:1")
    assert not both.pulls(WEB)


# --- errors -----------------------------------------------------------------------------------------------------


def test_one_projects_trouble_does_not_stop_the_others(both: Clusters) -> None:
    both.new.add_project("others")
    manifest = both.access(
        "[{project: nosuch, allow: [anonymous]}, {project: others, allow: [anonymous]},"
        " {project: my-app-2, allow: [anonymous], role: nosuch}, {project: my-app-2, allow: [authenticated]}]"
    )
    ran = both.run("access", "apply", manifest)
    assert ran.code == 3
    assert both.ours() == {VIEWER: {("Group", "system:authenticated")}}
    for project in ("nosuch", "others"):
        assert f"oc get project {project}" in ran.out
        assert f"oc policy add-role-to-user admin ann -n {project}" in ran.out
    assert "there is no role nosuch" in ran.out
    both.login("new", both.new, ADMIN_TOKEN)
    ran = both.run("access", "plan", manifest)
    assert "there is no such project" in ran.out
    assert "oc new-project nosuch" in ran.out


def test_a_login_that_is_not_taken_is_exit_code_4(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    both.login("new", both.new, "sha256~wrong")
    ran = both.run("access", "plan", manifest)
    assert ran.code == 4
    assert "does not accept the login (kubeconfig context 'new')" in ran.err
    assert "sha256~wrong" not in ran.text


def test_an_api_out_of_reach_is_exit_code_1(both: Clusters) -> None:
    head = "target: {{registry: r.example, api: {{server: 'http://127.0.0.1:9', tokenEnv: TOKEN}}}}\n"
    manifest = both.manifest("access: [{project: my-app-2, allow: [anonymous]}]\n", head)
    ran = both.run("access", "plan", manifest, TOKEN=NEW_TOKEN)
    assert ran.code == 1
    assert "the API http://127.0.0.1:9 cannot be used" in ran.err


def test_a_manifest_without_an_api_is_told_how_to_name_it(both: Clusters) -> None:
    manifest = both.manifest("access: [{project: my-app-2, allow: [anonymous]}]\n", "target: {{registry: r.example}}\n")
    ran = both.run("access", "plan", manifest)
    assert ran.code == 2
    assert "target.api" in ran.err


def test_quota_and_missing_rights_are_said_in_words(both: Clusters) -> None:
    both.new.quotas["my-app-2", "RoleBinding"] = 1
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    ran = both.run("access", "apply", manifest)
    assert ran.code == 3
    assert "quota: " in ran.out
    assert "oc describe quota -n my-app-2" in ran.out
    assert "nothing to take back" in both.run("access", "revert", manifest).out


def test_access_by_server_and_token(both: Clusters) -> None:
    head = (
        "target: {{registry: '{new}', plainHttp: true, api: {{server: '" + both.new.api_url + "', tokenEnv: TOKEN}}}}\n"
    )
    manifest = both.manifest("access: [{project: my-app-2, allow: [anonymous]}]\n", head)
    assert both.run("access", "apply", manifest, TOKEN=NEW_TOKEN).code == 0
    assert both.pulls(WEB)


@pytest.mark.parametrize("login", ["tokenEnv: TOKEN", "kubeconfigContext: new", "command: [echo, sha256~ann-new]"])
def test_a_server_without_a_token_takes_that_of_the_login(both: Clusters, login: str) -> None:
    head = "target: {{registry: '{new}', plainHttp: true, login: {{" + login + "}}, api: {{server: '"
    head += both.new.api_url + "'}}}}\n"
    manifest = both.manifest("access: [{project: my-app-2, allow: [anonymous]}]\n", head)
    ran = both.run("access", "apply", manifest, TOKEN=NEW_TOKEN)
    assert ran.code == 0, ran.text
    assert both.pulls(WEB)


def test_a_server_without_any_token_is_a_missing_login(both: Clusters) -> None:
    head = "target: {{registry: '{new}', plainHttp: true, api: {{server: '" + both.new.api_url + "'}}}}\n"
    ran = both.run("access", "plan", both.manifest("access: [{project: my-app-2, allow: [anonymous]}]\n", head))
    assert ran.code == 4
    assert f"no login for the API {both.new.api_url} is named" in ran.err


def test_a_role_for_more_than_one_has_is_explained(both: Clusters) -> None:
    ran = both.run("access", "apply", both.access("[{project: my-app-2, allow: ['user:bob'], role: cluster-admin}]"))
    assert ran.code == 3
    assert "nobody can grant more than they may do themselves" in ran.out
    assert "new-project" not in ran.out


# --- finish, run ------------------------------------------------------------------------------------------------


def test_finish_shows_and_writes_only_when_told(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    shown = both.run("finish", manifest)
    assert shown.code == 0, shown.text
    assert f"finish {manifest} --apply" in shown.out
    assert both.ours() == {}
    assert both.run("finish", manifest, "--format", "json").json["access"]["projects"][0]["project"] == "my-app-2"
    done = both.run("finish", manifest, "--apply")
    assert done.code == 0, done.text
    assert both.pulls(WEB)
    assert "deleted" in both.run("access", "revert", manifest).out


def test_run_moves_the_images_and_ends_with_the_final_step(both: Clusters) -> None:
    both.push(both.old, OLD_TOKEN, "my-app/shop", "1")
    manifest = both.manifest("images: [my-app]\naccess: [{project: my-app-2, allow: [anonymous]}]\n")
    shown = both.run("run", manifest)
    assert shown.code == 0, shown.text
    assert "1 tag verified: 1 equal" in shown.out
    assert "can pull all 3 image streams of my-app-2" in shown.out
    assert not both.pulls("my-app-2/shop:1")
    done = both.run("run", manifest, "--apply", "--format", "json")
    assert done.code == 0, done.text
    assert [event["event"] for event in done.events][-1] == "summary"
    assert both.pulls("my-app-2/shop:1")


def test_what_is_no_longer_in_the_manifest_is_said(both: Clusters) -> None:
    assert both.run("access", "apply", both.access("[{project: my-app-2, allow: [anonymous, 'user:bob']}]")).code == 0
    manifest = both.access("[{project: my-app-2, allow: ['user:bob']}]")
    plan = both.run("access", "plan", manifest)
    assert f"no longer in the manifest: User system:anonymous in RoleBinding my-app-2/{VIEWER}" in plan.out
    both.new.bind("my-app-2", "registry-viewer", both.subject("User", "bob"), name="a-first-one")
    assert "User bob in RoleBinding" not in both.run("access", "plan", manifest).out
    assert both.run("access", "revert", manifest, "--dry-run").code == 0
    assert both.pulls(WEB)
    assert both.run("access", "revert", manifest).code == 0
    assert not both.pulls(WEB)


def test_a_kill_between_writing_and_noting_it_is_taken_back_all_the_same(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest).code == 0
    with sqlite3.connect(both.ends.folder / "state/m.db") as db:
        db.execute("update grants set applied_at = null, after = (select after from grants)")
        db.commit()
    assert both.run("access", "revert", manifest).code == 0
    assert both.ours() == {}
    assert not both.pulls(WEB)


def test_somebody_who_changes_the_binding_at_the_same_moment_is_not_overwritten(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest).code == 0
    there = both.new.get("RoleBinding", "my-app-2", VIEWER)
    assert there
    waiting = [{**there, "kind": "RoleBinding", "subjects": [*there["subjects"], both.subject("User", "bob")]}]

    def meanwhile(asked: Request) -> None:
        if asked.method == "PATCH" and waiting:
            both.new.apply(waiting.pop())

    both.new.api.faults.append(meanwhile)
    more = both.access("[{project: my-app-2, allow: [anonymous, authenticated]}]")
    ran = both.run("access", "apply", more)
    assert ran.code == 0, ran.text
    assert {name for _, name in both.ours()[VIEWER]} == {"system:anonymous", "system:authenticated", "bob"}


# --- what breaks ------------------------------------------------------------------------------------------------


def lost(both: Clusters, method: str) -> None:
    """The next write by this method arrives, and its answer gets lost."""
    waiting = [method]

    def arrive(asked: Request) -> Answer | None:
        if asked.method not in waiting or "/rolebindings" not in asked.path:
            return None
        waiting.clear()
        both.new.api.handle(asked, lambda _: Answer(500))
        return Answer(504, (), b"")

    both.new.api.faults.append(arrive)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_write_whose_answer_got_lost_is_taken_back_all_the_same(both: Clusters, method: str) -> None:
    first = both.access("[{project: my-app-2, allow: ['user:bob']}]")
    if method == "PATCH":
        assert both.run("access", "apply", first).code == 0
    lost(both, method)
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    ran = both.run("access", "apply", manifest)
    assert ran.code == 0, ran.text
    assert both.pulls(WEB)
    assert both.run("access", "revert", manifest).code == 0
    assert not both.pulls(WEB)
    assert both.ours() == {}


def test_who_makes_a_binding_of_our_name_first_keeps_it(both: Clusters) -> None:
    waiting = ["POST"]

    def meanwhile(asked: Request) -> None:
        if asked.method in waiting and "/rolebindings" in asked.path:
            waiting.clear()
            both.new.bind("my-app-2", "registry-viewer", both.subject("User", "bob"), name=VIEWER)

    both.new.api.faults.append(meanwhile)
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest).code == 0
    assert both.pulls(WEB)
    assert both.pulls(WEB, BOB_TOKEN)
    assert both.run("access", "revert", manifest).code == 0
    assert not both.pulls(WEB)
    assert both.pulls(WEB, BOB_TOKEN)


def test_revert_at_another_cluster_takes_nothing_back(both: Clusters) -> None:
    manifest = both.access("[{project: my-app-2, allow: [anonymous]}]")
    assert both.run("access", "apply", manifest).code == 0
    text = manifest.read_text()
    manifest.write_text(text.replace("target: {", "target: {api: {kubeconfigContext: old}, "))
    ran = both.run("access", "revert", manifest)
    assert ran.code == 3
    assert "is another API" in ran.out
    manifest.write_text(text)
    assert both.run("access", "revert", manifest).code == 0
    assert not both.pulls(WEB)


def test_what_cannot_be_carried_over_because_it_cannot_be_read_is_no_success(both: Clusters) -> None:
    both.login("old", both.old, "sha256~nobody")
    both.old.add_user("nobody", "sha256~nobody")
    ran = both.run("access", "apply", both.access("[{project: my-app-2, carryOver: true}]"))
    assert ran.code == 3
    assert "oc get rolebindings -n my-app" in ran.out


def test_a_grant_that_was_not_made_does_not_hold_although_it_could_be_pulled(both: Clusters) -> None:
    both.new.bind("my-app-2", "view", both.subject("Group", "system:unauthenticated"))
    ran = both.run("access", "verify", both.access("[{project: my-app-2, allow: [anonymous]}]"))
    assert ran.code == 3
    assert "it is not granted: `access apply` would add it" in ran.out


def test_one_refused_grant_does_not_keep_the_others_of_its_project_out(both: Clusters) -> None:
    both.new.add_user("root", ADMIN_TOKEN)
    entries = "[{project: my-app-2, allow: ['user:bob'], role: cluster-admin}, {project: my-app-2, allow: [anonymous]}]"
    ran = both.run("access", "apply", both.access(entries))
    assert ran.code == 3
    assert "FAILED RoleBinding my-app-2/rahti-migrate-cluster-admin" in ran.out
    assert both.pulls(WEB)


def test_service_accounts_of_broken_names_are_reported_and_the_rest_is_carried(both: Clusters) -> None:
    names = ["system:serviceaccount:my-app", "system:serviceaccount::x", "system:serviceaccount:my-app:a:b", "carol"]
    subjects = [both.subject("User", name) for name in names]
    both.old.bind("my-app", "registry-viewer", *subjects, name="odd")
    ran = both.run("access", "apply", both.access("[{project: my-app-2, carryOver: true}]"))
    assert ran.code == 0, ran.text
    assert both.ours() == {VIEWER: {("User", "carol")}}
    plan = both.run("access", "plan", both.access("[{project: my-app-2, carryOver: true}]"))
    assert plan.out.count("is no service account") == 3


def test_an_api_that_goes_away_between_plan_and_write_is_no_success(both: Clusters) -> None:
    gone: list[bool] = []

    def away(asked: Request) -> Answer | None:
        if asked.method == "POST" and "/rolebindings" in asked.path:
            gone.append(True)
        return Answer(503, (), b"") if gone else None

    both.new.api.faults.append(away)
    ran = both.run("access", "apply", both.access("[{project: my-app-2, allow: [anonymous]}]"))
    assert ran.code == 3, ran.text
    assert f"FAILED RoleBinding my-app-2/{VIEWER}: unreachable" in ran.out
    assert "nothing to write" not in ran.out
