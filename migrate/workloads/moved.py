"""Image references of the source, and what they are called at the target. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from migrate.workloads.context import Context

_PART = r"[A-Za-z0-9_${}-]+(?:[.][A-Za-z0-9_${}-]+)*"
_BEHIND = rf"(?P<path>(?:/{_PART})*)/?(?::(?P<tag>{_PART}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}|\$\{{\w+\}}))?"
_VARIABLE = re.compile(r"\$\{\{?\w+\}?\}|\{\{.*?\}\}")
SHARED_PROJECT = "openshift"
"""The project whose image streams everybody may pull."""


class Trouble(Enum):
    """Why a reference needs more than another name."""

    NONE = auto()
    NOT_MOVED = auto()  # no image of the manifest covers it
    UNSEEN = auto()  # the manifest moves it, but plans found no such tag
    DIGEST_UNKNOWN = auto()  # nothing recorded which digest it has now, and there is no tag
    SHARED = auto()  # of the project openshift: the new cluster has tags of its own
    PROJECT_UNKNOWN = auto()  # nothing says where its project goes; taken to keep its name


@dataclass(frozen=True)
class Found:
    """A reference to the source's registry in a text.

    `old` and `new` are texts; where it cannot be given a new name, they are equal.
    """

    old: str
    new: str
    trouble: Trouble
    path: str = ""


def is_variable(text: str) -> bool:
    """Whether a part of a text is only known when a template is processed."""
    return _VARIABLE.search(text) is not None


def find_references(text: str, context: Context, tags: Mapping[tuple[str, str], str]) -> list[Found]:
    """Every reference to the source's registry in a text, each once, in their order.

    Args:
        text: a reference, or any text with some in it.
        context: both ends.
        tags: (repository, digest) -> a tag that it had.
    """
    pattern = _reference(context.registries.pattern().pattern)
    found = {}
    for each in pattern.finditer(text):
        old = each[0].rstrip("/") if not each["tag"] else each[0]
        found[old] = _found(each, old, context, tags)
    return list(found.values())


@cache
def _reference(host: str) -> re.Pattern[str]:
    return re.compile(f"(?P<host>{host}){_BEHIND}", re.IGNORECASE)


def _found(each: re.Match[str], old: str, context: Context, tags: Mapping[tuple[str, str], str]) -> Found:
    host, path, tag, digest = (each[name] or "" for name in ("host", "path", "tag", "digest"))
    new_host = context.registries.moved(host)
    project, _, stream = path.strip("/").partition("/")
    ending = (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    if not project:
        return Found(old, new_host + ending, Trouble.NONE)
    if project == SHARED_PROJECT:
        tag = tag or tags.get((f"{project}/{stream}", digest), "")
        return Found(old, f"{new_host}/{project}/{stream}{':' + tag if tag else ''}", Trouble.SHARED, path[1:])
    if is_variable(project) or is_variable(stream) or not stream:
        new_project = context.target_project(project)
        new_path = f"{new_project}/{stream}" if stream else new_project
        return Found(old, f"{new_host}/{new_path}{ending}", Trouble.NONE, path[1:])
    if digest and not is_variable(digest):
        return _by_digest(old, new_host, f"{project}/{stream}", tag, digest, context, tags)
    return _by_tag(old, new_host, f"{project}/{stream}", tag, context, ending)


def _by_digest(
    old: str, host: str, path: str, tag: str, digest: str, context: Context, tags: Mapping[tuple[str, str], str]
) -> Found:
    copied = context.images.by_digest(path, digest)
    if copied:
        return Found(old, f"{host}/{copied[0]}@{copied[1]}", Trouble.NONE, path)
    tag = tag or tag_of(path, digest, context, tags)
    if tag:
        return _by_tag(old, host, path, tag, context, f":{tag}")
    may_come = context.images.may_move(path, context.registries.source_external)
    return Found(old, old, Trouble.DIGEST_UNKNOWN if may_come else Trouble.NOT_MOVED, path)


def tag_of(path: str, digest: str, context: Context, tags: Mapping[tuple[str, str], str]) -> str:
    """A tag that a digest had in an image stream's status; empty where none is known.

    Streams that name no project (key `/stream`) are of the source project.
    """
    project, _, stream = path.partition("/")
    own = context.own_sources - {context.project}
    is_own = not own or project in own or project == context.project
    return tags.get((path, digest), "") or (tags.get((f"/{stream}", digest), "") if is_own else "")


def _by_tag(old: str, host: str, path: str, tag: str, context: Context, ending: str) -> Found:
    wanted = "" if is_variable(tag) else tag or "latest"
    moved = moved_image(context, path, wanted)
    if moved is None:
        return Found(old, old, Trouble.NOT_MOVED, path)
    new_path, new_tag = moved
    if tag and new_tag and not is_variable(tag):
        ending = f":{new_tag}"
    if wanted and context.images.is_unseen(new_path, new_tag):
        return Found(old, f"{host}/{new_path}{ending}", Trouble.UNSEEN, f"{path}:{wanted}")
    known = context.images.requests is not None or path.partition("/")[0] in context.projects
    known = known or path.partition("/")[0] == context.project
    return Found(old, f"{host}/{new_path}{ending}", Trouble.NONE if known else Trouble.PROJECT_UNKNOWN, path)


def moved_image(context: Context, path: str, tag: str) -> tuple[str, str] | None:
    """Target repository and tag of a source repository and tag; None where nothing moves it."""
    target = context.images.target(path, tag, context.registries.source_external)
    if target is None:
        return None
    project, _, stream = path.partition("/")
    return target[0] or f"{context.target_project(project)}/{stream}", target[1]


def changed_text(text: str, references: list[Found]) -> str:
    """The text with every reference's new name; longer ones first, so that none eats another's beginning."""
    for each in sorted(references, key=lambda each: len(each.old), reverse=True):
        text = text.replace(each.old, each.new)
    return text
