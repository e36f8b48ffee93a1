"""Pods: run, and what happens in them."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from registrylab.oc.api import Failure, kind_of, meant, refuse, say
from registrylab.oc.session import Session, command

_POD = kind_of("pod")
_HARMLESS = ("cat", "du", "ls", "tar")
_TWO_ENDS = (
    "error: rsync is only valid between a local directory and a pod directory;"
    " specify a pod directory as [PODNAME]:[DIR]"
)


@command("run", "name", "--image=", "--restart=", "--command", "--")
def run(session: Session, args: argparse.Namespace) -> None:
    """Words after `--` are the container's."""
    words = {"command" if args.command else "args": args.after} if args.after else {}
    container = {"name": args.name, "image": args.image, "resources": {}, **words}
    spec = {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": args.restart or "Always"}
    metadata = {"name": args.name, "labels": {"run": args.name}}
    item = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    session.api("POST", session.path(_POD, fieldManager="kubectl-run"), item)
    say(f"pod/{args.name} created")


@command("logs", "pod", "-c --container=")
def logs(session: Session, args: argparse.Namespace) -> None:
    """There are none; a pod that is not there is told."""
    try:
        _files(session, args)
    except Failure as failure:
        if failure.status != 404:
            raise
        where = f'pods "{args.pod}" not found in namespace "{session.namespace}"'
        raise Failure(f"error: error from server (NotFound): {where}") from None


@command("exec", "pod", "-c --container=", "-i --stdin", "-t --tty", "--")
def execute(session: Session, args: argparse.Namespace) -> int:
    """In the folder of the pod's files, with the test's own programs first. Paths mean those in it; stdin needs -i."""
    files = _files(session, args)
    if not args.after:
        raise Failure("error: you must specify at least one command for the container")
    program, words = Path(args.after[0]).name, args.after[1:]
    own = Path(os.environ["OC_PROGRAMS"]) / program
    argv = [str(own), *words] if own.exists() else [program, *map(_inside, words)]
    if not own.exists() and program not in _HARMLESS:
        raise refuse(f"{program} does not run in a pod")
    code = subprocess.run(argv, cwd=files, stdin=None if args.stdin else subprocess.DEVNULL, check=False).returncode
    if code:
        sys.stderr.write(f"command terminated with exit code {code}\n")
    return code


def _inside(word: str) -> str:
    """An argument, where it is a path one that begins at the pod's root."""
    if re.search(r"(^|[/=])\.\.(/|$)", word):
        raise refuse("paths in a pod begin at its root")
    return re.sub(r"^(--[\w-]+=)?/+", r"\1", word) or "."


@command(
    "rsync", "source", "target", "-c --container=", "--compress", "--delete", "--no-perms", "--progress", "-q --quiet"
)
def rsync(session: Session, args: argparse.Namespace) -> None:
    """Between a folder here and one of a pod: `from/` is what is in it, `from` the folder itself."""
    if (":" in args.source) == (":" in args.target):
        raise Failure(_TWO_ENDS)
    args.pod = next(end for end in (args.source, args.target) if ":" in end).partition(":")[0]
    files = _files(session, args)
    source, target = (_end(files, end) for end in (args.source, args.target))
    if not source.is_dir():
        raise Failure(f"error: path {args.source} must point to a directory")
    if not args.source.endswith("/"):
        target /= source.name
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    if args.delete:
        for path in sorted(target.rglob("*"), reverse=True):
            if not os.path.lexists(source / path.relative_to(target)):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _end(files: Path, end: str) -> Path:
    """One end of an rsync; only what is here must be there."""
    if ":" in end:
        return files / _inside(end.partition(":")[2])
    if not Path(end).exists():
        raise Failure(f"error: invalid path {end}: stat {end}: no such file or directory")
    return Path(end)


def _files(session: Session, args: argparse.Namespace) -> Path:
    """The folder of a pod's files; `args` name it, or a workload with such a pod, and a container of it."""
    kind, asked = meant([args.pod])[0] if "/" in args.pod else (_POD, args.pod)
    item = session.api("GET", session.path(kind, asked))
    if kind is not _POD:
        selector = item["spec"]["selector"]
        labels = ",".join(f"{key}={value}" for key, value in selector.get("matchLabels", selector).items())
        pods = session.all(_POD, labels)
        if not pods:
            raise Failure("error: timed out waiting for the condition")
        item = pods[0]
    name: str = item["metadata"]["name"]
    containers = [each["name"] for each in item["spec"].get("containers") or ()]
    if args.container and args.container not in containers:
        raise Failure(f"Error from server (BadRequest): container {args.container} is not valid for pod {name}")
    if len(containers) > 1 and not args.container:
        sys.stderr.write(f'Defaulted container "{containers[0]}" out of: {", ".join(containers)}\n')
    phase = (item.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise Failure(f"error: cannot exec into a container in a completed pod; current phase is {phase}")
    folder = Path(os.environ["OC_PODS"]) / session.namespace / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
