"""Classification: which of the values of a label fits a sample, from any set of its modalities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data.batches import LABEL, Batch, Batches, Rows
from mmcore.data.views import classes, labelled
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._choosing import choosing_loss
from mmcore.settings import AugmentSettings, Component, EvaluateSettings
from mmcore.tasks import Predictions
from mmcore.tasks._choosing import accuracy_and_loss, choose_all, score_choices


@dataclass(frozen=True)
class Task:
    """Which value `label` has (a key of the samples' labels), told from `inputs` by a head that is made as `head` says:
    `{name: classes, fusion: {...}}`, or `{name: votes}` for a decision of each modality by itself."""

    inputs: list[str]
    label: str
    head: Component

    terms = ["label"]  # noqa: RUF012 (the same for all)
    headline = ("accuracy", "max")

    @property
    def needs(self) -> tuple[str, ...]:
        return (*self.inputs, "labels")

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {self.label: {**self.head, "inputs": self.inputs, "classes": classes(labelled(corpus, self.label))}}

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> Batches:
        view = labelled(corpus, self.label)
        return self._batches(view, classes(view), processor, batch_size=batch_size, seed=seed, augment=augment)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        return {"label": choosing_loss(model, batch, self.inputs, self.label)}

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        return accuracy_and_loss(model, self._in_order(model, corpus, batch_size), self.inputs, self.label)

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """The likeliest class of every row that has the inputs and the label."""
        batches = self._in_order(model.to(device).eval(), corpus, batch_size)
        return choose_all(model, batches, self.inputs, self.label, batches.corpus)

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        return score_choices(predictions, labelled(train, self.label))

    def _in_order(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> Batches:
        known = model.head_specs[self.label]["classes"]
        view = labelled(corpus, self.label)
        return self._batches(view, known, model.processor, batch_size=batch_size, shuffle=False)

    def _batches(self, view: Rows, known: list[str], processor: Processor, **options: Any) -> Batches:
        numbers = {name: number for number, name in enumerate(known)}
        return Batches(view, processor, (*_columns(self.inputs), LABEL), label=numbers, **options)


def _columns(inputs: list[str]) -> list[str]:
    return ["captions" if name == "text" else name for name in inputs]
