"""Logins, contexts and projects."""

import argparse
from pathlib import Path

from registrylab.oc.api import Api, Failure, Object, refuse, say, table
from registrylab.oc.session import Session, command


@command("login", "url?", "-s --server=", "--token=", "--certificate-authority=", "--insecure-skip-tls-verify")
def login(session: Session, args: argparse.Namespace) -> None:
    """Only with a token: there is nobody who could type a password."""
    url = args.url or args.server
    if not (url and args.token):
        raise refuse("a login needs an address and --token")
    cluster = _cluster(session, args, url if "://" in url else f"https://{url}")
    api = Api(cluster, args.token, session.config.main.parent)
    try:
        user = api("GET", "/apis/user.openshift.io/v1/users/~")["metadata"]["name"]
    except Failure as failure:
        if failure.status != 401:
            raise
        raise Failure("error: The token provided is invalid or expired.\n") from None
    say(f'Logged into "{api.server}" as "{user}" using the token provided.\n')
    names = _projects(api)
    current = session.config.entries("contexts").get(session.config.current) or {}
    wanted = session.given.namespace or current.get("namespace") or "default"
    project = wanted if wanted in names else next(iter(names), "")
    _say_projects(api, names, project)
    if session.config.is_first:
        say("Welcome! See 'oc help' to get started.")
    session.remember(api, cluster, user, project)


def _cluster(session: Session, args: argparse.Namespace, url: str) -> Object:
    """What is known of the server from before stays, unless the command says how to trust it."""
    url = url.rstrip("/")
    if args.insecure_skip_tls_verify:
        say("WARNING: Using insecure TLS client config. Setting this option is not supported!\n")
        return {"server": url, "insecure-skip-tls-verify": True}
    if args.certificate_authority:
        return {"server": url, "certificate-authority": str(Path(args.certificate_authority).resolve())}
    known: list[Object] = [each for each in session.config.entries("clusters").values() if each.get("server") == url]
    return known[0] if known else {"server": url}


def _projects(api: Api) -> list[str]:
    return sorted(item["metadata"]["name"] for item in api("GET", "/apis/project.openshift.io/v1/projects")["items"])


def _say_projects(api: Api, names: list[str], project: str) -> None:
    if not names:
        try:
            api("GET", "/apis/project.openshift.io/v1/projectrequests")
        except Failure:
            say("You don't have any projects. Contact your system administrator to request a project.")
            return
        say("You don't have any projects. You can try to create a new project, by running\n")
        say("    oc new-project <projectname>\n")
        return
    if len(names) == 1:
        say(f'You have one project on this server: "{project}"\n')
    else:
        say("You have access to the following projects and can switch between them with 'oc project <projectname>':\n")
        for name in names:
            say(f"  {'*' if name == project else ' '} {name}")
        say()
    say(f'Using project "{project}".')


@command("config current-context")
def current_context(session: Session, args: argparse.Namespace) -> None:
    """Its name."""
    if not session.config.current:
        raise Failure("error: current-context is not set")
    say(session.config.current)


@command("config rename-context", "old", "new")
def rename_context(session: Session, args: argparse.Namespace) -> None:
    """The current context stays the current one."""
    config, contexts = session.config, session.config.entries("contexts")
    if args.old not in contexts or args.new in contexts:
        why = f'the context "{args.new}" already exists in' if args.old in contexts else "it's not in"
        raise Failure(f'error: cannot rename the context "{args.old}", {why} {config.main}')
    config.put("contexts", args.new, contexts[args.old], before=args.old)
    config.save(args.new if config.current == args.old else "")
    say(f'Context "{args.old}" renamed to "{args.new}".')


@command("config use-context", "name")
def use_context(session: Session, args: argparse.Namespace) -> None:
    """Make it the current one."""
    if args.name not in session.config.entries("contexts"):
        raise Failure(f'error: no context exists with the name: "{args.name}"')
    session.config.save(args.name)
    say(f'Switched to context "{args.name}".')


@command("config get-contexts", "-o --output=")
def get_contexts(session: Session, args: argparse.Namespace) -> None:
    """All of them, sorted."""
    contexts = sorted(session.config.entries("contexts").items())
    if args.output == "name":
        for name, _ in contexts:
            say(name)
        return
    rows = [("CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE")]
    for name, context in contexts:
        mark = "*" if name == session.config.current else ""
        rows.append((mark, name, context["cluster"], context["user"], context.get("namespace", "")))
    table(rows)


@command("whoami", "-t --show-token", "--show-server", "--show-context")
def whoami(session: Session, args: argparse.Namespace) -> None:
    """Only who it is needs the server."""
    if args.show_context:
        say(session.name)
    elif args.show_server:
        say(session.cluster["server"])
    elif args.show_token and not session.api.token:
        raise Failure("error: no token is currently in use for this session")
    else:
        say(session.api.token if args.show_token else _user(session))


def _user(session: Session) -> str:
    return str(session.api("GET", "/apis/user.openshift.io/v1/users/~")["metadata"]["name"])


@command("project", "name?", "-q --short")
def project(session: Session, args: argparse.Namespace) -> None:
    """Switching makes a context of its own the current one, and leaves the one that it came from."""
    server, now = session.api.server, session.namespace
    if args.name:
        _switch(session, args.name, now)
    elif args.short:
        say(now)
    else:
        own = session.name.startswith(f"{now}/{session.api.nick}/")
        named = "" if own else f' from context named "{session.name}"'
        say(f'Using project "{now}"{named} on server "{server}".')


def _switch(session: Session, name: str, before: str) -> None:
    api, names = session.api, _projects(session.api)
    if name not in names:
        told = f"You have one project on this server: {names[0]}" if len(names) == 1 else f"Your projects are: {names}"
        raise Failure(f'error: You are not a member of project "{name}".\n{told}')
    session.remember(api, session.cluster, _user(session), name)
    done = "Already on" if name == before else "Now using"
    say(f'{done} project "{name}" on server "{api.server}".')


@command("projects", "-q --short")
def projects(session: Session, args: argparse.Namespace) -> None:
    """Their names, and no more."""
    if not args.short:
        raise refuse("projects are listed with -q only")
    for name in _projects(session.api):
        say(name)


@command("new-project", "name", "--description=", "--display-name=")
def new_project(session: Session, args: argparse.Namespace) -> None:
    """And switch to it."""
    head = {"apiVersion": "project.openshift.io/v1", "kind": "ProjectRequest", "metadata": {"name": args.name}}
    body = {**head, "description": args.description, "displayName": args.display_name}
    session.api("POST", "/apis/project.openshift.io/v1/projectrequests", body)
    _switch(session, args.name, "")
