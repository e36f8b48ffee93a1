"""rahti-migrate: moves OpenShift 3.11 projects to OpenShift 4."""

__version__ = "1.0.0"
