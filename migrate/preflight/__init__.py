"""Preflight: what would keep a migration from going well, found out before the first byte."""
