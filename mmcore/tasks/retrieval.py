"""Retrieval: of all pictures the one that a text describes, and the reverse, by closeness in the shared space.

Where captions are in several languages, each language asks and answers for itself, and captions of two languages find
each other.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcore.data.batches import Batch, Batches, Rows
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
from mmcore.models.losses import contrastive_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import AugmentSettings, EvaluateSettings
from mmcore.tasks import Predictions, table

Array = np.ndarray[Any, Any]
PLACES = (1, 5, 10)


@dataclass(frozen=True)
class Task:
    """Retrieval between the medium `of` (`image` or `video`) and its captions, trained with InfoNCE."""

    of: str

    terms = ["contrast"]  # noqa: RUF012 (the same for all)
    headline = ("mean_reciprocal_rank", "max")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.of, "captions")

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> Batches:
        return Batches(
            corpus, processor, self.needs, batch_size=batch_size, seed=seed, augment=augment,
            context=processor.prepare.context,
        )  # fmt: skip

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        media, texts = (model.embed(name, *batch.inputs[name]) for name in (self.of, "text"))
        present = batch.present(self.of, "text")
        return {"contrast": contrastive_loss(texts, media, model.scale(), batch.same_BB, present)}

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """Recalls at 1 and 10 from text, and the mean reciprocal rank of both directions, 0 to 100."""
        media, texts = self._embed(model, corpus, batch_size)
        to_media, to_text = (
            np.concatenate([search.ranking.ranks for search in searches])
            for searches in (_from_texts(texts, media), _from_media(media, texts))
        )
        reciprocal = 50.0 * float((1 / to_media).mean() + (1 / to_text).mean())
        recalls = {f"text_to_{self.of}_recall@{k}": recall_at(to_media, k) for k in (1, 10)}
        return {**recalls, "mean_reciprocal_rank": reciprocal}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """Both directions over all rows with the medium and captions, once for each language.

        Each row's first caption in a language searches the media; each medium searches all captions in a language
        that it has some in, and any of its own is right. With several languages, each row's first caption in the
        commonest one also searches all captions in each other language, and the reverse (`en_to_zh`, `zh_to_en`).
        Rows that share `positives` are right for each other.
        """
        media, texts = self._embed(model.to(device).eval(), corpus, batch_size)
        forth = _from_texts(texts, media)
        rows = [row for one in forth for row in one.rows(f"text_to_{self.of}")]
        rows += [row for one in _from_media(media, texts) for row in one.rows(f"{self.of}_to_text")]
        rows += [row for name, one in _across(texts) for row in one.rows(name)]
        asked = [text for one in forth for text in one.queries.labels]
        right = [found for one in forth for found in one.right]
        marks = {f"text_to_{self.of}_recall@1": {"ceiling": ceiling(asked, media.labels, right)}}
        embeddings, ids = {self.of: media.vectors, "text": texts.vectors}, {self.of: media.ids, "text": texts.ids}
        return Predictions(table(rows), embeddings, ids, marks)

    def score(self, predictions: Predictions, *, settings: EvaluateSettings, seed: int) -> dict[str, Score]:
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

    @torch.inference_mode()
    def _embed(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> tuple["_Side", "_Side"]:
        """The media, and all their captions (those that differ), in the order of the rows."""
        batches = Batches(
            corpus, model.processor, self.needs, batch_size=batch_size, context=model.processor.prepare.context,
            shuffle=False,
        )  # fmt: skip
        rows = [corpus.rows[index] for index in batches.indices]
        ids = [str(corpus.ids[index]) for index in batches.indices]
        keys = [row.get("positives") or identity for row, identity in zip(rows, ids, strict=True)]
        first = [_differing(row["captions"]) for row in rows]
        numbered = [(number, place) for number, own in enumerate(first) for place in own]
        texts = [rows[number]["captions"][place]["text"] for number, place in numbered]
        tags = [primary(rows[number]["captions"][place]["lang"]) for number, place in numbered]
        of_media = [model.embed(self.of, *batches.at(i).to(model.device).inputs[self.of]) for i in range(len(batches))]
        of_texts = []
        for start in range(0, len(texts), batch_size):
            values, mask = model.processor.texts(texts[start : start + batch_size])
            of_texts.append(model.embed("text", values.to(model.device), mask.to(model.device)))
        media_NE, texts_NE = (torch.cat(parts).float().cpu().numpy() for parts in (of_media, of_texts))
        names = [f"{ids[number]}#{place}" for number, place in numbered]
        owners = [ids[number] for number, _ in numbered]
        text_keys = [keys[number] for number, _ in numbered]
        return _Side(ids, ids, ids, [], keys, media_NE), _Side(names, owners, texts, tags, text_keys, texts_NE)


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
