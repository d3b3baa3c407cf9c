"""Captioning: a sentence about a picture or a clip, written word by word."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Batches, Rows
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import AugmentSettings, Component, EvaluateSettings
from mmcore.tasks import Predictions
from mmcore.tasks._writing import validation_loss, write_all, writing_loss


@dataclass(frozen=True)
class Task:
    """Captions of the medium `of` (`image`, `video` or `audio`). `choice`: training draws `any` of a row's captions, or
    the one of `consensus`; `smoothing` spreads that share of each target; `beams`: how many beginnings of a text are
    continued at each step."""

    of: str
    choice: str
    smoothing: float
    beams: int

    terms = ["caption"]  # noqa: RUF012 (the same for all)
    headline = ("loss", "min")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.of, "captions")

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {}

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> Batches:
        return Batches(
            corpus, processor, self.needs, batch_size=batch_size, seed=seed, augment=augment,
            choice=self.choice,
        )  # fmt: skip

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        return {"caption": writing_loss(model, batch, [self.of], smoothing=self.smoothing)}

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        return {"loss": validation_loss(model, self._in_order(model, corpus, batch_size), [self.of])}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """A caption for every row that has the medium and captions to compare with."""
        batches = self._in_order(model.to(device).eval(), corpus, batch_size)
        return write_all(model, batches, [self.of], corpus, "captions")

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        from mmcore.tasks._scoring import score_texts  # noqa: PLC0415 (four seconds that training would pay, too)

        return score_texts(predictions, settings=settings, seed=seed)

    def _in_order(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> Batches:
        return Batches(corpus, model.processor, self.needs, batch_size=batch_size, shuffle=False)
