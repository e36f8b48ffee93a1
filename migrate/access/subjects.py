"""Who may pull: the manifest's words, RBAC subjects, and what each of them means to a person. Pure.

OpenShift knows callers without a login as the *user* system:anonymous in the *group* system:unauthenticated; a binding
to a user or group of the other name grants nothing (tried on openshift/image-registry d4cce000).
"""

from dataclasses import dataclass
from typing import Any

from migrate.printable import printable

USER, GROUP, SERVICE_ACCOUNT = "User", "Group", "ServiceAccount"
_RBAC = "rbac.authorization.k8s.io"
_ACCOUNT, _ACCOUNTS = "system:serviceaccount:", "system:serviceaccounts:"
_LEGACY_KINDS = {"SystemUser": USER, "SystemGroup": GROUP}
_ALL_ACCOUNTS = "system:serviceaccounts"
_LOGGED_IN = ("system:authenticated", "system:authenticated:oauth")
_KNOWN_GROUPS = {*_LOGGED_IN, "system:unauthenticated", _ALL_ACCOUNTS}


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """One subject of a binding; `namespace` is a service account's project."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return printable(f"{self.kind} {name}")

    @property
    def document(self) -> dict[str, str]:
        """As rbac.authorization.k8s.io/v1 has it."""
        if self.kind == SERVICE_ACCOUNT:
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"apiGroup": _RBAC, "kind": self.kind, "name": self.name}

    @property
    def project(self) -> str:
        """The project whose service accounts, or one of them, are meant; empty for other subjects."""
        if self.kind == SERVICE_ACCOUNT:
            return self.namespace
        return self.name.removeprefix(_ACCOUNTS) if self.kind == GROUP and self.name.startswith(_ACCOUNTS) else ""

    def in_project(self, project: str) -> "Subject":
        """The same service accounts, of another project."""
        if self.kind == SERVICE_ACCOUNT:
            return Subject(self.kind, self.name, project)
        return Subject(GROUP, f"{_ACCOUNTS}{project}")


ANONYMOUS = Subject(USER, "system:anonymous")
UNAUTHENTICATED = Subject(GROUP, "system:unauthenticated")
AUTHENTICATED = Subject(GROUP, "system:authenticated")
WITHOUT_LOGIN = (ANONYMOUS, UNAUTHENTICATED)

_WORDS = {"anonymous": ANONYMOUS, "unauthenticated": UNAUTHENTICATED, "authenticated": AUTHENTICATED}


def subject_of(text: str) -> Subject:
    """The subject that a word of `allow` means; the manifest's checks have let it pass."""
    if text in _WORDS:
        return _WORDS[text]
    kind, _, name = text.partition(":")
    if kind == "project":
        return Subject(GROUP, f"{_ACCOUNTS}{name}")
    if kind == "serviceaccount":
        project, _, account = name.partition("/")
        return Subject(SERVICE_ACCOUNT, account, project)
    return normal(Subject(USER if kind == "user" else GROUP, name))


def word_of(subject: Subject) -> str:
    """The word of `allow` that means a subject; empty where there is none."""
    named = {USER: f"user:{subject.name}", GROUP: f"group:{subject.name}"}
    words = [
        *(word for word, known in _WORDS.items() if known == subject),
        f"project:{subject.project}" if subject.project and subject.kind == GROUP else "",
        f"serviceaccount:{subject.namespace}/{subject.name}" if subject.kind == SERVICE_ACCOUNT else "",
        named.get(subject.kind, ""),
    ]
    return next((word for word in words if word and subject_of(word) == subject), "")


def normal(subject: Subject) -> Subject:
    """One way to write each subject: a service account is no user of a long name."""
    if subject.kind == USER and subject.name.startswith(_ACCOUNT):
        project, _, account = subject.name.removeprefix(_ACCOUNT).partition(":")
        if project and account and ":" not in account:
            return Subject(SERVICE_ACCOUNT, account, project)
    return subject


def subjects_of(binding: dict[str, Any], namespace: str) -> tuple[Subject, ...]:
    """The subjects of a RoleBinding, of whatever API: also the legacy kinds, and userNames and groupNames.

    Args:
        binding: rbac.authorization.k8s.io, authorization.openshift.io, or 3.11's `v1`.
        namespace: its project, where service accounts without one are.
    """
    listed = [_listed(entry, namespace) for entry in _list(binding, "subjects") if isinstance(entry, dict)]
    users = [Subject(USER, str(name)) for name in _list(binding, "userNames")]
    groups = [Subject(GROUP, str(name)) for name in _list(binding, "groupNames")]
    return tuple(dict.fromkeys(normal(subject) for subject in (*listed, *users, *groups) if subject.name))


def _list(binding: dict[str, Any], key: str) -> list[Any]:
    found = binding.get(key)
    return found if isinstance(found, list) else []


def _listed(entry: dict[str, Any], namespace: str) -> Subject:
    kind = str(entry.get("kind", ""))
    kind = _LEGACY_KINDS.get(kind, kind)
    place = str(entry.get("namespace") or namespace) if kind == SERVICE_ACCOUNT else ""
    return Subject(kind, str(entry.get("name", "")), place)


def nobody(subject: Subject) -> str:
    """Why a binding to this subject lets nobody in, in words; empty where it may let somebody in."""
    if subject.kind == USER and subject.name in ("system:unauthenticated", *_LOGGED_IN):
        word = "authenticated" if subject.name in _LOGGED_IN else "unauthenticated"
        return f"{subject.name} is a group: as a user it is nobody (write `{word}`)"
    if subject.kind == USER and subject.name.startswith(_ACCOUNT):
        return f"{subject.name} is no service account: system:serviceaccount:PROJECT:NAME is one"
    if subject.kind == GROUP and subject.name == ANONYMOUS.name:
        return "system:anonymous is a user: as a group it is nobody (write `anonymous`)"
    return ""


def only_there(subject: Subject) -> str:
    """Why a subject of the old cluster cannot be one of the new, in words; empty where it can."""
    if words := nobody(subject):
        return words
    if subject.kind not in (USER, GROUP, SERVICE_ACCOUNT):
        return f"a subject of kind {subject.kind} is not known"
    own = subject.name.startswith("system:") and subject != ANONYMOUS and not subject.project
    if own and subject.kind == USER:
        return "a user of the old cluster itself"
    if own and subject.kind == GROUP and subject.name not in _KNOWN_GROUPS:
        return "a group of the old cluster itself"
    return ""


def words_for(subject: Subject) -> str:
    """Who that is, for a person."""
    if subject in WITHOUT_LOGIN:
        return "anyone on the internet, without a login,"
    if subject.kind == GROUP and subject.name in _LOGGED_IN:
        return "everyone who is logged in to the cluster"
    if subject.kind == GROUP and subject.name == _ALL_ACCOUNTS:
        return "the service accounts of all projects"
    if subject.kind == GROUP and subject.project:
        return f"the service accounts of project {subject.project}"
    if subject.kind == SERVICE_ACCOUNT:
        return f"service account {subject.name} of project {subject.namespace}"
    return printable(f"{'members of group' if subject.kind == GROUP else 'user'} {subject.name}")


def asked_as(subject: Subject) -> tuple[str, tuple[str, ...]]:
    """The user and groups of a caller who is this subject and nothing more, for an access review."""
    if subject in WITHOUT_LOGIN:
        return ANONYMOUS.name, (UNAUTHENTICATED.name,)
    if subject.kind == SERVICE_ACCOUNT:
        user = f"{_ACCOUNT}{subject.namespace}:{subject.name}"
        return user, (_ALL_ACCOUNTS, f"{_ACCOUNTS}{subject.namespace}", AUTHENTICATED.name)
    if subject.kind == USER:
        return subject.name, _LOGGED_IN
    if subject.project:
        return "", (subject.name, _ALL_ACCOUNTS, AUTHENTICATED.name)
    return "", tuple(dict.fromkeys((subject.name, AUTHENTICATED.name)))
