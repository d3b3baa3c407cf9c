"""A process that works for another ends when that one does, however it ends."""

import ctypes
import os
import signal
import sys

VARIABLE = "MMCORE_OWNER"
_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent, `parent`, dies (Linux); one that is gone ends it now."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
