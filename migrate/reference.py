"""Image references: parse once at the edge, typed afterwards.

The grammar is that of the OCI distribution specification 1.1 ("Pulling manifests") and, for what counts as a
registry host, of Docker: the first component is a host where it has a dot or a colon, or is `localhost`.
"""

import re
from dataclasses import dataclass, replace

from migrate.quantities import quoted

DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIASES = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_STREAM = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::([0-9]{1,5}))?"
)
_MAX_PATH = 255
_MAX_PORT = 65535


class InvalidReference(ValueError):  # noqa: N818 - a value that is not a reference, said where it is read
    """The text is not an image reference; the message says which part is wrong and what would be right."""


@dataclass(frozen=True, order=True, slots=True)
class Repository:
    """A named place in a registry, such as `docker-registry.rahti.csc.fi/my-app/web`."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"

    @property
    def project(self) -> str:
        """The first component: the OpenShift project, where the registry is OpenShift's."""
        return self.path.partition("/")[0]

    def tagged(self, tag: str) -> "Reference":
        """This repository's image with that tag."""
        return Reference(self, tag=tag)

    def at(self, digest: str) -> "Reference":
        """This repository's image with that digest."""
        return Reference(self, digest=digest)


@dataclass(frozen=True, order=True, slots=True)
class Reference:
    """One image: a repository and a tag, a digest, or (with neither) all of its tags."""

    repository: Repository
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"

    @property
    def identifier(self) -> str:
        """What stands behind `/manifests/` in the registry API: the digest where there is one, else the tag."""
        return self.digest or self.tag

    @property
    def short(self) -> str:
        """Without the registry: what a person calls it, with the digest cut to 12 characters."""
        digest = f"@{self.digest[:19]}" if self.digest else ""
        return f"{self.repository.path}{':' + self.tag if self.tag else ''}{digest}"

    def with_digest(self, digest: str) -> "Reference":
        """The same image, named by digest too."""
        return replace(self, digest=digest)


def is_host(component: str) -> bool:
    """Whether the first component of a name is a registry host."""
    return "." in component or ":" in component or component == "localhost"


def valid_path(text: str) -> bool:
    """Whether the text is a repository path."""
    return len(text) <= _MAX_PATH and _PATH.fullmatch(text) is not None


def valid_image_stream(path: str) -> bool:
    """Whether an OpenShift registry can have a repository of this path: `<project>/<name>`.

    A project is a DNS label (RFC 1123); the name is what openshift-apiserver takes as an ImageStream's.
    """
    project, _, name = path.partition("/")
    return _PROJECT.fullmatch(project) is not None and _STREAM.fullmatch(name) is not None


def valid_tag(text: str) -> bool:
    """Whether the text is a tag."""
    return _TAG.fullmatch(text) is not None


def valid_digest(text: str) -> bool:
    """Whether the text is a sha256 or sha512 digest."""
    return _DIGEST.fullmatch(text) is not None


def valid_host(text: str) -> bool:
    """Whether the text is a registry host: with a dot or a port (or `localhost`), so that names can begin with it."""
    found = _HOST.fullmatch(text)
    return found is not None and is_host(text) and int(found[1] or 0) <= _MAX_PORT


def canonical_host(text: str) -> str:
    """A registry host in lower case, and one name for all of Docker Hub's, so that equal hosts are equal texts."""
    host = text.lower()
    return DOCKER_HUB if host in _DOCKER_HUB_ALIASES else host


def parse_reference(text: str, default_registry: str) -> Reference:
    """Read `[host/]path[:tag][@digest]`.

    Args:
        text: as a person wrote it.
        default_registry: the registry of names without a host in front.

    Raises:
        InvalidReference: says which part is wrong.
    """
    scheme, mark, _ = text.partition("://")
    if mark:
        raise InvalidReference(f"{quoted(text)} is a URL: write it without {quoted(scheme + mark)}")
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(digest)
    head, slash, tail = rest.partition("/")
    registry, path = (head, tail) if slash and is_host(head) else (default_registry, rest)
    path, colon, tag = path.partition(":")
    if colon:
        _check_tag(tag)
    if not valid_host(registry):
        raise InvalidReference(
            f"{quoted(registry)} is not a registry host such as registry.example.org or localhost:5000"
        )
    _check_path(path)
    registry = canonical_host(registry)
    in_library = registry == DOCKER_HUB and "/" not in path
    return Reference(Repository(registry, f"library/{path}" if in_library else path), tag, digest)


def _check_digest(digest: str) -> None:
    if not valid_digest(digest):
        needed = "sha512: and 128" if digest.startswith("sha512:") else "sha256: and 64"
        raise InvalidReference(f"{quoted(digest)} is not a digest: {needed} characters of 0-9a-f are needed")


def _check_tag(tag: str) -> None:
    if valid_digest(tag):
        raise InvalidReference(f"{quoted(tag)} is a digest, not a tag: write @ before it")
    if not valid_tag(tag):
        raise InvalidReference(
            f"{quoted(tag)} is not a tag: up to 128 of A-Z a-z 0-9 _ . - are allowed, not . or - first"
        )


def _check_path(path: str) -> None:
    if not path:
        raise InvalidReference("the name of the image is missing: [registry/]<project>/<name> is needed")
    if len(path) > _MAX_PATH:
        raise InvalidReference(f"{quoted(path)} is longer than {_MAX_PATH} characters, the most that a name may have")
    if path != path.lower():
        raise InvalidReference(f"{quoted(path)} has capital letters: names of images are lower case")
    if not valid_path(path):
        raise InvalidReference(
            f"{quoted(path)} is not an image name: lower-case letters and digits, joined by . _ - and divided by /"
        )
