"""Pseudo-labels: learning a label from rows that do not have it, by what the model is sure of."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Rows
from mmcore.models.losses import token_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base
from mmcore.objectives._choosing import label_head
from mmcore.objectives._hiding import drawn
from mmcore.settings import Component


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    inputs: list[str]
    label: str
    threshold: float
    hide: float
    head: Component

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"the threshold of pseudo_labels is {self.threshold}; choose a probability, from 0 to 1")

    @property
    def lacks(self) -> tuple[str, ...]:
        return (self.label,)

    @property
    def terms(self) -> list[str]:
        return [f"pseudo_labels_{self.label}"]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return label_head(corpus, self.label, inputs=self.inputs, head=self.head)

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        encoded = {name: model.encode(name, *batch.inputs[name]) for name in self.inputs}
        if self.hide:
            with torch.no_grad():
                target_BC = model.answer(self.label, encoded)
            seen = {n: (t, m & ~drawn(m, self.hide, len(batch), m.shape[1])) for n, (t, m) in encoded.items()}
            logits_BC = model.answer(self.label, seen)
        else:
            logits_BC = model.answer(self.label, encoded)
            target_BC = logits_BC.detach()
        likeliest = target_BC.softmax(1).max(1)
        sure_B = batch.present(*self.inputs) & (likeliest.values >= self.threshold)
        targets_B = likeliest.indices.masked_fill(~sure_B, -100)
        # over all rows of the batch, as FixMatch does?
        return {self.terms[0]: self.weight * token_loss(logits_BC[:, None], targets_B[:, None])}
