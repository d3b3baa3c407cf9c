import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from mmcore.report import live
from mmcore.report.build import build
from mmcore.workspace import Workspace, write_json

NAME = "20300102-030405-abcd"


def record(workspace: Workspace, state: str, steps: Mapping[str, str], **more: Any) -> Path:
    """The record of a run as the flow writes it; returns its folder."""
    folder = workspace.state / "runs" / NAME
    started = datetime.now(UTC).isoformat(timespec="seconds")
    stages = [{"name": name, "seconds": 65.0, "state": how} for name, how in steps.items()]
    write_json(
        folder / "run.json",
        {
            "workspace": str(workspace.root), "process": os.getpid(), "now": None, "planned": [], "run": NAME,
            "state": state, "started": started, "release": "v0.2.0", "stages": stages, **more,
        },
    )  # fmt: skip
    return folder


def report(workspace: Workspace, stage: str, *reports: tuple[float, str, int, int | None]) -> None:
    """Lines of progress: time, phase, done and total."""
    path = workspace.logs(stage) / "progress.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"time": at, "phase": phase, "done": done, "total": total, "unit": "steps", "values": {}})
        for at, phase, done, total in reports
    ]
    path.write_text("\n".join(lines) + '\n{"time": 17')


@pytest.fixture
def running(fresh: Any) -> Workspace:
    """A run that has been at pretraining for ten seconds."""
    workspace: Workspace = fresh()
    began = time.time() - 10
    folder = record(
        workspace, "running", {"validate": "done"}, now={"name": "pretrain", "started": began},
        planned=["validate", "pretrain", "evaluate"],
    )  # fmt: skip
    report(workspace, "pretrain", (began - 99, "pretrain", 800, 800), (began + 1, "pretrain", 100, 800),
           (began + 9, "pretrain", 300, 800))  # fmt: skip
    (folder / "pretrain.log").write_text("first\nlast <b>words</b>\n")
    return workspace


def test_a_running_stage_shows_how_far_it_is_and_how_long_the_rest_takes(running: Workspace) -> None:
    shown = live.fragment(running)
    assert "<h2>Running</h2>" in shown
    assert "pretrain: 300 of 800 steps, about 20 s left" in shown  # 200 steps took 8 s
    assert '<progress max="800" value="300"' in shown
    assert "Run " + NAME in shown
    for state in ("done", "running", "to come"):
        assert shown.count(f">{state}</td>") == 1
    assert 'href="report"' not in shown


def test_it_shows_losses_speed_and_the_end_of_the_log(running: Workspace) -> None:
    path = running.logs("pretrain") / "curves.csv"
    path.write_text(
        "step,loss,teraflops,mfu,memory_mb,caption,validation\n10,3,0.05,0.25,1500,3,\n20,2,0.0666,0.309,1600,2,\n"
    )
    shown = live.fragment(running)
    for value in (">2<", ">30.9%<", ">0.0666 teraflops<", ">1.6 GB<"):
        assert value in shown
    assert "Pretraining, training loss: caption from 3 to 2" in shown
    assert "last &lt;b&gt;words&lt;/b&gt;" in shown


def test_before_its_first_row_no_earlier_curves_are_shown(running: Workspace) -> None:
    path = running.logs("pretrain") / "curves.csv"
    os.utime(path, (time.time() - 60, time.time() - 60))
    assert '<svg class="chart"' not in live.fragment(running)


def test_of_several_trainings_of_a_task_the_one_at_work_is_shown(running: Workspace) -> None:
    began = time.time() - 10
    running.params.write_text("finetune: {captioning: {members: 3}}\n")
    record(running, "running", {"pretrain": "done"}, now={"name": "finetune@captioning", "started": began})
    folder = running.logs("finetune@captioning")
    for member in (1, 2):
        (folder / f"member-{member}").mkdir()
        (folder / f"member-{member}" / "curves.csv").write_bytes((folder / "curves.csv").read_bytes())
    os.utime(folder / "member-2" / "curves.csv", (began - 60, began - 60))
    assert "Fine-tuning for captioning, training 2 of 3" in live.fragment(running)


def test_a_phase_of_its_own_name_is_named_with_its_step(running: Workspace) -> None:
    report(running, "pretrain", (time.time(), "reading", 1200, None))
    assert "pretrain, reading: 1,200 steps" in live.fragment(running)


def test_a_finished_run_leads_to_its_report(fresh: Any) -> None:
    workspace = fresh()
    steps = {"validate": "done", "finetune@captioning": "done", "gate": "done"}
    record(workspace, "finished", steps)
    build(workspace)
    assert live.report(workspace) is None  # the report of an earlier run
    assert 'href="report"' not in live.fragment(workspace)
    record(workspace, "finished", {**steps, "report": "done"})
    shown = live.fragment(workspace)
    assert "<h2>Promote</h2>" in shown
    assert 'href="report"' in shown
    assert "Fine-tuning for captioning" in shown
    assert live.report(workspace) == workspace.report


def test_a_run_that_waits_for_a_person_says_so(fresh: Any) -> None:
    workspace = fresh()
    write_json(workspace.verdict, {"verdict": "waiting", "reasons": ["A person is asked until noon."]})
    record(workspace, "running", {"gate": "done"}, now={"name": "ask", "started": time.time()})
    shown = live.fragment(workspace)
    assert "<h2>Waiting</h2>" in shown
    assert "A person is asked until noon." in shown


def test_a_failed_run_says_why_and_shows_the_log_of_the_step(fresh: Any) -> None:
    workspace = fresh()
    folder = record(workspace, "failed", {"validate": "done", "pretrain": "failed", "report": "done"})
    write_json(workspace.logs("pretrain") / "status.json", {"state": "failed", "reason": "the loss was no number"})
    (folder / "pretrain.log").write_text("Traceback\nValueError: the loss was no number\n")
    shown = live.fragment(workspace)
    assert "<h2>Failed</h2>" in shown
    assert "the loss was no number</span></li>" in shown
    assert "<h2>Log of pretrain</h2>" in shown


def test_a_run_whose_process_is_gone_or_another_one_has_stopped(running: Workspace) -> None:
    gone = next(number for number in range(2**22 - 1, 1, -1) if not psutil.pid_exists(number))
    now = {"name": "pretrain", "started": time.time()}
    record(running, "running", {}, now=now, process=gone)
    assert "<h2>Stopped</h2>" in live.fragment(running)
    record(running, "running", {}, now=now, started="2020-01-01T00:00:00+00:00")  # this process began later
    assert "<h2>Stopped</h2>" in live.fragment(running)


def test_before_any_run_it_waits_for_one_and_takes_the_newest(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "params.yaml").write_text("name: birds\n")
    assert "<h2>No run yet</h2>" in live.fragment(workspace)
    record(workspace, "running", {})
    assert "<h2>Running</h2>" in live.fragment(workspace)


def test_a_record_of_an_earlier_version_is_read(fresh: Any) -> None:
    workspace = fresh()
    write_json(
        workspace.state / "runs" / NAME / "run.json",
        {"workspace": str(workspace.root), "run": NAME, "state": "running", "started": "2026-01-01T00:00:00+00:00",
         "stages": []},
    )  # fmt: skip
    assert "<h2>Stopped</h2>" in live.fragment(workspace)
