"""`mmcore report --follow`: the run at work as a page, served to this machine alone."""

import secrets
import sys
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mmcore.report import live
from mmcore.report.build import UNREADABLE
from mmcore.workspace import Workspace

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; script-src 'nonce-{nonce}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def follow(workspace: Workspace, *, show: bool) -> None:
    """Serve the page on a free port until Ctrl-C; `show` opens it in the browser."""
    server = Server(workspace)
    print(f"{server.address}  (Ctrl-C ends it; the run goes on)", flush=True)
    if show:
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()


class Server(ThreadingHTTPServer):
    """The page of one project at a free port of 127.0.0.1."""

    daemon_threads = True

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.workspace = workspace

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is nothing to tell."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        # Another site's name that leads here (DNS rebinding) must not make its script one of ours.
        if self.headers.get("Host") not in [f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")]:
            self.send_error(HTTPStatus.FORBIDDEN, "This page answers to 127.0.0.1 and localhost only")
            return
        workspace, nonce = self.server.workspace, secrets.token_urlsafe(16)
        try:
            match self.path:
                case "/":
                    body = live.page(workspace, nonce).encode()
                case "/now":
                    body = live.fragment(workspace).encode()
                case "/report" if report := live.report(workspace):
                    body = report.read_bytes()
                case _:
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
        except UNREADABLE as error:  # a file that another process writes or removes at this moment
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Try again", str(error))
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY.format(nonce=nonce))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a page that looks every two seconds would fill the terminal."""
