"""Anomalies: pictures, clips, recordings or texts that are unlike those that training has seen.

Nothing is learned for it: the model is taken as pretraining left it (`steps: 0`), and remembers training samples in
its own eyes (see `mmcore.models.unusual`). What is scored are the test samples beside the same spoiled in five ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmcore.data.batches import Batches, Rows
from mmcore.metrics import Score
from mmcore.metrics.ranking import auroc
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.models.unusual import VIEWS, Neighbours
from mmcore.settings import Component, EvaluateSettings
from mmcore.tasks import Base, Predictions, table
from mmcore.tasks._spoiling import KINDS

HEAD = "unusual"
CLASSES = ["usual", "unusual"]


@dataclass(frozen=True)
class Task(Base):
    """A sample of the modality `of` is `unusual` if it is farther from the `nearest` of at most `most` training samples
    than the share `false_alarms` of the validation samples is. Of texts the first caption of each sample counts."""

    nearest: int
    most: int
    false_alarms: float
    of: str = "video"

    learns = False
    headline = ("auroc", "max")
    terms = ()

    def __post_init__(self) -> None:
        if self.of not in KINDS:
            raise ValueError(f"anomalies: of is '{self.of}'; choose one of: {', '.join(KINDS)}")
        if not 0 < self.false_alarms < 1 or self.nearest < 1 or self.most <= self.nearest:
            raise ValueError(
                f"anomalies: false_alarms is {self.false_alarms}, nearest {self.nearest}, most {self.most}; choose a "
                "share between 0 and 1, one neighbour or more, and more samples than neighbours"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        return (KINDS[self.of].column,)

    @property
    def ways(self) -> tuple[str, ...]:
        """The names of the ways in which samples are spoiled."""
        return tuple(KINDS[self.of].ways)

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        known = min(self.most, len(corpus.with_(*self.needs)))
        return {
            HEAD: {"name": "unusual", "inputs": [self.of], "classes": CLASSES, "known": known, "nearest": self.nearest}
        }

    def configure(self, model: MultimodalModel) -> None:
        model.answers_by = HEAD

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> Batches:
        return Batches(corpus, processor, self.needs, **options)

    def loss(self, model: MultimodalModel, batch: Any) -> dict[str, Tensor]:
        raise ValueError("anomalies learns nothing of its own: set its optim.steps to 0")

    @torch.inference_mode()
    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """`auroc` of the second half of the samples and what is made of them, by the first half; 0 to 100."""
        seen = {way: self._seen(model, corpus, batch_size, way)[0] for way in ("", *self.ways)}
        if len(seen[""]) < 2:
            raise ValueError("anomalies needs two samples or more in the validation split; one is told by the other")
        half = (len(seen[""]) + 1) // 2
        neighbours = self._neighbours(seen[""][:half])
        usual = neighbours(seen[""][half:]).cpu()
        return {"auroc": float(np.mean([auroc(usual, neighbours(seen[way][half:]).cpu()) for way in self.ways]))}

    @torch.inference_mode()
    def conclude(self, model: MultimodalModel, train: Rows, validation: Rows, *, batch_size: int) -> None:
        """Let the head remember training samples, and set the threshold by the validation samples."""
        head: Any = model.heads[HEAD]
        head.neighbours.remember(self._seen(model, train, batch_size, "")[0])
        distances = head.neighbours(self._seen(model, validation, batch_size, "")[0])
        head.threshold.copy_(torch.quantile(distances, 1 - self.false_alarms))
        head.spread.copy_(distances.std(correction=0).clamp(min=1e-6))

    @torch.inference_mode()
    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """What the head says of every test sample. As `embeddings`, for the samples (`usual`) and each way in which
        they are spoiled: the distance, whether it is beyond the threshold, and what the plain baseline compares."""
        model.to(device).eval()
        head: Any = model.heads[HEAD]
        ids = [str(corpus.ids[index]) for index in corpus.with_(*self.needs)]
        found = {}
        for way in ("", *self.ways):
            vectors, plain = self._seen(model, corpus, batch_size, way)
            distances = head.neighbours(vectors)
            columns = torch.stack([distances, (distances > head.threshold).to(distances)], 1)
            found[way or "usual"] = torch.cat([columns.float().cpu(), plain], 1).numpy()
        shares = head.logits(torch.from_numpy(found["usual"][:, 0])).softmax(1)
        rows = [
            {
                "id": identity, "input_id": identity, "prediction": CLASSES[int(row.argmax())], "references": ["usual"],
                "score": float(row.max()),
            }
            for identity, row in zip(ids, shares, strict=True)
        ]  # fmt: skip
        return Predictions(table(rows), found, dict.fromkeys(found, ids))

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        """`auroc`: how well distances tell spoiled samples from the samples as they are, over all ways and for each,
        beside the same method on what needs no model (squares of pixels, a spectrum, pairs of characters); `found`: the
        share of spoiled samples beyond the threshold, beside the share of the others that is (false alarms)."""
        told, kind = predictions.embeddings, KINDS[self.of]
        plainly = self._neighbours(kind.plain([kind.sample(train, place) for place in train.with_(*self.needs)]))

        def of_plain(way: str) -> NDArray[np.float32]:
            return plainly(torch.from_numpy(np.ascontiguousarray(told[way][:, 2:]))).numpy()  # type: ignore[no-any-return]

        usual, usual_plain = told["usual"][:, 0], of_plain("usual")
        count, alarms = len(usual), 100 * float(told["usual"][:, 1].mean())
        signature = f"anomalies|spoiled:{'+'.join(self.ways)}|nearest:{self.nearest}|baseline:{kind.baseline}"
        scores = {}
        for way in self.ways:
            value, baseline = auroc(usual, told[way][:, 0]), auroc(usual_plain, of_plain(way))
            scores[f"auroc_{way}"] = Score(value, baseline, count, signature, {"coin": 50.0})
        value, baseline = (
            float(np.mean([getattr(one, name) for one in scores.values()])) for name in ("value", "baseline")
        )
        share = 100 * float(np.mean([told[way][:, 1].mean() for way in self.ways]))
        return {
            "auroc": Score(value, baseline, count, signature, {"coin": 50.0}),
            "found": Score(share, alarms, count, f"{signature.rpartition('|')[0]}|baseline:false alarms"),
            **scores,
        }

    def _neighbours(self, vectors_NP: Tensor) -> Neighbours:
        """What remembers at most `most` of these vectors, as the head does."""
        known = min(self.most, len(vectors_NP))
        made = VIEWS[self.of].neighbours(known=known, nearest=self.nearest, size=vectors_NP.shape[1])
        made.to(vectors_NP.device).remember(vectors_NP)
        return made

    def _seen(self, model: MultimodalModel, corpus: Rows, batch_size: int, way: str) -> tuple[Tensor, Tensor]:
        """All samples, spoiled in the given way ("": as they are), each beside the one before it: the vectors that the
        head compares [N, P], and those of the plain baseline [N, Q]."""
        kind = KINDS[self.of]
        head: Any = model.heads[HEAD]
        places = corpus.with_(kind.column)
        before = dict(zip(places, [places[-1], *places[:-1]], strict=True))

        def sample(place: int) -> Any:
            own = kind.sample(corpus, place)
            if not way:
                return own
            return kind.ways[way](own, kind.sample(corpus, before[place]), np.random.default_rng(place))

        seen, plain = [], []
        for start in range(0, len(places), batch_size):
            samples = [sample(place) for place in places[start : start + batch_size]]
            values, mask = (part.to(model.device) for part in kind.input(model.processor, samples))
            seen.append(head.vectors(*model.encode(self.of, values, mask)))
            plain.append(kind.plain(samples))
        return torch.cat(seen), torch.cat(plain)
