"""The demo's images: a small honest Rahti 1, with what real projects have."""

from registrylab.client import LabClient
from registrylab.images import Image, Layer, make_image, make_index, make_layer

MB = 1_000_000


def fill_demo(client: LabClient, scale: float = 1.0) -> int:
    """Push the demo's population; how many tags there are.

    Two projects: shared base layers, several tags on one digest, schema 1, a manifest list, an image with OnBuild and
    Healthcheck, OCI and Docker images side by side.

    Args:
        client: of the source registry, which must take schema 1.
        scale: 1.0 is some 25 MB.
    """
    base, runtime = make_layer("base", int(6 * MB * scale)), make_layer("runtime", int(3 * MB * scale))

    def app(name: str, size: float, **options: object) -> Image:
        layers = [base, runtime, make_layer(name, int(size * MB * scale))]
        return make_image(layers, **options)  # type: ignore[arg-type]

    client.push("shop/frontend", app("frontend-1.0", 1), "1.0")
    client.push("shop/frontend", app("frontend-1.1", 1), "1.1")
    client.push("shop/frontend", app("frontend-1.2", 1), "1.2", "latest", "stable")
    client.push("shop/backend", app("backend-2.0", 2, config=_backend()), "2.0", "latest")
    client.push("shop/worker", app("worker", 0.5, family="oci"), "1")
    client.push("shop/builder", app("builder", 0.5, config=_builder()), "latest")
    client.push_schema1("shop/legacy", app("legacy", 1), "2016")
    client.push("tools/debug", _list(base, scale), "latest")
    client.push("tools/report", app("report", 1.5), "3.1", "3")
    return len(client.images())


def _backend() -> dict[str, object]:
    return {
        "Cmd": ["/srv/backend", "--port", "8080"],
        "Env": ["PATH=/usr/bin", "PORT=8080"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"org.opencontainers.image.title": "backend"},
        "User": "1001",
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
    }


def _builder() -> dict[str, object]:
    return {
        "Cmd": ["/bin/sh"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000},
        "OnBuild": ["COPY . /srv", "RUN make"],
        "Shell": ["/bin/bash", "-c"],
    }


def _list(base: Layer, scale: float) -> Image:
    platforms = {"linux/amd64": "amd64", "linux/arm64": "arm64"}
    return make_index(
        {
            platform: make_image([base, make_layer(f"debug-{arch}", int(MB * scale))], architecture=arch)
            for platform, arch in platforms.items()
        }
    )
