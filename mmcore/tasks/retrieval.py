"""Retrieval: of all pictures the one that a text describes, and the reverse, by closeness in the shared space; likewise
between any two modalities.

Where captions are in several languages, each language asks and answers for itself, and captions of two languages find
each other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcore.data.batches import Batches, Rows, columns_of
from mmcore.metrics import Score
from mmcore.metrics.languages import primary
from mmcore.metrics.ranking import (
    Positives,
    Ranking,
    ceiling,
    chance_median_rank,
    chance_recall,
    median_rank,
    positive_sets,
    recall_at,
    search,
)
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import MixedBatch, MixedBatches, Mixture
from mmcore.settings import AugmentSettings, Component, EvaluateSettings
from mmcore.tasks import Base, Predictions, table

Array = np.ndarray[Any, Any]
PLACES = (1, 5, 10)


@dataclass(frozen=True)
class Task(Base):
    """Retrieval between modalities, each two of those that one of `contrasts` names: objectives `contrast` without
    their name (`among`, `formula`, `weight`, `every`, `batch_size`), on which the model is trained. A contrast for
    which a split has no rows is left out, but for the first."""

    contrasts: list[Component]

    headline = ("mean_reciprocal_rank", "max")

    def __post_init__(self) -> None:
        for contrast in self.contrasts:
            OBJECTIVES.build({"name": "contrast", **contrast})
        pairs = [frozenset(pair) for among in self._groups for pair in combinations(among, 2)]
        if not pairs or len(set(pairs)) != len(pairs):
            raise ValueError("each two modalities must stand in one of the contrasts of retrieval, and in one only")

    @property
    def needs(self) -> tuple[str, ...]:
        return columns_of(self._groups[0])

    @cached_property
    def terms(self) -> list[str]:
        return [f"contrast_{one}_{other}" for among in self._groups for one, other in combinations(among, 2)]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return self._mixture(corpus).heads(corpus)

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> MixedBatches:
        return self._mixture(corpus).batches(corpus, processor, batch_size=batch_size, seed=seed, augment=augment)

    def loss(self, model: MultimodalModel, batch: MixedBatch) -> dict[str, Tensor]:
        return batch.loss(model)

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """The recall at 10 of each direction, and the mean reciprocal rank of all of them, 0 to 100."""
        found: dict[str, list[Array]] = {}
        for sides in self._embed(model, corpus, batch_size):
            for direction, one in _searches(sides):
                found.setdefault(direction, []).append(one.ranking.ranks)
        ranks = {direction: np.concatenate(parts) for direction, parts in found.items()}
        reciprocal = 100 * float(np.mean([(1 / own).mean() for own in ranks.values()]))
        recalls = {f"{direction}_recall@10": recall_at(own, 10) for direction, own in ranks.items()}
        return {**recalls, "mean_reciprocal_rank": reciprocal}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """All directions over all rows that have the two modalities; those from and to texts once for each language.

        Each row's first caption in a language searches the media; each medium searches all captions in a language
        that it has some in, and any of its own is right. With several languages, each row's first caption in the
        commonest one also searches all captions in each other language, and the reverse (`en_to_zh`, `zh_to_en`).
        Rows that share `positives` are right for each other.
        """
        rows: list[dict[str, Any]] = []
        marks: dict[str, dict[str, float]] = {}
        embeddings: dict[str, dict[str, Array]] = {}
        for number, sides in enumerate(self._embed(model.to(device).eval(), corpus, batch_size)):
            found = _searches(sides)
            rows += [row for direction, one in found for row in one.rows(direction)]
            if number == 0 and "text" in sides:
                rows += [row for name, one in _across(sides["text"]) for row in one.rows(name)]
            for direction in dict.fromkeys(direction for direction, _ in found if direction.startswith("text_to_")):
                asked = [one for name, one in found if name == direction]
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
        """Recall at 1, 5 and 10 and the median rank, for each direction, against a random order.

        With several languages, those of the directions from and to the medium have a slice for each.
        """
        asked: dict[str, list[dict[str, Any]]] = {}
        for row in predictions.table.select(["direction", "lang", "rank", "references", "candidates"]).to_pylist():
            asked.setdefault(row["direction"], []).append(row)
        scores = {}
        for direction, rows in asked.items():
            parts: dict[str, list[dict[str, Any]]] = {}
            for row in rows:
                parts.setdefault(row["lang"], []).append(row)
            found = _scores(direction, rows)
            slices = {lang: _scores(direction, part) for lang, part in parts.items() if len(parts) > 1}
            for name, score in found.items():
                marks = dict(predictions.marks.get(name, {}))
                own = {lang: part[name] for lang, part in slices.items()}
                scores[name] = replace(score, references=marks, slices=own)
        return scores

    @property
    def _groups(self) -> list[list[str]]:
        return [list(contrast["among"]) for contrast in self.contrasts]

    def _mixture(self, corpus: Rows) -> Mixture:
        return Mixture([{"name": "contrast", **contrast} for contrast in self.contrasts], corpus)

    def _embed(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> list[dict[str, "_Side"]]:
        """For each contrast that `corpus` has rows for, its modalities, embedded."""
        present = [among for among in self._groups if corpus.with_(*columns_of(among))]
        return [_sides(model, corpus, among, batch_size) for among in present]


@torch.inference_mode()
def _sides(model: MultimodalModel, corpus: Rows, among: Sequence[str], batch_size: int) -> dict[str, "_Side"]:
    """The media of the rows that have all modalities, and all their captions (those that differ), in their order."""
    batches = Batches(corpus, model.processor, columns_of(among), batch_size=batch_size, shuffle=False)
    rows = [corpus.rows[index] for index in batches.indices]
    ids = [str(corpus.ids[index]) for index in batches.indices]
    keys = [row.get("positives") or identity for row, identity in zip(rows, ids, strict=True)]
    media = [name for name in among if name != "text"]
    parts: dict[str, list[Tensor]] = {name: [] for name in media}
    for number in range(len(batches)):
        batch = batches.at(number).to(model.device)
        for name in media:
            parts[name].append(model.embed(name, *batch.inputs[name]))
    sides = {name: _Side(ids, ids, ids, [], keys, torch.cat(parts[name]).float().cpu().numpy()) for name in media}
    if "text" in among:
        sides["text"] = _texts(model, rows, ids, keys, batch_size)
    return sides


def _texts(
    model: MultimodalModel, rows: Sequence[Mapping[str, Any]], ids: list[str], keys: list[str], batch_size: int
) -> "_Side":
    first = [_differing(row["captions"]) for row in rows]
    numbered = [(number, place) for number, own in enumerate(first) for place in own]
    texts = [rows[number]["captions"][place]["text"] for number, place in numbered]
    tags = [primary(rows[number]["captions"][place]["lang"]) for number, place in numbered]
    parts = []
    for start in range(0, len(texts), batch_size):
        values, mask = model.processor.texts(texts[start : start + batch_size])
        parts.append(model.embed("text", values.to(model.device), mask.to(model.device)))
    names = [f"{ids[number]}#{place}" for number, place in numbered]
    owners, text_keys = ([column[number] for number, _ in numbered] for column in (ids, keys))
    return _Side(names, owners, texts, tags, text_keys, torch.cat(parts).float().cpu().numpy())


@dataclass(frozen=True)
class _Side:
    """What asks or is found: `ids` of embeddings, the samples (`owners`) that they belong to, `labels` to show, their
    languages (of texts alone), the `keys` that right answers share, and the vectors [N, E]."""

    ids: list[str]
    owners: list[str]
    labels: list[str]
    langs: list[str]
    keys: list[str]
    vectors: Array

    def take(self, places: Sequence[int]) -> "_Side":
        ids, owners, labels, langs, keys = (
            [column[i] for i in places] if column else []
            for column in (self.ids, self.owners, self.labels, self.langs, self.keys)
        )
        return _Side(ids, owners, labels, langs, keys, self.vectors[list(places)])

    def languages(self) -> list[str]:
        """The languages, that of most samples first."""
        counts = Counter(language for _, language in set(zip(self.owners, self.langs, strict=True)))
        return sorted(counts, key=lambda language: (-counts[language], language))

    def written_in(self, language: str) -> "_Side":
        return self.take([place for place, own in enumerate(self.langs) if own == language])

    def first_of_each(self) -> "_Side":
        """The first text of every sample."""
        places = {owner: place for place, owner in reversed(list(enumerate(self.owners)))}
        return self.take(sorted(places.values()))


@dataclass(frozen=True)
class _Search:
    """Queries, what they search, which candidates are right for each, and what they found; `lang`: that of the texts,
    null where they are in two."""

    queries: _Side
    candidates: _Side
    right: Positives
    ranking: Ranking
    lang: str | None

    def rows(self, direction: str) -> list[dict[str, Any]]:
        """The predictions of every query; their ids name the language where there is one, for a row may ask in many."""
        asked = self.queries
        return [
            {
                "id": "/".join([direction, *([self.lang] if self.lang else []), asked.owners[place]]),
                "input_id": asked.owners[place], "direction": direction, "query": asked.labels[place],
                "query_id": asked.ids[place], "lang": self.lang, "prediction": self.candidates.labels[top[0]],
                "references": [self.candidates.labels[i] for i in self.right[place]],
                "score": float(self.ranking.top_scores[place, 0]), "rank": int(self.ranking.ranks[place]),
                "candidates": len(self.candidates.ids), "top": [self.candidates.ids[i] for i in top],
                "top_scores": self.ranking.top_scores[place].tolist(),
            }
            for place, top in enumerate(self.ranking.top)
        ]  # fmt: skip


def _found(queries: _Side, candidates: _Side, lang: str | None) -> _Search:
    right = positive_sets(queries.keys, candidates.keys)
    return _Search(queries, candidates, right, search(queries.vectors, candidates.vectors, right), lang)


def _searches(sides: Mapping[str, _Side]) -> list[tuple[str, _Search]]:
    """Every direction between two of the sides, with texts once for each language."""
    found = []
    for one, other in combinations(sides, 2):
        if "text" in (one, other):
            medium = one if other == "text" else other
            texts, media = sides["text"], sides[medium]
            found += [(f"text_to_{medium}", search) for search in _from_texts(texts, media)]
            found += [(f"{medium}_to_text", search) for search in _from_media(media, texts)]
        else:
            for asking, asked in ((one, other), (other, one)):
                found.append((f"{asking}_to_{asked}", _found(sides[asking], sides[asked], None)))
    return found


def _from_texts(texts: _Side, media: _Side) -> list[_Search]:
    return [_found(texts.written_in(lang).first_of_each(), media, lang) for lang in texts.languages()]


def _from_media(media: _Side, texts: _Side) -> list[_Search]:
    found = []
    for lang in texts.languages():
        own = texts.written_in(lang)
        owners = set(own.owners)
        asking = media.take([place for place, name in enumerate(media.owners) if name in owners])
        found.append(_found(asking, own, lang))
    return found


def _across(texts: _Side) -> list[tuple[str, _Search]]:
    """Between the commonest language and each other one, both ways, over the samples that have texts in both."""
    first, *others = texts.languages()
    made = []
    for other in others:
        for source, target in ((first, other), (other, first)):
            candidates = texts.written_in(target)
            asking = texts.written_in(source).first_of_each()
            keys = set(candidates.keys)
            asking = asking.take([place for place, key in enumerate(asking.keys) if key in keys])
            if asking.ids:
                made.append((f"{source}_to_{target}", _found(asking, candidates, None)))
    return made


def _scores(direction: str, rows: list[dict[str, Any]]) -> dict[str, Score]:
    ranks = np.array([row["rank"] for row in rows])
    positives, sizes = [len(row["references"]) for row in rows], [row["candidates"] for row in rows]
    candidates = "+".join(map(str, dict.fromkeys(sizes)))
    signature = f"recall|queries:{len(ranks)}|candidates:{candidates}|ties:against|baseline:chance"
    scores = {
        f"{direction}_recall@{k}": Score(recall_at(ranks, k), chance_recall(positives, sizes, k), len(ranks), signature)
        for k in PLACES
    }
    chance = chance_median_rank(positives, sizes)
    return {**scores, f"{direction}_median_rank": Score(median_rank(ranks), chance, len(ranks), signature)}


def _differing(captions: Sequence[dict[str, Any]]) -> list[int]:
    """The places of the captions without repeated ones."""
    return list({caption["text"]: place for place, caption in reversed(list(enumerate(captions)))}.values())[::-1]
