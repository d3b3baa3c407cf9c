"""Leases on devices that are only names, by processes that are real."""

import fcntl
import os
import re
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmcore import hardware, leases
from mmcore.settings import TrainSettings

SCRIPT = """
import sys
from mmcore import leases
leases.LOOK_SECONDS, leases.TELL_SECONDS = 0.05, 0.5
held = leases.lease(sys.argv[3].split(), int(sys.argv[2]), sys.argv[1])
print(" ".join(held.devices), flush=True)
sys.stdin.readline()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCORE_LEASES", str(tmp_path / "leases"))
    return tmp_path / "leases"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts a process that leases so many of the devices and holds them until a line is written to it."""
    begun: list[subprocess.Popen[str]] = []

    def call(holder: str, count: int, devices: str, script: str = SCRIPT) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", script, holder, str(count), devices]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        begun.append(subprocess.Popen(words, text=True, **pipes))  # type: ignore[call-overload]
        return begun[-1]

    yield call
    for process in begun:
        process.kill()
        process.communicate()


def line(stream: object) -> str:
    return str(stream.readline()).strip()  # type: ignore[attr-defined]


def test_the_second_waits_names_the_holder_and_gets_the_device_when_the_holder_is_killed(start: Start) -> None:
    first = start("the stage pretrain of /a", 1, "GPU-1")
    assert line(first.stdout) == "GPU-1"
    second = start("the stage pretrain of /b", 1, "GPU-1")
    told = line(second.stderr)
    assert re.fullmatch(
        rf"waiting for 1 of 1 GPUs: GPU-1 is held by \S+, the stage pretrain of /a \(process {first.pid}, since .*\)",
        told,
    )
    assert line(second.stderr) == told  # and says so again, later
    first.send_signal(signal.SIGKILL)
    assert line(second.stdout) == "GPU-1"
    assert re.fullmatch(r"got GPU-1 after \d+ s", last(second))


def last(process: "subprocess.Popen[str]") -> str:
    return process.communicate()[1].splitlines()[-1]


def test_two_that_want_two_of_four_have_different_ones(start: Start) -> None:
    names = "GPU-1 GPU-2 GPU-3 GPU-4"
    one, other = start("one", 2, names), start("other", 2, names)
    found = [line(one.stdout).split(), line(other.stdout).split()]
    assert sorted(found) == [["GPU-1", "GPU-2"], ["GPU-3", "GPU-4"]]
    third = start("third", 1, names)
    assert line(third.stderr).count(" is held by ") == 4
    assert one.stdin is not None
    one.communicate("\n")
    assert line(third.stdout) == found[0][0]


def test_who_cannot_have_all_holds_none(start: Start) -> None:
    one = start("one", 1, "GPU-2")
    assert line(one.stdout) == "GPU-2"
    both = start("both", 2, "GPU-1 GPU-2")
    assert line(both.stderr).startswith("waiting for 2 of 2 GPUs: GPU-2 is held by ")
    between = start("between", 1, "GPU-1")
    assert line(between.stdout) == "GPU-1"
    for process in (one, between):
        process.communicate("\n")
    assert line(both.stdout) == "GPU-1 GPU-2"


def test_many_that_want_all_in_any_order_have_their_turns(start: Start) -> None:
    script = SCRIPT.replace("sys.stdin.readline()", "")
    orders = ["GPU-1 GPU-2 GPU-3", "GPU-3 GPU-2 GPU-1", "GPU-2 GPU-3 GPU-1"]
    begun = [start(str(number), 3, orders[number % 3], script) for number in range(6)]
    for number, process in enumerate(begun):
        assert process.communicate(timeout=60)[0].strip() == orders[number % 3]
        assert process.returncode == 0


def test_one_looks_at_a_time(folder: Path, start: Start) -> None:
    first = start("first", 1, "GPU-1")
    line(first.stdout)
    with open(folder / "turn") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        second = start("second", 1, "GPU-2")
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=1.5)
        assert not select.select([second.stdout], [], [], 0)[0]
    assert line(second.stdout) == "GPU-2"


def test_sigterm_ends_the_wait(start: Start) -> None:
    first = start("first", 1, "GPU-1")
    line(first.stdout)
    second = start("second", 1, "GPU-1")
    line(second.stderr)
    second.send_signal(signal.SIGTERM)
    assert last(second) == "KeyboardInterrupt: stopped while waiting for GPUs"


def test_a_child_that_was_given_the_lease_holds_it_after_its_parent(start: Start) -> None:
    script = SCRIPT.replace(
        "sys.stdin.readline()",
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], stdout=2, pass_fds=held.handles)\n"
        "print(child.pid, flush=True)\nsys.stdin.readline()",
    )
    parent = start("parent", 1, "GPU-1", script)
    assert line(parent.stdout) == "GPU-1"
    child = int(line(parent.stdout))
    parent.kill()
    parent.wait()
    try:
        second = start("second", 1, "GPU-1")
        assert f"parent (process {parent.pid}, " in line(second.stderr)
    finally:
        os.kill(child, signal.SIGKILL)
    assert line(second.stdout) == "GPU-1"


def test_more_than_there_are_is_refused_and_none_is_asked_for_on_a_processor(folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"3 GPUs are wanted \(train\.devices\), and 2 can be seen: GPU-1, GPU-2; lower"
    ):
        leases.lease(["GPU-1", "GPU-2", "GPU-1"], 3, "me")
    for device in ("cpu", "auto") if not hardware.gpu_visible() else ("cpu",):
        assert leases.gpus(TrainSettings(device, 2, 1, 1, "auto", False), 2, "me") == leases.Lease()
    assert not folder.exists()


# Several users ------------------------------------------------------------------------------------------------------


def test_the_folder_and_its_files_are_for_all_users_and_no_others_can_be_removed(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        held = leases.lease(["GPU-1"], 1, "me")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "turn": 0o666, "GPU-1.lock": 0o666
    }  # fmt: skip
    for handle in held.handles:
        assert not os.get_inheritable(handle)
        os.close(handle)


@pytest.mark.parametrize("what", ["symlink", "hard link", "pipe", "folder"])
def test_a_lock_that_is_no_plain_file_is_refused(folder: Path, what: str) -> None:
    folder.mkdir()
    lock, victim = folder / "GPU-1.lock", folder.parent / "victim"
    victim.write_text("mine")
    if what == "symlink":
        lock.symlink_to(victim)
    elif what == "hard link":
        lock.hardlink_to(victim)
    elif what == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(OSError, match=r"a GPU cannot be leased by 'GPU-1\.lock': .*; remove it, or let MMCORE_LEASES"):
        leases.lease(["GPU-1"], 1, "me")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("what", ["symlink", "file", "without parent"])
def test_a_folder_that_is_none_is_refused(folder: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "other").mkdir()
    if what == "symlink":
        folder.symlink_to(folder.parent / "other")
    elif what == "file":
        folder.touch()
    else:
        monkeypatch.setenv("MMCORE_LEASES", str(folder / "below" / "it"))
    with pytest.raises(OSError, match=r"a GPU cannot be leased by '.*leases"):
        leases.lease(["GPU-1"], 1, "me")
    assert list((folder.parent / "other").iterdir()) == []


def test_a_name_stays_in_the_folder_and_words_of_others_steer_no_terminal(folder: Path, start: Start) -> None:
    first = start("\x1b[2Jclear\nnext line", 1, "../MIG-1/0")
    assert line(first.stdout) == "../MIG-1/0"
    assert (folder / ".._MIG-1_0.lock").is_file()
    second = start("second", 1, "../MIG-1/0")
    told = line(second.stderr)
    assert told.isprintable()
    assert "[2Jclearnext line (process" in told


# What CUDA is asked -------------------------------------------------------------------------------------------------


def test_parts_of_a_gpu_are_known_by_the_names_that_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1, MIG-2")
    assert hardware.gpus() == ["MIG-1", "MIG-2"]


@pytest.mark.skipif(hardware.gpu_visible(), reason="there is a GPU here")
def test_without_a_gpu_cuda_names_none() -> None:
    assert hardware.gpus() == []


def test_a_process_sees_what_it_has_leased_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    first = start("first", 1, "MIG-1")
    line(first.stdout)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1,MIG-2,MIG-3")
    held = leases.gpus(TrainSettings("cuda", 2, 1, 1, "auto", False), 2, "me")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(held.devices) == "MIG-2,MIG-3"
    for handle in held.handles:
        os.close(handle)
