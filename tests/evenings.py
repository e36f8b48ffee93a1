"""The worlds of test_evenings.py: what its users have on their old cluster."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from registrylab.client import LabClient, skopeo_copy
from registrylab.cluster import OpenShiftCluster
from registrylab.images import Image, make_image, make_index, make_layer
from registrylab.kubestatus import Object

INTERNAL = "docker-registry.default.svc:5000"
BASE, RUNTIME = make_layer("base", 60_000), make_layer("runtime", 40_000)


def app(name: str, **options: Any) -> Image:
    return make_image([BASE, RUNTIME, make_layer(name, 20_000)], **options)


def fill_shop(client: LabClient, old: OpenShiftCluster) -> None:
    """Project `shop` with eight image streams, a database, two DeploymentConfigs, a Route and RoleBindings."""
    client.push("shop/web", app("web-1.3"), "1.3")
    client.push("shop/web", app("web-1.4"), "1.4", "latest")
    client.push("shop/postgres", app("postgres", config={"Volumes": {"/var/lib/pgsql/data": {}}}), "12")
    client.push("shop/api", app("api-2"), "2.0")
    client.push("shop/worker", app("worker", family="oci"), "1")
    client.push("shop/builder", app("builder", config={"OnBuild": ["COPY . /srv"]}), "latest")
    old.add_project("scratch", "ann")
    client.push("scratch/legacy", app("legacy"), "2016")
    skopeo_copy(client.registry, "scratch/legacy:2016", "shop/legacy:2016", "--format", "v2s1")
    parts = {"linux/amd64": app("tools-amd64"), "linux/arm64": app("tools-arm64", architecture="arm64")}
    client.push("shop/tools", make_index(parts), "3")
    client.push("shop/report", app("report"), "1", "stable")
    for item in shop_objects():
        old.apply(item)


def shop_objects() -> list[Object]:
    return [
        deployment_config("web", "web:latest", 2),
        deployment_config("db", "postgres:12", 1, claim="db-data"),
        {"kind": "Service", "metadata": here("web"), "spec": {"ports": [{"port": 8080}], "selector": {"app": "web"}}},
        {"kind": "Service", "metadata": here("db"), "spec": {"ports": [{"port": 5432}], "selector": {"app": "db"}}},
        {
            "kind": "Route",
            "metadata": here("web"),
            "spec": {"host": "web-shop.rahtiapp.fi", "to": {"kind": "Service", "name": "web"}},
        },
        {
            "kind": "PersistentVolumeClaim",
            "metadata": here("db-data"),
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}},
        },
        binding("anyone-pulls", "system:image-puller", {"kind": "Group", "name": "system:unauthenticated"}),
        binding("reader", "view", {"kind": "User", "name": "bob"}),
    ]


def fill_platform(old: OpenShiftCluster, token: str, projects: int, streams: int) -> dict[str, Image]:
    """So many projects with so many image streams each and a DeploymentConfig; `project/stream:tag` -> image."""
    images: dict[str, Image] = {}
    for number in range(projects):
        project = f"team{number:03}"
        old.add_project(project)
        base = make_layer(f"base-of-{number // 5}", 30_000)  # five projects share one
        for each in range(streams):
            image = make_image([base, make_layer(f"{project}-{each}", 3_000)], config={"Env": [f"N={number}/{each}"]})
            images[f"{project}/app{each}:1"] = image
        old.apply(deployment_config("app0", "app0:1", 1, project=project))
        old.bind(project, "system:image-puller", {"kind": "Group", "name": "system:authenticated"}, name="all-pull")

    def push(name: str) -> None:
        with LabClient(old.registry.seen_by(token)) as client:
            repository, _, tag = name.partition(":")
            client.push(repository, images[name], tag)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(push, images))
    return images


def here(name: str) -> Object:
    return {"name": name, "namespace": "shop"}


def binding(name: str, role: str, *subjects: Object) -> Object:
    subjects = tuple({"apiGroup": "rbac.authorization.k8s.io", **subject} for subject in subjects)
    role_ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return {"kind": "RoleBinding", "metadata": here(name), "roleRef": role_ref, "subjects": list(subjects)}


def deployment_config(name: str, image: str, replicas: int, claim: str = "", project: str = "shop") -> Object:
    """As `oc new-app` writes one, with a trigger on its image stream."""
    container: Object = {
        "name": name,
        "image": f"{INTERNAL}/{project}/{image}",
        "env": [{"name": "DB", "value": "db:5432"}],
    }
    pod: Object = {"containers": [container]}
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/var/lib/pgsql/data"}]
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    stream = {"kind": "ImageStreamTag", "name": image, "namespace": project}
    changes = {"automatic": True, "containerNames": [name], "from": stream}
    return {
        "kind": "DeploymentConfig",
        "metadata": {"name": name, "namespace": project},
        "spec": {
            "replicas": replicas,
            "selector": {"app": name},
            "strategy": {"type": "Recreate" if claim else "Rolling"},
            "triggers": [{"type": "ConfigChange"}, {"type": "ImageChange", "imageChangeParams": changes}],
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }
