"""The only package with SQL: what was done, kept so that a run can go on after anything. SQLite in WAL mode.

The registries are the truth, this is a memory: with it deleted a run is still right, only slower. One process writes
at a time (lock.py); any number may read.
"""
