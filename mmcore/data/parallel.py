"""Work spread over processes: results in the order of the work, so that they never depend on how many there are."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from mmcore.owner import end_with

Work = TypeVar("Work")
Result = TypeVar("Result")


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
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield from pool.map(function, work)
        except BaseException:
            # What has begun is waited for: a process that ends while its pool is being taken down waits for ever.
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _begin(parent: int) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
