"""Contrast over a batch eight times as large in the memory of the small one (optim.chunk): memory, time, gradients.

    python benchmarks/caching.py [--turns 4]

The model of benchmarks/reference, in float32 on one thread. Each run is a process of its own: batches of 64 and of 512
as they are, and of 512 encoded 32 at a time. Memory is what a process holds at most beyond the model and its batch. The
gradients of the last two are compared in float64, on a batch of 64 encoded 8 at a time. Two minutes.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from mmcore.objectives import OBJECTIVES
from mmcore.training.device import keep_freed_memory
from reference.mmcore_fit import CONTRAST, batch_of, model

SMALL, FACTOR, CHUNK, STEPS = 64, 8, 32, 3
RUNS = {"small": (SMALL, None), "large": (SMALL * FACTOR, None), "chunked": (SMALL * FACTOR, CHUNK)}


def gradients(network: Any, batch: Any) -> list[torch.Tensor]:
    network.zero_grad(set_to_none=True)
    loss = sum(OBJECTIVES.build(CONTRAST).loss(network, batch).values())
    loss.backward()
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def measure(samples: int, chunk: int | None) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    network, batch = model().train(), batch_of(samples)
    network.chunk = chunk
    before, took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(STEPS):
        start = time.process_time()
        gradients(network, batch)
        took.append(time.process_time() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps([statistics.median(took) / samples * 1e3, grown]))


def difference() -> float:
    """The largest difference of a gradient, relative to the largest number in it."""
    torch.manual_seed(0)
    network, batch = model().double().train(), batch_of(SMALL)
    whole = gradients(network, batch)
    network.chunk = SMALL // FACTOR
    return max(
        float((one - other).abs().max() / one.abs().max().clamp(min=1e-30))
        for one, other in zip(whole, gradients(network, batch), strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        measure(*RUNS[arguments.run])
        return
    found: dict[str, list[Any]] = {name: [] for name in RUNS}
    for turn in range(arguments.turns):
        for name in list(RUNS)[:: -1 if turn % 2 else 1]:
            output = subprocess.run([sys.executable, __file__, "--run", name], capture_output=True, check=True)
            found[name].append(json.loads(output.stdout))
    print(f"{'':<8} {'batch':>6} {'at once':>8} {'ms a sample':>12} {'MB':>6}")
    for name, runs in found.items():
        samples, chunk = RUNS[name]
        took, memory = (statistics.median(run[kind] for run in runs) for kind in range(2))
        print(f"{name:<8} {samples:>6} {chunk or samples:>8} {took:>12.2f} {memory:>6.0f}")
    for other in ("small", "large"):
        ratios = [one[0] / two[0] for one, two in zip(found["chunked"], found[other], strict=True)]
        print(f"time, chunked over {other}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"gradients differ by at most {difference():.1e} of the largest number in each")


if __name__ == "__main__":
    main()
