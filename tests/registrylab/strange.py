"""Images out of the ordinary: every kind of layer and config, odd manifests, indexes of all sorts. Deterministic.

`images.py` makes what is usual; here each blob is a Part, and manifests are composed of parts and of whatever else.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registrylab.gateway import Answer, Forward, Handle, Request
from registrylab.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Image, make_layer, sha256

SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
CONFIG_TYPES = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
LAYER_TYPES = {
    "gzip": {
        "oci": "application/vnd.oci.image.layer.v1.tar+gzip",
        "docker": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    },
    "tar": {
        "oci": "application/vnd.oci.image.layer.v1.tar",
        "docker": "application/vnd.docker.image.rootfs.diff.tar",
    },
    "zstd": {
        "oci": "application/vnd.oci.image.layer.v1.tar+zstd",
        "docker": "application/vnd.docker.image.rootfs.diff.tar.zstd",
    },
    "foreign": {
        "oci": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "docker": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    },
    "foreign tar": {
        "oci": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "docker": "application/vnd.docker.image.rootfs.foreign.diff.tar",
    },
}
_EMPTY_TAR = bytes(1024)
_EMPTY_GZIP = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")
"""The gzipped empty tar of docker, sha256:a3ed95ca...: a stream of Go's compress/gzip, which Python's does not give."""
_MAX_ZSTD_BLOCK = 2**17


@dataclass(frozen=True)
class Part:
    """A blob that a manifest names.

    Attributes:
        media_type: as what it is named.
        data: its bytes.
        diff_id: digest of the tar inside, of a layer.
        more: what else its descriptor says (urls, annotations).
        held: whether the registry gets it.
        algorithm: of its digest.
    """

    media_type: str
    data: bytes = field(repr=False)
    diff_id: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    held: bool = True
    algorithm: str = "sha256"

    @property
    def digest(self) -> str:
        """Its digest."""
        return f"{self.algorithm}:{hashlib.new(self.algorithm, self.data).hexdigest()}"

    @property
    def descriptor(self) -> dict[str, Any]:
        """As a manifest names it."""
        return {"mediaType": self.media_type, "size": len(self.data), "digest": self.digest, **self.more}


def layer(name: str, kind: str = "gzip", family: str = "docker", size: int = 300, **options: Any) -> Part:
    """A layer of a kind of LAYER_TYPES, its content seeded by `name`; a foreign one is not held and has an address."""
    made = make_layer(name, size)
    tar = gzip.decompress(made.data)
    data = {"tar": tar, "foreign tar": tar, "zstd": zstd_frame(tar)}.get(kind, made.data)
    if kind.startswith("foreign"):
        options = {"more": {"urls": [f"https://layers.example.org/{name}"]}, "held": False, **options}
    return Part(LAYER_TYPES[kind][family], data, made.diff_id, **options)


def empty_layer(family: str = "docker") -> Part:
    """The layer of a step that changed no file, as docker makes it."""
    return Part(LAYER_TYPES["gzip"][family], _EMPTY_GZIP, sha256(_EMPTY_TAR))


def zstd_frame(data: bytes) -> bytes:
    """Data as one raw block in a Zstandard frame (RFC 8878): valid, and not compressed at all."""
    if len(data) > _MAX_ZSTD_BLOCK:
        raise ValueError("more than one block")
    header = b"\x28\xb5\x2f\xfd" + b"\xa0" + len(data).to_bytes(4, "little")
    return header + (len(data) << 3 | 1).to_bytes(3, "little") + data


def config_of(layers: Sequence[Part], family: str = "docker", **fields: Any) -> Part:
    """The config of an image with these layers; `fields` replace or add to its own."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2019-05-06T07:08:09Z",
        "config": {"Cmd": ["/srv/start"], "Env": ["PATH=/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [part.diff_id for part in layers]},
        "history": [{"created": "2019-05-06T07:08:09Z", "created_by": "lab"} for _ in layers],
        **fields,
    }
    return Part(CONFIG_TYPES[family], json.dumps(document).encode())


def compose(
    layers: Sequence[Part],
    family: str = "docker",
    *,
    config: Part | None = None,
    more: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    indent: int | None = None,
) -> Image:
    """A manifest of parts.

    Args:
        layers: base first.
        family: docker (schema 2) or oci.
        config: default: that of an image with these layers.
        more: further fields of the manifest.
        without: fields that it does not have.
        indent: as json.dumps takes it.
    """
    config = config or config_of(layers, family)
    media_type = OCI_MANIFEST if family == "oci" else DOCKER_MANIFEST
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor,
        "layers": [part.descriptor for part in layers],
        **(more or {}),
    }
    blobs = {part.digest: part.data for part in (config, *layers) if part.held}
    return Image(media_type, _body(document, without, indent), blobs)


def compose_index(
    entries: Sequence[tuple[Image, Mapping[str, Any]]],
    family: str = "oci",
    *,
    more: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
) -> Image:
    """An index of images, each with what its entry says besides (platform, annotations, artifactType)."""
    media_type = OCI_INDEX if family == "oci" else DOCKER_LIST
    named = [
        {"mediaType": child.media_type, "digest": child.digest, "size": len(child.body), **said}
        for child, said in entries
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": named, **(more or {})}
    children = {child.digest: child for child, _ in entries}
    return Image(media_type, _body(document, without, None), {}, tuple(children.values()))


def on(platform: str, **more: Any) -> dict[str, Any]:
    """What an index's entry says: the platform `os/architecture[/variant]`, and more fields of it."""
    os_name, architecture, variant = f"{platform}/".split("/")[:3]
    where = {"os": os_name, "architecture": architecture, **({"variant": variant} if variant else {})}
    return {"platform": {**where, **more}}


def attestation(subject: Image) -> tuple[Image, dict[str, Any]]:
    """What BuildKit adds to an index for each image: an in-toto statement that looks like an image of no platform."""
    statement = Part("application/vnd.in-toto+json", b'{"_type":"https://in-toto.io/Statement/v0.1"}')
    config = config_of([statement], "oci", architecture="unknown", os="unknown", config={})
    annotations = {
        "vnd.docker.reference.digest": subject.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return compose([statement], "oci", config=config), {**on("unknown/unknown"), "annotations": annotations}


def artifact(config: Part, content: Part, **more: Any) -> Image:
    """What is kept in registries and runs nowhere."""
    return compose([content], "oci", config=config, more=more)


def unsigned_schema1(signed: bytes) -> bytes:
    """What the signature of a schema 1 manifest signs: the manifest without it."""
    protected = json.loads(_base64url(json.loads(signed)["signatures"][0]["protected"]))
    return signed[: protected["formatLength"]] + _base64url(protected["formatTail"])


def schema1(repository: str, tag: str, steps: Sequence[tuple[str, Mapping[str, Any]]]) -> bytes:
    """Unsigned schema 1: (digest of the layer, what the history says), base first."""
    document = {
        "schemaVersion": 1,
        "name": repository,
        "tag": tag,
        "architecture": "amd64",
        "fsLayers": [{"blobSum": digest} for digest, _ in reversed(steps)],
        "history": [{"v1Compatibility": json.dumps(said)} for _, said in reversed(steps)],
    }
    return json.dumps(document, indent=3).encode()


def serving(shelf: Mapping[str, bytes]) -> Handle:
    """A gateway's handler that gives unsigned schema 1, which docker-registry does not store.

    Args:
        shelf: `repository:tag` -> manifest, given under the tag and under its digest.
    """
    held = {}
    for name, body in shelf.items():
        repository, _, tag = name.partition(":")
        held.update({f"/v2/{repository}/manifests/{where}": body for where in (tag, sha256(body))})

    def handle(request: Request, forward: Forward) -> Answer:
        body = held.get(request.path)
        if body is None or request.method not in ("GET", "HEAD"):
            return forward(request)
        headers = {"Content-Type": SCHEMA1, "Content-Length": str(len(body)), "Docker-Content-Digest": sha256(body)}
        return Answer(200, tuple(headers.items()), body)

    return handle


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _body(document: Mapping[str, Any], without: Sequence[str], indent: int | None) -> bytes:
    return json.dumps({k: v for k, v in document.items() if k not in without}, indent=indent).encode()
