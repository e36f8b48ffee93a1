"""Image streams: tags that are wanted (spec.tags), and what each is and was (status.tags).

What a tag's `from` names is looked up when it is written, once; from then on only tags of the same stream follow.
"""

import copy
import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from registrylab.kuberest import Collection
from registrylab.kubestatus import Cause, Object, Resource, invalid, wrong_value
from registrylab.kubestore import full_name, now
from registrylab.kubeworld import World
from registrylab.rbac import Caller, Wish

IMAGE_GROUP = "image.openshift.io"
STREAMS = Resource(IMAGE_GROUP, "imagestreams", "ImageStream", blind_update=False)
IMAGES = Resource(IMAGE_GROUP, "images", "Image", namespaced=False)
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")


class _WrongTag(Exception):  # noqa: N818 - one reason of a refusal
    pass


class Streams(Collection):
    """imagestreams."""

    def prepare(self, caller: Caller, new: Object, old: Object | None) -> Object:
        """Fill in defaults, and put what new tags name into status."""
        metadata = new["metadata"]
        if not _NAME.fullmatch(metadata["name"]):
            why = f'must match "{_NAME.pattern}"'
            raise invalid(self.resource, metadata["name"], wrong_value("metadata.name", metadata["name"], why))
        new["spec"] = {"lookupPolicy": {"local": False}, **(new.get("spec") or {})}
        new["spec"]["lookupPolicy"] = {"local": False, **(new["spec"]["lookupPolicy"] or {})}
        self._count(new, old)
        new["status"] = {**self._hosts(new), **_only_tags(new.get("status") or {})}
        wrong = [*self._forbidden(caller, new, old), *self._resolve(new, old)]
        if wrong:
            said = wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]"
            words = f'Internal error: imagestreams "{metadata["name"]}" is invalid: {said}'
            raise invalid(self.resource, metadata["name"], Cause("InternalError", "[]", words))
        return new

    def pushed(self, project: str, name: str, tag: str, digest: str) -> Object:
        """One more item for a tag; the stream is made where there is none."""
        stream = self.store.get("imagestreams", project, name)
        if stream is None:
            stream = self.prepare(Caller("system:registry"), {"metadata": {"name": name, "namespace": project}}, None)
        host = self.world.internal_host
        event = {"created": now(), "dockerImageReference": f"{host}/{project}/{name}@{digest}", "image": digest}
        add_event(stream, tag, {**event, "generation": stream["metadata"]["generation"]})
        follow(stream, tag)
        return self.store.put("imagestreams", stream)

    def _hosts(self, stream: Object) -> Object:
        where = full_name(stream)
        hosts = {"dockerImageRepository": f"{self.world.internal_host}/{where}"}
        if self.world.public_host:
            hosts["publicDockerImageRepository"] = f"{self.world.public_host}/{where}"
        return hosts

    def _count(self, new: Object, old: Object | None) -> None:
        """Generations: of the stream at each change of spec, of a tag when it was last changed."""
        before = _spec_tags(old)
        tags = new["spec"].get("tags") or []
        for tag in tags:
            self._fill(tag)
            tag["generation"] = before.get(tag["name"], {}).get("generation")
        same = old is not None and new["spec"] == old["spec"]
        generation = (old["metadata"].get("generation", 1) + (not same)) if old else 1
        new["metadata"]["generation"] = generation
        for tag in tags:
            if _changed(before.get(tag["name"]), tag, new["metadata"]["namespace"]) or not tag["generation"]:
                tag["generation"] = generation

    def _fill(self, tag: Object) -> None:
        tag.setdefault("annotations", None)
        if not tag.get("referencePolicy"):
            tag["referencePolicy"] = {"type": "Source"}
        tag["importPolicy"] = {
            **({} if self.world.old else {"importMode": "Legacy"}),
            **(tag.get("importPolicy") or {}),
        }

    def _forbidden(self, caller: Caller, new: Object, old: Object | None) -> list[str]:
        """Tags from other projects need the right to pull there."""
        own, before = new["metadata"]["namespace"], _spec_tags(old)
        wrong = []
        for tag in new["spec"].get("tags") or ():
            source = tag.get("from") or {}
            place = source.get("namespace") or own
            if place == own or source.get("kind") == "DockerImage" or not _changed(before.get(tag["name"]), tag, own):
                continue
            stream = re.split("[:@]", source["name"])[0]
            wish = Wish("get", "imagestreams/layers", IMAGE_GROUP, place, stream)
            if not self.world.rbac.allows(caller, wish):
                wrong.append(f"spec.tags[{tag['name']}].from: Forbidden: {place}/{stream}")
        return wrong

    def _resolve(self, stream: Object, old: Object | None) -> list[str]:
        before, wrong = _spec_tags(old), []
        for tag in stream["spec"].get("tags") or ():
            if not tag.get("from") or not _changed(before.get(tag["name"]), tag, stream["metadata"]["namespace"]):
                continue
            try:
                event = self._event(stream, tag)
            except _WrongTag as error:
                wrong.append(f"spec.tags[{tag['name']}].from.name: {error}")
                continue
            if event:
                add_event(stream, tag["name"], {**event, "generation": tag["generation"]})
                follow(stream, tag["name"])
        return wrong

    def _event(self, stream: Object, tag: Object) -> Object | None:
        """What a tag's `from` is now; None where its stream is there and has nothing of that name: no error."""
        source = tag["from"]
        if source["kind"] == "DockerImage":
            reference = {"created": now(), "dockerImageReference": source["name"], "image": ""}
            return reference if tag.get("reference") else None
        origin, what = self._source(stream, source)
        if source["kind"] == "ImageStreamImage":
            event = {**image_event(origin, what), "created": now()}
        else:
            items = history(origin, what)
            if not items:
                return None
            event = dict(items[0])
        own = f"{self.world.internal_host}/{full_name(origin)}@"
        if event["dockerImageReference"].startswith(own) and not tag.get("reference"):
            event["dockerImageReference"] = f"{self.world.internal_host}/{full_name(stream)}@{event['image']}"
        return event

    def _source(self, stream: Object, source: Object) -> tuple[Object, str]:
        """The stream that `from` names, and the tag or digest."""
        mark = "@" if source["kind"] == "ImageStreamImage" else ":"
        name, _, what = source["name"].rpartition(mark)
        place = source.get("namespace") or stream["metadata"]["namespace"]
        if (place, name or stream["metadata"]["name"]) == (stream["metadata"]["namespace"], stream["metadata"]["name"]):
            return stream, what
        found = self.store.peek("imagestreams", place, name)
        if found is None:
            raise _WrongTag(f'Not found: "{source["name"]}"')
        return found, what


def history(stream: Object, tag: str) -> list[Object]:
    """The items of a tag, newest first; they are the stream's own."""
    for entry in stream["status"].get("tags") or ():
        if entry["tag"] == tag:
            return entry["items"]  # type: ignore[no-any-return]
    return []


def add_event(stream: Object, tag: str, event: Object) -> None:
    """A new first item, unless it is the first already."""
    items = history(stream, tag)
    if items and all(items[0][key] == event[key] for key in ("image", "dockerImageReference")):
        items[0] = {**items[0], "generation": max(items[0]["generation"], event["generation"])}
        return
    tags = [entry for entry in stream["status"].get("tags") or () if entry["tag"] != tag]
    tags.append({"tag": tag, "items": [event, *items]})
    stream["status"]["tags"] = sorted(tags, key=lambda entry: str(entry["tag"]))


def follow(stream: Object, changed: str) -> None:
    """Tags that track a tag of their own stream get what it got."""
    newest = history(stream, changed)[0]
    own = stream["metadata"]
    for tag in stream["spec"].get("tags") or ():
        source = tag.get("from") or {}
        if source.get("kind") != "ImageStreamTag" or source.get("namespace", own["namespace"]) != own["namespace"]:
            continue
        if source["name"] in (changed, f"{own['name']}:{changed}") and tag["name"] != changed:
            add_event(stream, tag["name"], {**newest, "generation": tag["generation"]})


def image_event(stream: Object, digest: str) -> Object:
    """The item of an image in any tag's history; the beginning of its digest will do."""
    wanted = digest if digest.startswith("sha256:") else f"sha256:{digest}"
    for entry in stream["status"].get("tags") or ():
        for item in entry["items"]:
            if item["image"].startswith(wanted):
                return item  # type: ignore[no-any-return]
    words = f'error generating tag event: imagestreamimage.image.openshift.io "{digest}" not found'
    raise _WrongTag(f'Invalid value: "{stream["metadata"]["name"]}@{digest}": {words}')


def find_image(stream: Object, digest: str) -> Object | None:
    """The item of an image, or None."""
    try:
        return image_event(stream, digest)
    except _WrongTag:
        return None


def _spec_tags(stream: Object | None) -> dict[str, Object]:
    return {tag["name"]: tag for tag in (stream["spec"].get("tags") or ())} if stream else {}


def _changed(old: Object | None, new: Object, namespace: str) -> bool:
    """Whether a tag names something else than before; its kind is not looked at, as in OpenShift."""
    if not new.get("from"):
        return False
    before: Any = (old or {}).get("from") or {}
    places = [source.get("namespace") or namespace for source in (before, new["from"])]
    names = [source.get("name") for source in (before, new["from"])]
    references = [bool(tag.get("reference")) for tag in (old or {}, new)]
    return old is None or any(len(set(pair)) > 1 for pair in (places, names, references))


def _only_tags(status: Object) -> Object:
    return {"tags": copy.deepcopy(status["tags"])} if status.get("tags") else {}


class Repositories(MutableMapping[str, dict[str, list[str]]]):
    """project/stream -> tag -> digests, for the registry: kept in the image streams. Setting one makes the stream."""

    def __init__(self, streams: Streams, world: World) -> None:
        self._streams, self._store = streams, world.store

    def __getitem__(self, repository: str) -> dict[str, list[str]]:
        project, _, name = repository.partition("/")
        stream = self._store.peek("imagestreams", project, name)
        if stream is None:
            raise KeyError(repository)
        tags = {entry["tag"]: [item["image"] for item in entry["items"]] for entry in stream["status"].get("tags", ())}
        pulled = {tag: [digest for digest in digests if digest] for tag, digests in tags.items()}
        return {tag: digests for tag, digests in pulled.items() if digests}

    def __setitem__(self, repository: str, tags: dict[str, list[str]]) -> None:
        project, _, name = repository.partition("/")
        with self._store.lock:
            self._store.delete("imagestreams", project, name)
            new = {"metadata": {"name": name, "namespace": project}}
            self._streams.seed(new, Caller("system:registry"))
            for tag, digests in tags.items():
                for digest in reversed(digests):
                    self._streams.pushed(project, name, tag, digest)

    def __delitem__(self, repository: str) -> None:
        self._store.delete("imagestreams", *repository.split("/", 1))

    def __iter__(self) -> Iterator[str]:
        return iter([full_name(stream) for stream in self._store.list("imagestreams")])

    def __len__(self) -> int:
        return len(self._store.list("imagestreams"))
