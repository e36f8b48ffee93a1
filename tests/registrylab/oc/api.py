"""Servers as oc speaks to them: kinds and what people call them, and requests."""

import base64
import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Object = dict[str, Any]

_KINDS = """
pods Pod po
services Service svc
endpoints Endpoints ep
configmaps ConfigMap cm
secrets Secret
events Event ev
serviceaccounts ServiceAccount sa
persistentvolumeclaims PersistentVolumeClaim pvc
replicationcontrollers ReplicationController rc
resourcequotas ResourceQuota quota
limitranges LimitRange limits
namespaces Namespace ns
deployments.apps Deployment deploy
statefulsets.apps StatefulSet sts
daemonsets.apps DaemonSet ds
replicasets.apps ReplicaSet rs
jobs.batch Job
cronjobs.batch CronJob cj
ingresses.networking.k8s.io Ingress ing
networkpolicies.networking.k8s.io NetworkPolicy netpol
horizontalpodautoscalers.autoscaling HorizontalPodAutoscaler hpa
poddisruptionbudgets.policy PodDisruptionBudget pdb
roles.rbac.authorization.k8s.io Role
rolebindings.rbac.authorization.k8s.io RoleBinding
deploymentconfigs.apps.openshift.io DeploymentConfig dc
buildconfigs.build.openshift.io BuildConfig bc
imagestreams.image.openshift.io ImageStream is
imagestreamtags.image.openshift.io ImageStreamTag istag
routes.route.openshift.io Route
templates.template.openshift.io Template
projects.project.openshift.io Project
users.user.openshift.io User
"""
CLUSTER_WIDE = {"Namespace", "Project", "User"}
_UNKNOWN_CA = (
    "error: The server uses a certificate signed by unknown authority. You may need to use the --certificate-authority"
    " flag to provide the path to a certificate file for the certificate authority, or --insecure-skip-tls-verify to"
    " bypass the certificate check and use insecure connections."
)


class Failure(Exception):  # noqa: N818 - the end of a command, with its words
    """What goes to stderr before the command ends with 1; the status where a server said it."""

    def __init__(self, words: str, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


def refuse(what: str) -> Failure:
    """For what the real one may know, and no guide should need."""
    return Failure(f"error: {what} (the tests' stand-in for oc knows no more)")


def say(line: str = "") -> None:
    """One line on stdout."""
    sys.stdout.write(f"{line}\n")


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Columns, the first row their names."""
    widths = [max(map(len, column)) + 3 for column in zip(*rows, strict=True)]
    for row in rows:
        say("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@dataclass(frozen=True)
class Kind:
    """One row of the table of kinds."""

    group: str
    plural: str
    kind: str
    short: str = ""

    @property
    def full(self) -> str:
        """As oc names it before an object's name."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    @property
    def words(self) -> set[str]:
        """Everything that people may call it."""
        bare = {self.plural, self.kind.lower(), self.short} - {""}
        return bare | {f"{word}.{self.group}" for word in bare}


def _kind_of_row(row: str) -> Kind:
    name, *rest = row.split()
    plural, _, group = name.partition(".")
    return Kind(group, plural, *rest)


KINDS = [_kind_of_row(row) for row in _KINDS.strip().splitlines()]


def kind_of(word: str) -> Kind:
    """The kind that is called so."""
    for kind in KINDS:
        if word.lower() in kind.words:
            return kind
    raise Failure(f'error: the server doesn\'t have a resource type "{word}"')


def meant(words: list[str]) -> list[tuple[Kind, str]]:
    """`kind/name ...` or `kind,kind name ...`; the name is empty where only kinds are named."""
    if words and "/" in words[0]:
        return [(kind_of(word.partition("/")[0]), word.partition("/")[2]) for word in words]
    if not words or any("/" in word for word in words):
        raise Failure("error: resources are named as KIND NAME or as KIND/NAME")
    return [(kind_of(kind), name) for kind in words[0].split(",") for name in words[1:] or [""]]


class Api:
    """A server, as a `cluster` of a kubeconfig has it, and a token for it."""

    def __init__(self, cluster: Object, token: str, folder: Path) -> None:
        self.server, self.token = cluster["server"], token
        tls = ssl.create_default_context()
        if "certificate-authority" in cluster:
            tls.load_verify_locations(folder / cluster["certificate-authority"])
        if "certificate-authority-data" in cluster:
            tls.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def nick(self) -> str:
        """What kubeconfigs call the server."""
        address = urlsplit(self.server)
        port = address.port or {"https": 443}.get(address.scheme, 80)
        return f"{address.hostname}:{port}".replace(".", "-")

    def __call__(self, method: str, path: str, body: Object | None = None, sent_as: str = "application/json") -> Object:
        """Ask, and read the answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": sent_as, "User-Agent": "oc/4"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.server}{path}", data, headers, method=method)
        try:
            with self._opener.open(asked, timeout=60) as answer:
                read: Object = json.load(answer)
                return read
        except urllib.error.HTTPError as error:
            raise _failure(error.code, error.read()) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise Failure(_UNKNOWN_CA) from None
            where = urlsplit(self.server).netloc
            words = f"The connection to the server {where} was refused - did you specify the right host or port?"
            raise Failure(words) from None


def _failure(status: int, body: bytes) -> Failure:
    if status == 401:
        return Failure("error: You must be logged in to the server (Unauthorized)", status)
    try:
        said = json.loads(body)
    except ValueError:
        said = {"reason": "NotFound", "message": "the server could not find the requested resource"}
    return Failure(f"Error from server ({said.get('reason', 'Unknown')}): {said['message']}", status)
