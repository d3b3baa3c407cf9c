"""Who searches what in retrieval, and what is found: one side for each modality, one search for each direction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcore.data.batches import Batches
from mmcore.metrics.languages import primary
from mmcore.metrics.ranking import Positives, Ranking, both_ways, positive_sets, search
from mmcore.models.multimodal import MultimodalModel

Array = np.ndarray[Any, Any]
# So many of what a query finds are shown.
SHOWN = 10


@dataclass(frozen=True)
class Side:
    """What asks or is found: `ids` of embeddings, the samples (`owners`) that they belong to, `labels` to show, their
    languages (of texts alone), the `keys` that right answers share, and the vectors [N, E]."""

    ids: list[str]
    owners: list[str]
    labels: list[str]
    langs: list[str]
    keys: list[str]
    vectors: Array

    def take(self, places: Sequence[int]) -> "Side":
        ids, owners, labels, langs, keys = (
            [column[i] for i in places] if column else []
            for column in (self.ids, self.owners, self.labels, self.langs, self.keys)
        )
        return Side(ids, owners, labels, langs, keys, self.vectors[list(places)])

    def places_of(self, part: "Side") -> Array:
        """Where what a `part` of this side holds stands in it."""
        place = {name: number for number, name in enumerate(self.ids)}
        return np.array([place[name] for name in part.ids], np.int64)

    def languages(self) -> list[str]:
        """The languages, that of most samples first."""
        counts = Counter(language for _, language in set(zip(self.owners, self.langs, strict=True)))
        return sorted(counts, key=lambda language: (-counts[language], language))

    def written_in(self, language: str) -> "Side":
        return self.take([place for place, own in enumerate(self.langs) if own == language])

    def first_of_each(self) -> "Side":
        """The first text of every sample."""
        places = {owner: place for place, owner in reversed(list(enumerate(self.owners)))}
        return self.take(sorted(places.values()))


@torch.inference_mode()
def sides_of(model: MultimodalModel, batches: Batches, among: Sequence[str]) -> dict[str, Side]:
    """The media of the rows of `batches`, and all their captions (those that differ), in their order."""
    rows = [batches.corpus.rows[index] for index in batches.indices]
    ids = [str(batches.corpus.ids[index]) for index in batches.indices]
    keys = [row.get("positives") or identity for row, identity in zip(rows, ids, strict=True)]
    media = [name for name in among if name != "text"]
    parts: dict[str, list[Tensor]] = {name: [] for name in media}
    for number in range(len(batches)):
        batch = batches.at(number).to(model.device)
        for name in media:
            parts[name].append(model.embed(name, *batch.inputs[name]))
    sides = {name: Side(ids, ids, ids, [], keys, torch.cat(parts[name]).float().cpu().numpy()) for name in media}
    if "text" in among:
        sides["text"] = _texts(model, rows, ids, keys, batches.batch_size)
    return sides


def _texts(
    model: MultimodalModel, rows: Sequence[Mapping[str, Any]], ids: list[str], keys: list[str], batch_size: int
) -> Side:
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
    return Side(names, owners, texts, tags, text_keys, torch.cat(parts).float().cpu().numpy())


def _differing(captions: Sequence[dict[str, Any]]) -> list[int]:
    """The places of the captions without repeated ones, in order."""
    places: dict[tuple[str, str], int] = {}
    for place, caption in enumerate(captions):
        places.setdefault((caption["text"], primary(caption["lang"])), place)
    return list(places.values())


@dataclass(frozen=True)
class Search:
    """Queries, what they search, which candidates are right for each, and what they found; `lang`: that of the texts,
    null where they are in two."""

    direction: str
    queries: Side
    candidates: Side
    right: Positives
    ranking: Ranking
    lang: str | None

    def rows(self, reranked: Array | None = None) -> list[dict[str, Any]]:
        """The predictions of every query; their ids name the language where there is one, for a row may ask in many.
        `reranked`: the rank of each after a second stage."""
        asked = self.queries
        return [
            {
                "id": "/".join([self.direction, *([self.lang] if self.lang else []), asked.owners[place]]),
                "input_id": asked.owners[place], "direction": self.direction, "query": asked.labels[place],
                "query_id": asked.ids[place], "lang": self.lang, "prediction": self.candidates.labels[top[0]],
                "references": [self.candidates.labels[i] for i in self.right[place]],
                "score": float(self.ranking.top_scores[place, 0]), "rank": int(self.ranking.ranks[place]),
                "reranked": None if reranked is None else int(reranked[place]),
                "candidates": len(self.candidates.ids), "top": [self.candidates.ids[i] for i in top[:SHOWN]],
                "top_scores": self.ranking.top_scores[place, :SHOWN].tolist(),
            }
            for place, top in enumerate(self.ranking.top)
        ]  # fmt: skip


def searches(sides: Mapping[str, Side], *, top: int = SHOWN) -> list[Search]:
    """Every direction between two of the sides, with texts once for each language; each query keeps its `top` best."""
    found = []
    for one, other in combinations(sides, 2):
        if "text" in (one, other):
            medium = one if other == "text" else other
            texts, media = sides["text"], sides[medium]
            for lang in texts.languages():
                found.append(_found(f"text_to_{medium}", texts.written_in(lang).first_of_each(), media, lang, top))
            for lang in texts.languages():
                own = texts.written_in(lang)
                found.append(_found(f"{medium}_to_text", _with_texts(media, own), own, lang, top))
        else:
            for asking, asked in ((one, other), (other, one)):
                found.append(_found(f"{asking}_to_{asked}", sides[asking], sides[asked], None, top))
    return found


def ranks(sides: Mapping[str, Side]) -> dict[str, Array]:
    """The ranks in every direction of `searches`, those of all languages one after another."""
    found: dict[str, list[Array]] = {}
    for one, other in combinations(sides, 2):
        if "text" in (one, other):
            medium = one if other == "text" else other
            media = sides[medium]
            for lang in sides["text"].languages():
                texts = sides["text"].written_in(lang)
                there, back = both_ways(media.vectors, texts.vectors, positive_sets(media.keys, texts.keys))
                found.setdefault(f"text_to_{medium}", []).append(back[texts.places_of(texts.first_of_each())])
                found.setdefault(f"{medium}_to_text", []).append(there[media.places_of(_with_texts(media, texts))])
        else:
            asking, asked = sides[one], sides[other]
            there, back = both_ways(asking.vectors, asked.vectors, positive_sets(asking.keys, asked.keys))
            found |= {f"{one}_to_{other}": [there], f"{other}_to_{one}": [back]}
    whole = {direction: np.concatenate(parts) for direction, parts in found.items()}
    assert all(own.all() for own in whole.values()), "a query without a right answer"
    return whole


def across(texts: Side) -> list[Search]:
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
                made.append(_found(f"{source}_to_{target}", asking, candidates, None, SHOWN))
    return made


def _with_texts(media: Side, texts: Side) -> Side:
    owners = set(texts.owners)
    return media.take([place for place, name in enumerate(media.owners) if name in owners])


def _found(direction: str, queries: Side, candidates: Side, lang: str | None, top: int) -> Search:
    right = positive_sets(queries.keys, candidates.keys)
    ranking = search(queries.vectors, candidates.vectors, right, top=top)
    return Search(direction, queries, candidates, right, ranking, lang)
