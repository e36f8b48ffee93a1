"""The types of single values in the manifest: what each may be, and the words for what it may not. Pure."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from migrate.manifest import tags
from migrate.quantities import parse_duration, parse_size, quoted
from migrate.reference import canonical_host, is_host, valid_host, valid_path, valid_tag

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
Server = Annotated[str, AfterValidator(_server)]
Version = Annotated[Literal[1], BeforeValidator(_version)]
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


BY_TYPE = Discriminator(_text_or_other)
"""Chooses a union's member by whether the value is text, so that errors speak of one member only."""

NonEmptyList = Field(min_length=1)
Platforms = Annotated[
    Annotated[Literal["all"], Tag(TEXT)] | Annotated[list[Platform], NonEmptyList, Tag(OTHER)], BY_TYPE
]
TextOrList = Annotated[Annotated[Text, Tag(TEXT)] | Annotated[list[Text], NonEmptyList, Tag(OTHER)], BY_TYPE]
