"""Outputs are complete or absent, locks end with their holder, progress is told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcore.workspace import Progress, clear_temporaries, hash_folder, read_json, run_lock, write_folder, write_json


def test_a_folder_takes_its_place_only_when_it_is_complete(tmp_path: Path):
    target = tmp_path / "out"
    with write_folder(target) as folder:
        (folder / "a").write_text("one")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError), write_folder(target) as folder:  # noqa: PT012
        (folder / "a").write_text("two")
        _ = 1 / 0
    assert (target / "a").read_text() == "one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path: Path):
    script = (
        "import os, sys; from pathlib import Path; from mmcore.workspace import write_folder\n"
        "with write_folder(Path(sys.argv[1])) as f:\n (f / 'x').write_text('half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with write_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


KILLED = """
import os, shutil, sys
from pathlib import Path
from mmcore import workspace

def kill_before(module, name, number):
    done, calls = getattr(module, name), []
    def call(*arguments, **options):
        calls.append(name)
        if len(calls) == number:
            os.kill(os.getpid(), 9)
        return done(*arguments, **options)
    setattr(module, name, call)

kill_before(*{
    "moving the old": (os, "replace", 1),
    "moving the new": (os, "replace", 2),
    "removing the old": (shutil, "rmtree", 1),
}[sys.argv[2]])
with workspace.write_folder(Path(sys.argv[1])) as folder:
    (folder / "a").write_text("new")
"""


@pytest.mark.parametrize(
    ("before", "left"), [("moving the old", "old"), ("moving the new", "old"), ("removing the old", "new")]
)
@pytest.mark.parametrize("how", ["the next writer", "clear_temporaries"])
def test_a_writer_that_is_killed_leaves_one_whole_folder(tmp_path: Path, before: str, left: str, how: str):
    target = tmp_path / "out"
    with write_folder(target) as folder:
        (folder / "a").write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(target), before], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    if how == "clear_temporaries":
        clear_temporaries(tmp_path)
        assert (target / "a").read_text() == left
    else:
        with write_folder(target) as folder:
            assert (target / "a").read_text() == left
            (folder / "a").write_text("newest")
        assert (target / "a").read_text() == "newest"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_json_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_a_folders_hash_sees_names_and_contents(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    first = hash_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = hash_folder(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, renamed, hash_folder(tmp_path)}) == 3


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path):
    script = (
        "import sys, time; from pathlib import Path; from mmcore.workspace import run_lock\n"
        "with run_lock(Path(sys.argv[1]), 'the stage pretrain'):\n print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    named = f"the stage pretrain .process {holder.pid}. is at work"
    with pytest.raises(BlockingIOError, match=named), run_lock(lock, "me"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with run_lock(lock, "me"):
        pass


def test_progress_goes_to_the_file_that_the_flow_tails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MMCORE_PROGRESS", str(tmp_path / "p.jsonl"))
    progress = Progress("train", total=1000, unit="steps")
    for _ in range(1000):
        progress.advance(1, {"loss": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert len(lines) < 10  # twice a second, not once a step
    assert lines[-1] | {"time": 0} == {
        "time": 0, "phase": "train", "done": 1000, "total": 1000, "unit": "steps", "values": {"loss": 0.5},
    }  # fmt: skip
    assert abs(lines[-1]["time"] - time.time()) < 60
