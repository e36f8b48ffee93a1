"""What an image is, whatever its format: layers, diff_ids and runtime config, and how two of them differ. Pure.

Source: OCI image specification 1.1, config.md; for schema 1, docker/distribution 2.8.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from migrate.images.formats import ImageManifest, Kind, NotAnImageManifestError, json_object, mapping, schema1_newest

_EMPTY_LAYER = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
"""The gzipped empty tar that schema 1 puts where a step of the history changed no file."""
_RUNTIME = ("Env", "Entrypoint", "Cmd", "User", "WorkingDir", "Labels", "ExposedPorts", "Volumes")
_PLATFORM = ("architecture", "os")
_DOCKER_ONLY = ("OnBuild", "Healthcheck", "Shell")


@dataclass(frozen=True)
class Content:
    """What an image is, whatever its format: the basis of "equal across conversion".

    Attributes:
        config_digest: empty for schema 1, which has none.
        layers: digests, base first, without throw-away layers.
        diff_ids: digests of the uncompressed layers; None for schema 1, and where there is not one for each layer.
        runtime: the config's fields that decide how a container runs, empty ones left out.
    """

    config_digest: str
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...] | None
    runtime: tuple[tuple[str, str], ...]


def content_of(manifest: ImageManifest, config: bytes | None) -> Content:
    """What an image holds; `config` is its config blob (not needed for schema 1).

    Raises:
        NotAnImageManifestError: the config is not JSON.
    """
    layers = tuple(layer.digest for layer in manifest.layers)
    if manifest.kind is Kind.SCHEMA1:
        return Content("", layers, None, _runtime(schema1_newest(manifest.document)))
    document = json_object(config or b"{}")
    return Content(manifest.config.digest, layers, _diff_ids(document, len(layers)), _runtime(document))


def _diff_ids(document: Mapping[str, Any], layers: int) -> tuple[str, ...] | None:
    found = mapping(document.get("rootfs")).get("diff_ids")
    return tuple(map(str, found)) if isinstance(found, list) and len(found) == layers else None


def _runtime(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    fields = {**mapping(document.get("config")), **{key: document.get(key) for key in _PLATFORM}}
    return tuple((key, json.dumps(fields[key], sort_keys=True)) for key in (*_RUNTIME, *_PLATFORM) if fields.get(key))


def differences(source: Content, target: Content, *, recompressed: bool = True) -> list[str]:
    """What tells two images apart, in words; empty where they hold the same.

    Args:
        source: what is wanted.
        target: what is there.
        recompressed: layers with other digests are the same where the configs' diff_ids are. Of one and the same config
            that would prove nothing, so where no conversion is expected the digests themselves must be equal.
    """
    same_layers = source.layers == target.layers
    same_config = bool(source.config_digest) and source.config_digest == target.config_digest
    if same_config and same_layers:
        return []
    if same_config and not recompressed:
        return ["layers differ, although the config is the same"]
    found = []
    if source.diff_ids is not None and target.diff_ids is not None:
        if source.diff_ids != target.diff_ids:
            found.append(_list_difference("layers", source.diff_ids, target.diff_ids))
    elif _solid(source.layers) != _solid(target.layers):
        found.append(_list_difference("layers", _solid(source.layers), _solid(target.layers)))
    mine, theirs = dict(source.runtime), dict(target.runtime)
    found += [f"{key} differs" for key in (*_RUNTIME, *_PLATFORM) if mine.get(key) != theirs.get(key)]
    return found


def _solid(layers: tuple[str, ...]) -> tuple[str, ...]:
    """Without empty layers: of those, conversions of schema 1 keep some and drop some."""
    return tuple(digest for digest in layers if digest != _EMPTY_LAYER)


def _list_difference(noun: str, source: tuple[str, ...], target: tuple[str, ...]) -> str:
    if len(source) != len(target):
        return f"{noun} differ ({len(source)} at the source, {len(target)} at the target)"
    first = next(i for i, pair in enumerate(zip(source, target, strict=True)) if pair[0] != pair[1])
    return f"{noun} differ (the first is {first + 1} of {len(source)})"


def docker_only_fields(manifest: ImageManifest, config: bytes | None) -> list[str]:
    """The fields of an image's config that skopeo's own conversion to OCI drops (seen with skopeo 1.9.3)."""
    fields = mapping(_whole_config(manifest, config).get("config"))
    return [name for name in _DOCKER_ONLY if fields.get(name)]


def created(manifest: ImageManifest, config: bytes | None) -> str:
    """When an image was made, RFC 3339; empty where nothing says it."""
    return str(_whole_config(manifest, config).get("created") or "")


def _whole_config(manifest: ImageManifest, config: bytes | None) -> dict[str, Any]:
    """An image's config; schema 1 has it in its history."""
    is_schema1 = manifest.kind is Kind.SCHEMA1
    return schema1_newest(manifest.document) if is_schema1 else _config_document(config)


def _config_document(config: bytes | None) -> dict[str, Any]:
    """A config; empty where it cannot be read."""
    try:
        return json_object(config or b"{}")
    except NotAnImageManifestError:
        return {}
