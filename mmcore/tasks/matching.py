"""Matching: which of two texts belongs to a medium, its own or the one that differs from it in the fewest words."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmcore.data.batches import Batches, Rows
from mmcore.metrics import Score
from mmcore.metrics.ranking import auroc, positive_sets
from mmcore.models.multimodal import MultimodalModel
from mmcore.settings import Component, EvaluateSettings
from mmcore.tasks import Predictions, table
from mmcore.tasks._mixed import EQUALLY, Mixed
from mmcore.tasks._reranking import Matching, likelihoods

_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Task(Mixed):
    """Whether captions belong to the medium `of`, told by a head with a `fusion` of its own, as the objective
    `matching` trains it; a contrast beside it finds that objective its hard negatives.

    Each row asks once: its first caption against that of another row which shares most of its words (of equals the
    first), such as the same sentence with another colour. Rows that share `positives`, or a text, are never set
    against each other.
    """

    of: str
    fusion: Component

    headline = ("accuracy", "max")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.of, "captions")

    @property
    def objectives(self) -> list[Component]:
        contrast = {"name": "contrast", "among": [self.of, "text"], "formula": "clip", **EQUALLY}
        return [contrast, {"name": "matching", "between": [self.of, "text"], "fusion": self.fusion, **EQUALLY}]

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        found = self.predict(model, corpus, batch_size=batch_size, device=model.device).table.to_pylist()
        return {"accuracy": 100 * sum(row["prediction"] in row["references"] for row in found) / len(found)}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """For each row the likelier of the two texts, `score` the difference of their log odds; `top` holds its own
        text and the other one, `top_scores` their log odds."""
        model.to(device).eval()
        batches = Batches(corpus, model.processor, self.needs, batch_size=batch_size, shuffle=False)
        rows = [corpus.rows[index] for index in batches.indices]
        ids = [str(corpus.ids[index]) for index in batches.indices]
        texts = [row["captions"][0]["text"] for row in rows]
        keys = [row.get("positives") or identity for row, identity in zip(rows, ids, strict=True)]
        said = [{one["text"] for one in row["captions"]} for row in rows]
        others = likest(model.processor.encode(texts), texts, keys, said)
        own = np.arange(len(rows))
        pairs = np.concatenate([np.stack([own, own], 1), np.stack([others, own], 1)])
        odds = likelihoods(Matching(of=[self.of], places=2), model, batches, self.of, texts, pairs).reshape(2, -1)
        return Predictions(table([
            {
                "id": identity, "input_id": identity, "query": texts[place],
                "prediction": texts[place] if right > wrong else texts[others[place]], "references": [texts[place]],
                "score": right - wrong, "top": [texts[place], texts[others[place]]], "top_scores": [right, wrong],
            }
            for place, (identity, right, wrong) in enumerate(zip(ids, *odds.tolist(), strict=True))
        ]))  # fmt: skip

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        """`accuracy`: the share of rows whose own text is the likelier one; `auroc`: how well the log odds alone tell
        own texts from others, both in percent and beside a coin's 50."""
        odds = np.array(predictions.table["top_scores"].to_pylist())
        values = {
            "accuracy": 100 * float((odds[:, 0] > odds[:, 1]).mean()),
            "auroc": auroc(odds[:, 1], odds[:, 0]),
        }
        signature = "matching|other:fewest words differ|baseline:coin"
        return {name: Score(value, 50.0, len(odds), signature) for name, value in values.items()}


def likest(tokens: list[list[int]], texts: list[str], keys: list[str], said: list[set[str]]) -> NDArray[np.int64]:
    """For each text the place of the one that it shares most with, by the share of their different tokens that both
    have (Jaccard); those of the same key are not meant, nor those that its row says itself. ValueError if there is no
    other text for one."""
    count = len(tokens)
    has = np.zeros((count, 1 + max(token for own in tokens for token in own)), np.float32)
    for place, own in enumerate(tokens):
        has[place, own] = 1
    sizes = has.sum(1)
    alike = positive_sets(keys, keys)
    by_text: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        by_text.setdefault(text, []).append(place)
    found = np.zeros(count, np.int64)
    for start in range(0, count, _ROWS_AT_ONCE):
        shared = has[start : start + _ROWS_AT_ONCE] @ has.T
        share = shared / (sizes[start : start + _ROWS_AT_ONCE, None] + sizes - shared)
        for offset, own in enumerate(share):
            place = start + offset
            own[alike[place]] = -1
            for text in said[place]:
                own[by_text.get(text, [])] = -1
            found[place] = own.argmax()
            if own[found[place]] < 0:
                raise ValueError(f"matching needs two different texts or more, and every row says '{texts[place]}'")
    return found
