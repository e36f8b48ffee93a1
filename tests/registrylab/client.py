"""Push, read and compare images over plain HTTP: the witness that knows nothing of the program.

Schema 1 is made by skopeo, which signs it.
"""

import base64
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from registrylab.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1_SIGNED,
    Image,
    sha256,
)
from registrylab.registry import LabRegistry

_ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, SCHEMA1_SIGNED))


@dataclass(frozen=True)
class Stored:
    """A manifest as a registry gives it back."""

    media_type: str
    digest: str
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """Parsed."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class LabClient:
    """Plain requests to one lab registry."""

    def __init__(self, registry: LabRegistry) -> None:
        self.registry = registry
        self._http = httpx2.Client(
            base_url=registry.url, auth=registry.credential, trust_env=False, verify=False, timeout=60
        )

    def __enter__(self) -> "LabClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def push(self, repository: str, image: Image, *tags: str) -> str:
        """Put an image, with everything it needs, under some tags; its digest."""
        for child in image.children:
            self.push(repository, child, child.digest)
        for digest, data in image.blobs.items():
            self._push_blob(repository, digest, data)
        for tag in tags:
            answer = self._put(repository, tag, image)
            if answer.status_code == 500:  # docker-registry reads links that others are just writing
                answer = self._put(repository, tag, image)
            answer.raise_for_status()
        return image.digest

    def _put(self, repository: str, tag: str, image: Image) -> httpx2.Response:
        headers = {"Content-Type": image.media_type}
        return self._http.put(f"/v2/{repository}/manifests/{tag}", content=image.body, headers=headers)

    def _push_blob(self, repository: str, digest: str, data: bytes) -> None:
        if self._http.head(f"/v2/{repository}/blobs/{digest}").status_code == 200:
            return
        session = self._http.post(f"/v2/{repository}/blobs/uploads/")
        session.raise_for_status()
        location = httpx2.URL(session.headers["Location"]).copy_merge_params({"digest": digest})
        self._http.put(location, content=data).raise_for_status()

    def push_schema1(self, repository: str, image: Image, tag: str) -> None:
        """Put an image as signed schema 1: pushed as it is to a scratch tag, and converted by skopeo."""
        self.push(repository, image, f"{tag}-scratch")
        skopeo_copy(self.registry, f"{repository}:{tag}-scratch", f"{repository}:{tag}", "--format", "v2s1")
        scratch = self.manifest(repository, f"{tag}-scratch")
        assert scratch
        self._http.delete(f"/v2/{repository}/manifests/{scratch.digest}").raise_for_status()

    def manifest(self, repository: str, identifier: str) -> Stored | None:
        """What stands under a tag or digest."""
        answer = self._http.get(f"/v2/{repository}/manifests/{identifier}", headers={"Accept": _ACCEPT})
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return Stored(answer.headers["Content-Type"], answer.headers["Docker-Content-Digest"], answer.content)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Take a manifest, and all of its tags, away."""
        self._http.delete(f"/v2/{repository}/manifests/{digest}").raise_for_status()

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository; empty where there is none."""
        answer = self._http.get(f"/v2/{repository}/tags/list")
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        return sorted(answer.json()["tags"] or [])

    def repositories(self) -> list[str]:
        """All repositories."""
        found: list[str] = []
        while True:
            answer = self._http.get("/v2/_catalog", params={"n": 500, "last": found[-1] if found else ""})
            answer.raise_for_status()
            page = answer.json()["repositories"]
            found += page
            if len(page) < 500:
                return found

    def blob(self, repository: str, digest: str) -> bytes:
        """A blob, whole and checked."""
        answer = self._http.get(f"/v2/{repository}/blobs/{digest}", follow_redirects=True)
        answer.raise_for_status()
        if sha256(answer.content) != digest:
            raise AssertionError(f"{repository}@{digest} is damaged")
        return answer.content

    def images(self) -> dict[str, str]:
        """Every `repository:tag` and its digest."""
        found = {}
        for repository in self.repositories():
            for tag in self.tags(repository):
                stored = self.manifest(repository, tag)
                assert stored
                found[f"{repository}:{tag}"] = stored.digest
        return found


def skopeo_copy(registry: LabRegistry, source: str, target: str, *arguments: str) -> None:
    """`skopeo copy` inside one lab registry."""
    with tempfile.TemporaryDirectory() as folder:
        authfile = Path(folder) / "auth.json"
        authfile.write_text(json.dumps({"auths": _auths(registry)}))
        argv = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
        argv += ["--authfile", str(authfile), *arguments]
        argv += [f"docker://{registry.host}/{source}", f"docker://{registry.host}/{target}"]
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise RuntimeError(f"skopeo copy {source} {target}: {done.stderr}")


def _auths(registry: LabRegistry) -> dict[str, Any]:
    if not registry.credential:
        return {}
    return {registry.host: {"auth": base64.b64encode(":".join(registry.credential).encode()).decode()}}


def missing_from(target: LabClient, repository: str, tag: str) -> list[str]:
    """What an image at the target lacks, each blob read whole: empty where a pull would work."""
    stored = target.manifest(repository, tag)
    if stored is None:
        return [f"{repository}:{tag}"]
    return _missing_behind(target, repository, stored)


def _missing_behind(target: LabClient, repository: str, stored: Stored) -> list[str]:
    missing: list[str] = []
    document = stored.document
    for child in document.get("manifests", ()):
        found = target.manifest(repository, child["digest"])
        missing += [child["digest"]] if found is None else _missing_behind(target, repository, found)
    for blob in [*document.get("layers", ()), *filter(None, [document.get("config")])]:
        try:
            target.blob(repository, blob["digest"])
        except (httpx2.HTTPError, AssertionError):
            missing.append(blob["digest"])
    return missing
