"""A token server as docker/distribution documents it ("Token Authentication"), for registries with Bearer logins."""

import base64
import datetime
import ipaddress
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from registrylab.gateway import Answer, Forward, Request, ask

_ISSUER, _SERVICE = "lab-tokens", "lab-registry"


@dataclass
class TokenServer:
    """A running token server; what it allows may be changed while it runs.

    Attributes:
        users: user name -> password (or token).
        anonymous: what one without a login may do: actions such as {"pull"}.
        seconds: how long its tokens live.
        asked: the scopes of each token that was given, oldest first.
    """

    url: str
    certificate: Path
    users: dict[str, str]
    key: ec.EllipticCurvePrivateKey
    anonymous: set[str] = field(default_factory=set)
    seconds: int = 300
    asked: list[list[str]] = field(default_factory=list)

    @property
    def registry_settings(self) -> dict[str, str]:
        """docker-registry's `auth.token`."""
        return {
            "realm": f"{self.url}/token",
            "service": _SERVICE,
            "issuer": _ISSUER,
            "rootcertbundle": str(self.certificate),
        }

    def answer(self, authorization: str, scopes: list[str]) -> tuple[int, dict[str, Any]]:
        """Status and body for one request of a token."""
        if authorization:
            user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            if self.users.get(user) != password:
                return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "invalid username/password"}]}
            allowed = {"pull", "push", "delete", "*"}
        else:
            user, allowed = "", self.anonymous
        self.asked.append(scopes)
        return 200, {
            "token": self._token(user, [_granted(scope, allowed) for scope in scopes]),
            "expires_in": self.seconds,
        }

    def _token(self, user: str, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        claims = {
            "iss": _ISSUER, "sub": user, "aud": _SERVICE, "iat": now, "nbf": now - 5,
            "exp": now + self.seconds, "jti": str(time.time_ns()), "access": access,
        }  # fmt: skip
        der = x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
        return jwt.encode(claims, self.key, "ES256", headers={"x5c": [base64.b64encode(der).decode()]})


def _granted(scope: str, allowed: set[str]) -> dict[str, Any]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return {"type": kind, "name": name, "actions": sorted(set(actions.split(",")) & allowed)}


@contextmanager
def token_server(folder: Path, users: dict[str, str]) -> Iterator[TokenServer]:
    """A token server on a free loopback port; its certificate goes into `folder`."""
    certificate, key = self_signed(folder, "tokens")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server = TokenServer(f"http://127.0.0.1:{httpd.server_port}", certificate, users, key)
    httpd.lab = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(5)


def behind_one_host(server: TokenServer, request: Request, forward: Forward) -> Answer:
    """A handler for a gateway: the registry and its token server under one host, as behind OpenShift's router."""
    token_host = urlsplit(server.url).netloc
    if request.phase == "token":
        return ask(token_host, request)
    answer = forward(request)
    challenge = answer.header("WWW-Authenticate")
    own = challenge.replace(server.url, f"http://{request.headers['host']}")
    return answer.with_headers(WWW_Authenticate=own) if challenge else answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        scopes = [part for scope in parse_qs(urlsplit(self.path).query).get("scope", []) for part in scope.split()]
        lab: TokenServer = self.server.lab  # type: ignore[attr-defined]
        status, document = lab.answer(self.headers.get("Authorization", ""), scopes)
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def self_signed(folder: Path, name: str, *hosts: str) -> tuple[Path, ec.EllipticCurvePrivateKey]:
    """A certificate for 127.0.0.1, localhost and more hosts, `<name>.crt` and `<name>.key` in `folder`; the key too."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = [loopback, *(x509.DNSName(host) for host in ("localhost", *hosts))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.crt"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.key").write_bytes(private)
    return path, key
