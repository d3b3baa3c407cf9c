"""Trains the tiny model as one of the ranks that torchrun starts: `two_ranks.py FOLDER`; rank 0 leaves the result."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from mmcore.data import ranks
from mmcore.objectives._mixture import Mixture
from mmcore.training.fit import fit
from tests.tiny import AUGMENT, CPU, OBJECTIVES, corpus, model, optim


def train(folder: Path) -> None:
    """Two dozen steps in float64 on batches of 7 (and 5), which no two ranks share evenly."""
    torch.set_num_threads(1)
    ranks.begin(CPU.torch)
    made = model().double()
    fit(
        made, Mixture([{**spec, "batch_size": spec["batch_size"] and 5} for spec in OBJECTIVES], corpus()), corpus(),
        corpus(scenes=12), optim=optim(steps=24, batch_size=7, validate_every=12), augment=AUGMENT, device=CPU, seed=3,
        checkpoints=folder / "checkpoints", logs=folder / "logs", phase="test",
    )  # fmt: skip
    if ranks.rank() == 0:
        save_file(made.state_dict(), folder / "weights.safetensors")
    ranks.end()


if __name__ == "__main__":
    train(Path(sys.argv[1]))
