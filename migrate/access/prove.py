"""Does each grant hold? Asked of the registry as the grantee would, else of the API; and what is open beyond it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from migrate.access.grants import Grant
from migrate.access.read import Stream
from migrate.access.subjects import WITHOUT_LOGIN, Subject, asked_as
from migrate.quantities import count

Pull = Callable[[Subject, str, Stream], bool | None]
"""(who, project, image stream with a tag) -> whether the registry gives them its manifest; None: it cannot be asked."""
Review = Callable[[str, str, tuple[str, ...], Mapping[str, str]], bool]
"""(project, user, groups, attributes) -> whether the API would let them."""

_PULL = {"verb": "get", "group": "image.openshift.io", "resource": "imagestreams", "subresource": "layers"}


@dataclass(frozen=True)
class Proof:
    """What came of one grant.

    Attributes:
        grant: which.
        holds: whether it does.
        words: how that is known.
        denied: image streams that could not be pulled.
        login: whether a login that was to prove it is missing or no longer taken.
    """

    grant: Grant
    holds: bool
    words: str
    denied: tuple[str, ...] = ()
    login: bool = False


def prove(grant: Grant, images: Sequence[str], streams: Sequence[Stream], pull: Pull, review: Review) -> Proof:
    """Ask whether a grant holds: the registry, for every image stream that it opens; else the API.

    Args:
        grant: the wish.
        images: the image streams that it opens; none for all.
        streams: the project's image streams.
        pull: asks the registry as somebody.
        review: asks the API about somebody.
    """
    opened = [stream for stream in streams if not images or stream.name in images]
    asked = {stream.name: pull(grant.subject, grant.project, stream) for stream in opened if stream.tag}
    answers = {name: answer for name, answer in asked.items() if answer is not None}
    return _pulled(grant, answers) if answers else _reviewed(grant, images, review)


def _pulled(grant: Grant, answers: Mapping[str, bool]) -> Proof:
    denied = tuple(name for name, allowed in answers.items() if not allowed)
    how = "without a login" if grant.subject in WITHOUT_LOGIN else "with their token"
    if denied:
        return Proof(grant, holds=False, words=f"the registry refuses {', '.join(denied[:5])} {how}", denied=denied)
    return Proof(grant, holds=True, words=f"pulled {how}: {count(len(answers), 'image stream')}")


def _reviewed(grant: Grant, images: Sequence[str], review: Review) -> Proof:
    user, groups = asked_as(grant.subject)
    names = images or ("",)
    denied = tuple(
        name for name in names if not review(grant.project, user, groups, {**_PULL, **({"name": name} if name else {})})
    )
    if denied:
        what = f" {', '.join(filter(None, denied))}" if any(denied) else ""
        return Proof(grant, holds=False, words=f"the API says that they may not pull{what}", denied=denied)
    return Proof(grant, holds=True, words="the API says that they may pull (access review of the name)")


def open_beyond(project: str, streams: Sequence[Stream], meant: Sequence[Sequence[str]], pull: Pull) -> list[str]:
    """Image streams that anyone can pull without a login although no grant says so.

    Args:
        project: where.
        streams: its image streams.
        meant: what each grant to callers without a login opens; nothing named is everything.
        pull: asks the registry as somebody.
    """
    if any(not images for images in meant):
        return []
    named = {image for images in meant for image in images}
    others = [stream for stream in streams if stream.tag and stream.name not in named]
    return [stream.name for stream in others if pull(WITHOUT_LOGIN[0], project, stream)]
