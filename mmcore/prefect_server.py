"""The project's own Prefect server: found if it runs, started in the background if not, stopped on request.

It is a process group of its own with a home in `.mmcore/prefect`, so it outlives Ctrl-C and a closed terminal, and
it listens on loopback only. Whether it is there is asked of the server itself, never of a file. Where
`PREFECT_API_URL` is set, that server is used and nothing is started.
"""

import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

import psutil

from mmcore.workspace import Workspace, read_json, run_lock, write_json

PREFERRED_PORT = 4200
START_SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """A server by its API address; `ours` tells whether this project started it."""

    api: str
    ours: bool

    @property
    def ui(self) -> str:
        return self.api.removesuffix("/api")


def start(workspace: Workspace) -> Server:
    """The server of this project, which may still be starting: `wait` before the first call to it."""
    named = os.environ.get("PREFECT_API_URL")
    if named:
        return Server(named.rstrip("/"), ours=False)
    home = workspace.state / "prefect"
    with run_lock(home / "start.lock", "another start of the Prefect server", patience=START_SECONDS):
        running = find(workspace)
        if running is not None:
            return running
        port = _free_port()
        with open(home / "server.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
                env=os.environ | environment(workspace, f"http://127.0.0.1:{port}/api"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        write_json(home / "server.json", {"port": port, "process": process.pid})
        return Server(f"http://127.0.0.1:{port}/api", ours=True)


def find(workspace: Workspace) -> Server | None:
    """Our server, if its process lives, was started with our home, and does not answer with another version."""
    try:
        record = read_json(workspace.state / "prefect" / "server.json")
        process = psutil.Process(record["process"])
        ours = process.environ().get("PREFECT_HOME") == str(workspace.state / "prefect")
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    if not ours or process.status() == psutil.STATUS_ZOMBIE:
        return None
    server = Server(f"http://127.0.0.1:{record['port']}/api", ours=True)
    version = _get(f"{server.api}/admin/version")
    if version is not None and version != importlib.metadata.version("prefect"):
        stop(workspace)
        return None
    return server


def wait(server: Server, workspace: Workspace, seconds: float = START_SECONDS) -> Server:
    """Return the server as soon as it answers; a RuntimeError says where to look if it does not in time.

    It is another than `server` where a second project took the port between our look at it and our server's.
    """
    log = workspace.state / "prefect" / "server.log"
    deadline = time.monotonic() + seconds
    beaten = False
    while not _answers(server, workspace):
        if not server.ours:
            raise RuntimeError(
                f"no Prefect server answers at PREFECT_API_URL={server.api}; start it or unset the variable"
            )
        if find(workspace) is None:
            if beaten or _is_free(urllib.parse.urlsplit(server.api).port or 0):
                raise RuntimeError(f"the Prefect server ended while starting; its last words are in {log}")
            server, beaten = start(workspace), True
        if time.monotonic() > deadline:
            raise RuntimeError(f"the Prefect server did not become healthy in {seconds:.0f} s; see {log}")
        time.sleep(0.1)
    return server


def _answers(server: Server, workspace: Workspace) -> bool:
    """Whether that server is there, and none of another project in its place."""
    if not server.ours:
        return _get(f"{server.api}/health") is True
    settings = _get(f"{server.api}/admin/settings")
    return isinstance(settings, dict) and settings.get("home") == str(workspace.state / "prefect")


def stop(workspace: Workspace) -> bool:
    """End our server and everything it started; whether there was one."""
    try:
        record = read_json(workspace.state / "prefect" / "server.json")
        process = psutil.Process(record["process"])
        if process.environ().get("PREFECT_HOME") != str(workspace.state / "prefect"):
            return False
        os.killpg(record["process"], signal.SIGTERM)
        _, alive = psutil.wait_procs([process], timeout=10)
        if alive:
            os.killpg(record["process"], signal.SIGKILL)
    except (FileNotFoundError, ValueError, psutil.Error, ProcessLookupError):
        return False
    (workspace.state / "prefect" / "server.json").unlink(missing_ok=True)
    return True


def environment(workspace: Workspace, api: str) -> dict[str, str]:
    """The variables under which a process uses that server and no other, and keeps its state in this project."""
    return {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(workspace.state / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        # A person's terminal shows the steps; the log, line by line, is in the UI.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }


def _free_port() -> int:
    if _is_free(PREFERRED_PORT):
        return PREFERRED_PORT
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _get(url: str) -> object:
    """The decoded JSON answer, None if there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return None
