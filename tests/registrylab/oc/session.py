"""A command of oc: its words, the kubeconfig, and where it works."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urlencode

import yaml

from registrylab.oc.api import CLUSTER_WIDE, Api, Failure, Kind, Object, meant, refuse

MERGE = "application/merge-patch+json"
_NO_CONFIG = "error: Missing or incomplete configuration info.  Please point to an existing, complete config file:"


class Kubeconfig:
    """The files of `$KUBECONFIG`, or ~/.kube/config: what several have is the first one's, and new things go to it."""

    def __init__(self, given: str) -> None:
        named = [given] if given else [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
        paths = [Path(path) for path in named] or [Path.home() / ".kube/config"]
        self.files: dict[Path, Object] = {
            path: yaml.safe_load(path.read_text()) or {} for path in paths if path.exists()
        }
        self.is_first = not named and not self.files
        self.main = next(iter(self.files), paths[-1])
        self.files.setdefault(self.main, {"apiVersion": "v1", "kind": "Config"})

    @property
    def current(self) -> str:
        """The current context's name."""
        return next(filter(None, (document.get("current-context") for document in self.files.values())), "")

    def entries(self, section: str) -> Object:
        """Name -> cluster, context or user."""
        rows = [row for document in self.files.values() for row in document.get(section) or ()]
        return {row["name"]: row.get(section[:-1]) or {} for row in reversed(rows)}

    def put(self, section: str, name: str, value: Object, before: str = "") -> None:
        """Keep an entry, under a new name where it had another one before."""
        homes = [
            doc for doc in self.files.values() if any(r["name"] == (before or name) for r in doc.get(section) or ())
        ]
        document = (homes or [self.files[self.main]])[0]
        kept = [row for row in document.get(section) or () if row["name"] not in (name, before)]
        document[section] = sorted([*kept, {"name": name, section[:-1]: value}], key=lambda row: row["name"])

    def save(self, current: str = "") -> None:
        """Write all files; those that are made are nobody else's to read."""
        if current:
            self.files[self.main]["current-context"] = current
        for path, document in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o600)
            path.write_text(yaml.safe_dump(document))


class Session:
    """A command's context: where, who, and in which project."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.config = given, Kubeconfig(given.kubeconfig)

    @cached_property
    def name(self) -> str:
        """The name of the context."""
        name: str = self.given.context or self.config.current
        if not name:
            raise Failure(_NO_CONFIG)
        if name not in self.config.entries("contexts"):
            raise Failure(f'error: context "{name}" does not exist')
        return name

    @property
    def context(self) -> Object:
        """The context."""
        found: Object = self.config.entries("contexts")[self.name]
        return found

    @property
    def cluster(self) -> Object:
        """Its cluster."""
        found: Object = self.config.entries("clusters")[self.context["cluster"]]
        return found

    @cached_property
    def api(self) -> Api:
        """Its server."""
        user = self.config.entries("users")[self.context["user"]]
        return Api(self.cluster, user.get("token", ""), self.config.main.parent)

    @property
    def namespace(self) -> str:
        """The project in which to look."""
        return self.given.namespace or self.context.get("namespace") or "default"

    def path(self, kind: Kind, name: str = "", everywhere: bool = False, **query: str) -> str:
        """The address of an object, or of all of a kind."""
        group = f"apis/{kind.group}" if kind.group else "api"
        place = "" if everywhere or kind.kind in CLUSTER_WIDE else f"/namespaces/{self.namespace}"
        asked = {key: value for key, value in query.items() if value}
        version = "v1beta1" if kind.kind == "CronJob" and self._is_old else "v1"
        tail = f"/{quote(name)}" if name else ""
        return f"/{group}/{version}{place}/{kind.plural}{tail}" + (f"?{urlencode(asked)}" if asked else "")

    @cached_property
    def _is_old(self) -> bool:
        return bool(self.api("GET", "/version")["minor"].startswith("11"))

    def all(self, kind: Kind, selector: str = "", everywhere: bool = False) -> list[Object]:
        """All objects of a kind, each with its kind, as real lists have not."""
        answer = self.api("GET", self.path(kind, everywhere=everywhere, labelSelector=selector))
        head = {"apiVersion": answer["apiVersion"], "kind": kind.kind}
        return [{**head, **item} for item in answer["items"]]

    def patch(self, kind: Kind, name: str, change: Object, manager: str, sent_as: str = MERGE) -> Object:
        """Merge something into an object."""
        return self.api("PATCH", self.path(kind, name, fieldManager=f"kubectl-{manager}"), change, sent_as)

    def things(self, args: argparse.Namespace, words: list[str]) -> list[tuple[Kind, str]]:
        """The objects that words name, or --all or a selector chooses."""
        chosen = []
        for kind, name in meant(words):
            if not name and not (args.all or args.selector):
                raise Failure("error: resource(s) were provided, but no name was specified")
            found = [name] if name else [item["metadata"]["name"] for item in self.all(kind, args.selector)]
            chosen += [(kind, one) for one in found]
        return chosen

    def remember(self, api: Api, cluster: Object, user: str, project: str) -> None:
        """Make a context of a project the current one, named as oc names it."""
        who = f"{user}/{api.nick}"
        place = {"namespace": project} if project else {}
        name = f"{project}/{api.nick}/{user}"
        self.config.put("clusters", api.nick, cluster)
        self.config.put("users", who, {"token": api.token})
        self.config.put("contexts", name, {"cluster": api.nick, "user": who, **place})
        self.config.save(name)


Run = Callable[[Session, argparse.Namespace], int | None]


class Parser(argparse.ArgumentParser):
    """Says what it does not know as oc does, and takes no abbreviations."""

    def __init__(self, *specs: str) -> None:
        """`what*`, `url?`, `name` are positional; `-o --output=` takes a value, `--all` none; words may follow `--`."""
        super().__init__(prog="oc", add_help=False, allow_abbrev=False)
        self.takes_more, self.switches = "--" in specs, set[str]()
        for spec in (spec for spec in specs if spec != "--"):
            names, mark = spec.rstrip("=?*").split(), spec[-1]
            if mark == "=":
                self.add_argument(*names, default="")
            elif spec.startswith("-"):
                self.add_argument(*names, action="store_true")
                self.switches |= set(names)
            else:
                self.add_argument(*names, nargs=mark if mark in "?*" else None)

    def read(self, words: list[str]) -> argparse.Namespace:
        """Read the words; `--switch=true` is `--switch`."""
        plain = []
        for word in words:
            name, _, value = word.partition("=")
            is_switch = name in self.switches and value in ("true", "false")
            plain += [word] if not is_switch else [name] * (value == "true")
        return self.parse_intermixed_args(plain)

    def error(self, message: str) -> NoReturn:
        """Instead of argparse's exit code 2."""
        raise refuse(message)


COMMANDS: dict[str, tuple[Run, Parser]] = {}
CHOOSING = ("what*", "--all", "-l --selector=")
GLOBAL = Parser("--context=", "-n --namespace=", "--kubeconfig=")


def command(name: str, *specs: str) -> Callable[[Run], Run]:
    """Register a command, with its arguments as `Parser` has them."""

    def register(run: Run) -> Run:
        COMMANDS[name] = run, Parser(*specs)
        return run

    return register


def each(act: Callable[[Kind, str], None], things: Iterable[tuple[Kind, str]], missing_ok: bool = False) -> int:
    """Do it for each, as oc does: what fails is told, and the others are done nevertheless."""
    code = 0
    for kind, name in things:
        try:
            act(kind, name)
        except Failure as failure:
            if not (missing_ok and failure.status == 404):
                sys.stderr.write(f"{failure}\n")
                code = 1
    return code
