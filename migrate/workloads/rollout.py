"""How far workloads have come on a cluster, and what keeps them, in words."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from migrate.cluster import Cluster, ClusterError, Object, Problem
from migrate.kinds import EVENT, POD
from migrate.printable import printable
from migrate.workloads.objects import Item

FOLLOWED = ("Deployment", "DeploymentConfig", "StatefulSet", "DaemonSet")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0
_QUOTA = re.compile(r"exceeded quota")
_SCC = re.compile(r"security context constraint")
_RANGE = re.compile(r"(maximum|minimum) (cpu|memory)|limit to request ratio|must be less than or equal to")


class Progress(StrEnum):
    """How far one workload is."""

    READY = "ready"
    STOPPED = "stopped"
    WAITS = "waits"
    FAILED = "failed"


@dataclass(frozen=True)
class Rollout:
    """One workload as it is now."""

    label: str
    progress: Progress
    words: str = ""


def follow(
    cluster: Cluster, items: Sequence[Item], seconds: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[list[Rollout]]:
    """Look again and again until nothing is to be waited for or the time is over; gives what it saw when that changed.

    Raises:
        ClusterError: the login is refused.
    """
    end, wait = time.monotonic() + seconds, _FIRST_WAIT
    before: list[Rollout] = []
    while True:
        now = [rollout_of(cluster, item) for item in items]
        if now != before:
            yield now
        before = now
        left = end - time.monotonic()
        if left <= 0 or all(each.progress is not Progress.WAITS for each in now):
            return
        pause(min(wait, left))
        wait = min(wait * 1.5, _LONGEST_WAIT)


def rollout_of(cluster: Cluster, item: Item) -> Rollout:
    """One workload as it is now.

    Raises:
        ClusterError: the login is refused.
    """
    try:
        live = cluster.get(item.kind, item.name, item.project)
        if live is None:
            return Rollout(item.label, Progress.FAILED, "is not there any more")
        found = _of_status(item, live)
        if found.progress in (Progress.READY, Progress.STOPPED):
            return found
        words = "; ".join(dict.fromkeys(_troubles(cluster, item, live)))
    except ClusterError as error:
        if error.problem is Problem.LOGIN:
            raise
        return Rollout(item.label, Progress.WAITS, f"cannot be read: {error.words}")
    return Rollout(item.label, found.progress, " ".join(filter(None, [found.words, f"({words})" if words else ""])))


def _of_status(item: Item, live: Object) -> Rollout:
    spec, status = live.get("spec") or {}, live.get("status") or {}
    meta = live.get("metadata") or {}
    is_daemon = item.kind.name == "DaemonSet"
    wanted = int(status.get("desiredNumberScheduled") or 0) if is_daemon else int(spec.get("replicas", 1) or 0)
    seen = int(status.get("observedGeneration") or 0) >= int(meta.get("generation") or 0)
    if not wanted and not is_daemon:
        return Rollout(item.label, Progress.STOPPED, "0 pods are wanted")
    updated = int(status.get("updatedNumberScheduled" if is_daemon else "updatedReplicas") or 0)
    there = int(status.get("numberAvailable" if is_daemon else _ready(item)) or 0)
    words = f"{min(updated, there)} of {wanted} pods ready"
    if seen and min(updated, there) >= wanted and (wanted or is_daemon) and status:
        return Rollout(item.label, Progress.READY, words)
    failed = any(_is_failed(each) for each in status.get("conditions") or ())
    return Rollout(item.label, Progress.FAILED if failed else Progress.WAITS, words)


def _ready(item: Item) -> str:
    return "readyReplicas" if item.kind.name == "StatefulSet" else "availableReplicas"


def _is_failed(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") == "Progressing" and condition.get("status") == "False"


# --- what keeps them --------------------------------------------------------------------------------------------


def _troubles(cluster: Cluster, item: Item, live: Object) -> Iterator[str]:
    labels = _selector(live)
    pods = [pod for pod in cluster.list(POD, item.project) if labels and _fits(pod, labels)]
    for pod in pods:
        yield from _of_pod(pod)
    if not pods:
        yield from _of_events(cluster, item)


def _selector(live: Object) -> dict[str, str]:
    selector = (live.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    return {str(key): str(value) for key, value in (labels or {}).items()}


def _fits(pod: Object, labels: Mapping[str, str]) -> bool:
    own = (pod.get("metadata") or {}).get("labels") or {}
    return all(own.get(key) == value for key, value in labels.items())


def _of_pod(pod: Object) -> Iterator[str]:
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"no node takes the pod: {_short(condition.get('message'))}"
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (each.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), _short(waiting.get("message"))
        if reason in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"):
            yield f"image {each.get('image', '')} cannot be pulled ({reason}): {message}"
        elif reason == "CrashLoopBackOff":
            last = ((each.get("lastState") or {}).get("terminated") or {}).get("exitCode")
            code = f", exit code {last}" if last is not None else ""
            yield f"container {each.get('name', '')} ends again and again{code}: see oc logs"
        elif reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            yield f"container {each.get('name', '')} cannot start ({reason}): {message}"


def _of_events(cluster: Cluster, item: Item) -> Iterator[str]:
    """Why no pod was made: the newest FailedCreate of what the workload made."""
    named = re.compile(rf"{re.escape(item.name)}(-[a-z0-9]+)*")
    events = [event for event in cluster.list(EVENT, item.project) if event.get("reason") == "FailedCreate"]
    events = [event for event in events if named.fullmatch(str((event.get("involvedObject") or {}).get("name")))]
    events.sort(key=lambda event: str(event.get("lastTimestamp") or ""))
    for event in events[-1:]:
        message = _short(event.get("message"))
        if _QUOTA.search(message):
            yield f"the project's quota is used up: {message} -> oc describe quota -n {item.project}"
        elif _SCC.search(message):
            yield f"its security context is refused: {message} -> take out what it asks for, or ask for another SCC"
        elif _RANGE.search(message):
            yield f"its requests or limits are out of range: {message} -> oc describe limitrange -n {item.project}"
        else:
            yield f"no pod can be made: {message}"


def _short(text: object) -> str:
    return printable(str(text or "no words"), 300)
