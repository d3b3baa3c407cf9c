"""A process that works for another ends when that one does, however it ends."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

import psutil

VARIABLE = "MMCORE_OWNER"
_PR_SET_PDEATHSIG = 1
_SHELLS = ("sh", "dash", "bash", "zsh")


def end_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent, `parent`, dies (Linux); one that is gone ends it now."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end_with_run(stage: str | None) -> None:
    """End when the process that runs the stage for DVC ends: a killed run must leave no training behind. A rank, which
    is given the number of the process of its `stage`, ends its torchrun when that has ended, and ends with torchrun.

    DVC puts a shell between them that outlives it, so the kernel's death signal would come from the wrong process.
    """
    if stage:
        owner, ends = _process(int(stage)), os.getppid()
        end_with(ends)
    elif os.environ.get("DVC_STAGE"):
        owner, ends = psutil.Process().parent(), os.getpid()
        while owner is not None and owner.name() in _SHELLS:
            owner = owner.parent()
    else:
        return  # a person called the stage
    if owner is None or owner.pid == 1:
        raise SystemExit("the run that started this stage has ended")
    threading.Thread(target=_watch, args=(owner, ends), daemon=True).start()


def _process(number: int) -> psutil.Process | None:
    return psutil.Process(number) if psutil.pid_exists(number) else None


def _watch(owner: psutil.Process, ends: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.25)
    os.kill(ends, signal.SIGTERM)
