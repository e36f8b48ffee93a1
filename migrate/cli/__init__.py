"""The commands: one file each; parse, call, print, exit code."""

from migrate.cli.main import main

__all__ = ["main"]
