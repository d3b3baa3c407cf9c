"""Retrieval: of all pictures the one that a text describes, and the reverse, by closeness in the shared space."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcore.data.batches import Batch, Batches, Rows, texts_of
from mmcore.metrics import Score
from mmcore.metrics.ranking import (
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
        found = self._search(model, corpus, batch_size)
        to_media, to_text = found.rankings[f"text_to_{self.of}"].ranks, found.rankings[f"{self.of}_to_text"].ranks
        reciprocal = 50.0 * float((1 / to_media).mean() + (1 / to_text).mean())
        recalls = {f"text_to_{self.of}_recall@{k}": recall_at(to_media, k) for k in (1, 10)}
        return {**recalls, "mean_reciprocal_rank": reciprocal}

    def predict(self, model: MultimodalModel, corpus: Rows, *, batch_size: int, device: torch.device) -> Predictions:
        """Both directions over all rows with the medium and captions: each row's first caption searches the media,
        each medium searches all captions (any of its own is right)."""
        found = self._search(model.to(device).eval(), corpus, batch_size)
        forth, back = f"text_to_{self.of}", f"{self.of}_to_text"
        texts, media = found.ids["text"], found.ids[self.of]
        first = [captions[0] for captions in found.captions]
        own = [[found.texts[i] for i in row] for row in positive_sets(found.keys, found.text_keys)]
        right = [[media[i] for i in row] for row in positive_sets(found.keys, found.keys)]
        rows = [
            _row(forth, query=first[i], input_id=media[i], references=right[i], labels=media, names=media,
                 ranking=found.rankings[forth], place=i)
            for i in range(len(media))
        ] + [
            _row(back, query=media[i], input_id=media[i], references=own[i], labels=found.texts, names=texts,
                 ranking=found.rankings[back], place=i)
            for i in range(len(media))
        ]  # fmt: skip
        highest = ceiling(first, media, positive_sets(found.keys, found.keys))
        marks = {f"{forth}_recall@1": {"ceiling": highest}}
        return Predictions(table(rows), found.embeddings, found.ids, marks)

    def score(self, predictions: Predictions, *, settings: EvaluateSettings, seed: int) -> dict[str, Score]:
        """Recall at 1, 5 and 10 and the median rank, both ways, against a random order."""
        scores = {}
        for direction in (f"text_to_{self.of}", f"{self.of}_to_text"):
            rows = predictions.table.filter(np.array(predictions.table["direction"].to_pylist()) == direction)
            ranks = np.array(rows["rank"].to_pylist())
            positives = [len(texts) for texts in rows["references"].to_pylist()]
            candidates = len(predictions.ids[direction.rpartition("_")[2]])
            signature = f"recall|queries:{len(ranks)}|candidates:{candidates}|ties:against|baseline:chance"
            for k in PLACES:
                name = f"{direction}_recall@{k}"
                chance = chance_recall(positives, candidates, k)
                marks = dict(predictions.marks.get(name, {}))
                scores[name] = Score(recall_at(ranks, k), chance, len(ranks), signature, marks)
            chance = chance_median_rank(positives, candidates)
            scores[f"{direction}_median_rank"] = Score(median_rank(ranks), chance, len(ranks), signature)
        return scores

    @torch.inference_mode()
    def _search(self, model: MultimodalModel, corpus: Rows, batch_size: int) -> "_Found":
        batches = Batches(
            corpus, model.processor, self.needs, batch_size=batch_size, context=model.processor.prepare.context,
            shuffle=False,
        )  # fmt: skip
        rows = [corpus.rows[index] for index in batches.indices]
        ids = [str(corpus.ids[index]) for index in batches.indices]
        keys = [row.get("positives") or identity for row, identity in zip(rows, ids, strict=True)]
        captions = [texts_of(row, "captions") for row in rows]
        texts = [text for own in captions for text in own]
        numbered = [(number, place) for number, own in enumerate(captions) for place in range(len(own))]
        firsts = [i for i, (_, place) in enumerate(numbered) if place == 0]
        of_media = [model.embed(self.of, *batches.at(i).to(model.device).inputs[self.of]) for i in range(len(batches))]
        of_texts = []
        for start in range(0, len(texts), batch_size):
            values, mask = model.processor.texts(texts[start : start + batch_size])
            of_texts.append(model.embed("text", values.to(model.device), mask.to(model.device)))
        media_NE, texts_NE = (torch.cat(parts).float().cpu().numpy() for parts in (of_media, of_texts))
        text_keys = [keys[number] for number, _ in numbered]
        rankings = {
            f"text_to_{self.of}": search(texts_NE[firsts], media_NE, positive_sets(keys, keys)),
            f"{self.of}_to_text": search(media_NE, texts_NE, positive_sets(keys, text_keys)),
        }
        names = {self.of: ids, "text": [f"{ids[number]}#{place}" for number, place in numbered]}
        return _Found(rankings, {self.of: media_NE, "text": texts_NE}, names, keys, captions, texts, text_keys)


@dataclass(frozen=True)
class _Found:
    rankings: dict[str, Ranking]
    embeddings: dict[str, Array]
    ids: dict[str, list[str]]
    keys: list[str]
    captions: list[list[str]]
    texts: list[str]
    text_keys: list[str]


def _row(
    direction: str, *, query: str, input_id: str, references: list[str], labels: list[str], names: list[str],
    ranking: Ranking, place: int,
) -> dict[str, Any]:  # fmt: skip
    best = ranking.top[place]
    return {
        "id": f"{direction}/{input_id}", "input_id": input_id, "direction": direction, "query": query,
        "prediction": labels[best[0]], "references": references, "score": float(ranking.top_scores[place, 0]),
        "rank": int(ranking.ranks[place]), "top": [names[i] for i in best],
        "top_scores": ranking.top_scores[place].tolist(),
    }  # fmt: skip
