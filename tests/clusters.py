"""Two OpenShift clusters, 3.11 and 4, with a user who is admin of one project in each, and the program between them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import Ends, Ran
from registrylab.client import LabClient
from registrylab.cluster import OpenShiftCluster, openshift_cluster
from registrylab.images import Image, make_image, make_layer
from registrylab.registry import Tls

OLD_TOKEN, NEW_TOKEN, BOB_TOKEN, ADMIN_TOKEN = "sha256~ann-old", "sha256~ann-new", "sha256~bob-new", "sha256~root"
CONTEXTS = "source: {{registry: '{old}', plainHttp: true, login: {{kubeconfigContext: old}}}}\n" + (
    "target: {{registry: '{new}', plainHttp: true, login: {{kubeconfigContext: new}}}}\n"
)


def image(name: str) -> Image:
    return make_image([make_layer("base", 3_000), make_layer(name, 1_000)])


@dataclass
class Clusters:
    """Project my-app on the old cluster, my-app-2 on the new one, both ann's; bob is logged in and no more."""

    old: OpenShiftCluster
    new: OpenShiftCluster
    ends: Ends

    def manifest(self, body: str, ends: str = CONTEXTS) -> Path:
        path = self.ends.folder / "m.yaml"
        head = ends.format(old=self.old.registry.host, new=self.new.registry.host)
        path.write_text(f"version: 1\n{head}projects: {{my-app: my-app-2}}\n{body}")
        return path

    def access(self, entries: str) -> Path:
        """A manifest with nothing but `access`."""
        return self.manifest(f"access: {entries}\n")

    def run(self, *arguments: object, **environment: str) -> Ran:
        files = [self.ends.folder / "old.kube", self.ends.folder / "new.kube"]
        ran = self.ends.run(*arguments, **{"KUBECONFIG": ":".join(map(str, files)), **environment})
        for token in (OLD_TOKEN, NEW_TOKEN, BOB_TOKEN, ADMIN_TOKEN):
            assert token not in ran.text
        return ran

    def login(self, end: str, cluster: OpenShiftCluster, token: str) -> None:
        (self.ends.folder / f"{end}.kube").write_text(cluster.kubeconfig({end: token}))

    def pushed(self, cluster: OpenShiftCluster, token: str) -> LabClient:
        return LabClient(cluster.registry.seen_by(token))

    def push(self, cluster: OpenShiftCluster, token: str, name: str, *tags: str) -> None:
        with self.pushed(cluster, token) as client:
            client.push(name, image(name), *tags)

    def pulls(self, repository: str, token: str = "") -> bool:
        """Whether skopeo gets an image of the new cluster's registry, with a token or without a login."""
        login = ["--creds", f"unused:{token}"] if token else ["--no-creds"]
        argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", *login]
        ran = subprocess.run(
            [*argv, f"docker://{self.new.registry.host}/{repository}"], capture_output=True, check=False, text=True
        )
        assert ran.returncode == 0 or "authentication required" in ran.stderr, ran.stderr
        return ran.returncode == 0

    def bindings(self, project: str = "my-app-2") -> dict[str, set[tuple[str, str]]]:
        """The subjects of each RoleBinding of the new cluster."""
        return {
            item["metadata"]["name"]: {(s["kind"], s["name"]) for s in item.get("subjects") or ()}
            for item in self.new.list("RoleBinding", project)
        }

    def ours(self, project: str = "my-app-2") -> dict[str, set[tuple[str, str]]]:
        return {name: who for name, who in self.bindings(project).items() if name.startswith("rahti-migrate")}

    def subject(self, kind: str, name: str, **more: Any) -> dict[str, Any]:
        group = {} if kind == "ServiceAccount" else {"apiGroup": "rbac.authorization.k8s.io"}
        return {"kind": kind, "name": name, **group, **more}


@contextmanager
def two_clusters(folder: Path, tls: Tls | None = None) -> Iterator[Clusters]:
    with (
        openshift_cluster(folder / "old", "3.11", users={OLD_TOKEN: "ann"}) as old,
        openshift_cluster(folder / "new", "4", tls, users={NEW_TOKEN: "ann", BOB_TOKEN: "bob"}) as new,
    ):
        work = folder / "work"
        work.mkdir()
        made = Clusters(old, new, Ends(old.registry.seen_by(OLD_TOKEN), new.registry.seen_by(NEW_TOKEN), work))
        old.add_project("my-app", "ann")
        new.add_project("my-app-2", "ann")
        new.add_user("root", ADMIN_TOKEN, cluster_role="cluster-admin")
        made.login("old", old, OLD_TOKEN)
        made.login("new", new, NEW_TOKEN)
        yield made
