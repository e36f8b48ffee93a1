"""The lower bound: everything moved by bare HTTP requests over kept-alive connections, with nothing checked.

Run: python benchmarks/raw.py SOURCE TARGET PLAN.json [--connections 16]

It knows beforehand what there is (PLAN: a list of {"repository", "tags", "digest"}), logs in nowhere, retries nothing,
reads nothing back, asks for nothing that may be there, and converts by media type alone. Three phases, each as wide as
the connections: manifests read; each distinct blob carried once; blobs mounted elsewhere and manifests put.
"""

import argparse
import http.client
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

_ACCEPT = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json,"
    " application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json,"
    " application/vnd.docker.distribution.manifest.v1+prettyjws"
)
_OCI = {
    "application/vnd.docker.distribution.manifest.v2+json": "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.container.image.v1+json": "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
}
_CHUNK = 262_144
T = TypeVar("T")


class Ends(threading.local):
    """This thread's connections."""

    def __init__(self, source: str, target: str) -> None:
        self.source = http.client.HTTPConnection(source)
        self.target = http.client.HTTPConnection(target)


def asked(
    end: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str
) -> tuple[Any, bytes]:
    """One request; the answer and its body."""
    end.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = end.getresponse()
    data = answer.read()
    if answer.status >= 400:
        raise SystemExit(f"{method} {path}: {answer.status} {data[:200]!r}")
    return answer, data


def carry(ends: Ends, repository: str, digest: str) -> None:
    """One blob from the source to the target."""
    opened, _ = asked(ends.target, "POST", f"/v2/{repository}/blobs/uploads/", b"")
    where = urlsplit(opened.getheader("Location"))
    ends.source.request("GET", f"/v2/{repository}/blobs/{digest}")
    answer = ends.source.getresponse()
    content = iter(lambda: answer.read(_CHUNK), b"")
    path = f"{where.path}?{where.query}&digest={digest}"
    asked(ends.target, "PUT", path, content, Content_Length=answer.getheader("Content-Length"))


def converted(body: bytes, media_type: str) -> tuple[bytes, str]:
    """A schema 2 image by other names; everything else as it is."""
    if media_type not in _OCI:
        return body, media_type
    document = json.loads(body)
    document["mediaType"] = _OCI[media_type]
    for each in (document["config"], *document["layers"]):
        each["mediaType"] = _OCI.get(each["mediaType"], each["mediaType"])
    return json.dumps(document).encode(), document["mediaType"]


def blobs_of(body: bytes) -> list[str]:
    """What a manifest names, each once."""
    document = json.loads(body)
    if "fsLayers" in document:
        return list(dict.fromkeys(layer["blobSum"] for layer in document["fsLayers"]))
    named = [document["config"], *document["layers"]] if "layers" in document else []
    return list(dict.fromkeys(each["digest"] for each in named))


def main() -> None:
    """Move everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("plan")
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args()
    images = json.loads(Path(given.plan).read_text())
    ends = Ends(given.source, given.target)

    def read(repository: str, digest: str) -> tuple[bytes, str]:
        answer, body = asked(ends.source, "GET", f"/v2/{repository}/manifests/{digest}", Accept=_ACCEPT)
        return body, answer.getheader("Content-Type")

    def each(pool: ThreadPoolExecutor, do: Callable[..., T], work: Sequence[tuple[Any, ...]]) -> list[T]:
        return list(pool.map(lambda arguments: do(*arguments), work))

    with ThreadPoolExecutor(given.connections) as pool:
        tops = each(pool, read, [(image["repository"], image["digest"]) for image in images])
        parts: list[tuple[str, str, bytes, str]] = []  # repository, where it is put, body, media type
        for image, (body, media_type) in zip(images, tops, strict=True):
            children = [child["digest"] for child in json.loads(body).get("manifests", ())]
            for digest, (child, child_type) in zip(
                children, each(pool, read, [(image["repository"], d) for d in children]), strict=True
            ):
                parts.append((image["repository"], digest, child, child_type))
            parts += [(image["repository"], tag, *converted(body, media_type)) for tag in image["tags"]]
        wanted = dict.fromkeys((digest, part[0]) for part in parts for digest in blobs_of(part[2]))
        first: dict[str, str] = {}
        for digest, repository in wanted:
            first.setdefault(digest, repository)
        each(pool, lambda digest, repository: carry(ends, repository, digest), list(first.items()))
        mounts = [(digest, repository) for digest, repository in wanted if first[digest] != repository]
        each(
            pool,
            lambda d, r: asked(ends.target, "POST", f"/v2/{r}/blobs/uploads/?mount={d}&from={first[d]}", b""),
            mounts,
        )

        def put(repository: str, name: str, body: bytes, media_type: str) -> None:
            asked(ends.target, "PUT", f"/v2/{repository}/manifests/{name}", body, Content_Type=media_type)

        each(pool, put, [part for part in parts if part[1].startswith("sha256:")])
        each(pool, put, [part for part in parts if not part[1].startswith("sha256:")])


if __name__ == "__main__":
    main()
