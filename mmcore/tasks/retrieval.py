"""Retrieval: of all pictures the one that a text describes, and the reverse, by closeness in the shared space; likewise
between any two modalities. A second stage may put the best of them in a better order.

Where captions are in several languages, each language asks and answers for itself, and captions of two languages find
each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch

from mmcore.data.batches import Batches, Rows, columns_of
from mmcore.metrics import Score
from mmcore.metrics.ranking import ceiling, chance_median_rank, chance_recall, median_rank, recall_at
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import OBJECTIVES
from mmcore.settings import Component, EvaluateSettings
from mmcore.tasks import Predictions, table
from mmcore.tasks._mixed import Mixed
from mmcore.tasks._reranking import RERANKERS, second_stage
from mmcore.tasks._searching import SHOWN, Search, Side, across, ranks, searches, sides_of

Array = np.ndarray[Any, Any]
PLACES = (1, 5, 10)


@dataclass(frozen=True)
class Task(Mixed):
    """Retrieval between modalities, each two of those that one of `contrasts` names: objectives `contrast` without
    their name (`among`, `formula`, `weight`, `every`, `batch_size`), on which the model is trained. A contrast for
    which a split has no rows is left out; the first one's rows are what the task needs.

    `also`: further modalities that are to find each other though nothing has taught them to, `[[audio, image]]`: by
    what both have in common with a third one (Girdhar et al. 2023). They are scored, and decide nothing while training.

    `rerank` (null: no second stage): by what the best `places` between texts and the media `of` are put in order again,
    `{name: caption, of: [image], places: 10}`, or by `matching`; the likelihood is added to the logits of the
    contrast."""

    contrasts: list[Component]
    also: list[list[str]]
    rerank: Component | None

    headline = ("mean_reciprocal_rank", "max")

    def __post_init__(self) -> None:
        for objective in self.objectives:
            OBJECTIVES.build(objective)
        if any(len(set(among)) < 2 for among in self.also):
            raise ValueError(f"retrieval finds modalities by each other; also is {self.also}, name two or more in each")
        pairs = [frozenset(pair) for among in [*self._groups, *self.also] for pair in combinations(among, 2)]
        if not self.contrasts or len(set(pairs)) != len(pairs):
            raise ValueError("each two modalities must stand in one of the contrasts of retrieval, and in one only")
        if self.rerank is None:
            return
        reranker = RERANKERS.build(self.rerank)
        if reranker.places < 2:
            raise ValueError(f"retrieval re-ranks the first {reranker.places}; choose 2 places or more")
        searched = {name for among in self._groups if "text" in among for name in among if name != "text"}
        if not reranker.of or not set(reranker.of) <= searched:
            raise ValueError(f"retrieval re-ranks {reranker.of}; choose among: {', '.join(sorted(searched))}")

    @property
    def needs(self) -> tuple[str, ...]:
        return columns_of(self._groups[0])

    @property
    def looks_at(self) -> list[Sequence[str]]:
        return [columns_of(among) for among in [*self._groups, *self.also]]

    @property
    def objectives(self) -> list[Component]:
        return [{"name": "contrast", **contrast} for contrast in self.contrasts]

    def configure(self, model: MultimodalModel) -> None:
        if self.rerank is not None:
            reranker = RERANKERS.build(self.rerank)
            for missing in filter(None, (reranker.missing(model, medium) for medium in reranker.of)):
                raise ValueError(missing)

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """The recall at 10 of each direction, and the mean reciprocal rank of all of them, 0 to 100."""
        found = [ranks(sides) for _, sides in self._embed(model, corpus, batch_size, self._groups)]
        every = {
            direction: np.concatenate([one[direction] for one in found if direction in one])
            for direction in dict.fromkeys(name for one in found for name in one)
        }
        reciprocal = 100 * float(np.mean([(1 / own).mean() for own in every.values()]))
        recalls = {f"{direction}_recall@10": recall_at(own, 10) for direction, own in every.items()}
        return {**recalls, "mean_reciprocal_rank": reciprocal}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """All directions over all rows that have the two modalities; those from and to texts once for each language.

        Each row's first caption in a language searches the media; each medium searches all captions in a language
        that it has some in, and any of its own is right. With several languages, each row's first caption in the
        commonest one also searches all captions in each other language, and the reverse (`en_to_zh`, `zh_to_en`).
        Rows that share `positives` are right for each other. What is shown is what the first stage found.
        """
        rows: list[dict[str, Any]] = []
        marks: dict[str, dict[str, float]] = {}
        embeddings: dict[str, dict[str, Array]] = {}
        reranker = None if self.rerank is None else RERANKERS.build(self.rerank)
        across_languages: list[Search] = []
        groups = [*self._groups, *self.also]
        for batches, sides in self._embed(model.to(device).eval(), corpus, batch_size, groups):
            found = searches(sides, top=max(SHOWN, reranker.places if reranker else 0))
            for one in found:
                rows += one.rows(second_stage(reranker, model, batches, sides, one) if reranker else None)
            if "text" in sides and not across_languages:
                across_languages = across(sides["text"])
                rows += [row for one in across_languages for row in one.rows()]
            for direction in dict.fromkeys(one.direction for one in found if one.direction.startswith("text_to_")):
                asked = [one for one in found if one.direction == direction]
                ideal = ceiling(
                    [text for one in asked for text in one.queries.labels],
                    sides[direction.removeprefix("text_to_")].labels,
                    [right for one in asked for right in one.right],
                )
                marks[f"{direction}_recall@1"] = {"ceiling": ideal}
            for name, side in sides.items():
                embeddings.setdefault(name, {}).update(zip(side.ids, side.vectors, strict=True))
        vectors = {name: np.stack(list(found.values())) for name, found in embeddings.items()}
        return Predictions(table(rows), vectors, {name: list(found) for name, found in embeddings.items()}, marks)

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        """Recall at 1, 5 and 10 and the median rank, for each direction, against a random order; after a second stage
        also as `<direction>_reranked`. With several languages, those from and to a medium have a slice for each.
        """
        asked: dict[str, list[dict[str, Any]]] = {}
        columns = ["direction", "lang", "rank", "reranked", "references", "candidates"]
        for row in predictions.table.select(columns).to_pylist():
            asked.setdefault(row["direction"], []).append(row)
            if row["reranked"] is not None:
                asked.setdefault(f"{row['direction']}_reranked", []).append(row | {"rank": row["reranked"]})
        scores = {}
        second = "|reranked:{name}:{places}".format(**self.rerank) if self.rerank else ""
        for direction, rows in asked.items():
            stage = second if direction.endswith("_reranked") else ""
            parts: dict[str, list[dict[str, Any]]] = {}
            for row in rows:
                parts.setdefault(row["lang"], []).append(row)
            found = _scores(direction, rows, stage)
            slices = {lang: _scores(direction, part, stage) for lang, part in parts.items() if len(parts) > 1}
            for name, score in found.items():
                marks = dict(predictions.marks.get(name, {}))
                own = {lang: part[name] for lang, part in slices.items()}
                scores[name] = replace(score, references=marks, slices=own)
        return scores

    @property
    def _groups(self) -> list[list[str]]:
        return [list(contrast["among"]) for contrast in self.contrasts]

    def _embed(
        self, model: MultimodalModel, corpus: Rows, batch_size: int, groups: Sequence[list[str]]
    ) -> Iterator[tuple[Batches, dict[str, Side]]]:
        """For each of the groups of modalities that `corpus` has rows for, these, and the modalities, embedded."""
        for among in groups:
            if corpus.with_(*columns_of(among)):
                batches = Batches(corpus, model.processor, columns_of(among), batch_size=batch_size, shuffle=False)
                yield batches, sides_of(model, batches, among)


def _scores(direction: str, rows: list[dict[str, Any]], stage: str) -> dict[str, Score]:
    ranks = np.array([row["rank"] for row in rows])
    positives, sizes = [len(row["references"]) for row in rows], [row["candidates"] for row in rows]
    candidates = "+".join(map(str, dict.fromkeys(sizes)))
    signature = f"recall|queries:{len(ranks)}|candidates:{candidates}|ties:against{stage}|baseline:chance"
    scores = {
        f"{direction}_recall@{k}": Score(recall_at(ranks, k), chance_recall(positives, sizes, k), len(ranks), signature)
        for k in PLACES
    }
    chance = chance_median_rank(positives, sizes)
    return {**scores, f"{direction}_median_rank": Score(median_rank(ranks), chance, len(ranks), signature)}
