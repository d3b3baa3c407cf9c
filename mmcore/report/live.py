"""What the newest run is doing now: a page that looks again by itself, while the run goes on and after it."""

import dataclasses
import json
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from mmcore.report import figures, sections
from mmcore.report.build import UNREADABLE, environment
from mmcore.report.readers import (
    TRAINING,
    Curves,
    Run,
    StageRun,
    duration,
    project_name,
    read_curves,
    read_verdict,
    to_run,
)
from mmcore.report.verdicts import Banner, banner
from mmcore.workspace import Workspace, read_json

# Of files that grow while one looks only the end is read.
TAIL_BYTES = 64 * 1024
LOG_LINES = 20


def page(workspace: Workspace, nonce: str) -> str:
    """The whole page; only the script that bears `nonce` may run in it."""
    return environment().get_template("live.html.j2").render(live=_live(workspace), nonce=nonce)


def fragment(workspace: Workspace) -> str:
    """What changes in the page: the newest run of the project, wherever it works."""
    return environment().get_template("live_now.html.j2").render(live=_live(workspace))


def report(workspace: Workspace) -> Path | None:
    """The report of the newest run, None while there is none."""
    record = _record(workspace)
    if record is None:
        return None
    made = any(step["name"] == "report" and step["state"] == "done" for step in record["stages"])
    path = Workspace(Path(record["workspace"])).report
    return path if made and path.is_file() else None


def _record(workspace: Workspace) -> dict[str, Any] | None:
    """The newest run's; names of runs sort by time."""
    found = sorted(workspace.state.glob("runs/*/run.json"))
    if not found:
        return None
    # Records of earlier versions name no workspace.
    return {"workspace": str(workspace.root), **read_json(found[-1]), "folder": found[-1].parent}


def _alive(record: Mapping[str, Any]) -> bool:
    """Whether the process of the run is there, and no later one of the same number."""
    try:
        began = psutil.Process(record.get("process", -1)).create_time()
    except (psutil.NoSuchProcess, ValueError):
        return False
    return began < datetime.fromisoformat(record["started"]).timestamp() + 1


def _live(workspace: Workspace) -> dict[str, Any]:
    record = _record(workspace)
    if record is None:
        waiting = Banner("none", "No run yet", "The next one shows here as soon as it begins: mmcore run")
        return {
            "name": project_name(workspace), "facts": [], "banner": waiting, "progress": None, "tiles": [],
            "training": None, "steps": [], "log": [], "report": False,
        }  # fmt: skip
    run, at, now = to_run(record), Workspace(Path(record["workspace"])), record.get("now")
    if not _alive(record):
        now = None
    if now is not None:
        working = StageRun(now["name"], max(time.time() - now["started"], 0.0), "running")
        run = dataclasses.replace(run, stages=[*run.stages, working])
    progress = _progress(at.logs(now["name"]) / "progress.jsonl", now) if now else None
    doing = progress["said"] if progress else f"It is at the step {now['name']}." if now else "It goes on."
    curves = _curves(at, run, now)
    subject = run.failed.name if run.failed else run.stages[-1].name if run.stages else ""
    return {
        "name": project_name(at if at.params.is_file() else workspace),
        "facts": sections.facts(run),
        "banner": _banner(at, run, record, doing),
        "progress": progress,
        "tiles": _tiles(curves) if curves else [],
        "training": sections.training(curves) if curves else None,
        "steps": _steps(run, record),
        "log": _last_lines(record["folder"] / f"{subject}.log")[-LOG_LINES:],
        "log_of": subject,
        "report": report(workspace) is not None,
    }


def _banner(at: Workspace, run: Run, record: Mapping[str, Any], doing: str) -> Banner:
    """What is to be said first: what the run is doing, or how it ended."""
    state = record["state"]
    if state == "running":
        if _alive(record):
            waits = (record["now"] or {}).get("name") == "ask"
            return banner(at, run, read_verdict(at)) if waits else Banner("busy", "Running", doing)
        return Banner("bad", "Stopped", "Its process is gone, and left no last word. mmcore run goes on from there.")
    if state == "nothing new":
        return Banner("same", "Nothing new", "Data, code and settings are those of the last finished run.")
    if not at.root.is_dir():
        return Banner("same", "Finished", "It worked in a folder of its own, which is gone; what it made is saved.")
    if state == "failed" and run.failed is None:
        return Banner("bad", "Failed", "It ended between two steps; the terminal or the Prefect page says why.")
    try:
        return banner(at, run, read_verdict(at))
    except UNREADABLE as error:
        return Banner("none", state.capitalize(), f"Its verdict cannot be read: {error}")


def _progress(path: Path, now: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last report of the step at work, and how long the rest takes at its pace of late; None before the first."""
    lines = []
    for text in _last_lines(path):
        try:
            line = json.loads(text)
        except ValueError:  # the first one is cut, the last one may be half written
            continue
        if isinstance(line, dict) and line.get("time", 0.0) >= now["started"]:
            lines.append(line)
    if not lines:
        return None
    last = lines[-1]
    first = next(line for line in lines if line["phase"] == last["phase"])
    done, total = last["done"], last["total"]
    pace = (done - first["done"]) / max(last["time"] - first["time"], 1e-9)
    left = duration((total - done) / pace) if total and done < total and done > first["done"] else ""
    counted = f"{done:,} {last['unit']}" if total is None else f"{done:,} of {total:,} {last['unit']}"
    doing = now["name"] if last["phase"] == now["name"].replace("@", " ") else f"{now['name']}, {last['phase']}"
    said = f"{doing}: {counted}" + (f", about {left} left" if left else "")
    return {"said": said, "done": done, "total": total}


def _curves(at: Workspace, run: Run, now: Mapping[str, Any] | None) -> Curves | None:
    """Those of the training at work, else of the last one of this run."""
    trained = [step.name for step in run.stages if step.state == "done" and step.name.startswith(TRAINING)]
    since = 0.0
    if now and now["name"].startswith(TRAINING):
        trained.append(now["name"])
        since = now["started"]  # before their first row files are an earlier run's
    found = [curves for curves in read_curves(at, since) if curves.stage in trained[-1:]]
    return found[-1] if found else None


def _tiles(curves: Curves) -> list[dict[str, str]]:
    """The newest numbers of a training, as far as its file has them."""
    last = {name: points[-1][1] for name, points in curves.measured.items()}
    speed = f"{figures.short(last['teraflops'])} teraflops" if "teraflops" in last else ""
    shown = {
        "loss": ("Loss", figures.short, "sum of all"),
        "samples_per_second": ("Samples a second", figures.short, ""),
        "mfu": ("MFU", "{:.1%}".format, speed),
        "memory_mb": ("Memory", lambda value: f"{value / 1000:.1f} GB", "at most so far"),
        "data_wait": ("Waited for data", "{:.1%}".format, "of the time"),
        "grad_norm": ("Gradient norm", figures.short, ""),
    }  # fmt: skip
    return [
        {"label": label, "value": write(last[name]), "beside": beside}
        for name, (label, write, beside) in shown.items()
        if name in last
    ]


def _steps(run: Run, record: Mapping[str, Any]) -> list[dict[str, str]]:
    """All steps: those that are over, the one at work, and the stages that are still to come."""
    steps = [{"name": step.name, "time": duration(step.seconds), "state": step.state} for step in run.stages]
    named = {step.name for step in run.stages}
    if record["state"] == "running":
        steps += [
            {"name": name, "time": "", "state": "to come"} for name in record.get("planned", []) if name not in named
        ]
    return steps


def _last_lines(path: Path) -> list[str]:
    """The lines in the last part of a text that may not be there."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - TAIL_BYTES, 0))
            return file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
