"""A training step of mmcore beside those of other libraries: samples a second on the same work.

    make .venv-bench/ready && .venv-bench/bin/python benchmarks/engine.py [--turns 4] [--threads 1]

The work and how each does it: benchmarks/reference. Every turn runs all of them, each in a process of its own, one
after another, in both precisions, the order reversed every other turn; what is compared are the speeds within a turn.
Processor time, which other work on the machine disturbs least, and the clock; the median step of each run, the first
three left out. All but mmcore find their batches ready in memory, in float32 and normalised; mmcore's are bytes, as it
reads them from disk, and it measures the norm of the gradients. It leaves out what nobody reads: the other tokens of
the last layer, where the first speaks for all (`pool: first`); vectors and gradients are the same. A quarter of an
hour.
"""

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

OWN = "mmcore_fit"
PEERS = ("handwritten", "lightning_trainer", "huggingface_trainer", "open_clip_train")
PRECISIONS = ("fp32", "bf16")
STEPS, WARM = 10, 3


def measure(side: str, precision: str, threads: int) -> None:
    """Train in this process; prints samples a second of processor time and of the clock, and the memory in MB."""
    import torch

    import reference as work

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    at: list[tuple[float, float]] = []
    importlib.import_module(f"reference.{side}").train(
        precision, WARM + STEPS, lambda: at.append((time.process_time(), time.perf_counter()))
    )
    at = at[WARM - 1 :]
    speeds = [
        work.BATCH / statistics.median(after[kind] - before[kind] for before, after in pairwise(at)) for kind in (0, 1)
    ]
    print(json.dumps([*speeds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def run(side: str, precision: str, threads: int) -> list[float]:
    command = [sys.executable, __file__, "--threads", str(threads), "--side", side, "--precision", precision]
    found = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"MMCORE_PROGRESS": os.devnull, "TQDM_DISABLE": "1"}
    )
    if found.returncode:
        raise SystemExit(
            f"{side} failed; its packages are in .venv-bench (make .venv-bench/ready):\n{found.stderr[-2000:]}"
        )
    return list(json.loads(found.stdout.splitlines()[-1]))


def spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def processor() -> str:
    """What the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def show(precision: str, turns: Sequence[dict[str, list[float]]], threads: int) -> None:
    print(f"\n{precision}, {threads} thread{'s' * (threads > 1)}, {len(turns)} turns: median (least to most)")
    print(f"{'':<20} {'samples/s, CPU time':>24} {'samples/s, clock':>24} {'MB':>6}")
    for side in (OWN, *PEERS):
        processor, clock, memory = zip(*(turn[side] for turn in turns), strict=True)
        print(f"{side:<20} {spread(processor, 1):>24} {spread(clock, 1):>24} {statistics.median(memory):>6.0f}")
    for kind, name in enumerate(("CPU time", "the clock")):
        ratios = [turn[OWN][kind] / max(turn[peer][kind] for peer in PEERS) for turn in turns]
        print(f"mmcore over the fastest of the others in the same turn, by {name}: {spread(ratios, 2)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        measure(arguments.side, arguments.precision, arguments.threads)
        return
    turns: dict[str, list[dict[str, Any]]] = {precision: [] for precision in PRECISIONS}
    for turn in range(arguments.turns):
        order = [OWN, *PEERS][:: -1 if turn % 2 else 1]
        for precision in PRECISIONS:
            turns[precision].append({side: run(side, precision, arguments.threads) for side in order})
    print(processor())
    for precision, found in turns.items():
        show(precision, found, arguments.threads)


if __name__ == "__main__":
    main()
