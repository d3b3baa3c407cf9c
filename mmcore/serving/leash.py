"""Keeps a server no longer than the process that needs it: `python leash.py FOLDER COMMAND...`.

Standard input is a pipe that the owner holds open. When it closes or the owner ends, however that happens, every
process that descends from the command is killed and FOLDER is removed. The server's workers lead process groups of
their own, so killing one group would leave them behind; this process adopts what its children abandon instead.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

import psutil

PR_SET_CHILD_SUBREAPER = 36
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 10.0


def main(folder: str, command: list[str]) -> int:
    """Run the command until it ends or the owner lets go; returns its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the pipe alone decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    owner = os.getppid()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_usual_signals)
    while child.poll() is None:
        readable, _, _ = select.select([0], [], [], LOOK_SECONDS)
        if os.getppid() != owner or (readable and not os.read(0, 1)):
            break
    _end_all()
    shutil.rmtree(folder, ignore_errors=True)
    return child.wait()


def _usual_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _end_all() -> None:
    """Kill every descendant, those that are started meanwhile too."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := _living()) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)


def _living() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
