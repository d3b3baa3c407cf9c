"""Trains the tiny model as one of the ranks that torchrun starts: `two_ranks.py FOLDER`, and takes
the gradient of every objective; rank 0 leaves the result."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmcore.data import ranks
from mmcore.objectives._mixture import Mixture
from mmcore.training.fit import fit
from tests.faults.training import Stopped
from tests.tiny import AUGMENT, CPU, EVERY_OBJECTIVE, OBJECTIVES, corpus, model, objective, optim


class Late(Stopped):
    """A learner whose thirteenth batch is drawn while the first rank validates after the twelfth step."""

    def batches(self, *arguments: Any, **options: Any) -> "Late":
        self.source = self.learner.batches(*arguments, **options)
        return self

    def at(self, number: int) -> Any:
        if number == 12:
            time.sleep(0.5)
        return self.source.at(number)

    def validate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        time.sleep(1.0)
        return self.learner.validate(*arguments, **options)


def train(folder: Path, *, stop: int | None = None) -> None:
    """Two dozen steps in float64 on batches of 7 (and 5), which no two ranks share evenly; `stop`: the step in which
    it is asked to end."""
    torch.set_num_threads(1)
    ranks.begin(CPU.torch)
    made = model().double()
    mixture = Mixture([{**spec, "batch_size": spec["batch_size"] and 5} for spec in OBJECTIVES], corpus())
    fit(
        made, Late(mixture, stop), corpus(), corpus(scenes=12), augment=AUGMENT, device=CPU, seed=3,
        optim=optim(steps=24, batch_size=7, validate_every=12), checkpoints=folder / "checkpoints",
        logs=folder / "logs", phase="test",
    )  # fmt: skip
    gradients = {name: gradient(objective(name)) for name in EVERY_OBJECTIVE}
    if ranks.rank() == 0:
        save_file(made.state_dict(), folder / "weights.safetensors")
        save_file(gradients, folder / "gradients.safetensors")
    ranks.copy_files(folder)
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
