"""Transcription: the words that are spoken in a recording, written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Batches, Rows
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import AugmentSettings, Component, EvaluateSettings
from mmcore.tasks import Predictions
from mmcore.tasks._writing import validation_loss, write_all, writing_loss

SOURCES = ["audio"]


@dataclass(frozen=True)
class Task:
    """What recordings say (`speech_text`). `beams`: how many beginnings of a text are continued at each step;
    `smoothing` spreads that share of each target."""

    beams: int
    smoothing: float

    terms = ["transcript"]  # noqa: RUF012 (the same for all)
    headline = ("loss", "min")
    needs = ("audio", "speech_text")

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {}

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> Batches:
        return Batches(corpus, processor, self.needs, batch_size=batch_size, seed=seed, augment=augment)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        return {"transcript": writing_loss(model, batch, SOURCES, smoothing=self.smoothing)}

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        return {"loss": validation_loss(model, self._in_order(model, corpus, batch_size), SOURCES)}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """What is said in every recording whose words are known."""
        batches = self._in_order(model.to(device).eval(), corpus, batch_size)
        return write_all(model, batches, SOURCES, corpus, "speech_text")

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        """Word and character error rates, beside those of the same transcripts of other recordings."""
        from mmcore.metrics.errors import error_rates  # noqa: PLC0415 (rapidfuzz, which no training needs)
        from mmcore.metrics.shuffled import against_shuffled  # noqa: PLC0415

        columns: dict[str, list[Any]] = predictions.table.select(["prediction", "references"]).to_pydict()
        return against_shuffled(
            error_rates, columns["prediction"], columns["references"], count=settings.derangements, seed=seed
        )

    def _in_order(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> Batches:
        return Batches(corpus, model.processor, self.needs, batch_size=batch_size, shuffle=False)
