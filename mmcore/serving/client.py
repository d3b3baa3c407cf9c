"""Asking a served Bento, with the standard library alone."""

import http.client
import json
import secrets
import socket
from collections.abc import Sequence
from typing import Any

TIMEOUT_SECONDS = 60.0
READY_SECONDS = 2.0

# A field of a form: its name, and a text or a file as (name, content).
Sent = tuple[str, str | tuple[str, bytes]]


class Client:
    """One served Bento. Answers are what its JSON says; an answer that is none is a RuntimeError with its sentence."""

    def __init__(self, host: str, port: int, *, key: str | None = None) -> None:
        self.host, self.port = host, port
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ready(self) -> bool:
        """Whether `/readyz` says yes."""
        try:
            # While no worker is there to take it, a connection waits in the supervisor's socket.
            status, _ = self.request("GET", "/readyz", seconds=READY_SECONDS)
        except OSError:
            return False
        return status == 200

    def get(self, path: str) -> Any:
        return self._answer(path, *self.request("GET", path))

    def post(self, path: str, fields: Sequence[Sent]) -> Any:
        """Send a form."""
        content_type, body = form(fields)
        return self._answer(path, *self.request("POST", path, body, {"Content-Type": content_type}))

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, *,
        seconds: float = TIMEOUT_SECONDS,
    ) -> tuple[int, bytes]:  # fmt: skip
        """Status and body of one request; OSError if there is no answer within `seconds`."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=seconds)
        try:
            connection.request(method, path, body, self._headers | (headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(f"{path}: {error!r}") from None
        finally:
            connection.close()

    def _answer(self, path: str, status: int, body: bytes) -> Any:
        if status != 200:
            raise RuntimeError(f"{path} answers {status}: {body[:500].decode(errors='replace')}")
        return json.loads(body)


def form(fields: Sequence[Sent]) -> tuple[str, bytes]:
    """Content type and body of a multipart form."""
    boundary = secrets.token_hex(16)
    parts = []
    for name, value in fields:
        if isinstance(value, str):
            described, content = f'name="{name}"', value.encode()
        else:
            described, content = f'name="{name}"; filename="{value[0]}"', value[1]
        head = f"--{boundary}\r\nContent-Disposition: form-data; {described}\r\n\r\n"
        parts.append(head.encode() + content + b"\r\n")
    return f"multipart/form-data; boundary={boundary}", b"".join(parts) + f"--{boundary}--\r\n".encode()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
