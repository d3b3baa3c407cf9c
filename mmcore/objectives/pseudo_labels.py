"""Pseudo-labels: learning a label from rows that do not have it, by what the model is sure of."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcore.data import ranks
from mmcore.data.batches import Batch, Rows
from mmcore.models.losses import pseudo_label_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base
from mmcore.objectives._choosing import label_head
from mmcore.objectives._hiding import drawn
from mmcore.settings import Component


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """The class that the model itself finds likeliest, as the target of rows that have the `inputs` and no `label`,
    where it gives it a probability of `threshold` or more (Lee 2013). It stands beside the task `classification` with
    the same `inputs`, `label` and `head`, which teaches that head on the other rows.

    The target comes from the whole inputs; to be found again it is without the share `hide` of the tokens of each
    encoded input (0: with all), as FixMatch has a weakly and a strongly augmented picture (Sohn et al. 2020). `augment`
    changes both alike. An input that would lose its last token stays whole. The loss, with FixMatch's division by all
    rows of the batch: `pseudo_label_loss`.
    """

    inputs: list[str]
    label: str
    threshold: float
    hide: float
    head: Component

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"the threshold of pseudo_labels is {self.threshold}; choose a probability, from 0 to 1")
        if not 0 <= self.hide < 1:
            raise ValueError(f"pseudo_labels hides the share {self.hide} of the tokens; choose from 0 to less than 1")

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
                guesses_BC = model.answer(self.label, encoded)
            encoded = {name: (tokens, self._left(mask, len(batch))) for name, (tokens, mask) in encoded.items()}
            logits_BC = model.answer(self.label, encoded)
        else:
            guesses_BC = logits_BC = model.answer(self.label, encoded)
        value = pseudo_label_loss(logits_BC, guesses_BC, self.threshold, batch.present(*self.inputs))
        return {self.terms[0]: self.weight * value}

    def _left(self, there_BT: Tensor, count: int) -> Tensor:
        """Which of the tokens that are there are not hidden; `count`: the rows of the batch over all ranks."""
        left_BT = there_BT & ~drawn(there_BT, self.hide, count, ranks.largest(there_BT.shape[1]))
        return torch.where(left_BT.any(1, keepdim=True), left_BT, there_BT)
