"""The user's file: load, check, explain; its JSON Schema."""

from migrate.manifest.load import Manifest, ManifestError, load_manifest, parse_manifest
from migrate.manifest.requests import ALL_PLATFORMS, ImageOptions, ImageRequest

__all__ = [
    "ALL_PLATFORMS",
    "ImageOptions",
    "ImageRequest",
    "Manifest",
    "ManifestError",
    "load_manifest",
    "parse_manifest",
]
