"""A token server as docker/distribution documents it, for registries with Bearer logins.

GET is its "Token Authentication", POST its "OAuth2 Token Authentication" with a refresh token.
"""

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
        rights: user name -> repository or what is above it -> actions there; a user who is not in it may do all.
        refresh_tokens: refresh token -> user name.
        anonymous: what one without a login may do: actions such as {"pull"}.
        seconds: how long its tokens live.
        asked: the scopes of each token that was given, oldest first.
        askers: who each was given to; empty for nobody.
        forms: what was posted, less the refresh tokens.
    """

    url: str
    certificate: Path
    users: dict[str, str]
    key: ec.EllipticCurvePrivateKey
    rights: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    anonymous: set[str] = field(default_factory=set)
    seconds: int = 300
    asked: list[list[str]] = field(default_factory=list)
    askers: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)

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
        user = ""
        if authorization:
            user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            if self.users.get(user) != password:
                return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "invalid username/password"}]}
        return 200, {"token": self._granted(user, scopes), "expires_in": self.seconds}

    def answer_form(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body for one request of a token with a refresh token."""
        user = self.refresh_tokens.get(form.pop("refresh_token", ""))
        self.forms.append(form)
        if form.get("grant_type") != "refresh_token" or not form.get("client_id"):
            return 400, {"error": "invalid_request"}
        if user is None or form.get("service") != _SERVICE:
            return 400, {"error": "invalid_grant", "error_description": "the refresh token is not known"}
        token = self._granted(user, form.get("scope", "").split())
        return 200, {"access_token": token, "expires_in": self.seconds, "scope": form.get("scope", "")}

    def _granted(self, user: str, scopes: list[str]) -> str:
        self.asked.append(scopes)
        self.askers.append(user)
        return self._token(user, [self._access(user, scope) for scope in scopes])

    def _access(self, user: str, scope: str) -> dict[str, Any]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        return {"type": kind, "name": name, "actions": sorted(set(actions.split(",")) & self._allowed(user, name))}

    def _allowed(self, user: str, name: str) -> set[str]:
        if not user:
            return self.anonymous
        if user not in self.rights:
            return {"pull", "push", "delete", "*"}
        return {
            a for place, actions in self.rights[user].items() if f"{name}/".startswith(f"{place}/") for a in actions
        }

    def _token(self, user: str, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        claims = {
            "iss": _ISSUER, "sub": user, "aud": _SERVICE, "iat": now, "nbf": now - 5,
            "exp": now + self.seconds, "jti": str(time.time_ns()), "access": access,
        }  # fmt: skip
        der = x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
        return jwt.encode(claims, self.key, "ES256", headers={"x5c": [base64.b64encode(der).decode()]})


@contextmanager
def token_server(folder: Path, users: dict[str, str]) -> Iterator[TokenServer]:
    """A token server on a free loopback port; its certificate goes into `folder`."""
    certificate, key = self_signed(folder, "tokens")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server = TokenServer(f"http://127.0.0.1:{httpd.server_port}", certificate, users, key)
    httpd.lab = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
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
        self._send(*self._lab.answer(self.headers.get("Authorization", ""), scopes))

    def do_POST(self) -> None:
        form = {name: " ".join(values) for name, values in parse_qs(self._body().decode()).items()}
        self._send(*self._lab.answer_form(form))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    @property
    def _lab(self) -> TokenServer:
        lab: TokenServer = self.server.lab  # type: ignore[attr-defined]
        return lab

    def _send(self, status: int, document: dict[str, Any]) -> None:
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
