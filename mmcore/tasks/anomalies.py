"""Anomalies: clips that do not go on as clips do, told by how their frames change.

Nothing is learned for it: the model is taken as pretraining left it (`steps: 0`), and remembers how the frames of
training clips change in its eyes. What is scored are the test clips beside the same clips spoiled in five ways.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mmcore.data.batches import Batches, Rows
from mmcore.metrics import Score
from mmcore.metrics.ranking import auroc
from mmcore.models.heads import Unusual
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import Component, EvaluateSettings
from mmcore.tasks import Base, Predictions, table

HEAD = "unusual"
CLASSES = ["usual", "unusual"]
WAYS = ("cut", "shuffled", "reversed", "frozen", "flash")
# The baseline sees frames in so many squares each way.
SQUARES = 8


@dataclass(frozen=True)
class Task(Base):
    """A clip is `unusual` if it is farther from the `nearest` of at most `most` training clips than the share
    `false_alarms` of the validation clips is (Sun et al. 2022, with changes between frames as features)."""

    nearest: int
    most: int
    false_alarms: float

    learns = False
    headline = ("auroc", "max")
    terms = ()

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1 or self.nearest < 1 or self.most <= self.nearest:
            raise ValueError(
                f"anomalies: false_alarms is {self.false_alarms}, nearest {self.nearest}, most {self.most}; choose a "
                "share between 0 and 1, one neighbour or more, and more clips than neighbours"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        return ("video",)

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        known = min(self.most, len(corpus.with_("video")))
        return {
            HEAD: {"name": "unusual", "inputs": ["video"], "classes": CLASSES, "known": known, "nearest": self.nearest}
        }

    def configure(self, model: MultimodalModel) -> None:
        model.answers_by = HEAD

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> Batches:
        return Batches(corpus, processor, self.needs, **options)

    def loss(self, model: MultimodalModel, batch: Any) -> dict[str, Tensor]:
        raise ValueError("anomalies learns nothing of its own: set its optim.steps to 0")

    @torch.inference_mode()
    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """`auroc` of the second half of the clips and what is made of them, by the first half; 0 to 100."""
        head: Any = model.heads[HEAD]
        seen = {way: self._changes(model, corpus, batch_size, way)[0] for way in ("", *WAYS)}
        if len(seen[""]) < 2:
            raise ValueError("anomalies needs two clips or more in the validation split; one is told by the other")
        half = (len(seen[""]) + 1) // 2
        known_NP = seen[""][:half]
        usual = head.distances(seen[""][half:], known_NP)
        return {"auroc": float(np.mean([auroc(usual, head.distances(seen[way][half:], known_NP)) for way in WAYS]))}

    @torch.inference_mode()
    def conclude(self, model: MultimodalModel, train: Rows, validation: Rows, *, batch_size: int) -> None:
        """Let the head remember training clips, and set the threshold by the validation clips."""
        head: Any = model.heads[HEAD]
        known_NP, _ = self._changes(model, train, batch_size, "")
        head.known.copy_(known_NP[torch.linspace(0, len(known_NP) - 1, len(head.known)).long()])
        distances = head.distances(self._changes(model, validation, batch_size, "")[0], head.known)
        head.threshold.copy_(torch.quantile(distances, 1 - self.false_alarms))
        head.spread.copy_(distances.std(correction=0).clamp(min=1e-6))

    @torch.inference_mode()
    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """What the head says of every test clip. As `embeddings`, for the clips (`usual`) and each way in which they
        are spoiled: the distance, whether it is beyond the threshold, and how their plain squares change."""
        model.to(device).eval()
        head: Any = model.heads[HEAD]
        ids = [str(corpus.ids[index]) for index in corpus.with_("video")]
        found = {}
        for way in ("", *WAYS):
            changes, plain = self._changes(model, corpus, batch_size, way)
            distances = head.distances(changes, head.known)
            columns = torch.stack([distances, (distances > head.threshold).to(distances)], 1)
            found[way or "usual"] = torch.cat([columns, plain.to(distances)], 1).float().cpu().numpy()
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
        """`auroc`: how well distances tell spoiled clips from the clips as they are, over all ways and for each,
        beside the same method on plain squares of pixels; `found`: the share of spoiled clips beyond the threshold,
        beside the share of the others that is (false alarms)."""
        told, places = predictions.embeddings, train.with_("video")
        chosen = [places[round(place)] for place in np.linspace(0, len(places) - 1, min(self.most, len(places)))]
        known = plain_changes(torch.from_numpy(np.stack([train.array("video", index) for index in chosen])))

        def of_pixels(way: str) -> NDArray[np.float32]:
            changes = torch.from_numpy(np.ascontiguousarray(told[way][:, 2:]))
            return Unusual.nearest_distances(changes, known, self.nearest).numpy()

        usual, usual_pixels = told["usual"][:, 0], of_pixels("usual")
        count, alarms = len(usual), 100 * float(told["usual"][:, 1].mean())
        signature = f"anomalies|spoiled:{'+'.join(WAYS)}|nearest:{self.nearest}|baseline:pixels"
        scores = {}
        for way in WAYS:
            value, baseline = auroc(usual, told[way][:, 0]), auroc(usual_pixels, of_pixels(way))
            scores[f"auroc_{way}"] = Score(value, baseline, count, signature, {"coin": 50.0})
        value, baseline = (
            float(np.mean([getattr(one, name) for one in scores.values()])) for name in ("value", "baseline")
        )
        share = 100 * float(np.mean([told[way][:, 1].mean() for way in WAYS]))
        return {
            "auroc": Score(value, baseline, count, signature, {"coin": 50.0}),
            "found": Score(share, alarms, count, f"{signature.rpartition('|')[0]}|baseline:false alarms"),
            **scores,
        }

    def _changes(self, model: MultimodalModel, corpus: Rows, batch_size: int, way: str) -> tuple[Tensor, Tensor]:
        """For all clips, `spoiled` in the given way ("": as they are), how their frames change: in the model's eyes
        [N, P], and in plain squares [N, Q]."""
        batches = self.batches(corpus, model.processor, batch_size=batch_size, shuffle=False)
        head: Any = model.heads[HEAD]
        before = dict(zip(batches.indices, [batches.indices[-1], *batches.indices[:-1]], strict=True))
        seen, plain = [], []
        for number in range(len(batches)):
            values, mask = batches.at(number).to(model.device).inputs["video"]
            rows = batches.indices[number * batches.batch_size :][: len(values)]
            others = torch.from_numpy(np.stack([corpus.array("video", before[row]) for row in rows])).to(values)
            clips = spoiled(values, others, way, seeds=rows)
            seen.append(head.changes(model.encode("video", clips, mask)[0]))
            plain.append(plain_changes(clips))
        return torch.cat(seen), torch.cat(plain)


def spoiled(clips_BFSSC: Tensor, others_BFSSC: Tensor, way: str, *, seeds: Sequence[int]) -> Tensor:
    """The clips spoiled: `cut` goes on as another clip from the middle; `shuffled` has its frames in an order drawn by
    its seed, `reversed` backwards; `frozen` stands still at the middle frame; `flash` shows another clip for one frame.
    Without a way as they are."""
    frames, made = clips_BFSSC.shape[1], clips_BFSSC.clone()
    middle = frames // 2
    if way == "cut":
        made[:, middle:] = others_BFSSC[:, middle:]
    elif way == "flash":
        made[:, middle] = others_BFSSC[:, middle]
    elif way == "frozen":
        made[:] = clips_BFSSC[:, middle : middle + 1]
    elif way == "reversed":
        made = clips_BFSSC.flip(1)
    elif way == "shuffled":
        for row, seed in enumerate(seeds):
            random = np.random.default_rng(seed)
            order = random.permutation(frames)
            while frames > 1 and (np.diff(order) > 0).all():
                order = random.permutation(frames)
            made[row] = clips_BFSSC[row, torch.from_numpy(order)]
    return made


def plain_changes(clips_BFSSC: Tensor) -> Tensor:
    """How the mean colours of a frame's squares change from frame to frame [B, P]."""
    frames = clips_BFSSC.float().permute(0, 1, 4, 2, 3).flatten(0, 1)
    squares = F.adaptive_avg_pool2d(frames, SQUARES).reshape(*clips_BFSSC.shape[:2], -1)
    return F.normalize(squares.diff(dim=1).flatten(1), dim=1)
