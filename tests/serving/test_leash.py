"""A command with a child in a process group of its own, as a server has workers."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mmcore.serving import leash

# The child leads its own session; both say who they are and stay.
COMMAND = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def start(folder: Path, command: str) -> "subprocess.Popen[bytes]":
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-P", leash.__file__, str(folder), sys.executable, "-c", command], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def gone(number: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["closed", "parent first"])
def test_when_the_pipe_closes_every_descendant_ends_and_the_folder_goes(tmp_path: Path, how: str) -> None:
    with start(tmp_path / "folder", COMMAND) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        if how == "parent first":
            # The command is killed alone: its worker is adopted by the leash, and ended.
            psutil.Process(worker).parent().kill()  # type: ignore[union-attr]
        else:
            process.stdin.close()
        assert gone(worker)
        process.wait(10)
    assert not (tmp_path / "folder").exists()


def test_when_the_owner_is_killed_nothing_is_left(tmp_path: Path) -> None:
    owner_code = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-P', {leash.__file__!r}, {str(tmp_path / 'folder')!r}, sys.executable,"
        f" '-c', {COMMAND!r}], stdin=subprocess.PIPE, start_new_session=True)\n"
        "p.wait()\n"
    )
    (tmp_path / "folder").mkdir()
    with subprocess.Popen([sys.executable, "-c", owner_code], stdout=subprocess.PIPE, start_new_session=True) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        os.killpg(owner.pid, 9)
        assert gone(worker)
    deadline = time.monotonic() + 10
    while (tmp_path / "folder").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (tmp_path / "folder").exists()


def test_a_command_that_ends_by_itself_gives_its_status(tmp_path: Path) -> None:
    with start(tmp_path / "folder", "raise SystemExit(7)") as process:
        assert process.wait(10) == 7
