"""Work spread over processes: results in the order of the work, so that they never depend on how many there are."""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1


def map_processes(
    function: Callable[[Work], Result], work: Sequence[Work], *, processes: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for every item of `work`, in order; `function` must be importable by name.

    `processes`: null means one for each CPU core, at most eight. One process, or one item, is done right here.
    The workers end when this process ends, however it ends.
    """
    processes = min(processes or min(os.cpu_count() or 1, 8), len(work))
    if processes <= 1:
        yield from map(function, work)
        return
    # Fresh interpreters: forking a process in which Arrow or torch have started threads can deadlock.
    with ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield from pool.map(function, work)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux); a parent that is gone already ends it now."""
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(ctypes, "CDLL") and os.uname().sysname == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
