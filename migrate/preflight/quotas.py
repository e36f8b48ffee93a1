"""Quotas and limit ranges of a project, as its API tells them. Pure.

v1 ResourceQuota; quota.openshift.io/v1 AppliedClusterResourceQuota; v1 LimitRange with openshift.io/ImageStream.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from migrate.images.streams import mapping, mappings
from migrate.quantities import kubernetes_quantity

IMAGE_STREAMS = ("openshift.io/imagestreams", "count/imagestreams.image.openshift.io", "count/imagestreams")
PODS = ("pods", "count/pods")


@dataclass(frozen=True, slots=True)
class Quota:
    """How many of something there may be.

    Attributes:
        name: of the quota.
        shared: whether other projects use it, too.
        hard: the limit.
        used: how many there are.
    """

    name: str
    shared: bool
    hard: int
    used: int

    @property
    def free(self) -> int:
        """How many more there may be."""
        return max(self.hard - self.used, 0)


def tightest(documents: Iterable[Mapping[str, Any]], counted: Iterable[str]) -> Quota | None:
    """The project's own quota that leaves least room for something; None where none counts it.

    Args:
        documents: quotas of one project, of both kinds.
        counted: the names under which it is counted.
    """
    found = [quota for document in documents for quota in _quotas(document, tuple(counted))]
    return min((quota for quota in found if not quota.shared), key=lambda quota: quota.free, default=None)


def shared_quotas(documents: Iterable[Mapping[str, Any]], counted: Iterable[str]) -> list[Quota]:
    """Those quotas that count something for several projects together, each once."""
    found = [quota for document in documents for quota in _quotas(document, tuple(counted)) if quota.shared]
    return list({quota.name: quota for quota in sorted(found, key=lambda quota: -quota.free)}.values())


def _quotas(document: Mapping[str, Any], counted: tuple[str, ...]) -> Iterator[Quota]:
    status = mapping(document.get("status"))
    shared = "total" in status or "quota" in mapping(document.get("spec"))
    numbers = mapping(status.get("total")) if shared else status
    spec = mapping(document.get("spec"))
    asked = mapping(mapping(spec.get("quota")).get("hard")) if shared else mapping(spec.get("hard"))
    hard, used = {**asked, **mapping(numbers.get("hard"))}, mapping(numbers.get("used"))
    for key in counted:
        limit = _number(hard.get(key))
        if limit is not None:
            yield Quota(
                str(mapping(document.get("metadata")).get("name", "")), shared, limit, _number(used.get(key)) or 0
            )


def most_images(ranges: Iterable[Mapping[str, Any]]) -> int | None:
    """How many different images an image stream may have (LimitRange, openshift.io/images); None for no limit."""
    limits = [limit for document in ranges for limit in mappings(mapping(document.get("spec")).get("limits"))]
    found = [
        _number(mapping(limit.get("max")).get("openshift.io/images"))
        for limit in limits
        if limit.get("type") == "openshift.io/ImageStream"
    ]
    return min((number for number in found if number is not None), default=None)


def _number(quantity: object) -> int | None:
    try:
        return kubernetes_quantity(str(quantity)) if quantity is not None else None
    except ValueError:
        return None
