"""A run's record: what was asked for, what each step took, and where its logs lie."""

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from mmcore import params
from mmcore.ledger import Ledger
from mmcore.project import machine
from mmcore.settings import Settings
from mmcore.workspace import Workspace, read_json, write_json


class Run:
    """One run of a flow. `folder` holds its logs and its record; both outlive the workspace it ran in.

    A plain class: Prefect takes dataclasses among a task's arguments apart and puts copies together.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Begin a run with a name that sorts by time and the settings as they stand now."""
        self.name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        self.workspace = workspace
        self.settings: Settings = params.load(workspace.params)
        self.folder = workspace.state / "runs" / self.name
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.commit = Ledger(workspace.root).commit()
        self.changed = False
        self.release = ""
        self._steps: dict[str, dict[str, Any]] = {}
        last = workspace.artifacts / "run.json"
        self._last: dict[str, Any] = read_json(last) if last.exists() else {}
        self.folder.mkdir(parents=True)
        write_json(self.folder / "settings.json", params.as_dict(self.settings))
        self.write()

    def note(self, step: str, seconds: float, state: str) -> None:
        """Enter how a step ended; one that was unchanged keeps what it cost when it last ran."""
        if state == "unchanged":
            seconds = next((s["seconds"] for s in self._last.get("stages", []) if s["name"] == step), seconds)
        self._steps[step] = {"name": step, "seconds": round(seconds, 1), "state": state}
        self.write()

    def write(self) -> None:
        """Write the record to the run's folder and, once there is something to tell, beside the artifacts."""
        here = machine(self.settings)
        record = {
            "run": self.name,
            "started": self.started,
            "commit": self.commit,
            "device": here.device,
            "memory": here.memory,
            "threads": here.threads,
            "precision": here.precision,
            "release": self.release or self._last.get("release", ""),
            "stages": list(self._steps.values()),
        }
        write_json(self.folder / "run.json", {"workspace": str(self.workspace.root), **record})
        if self._steps:
            write_json(self.workspace.artifacts / "run.json", record)


def find(workspace: Workspace, name: str) -> dict[str, Any]:
    """The record of the run `name`; a LookupError lists the latest ones."""
    path = workspace.state / "runs" / name / "run.json"
    if not path.exists():
        known = sorted(p.name for p in (workspace.state / "runs").glob("*"))[-5:]
        raise LookupError(f"there is no run '{name}' here; the latest: {', '.join(known) or 'none'}")
    return dict(read_json(path))
