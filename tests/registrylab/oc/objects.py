"""Objects: shown, made, changed, deleted."""

import argparse
import datetime
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import yaml

from registrylab.oc.api import CLUSTER_WIDE, Failure, Kind, Object, kind_of, meant, refuse, say, table
from registrylab.oc.session import CHOOSING, Run, Session, command, each

_PATCHES = {"": "strategic-merge", "strategic": "strategic-merge", "merge": "merge"}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@command("get", "what*", "-o --output=", "-l --selector=", "-A --all-namespaces", "--ignore-not-found")
def get(session: Session, args: argparse.Namespace) -> int:
    """Objects, one by one or all of a kind."""
    if args.output not in ("", "wide", "name", "json", "yaml"):
        raise refuse(f"unknown output format {args.output}")
    found: list[tuple[Kind, Object]] = []

    def collect(kind: Kind, name: str) -> None:
        listed = [] if name else session.all(kind, args.selector, args.all_namespaces)
        found.extend((kind, item) for item in (listed or [session.api("GET", session.path(kind, name))] * bool(name)))

    asked = meant(args.what)
    code = each(collect, asked, args.ignore_not_found)
    items = [_shown(item) for _, item in found]
    document = items[0] if len(asked) == len(items) == 1 and asked[0][1] else _listing(items)
    match args.output:
        case "name":
            for kind, item in found:
                say(f"{kind.full}/{item['metadata']['name']}")
        case "json" if found or not code:
            say(json.dumps(document, indent=4, sort_keys=True))
        case "yaml" if found or not code:
            say(yaml.safe_dump(document).rstrip())
        case "" | "wide":
            _tables(found)
            if not (found or code or args.ignore_not_found):
                where = "" if args.all_namespaces else f" in {session.namespace} namespace."
                sys.stderr.write(f"No resources found{where}\n")
    return code


def _listing(items: list[Object]) -> Object:
    return {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}


def _shown(item: Object) -> Object:
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "managedFields"}}


def _tables(found: list[tuple[Kind, Object]]) -> None:
    """The columns that oc makes by itself; a real server sends better ones."""
    groups = [(kind, list(rows)) for kind, rows in itertools.groupby(found, key=lambda pair: pair[0])]
    for at, (kind, rows) in enumerate(groups):
        if at:
            say()
        prefix = f"{kind.full}/" if len(groups) > 1 else ""
        lines = [(f"{prefix}{item['metadata']['name']}", _age(item)) for _, item in rows]
        table([("NAME", "AGE"), *lines])


def _age(item: Object) -> str:
    made = datetime.datetime.fromisoformat(item["metadata"]["creationTimestamp"])
    return f"{int((datetime.datetime.now(datetime.UTC) - made).total_seconds())}s"


@command("delete", *CHOOSING, "-f --filename=", "--ignore-not-found", "--now", "--wait")
def delete(session: Session, args: argparse.Namespace) -> int:
    """No projects: no guide may say that."""

    def remove(kind: Kind, name: str) -> None:
        if kind.kind in CLUSTER_WIDE:
            raise refuse(f"a {kind.kind} is not deleted")
        session.api("DELETE", session.path(kind, name))
        say(f'{kind.full} "{name}" deleted from {session.namespace} namespace')

    files = [(kind_of(item["kind"]), item["metadata"]["name"]) for item in _documents(args.filename)]
    return each(remove, files or session.things(args, args.what), args.ignore_not_found)


@command("scale", *CHOOSING, "--replicas=")
def scale(session: Session, args: argparse.Namespace) -> int:
    """Said is what is wanted; nothing runs."""
    if not args.replicas.isdigit():
        raise Failure('error: required flag(s) "replicas" not set')

    def act(kind: Kind, name: str) -> None:
        session.patch(kind, name, {"spec": {"replicas": int(args.replicas)}}, "scale")
        say(f"{kind.full}/{name} scaled")

    return each(act, session.things(args, args.what))


def _marker(field: str, word: str, refusal: str) -> Run:
    """`label` and `annotate`, which differ in their words."""

    def run(session: Session, args: argparse.Namespace) -> int:
        pairs = [pair for pair in args.what if "=" in pair or pair.endswith("-")]
        split = [pair.partition("=") for pair in pairs]
        wanted = {key if is_set else key[:-1]: value if is_set else None for key, is_set, value in split}
        if not wanted:
            raise Failure(f"error: at least one {word} update is required")

        def act(kind: Kind, name: str) -> None:
            before = session.api("GET", session.path(kind, name))["metadata"].get(field) or {}
            for key, value in wanted.items():
                if not args.overwrite and value is not None and before.get(key, value) != value:
                    raise Failure(refusal.format(f"'{key}' already has a value ({before[key]})"))
            session.patch(kind, name, {"metadata": {field: wanted}}, word)
            say(f"{kind.full}/{name} {_marked(word, wanted, before)}")

        return each(act, session.things(args, [name for name in args.what if name not in pairs]))

    return run


def _marked(word: str, wanted: Mapping[str, str | None], before: Mapping[str, str]) -> str:
    if word == "annotate":
        return "annotated"
    if all(before.get(key) == value for key, value in wanted.items()):
        return "not labeled"
    return "unlabeled" if all(value is None for value in wanted.values()) else "labeled"


_OVERWRITE = "error: --overwrite is false but found the following declared annotation(s): {}"
command("annotate", *CHOOSING, "--overwrite")(_marker("annotations", "annotate", _OVERWRITE))
command("label", *CHOOSING, "--overwrite")(_marker("labels", "label", "error: {}, and --overwrite is false"))


@command("patch", "what*", "-p --patch=", "--type=")
def patch(session: Session, args: argparse.Namespace) -> int:
    """The fake servers take both kinds as a merge."""
    change = yaml.safe_load(args.patch)
    if args.type not in _PATCHES:
        raise refuse(f"unknown type of patch {args.type}")

    def act(kind: Kind, name: str) -> None:
        before = session.api("GET", session.path(kind, name))
        after = session.patch(kind, name, change, "patch", f"application/{_PATCHES[args.type]}-patch+json")
        say(f"{kind.full}/{name} patched{' (no change)' * (_revision(before) == _revision(after))}")

    return each(act, meant(args.what))


def _revision(item: Object) -> str:
    return str(item["metadata"]["resourceVersion"])


@command("create", "-f --filename=")
def create(session: Session, args: argparse.Namespace) -> int:
    """From a file, a folder, or stdin."""
    return _each_document(session, args.filename, _create)


@command("create token", "name", "--duration=")
def create_token(session: Session, args: argparse.Namespace) -> None:
    """A service account's, for as long as the server likes."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = session.api("POST", f"{session.path(kind_of('ServiceAccount'), args.name)}/token", asked)
    say(answer["status"]["token"])


@command("apply", "-f --filename=")
def apply(session: Session, args: argparse.Namespace) -> int:
    """What the file no longer has stays, unlike with the real one."""
    return _each_document(session, args.filename, _apply)


def _each_document(session: Session, where: str, act: Callable[[Session, Kind, Object], str]) -> int:
    items = list(_documents(where))
    if not items:
        raise Failure("error: must specify one of -f and -k")

    def done(kind: Kind, at: str) -> None:
        item = items[int(at)]
        place = item["metadata"].setdefault("namespace", session.namespace)
        if place != session.namespace:
            raise Failure(
                f'error: the namespace from the provided object "{place}" does not match the namespace'
                f" \"{session.namespace}\". You must pass '--namespace={place}' to perform this operation."
            )
        say(f"{kind.full}/{item['metadata']['name']} {act(session, kind, item)}")

    return each(done, [(kind_of(item["kind"]), str(at)) for at, item in enumerate(items)])


def _create(session: Session, kind: Kind, item: Object) -> str:
    session.api("POST", session.path(kind, fieldManager="kubectl-create"), item)
    return "created"


def _apply(session: Session, kind: Kind, item: Object) -> str:
    name, manager = item["metadata"]["name"], "client-side-apply"
    last = json.dumps({**item, "metadata": {"annotations": {}, **item["metadata"]}}, separators=(",", ":"))
    marks = {**(item["metadata"].get("annotations") or {}), _LAST_APPLIED: f"{last}\n"}
    wanted = {**item, "metadata": {**item["metadata"], "annotations": marks}}
    try:
        before = session.api("GET", session.path(kind, name))
    except Failure as failure:
        if failure.status != 404:
            raise
        session.api("POST", session.path(kind, fieldManager=f"kubectl-{manager}"), wanted)
        return "created"
    after = session.patch(kind, name, wanted, manager)
    return "unchanged" if _revision(before) == _revision(after) else "configured"


def _documents(where: str) -> Iterator[Object]:
    """The objects of a file, of all files in a folder, or of stdin (`-`); lists are taken apart."""
    for text in _texts(where):
        for item in filter(None, yaml.safe_load_all(text)):
            if "kind" not in item:
                raise Failure(f"error: unable to decode \"{where}\": Object 'Kind' is missing in '{json.dumps(item)}'")
            yield from item["items"] if item["kind"] == "List" else [item]


def _texts(where: str) -> list[str]:
    path = Path(where)
    if where in ("", "-"):
        return [sys.stdin.read()] if where else []
    if not path.exists():
        raise Failure(f'error: the path "{where}" does not exist')
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file.read_text() for file in files if file == path or file.suffix in (".yaml", ".yml", ".json")]


@command("rollout status", "what*", "--timeout=")
def rollout_status(session: Session, args: argparse.Namespace) -> int:
    """Waits, if not told otherwise, for no longer than ten seconds: nothing runs but what a test changes."""
    seconds = int(args.timeout.removesuffix("s")) if args.timeout else 10
    until = time.monotonic() + seconds

    def act(kind: Kind, name: str) -> None:
        while waits := _waits(kind, item := session.api("GET", session.path(kind, name))):
            if time.monotonic() >= until:
                raise Failure("error: timed out waiting for the condition")
            say(waits)
            time.sleep(0.2)
        say(_rolled_out(kind, item))

    return each(act, meant(args.what))


def _waits(kind: Kind, item: Object) -> str:
    if kind.kind not in ("Deployment", "DeploymentConfig", "StatefulSet"):
        raise Failure(f"error: no status viewer has been implemented for {kind.kind}")
    status, name, wanted = item.get("status") or {}, item["metadata"]["name"], item["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    ready = status.get("readyReplicas" if kind.kind == "StatefulSet" else "availableReplicas", 0)
    head = f'Waiting for {kind.kind.lower()} "{name}" rollout to finish: '
    if updated < wanted:
        return f"{head}{updated} out of {wanted} new replicas have been updated..."
    return f"{head}{ready} of {updated} updated replicas are available..." if ready < wanted else ""


def _rolled_out(kind: Kind, item: Object) -> str:
    name, status = item["metadata"]["name"], item.get("status") or {}
    if kind.kind == "StatefulSet":
        return f"statefulset rolling update complete {status.get('updatedReplicas', 0)} pods at revision {name}..."
    if kind.kind == "DeploymentConfig":
        return f'replication controller "{name}-{status.get("latestVersion", 1)}" successfully rolled out'
    return f'deployment "{name}" successfully rolled out'
