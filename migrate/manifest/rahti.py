"""What Rahti is known for, where its API does not tell and the manifest does not say otherwise.

CSC's documentation of Rahti 2: "Resource quotas" (image streams and pods are counted for all projects of a CSC project
together), and the guide of the migration.
"""

from migrate.manifest.model import RAHTI2_REGISTRY, Limits, ManifestFile

SOURCE_API_HOST = "rahti.csc.fi"
TARGET_API_HOST = "api.2.rahti.csc.fi"
SOURCE_REGISTRIES = ("docker-registry.default.svc:5000", "docker-registry.default.svc.cluster.local:5000")
"""What OpenShift 3.11 calls its registry from inside; old projects name its address in the services' network."""
RAHTI2_LIMITS = Limits.model_validate({"imageSize": "5GiB", "imageStreams": 20, "pods": 100})
RAHTI2_WORKLOAD_LIMITS = RAHTI2_LIMITS.model_copy(
    update=Limits.model_validate(
        {
            "claimSize": "100GiB", "minCpu": "50m", "maxCpu": "4", "minMemory": "8Mi", "maxMemory": "16Gi",
            "defaultCpu": "500m", "defaultMemory": "1Gi", "defaultCpuRequest": "100m",
            "defaultMemoryRequest": "500Mi", "maxCpuRatio": 5,
        }
    ).model_dump(exclude_none=True)
)  # fmt: skip
SOURCE_ROUTE_SUFFIX = "rahtiapp.fi"
TARGET_ROUTE_SUFFIX = "2.rahtiapp.fi"
SOURCE_STORAGE_CLASSES = ("glusterfs-storage", "glusterfs", "gluster-file", "standard-rwo", "nfs")
TARGET_STORAGE_CLASS = "standard-csi"
TARGET_ROUTER = "router-default.apps.2.rahti.csc.fi"
"""What the CNAME of a domain of the user's own names."""
SOURCE_EGRESS = "193.167.189.25"
TARGET_EGRESS = "86.50.229.150"
"""The addresses that the clusters call others from."""


def known_limits(file: ManifestFile) -> Limits:
    """The limits of a manifest's target, where they are known without asking it."""
    said = file.platform.target.limits
    if file.target.registry != RAHTI2_REGISTRY:
        return said
    return RAHTI2_LIMITS.model_copy(update=said.model_dump(exclude_none=True))
