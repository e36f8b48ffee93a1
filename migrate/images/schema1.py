"""Docker schema 1 to OCI: the config that skopeo's own conversion makes of a history, byte for byte. Pure.

Written from what skopeo 1.9.3 and 1.18 make (containers/image: `Schema1.ToSchema2Config`, then a marshalled
`imgspec.Image` of OCI image-spec 1.0). Whatever would come out otherwise, or depends on skopeo's version, is refused
here and left to skopeo.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from migrate.images.conversion import CannotConvertError
from migrate.images.formats import (
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    manifest_of,
    sha256,
)

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ID = re.compile(r"[a-f0-9]{64}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_NEVER = "0001-01-01T00:00:00Z"
"""Go's time of no time."""
_LISTS, _SETS, _TEXTS = ("Env", "Entrypoint", "Cmd"), ("ExposedPorts", "Volumes"), ("User", "WorkingDir", "StopSignal")
_RUNTIME = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal")
"""The fields of `imgspec.ImageConfig`, in its order."""
_IMAGE = ("created", "author", "architecture", "os", "config", "rootfs", "history", "docker_version")
_STEP = ("id", "parent", "comment", "created", "container_config", "author", "throwaway")
_BY_VERSION = ("variant", "os.version", "os.features")
"""What of an image's config some versions of skopeo carry over and others do not."""


def oci_config(manifest: ImageManifest, diff_ids: Sequence[str]) -> bytes:
    """The OCI config of a schema 1 image.

    Args:
        manifest: the image.
        diff_ids: of `manifest.layers`, in their order (base first, without throw-away layers).

    Raises:
        CannotConvertError: skopeo would make something else of it, or nothing.
    """
    steps = _steps(manifest.document)
    newest = steps[0]
    runtime = _optional(newest, "config", dict) or {}
    _check_names(newest, _IMAGE)
    _check_names(runtime, (*_RUNTIME, "ArgsEscaped"))
    if any(newest.get(name) is not None for name in _BY_VERSION) or runtime.get("ArgsEscaped") is not None:
        raise CannotConvertError("a config whose conversion depends on skopeo's version")
    if not newest.get("created") or not manifest.layers:
        raise CannotConvertError("an image without a time, or without layers")
    document = {
        "created": _time(newest["created"]),
        **_filled({"author": _optional(newest, "author", str)}),
        "architecture": _optional(newest, "architecture", str) or "",
        "os": _optional(newest, "os", str) or "",
        "config": _filled({name: _runtime_field(runtime, name) for name in _RUNTIME}),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [_history(step) for step in reversed(steps)],
    }
    return _as_go_writes(document)


def oci_manifest(config: bytes, layers: Iterable[Descriptor]) -> ImageManifest:
    """The OCI manifest over a config and gzipped layers (their digests and sizes)."""
    return manifest_of(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)},
            "layers": [{"mediaType": OCI_LAYER, "digest": each.digest, "size": each.size} for each in layers],
        }
    )


def can_be_built(manifest: ImageManifest) -> bool:
    """Whether its config can be made here."""
    try:
        oci_config(manifest, [])
    except CannotConvertError:
        return False
    return True


def _steps(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The history, newest first: each one an image over the next, as containers/image demands it."""
    steps = [_step(entry["v1Compatibility"]) for entry in document["history"]]
    ids = [step.get("id") for step in steps]
    if not steps or len(set(ids)) != len(ids) or not all(isinstance(each, str) and _ID.fullmatch(each) for each in ids):
        raise CannotConvertError("a history without ids of its own")
    parents = [_optional(step, "parent", str) or "" for step in steps]
    if parents != [*ids[1:], ""]:
        raise CannotConvertError("a history that is no chain")
    return steps


def _step(text: str) -> dict[str, Any]:
    try:
        step = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise CannotConvertError("a history that is not JSON") from None
    if not isinstance(step, dict):
        raise CannotConvertError("a history that is not JSON")
    _check_names(step, _STEP)
    return step


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CannotConvertError("a key that stands twice")
    return found


def _refused(text: str) -> float:
    raise ValueError(text)


def _check_names(document: Mapping[str, Any], known: Iterable[str]) -> None:
    """Go takes `CMD` for `Cmd`; which of two it takes depends on their order."""
    by_fold = {name.casefold(): name for name in known}
    for name in document:
        if by_fold.get(name.casefold(), name) != name:
            raise CannotConvertError(f"a field {name!r} that Go takes for another one")


def _history(step: Mapping[str, Any]) -> dict[str, Any]:
    command = _texts((_optional(step, "container_config", dict) or {}).get("Cmd"))
    return {
        "created": _time(_NEVER if step.get("created") is None else step["created"]),
        **_filled(
            {
                "created_by": " ".join(command),
                "author": _optional(step, "author", str),
                "comment": _optional(step, "comment", str),
                "empty_layer": _optional(step, "throwaway", bool),
            }
        ),
    }


def _runtime_field(runtime: Mapping[str, Any], name: str) -> Any:
    if name in _TEXTS:
        return _optional(runtime, name, str)
    if name in _LISTS:
        return _texts(runtime.get(name))
    found = _optional(runtime, name, dict) or {}
    if name in _SETS:
        if not all(value is None or value == {} for value in found.values()):
            raise CannotConvertError(f"{name} that are no set")
        return {key: {} for key in sorted(found)}
    if not all(isinstance(value, str) for value in found.values()):
        raise CannotConvertError(f"{name} that are no texts")
    return {key: found[key] for key in sorted(found)}


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise CannotConvertError("a list that is none of texts")
    return value


def _optional(document: Mapping[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    if value is not None and not isinstance(value, kind):
        raise CannotConvertError(f"a field {name!r} of another type")
    return value


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Go's `omitempty`."""
    return {name: value for name, value in fields.items() if value}


def _time(text: Any) -> str:
    """A time as Go reads and writes it (RFC 3339 with up to nine digits, no zeros at their end)."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    try:
        if found is None:
            raise ValueError(text)
        datetime.fromisoformat(f"{found[1]}+00:00")
    except ValueError:
        raise CannotConvertError("a time that is none") from None
    hours, _, minutes = found[3][1:].partition(":")
    if found[3] != "Z" and (int(hours) > 23 or int(minutes) > 59):
        raise CannotConvertError("a time that is none")
    zone = "Z" if found[3][1:] == "00:00" else found[3]
    fraction = (found[2] or "").rstrip("0")
    return f"{found[1]}{f'.{fraction}' if fraction else ''}{zone}"


def _as_go_writes(document: Mapping[str, Any]) -> bytes:
    """JSON as Go's encoding/json writes it: no spaces, HTML's characters escaped."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CannotConvertError("a text that is no Unicode") from None
