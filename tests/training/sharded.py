"""Trains the tiny model in several ways as one of the ranks that torchrun starts: `sharded.py FOLDER WAY...`; rank 0
leaves the weights of each, and every rank how much it held. `WAY:4` is asked to stop in its fourth step, `WAY:-4` loses
its second rank there, once; `WAY/1` is another training of this kind. Two more cannot be saved."""

import contextlib
import dataclasses
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmcore.data import ranks
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._mixture import Mixture
from mmcore.training.adapters import Lora
from mmcore.training.device import Device
from mmcore.training.fit import Interrupted, fit
from mmcore.workspace import write_json
from tests.faults.training import Stopped
from tests.tiny import AUGMENT, CPU, MODEL, OBJECTIVES, corpus, model, optim

WAYS: dict[str, dict[str, Any]] = {
    "adamw": {}, "muon": {"algorithm": "muon"}, "ema": {"ema": 0.9, "chunk": 3}, "lora": {}, "bf16": {}, "full": {},
}  # fmt: skip
STEPS, EVERY = 6, 3


class Held(Stopped):
    """A learner that remembers the model that computes, and may end its process."""

    def __init__(self, learner: Mixture, last: int, ended: Path) -> None:
        super().__init__(learner, last)
        self.ended = ended

    def loss(self, made: MultimodalModel, batch: Any) -> dict[str, Tensor]:
        self.model = made
        if self.steps + 1 == -self.last and ranks.rank() and not self.ended.exists():
            self.ended.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(made, batch)


def train(folder: Path, way: str) -> MultimodalModel:
    """Six steps on batches of 7 (and 5), which no two ranks share evenly, in float64 but for bf16."""
    torch.set_num_threads(1)
    ranks.begin(CPU.torch)
    name, _, stop = way.partition(":")
    kind, own = name.partition("/")[0], folder / name
    own.mkdir(parents=True, exist_ok=True)
    made = model(settings=dataclasses.replace(MODEL, fusion={"name": "transformer", "layers": 1}))
    if kind == "lora":
        Lora(2, 4.0).attach(made, ())
    if kind != "bf16":
        made.double()
    specs = [{**spec, "batch_size": spec["batch_size"] and 5} for spec in OBJECTIVES]
    learner = Held(Mixture(specs, corpus()), int(stop or 0), own / "ended")
    fit(
        made, learner, corpus(), corpus(scenes=12), augment=AUGMENT, seed=3, phase=name,
        device=Device(torch.device("cpu"), "bf16" if kind == "bf16" else "fp32", "CPU", shard=True),
        optim=optim(steps=STEPS, batch_size=7, validate_every=EVERY, **WAYS[kind]), checkpoints=own / "checkpoints",
        logs=own,
    )  # fmt: skip
    parameters: list[Any] = list(learner.model.parameters())
    held = sum((p.to_local() if hasattr(p, "to_local") else p).numel() for p in parameters)
    write_json(own / f"held-{ranks.rank()}.json", {"held": held, "all": sum(p.numel() for p in parameters)})
    if ranks.rank() == 0:
        save_file(made.state_dict(), own / "weights.safetensors")
    return made


def fail(folder: Path, disk: Path) -> None:
    """Train with checkpoints on `disk`, and leave in `folder` what each rank says of it."""
    try:
        train(disk, "full")
    except OSError as error:
        write_json(folder / "full" / f"error-{ranks.rank()}.json", str(error))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for way in sys.argv[2:]:
        with contextlib.suppress(Interrupted):
            train(folder, way)
    # Each on a disk of its own, and where the second one may write no file of the size of its part.
    fail(folder / "disks", folder / f"disk-{ranks.rank()}")
    if ranks.rank():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    fail(folder, folder)
    ranks.end()
