"""Workloads: Kubernetes and OpenShift YAML from the source, rewritten for the target.

`documents.py` reads and writes files, `rules/` has the rules, `engine.py` runs them, `folder.py` does whole folders.
"""
