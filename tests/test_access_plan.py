"""Grants to bindings: pure, with dictionaries as clusters."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.access.grants import Grant, carried, written
from migrate.access.plan import ProjectAccess, ProjectPlan, Standing, plan_project
from migrate.access.rights import CLUSTER_ROLE, ROLE, Pulls, RoleName, binding_of, pulls_of_rules, pulls_of_unread
from migrate.access.subjects import (
    ANONYMOUS,
    AUTHENTICATED,
    GROUP,
    SERVICE_ACCOUNT,
    UNAUTHENTICATED,
    USER,
    Subject,
    asked_as,
    nobody,
    subject_of,
    subjects_of,
)
from migrate.access.write import Applied, undo_binding, undo_role
from migrate.manifest.model import AccessEntry

ANN = Subject(USER, "ann")
LAYERS = {"apiGroups": ["image.openshift.io"], "resources": ["imagestreams/layers"], "verbs": ["get"]}
RULES = {
    "some": [{**LAYERS, "resourceNames": ["web", "db"]}],
    "registry-viewer": [LAYERS],
    "system:image-puller": [LAYERS],
    "edit": [LAYERS, {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]}],
    "admin": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    "looker": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
}


def pulls(local: Mapping[str, Any], role: RoleName) -> Pulls:
    if role.kind == CLUSTER_ROLE and role.name not in RULES:
        return pulls_of_unread(role)
    rules = RULES.get(role.name, []) if role.kind == CLUSTER_ROLE else (local.get(role.name) or {}).get("rules", [])
    return pulls_of_rules(rules)


def kind(local: Mapping[str, Any], name: str) -> str:
    return CLUSTER_ROLE if name in RULES or name == "hidden" else ROLE if name in local else ""


class World:
    """One project of a cluster, with as much of server-side apply as plans need."""

    def __init__(self, streams: Sequence[str] | None = ("api", "web")) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.streams = streams
        self.version = 0

    def put(self, kind: str, name: str, **document: Any) -> None:
        self.version += 1
        before = self.objects.get((kind, name), {})
        metadata = {
            "uid": f"u{self.version}", **before.get("metadata", {}), **document.pop("metadata", {}),
            "name": name, "resourceVersion": str(self.version),
        }  # fmt: skip
        self.objects[kind, name] = {**copy.deepcopy(document), "metadata": metadata}

    def bind(self, name: str, role: str, *subjects: Subject) -> None:
        reference = {"kind": CLUSTER_ROLE, "name": role}
        self.put("RoleBinding", name, roleRef=reference, subjects=[s.document for s in subjects])

    def seen(self) -> ProjectAccess:
        bindings = [binding_of(o, "p") for (k, _), o in sorted(self.objects.items()) if k == "RoleBinding"]
        roles = {name: o for (k, name), o in self.objects.items() if k == "Role"}
        streams = None if self.streams is None else tuple(self.streams)
        return ProjectAccess("p", bindings, roles, partial(pulls, roles), partial(kind, roles), streams)

    def plan(self, *grants: Grant) -> ProjectPlan:
        return plan_project(self.seen(), grants)

    def apply(self, plan: ProjectPlan) -> list[Applied]:
        done = []
        for change in plan.changes:
            sent = dict(change.after)
            version = sent["metadata"].get("resourceVersion")
            here = self.objects.get((change.kind.name, change.name))
            assert version == (here["metadata"]["resourceVersion"] if here else None)
            self.put(change.kind.name, change.name, **sent)
            uid = self.objects[change.kind.name, change.name]["metadata"]["uid"]
            done.append(
                Applied(
                    (1,), "p", change.kind.name, change.name, change.before is None, uid, frozenset(change.added), sent
                )
            )
        return done

    def undo(self, applied: Applied) -> str:
        live = self.objects.get((applied.kind, applied.name))
        if applied.kind == "RoleBinding":
            undo = undo_binding(applied, live)
        else:
            users = [b.name for b in self.seen().bindings if b.role == RoleName(ROLE, applied.name)]
            undo = undo_role(applied, live, users)
        if undo.delete:
            del self.objects[applied.kind, applied.name]
        elif undo.left is not None:
            self.put(applied.kind, applied.name, **dict(undo.left))
        return undo.words

    def who(self) -> set[tuple[str, Subject]]:
        return {(b.role.name, s) for b in self.seen().bindings for s in b.subjects}


def grant(subject: Subject, role: str = "registry-viewer", images: tuple[str, ...] = (), **more: Any) -> Grant:
    return Grant("p", subject, "" if images else role, images, "access[0]", **more)


@pytest.mark.parametrize(
    ("word", "subject"),
    [
        ("anonymous", Subject(USER, "system:anonymous")),
        ("unauthenticated", Subject(GROUP, "system:unauthenticated")),
        ("authenticated", Subject(GROUP, "system:authenticated")),
        ("project:other", Subject(GROUP, "system:serviceaccounts:other")),
        ("user:ann", ANN),
        ("group:devs", Subject(GROUP, "devs")),
        ("serviceaccount:ci/pusher", Subject(SERVICE_ACCOUNT, "pusher", "ci")),
        ("user:system:serviceaccount:ci:pusher", Subject(SERVICE_ACCOUNT, "pusher", "ci")),
    ],
)
def test_the_words_of_the_manifest_are_subjects(word: str, subject: Subject) -> None:
    assert subject_of(word) == subject


@pytest.mark.parametrize(
    "binding",
    [
        {"subjects": [{"kind": "User", "name": "ann"}, {"kind": "Group", "name": "system:authenticated"}]},
        {"subjects": [{"kind": "User", "name": "ann"}, {"kind": "SystemGroup", "name": "system:authenticated"}]},
        {"subjects": None, "userNames": ["ann"], "groupNames": ["system:authenticated"]},
        {
            "subjects": [{"kind": "User", "name": "ann"}, {"kind": "SystemGroup", "name": "system:authenticated"}],
            "userNames": ["ann"],
            "groupNames": ["system:authenticated"],
        },
    ],
)
def test_subjects_are_read_from_every_generation_of_bindings(binding: dict[str, Any]) -> None:
    assert subjects_of(binding, "p") == (ANN, AUTHENTICATED)


def test_service_accounts_of_every_generation_are_one() -> None:
    new = {"subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "ci"}]}
    local = {"subjects": [{"kind": "ServiceAccount", "name": "robot"}]}
    old = {"userNames": ["system:serviceaccount:ci:robot"]}
    assert subjects_of(new, "p") == subjects_of(local, "ci") == subjects_of(old, "p")


def test_who_is_nobody_is_said() -> None:
    assert "is a group" in nobody(Subject(USER, "system:unauthenticated"))
    assert "is a group" in nobody(Subject(USER, "system:authenticated"))
    assert "is a user" in nobody(Subject(GROUP, "system:anonymous"))
    assert [nobody(s) for s in (ANONYMOUS, UNAUTHENTICATED, AUTHENTICATED, ANN)] == [""] * 4


def test_reviews_ask_as_who_is_meant() -> None:
    assert asked_as(ANONYMOUS) == asked_as(UNAUTHENTICATED) == ("system:anonymous", ("system:unauthenticated",))
    assert asked_as(AUTHENTICATED) == ("", ("system:authenticated",))
    user, groups = asked_as(Subject(SERVICE_ACCOUNT, "robot", "ci"))
    assert user == "system:serviceaccount:ci:robot"
    assert set(groups) == {"system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"}


@pytest.mark.parametrize(
    ("rule", "legacy", "expected"),
    [
        (LAYERS, False, Pulls(everything=True)),
        ({**LAYERS, "apiGroups": [""]}, False, Pulls(everything=False)),
        ({**LAYERS, "apiGroups": [""]}, True, Pulls(everything=True)),
        ({**LAYERS, "resourceNames": ["web"]}, False, Pulls(everything=False, images=frozenset({"web"}))),
        ({**LAYERS, "verbs": ["update"]}, False, Pulls(everything=False, more=True)),
        ({**LAYERS, "verbs": ["get", "update"]}, False, Pulls(everything=True, more=True)),
        ({**LAYERS, "resources": ["imagestreams"]}, False, Pulls(everything=False)),
        ({**LAYERS, "resources": ["*/layers"]}, False, Pulls(everything=True, more=True)),
        ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, False, Pulls(everything=True, more=True)),
        ({"nonResourceURLs": ["/x"], "verbs": ["get"]}, False, Pulls(everything=False)),
    ],
)
def test_what_rules_let_be_pulled(rule: dict[str, Any], legacy: bool, expected: Pulls) -> None:
    assert pulls_of_rules([rule], legacy=legacy) == expected


def test_roles_that_cannot_be_read_are_known_by_name_or_not_trusted() -> None:
    assert pulls_of_unread(RoleName(CLUSTER_ROLE, "registry-viewer")) == Pulls(everything=True)
    assert pulls_of_unread(RoleName(CLUSTER_ROLE, "edit")) == Pulls(everything=True, more=True)
    assert pulls_of_unread(RoleName(CLUSTER_ROLE, "system:deployer")) == Pulls(everything=False)
    for role in (RoleName(CLUSTER_ROLE, "mine"), RoleName(ROLE, "registry-viewer")):
        assert pulls_of_unread(role) == Pulls(everything=False, unread=True)


def test_a_grant_makes_a_binding_of_our_own_and_says_what_it_opens() -> None:
    world = World()
    world.bind("registry-viewer", "registry-viewer", ANN)
    plan = world.plan(grant(ANONYMOUS))
    (planned,), (change,) = plan.grants, plan.changes
    assert planned.standing is Standing.ADD
    assert planned.words == "anyone on the internet, without a login, can pull all 2 image streams of p"
    assert change.name == planned.binding == "rahti-migrate-registry-viewer"
    assert change.after["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "rahti-migrate"}
    assert change.added == (ANONYMOUS,)
    assert "allow `authenticated` too" in " ".join(plan.notes)
    world.apply(plan)
    again = world.plan(grant(ANONYMOUS))
    assert (again.changes, again.grants[0].standing) == ((), Standing.THERE)


def test_who_has_the_grant_by_somebody_elses_binding_needs_no_second_one() -> None:
    world = World()
    world.bind("by-hand", "registry-viewer", ANONYMOUS)
    plan = world.plan(grant(ANONYMOUS), grant(AUTHENTICATED))
    assert [(g.standing, g.binding) for g in plan.grants] == [
        (Standing.THERE, "by-hand"),
        (Standing.ADD, "rahti-migrate-registry-viewer"),
    ]
    assert plan.changes[0].added == (AUTHENTICATED,)
    assert plan.notes == ()


def test_a_subject_that_others_put_into_our_binding_stays() -> None:
    world = World()
    (applied,) = world.apply(world.plan(grant(ANN)))
    bob = Subject(USER, "bob")
    world.bind("rahti-migrate-registry-viewer", "registry-viewer", ANN, bob)
    plan = world.plan(grant(ANN), grant(ANONYMOUS))
    assert [s["name"] for s in plan.changes[0].after["subjects"]] == ["ann", "bob", "system:anonymous"]
    (more,) = world.apply(plan)
    world.undo(more)
    assert world.undo(applied) == "kept for User bob"
    assert world.who() == {("registry-viewer", bob)}


def test_single_image_streams_get_a_role_with_their_names() -> None:
    world = World(["web", "api", "x"])
    plan = world.plan(grant(UNAUTHENTICATED, images=("api", "web")), grant(ANN, images=("web",)))
    assert [(c.kind.name, c.name.startswith("rahti-migrate-pull-")) for c in plan.changes] == [
        ("Role", True), ("Role", True), ("RoleBinding", True), ("RoleBinding", True),
    ]  # fmt: skip
    assert plan.changes[0].after["rules"][0]["resourceNames"] == ["api", "web"]
    assert plan.grants[0].words.endswith("can pull 2 image streams (api, web) of p")
    applied = world.apply(plan)
    assert world.plan(grant(UNAUTHENTICATED, images=("api", "web")), grant(ANN, images=("web",))).changes == ()
    for each in sorted(applied, key=lambda a: a.kind != "RoleBinding"):
        world.undo(each)
    assert world.objects == {}


def test_a_role_that_somebody_else_uses_stays() -> None:
    world = World()
    applied = world.apply(world.plan(grant(ANN, images=("web",))))
    reference = {"kind": ROLE, "name": "rahti-migrate-pull-web"}
    world.put("RoleBinding", "theirs", roleRef=reference, subjects=[ANONYMOUS.document])
    words = [world.undo(each) for each in sorted(applied, key=lambda a: a.kind != "RoleBinding")]
    assert words == ["deleted", "left: theirs uses it"]


def test_long_names_that_begin_alike_are_two_roles() -> None:
    world = World([f"{'a' * 60}-one", f"{'a' * 60}-two"])
    world.apply(world.plan(grant(ANONYMOUS, images=(f"{'a' * 60}-one",)), grant(ANN, images=(f"{'a' * 60}-two",))))
    assert len({role for role, _ in world.who()}) == 2


def test_a_name_that_somebody_else_has_is_left_to_them() -> None:
    world = World()
    world.bind("rahti-migrate-registry-viewer", "edit", ANN)
    (change,) = world.plan(grant(ANONYMOUS)).changes
    assert (change.name, change.before) == ("rahti-migrate-registry-viewer-2", None)


def test_a_role_of_that_name_that_somebody_else_made_is_left_to_them() -> None:
    world = World()
    theirs = [{**LAYERS, "resourceNames": ["secret"]}]
    world.put("Role", "rahti-migrate-pull-web", rules=theirs)
    world.apply(world.plan(grant(ANN, images=("web",))))
    assert world.objects["Role", "rahti-migrate-pull-web"]["rules"] == theirs
    assert ("rahti-migrate-pull-web-2", ANN) in world.who()
    assert world.plan(grant(ANN, images=("web",))).changes == ()


def test_roles_are_judged() -> None:
    plan = World().plan(grant(ANN, role="edit"), grant(ANN, role="looker"), grant(ANN, role="nosuch"))
    assert [g.standing for g in plan.grants] == [Standing.ADD, Standing.ADD, Standing.REFUSED]
    assert plan.needs_attention
    assert "no role nosuch" in plan.grants[2].words
    assert plan.grants[0].words.endswith("and more than that")
    notes = " ".join(plan.notes)
    assert "role edit opens more than pulling: registry-viewer would do" in notes
    assert "role looker lets nobody pull" in notes


def test_a_local_role_is_found_where_the_cluster_has_none() -> None:
    world = World()
    world.put("Role", "mine", rules=[LAYERS])
    (change,) = world.plan(grant(ANN, role="mine")).changes
    assert change.after["roleRef"]["kind"] == ROLE


def test_image_streams_that_are_not_there_yet_are_said() -> None:
    assert World().plan(grant(ANN, images=("later",))).notes == ("not in p yet: image stream later",)
    assert World(None).plan(grant(ANN, images=("later",))).notes == ()


# --- carry over -------------------------------------------------------------------------------------------------


def carry(
    *bindings: tuple[str, Sequence[Subject]], projects: Mapping[str, str] | None = None, **more: Any
) -> tuple[list[Grant], list[str]]:
    entry = AccessEntry.model_validate({"project": "p", "carryOver": True, **more})
    made = [
        binding_of({"metadata": {"name": r}, "roleRef": {"name": r}, "subjects": [s.document for s in who]}, "old")
        for r, who in bindings
    ]
    names = {"web": ["site"], "api": ["api"]}
    known = {"old": ["p"], **{source: [target] for source, target in (projects or {}).items()}}
    return carried(0, entry, "old", made, partial(pulls, {}), known, lambda name: names.get(name, []))


def test_pulling_goes_along_and_nothing_else() -> None:
    bob, cat = Subject(USER, "bob"), Subject(USER, "cat")
    grants, notes = carry(
        ("registry-viewer", [ANONYMOUS]), ("edit", [ANN]), ("looker", [bob]), ("system:image-puller", [cat])
    )
    assert [(g.subject, g.role) for g in grants] == [
        (ANONYMOUS, "registry-viewer"),
        (ANN, "registry-viewer"),
        (cat, "system:image-puller"),
    ]
    assert notes == []


def test_a_role_that_may_not_be_read_is_said_and_nobody_it_lets_in_is_lost_in_silence() -> None:
    grants, notes = carry(("hidden", [ANN, ANONYMOUS]), ("system:deployer", [ANN]))
    assert grants == []
    assert notes == [
        "what ClusterRole hidden in old allows may not be read (or it is not there); not carried over: User ann,"
        " User system:anonymous"
    ]


def test_of_a_role_that_may_not_be_read_nothing_is_claimed() -> None:
    planned = World().plan(grant(ANN, "hidden"))
    assert planned.grants[0].words == "user ann gets the role hidden; what it allows may not be read here"
    assert "what role hidden allows may not be read: whether it lets anybody pull is not known" in planned.notes


def test_service_accounts_go_where_their_project_goes() -> None:
    mine, other = Subject(GROUP, "system:serviceaccounts:old"), Subject(SERVICE_ACCOUNT, "robot", "ci")
    lost = Subject(GROUP, "system:serviceaccounts:elsewhere")
    grants, notes = carry(("system:image-puller", [mine, other, lost]), projects={"ci": "ci-2"})
    assert [g.subject for g in grants] == [mine.in_project("p"), other.in_project("ci-2")]
    (note,) = notes
    assert "the service accounts of project elsewhere: that project is not moved by this manifest" in note


def test_who_is_nobody_or_the_old_clusters_own_is_reported() -> None:
    who = [Subject(USER, "system:unauthenticated"), Subject(USER, "system:admin"), Subject(GROUP, "system:masters")]
    grants, notes = carry(("registry-viewer", who))
    assert grants == []
    assert len(notes) == 3


def test_who_can_pull_at_the_target_already_gets_nothing_more() -> None:
    world = World()
    world.bind("admin", "admin", ANN)
    plan = world.plan(grant(ANN, carried=True))
    assert plan.grants[0].standing is Standing.THERE
    assert world.plan(grant(ANN)).grants[0].standing is Standing.ADD


def test_what_somebody_has_already_is_called_by_its_role_and_not_judged() -> None:
    world = World()
    world.bind("admins", "admin", ANN)
    planned = world.plan(grant(ANN, "registry-viewer", carried=True))
    assert [(each.grant.role, each.binding) for each in planned.grants] == [("admin", "admins")]
    assert planned.notes == ()


def test_one_person_with_two_roles_is_carried_once() -> None:
    grants, _ = carry(("system:image-puller", [ANN]), ("registry-viewer", [ANN]), ("edit", [ANN]))
    assert len(grants) == 1


def test_image_streams_are_called_what_they_are_called_at_the_target() -> None:
    grants, notes = carry(("some", [ANN]))
    assert [(g.subject, g.role, g.images) for g in grants] == [(ANN, "", ("site",))]
    assert notes == ["some in old is for db, which does not go to p"]


def test_images_of_the_entry_narrow_what_is_carried() -> None:
    grants, _ = carry(("registry-viewer", [ANONYMOUS]), images=["web"])
    assert [(g.role, g.images) for g in grants] == [("", ("web",))]


# --- whatever the order -----------------------------------------------------------------------------------------

SUBJECTS = st.sampled_from(
    [ANONYMOUS, UNAUTHENTICATED, AUTHENTICATED, ANN, Subject(USER, "bob"), Subject(SERVICE_ACCOUNT, "r", "ci")]
)
ROLES = st.sampled_from(["registry-viewer", "system:image-puller", "edit"])
IMAGES = st.sampled_from([(), (), ("web",), ("api", "web")])
GRANTS = st.lists(st.builds(grant, SUBJECTS, ROLES, IMAGES, carried=st.booleans()), max_size=6)
FOREIGN = st.lists(st.tuples(ROLES, st.lists(SUBJECTS, max_size=3, unique=True)), max_size=3)


@given(FOREIGN, GRANTS, GRANTS, FOREIGN)
def test_apply_is_idempotent_and_revert_leaves_exactly_what_others_did(
    before: list[tuple[str, list[Subject]]],
    first: list[Grant],
    second: list[Grant],
    later: list[tuple[str, list[Subject]]],
) -> None:
    world = World()
    for number, (role, subjects) in enumerate(before):
        world.bind(f"before-{number}", role, *subjects)
    others = world.who()
    done: dict[tuple[str, str], Applied] = {}
    for grants in (first, second):
        for each in world.apply(world.plan(*grants)):
            known = done.get((each.kind, each.name))
            created, added = (known.created, known.added | each.added) if known else (each.created, each.added)
            done[each.kind, each.name] = Applied((1,), "p", each.kind, each.name, created, each.uid, added, each.after)
        assert world.plan(*grants).changes == ()
        for each in grants:
            assert any(each.subject == s for _, s in world.who())
    for number, (role, subjects) in enumerate(later):
        world.bind(f"later-{number}", role, *subjects)
        others |= {(role, subject) for subject in subjects}
    for each in sorted(done.values(), key=lambda a: a.kind != "RoleBinding"):
        world.undo(each)
    assert world.who() == others
    assert not [name for _, name in world.objects if name.startswith("rahti-migrate")]


def test_what_is_written_comes_before_what_is_carried() -> None:
    entry = AccessEntry.model_validate({"project": "p", "allow": ["user:ann", "user:ann"], "images": ["web", "api"]})
    (made,) = written(3, entry)
    assert (made.images, made.role, made.why) == (("api", "web"), "", "access[3]")
