"""Lightning: its Trainer around the network of the hand-written loop."""

import logging
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import reference as work
from reference.handwritten import DualEncoder, optimiser

for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Module(lightning.LightningModule):
    def __init__(self, took: Callable[[], None]) -> None:
        super().__init__()
        self.network, self.took = DualEncoder(), took

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss: Tensor = self.network(*batch)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimiser(self)

    def on_train_batch_end(self, *_: Any) -> None:
        self.took()


def train(precision: str, count: int, took: Callable[[], None]) -> None:
    rows = DataLoader(
        TensorDataset(work.normalised(work.pictures()), work.texts()), work.BATCH, shuffle=True, drop_last=True
    )
    lightning.Trainer(
        max_steps=count, accelerator="cpu", precision="bf16-mixed" if precision == "bf16" else "32-true", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(Module(took), rows)  # fmt: skip
