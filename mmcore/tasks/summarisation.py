"""Summarisation: one sentence about a clip, from its frames and, where there is one, the transcript of its talk."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcore.data.batches import NO_AUGMENTATION, Batch, Batches, Rows
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import AugmentSettings, Component, EvaluateSettings
from mmcore.tasks import Predictions
from mmcore.tasks._writing import validation_loss, write_all, writing_loss

SOURCES = ["video", "transcript"]


@dataclass(frozen=True)
class Task:
    """Summaries of clips. `wordings`: the text columns that training draws its targets from (`summary`, perhaps
    `captions` where they say the same in other words); `choice`: `any` of them, or the one of `consensus`;
    `smoothing` spreads that share of each target; `beams`: how many beginnings are continued at each step."""

    wordings: list[str]
    choice: str
    smoothing: float
    beams: int

    terms = ["summary"]  # noqa: RUF012 (the same for all)
    headline = ("loss", "min")
    needs = ("video", "summary")

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {}

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> Batches:
        needs = ("video", *self.wordings)
        return _batches(corpus, processor, needs, batch_size=batch_size, seed=seed, augment=augment, choice=self.choice)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        return {"summary": writing_loss(model, batch, SOURCES, smoothing=self.smoothing)}

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        batches = _batches(corpus, model.processor, self.needs, batch_size=batch_size, shuffle=False)
        return {"loss": validation_loss(model, batches, SOURCES)}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """A summary of every clip that has one to compare with."""
        model.to(device).eval()
        batches = _batches(corpus, model.processor, self.needs, batch_size=batch_size, shuffle=False)
        return write_all(model, batches, SOURCES, corpus, "summary")

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        from mmcore.tasks._scoring import score_texts  # noqa: PLC0415 (four seconds that training would pay, too)

        return score_texts(predictions, settings=settings, seed=seed)


def _batches(
    corpus: Rows, processor: Processor, needs: tuple[str, ...], *, batch_size: int, seed: int = 0,
    augment: AugmentSettings = NO_AUGMENTATION, choice: str = "any", shuffle: bool = True,
) -> Batches:  # fmt: skip
    return Batches(
        corpus, processor, needs, batch_size=batch_size, seed=seed, augment=augment, choice=choice, shuffle=shuffle,
        also=["transcript"],
    )  # fmt: skip
