"""The shape of the manifest: what keys there are, of which type, with which defaults.

The JSON Schema that editors use is generated from these classes. What cannot be said about one key alone is in
checks.py.
"""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Tag,
    model_validator,
)
from pydantic.alias_generators import to_camel

from migrate.manifest.values import (
    BY_TYPE,
    OTHER,
    TEXT,
    Duration,
    Engine,
    EnvName,
    Format,
    Host,
    NonEmptyList,
    OnConflict,
    Platforms,
    Project,
    SemverRange,
    Server,
    Size,
    SourceProject,
    Stream,
    TargetPath,
    Text,
    TextOrList,
    Version,
    wrong,
)

RAHTI1_REGISTRY = "docker-registry.rahti.csc.fi"
RAHTI2_REGISTRY = "image-registry.apps.2.rahti.csc.fi"


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
    server: Server | None = Field(None, description="https://host:port")
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

    from_: Annotated[Annotated[Text, Tag(TEXT)] | Annotated[WorkloadSource, Tag(OTHER)], BY_TYPE] = Field(
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
        Annotated[Literal["auto"], Tag(TEXT)] | Annotated[int, Field(ge=1, le=1024), Tag(OTHER)], BY_TYPE
    ] = "auto"
    link_max_missing: Size = 16 * 2**20
    manifest_puts_per_repository: Annotated[int, Field(ge=1)] = 2
    copy_timeout: Duration = 7200.0
    patience: Duration = 600.0


class ManifestFile(Model):
    """rahti-migrate manifest: what to move from one OpenShift registry to another."""

    version: Version = Field(description="a manifest begins with `version: 1`")
    source: SourceSide = Field(default_factory=SourceSide)
    target: TargetSide = Field(default_factory=TargetSide)
    projects: dict[SourceProject, Project] = Field(
        default_factory=dict, description="source project: target project (default: the same name)"
    )
    defaults: Defaults = Field(default_factory=Defaults)
    images: (
        Annotated[
            list[Annotated[Annotated[Text, Tag(TEXT)] | Annotated[ImageEntry, Tag(OTHER)], BY_TYPE]], NonEmptyList
        ]
        | None
    ) = Field(None, description="what to move: names, or mappings with from, to, tags and the defaults' keys")
    access: Annotated[list[AccessEntry], NonEmptyList] | None = None
    workloads: Annotated[list[WorkloadEntry], NonEmptyList] | None = None
    platform: PlatformPair = Field(default_factory=PlatformPair)
    image_streams: ImageStreams = Field(default_factory=ImageStreams)
    transfer: Transfer = Field(default_factory=Transfer)
