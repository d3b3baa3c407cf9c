"""What classification and question answering share: choosing one of some classes by a head of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcore.data.batches import LABEL, Batch, Batches, Rows, columns_of
from mmcore.data.views import View
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._choosing import choosing_loss, logits, numbers
from mmcore.settings import Component, EvaluateSettings
from mmcore.tasks import Base, Predictions, table


@dataclass(frozen=True, kw_only=True)
class Choosing(Base):
    """The classes are told by a head that is made as `head` says: `{name: classes, fusion: {...}}`, or
    `{name: votes, rule: mean}` for a decision of each modality by itself."""

    head: Component

    headline = ("accuracy", "max")
    # The name of its loss.
    term: ClassVar[str]

    @property
    def answered_by(self) -> str:
        """The name of the head."""
        raise NotImplementedError

    @property
    def sources(self) -> Sequence[str]:
        """The inputs that the head looks at."""
        raise NotImplementedError

    def view(self, corpus: Rows) -> View:
        """The rows with what is right for each in the column `label`."""
        raise NotImplementedError

    def configure(self, model: MultimodalModel) -> None:
        model.answers_by = self.answered_by

    @property
    def terms(self) -> list[str]:
        return [self.term]

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> Batches:
        return self._batches(self.view(corpus), processor, self.heads(corpus), **options)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        return {self.term: choosing_loss(model, batch, self.sources, self.answered_by)}

    @torch.inference_mode()
    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """`accuracy` (0 to 100; a label that the model does not know is wrong) and `loss` over all rows."""
        batches = self._in_order(model, self.view(corpus), batch_size)
        right = loss = 0.0
        for number in range(len(batches)):
            batch = batches.at(number).to(model.device)
            labels_B, known_B = batch.inputs[LABEL]
            answers_BC = logits(model, batch, self.sources, self.answered_by)
            right += float(((answers_BC.argmax(1) == labels_B) & known_B).sum())
            loss += float(F.cross_entropy(answers_BC[known_B], labels_B[known_B], reduction="sum"))
        return {"accuracy": 100 * right / len(batches.indices), "loss": loss / len(batches.indices)}

    @torch.inference_mode()
    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """The likeliest class of every row that has the inputs and a label, its probability, and what is right."""
        view = self.view(corpus)
        batches = self._in_order(model.to(device).eval(), view, batch_size)
        classes = model.head_specs[self.answered_by]["classes"]
        places = iter(batches.indices)
        rows = []
        for number in range(len(batches)):
            batch = batches.at(number).to(device)
            best = logits(model, batch, self.sources, self.answered_by).softmax(1).max(1)
            for identity, share, chosen in zip(batch.ids, best.values.tolist(), best.indices.tolist(), strict=True):
                place = next(places)
                row = view.rows[place]
                rows.append({
                    "id": identity, "input_id": view.owners[place], "query": row.get("question"),
                    "prediction": classes[chosen], "references": row.get("answers") or [row[LABEL]], "score": share,
                })  # fmt: skip
        return Predictions(table(rows))

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        return score_choices(predictions, self.view(train))

    def _batches(self, view: View, processor: Processor, heads: Mapping[str, Component], **options: Any) -> Batches:
        needs = (*columns_of(self.sources), LABEL)
        return Batches(view, processor, needs, label=numbers(heads, self.answered_by), **options)

    def _in_order(self, model: MultimodalModel, view: View, batch_size: int) -> Batches:
        return self._batches(view, model.processor, model.head_specs, batch_size=batch_size, shuffle=False)


def score_choices(predictions: Predictions, train: Rows) -> dict[str, Score]:
    """Accuracy and macro F1, beside answering what is commonest in `train` (for the very question, where one is asked)
    without looking at anything."""
    from mmcore.metrics.classes import choices, commonest  # noqa: PLC0415 (sklearn, which no training needs)

    columns = predictions.table.select(["query", "prediction", "references"]).to_pydict()
    known = [(row.get("question") or "", row[LABEL]) for row in train.rows if row[LABEL]]
    blind = commonest(known, [query or "" for query in columns["query"]])
    own, prior = (choices(chosen, columns["references"]) for chosen in (columns["prediction"], blind))
    signature = f"{own.signature}|baseline:commonest"
    return {name: Score(value, prior.values[name], len(blind), signature) for name, value in own.values.items()}
