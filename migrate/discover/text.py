"""A manifest with comments, from what was found. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from migrate.discover.found import FoundDigest, FoundProject, FoundStream, FoundTag
from migrate.discover.read import Allowed
from migrate.images.streams import Kept
from migrate.printable import printable
from migrate.quantities import count, format_size

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_DEFAULT_ROLE = "registry-viewer"
_USERS_SHOWN = 6


def manifest_text(
    head: Sequence[str], ends: Mapping[str, Mapping[str, Any]], projects: Sequence[FoundProject], *, only_in_use: bool
) -> str:
    """The whole file.

    Args:
        head: comments for its beginning.
        ends: `source` and `target`, as the manifest has them.
        projects: what was found.
        only_in_use: what no workload names stands there as a comment.
    """
    lines = [f"# {line}".rstrip() for line in head]
    lines += ["version: 1", *(f"{end}: {flow(side)}" for end, side in ends.items()), "projects:"]
    lines += [f"  {scalar(project.name)}: {scalar(project.target)}" for project in projects]
    images = [line for project in projects for line in _images(project, only_in_use=only_in_use)]
    lines += ["", *_section("images", images)]
    lines += ["", *_section("access", _once(line for project in projects for line in _access(project)))]
    lines += ["", *_section("workloads", [line for project in projects for line in _workloads(project)])]
    return "\n".join(lines) + "\n"


def _once(lines: Iterable[str]) -> list[str]:
    """Projects that become one may grant the same."""
    return list(dict.fromkeys(lines))


def _section(name: str, lines: Sequence[str]) -> list[str]:
    """A list under its key; where it has only comments the key is one, too."""
    return [f"{name}:" if any(line.startswith("  -") for line in lines) else f"# {name}:", *lines]


def _images(project: FoundProject, *, only_in_use: bool) -> Iterator[str]:
    known = project.workloads is not None
    yield f"  # --- {project.name}: {_in_all(project)}"
    for stream in project.streams:
        yield f"  # {_about(stream, known=known, all_read=not project.unread)}"
        yield from (f"  #   {line}" for line in _remarks(stream))
        if only_in_use:
            yield from _entries(stream)
        elif stream.tags:
            yield f"  - {stream.path}"
        yield from (_digest_entry(stream.path, found) for found in stream.digests)
    yield from _others(project)
    yield from (f"  # note: {printable(note)}" for note in project.notes)


def _in_all(project: FoundProject) -> str:
    tags = [tag for stream in project.streams for tag in stream.tags]
    sizes = {tag.digest or (stream.path, tag.name): tag.size for stream in project.streams for tag in stream.tags}
    size = format_size(sum(sizes.values()))
    return f"{count(len(project.streams), 'image stream')}, {count(len(tags), 'tag')}, {size}"


def _about(stream: FoundStream, *, known: bool, all_read: bool) -> str:
    name = stream.path.partition("/")[2] or stream.path
    if not stream.tags and not stream.digests:
        return f"{name}: no tags"
    sizes = {tag.digest or tag.name: tag.size for tag in stream.tags}
    newest = max((tag.created for tag in stream.tags), default="")[:10]
    size = sum(sizes.values())
    facts = [count(len(stream.tags), "tag"), *([format_size(size)] if size else [])]
    facts += [f"newest {printable(newest)}"] if newest else []
    return f"{name}: {', '.join(facts)}{f'; {_use(stream, all_read=all_read)}' if known else ''}"


def _use(stream: FoundStream, *, all_read: bool) -> str:
    used = [f"{tag.name} ({_users(tag.users)})" for tag in stream.tags if tag.users]
    if used:
        return f"in use: {', '.join(used)}"
    if stream.is_used:
        return "in use by digest only"
    return "no workload uses it" if all_read else "no workload that could be read uses it"


def _users(users: Sequence[str]) -> str:
    shown = [printable(user) for user in users[:_USERS_SHOWN]]
    return ", ".join([*shown, *(["..."] if len(users) > len(shown) else [])])


def _remarks(stream: FoundStream) -> Iterator[str]:
    for tag in stream.tags:
        if tag.kept is Kept.ALIAS:
            yield f"{tag.name} follows {printable(tag.also)}"
        elif tag.kept is Kept.EXTERNAL:
            yield f"{tag.name} is kept at {printable(tag.also)}"
        if tag.problem:
            yield f"{tag.name} cannot be read: {printable(tag.problem, 200)}"
    yield from (f"{printable(words)}" for words in stream.never)


def _entries(stream: FoundStream) -> Iterator[str]:
    """Each tag, those that nobody uses as a comment."""
    for tag in stream.tags:
        sign = "- " if tag.users else "# - "
        yield f"  {sign}{stream.path}:{tag.name}  # {_facts(tag)}"


def _facts(tag: FoundTag) -> str:
    who = _users(tag.users) if tag.users else "no workload uses it"
    return ", ".join(filter(None, [format_size(tag.size) if tag.size else "", printable(tag.created[:10]), who]))


def _digest_entry(path: str, found: FoundDigest) -> str:
    what = f"{path}@{found.digest}  # {_users(found.users)} names it, and no tag is it now"
    if found.problem:
        return f"  # - {what}; it cannot be read: {printable(found.problem, 200)}"
    return f"  - {what}"


def _others(project: FoundProject) -> Iterator[str]:
    """What workloads name and this manifest does not move."""
    for image, users in project.missing.items():
        yield f"  # {_users(users)} names {printable(image)}, which is not there"
    for image, users in project.unclear.items():
        yield f"  # {_users(users)} names {printable(image)}, and which image that is cannot be told"
    for image, users in project.elsewhere.items():
        yield f"  # - {printable(image)}  # of a project that is not moved here; {_users(users)} uses it"
    for image, users in project.outside.items():
        name = re.sub(r"[:@].*", "", image.rpartition("/")[2])
        copy = f"{{from: {printable(image)}, to: {project.target}/{name}}}"
        yield f"  # - {copy}  # of another registry; {_users(users)} uses it"


def _access(project: FoundProject) -> Iterator[str]:
    yield from (f"  # note: {printable(note)}" for note in project.access_notes)
    if project.access is None:
        yield "  # who may pull today could not be read; with the source's OpenShift API this would carry it over:"
        yield f"  # - {{project: {scalar(project.target)}, carryOver: true}}"
    elif not project.access:
        yield f"  # nobody but its own service accounts may pull from {project.name} today"
    else:
        yield f"  # who may pull from {project.name} today, besides its own service accounts, which always may"
        yield from (f"  - {flow(_entry(project.target, allowed))}" for allowed in project.access)


def _entry(project: str, allowed: Allowed) -> dict[str, Any]:
    entry: dict[str, Any] = {"project": project, "allow": list(allowed.words)}
    if allowed.images:
        entry["images"] = list(allowed.images)
    elif allowed.role != _DEFAULT_ROLE:
        entry["role"] = allowed.role
    return entry


def _workloads(project: FoundProject) -> Iterator[str]:
    source = {"cluster": "source", "project": project.name}
    entry = flow({"from": source, "to": f"rewritten/{project.target}", "project": project.target})
    if project.workloads is None:
        yield f"  # the workloads of {project.name} could not be read; name a file or folder of YAML, or:"
        yield f"  # - {entry}"
    elif project.workloads:
        yield f"  # {count(project.workloads, 'workload')} in {project.name}"
        yield f"  - {entry}"
    else:
        yield f"  # none in {project.name}"


def flow(value: object) -> str:
    """A value on one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value) if isinstance(value, str) else json.dumps(value)


def scalar(text: str) -> str:
    """A text as YAML has it: bare where nobody takes it for anything else, else in quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
