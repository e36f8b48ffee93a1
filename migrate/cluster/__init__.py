"""The only package that speaks the Kubernetes/OpenShift API."""

from migrate.cluster.client import MANAGED_BY, MANAGER, Cluster, Object
from migrate.cluster.problems import ClusterError, Problem, advice

__all__ = ["MANAGED_BY", "MANAGER", "Cluster", "ClusterError", "Object", "Problem", "advice"]
