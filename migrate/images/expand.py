"""What a manifest's entries mean: every tag of them, once, and where two of them would meet."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from migrate.images.failures import ONCE_MORE, Failure, FailureClass
from migrate.images.lookups import Lookups, answers
from migrate.images.plan import Action, Copy
from migrate.images.registry import RegistryError
from migrate.images.streams import Kept
from migrate.manifest import ImageRequest, tags
from migrate.manifest.requests import repository_target
from migrate.printable import printable
from migrate.quantities import count
from migrate.reference import Reference, Repository, valid_path, valid_tag

Wanted = tuple[ImageRequest, Copy]
_SHOWN = 5


@dataclass(frozen=True)
class TagList:
    """The chosen tags of a repository, all that it has, and names that it lists and that can be no tags."""

    tags: list[str]
    there: list[str]
    odd: list[str]


def expand(
    requests: Sequence[ImageRequest], target: str, look: Lookups, executor: Executor
) -> tuple[list[Wanted], list[str]]:
    """Every tag that the entries mean, in their order, not looked at yet; and what a project has without tags."""
    repositories, failed = answers(executor, partial(_repositories, look), [r for r in requests if _is_open(r)])
    listed = [(request, name) for request, names in repositories.items() for name in names]
    tag_lists, unlisted = answers(executor, partial(_tags, look), listed)
    wanted: list[Wanted] = []
    notes: list[str] = []
    for request in requests:
        make = partial(_wanted, request, target)
        if not _is_open(request):
            wanted.append((request, make(request.source, request.target_path, request.target_tag)))
        elif request in failed:
            wanted.append((request, make(request.source, request.target_path, "").refused(failed[request])))
        else:
            found = list(_expanded(request, repositories[request], tag_lists, unlisted, make))
            wanted += [(request, copy) for copy in found]
            notes += _empty(request, repositories[request], tag_lists) if found else []
            notes += _never_imported(look, repositories[request])
            if not found:
                there = [name for each in repositories[request] for name in tag_lists[request, each].there]
                failure = _nothing_found(request, there)
                wanted.append((request, make(request.source, request.target_path, "").refused(failure)))
    return wanted, notes


def _expanded(
    request: ImageRequest,
    repositories: list[Repository],
    tag_lists: Mapping[tuple[ImageRequest, Repository], TagList],
    unlisted: Mapping[tuple[ImageRequest, Repository], Failure],
    make: Callable[[Reference, str, str], Copy],
) -> Iterator[Copy]:
    for repository in repositories:
        path = repository_target(request, repository)
        every_tag = make(Reference(repository), path, "")
        if (request, repository) in unlisted:
            yield every_tag.refused(unlisted[request, repository])
            continue
        found = tag_lists[request, repository]
        if found.odd:
            yield every_tag.refused(Failure(FailureClass.UNSUPPORTED, _odd_names(found.odd)))
        for tag in found.tags:
            yield make(repository.tagged(tag), path, tag)


def _empty(
    request: ImageRequest,
    repositories: Iterable[Repository],
    tag_lists: Mapping[tuple[ImageRequest, Repository], TagList],
) -> Iterator[str]:
    """Repositories that add nothing: usual in a project (an image stream without tags), and said all the same."""
    for repository in repositories:
        found = tag_lists.get((request, repository))
        if found and not found.tags:
            yield f"{repository.path}: {_nothing_found(request, found.there).words}"


def _never_imported(look: Lookups, repositories: Iterable[Repository]) -> Iterator[str]:
    """Tags of image streams that name an image which never came."""
    for repository in repositories:
        stream = look.stream(repository)
        for tag in stream.tags.values() if stream else ():
            if tag.kept is Kept.NOWHERE:
                what = f"names {tag.words} and was never imported" if tag.words else "names no image"
                yield f"{repository.path}:{tag.name}: it {what}"


def _odd_names(names: Sequence[str]) -> str:
    """What the registry lists and no request could name: said, because it stays behind."""
    shown = ", ".join(repr(printable(name, 40)) for name in names[:3])
    return f"{count(len(names), 'name')} in its tag list can be no tag: {shown}{', ...' if len(names) > 3 else ''}"


def _is_open(request: ImageRequest) -> bool:
    return not request.source.tag and not request.source.digest


def _wanted(request: ImageRequest, target: str, source: Reference, path: str, tag: str) -> Copy:
    return Copy(source, Reference(Repository(target, path), tag), Action.COPY, "", request.options)


def _nothing_found(request: ImageRequest, there: Sequence[str]) -> Failure:
    chosen = request.tags.model_dump(exclude_none=True)
    path = request.source.repository.path
    words = f"no tag passes `tags`; {tags_there(path, there)}" if chosen and there else "the repository has no tags"
    return Failure(FailureClass.NOT_FOUND, words)


def tags_there(path: str, names: Sequence[str]) -> str:
    """`shop/web has 7 tags: 1.0, 1.1, 1.2, 1.3, 1.4, ...`: what somebody may have meant."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{path} has {count(len(names), 'tag')}: {', '.join(names[:_SHOWN])}{more}"


def _repositories(look: Lookups, request: ImageRequest) -> list[Repository]:
    """The repositories of an entry.

    Raises:
        RegistryError: the project cannot be listed; says to list the repositories.
    """
    source = request.source.repository
    if not request.project:
        return [source]
    try:
        names = look.repositories(source.registry, source.path)
    except RegistryError as error:
        words = (
            f"{source.registry} does not list its repositories to this login ({error.failure.words}); list them in"
            f" the manifest: {source.path}/<image stream>"
        )
        raise RegistryError(error.what, replace(error.failure, words=words)) from None
    names = sorted(name for name in names if valid_path(name))
    if not names:
        words = f"{source.registry} has no repository {source.path}/... that this login may see"
        raise RegistryError(str(source), Failure(FailureClass.NOT_FOUND, words))
    return [Repository(source.registry, name) for name in names]


def _tags(look: Lookups, listed: tuple[ImageRequest, Repository]) -> TagList:
    request, repository = listed
    selector = request.tags
    there = _listed(look, repository)
    odd = [name for name in there if not valid_tag(name)]
    valid = [name for name in there if valid_tag(name)]
    names = tags.matching(valid, selector.include, selector.exclude, selector.semver)
    if selector.newest is not None:
        names = sorted(tags.newest(names, selector.newest, lambda tag: look.created(repository.tagged(tag))))
    return TagList(names, valid, odd)


def _listed(look: Lookups, repository: Repository) -> list[str]:
    try:
        return look.tags(repository)
    except RegistryError as error:
        if error.failure.kind not in ONCE_MORE:
            raise
    return look.tags(repository)


def merge(wanted: Iterable[Wanted]) -> list[Copy]:
    """Each (source, target) once; where entries overlap, the most particular one's options hold, then the last's."""
    merged: dict[tuple[Reference, Reference], Wanted] = {}
    for request, copy in wanted:
        known = merged.get((copy.source, copy.target))
        if known is None or _particular(request) >= _particular(known[0]):
            merged[copy.source, copy.target] = request, copy
    return [copy for _, copy in merged.values()]


def _particular(request: ImageRequest) -> int:
    return 0 if request.project else 1 if _is_open(request) else 2


def refuse_clashes(copies: Sequence[Copy]) -> list[Copy]:
    """Two different sources for one target tag: neither is copied, because nobody said which is meant."""
    sources: dict[Reference, set[Reference]] = defaultdict(set)
    for copy in copies:
        if copy.target.tag:
            sources[copy.target].add(copy.source)
    return [_clash(copy, sources[copy.target]) if len(sources[copy.target]) > 1 else copy for copy in copies]


def _clash(copy: Copy, sources: set[Reference]) -> Copy:
    others = ", ".join(sorted(source.short for source in sources if source != copy.source))
    return copy.refused(Failure(FailureClass.CLASH, f"{others} would go to {copy.target.short} too"))
