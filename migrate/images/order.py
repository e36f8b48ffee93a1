"""Orders of copying that a person may ask for, in place of the one that is fastest. Pure."""

from collections.abc import Callable, Sequence
from enum import StrEnum

from migrate.images.schedule import ranked
from migrate.images.transfer import Job


class Order(StrEnum):
    """What comes first."""

    FASTEST = "fastest"
    SMALLEST = "smallest"
    LARGEST = "largest"
    IN_USE = "in-use"


def ranks(order: Order, jobs: Sequence[Job], is_used: Callable[[Job], bool]) -> list[float] | None:
    """For each job, the higher the earlier; None where the schedule is to find the fastest order.

    Blobs that images share cross once in every order: an image may have to wait for one that brings them.

    Args:
        order: what was asked for.
        jobs: what is to be done.
        is_used: whether a workload names an image of a job.
    """
    match order:
        case Order.FASTEST:
            return None
        case Order.SMALLEST:
            return [-float(job.unit.size) for job in jobs]
        case Order.LARGEST:
            return [float(job.unit.size) for job in jobs]
    gains = ranked([job.unit for job in jobs])
    first = max(gains, default=0.0) + 1
    return [gain + first if is_used(job) else gain for job, gain in zip(jobs, gains, strict=True)]
