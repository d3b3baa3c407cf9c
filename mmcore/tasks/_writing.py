"""What captioning, summarisation and transcription share: learning to write a text about inputs, and writing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Batches, Rows, texts_of
from mmcore.metrics import Score
from mmcore.models.losses import next_token_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import EvaluateSettings
from mmcore.tasks import Base, Predictions, table


@dataclass(frozen=True, kw_only=True)
class Writing(Base):
    """`smoothing` spreads that share of each target in training; `beams`: how many beginnings of a text are continued
    at each step of writing."""

    smoothing: float
    beams: int

    headline = ("loss", "min")
    # The column of what is to be written, and the name of its loss.
    column: ClassVar[str]
    term: ClassVar[str]

    @property
    def sources(self) -> Sequence[str]:
        """The inputs it is written from; a row has the first one, perhaps the others."""
        raise NotImplementedError

    @property
    def terms(self) -> list[str]:
        return [self.term]

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.sources[0], self.column)

    def configure(self, model: MultimodalModel) -> None:
        model.beams = self.beams

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> Batches:
        return self._batches(corpus, processor, self.needs, **options)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        return {self.term: self._loss(model, batch, self.smoothing)}

    @torch.inference_mode()
    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """The cross-entropy per token of each row's first text, without smoothing."""
        batches = self._in_order(model, corpus, batch_size)
        total = tokens = 0.0
        for number in range(len(batches)):
            batch = batches.at(number).to(model.device)
            count = float(batch.inputs["text"][1][:, 1:].sum())
            total += count * float(self._loss(model, batch, 0.0))
            tokens += count
        return {"loss": total / tokens}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """A text for every row that has one to compare with."""
        batches = self._in_order(model.to(device).eval(), corpus, batch_size)
        places = iter(batches.indices)
        rows = []
        for number in range(len(batches)):
            batch = batches.at(number).to(device)
            texts = model.generate({name: batch.inputs[name] for name in self.sources})
            for identity, text in zip(batch.ids, texts, strict=True):
                row = corpus.rows[next(places)]
                references = texts_of(row, self.column)
                tags = {one["text"]: one["lang"] for one in row["captions"]} if self.column == "captions" else {}
                rows.append({
                    "id": identity, "input_id": identity, "prediction": text, "references": references,
                    "reference_langs": [tags.get(one) for one in references],
                })  # fmt: skip
        return Predictions(table(rows))

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        from mmcore.tasks._scoring import score_texts  # noqa: PLC0415 (four seconds that training would pay, too)

        return score_texts(predictions, settings=settings, seed=seed)

    def _batches(self, corpus: Rows, processor: Processor, needs: Sequence[str], **options: Any) -> Batches:
        return Batches(corpus, processor, needs, also=self.sources[1:], **options)

    def _in_order(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> Batches:
        return self._batches(corpus, model.processor, self.needs, batch_size=batch_size, shuffle=False)

    def _loss(self, model: MultimodalModel, batch: Batch, smoothing: float) -> Tensor:
        """Mean cross-entropy of each next token of the batch's texts, given the sources."""
        ids_BT, mask_BT = batch.inputs["text"]
        encoded = {name: model.encode(name, *batch.inputs[name]) for name in self.sources}
        return next_token_loss(model.write(ids_BT[:, :-1], encoded), ids_BT, mask_BT, smoothing=smoothing)
