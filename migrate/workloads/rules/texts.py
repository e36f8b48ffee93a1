"""Files that are no objects: Helm templates, broken YAML, Dockerfiles, pipelines. Only by their text."""

import re
from collections.abc import Iterator
from dataclasses import replace

from migrate.workloads.documents import Document, Form
from migrate.workloads.engine import Editor, rule
from migrate.workloads.findings import Mode
from migrate.workloads.moved import Found, changed_text, find_references
from migrate.workloads.nodes import Map, Node, Scalar, scalars, walk
from migrate.workloads.rules.groups import OPENSHIFT_GROUP
from migrate.workloads.rules.references import DC_COMMAND
from migrate.workloads.shown import command_shown

_LINK = "https://docs.csc.fi/cloud/rahti/images/"
_VERSION_LINES = re.compile(
    r"^[ \t-]*apiVersion:[ \t]*[\"']?v1[\"']?[ \t]*\r?\n[ \t]*kind:[ \t]*[\"']?(?P<kind>\w+)",
    re.MULTILINE,
)


@rule(
    "unreadable",
    Mode.BLOCKED,
    "What cannot be read cannot be rewritten: the file is copied as it is.",
    "https://yaml.org/spec/1.2.2/",
    on_documents=True,
)
def unreadable(it: Editor, document: Document) -> None:
    """Broken YAML or JSON."""
    if document.form is Form.BROKEN:
        mode = Mode.BLOCKED if document.looks_like_objects or not document.text else Mode.NOTED
        it.say_line(document.problem_line, f"{document.problem}: correct it and rewrite again", mode=mode)


@rule(
    "helm-template",
    Mode.WARNED,
    "A template of Helm (or Jinja) is no YAML before it is filled in: only names of registries and API groups are"
    " changed in its text. `helm template` makes YAML of it, which can be rewritten wholly.",
    "https://helm.sh/docs/helm/helm_template/",
    on_documents=True,
)
def helm_template(it: Editor, document: Document) -> None:
    """Registry hosts, and the group in `apiVersion` lines."""
    if document.form is not Form.TEMPLATE:
        return
    it.say_line(1, "rewrite what `helm template` prints, or go through it by hand")
    text = _VERSION_LINES.sub(lambda found: _with_group(it, document, found), document.text)
    document.new_text = _with_registry(it, document, text, inside=True)


def _with_group(it: Editor, document: Document, found: re.Match[str]) -> str:
    group = OPENSHIFT_GROUP.get(found["kind"])
    if group is None:
        return found[0]
    line = document.text.count("\n", 0, found.start()) + 1
    it.say_line(line, f"the group of {found['kind']}", mode=Mode.DONE, before="v1", after=group)
    return re.sub(r"v1", group, found[0], count=1)


@rule(
    "text-registry",
    Mode.NOTED,
    "Files that are used outside of the cluster (pipelines, Dockerfiles, values of charts) name the target's registry"
    " by its outside name.",
    _LINK,
    on_documents=True,
)
def text_registry(it: Editor, document: Document) -> None:
    """Names of the source's registry in files without objects."""
    if document.form in (Form.TEXT, Form.BROKEN):
        document.new_text = _with_registry(it, document, document.text, inside=False)
        return
    is_base = re.search(r"(^|/)kustomization\.ya?ml$", document.name) is not None
    for root in document.roots:
        if all(key.value != "kind" for key in _keys(root)):
            _in_values(it, root, inside=is_base)


def _in_values(it: Editor, root: Node, *, inside: bool) -> None:
    """References in the texts of a YAML or JSON document that is no object."""
    for node in scalars(root):
        changes = {}
        for each in _found(it, node.value, inside=inside):
            if each.old == each.new:
                it.say(node, f"nothing moves {each.path}: left as it is", mode=Mode.WARNED, before=each.old)
            else:
                changes[each.old] = each.new
        if changes:
            it.substitute(node, changes)


def _found(it: Editor, text: str, *, inside: bool) -> list[Found]:
    """The references to the source's registry in a text; their new ones are equal to them where nothing moves them."""
    registries = it.context.registries
    return [
        each if inside else replace(each, new=each.new.replace(registries.target_internal, registries.target_external))
        for each in find_references(text, it.context, {})
    ]


def _keys(root: Node) -> Iterator[Scalar]:
    for node in walk(root, lambda node: not isinstance(node, Scalar)):
        if isinstance(node, Map):
            yield from (key for key in node.keys if isinstance(key, Scalar))


def _with_registry(it: Editor, document: Document, text: str, *, inside: bool) -> str:
    """The text with the target's registry; empty where nothing changed."""
    references = _found(it, text, inside=inside)
    for each in references:
        line = text.count("\n", 0, text.find(each.old)) + 1
        if each.old == each.new:
            it.say_line(line, f"nothing moves {each.path}: left as it is", mode=Mode.WARNED, before=each.old)
        else:
            it.say_line(line, "", mode=Mode.NOTED, before=each.old, after=each.new)
    new_text = changed_text(text, [each for each in references if each.old != each.new])
    return new_text if new_text != document.text else ""


@rule(
    "dc-in-files",
    Mode.WARNED,
    "Commands on dc/NAME in pipelines and scripts find nothing when NAME is a Deployment.",
    "https://docs.openshift.com/container-platform/4.15/cli_reference/openshift_cli/developer-cli-commands.html",
    on_documents=True,
)
def dc_in_files(it: Editor, document: Document) -> None:
    """`oc ... dc/NAME` in files without objects; told by line."""
    if document.form in (Form.YAML, Form.JSON) and any(key.value == "kind" for r in document.roots for key in _keys(r)):
        return
    if it.context.options.deployment_config == "keep" or document.form is Form.OTHER:
        return
    for found in DC_COMMAND.finditer(document.text):
        line = document.text.count("\n", 0, found.start()) + 1
        words = "write deployment/NAME; `oc rollout latest dc/X` is `oc rollout restart deployment/X`"
        it.say_line(line, words, before=command_shown(found[0].split()))


RULES = (unreadable, helm_template, text_registry, dc_in_files)
