"""A request that gets no further, and what its client is told."""

from http import HTTPStatus

from migrate.printable import printable

MARK = "Rahti-Migrate-Refused"
"""A header by which our own client knows our answer from a registry's."""


class RefusedError(Exception):
    """A request that gets no further; the status, and the reason in words."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = printable(reason)

    def answer(self, method: str) -> bytes:
        """What the client is told."""
        body = f"{self.reason}\n".encode()
        asking = 'Proxy-Authenticate: Basic realm="rahti-migrate"\r\n'
        head = (
            f"HTTP/1.1 {self.status.value} {self.reason}\r\n"
            f"{asking if self.status is HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else ''}"
            f"{MARK}: yes\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        ).encode("ascii", "replace")
        return head if method == "HEAD" else head + body
