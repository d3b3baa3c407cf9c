"""Recall@K of a search in both directions beside two of faiss's flat searches, exact: seconds and memory.

    make .venv-bench/ready && .venv-bench/bin/python benchmarks/recall.py [--rows 50000] [--turns 3]

Vectors of length 1, 512 wide, drawn with seed 0; a row's partner is its vector with noise, and every hundredth row is a
copy of the one before, so that there are ties: mmcore counts them against, faiss names any of equals first, so its
recall@1 is higher by some of those rows. One thread. Memory is what a process holds at most beyond its vectors. About
ten minutes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

WIDTH, NOISE, PLACES = 512, 0.22, (1, 5, 10)
SIDES = ("mmcore", "faiss")


def vectors(rows: int) -> tuple[Any, Any]:
    import numpy as np

    random = np.random.default_rng(0)
    right = random.standard_normal((rows, WIDTH), np.float32)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    left = right + NOISE * random.standard_normal((rows, WIDTH), np.float32)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    for one in (left, right):
        one[99::100] = one[98::100]
    return left, right


def ours(left: Any, right: Any) -> list[float]:
    import numpy as np

    from mmcore.metrics.ranking import both_ways, recall_at

    positives = [np.array([row]) for row in range(len(left))]
    return [recall_at(ranks, k) for ranks in both_ways(left, right, positives) for k in PLACES]


def theirs(left: Any, right: Any) -> list[float]:
    """A partner is found if it is among the first; among equal scores faiss names any first."""
    import faiss
    import numpy as np

    found = []
    for queries, candidates in ((left, right), (right, left)):
        index = faiss.IndexFlatIP(WIDTH)
        index.add(candidates)
        hits = index.search(queries, max(PLACES))[1] == np.arange(len(queries))[:, None]
        found += [100 * float(hits[:, :k].any(1).mean()) for k in PLACES]
    return found


def most_memory(work: Callable[[], list[float]]) -> tuple[list[float], float]:
    """What `work` gives, and by how many MB this process grew at most while it ran."""
    import psutil

    process, done, seen = psutil.Process(), threading.Event(), [0]
    before = process.memory_info().rss

    def look() -> None:
        while not done.wait(0.01):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=look)
    watcher.start()
    found = work()
    done.set()
    watcher.join()
    return found, (max(seen) - before) / 2**20


def measure(side: str, rows: int) -> None:
    left, right = vectors(rows)
    work = {"mmcore": ours, "faiss": theirs}[side]
    work(left[:2000], right[:2000])  # imports and buffers
    start, clock = time.process_time(), time.perf_counter()
    recalls, memory = most_memory(lambda: work(left, right))
    print(json.dumps([time.process_time() - start, time.perf_counter() - clock, memory, recalls]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        measure(arguments.side, arguments.rows)
        return
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    found: dict[str, list[Any]] = {side: [] for side in SIDES}
    for turn in range(arguments.turns):
        for side in SIDES[:: -1 if turn % 2 else 1]:
            command = [sys.executable, __file__, "--rows", str(arguments.rows), "--side", side]
            output = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | one_thread)
            found[side].append(json.loads(output.stdout.splitlines()[-1]))
    print(f"{arguments.rows:,} x {arguments.rows:,} vectors of {WIDTH}, both directions, {arguments.turns} turns")
    for side, runs in found.items():
        processor, clock, memory = (statistics.median(run[kind] for run in runs) for kind in range(3))
        recalls = " / ".join(f"{value:.2f}" for value in runs[0][3])
        print(f"  {side:<7} {processor:6.1f} s CPU, {clock:6.1f} s, {memory:5.0f} MB; recall@{PLACES}: {recalls}")
    ratios = [other[0] / own[0] for own, other in zip(found["mmcore"], found["faiss"], strict=True)]
    print(f"  faiss over mmcore, CPU time: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
