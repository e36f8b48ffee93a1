"""`rahti-migrate schema`: the manifest's JSON Schema."""

from migrate.cli.options import json_document
from migrate.errors import ExitCode
from migrate.manifest.schema import manifest_schema


def schema() -> int:
    """Print the manifest's JSON Schema, for editors that complete and check YAML.

    Example: rahti-migrate schema > migration.schema.json
    """
    json_document(manifest_schema())
    return ExitCode.OK
