"""Trains the tiny model as one of the ranks that torchrun starts: `two_ranks.py FOLDER`, and takes
the gradient of every objective; rank 0 leaves the result."""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmcore.data import ranks
from mmcore.objectives._mixture import Mixture
from mmcore.training.fit import fit
from tests.tiny import AUGMENT, CPU, EVERY_OBJECTIVE, OBJECTIVES, corpus, model, objective, optim


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
    gradients = {name: gradient(objective(name)) for name in EVERY_OBJECTIVE}
    if ranks.rank() == 0:
        save_file(made.state_dict(), folder / "weights.safetensors")
        save_file(gradients, folder / "gradients.safetensors")
    ranks.end()


def gradient(spec: dict[str, Any]) -> Tensor:
    """What an objective's loss on a batch of 7 gives every weight, one after the other, averaged over the ranks."""
    rows = corpus()
    learner, made = Mixture([spec], rows), model().double()
    made.add_heads(learner.heads(rows))
    batch = learner.batches(rows, made.processor, batch_size=7, seed=3, augment=AUGMENT).at(0)
    torch.manual_seed(0)
    torch.stack(list(learner.loss(made.double(), batch).values())).sum().backward()  # type: ignore[no-untyped-call]
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in made.parameters()]
    ranks.average(found)
    return torch.cat([one.flatten() for one in found])


if __name__ == "__main__":
    train(Path(sys.argv[1]))
