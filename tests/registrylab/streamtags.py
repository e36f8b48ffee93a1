"""ImageStreamTags and ImageStreamImages: parts of image streams, and images, as objects of their own."""

import copy
import json
from typing import Any

from registrylab.images import DOCKER_LIST, OCI_INDEX, SCHEMA1_SIGNED
from registrylab.kuberest import Answered, Collection, merge
from registrylab.kubestatus import Object, Resource, already_exists, bad_request, conflict, not_found, success
from registrylab.kubestore import full_name
from registrylab.kubeworld import Call, check_namespace, check_preconditions, check_quota
from registrylab.streams import IMAGE_GROUP, STREAMS, Streams, find_image, history

TAGS = Resource(IMAGE_GROUP, "imagestreamtags", "ImageStreamTag", stored=False)
STREAM_IMAGES = Resource(IMAGE_GROUP, "imagestreamimages", "ImageStreamImage", stored=False)
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"


class StreamTags(Collection):
    """imagestreamtags: `<stream>:<tag>`, as `oc tag` writes them."""

    def __init__(self, streams: Streams) -> None:
        super().__init__(streams.world, TAGS)
        self._streams = streams

    def found(self, call: Call) -> Object:
        """A tag that has an image."""
        stream, tag = self._stream(call, call.name)
        if stream is None:
            raise not_found(STREAMS, call.name.rpartition(":")[0])
        items = history(stream, tag)
        if not items or not items[0]["image"]:
            raise not_found(TAGS, call.name)
        return self._view(stream, tag)

    def all(self, call: Call) -> list[Object]:
        """Every tag that has an image, without its metadata."""
        views = [
            self._view(stream, entry["tag"])
            for stream in self.store.list("imagestreams", call.namespace or None)
            for entry in stream["status"].get("tags") or ()
            if entry["items"][0]["image"]
        ]
        return sorted(views, key=full_name)

    def create(self, call: Call) -> Answered:
        """A tag that spec.tags does not have yet; one that was only pushed may get its `from`."""
        item = self._checked(call, call.document())
        name = item["metadata"]["name"]
        stream, tag = self._stream(call, name)
        if stream and _spec_tag(stream, tag):
            raise already_exists(TAGS, name, "imagestreamtag")
        return 201, self.shown(self._write(call, name, item.get("tag")), call)

    def update(self, call: Call) -> Answered:
        """PUT makes what is not there, stream and tag."""
        return self._update(call, self._checked(call, call.document()))

    def patch(self, call: Call) -> Answered:
        """PATCH; of a server-side apply no owners are kept."""
        old = self._view(*self._there(call))
        return self._update(call, self._checked(call, merge(self.shown(old, call), call.document())))

    def delete(self, call: Call) -> Answered:
        """The tag with its history, and what spec has of it."""
        stream, tag = self._there(call)
        check_preconditions(TAGS, call, stream)
        new = copy.deepcopy(stream)
        new["status"]["tags"] = [entry for entry in new["status"].get("tags") or () if entry["tag"] != tag]
        new["spec"]["tags"] = [entry for entry in new["spec"].get("tags") or () if entry["name"] != tag]
        if (len(new["status"]["tags"]), len(new["spec"]["tags"])) == (_count(stream, "status"), _count(stream, "spec")):
            raise not_found(TAGS, call.name)
        for part in ("status", "spec"):
            if not new[part]["tags"]:
                del new[part]["tags"]
        if not call.dry:
            self.store.put("imagestreams", new)
        return 200, success(TAGS, call.name, stream["metadata"]["uid"])

    def _update(self, call: Call, item: Object) -> Answered:
        stream, tag = self._stream(call, call.name)
        revision = item["metadata"].get("resourceVersion")
        if revision and stream is None:
            raise not_found(TAGS, call.name)
        if revision and stream and revision != stream["metadata"]["resourceVersion"]:
            there = stream["metadata"]["resourceVersion"]
            raise conflict(TAGS, call.name, f"another caller has updated the resource version to {there}")
        known = stream and _spec_tag(stream, tag)
        if not known and not item.get("tag"):
            where = f"imagestream {call.namespace}/{call.name.rpartition(':')[0]}"
            raise bad_request(f"imagestreamtag {tag} is not a spec tag in {where}, cannot be updated")
        wanted = {**(item.get("tag") or known or {}), "annotations": item["metadata"].get("annotations") or None}
        return (200 if known else 201), self.shown(self._write(call, call.name, wanted), call)

    def _write(self, call: Call, full: str, wanted: Object | None) -> Object:
        """Put a tag into spec, and let the stream look up what it names."""
        old, tag = self._stream(call, full)
        name = full.rpartition(":")[0]
        check_namespace(self.world, TAGS, call.namespace, full)
        if old is None:
            check_quota(self.world, STREAMS, call.namespace, name)
        new = copy.deepcopy(old) or {"metadata": {"name": name, "namespace": call.namespace}, "spec": {}}
        tags = [entry for entry in new["spec"].get("tags") or () if entry["name"] != tag]
        if wanted is not None:
            new["spec"]["tags"] = [*tags, {**copy.deepcopy(wanted), "name": tag}]
        new = self._streams.prepare(call.caller, new, old)
        if call.dry:
            new["metadata"].setdefault("resourceVersion", "")
            return self._view(new, tag)
        return self._view(self.store.put("imagestreams", new), tag)

    def _there(self, call: Call) -> tuple[Object, str]:
        stream, tag = self._stream(call, call.name)
        if stream is None:
            raise not_found(STREAMS, call.name.rpartition(":")[0])
        return stream, tag

    def _stream(self, call: Call, full: str) -> tuple[Object | None, str]:
        name, _, tag = full.rpartition(":")
        if not name or not tag:
            raise bad_request("ImageStreamTags must be retrieved with <name>:<tag>")
        return self.store.peek("imagestreams", call.namespace, name), tag

    def _view(self, stream: Object, tag: str) -> Object:
        metadata, items = stream["metadata"], history(stream, tag)
        newest = items[0] if items else {"created": metadata.get("creationTimestamp"), "generation": 0, "image": ""}
        kept = ("namespace", "uid", "resourceVersion", "labels")
        head = {key: metadata[key] for key in kept if key in metadata}
        spec = _spec_tag(stream, tag)
        if spec and spec.get("annotations"):
            head["annotations"] = spec["annotations"]
        return {
            "metadata": {**head, "name": f"{metadata['name']}:{tag}", "creationTimestamp": newest["created"]},
            "tag": copy.deepcopy(spec),
            "generation": newest["generation"],
            "lookupPolicy": stream["spec"]["lookupPolicy"],
            "image": _image(self, newest),
        }


class StreamImages(Collection):
    """imagestreamimages: `<stream>@<digest>`."""

    def found(self, call: Call) -> Object:
        """An image that some tag has or had."""
        name, mark, digest = call.name.partition("@")
        if not mark:
            raise bad_request("ImageStreamImages must be retrieved with <name>@<id>")
        stream = self.store.peek("imagestreams", call.namespace, name)
        if stream is None:
            raise not_found(STREAMS, name)
        event = find_image(stream, digest)
        if event is None:
            raise not_found(self.resource, call.name)
        metadata = {"name": f"{name}@{event['image']}", "namespace": call.namespace, "uid": stream["metadata"]["uid"]}
        return {"metadata": {**metadata, "creationTimestamp": event["created"]}, "image": _image(self, event)}


def image_object(reference: str, digest: str, media_type: str, manifest: bytes, config: Object) -> Object:
    """The Image of a manifest; `config` is its config's content, empty where it has none."""
    document: Any = json.loads(manifest)
    item: Object = {
        "metadata": {"name": digest, "annotations": {"openshift.io/image.managed": "true"}},
        "dockerImageReference": reference,
        "dockerImageManifestMediaType": _SCHEMA1 if media_type == SCHEMA1_SIGNED else media_type,
        "dockerImageMetadataVersion": "1.0",
        "dockerImageLayers": _layers(document),
    }
    if media_type in (OCI_INDEX, DOCKER_LIST):
        item["dockerImageManifests"] = [_child(child) for child in document["manifests"]]
    size = sum(layer["size"] for layer in item["dockerImageLayers"])
    words = {"architecture": "Architecture", "config": "Config", "created": "Created"}
    read = {word: config[key] for key, word in words.items() if key in config}
    item["dockerImageMetadata"] = {"kind": "DockerImage", "apiVersion": "1.0", "Id": digest, "Size": size, **read}
    return item


def _image(collection: Collection, event: Object) -> Object:
    """The image of an item: called as the stream calls it, and without kind."""
    kept = collection.store.get("images", "", event["image"]) or {"metadata": {"name": event["image"]}}
    return {**kept, "dockerImageReference": event.get("dockerImageReference", "")}


def _layers(document: Any) -> list[Object]:
    old = [{"name": layer["blobSum"], "size": 0, "mediaType": ""} for layer in reversed(document.get("fsLayers", []))]
    new = [
        {"name": layer["digest"], "size": layer["size"], "mediaType": layer["mediaType"]}
        for layer in document.get("layers", [])
    ]
    return old + new


def _child(child: Any) -> Object:
    platform = child.get("platform", {})
    where = {key: platform[key] for key in ("architecture", "os", "variant") if key in platform}
    return {"digest": child["digest"], "mediaType": child["mediaType"], "manifestSize": child["size"], **where}


def _spec_tag(stream: Object, tag: str) -> Object | None:
    return next((entry for entry in stream["spec"].get("tags") or () if entry["name"] == tag), None)


def _count(stream: Object, part: str) -> int:
    return len(stream[part].get("tags") or ())
