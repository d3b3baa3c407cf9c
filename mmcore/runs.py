"""A run's record: what was asked for, what each step took, how it ended, and where its logs lie."""

import os
import secrets
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmcore import params
from mmcore.ledger import Change, Ledger
from mmcore.plugins import load_settings
from mmcore.project import machine
from mmcore.settings import Settings
from mmcore.stages import stage_names
from mmcore.workspace import Workspace, read_json, write_json

# How a run stands. `nothing new`: it ended before the first stage, because all it reads is what the last one read.
# `unanswered`: nobody said whether its candidate is released, so that the next run finds news, and asks again.
RUNNING, FINISHED, FAILED, NOTHING_NEW, UNANSWERED = "running", "finished", "failed", "nothing new", "unanswered"


class Run:
    """One run of a flow. `folder` holds its logs and its record; both outlive the workspace it ran in.

    A plain class: Prefect takes dataclasses among a task's arguments apart and puts copies together.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Begin a run with a name that sorts by time and the settings as they stand now."""
        self.name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        self.workspace = workspace
        self.settings: Settings = load_settings(workspace)
        self.folder = workspace.state / "runs" / self.name
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.commit = Ledger(workspace.root).commit()
        self.state = RUNNING
        self.changed = False
        self.release = ""
        self._steps: dict[str, dict[str, Any]] = {}
        self._now: dict[str, Any] | None = None
        last = workspace.artifacts / "run.json"
        self._last: dict[str, Any] = read_json(last) if last.exists() else {}
        self.folder.mkdir(parents=True)
        write_json(self.folder / "settings.json", params.as_dict(self.settings))
        self.write()

    def begin(self, step: str) -> None:
        """Enter that a step is at work from now on."""
        self._now = {"name": step, "started": round(time.time(), 3)}
        self.write()

    def note(self, step: str, seconds: float, state: str, reason: str = "") -> None:
        """Enter how a step ended, and why if it failed; one that was unchanged keeps what it cost when it last ran."""
        if state == "unchanged":
            seconds = next((s["seconds"] for s in self._last.get("stages", []) if s["name"] == step), seconds)
        self._steps[step] = {"name": step, "seconds": round(seconds, 1), "state": state}
        if reason:
            self._steps[step]["reason"] = reason
        self._now = None
        self.write()

    def end(self, state: str) -> None:
        """Enter how the run ended. A finished one leaves its dvc.lock in its folder: what `news` compares with."""
        self.state = state
        lock = self.workspace.root / "dvc.lock"
        if state == FINISHED and lock.is_file():
            shutil.copyfile(lock, self.folder / "dvc.lock")
        self.write()

    def news(self, stages: Sequence[str]) -> list[Change]:
        """What differs from all that the last finished run read: per stage its code, its settings and the inputs that
        no stage makes, as DVC sees them; empty if nothing does. `artifacts/code` and data/ must be up to date."""
        last = self._last_finished()
        if last is None:
            return [Change("run", ["no run has finished yet"])]
        if read_json(last / "settings.json") != read_json(self.folder / "settings.json"):
            return [Change("run", ["its settings are new"])]
        lock = self.workspace.root / "dvc.lock"
        own = lock.read_bytes() if lock.is_file() else None
        shutil.copyfile(last / "dvc.lock", lock)
        try:
            changes = Ledger(self.workspace.root).changes(stages)
        finally:
            lock.write_bytes(own) if own is not None else lock.unlink()
        # What a stage makes is not here in a fresh workspace; it follows from the rest.
        own_reasons = [
            Change(change.stage, [reason for reason in change.reasons if not reason.startswith("artifacts/")])
            for change in changes
        ]
        return [change for change in own_reasons if change.reasons]

    def write(self) -> None:
        """Write the record to the run's folder, with what it is doing now, and, once there is something to tell, beside
        the artifacts."""
        here = machine(self.settings)
        record = {
            "run": self.name,
            "state": self.state,
            "started": self.started,
            "commit": self.commit,
            "device": here.device,
            "memory": here.memory,
            "threads": here.threads,
            "precision": here.precision,
            "release": self.release or self._last.get("release", ""),
            "stages": list(self._steps.values()),
            "planned": stage_names(self.settings),
        }
        own = {"workspace": str(self.workspace.root), "process": os.getpid(), "now": self._now}
        write_json(self.folder / "run.json", {**own, **record})
        if self._steps:
            write_json(self.workspace.artifacts / "run.json", record)

    def _last_finished(self) -> Path | None:
        """The folder of the newest run that finished, None before the first."""
        for folder in sorted(self.folder.parent.iterdir(), reverse=True):
            if (folder / "dvc.lock").is_file() and folder != self.folder:
                return folder
        return None


def find(workspace: Workspace, name: str) -> dict[str, Any]:
    """The record of the run `name`; a LookupError lists the latest ones."""
    path = workspace.state / "runs" / name / "run.json"
    if not path.exists():
        known = sorted(p.name for p in (workspace.state / "runs").glob("*"))[-5:]
        raise LookupError(f"there is no run '{name}' here; the latest: {', '.join(known) or 'none'}")
    return dict(read_json(path))
