"""The shape of the manifest: what keys there are, of which type, with which defaults.

The JSON Schema that editors use is generated from these classes. What cannot be said about one key alone is in
checks.py.
"""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from migrate.manifest import tags
from migrate.quantities import parse_duration, parse_size, quoted
from migrate.reference import canonical_host, is_host, valid_host, valid_path, valid_tag

RAHTI1_REGISTRY = "docker-registry.rahti.csc.fi"
RAHTI2_REGISTRY = "image-registry.apps.2.rahti.csc.fi"

_PROJECT = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_STREAM = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def wrong(message: str) -> PydanticCustomError:
    """A validation error whose words are meant for the user; braces in them are kept as they are."""
    return PydanticCustomError("wrong", "{words}", {"words": message})


def _needed(what: str) -> PydanticCustomError:
    """A validation error that says which sort of value is needed; what was found instead is said with it."""
    return PydanticCustomError("needed", "{needed}", {"needed": what})


def _version(value: object) -> object:
    if type(value) is not int or value != 1:
        raise _needed("the number 1")
    return value


def _text(text: str) -> str:
    if _CONTROL.search(text):
        raise wrong(f"{quoted(text)} has a control character in it: write plain text")
    return text


def valid_project(text: str) -> bool:
    """Whether the text can be the name of an OpenShift project."""
    return _PROJECT.fullmatch(text) is not None


def _project(text: str) -> str:
    if not valid_project(text):
        raise wrong(f"{quoted(text)} is not a project name: lower-case letters, digits and -, at most 63 characters")
    return text


def _source_project(text: str) -> str:
    if not valid_path(text) or "/" in text:
        raise wrong(f"{quoted(text)} is not the name of a source project: lower-case letters, digits and -")
    return text


def _stream(text: str) -> str:
    if not _STREAM.fullmatch(text):
        raise wrong(f"{quoted(text)} is not an image stream's name: write it without project and tag, such as web")
    return text


def _host(text: str) -> str:
    if "://" in text:
        raise wrong(
            f"{quoted(text)} is a URL: write the host alone, and `plainHttp: true` where the registry has no TLS"
        )
    if not valid_host(text):
        raise wrong(f"{quoted(text)} is not a registry host such as registry.example.org or localhost:5000")
    return canonical_host(text)


def _server(text: str) -> str:
    if "@" in text:
        raise wrong("an API address holds no login: write https://host:port, and say tokenEnv or tokenFile beside it")
    if not re.fullmatch(r"https?://[^\s/]+/?", text):
        raise wrong(f"{quoted(text)} is not an API address such as https://api.2.rahti.csc.fi:6443")
    return text


def _env(value: object) -> object:
    if not isinstance(value, str) or not _ENV.fullmatch(value):
        raise wrong("this must be the NAME of an environment variable, such as RAHTI_TOKEN, never the secret itself")
    return value


def _size(value: object) -> int:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise _needed("a size such as 16MiB or 5GB")
    try:
        return parse_size(str(value))
    except ValueError as error:
        raise wrong(str(error)) from None


def _duration(value: object) -> float:
    if not isinstance(value, str):
        raise _needed("a duration such as 90s, 10m or 2h")
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise wrong(str(error)) from None
    if not seconds:
        raise wrong(f"{quoted(value)} is no time at all: write a duration such as 90s, 10m or 2h")
    return seconds


def _platform(text: str) -> str:
    if text == "all":
        raise wrong("`all` does not stand in a list: write `platforms: all`")
    if not _PLATFORM.fullmatch(text):
        raise wrong(f"{quoted(text)} is not a platform such as linux/amd64 or linux/arm64/v8")
    return text


def _semver(text: str) -> str:
    try:
        tags.parse_range(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    return text


def _target_path(text: str) -> str:
    path, colon, tag = text.partition(":")
    if "@" in text:
        raise wrong("the target cannot be a digest: write <project>/<name> or <project>/<name>:<tag>")
    if is_host(text.partition("/")[0]) and "/" in text:
        raise wrong(
            f"{quoted(text)} names a registry, and that is target.registry's place: write <project>/<name> or"
            " <project>/<name>:<tag>"
        )
    if not valid_path(path) or "/" not in path or (colon and not valid_tag(tag)):
        raise wrong(f"{quoted(text)} is not a target: write <project>/<name> or <project>/<name>:<tag>")
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_text)]
Project = Annotated[str, AfterValidator(_project)]
SourceProject = Annotated[str, AfterValidator(_source_project)]
Stream = Annotated[str, AfterValidator(_stream)]
Host = Annotated[str, AfterValidator(_host)]
EnvName = Annotated[str, BeforeValidator(_env)]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["16MiB"]})]
Duration = Annotated[float, BeforeValidator(_duration), WithJsonSchema({"type": "string", "examples": ["2h"]})]
Platform = Annotated[str, AfterValidator(_platform)]
SemverRange = Annotated[str, AfterValidator(_semver)]
TargetPath = Annotated[str, AfterValidator(_target_path)]

Format = Literal["oci", "docker", "keep"]
OnConflict = Literal["fail", "skip", "overwrite"]
Engine = Literal["auto", "skopeo"]

TEXT, OTHER = "(text)", "(other)"


def _text_or_other(value: object) -> str:
    return TEXT if isinstance(value, str) else OTHER


_BY_TYPE = Discriminator(_text_or_other)
"""Chooses a union's member by whether the value is text, so that errors speak of one member only."""

NonEmptyList = Field(min_length=1)
Platforms = Annotated[
    Annotated[Literal["all"], Tag(TEXT)] | Annotated[list[Platform], NonEmptyList, Tag(OTHER)], _BY_TYPE
]
TextOrList = Annotated[Annotated[Text, Tag(TEXT)] | Annotated[list[Text], NonEmptyList, Tag(OTHER)], _BY_TYPE]


class Model(BaseModel):
    """A mapping of the manifest: unknown keys and loose types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel, defer_build=True)


class Login(Model):
    """Where a login comes from; exactly one way."""

    kubeconfig_context: Text | None = Field(None, description="a context of your kubeconfig; its token is used")
    token_env: EnvName | None = Field(None, description="environment variable that holds the token")
    token_file: Text | None = Field(None, description="file that holds the token")
    username: Text | None = Field(None, description="user name; default for tokens: unused")
    password_env: EnvName | None = Field(None, description="environment variable that holds the password")
    password_file: Text | None = Field(None, description="file that holds the password")
    authfile: Text | None = Field(None, description="auth.json of podman, or config.json of docker")
    command: TextOrList | None = Field(
        None, description="program that prints a token; a list is run as it is, text is split like a shell does"
    )


class Api(Model):
    """How the OpenShift API of one side is reached."""

    kubeconfig_context: Text | None = Field(None, description="a context of your kubeconfig")
    server: Annotated[str, AfterValidator(_server)] | None = Field(None, description="https://host:port")
    token_env: EnvName | None = None
    token_file: Text | None = None
    ca_file: Text | None = None
    insecure_skip_tls_verify: bool = False


class Side(Model):
    """One of the two ends: a registry, how to log in, and its OpenShift API."""

    registry: Host
    login: Login | None = Field(None, description="default: the auth files of podman and docker, else anonymous")
    plain_http: bool = Field(False, description="the registry has no TLS")
    ca_file: Text | None = Field(None, description="PEM file of the certificate authority to trust in addition")
    insecure_skip_tls_verify: bool = Field(False, description="do not check the registry's certificate")
    api: Api | None = Field(None, description="default: the login's context")


class SourceSide(Side):
    """Where images come from."""

    registry: Host = RAHTI1_REGISTRY


class TargetSide(Side):
    """Where images go."""

    registry: Host = RAHTI2_REGISTRY


class TagSelector(Model):
    """Which tags of a repository: those that pass every condition that is there."""

    include: Annotated[list[Text], NonEmptyList] | None = Field(None, description="globs; any of them")
    exclude: Annotated[list[Text], NonEmptyList] | None = Field(None, description="globs; none of them")
    semver: SemverRange | None = Field(
        None, description='a range such as ">=1.2,<3"; tags that are no versions fail it'
    )
    newest: Annotated[int, Field(ge=1)] | None = Field(
        None, description="so many of those left: by version where all are versions, else by the image's created time"
    )


class Defaults(Model):
    """What holds for every image that does not say otherwise."""

    format: Format = Field("oci", description="what the target gets: oci, docker (schema 2), or keep (as it is)")
    on_conflict: OnConflict = Field(
        "fail", description="the target tag exists with content this tool did not put there"
    )
    platforms: Platforms = Field(
        default_factory=lambda: ["linux/amd64"],
        description="of a manifest list: one platform gives the plain image, several an index of these, or all",
    )
    engine: Engine = Field("auto", description="skopeo: skopeo converts and tags everything itself")


class ImageEntry(Model):
    """The long form of an image."""

    from_: Text = Field(alias="from", description="what to copy, [registry/]project[/name[:tag|@digest]]")
    to: TargetPath | None = Field(None, description="<project>/<name>[:<tag>]; default: the mapped project, same name")
    tags: TagSelector | None = None
    format: Format | None = None
    on_conflict: OnConflict | None = None
    platforms: Platforms | None = None
    engine: Engine | None = None


class Proof(Model):
    """A real token of a grantee, for `access verify`."""

    token_env: EnvName | None = None
    token_file: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> "Proof":
        if bool(self.token_env) == bool(self.token_file):
            raise wrong("say where the token is: tokenEnv or tokenFile, one of the two")
        return self


class AccessEntry(Model):
    """Who may pull from a target project."""

    project: Project = Field(description="the target project")
    allow: Annotated[list[Text], NonEmptyList] | None = Field(
        None,
        description="anonymous, unauthenticated, authenticated, project:P, user:U, group:G or serviceaccount:P/S",
    )
    role: Text | None = Field(None, description="default: registry-viewer")
    images: Annotated[list[Stream], NonEmptyList] | None = Field(None, description="only these image streams")
    carry_over: bool = Field(False, description="also the pull rights that the source project grants today")
    prove_with: dict[str, Proof] | None = Field(None, description="real tokens, for `access verify`")


class WorkloadSource(Model):
    """Workloads read from a live project."""

    cluster: Literal["source"] = Field(description="write source, the one cluster that workloads are read from")
    project: Project = Field(description="the project to read them from")


class RewriteOptions(Model):
    """Every choice of the rewrite rules, with its default."""

    deployment_config: Literal["convert", "keep"] = "convert"
    missing_images: Literal["finding", "bridge"] = "finding"
    data_copied: bool = False
    bitnami: Literal["warn", "legacy"] = "warn"
    route_suffix: Literal["rewrite", "keep"] = "rewrite"
    hooks: Literal["ask", "initContainer", "job"] = "ask"
    keep_manual_rollout: bool = False
    keep_old_limits: bool = False
    strict_memory_ratio: bool = False
    strip_uids: bool = False
    strip_node_selectors: bool = False
    harden: bool = False
    load_balancer: bool = False
    drop_unknown: bool = False
    secrets: bool = False


class WorkloadEntry(Model):
    """Kubernetes YAML to rewrite."""

    from_: Annotated[Annotated[Text, Tag(TEXT)] | Annotated[WorkloadSource, Tag(OTHER)], _BY_TYPE] = Field(
        alias="from", description="a file, a folder, or {cluster: source, project: P}"
    )
    to: Text = Field(description="the folder for the rewritten files")
    project: Project = Field(description="the target project")
    options: RewriteOptions = Field(default_factory=RewriteOptions)


class Limits(Model):
    """What the target refuses; sizes with units, CPUs as Kubernetes quantities."""

    image_size: Size | None = None
    image_streams: Annotated[int, Field(ge=1)] | None = None
    pods: Annotated[int, Field(ge=1)] | None = None
    claim_size: Size | None = None
    min_cpu: Text | None = None
    max_cpu: Text | None = None
    min_memory: Text | None = None
    max_memory: Text | None = None
    default_cpu: Text | None = None
    default_memory: Text | None = None
    default_cpu_request: Text | None = None
    default_memory_request: Text | None = None
    max_cpu_ratio: Annotated[int, Field(ge=1)] | None = None


class SourcePlatform(Model):
    """What the old cluster calls things."""

    registries: list[Host] | None = None
    route_suffix: Text | None = None
    storage_classes: list[Text] | None = None


class TargetPlatform(Model):
    """What the new cluster calls things."""

    internal_registry: Host | None = None
    route_suffix: Text | None = None
    storage_class: Text | None = None
    limits: Limits = Field(default_factory=Limits)


class PlatformPair(Model):
    """What differs between the two ends; the defaults are Rahti's."""

    source: SourcePlatform = Field(default_factory=SourcePlatform)
    target: TargetPlatform = Field(default_factory=TargetPlatform)


def _carried() -> list[Literal["labels", "lookupPolicy"]]:
    return ["labels", "lookupPolicy"]


class ImageStreams(Model):
    """What of an image stream is carried besides its tags."""

    carry: list[Literal["labels", "lookupPolicy"]] = Field(default_factory=_carried)


class Transfer(Model):
    """How the copying is done."""

    jobs: Annotated[
        Annotated[Literal["auto"], Tag(TEXT)] | Annotated[int, Field(ge=1, le=1024), Tag(OTHER)], _BY_TYPE
    ] = "auto"
    link_max_missing: Size = 16 * 2**20
    manifest_puts_per_repository: Annotated[int, Field(ge=1)] = 2
    copy_timeout: Duration = 7200.0
    patience: Duration = 600.0


class ManifestFile(Model):
    """rahti-migrate manifest: what to move from one OpenShift registry to another."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="a manifest begins with `version: 1`")
    source: SourceSide = Field(default_factory=SourceSide)
    target: TargetSide = Field(default_factory=TargetSide)
    projects: dict[SourceProject, Project] = Field(
        default_factory=dict, description="source project: target project (default: the same name)"
    )
    defaults: Defaults = Field(default_factory=Defaults)
    images: (
        Annotated[
            list[Annotated[Annotated[Text, Tag(TEXT)] | Annotated[ImageEntry, Tag(OTHER)], _BY_TYPE]], NonEmptyList
        ]
        | None
    ) = Field(None, description="what to move: names, or mappings with from, to, tags and the defaults' keys")
    access: Annotated[list[AccessEntry], NonEmptyList] | None = None
    workloads: Annotated[list[WorkloadEntry], NonEmptyList] | None = None
    platform: PlatformPair = Field(default_factory=PlatformPair)
    image_streams: ImageStreams = Field(default_factory=ImageStreams)
    transfer: Transfer = Field(default_factory=Transfer)
