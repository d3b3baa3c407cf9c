"""What a pretraining step costs in fp32 and in bf16, and what importing torch's compiler costs: docs/decisions.md.

    python benchmarks/training.py [--project FOLDER] [--turns 10]

Pretrains by params.yaml on artifacts/prepared of the project FOLDER (default: here), on the processor, in both
precisions in turns, so that other work on the machine falls on both. Between the turns the product of two large
matrices is timed in each precision: what the processor can do at most. Spreads are the least and the most of all
turns. Without prepared data only the imports are timed. About five minutes.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmcore import params
from mmcore.data.corpus import Corpus
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture
from mmcore.settings import Settings
from mmcore.training.device import choose
from mmcore.training.fit import fit
from mmcore.workspace import Workspace

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
STEPS, SIDE, PRODUCTS, PROCESSES = 40, 1024, 8, 5
IMPORTS = {
    "the compiler itself": "import torch._dynamo",
    "torch's class AdamW": "torch.optim.AdamW([torch.zeros(1, requires_grad=True)])",
    "use_deterministic_algorithms": "torch.use_deterministic_algorithms(True)",
}
TIMED = "import time, torch; start = time.process_time(); {}; print(time.process_time() - start)"


class Timed:
    """Objectives that note when they are asked for: from one time to the next is a step. Validates nothing."""

    headline = ("loss", "min")

    def __init__(self, objectives: Mixture) -> None:
        self.objectives, self.terms = objectives, objectives.terms
        self.asked: list[tuple[float, float]] = []

    def heads(self, corpus: Corpus) -> Any:
        return self.objectives.heads(corpus)

    def batches(self, corpus: Corpus, processor: Processor, **options: Any) -> "Timed":
        self.source = self.objectives.batches(corpus, processor, **options)
        return self

    def at(self, number: int) -> Any:
        return self.source.at(number)

    def loss(self, model: MultimodalModel, batch: Any) -> dict[str, Tensor]:
        self.asked.append((time.process_time(), time.perf_counter()))
        return self.objectives.loss(model, batch)

    def validate(self, *_: object, **__: object) -> dict[str, float]:
        return {"loss": 0.0}


class Training:
    """The pretraining of a project, from its beginning at every call."""

    def __init__(self, prepared: Path, settings: Settings) -> None:
        self.settings = replace(settings, train=replace(settings.train, device="cpu"))
        self.processor = Processor.load(prepared, settings.prepare)
        self.corpus = Corpus(prepared, "train")
        self.objectives = Mixture(settings.pretrain.objectives, self.corpus)
        # Not every objective runs on every step: after so many, each has had its turns.
        self.cycle = math.lcm(*(stream.every for stream in self.objectives.streams))

    def run(self, precision: str, steps: int) -> list[tuple[float, float]]:
        """Take `steps` steps; returns when each began, in seconds of processor time and of the clock."""
        pretrain, learner = self.settings.pretrain, Timed(self.objectives)
        torch.manual_seed(self.settings.seed)
        model = MultimodalModel(self.settings.model, self.processor)
        with tempfile.TemporaryDirectory(prefix="mmcore-bench-") as folder:
            fit(
                model, learner, self.corpus, self.corpus,
                optim=replace(pretrain.optim, steps=steps, max_seconds=None, validate_every=steps),
                augment=pretrain.augment, device=choose(replace(self.settings.train, precision=precision)),
                seed=self.settings.seed, checkpoints=Path(folder) / "checkpoints", logs=Path(folder), phase=precision,
            )  # fmt: skip
        return learner.asked

    def step(self, precision: str) -> tuple[float, float]:
        """Seconds of processor time and of the clock that a step takes, after the first few."""
        count = self.cycle * max(1, STEPS // self.cycle)
        asked = self.run(precision, self.cycle + count + 1)
        processor, clock = (end - start for start, end in zip(asked[self.cycle], asked[-1], strict=True))
        return processor / count, clock / count

    def operations(self) -> float:
        """Multiplications and additions in the matrix products and convolutions of a step, forwards and backwards."""
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            self.run("fp32", self.cycle)
        return counter.get_total_flops() / self.cycle


def peak(precision: str) -> float:
    """Multiplications and additions a second of processor time, in the fastest of some products."""
    left, right = (torch.randn(SIDE, SIDE).to(PRECISIONS[precision]) for _ in range(2))
    seconds = []
    for _ in range(PRODUCTS):
        start = time.process_time()
        torch.mm(left, right)
        seconds.append(time.process_time() - start)
    return 2 * SIDE**3 / min(seconds)


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def imports() -> None:
    print(f"processor time in fresh processes, median of {PROCESSES}")
    for name, code in IMPORTS.items():
        command = [sys.executable, "-c", TIMED.format(code)]
        found = [
            float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(PROCESSES)
        ]
        print(f"  {name:<30} {spread(found)} s")


def steps(training: Training, turns: int) -> None:
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in PRECISIONS}
    peaks = dict.fromkeys(PRECISIONS, 0.0)
    for turn in range(turns):
        for name in list(PRECISIONS)[:: -1 if turn % 2 else 1]:
            costs[name].append(training.step(name))
            peaks[name] = max(peaks[name], peak(name))
    operations = training.operations()
    print(f"a step of pretraining, {operations / 1e9:.2f} GFLOP; median of {turns} turns")
    for name, cost in costs.items():
        processor, clock = zip(*cost, strict=True)
        share = operations / statistics.median(processor) / peaks[name]
        print(f"  {name}: {1 / statistics.median(clock):.1f} steps a second; processor time {spread(processor)} s, "
              f"clock {spread(clock)} s")  # fmt: skip
        print(f"        {share:.0%} of {peaks[name] / 1e9:.0f} GFLOP/s, the product of two {SIDE} x {SIDE} matrices")
    for place, what in enumerate(("processor time", "clock")):
        ratios = [bf16[place] / fp32[place] for bf16, fp32 in zip(costs["bf16"], costs["fp32"], strict=True)]
        print(f"  bf16 over fp32, {what}: {spread(ratios)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, help="the folder of params.yaml and artifacts/, default: this one")
    parser.add_argument("--turns", type=int, default=10, help="how often each precision is timed")
    arguments = parser.parse_args()
    workspace = Workspace((arguments.project or Path()).resolve())
    missing = ""
    if not (workspace.prepared / "prepared.json").is_file():
        missing = f"{workspace.prepared} holds no prepared data to train on; mmcore run makes them"
        if arguments.project:
            raise SystemExit(missing)
    os.environ.setdefault("MMCORE_PROGRESS", os.devnull)
    imports()
    if missing:
        print(missing)
        return
    steps(Training(workspace.prepared, params.load(workspace.params)), arguments.turns)


if __name__ == "__main__":
    main()
