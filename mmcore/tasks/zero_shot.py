"""Zero-shot classification: the class whose name, put into sentences, lies closest to the medium. It learns from no
label; with 0 steps of fine-tuning it is the pretrained model that is judged."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcore.data.batches import LABEL, Batches, Rows
from mmcore.data.views import labelled
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.settings import Component, EvaluateSettings
from mmcore.tasks import Predictions, table
from mmcore.tasks._choosing import score_choices
from mmcore.tasks._mixed import EQUALLY, Mixed


@dataclass(frozen=True)
class Task(Mixed):
    """Which value `label` has, told from the medium `of`. `classes`: for each value the words that name it; `prompts`:
    sentences with {} in the place of the name, whose embeddings are averaged (Radford et al. 2021). What steps
    fine-tuning takes, it takes on the contrast between the medium and the captions."""

    of: str
    label: str
    classes: dict[str, str]
    prompts: list[str]

    headline = ("accuracy", "max")

    def __post_init__(self) -> None:
        for prompt in self.prompts:
            if "{}" not in prompt:
                raise ValueError(f"the prompt '{prompt}' of zero_shot has no {{}} for the name of the class")
        if not self.prompts or len(self.classes) < 2:
            raise ValueError("zero_shot needs a prompt and two classes, or more")

    @property
    def objectives(self) -> list[Component]:
        return [{"name": "contrast", "among": [self.of, "text"], "formula": "clip", **EQUALLY}]

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.of, "labels")

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        rows = self.predict(model, corpus, batch_size=batch_size, device=model.device).table.to_pylist()
        return {"accuracy": 100 * sum(row["prediction"] in row["references"] for row in rows) / len(rows)}

    @torch.inference_mode()
    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """The closest class of every row that has the medium and one of the labels, and the cosine."""
        model.to(device).eval()
        view, names = labelled(corpus, self.label), list(self.classes)
        if strange := {row[LABEL] for row in view.rows if row[LABEL]} - set(names):
            raise ValueError(
                f"zero_shot has no words for {', '.join(sorted(strange)[:5])} (labels of {self.label}); add them to "
                "its classes"
            )
        classes_CE = self._embedded(model)
        batches = Batches(view, model.processor, (self.of, LABEL), batch_size=batch_size, shuffle=False)
        places = iter(batches.indices)
        rows: list[dict[str, Any]] = []
        for number in range(len(batches)):
            batch = batches.at(number).to(device)
            best = (model.embed(self.of, *batch.inputs[self.of]) @ classes_CE.T).max(1)
            for identity, cosine, chosen in zip(batch.ids, best.values.tolist(), best.indices.tolist(), strict=True):
                rows.append({
                    "id": identity, "input_id": identity, "prediction": names[chosen],
                    "references": [view.rows[next(places)][LABEL]], "score": cosine,
                })  # fmt: skip
        return Predictions(table(rows))

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        return score_choices(predictions, labelled(train, self.label))

    def _embedded(self, model: MultimodalModel) -> Tensor:
        """[C, E]: the direction of each class, the mean over the prompts."""
        vectors = []
        for name in self.classes.values():
            values, mask = model.processor.texts([prompt.replace("{}", name) for prompt in self.prompts])
            vectors.append(
                F.normalize(model.embed("text", values.to(model.device), mask.to(model.device)).mean(0), dim=0)
            )
        return torch.stack(vectors)
