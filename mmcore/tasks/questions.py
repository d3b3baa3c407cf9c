"""Question answering: one of the answers that training knows, to a question about a medium."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data.batches import LABEL, Batch, Batches, Rows
from mmcore.data.views import classes, questions
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._choosing import answers_head, choosing_loss
from mmcore.settings import AugmentSettings, Component, EvaluateSettings
from mmcore.tasks import Predictions
from mmcore.tasks._choosing import accuracy_and_loss, choose_all, score_choices

ANSWERS = "answers"


@dataclass(frozen=True)
class Task:
    """Answers to questions about the medium `of`: one of the `most` commonest ones of the training split, chosen by a
    head that is made as `head` says (see `classification`)."""

    of: str
    most: int
    head: Component

    terms = [ANSWERS]  # noqa: RUF012 (the same for all)
    headline = ("accuracy", "max")

    @property
    def _answers(self) -> str:
        return f"answers_{self.of}"

    @property
    def inputs(self) -> list[str]:
        return ["question", self.of]

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.of, "qa")

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return answers_head(corpus, of=self.of, most=self.most, head=self.head)

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> Batches:
        view = questions(corpus)
        known = classes(view, self.most)
        return self._batches(view, known, processor, batch_size=batch_size, seed=seed, augment=augment)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        return {ANSWERS: choosing_loss(model, batch, self.inputs, self._answers)}

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        return accuracy_and_loss(model, self._in_order(model, corpus, batch_size), self.inputs, self._answers)

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """An answer to every question about a row that has the medium."""
        batches = self._in_order(model.to(device).eval(), corpus, batch_size)
        return choose_all(model, batches, self.inputs, self._answers, batches.corpus)

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        return score_choices(predictions, questions(train))

    def _in_order(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> Batches:
        known = model.head_specs[self._answers]["classes"]
        return self._batches(questions(corpus), known, model.processor, batch_size=batch_size, shuffle=False)

    def _batches(self, view: Rows, known: list[str], processor: Processor, **options: Any) -> Batches:
        numbers = {answer: number for number, answer in enumerate(known)}
        return Batches(view, processor, (self.of, "question", LABEL), label=numbers, **options)
