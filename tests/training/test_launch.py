"""A stage whose training is spread over ranks, and what becomes of these when something is killed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from torch.distributed.run import get_args_parser

from tests.conftest import ROOT

STAGE = """
import sys
from mmcore import leases
from mmcore.settings import TrainSettings
from mmcore.training.launch import launch
held = leases.lease(["GPU-1"], 1, "the stage")
launch(["stage", "pretrain", "--rank", "output"], TrainSettings("cpu", 2, 1, 1, "fp32", False), keep=held.handles)
"""
# Imported by every rank, in place of a training: at SIGTERM it takes two seconds to save, as it were.
RANK = """
import os, signal, time
from pathlib import Path
def save(*_):
    time.sleep(2)
    os._exit(0)
signal.signal(signal.SIGTERM, save)
Path(f"rank-{os.getpid()}").touch()
time.sleep(120)
"""


def test_torchrun_takes_no_word_of_a_stage_for_one_of_its_own() -> None:
    words = ["stage", "pretrain", "--rank", "output", "--init", "start"]
    read = get_args_parser().parse_args(["--nproc-per-node=2", "-m", "mmcore", *words])
    assert read.training_script_args == words


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, psutil.Process]]:
    """A stage that holds a lease, its torchrun and two ranks."""
    monkeypatch.setenv("MMCORE_LEASES", str(tmp_path / "leases"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    params = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(params.replace("plugins: []", "plugins: [waiting]"))
    (tmp_path / "waiting.py").write_text(RANK)
    with open(tmp_path / "log", "wb") as log:
        stage = subprocess.Popen([sys.executable, "-c", STAGE], cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(lambda: len(list(tmp_path.glob("rank-*"))) == 2, 60)
        ranks = [psutil.Process(int(path.name.removeprefix("rank-"))) for path in tmp_path.glob("rank-*")]
        family = {"stage": psutil.Process(stage.pid), "torchrun": ranks[0].parent(), "one": ranks[0], "other": ranks[1]}
        yield family  # type: ignore[misc]
        for process in family.values():
            if process is not None and process.is_running():
                process.kill()
    finally:
        stage.kill()
        stage.wait()


def until(true: object, seconds: float) -> float:
    """Wait until it is true; how long that took. TimeoutError after so many seconds."""
    began = time.monotonic()
    while not true():  # type: ignore[operator]
        if time.monotonic() - began > seconds:
            raise TimeoutError
        time.sleep(0.05)
    return time.monotonic() - began


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_ranks_of_a_killed_stage_save_and_end_before_another_has_its_gpus(
    processes: dict[str, psutil.Process],
) -> None:
    processes["stage"].send_signal(signal.SIGKILL)
    began = time.monotonic()
    script = "from mmcore import leases; leases.LOOK_SECONDS = 0.1; leases.lease(['GPU-1'], 1, 'the next')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert re.search(rf"held by .*the stage \(process {processes['stage'].pid},", done.stderr)
    assert time.monotonic() - began > 2
    assert all(ended(process) for process in processes.values())


def test_ranks_end_with_their_torchrun_however_that_ends(processes: dict[str, psutil.Process]) -> None:
    os.kill(processes["torchrun"].pid, signal.SIGKILL)
    for name in ("one", "other", "stage"):
        until(lambda process=processes[name]: ended(process), 10)
