"""What `check` finds before the first byte, what it leaves alone, and what `run` makes of it."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from clusters import CONTEXTS, NEW_TOKEN, OLD_TOKEN, Clusters, image, two_clusters
from conftest import Ends, Ran
from hypothesis import given
from hypothesis import strategies as st
from registrylab.client import LabClient
from registrylab.faults import faulty
from registrylab.gateway import Answer, Forward, Request, Reset, pass_on
from registrylab.registry import USER, Tls, registry
from registrylab.tokens import self_signed

from migrate.credentials.life import ENDLESS, jwt_end, oauth_token_name
from migrate.images.plan import Plan
from migrate.preflight.checks import Verdict
from migrate.preflight.estimate import estimate
from migrate.preflight.machine import check_clock, check_disk, check_trust
from migrate.preflight.quotas import IMAGE_STREAMS, most_images, tightest
from migrate.preflight.trust import requirements_for
from migrate.reference import Repository

ANYTHING = [{"type": "insecureAcceptAnything"}]
REJECT = [{"type": "reject"}]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Clusters]:
    with two_clusters(tmp_path) as made:
        for name in ("api", "web"):
            made.push(made.old, OLD_TOKEN, f"my-app/{name}", "1")
        yield made


def checks(ran: Ran, name: str) -> list[dict[str, Any]]:
    return [check for check in ran.json["checks"] if check["name"] == name]


def one(ran: Ran, name: str, subject: str = "") -> dict[str, Any]:
    found = [check for check in checks(ran, name) if subject in check["subject"]]
    assert len(found) == 1, found
    return found[0]


def checked(both: Clusters, body: str = "images: [my-app]\n", **environment: str) -> Ran:
    return both.run("check", both.manifest(body), "--format", "json", **environment)


def quota(cluster: Any, project: str, hard: dict[str, str], used: dict[str, str], shared: str = "") -> None:
    numbers = {"hard": hard, "used": used}
    metadata = {"name": shared or "compute", "namespace": project}
    kind = "AppliedClusterResourceQuota" if shared else "ResourceQuota"
    spec, status = ({"quota": {"hard": hard}}, {"total": numbers}) if shared else ({"hard": hard}, numbers)
    cluster.apply({"kind": kind, "metadata": metadata, "spec": spec, "status": status})


def known_token(both: Clusters, token: str, made: float, seconds: int) -> None:
    metadata = {"name": oauth_token_name(token), "creationTimestamp": f"{datetime.fromtimestamp(made, UTC):%FT%TZ}"}
    both.new.apply(
        {"kind": "UserOAuthAccessToken", "metadata": metadata, "userName": "ann", "expiresIn": seconds, "scopes": []}
    )


# --- the whole ----------------------------------------------------------------------------------------------------


def test_what_is_ready_is_ok_a_line_each_and_names_the_next_step(both: Clusters) -> None:
    ran = both.run("check", both.manifest("images: [my-app]\naccess: [{project: my-app-2, allow: [anonymous]}]\n"))
    assert ran.code == 0, ran.text
    lines = ran.out.splitlines()
    assert {line.split()[0] for line in lines[:-3]} == {"ok"}
    assert {line.split()[1] for line in lines[:-3]} >= {
        "skopeo", "trust-policy", "source", "source-api", "source-login", "target", "target-api", "target-login",
        "skopeo-reach", "pull", "target-project", "image-streams", "image-size", "plan", "time", "disk", "clock",
    }  # fmt: skip
    assert "my-app-2: it is there and ann may push to it" in ran.out
    assert "my-app: 2 tags can be pulled" in ran.out
    assert lines[-1].startswith("Next: rahti-migrate run ")


def test_nothing_is_written_anywhere(both: Clusters) -> None:
    assert checked(both).code == 0
    assert not (both.ends.folder / "state").exists()
    assert both.new.list("ImageStream") == []
    assert {seen.method for seen in both.new.api.seen + both.old.api.seen} <= {"GET", "POST"}
    written = [seen.path for seen in both.new.api.seen if seen.method == "POST"]
    assert all("selfsubjectaccessreviews" in path for path in written)
    assert not [path for name in ("_manifests", "_layers") for path in both.ends.target.storage.rglob(name)]


def test_all_is_there_already(both: Clusters) -> None:
    manifest = both.manifest("images: [my-app]\n")
    assert both.run("copy", manifest).code == 0
    ran = checked(both)
    assert ran.code == 0, ran.text
    assert one(ran, "plan")["words"] == "0 tags to bring, 2 there already"
    assert one(ran, "time")["words"] == "nothing is to be brought"


def test_registries_without_openshift(ends: Ends, source: LabClient) -> None:
    source.push("a/app", image("one"), "1")
    ran = ends.run("check", ends.manifest("images: [a]"), "--format", "json")
    assert ran.code == 0, ran.text
    assert checks(ran, "source-api") == []
    assert "the same time here and at" in one(ran, "clock")["words"]
    assert one(ran, "target-project")["words"] == "this login may push to it"
    assert not (ends.target.storage / "docker/registry/v2/repositories/a/app/_manifests").exists()


# --- the ends -----------------------------------------------------------------------------------------------------


def test_a_registry_out_of_reach_is_one_failed_check_and_the_other_end_is_looked_at(ends: Ends) -> None:
    manifest = ends.through(ends.manifest("images: [a]"), target="127.0.0.1:9")
    ran = ends.run("check", manifest, "--format", "json")
    assert ran.code == 3, ran.text
    assert one(ran, "source")["verdict"] == "ok"
    assert one(ran, "target")["verdict"] == "failed"
    assert one(ran, "target")["advice"]


def test_without_skopeo(ends: Ends, source: LabClient, tmp_path: Path) -> None:
    source.push("a/app", image("one"), "1")
    ran = ends.run("check", ends.manifest("images: [a]"), "--format", "json", PATH=str(tmp_path))
    assert ran.code == 3, ran.text
    assert "apt-get install skopeo" in one(ran, "skopeo")["advice"]


def test_a_login_that_is_not_taken_is_exit_code_4(both: Clusters) -> None:
    del both.new.users[NEW_TOKEN]
    ran = checked(both)
    assert ran.code == 4, ran.text
    assert one(ran, "target")["verdict"] == "failed"
    assert one(ran, "source")["verdict"] == "ok"


def test_an_api_out_of_reach_is_a_warning_for_images_and_a_failure_for_access(both: Clusters) -> None:
    api = f"api: {{server: 'http://127.0.0.1:9', tokenFile: {both.ends.folder}/t}}"
    (both.ends.folder / "t").write_text(NEW_TOKEN)
    api = api.replace("{", "{{").replace("}", "}}")
    head = CONTEXTS.replace("kubeconfigContext: new}}", f"kubeconfigContext: new}}}}, {api}")
    images = both.manifest("images: [my-app]\n", head)
    ran = both.run("check", images, "--format", "json")
    assert (ran.code, one(ran, "target-api")["verdict"]) == (0, "warning"), ran.text
    access = both.manifest("images: [my-app]\naccess: [{project: my-app-2, allow: [anonymous]}]\n", head)
    ran = both.run("check", access, "--format", "json")
    assert (ran.code, one(ran, "target-api")["verdict"]) == (3, "failed"), ran.text


def test_a_certificate_that_nobody_looks_at_is_a_warning(ends: Ends, tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path / "tls", "registry")
    tls = Tls(certificate, certificate.with_suffix(".key"))
    login = f"login: {{username: {USER}, passwordEnv: LAB_PASSWORD}}"
    with registry(password=True, tls=tls, folder=tmp_path / "secure") as secure:
        manifest = ends.manifest("images: [{from: quay.invalid/a/b, to: a/b}]")
        text = manifest.read_text().replace("plainHttp: true}\n", f"{login}, insecureSkipTlsVerify: true}}\n")
        manifest.write_text(text.replace(ends.target.host, secure.host))
        found = one(ends.run("check", manifest, "--format", "json"), "target")
    assert (found["verdict"], "caFile" in found["advice"]) == ("warning", True)


def test_a_trust_policy_that_rejects_stops_run_before_the_first_byte(both: Clusters) -> None:
    folder = both.ends.folder / "home/.config/containers"
    folder.mkdir(parents=True)
    (folder / "policy.json").write_text(json.dumps({"default": REJECT}))
    ran = checked(both)
    assert (ran.code, one(ran, "trust-policy")["verdict"]) == (3, "failed"), ran.text
    ran = both.run("run", both.manifest("images: [my-app]\n"))
    assert ran.code == 3
    assert "skopeo will not copy them" in ran.err
    assert both.new.list("ImageStream") == []


# --- logins -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "verdict"), [(86400, "ok"), (60, "warning"), (0, "ok")])
def test_until_when_a_login_is_good_is_asked(both: Clusters, seconds: int, verdict: str) -> None:
    known_token(both, NEW_TOKEN, time.time(), seconds)
    found = one(checked(both), "target-login")
    assert found["verdict"] == verdict
    assert found["words"].startswith("ann (kubeconfig context 'new')")
    assert ("until" in found["words"]) == (seconds > 0)
    assert ("oc login" in found["advice"]) == (verdict == "warning")


def test_a_token_that_tells_its_own_end_needs_no_question(both: Clusters) -> None:
    token = jwt.encode({"exp": int(time.time()) + 30, "sub": "x"}, "a" * 32)
    both.new.users[token] = "ann"
    both.login("new", both.new, token)
    found = one(checked(both), "target-login")
    assert found["verdict"] == "warning"
    assert token not in str(found)


def test_a_login_of_which_nothing_is_told(both: Clusters) -> None:
    found = one(checked(both), "source-login")
    assert found["verdict"] == "ok"
    assert "24 h" in found["words"]


# --- projects -----------------------------------------------------------------------------------------------------


def test_a_missing_target_project_comes_with_the_line_to_type(both: Clusters) -> None:
    both.old.add_project("other", "ann")
    both.push(both.old, OLD_TOKEN, "other/web", "1")
    ran = checked(both, "images: [my-app, other]\n")
    assert ran.code == 3
    found = one(ran, "target-project", "other")
    assert found["verdict"] == "failed"
    assert "oc new-project other --description='csc_project: <number>' --context new" in found["advice"]
    assert one(ran, "target-project", "my-app-2")["verdict"] == "ok"
    assert {check["verdict"] for check in checks(ran, "pull")} == {"ok"}


def test_one_forbidden_project_of_ten_does_not_keep_the_others(both: Clusters) -> None:
    for number in range(9):
        both.old.add_project(f"p{number}", "ann")
        both.push(both.old, OLD_TOKEN, f"p{number}/web", "1")
        both.new.add_project(f"p{number}", "bob" if number == 4 else "ann")
    names = ", ".join(f"p{number}" for number in range(9))
    ran = both.run("run", both.manifest(f"images: [my-app, {names}]\n"))
    assert ran.code == 3, ran.text
    assert "10 done, 1 refused" in ran.out
    assert "p4" in ran.err
    assert "there is no such project, or ann has no right in it" in ran.err
    assert {stream["metadata"]["namespace"] for stream in both.new.list("ImageStream")} == {
        "my-app-2", *(f"p{number}" for number in range(9) if number != 4)
    }  # fmt: skip


def test_a_source_project_that_may_not_be_pulled_from(both: Clusters) -> None:
    both.old.add_project("secret", "bob")
    both.new.add_project("secret", "ann")
    ran = checked(both, "images: [my-app, 'secret/app:1']\n")
    assert ran.code == 3
    found = one(ran, "pull", "secret")
    assert found["verdict"] == "failed"
    assert "system:image-puller" in found["advice"]
    assert one(ran, "pull", "my-app")["verdict"] == "ok"


def test_a_project_that_is_being_deleted(both: Clusters) -> None:
    both.new.registry.projects["my-app-2"] = "Terminating"
    found = one(checked(both), "target-project")
    assert (found["verdict"], found["words"]) == ("failed", "it is being deleted")


def test_who_may_push_and_not_make_image_streams(both: Clusters) -> None:
    both.new.delete("RoleBinding", "my-app-2", "admin")
    both.new.bind("my-app-2", "registry-viewer", both.subject("User", "ann"))
    both.new.bind("my-app-2", "system:image-pusher", both.subject("User", "ann"))
    ran = checked(both)
    assert ran.code == 3
    found = one(ran, "image-streams")
    assert found["verdict"] == "failed"
    assert "oc create imagestream api -n my-app-2" in found["advice"]


def test_who_may_not_say_who_may_pull(both: Clusters) -> None:
    both.new.delete("RoleBinding", "my-app-2", "admin")
    both.new.bind("my-app-2", "edit", both.subject("User", "ann"))
    ran = checked(both, "images: [my-app]\naccess: [{project: my-app-2, allow: [anonymous]}]\n")
    assert ran.code == 3
    assert "may not say who may pull" in one(ran, "target-project")["words"]


def test_a_quota_of_image_streams_lets_go_what_fits(both: Clusters) -> None:
    quota(both.new, "my-app-2", {"openshift.io/imagestreams": "1"}, {"openshift.io/imagestreams": "0"})
    ran = checked(both)
    assert ran.code == 3
    assert "no room for 1 image stream: my-app-2/web" in one(ran, "image-streams")["words"]
    ran = both.run("run", both.manifest("images: [my-app]\n"))
    assert ran.code == 3
    assert "1 done, 1 refused" in ran.out
    assert [stream["metadata"]["name"] for stream in both.new.list("ImageStream")] == ["api"]


def test_a_quota_that_projects_share_counts_them_together(both: Clusters) -> None:
    both.new.add_project("second", "ann")
    key = IMAGE_STREAMS[0]
    for project in ("my-app-2", "second"):
        quota(both.new, project, {key: "20"}, {key: "18"}, shared="csc-1")
    fits = "images: [my-app]\n"
    assert checked(both, fits).code == 0
    ran = checked(both, f"{fits}  - {{from: my-app/web, to: second/web}}\n".replace("[my-app]", "\n  - my-app"))
    assert ran.code == 3
    assert "no room for 1 image stream: second/web" in one(ran, "image-streams", "quota csc-1")["words"]


def test_more_images_than_an_image_stream_may_have(both: Clusters) -> None:
    with both.pushed(both.old, OLD_TOKEN) as client:
        client.push("my-app/web", image("second"), "2")
    limits = [{"type": "openshift.io/ImageStream", "max": {"openshift.io/images": "1", "openshift.io/image-tags": "9"}}]
    both.new.apply(
        {"kind": "LimitRange", "metadata": {"name": "l", "namespace": "my-app-2"}, "spec": {"limits": limits}}
    )
    ran = checked(both)
    assert ran.code == 3
    assert any("my-app-2/web would have 2 images" in check["words"] for check in checks(ran, "image-streams"))


def test_an_image_too_large_for_the_project(both: Clusters) -> None:
    both.new.registry.image_limits["my-app-2"] = 1000
    ran = checked(both)
    assert ran.code == 3
    assert "2 tags too large" in one(ran, "image-size")["words"]


def test_pods_that_have_no_room_are_a_warning_where_workloads_go_along(both: Clusters) -> None:
    for number, phase in enumerate(("Running", "Running", "Succeeded")):
        metadata = {"name": f"web-{number}", "namespace": "my-app"}
        both.old.apply({"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": phase}})
    quota(both.new, "my-app-2", {"pods": "4"}, {"pods": "3"})
    assert checks(checked(both), "pods") == []
    workloads = "workloads: [{from: {cluster: source, project: my-app}, to: new, project: my-app-2}]\n"
    ran = checked(both, f"images: [my-app]\n{workloads}")
    assert (ran.code, one(ran, "pods")["verdict"]) == (0, "warning"), ran.text
    assert one(ran, "pods")["words"].startswith("2 pods at the source; 3 of 4 used")


def test_many_good_checks_of_one_name_are_one_line(both: Clusters) -> None:
    for number in range(8):
        both.old.add_project(f"p{number}", "ann")
        both.push(both.old, OLD_TOKEN, f"p{number}/web", "1")
        both.new.add_project(f"p{number}", "ann")
    names = ", ".join(f"p{number}" for number in range(8))
    ran = both.run("check", both.manifest(f"images: [{names}]\n"))
    assert ran.code == 0, ran.text
    assert "all of 8, such as" in ran.out
    assert len([line for line in ran.out.splitlines() if " target-project " in line]) == 1


# --- trouble on the way -------------------------------------------------------------------------------------------


def test_a_login_for_some_repositories_is_asked_about_with_itself(both: Clusters) -> None:
    login = {"auth": base64.b64encode(f"ann:{NEW_TOKEN}".encode()).decode()}
    (both.ends.folder / "auth.json").write_text(json.dumps({"auths": {f"{both.new.registry.host}/my-app-2": login}}))
    head = CONTEXTS.replace("kubeconfigContext: new}}", "authfile: auth.json}}, api: {{kubeconfigContext: new}}")
    manifest = both.manifest("images: [my-app]\n", head)
    ran = both.run("check", manifest, "--format", "json")
    assert ran.code == 0, ran.text
    assert one(ran, "target-login")["words"].startswith("ann (auth file")
    assert both.run("run", manifest).code == 0


@pytest.mark.parametrize("end", [1_900_000_000_000, -5, 1e300])
def test_an_end_that_no_calendar_has_is_not_known(both: Clusters, end: float) -> None:
    token = jwt.encode({"exp": end, "sub": "x"}, "a" * 32)
    both.new.users[token] = "ann"
    both.login("new", both.new, token)
    ran = checked(both)
    assert ran.code == 0, ran.text
    assert "until" not in one(ran, "target-login")["words"]


def test_an_upload_that_cannot_be_taken_back_is_no_missing_right(ends: Ends, source: LabClient) -> None:
    def inner(asked: Request, forward: Forward) -> Answer:
        if asked.method == "DELETE":
            raise Reset
        return pass_on(asked, forward)

    source.push("a/app", image("one"), "1")
    with faulty(ends.target.host, inner=inner) as (near, _):
        ran = ends.run("run", ends.through(ends.manifest("images: [a]"), target=near.host))
    assert ran.code == 0, ran.text


def test_trouble_at_the_question_whether_one_may_push_holds_nothing_back(ends: Ends, source: LabClient) -> None:
    def inner(asked: Request, forward: Forward) -> Answer:
        return Answer(503, (), b"") if asked.method == "POST" else pass_on(asked, forward)

    source.push("a/app", image("one"), "1")
    with faulty(ends.target.host, inner=inner) as (near, _):
        ran = ends.run("check", ends.through(ends.manifest("images: [a]"), target=near.host), "--format", "json")
    assert ran.code == 0, ran.text
    assert "could not be asked" in one(ran, "target-project")["words"]


@pytest.mark.parametrize("kind", ["resourcequotas", "imagestreams", "limitranges"])
@pytest.mark.parametrize("status", [403, 500])
def test_what_the_api_does_not_tell_is_a_warning(both: Clusters, kind: str, status: int) -> None:
    refused = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no such luck", "code": status}
    answer = Answer(status, (("Content-Type", "application/json"),), json.dumps(refused).encode())
    both.new.api.faults.append(lambda asked: answer if f"/my-app-2/{kind}" in asked.path else None)
    ran = checked(both)
    assert ran.code == 0, ran.text
    found = one(ran, "limits", "my-app-2")
    assert (found["verdict"], kind in found["words"]) == ("warning", True)
    assert "no such luck" in found["words"]


def test_skopeo_that_is_kept_from_a_registry(both: Clusters) -> None:
    folder = both.ends.folder / "home/.config/containers"
    folder.mkdir(parents=True)
    registries = f'[[registry]]\nlocation = "{both.old.registry.host}"\nblocked = true\n'
    (folder / "registries.conf").write_text(registries)
    ran = checked(both)
    assert ran.code == 3, ran.text
    assert one(ran, "skopeo-reach", both.old.registry.host)["verdict"] == "failed"
    assert one(ran, "skopeo-reach", both.new.registry.host)["verdict"] == "ok"


def test_an_outside_registry_that_is_gone_keeps_nothing_else_from_being_looked_at(both: Clusters) -> None:
    ran = checked(both, "images:\n  - my-app\n  - {from: '127.0.0.1:9/a/b:1', to: my-app-2/b}\n")
    assert ran.code == 3, ran.text
    found = one(ran, "outside")
    assert (found["verdict"], "images[1]" in found["words"]) == ("failed", True)
    assert one(ran, "target-project")["verdict"] == "ok"
    assert one(ran, "plan")["words"] == "2 tags to bring, 0 there already"


def test_a_token_that_is_not_there_is_a_failed_check(both: Clusters) -> None:
    api = f"api: {{server: '{both.new.api_url}', tokenFile: none}}".replace("{", "{{").replace("}", "}}")
    head = CONTEXTS.replace("kubeconfigContext: new}}", f"kubeconfigContext: new}}}}, {api}")
    ran = both.run("check", both.manifest("images: [my-app]\n", head), "--format", "json")
    assert ran.code == 4, ran.text
    assert one(ran, "target-api")["verdict"] == "failed"
    assert one(ran, "target")["verdict"] == "ok"


def test_own_and_shared_quotas_both_count(both: Clusters) -> None:
    both.new.add_project("second", "ann")
    key = IMAGE_STREAMS[0]
    for project in ("my-app-2", "second"):
        quota(both.new, project, {key: "2"}, {key: "0"})
        quota(both.new, project, {key: "20"}, {key: "17"}, shared="csc-1")
    extra = "".join(f"  - {{from: my-app/{name}, to: second/{name}}}\n" for name in ("api", "web"))
    ran = checked(both, f"images:\n  - my-app\n{extra}")
    assert ran.code == 3, ran.text
    assert "no room for 1 image stream: second/web" in one(ran, "image-streams", "csc-1")["words"]


@pytest.mark.parametrize("allowed", ["api", "web"])
def test_every_repository_is_asked_for_the_right_to_push(both: Clusters, allowed: str) -> None:
    for name in ("api", "web"):
        both.push(both.new, NEW_TOKEN, f"my-app-2/{name}", "old")
    both.new.delete("RoleBinding", "my-app-2", "admin")
    both.new.bind("my-app-2", "view", both.subject("User", "ann"))
    rule = {"apiGroups": ["image.openshift.io"], "resources": ["imagestreams/layers"], "verbs": ["get", "update"]}
    metadata = {"name": "one", "namespace": "my-app-2"}
    both.new.apply({"kind": "Role", "metadata": metadata, "rules": [{**rule, "resourceNames": [allowed]}]})
    role = {"kind": "Role", "name": "one", "apiGroup": "rbac.authorization.k8s.io"}
    subjects = [both.subject("User", "ann")]
    both.new.apply({"kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects})
    ran = checked(both)
    assert ran.code == 3, ran.text
    assert "not to 1 repository" in one(ran, "target-project")["words"]
    ran = both.run("run", both.manifest("images: [my-app]\n"))
    assert "1 done, 1 refused" in ran.out


def test_what_carry_over_needs_of_the_source_is_looked_at(both: Clusters) -> None:
    del both.old.users[OLD_TOKEN]
    ran = checked(both, "access: [{project: my-app-2, carryOver: true}]\n")
    assert ran.code == 4, ran.text
    assert one(ran, "source-api")["verdict"] == "failed"


def test_access_alone_needs_no_skopeo(both: Clusters, tmp_path: Path) -> None:
    body = "access: [{project: my-app-2, allow: [anonymous]}]\n"
    ran = checked(both, body, PATH=str(tmp_path))
    assert ran.code == 0, ran.text
    assert checks(ran, "skopeo") == []


def test_a_proxy_that_cannot_be_used_is_said(ends: Ends) -> None:
    manifest = ends.manifest("images: [a]")
    manifest.write_text(manifest.read_text().replace("127.0.0.1", "registry.invalid"))
    ran = ends.run("check", manifest, HTTP_PROXY="socks5://127.0.0.1:9", http_proxy="socks5://127.0.0.1:9")
    assert ran.code in (2, 3)
    assert "SOCKS" in ran.text


def test_run_says_all_failed_checks_of_both_ends_at_once(both: Clusters) -> None:
    both.new.users.clear()
    both.old.users.clear()
    ran = both.run("run", both.manifest("images: [my-app]\n"), "--format", "json")
    assert ran.code == 4, ran.text
    assert {event["name"] for event in ran.events if event.get("verdict") == "failed"} == {"source", "target"}


def test_a_place_for_the_state_that_cannot_be_written_fails(both: Clusters) -> None:
    (both.ends.folder / "file").write_text("")
    ran = both.run("check", both.manifest("images: [my-app]\n"), "--format", "json", "--state", "file/x.db")
    assert ran.code == 3, ran.text


# --- the parts ----------------------------------------------------------------------------------------------------


def test_the_most_particular_scope_of_a_trust_policy_holds() -> None:
    signed = [{"type": "signedBy"}]
    policy = {
        "default": REJECT,
        "transports": {"docker": {"": ANYTHING, "*.csc.fi": signed, "r.csc.fi": REJECT, "r.csc.fi/a/b": ANYTHING}},
    }
    found = {
        str(r): requirements_for(policy, r)[0]
        for r in (
            Repository("r.csc.fi", "a/b"), Repository("r.csc.fi", "a/c"), Repository("q.csc.fi:5000", "a/b"),
            Repository("quay.io", "a/b"),
        )
    }  # fmt: skip
    assert [*found.values()] == ["insecureAcceptAnything", "reject", "signedBy", "insecureAcceptAnything"]
    assert requirements_for({"default": REJECT}, Repository("quay.io", "a")) == ["reject"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
)


@given(st.dictionaries(st.sampled_from(["default", "transports", "x"]), JSON | st.fixed_dictionaries({"docker": JSON})))
def test_any_policy_is_read_without_falling(policy: dict[str, Any]) -> None:
    assert isinstance(requirements_for(policy, Repository("r.csc.fi", "a/b")), list)


@pytest.mark.parametrize(
    "text",
    ["{", "{}", "[]", '{"default": []}', '{"default": [{"type": "x"}]}', '{"default": [{"type": "reject"}], "x": 1}',
     '{"default": [{"type": "reject"}], "transports": {"docker": {"quay.io/x": []}}}'],
)  # fmt: skip
def test_a_policy_that_is_none_stops(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.json").write_text(text)
    (found,) = check_trust([Repository("r", "a")], [tmp_path / "policy.json"])
    assert (found.verdict, found.stops) == (Verdict.FAILED, True)


def test_tokens_tell_their_end() -> None:
    key = "k" * 32
    assert jwt_end(jwt.encode({"exp": 1_900_000_000}, key)) == 1_900_000_000
    assert jwt_end(jwt.encode({"sub": "system:serviceaccount:a:b"}, key)) == ENDLESS
    for token in ("", "sha256~abc", "a.b.c", "e30.e30.x", jwt.encode({"exp": 1}, key).replace(".", "")):
        assert jwt_end(token) is None


@given(st.text(max_size=60) | st.lists(st.text(max_size=20), min_size=3, max_size=3).map(".".join))
def test_any_text_is_looked_at_for_an_end(token: str) -> None:
    assert jwt_end(token) is None or isinstance(jwt_end(token), float)


def test_the_name_of_an_oauth_token_is_a_hash_of_it() -> None:
    name = oauth_token_name("sha256~secret")
    assert name == "sha256~K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe_Unols"
    assert oauth_token_name("secret") == ""


def test_the_tightest_quota_counts() -> None:
    def made(hard: object, used: object) -> dict[str, Any]:
        return {
            "metadata": {"name": "q"},
            "status": {"hard": {IMAGE_STREAMS[0]: hard}, "used": {IMAGE_STREAMS[0]: used}},
        }

    assert tightest([made("20", "3"), made("5", "3")], IMAGE_STREAMS) == tightest([made("5", "3")], IMAGE_STREAMS)
    assert tightest([made("x", "3"), {}], IMAGE_STREAMS) is None
    (over,) = [tightest([made("5", "7")], IMAGE_STREAMS)]
    assert over
    assert over.free == 0
    assert most_images([{"spec": {"limits": [{"type": "Container", "max": {"openshift.io/images": "1"}}]}}]) is None


def test_clocks_that_disagree_are_a_warning() -> None:
    assert check_clock({"a": 3.0, "b": None}).verdict is Verdict.OK
    found = check_clock({"a": -400.0})
    assert (found.verdict, "behind" in found.words) == (Verdict.WARNING, True)


def test_a_full_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    assert {check.verdict for check in check_disk(tmp_path / "no/such/x.db", Plan(()))} == {Verdict.FAILED}


def test_an_empty_plan_takes_no_time() -> None:
    assert estimate(Plan(())).seconds == 0
