"""What else points at the old cluster: one list, from what the rules have found, with what to do about each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.manifest.rahti import SOURCE_EGRESS, TARGET_EGRESS, TARGET_ROUTER
from migrate.workloads.findings import Finding

_SHOWN = 10


@dataclass(frozen=True)
class Pointer:
    """Something outside of what is applied that still leads to the old cluster.

    Attributes:
        what: in a few words.
        places: `file:line what`, where it was seen; empty where no file tells of it.
        todo: what a person does.
    """

    what: str
    places: tuple[str, ...]
    todo: str


def pointers(findings: Sequence[Finding], project: str, registry: str) -> list[Pointer]:
    """The list for one target project; `registry` is the target's, by its outside name."""

    def of(*rules: str, egress: bool = False) -> list[Finding]:
        return [f for f in findings if f.rule in rules and (SOURCE_EGRESS in f.before) is egress]

    push = (
        f"push to {registry}/{project}/... with a token: oc create serviceaccount pusher -n {project} && oc policy"
        f" add-role-to-user system:image-pusher -z pusher -n {project} && oc create token pusher -n {project}"
        " --duration=720h"
    )
    hooks = f"give your Git server the new addresses: oc describe bc -n {project}"
    scripts = "write deployment/NAME; `oc rollout latest dc/X` is `oc rollout restart deployment/X`"
    unknown_hosts = [f for f in of("host-mention") if not f.after]
    addresses = of("old-cluster-mention", "policy-address", "route-allowlist", egress=True)
    every = (
        ("domains of your own", of("route-domain"), f"change each CNAME to {TARGET_ROUTER}"),
        ("hosts of the old cluster that no Route here has", unknown_hosts, "find out who is meant, and correct it"),
        ("webhooks of builds", of("build-webhooks"), hooks),
        ("pipelines and other files that name the old registry", of("text-registry"), push),
        ("commands on DeploymentConfigs in scripts", of("dc-in-scripts", "dc-in-files"), scripts),
        ("addresses of the old cluster", of("old-cluster-mention"), "write the new ones: the finding says them"),
        (f"firewalls that let {SOURCE_EGRESS} in", addresses, f"let {TARGET_EGRESS} in, and ask others to"),
    )
    return [Pointer(what, _places(found), todo) for what, found, todo in every if found]


def _places(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{f.file}:{f.line} {f.before or f.object}".rstrip() for f in findings))


def pointer_lines(found: Sequence[Pointer]) -> Iterator[str]:
    """The list for people; nothing where it is empty."""
    if not found:
        return
    yield ""
    yield "What else points at the old cluster:"
    for each in found:
        yield f"  {each.what}:"
        yield from (f"    {place}" for place in each.places[:_SHOWN])
        if len(each.places) > _SHOWN:
            yield f"    and {len(each.places) - _SHOWN:,} more"
        yield f"      -> {each.todo}"


def pointer_document(each: Pointer) -> dict[str, Any]:
    """One entry of the list in JSON."""
    return {"what": each.what, "places": list(each.places), "todo": each.todo}
