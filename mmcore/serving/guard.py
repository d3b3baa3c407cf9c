"""The middleware in front of the service: who may ask, how much may be sent, and what the parts are.

Every refusal is answered here with the same shape, `{"error": "one sentence"}`, before BentoML sees the request,
so the service computes on checked arrays only and no client can make it log or raise.
"""

import hmac
import ipaddress
from collections.abc import Callable, Mapping

import anyio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmcore.serving.uploads import Decode, Form, Refusal, read_form
from mmcore.settings import ServeSettings

PARTS = "mmcore.parts"  # where the endpoint finds the parts in the request's scope
OPEN = {"/", "/docs", "/docs.json", "/livez", "/readyz", "/healthz"}
OPEN_FOLDER = "/static_content/"


class Guard:
    """ASGI middleware. `forms`: the paths that take uploads, and which; `decode()` is asked for when the first upload
    comes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: str | None,
        limits: ServeSettings,
        forms: Mapping[str, Form],
        decode: Callable[[], Decode],
    ) -> None:
        self.app = app
        self._key = key.encode() if key else None
        self._limits = limits
        self._forms = forms
        self._decode = decode
        self._limiter = anyio.CapacityLimiter(limits.threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            receive = await self._admit(scope, receive)
        except Refusal as refusal:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
            answer = JSONResponse({"error": refusal.sentence}, status_code=refusal.status, headers=headers)
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Check the request and leave its parts in the scope; returns what the service is to receive."""
        headers, path = Headers(scope=scope), str(scope["path"])
        if path not in OPEN and not path.startswith(OPEN_FOLDER):
            self._check_key(headers, scope)
        if scope["method"] in ("GET", "HEAD"):
            return receive
        body = await self._body(headers, receive)
        if scope["method"] == "POST" and path in self._forms:
            scope[PARTS] = await read_form(
                path, self._forms[path], headers, body, limits=self._limits, decode=self._decode(),
                limiter=self._limiter,
            )  # fmt: skip
            body = b""
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        return replay

    def _check_key(self, headers: Headers, scope: Scope) -> None:
        if self._key is None:
            # The server refuses to start on another address; this holds however it was started.
            if not _is_local(scope):
                raise Refusal(403, "this service has no key and answers its own machine only; set MMCORE_API_KEY")
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # The comparison takes the same time wherever the two differ.
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key):
            raise Refusal(401, "this service needs its key: send the header 'Authorization: Bearer KEY'")

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body; a longer one than allowed is refused by its stated length, or where it grows too long."""
        most = self._limits.max_body_bytes
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated[:20]) > most:
            raise Refusal(413, f"the request has {stated[:20]} bytes; at most {most} are taken")
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "the request ended before its body was complete")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > most:
                raise Refusal(413, f"the request is longer than {most} bytes; no more are taken")
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


def _is_local(scope: Scope) -> bool:
    """Whether the request came in over a loopback address of this machine (or over no network at all)."""
    try:
        address = ipaddress.ip_address((scope.get("server") or ("",))[0])
    except ValueError:
        return True
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
