"""The second stage of retrieval: the best that closeness has found, put in the order in which a part of the model that
looks at query and candidate together finds them likely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmcore.data.batches import Batches
from mmcore.metrics.ranking import Positives
from mmcore.models.multimodal import Input, MultimodalModel
from mmcore.registry import Table
from mmcore.tasks._searching import Search, Side

RERANKERS: Table[Any] = Table("reranker")


class Reranker(Protocol):
    """How likely a text and a medium belong together, for the best `places` of each query, between texts and the media
    `of`."""

    @property
    def of(self) -> Sequence[str]: ...
    @property
    def places(self) -> int: ...

    def missing(self, model: MultimodalModel, medium: str) -> str:
        """What the model lacks to tell it by, with the fix; empty if nothing."""

    def likelihood(self, model: MultimodalModel, ids: Tensor, mask: Tensor, medium: str, encoded: Input) -> Tensor:
        """A logarithm [P] for P texts as ids [P, T] with their mask, and the encoded media beside them."""


@RERANKERS.add("caption")
@dataclass(frozen=True)
class Caption:
    """The logarithm of the probability that the decoder writes that text about that medium. Among the texts for one
    medium, it favours those that are written often anyhow."""

    of: list[str]
    places: int

    def missing(self, model: MultimodalModel, medium: str) -> str:
        if model.decoder is not None:
            return ""
        return "retrieval re-ranks by captions, and the model has no decoder; set rerank to null"

    def likelihood(self, model: MultimodalModel, ids: Tensor, mask: Tensor, medium: str, encoded: Input) -> Tensor:
        logits_PTV = model.write(ids[:, :-1], {medium: encoded})
        found_PT = logits_PTV.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        return (found_PT * mask[:, 1:]).sum(1)


@RERANKERS.add("matching")
@dataclass(frozen=True)
class Matching:
    """The log odds of the head that the objective `matching` has trained."""

    of: list[str]
    places: int

    def missing(self, model: MultimodalModel, medium: str) -> str:
        if self._head(model, medium) is not None:
            return ""
        return (
            f"retrieval re-ranks by matching, and the model has no head for {medium} and text; add the objective "
            f"matching between [{medium}, text] to pretrain.objectives, or set rerank to null"
        )

    def likelihood(self, model: MultimodalModel, ids: Tensor, mask: Tensor, medium: str, encoded: Input) -> Tensor:
        head = self._head(model, medium)
        assert head is not None, self.missing(model, medium)
        return model.answer(head, {medium: encoded, "text": model.encode("text", ids, mask)}).flatten()

    def _head(self, model: MultimodalModel, medium: str) -> str | None:
        names = (f"matching_{medium}_text", f"matching_text_{medium}")
        return next((name for name in names if name in model.head_specs), None)


@torch.inference_mode()
def likelihoods(
    reranker: Reranker,
    model: MultimodalModel,
    batches: Batches,
    medium: str,
    texts: Sequence[str],
    pairs_P2: NDArray[np.int64],
) -> NDArray[np.float64]:
    """[P]: the likelihood of each pair (place in `texts`, place among the rows of `batches`); a medium is encoded once,
    whatever the number of its pairs."""
    found = np.zeros(len(pairs_P2))
    order = np.argsort(pairs_P2[:, 1], kind="stable")
    bounds = np.searchsorted(pairs_P2[order, 1], np.arange(len(batches) + 1) * batches.batch_size)
    for number in range(len(batches)):
        own = order[bounds[number] : bounds[number + 1]]
        if not len(own):
            continue
        tokens, there = model.encode(medium, *batches.at(number).to(model.device).inputs[medium])
        for start in range(0, len(own), batches.batch_size):
            chosen = own[start : start + batches.batch_size]
            ids, mask = model.processor.texts([texts[place] for place in pairs_P2[chosen, 0]])
            rows = torch.from_numpy(pairs_P2[chosen, 1] - number * batches.batch_size).to(model.device)
            value = reranker.likelihood(
                model, ids.to(model.device), mask.to(model.device), medium, (tokens[rows], there[rows])
            )
            found[chosen] = value.double().cpu().numpy()
    return found


def second_stage(
    reranker: Reranker, model: MultimodalModel, batches: Batches, sides: Mapping[str, Side], one: Search
) -> NDArray[np.int64] | None:
    """The rank [Q] of each query's best positive when the first `places` that it found are put in the order of their
    likelihood plus the logits of the contrast; ties count against it, and what was not among them keeps its rank. None
    where it is not asked for, and by a model that lacks what it takes. `batches`: the rows whose media are in
    `sides`."""
    source, _, target = one.direction.partition("_to_")
    medium = target if source == "text" else source
    if "text" not in (source, target) or medium not in reranker.of or reranker.missing(model, medium):
        return None
    top_QK = one.ranking.top[:, : reranker.places]
    asking, asked = sides[source].places_of(one.queries), sides[target].places_of(one.candidates)
    pairs = np.stack([np.repeat(asking, top_QK.shape[1]), asked[top_QK].ravel()], 1)
    likely = likelihoods(
        reranker, model, batches, medium, sides["text"].labels, pairs if source == "text" else pairs[:, ::-1]
    )
    if not np.isfinite(likely).all():
        raise ValueError("a score of the second stage is not finite; the part that re-ranks gives NaN or infinity")
    logits_QK = _scale(model, source, target) * one.ranking.top_scores[:, : reranker.places]
    scores_QK = likely.reshape(top_QK.shape) + logits_QK
    return reranked(one.ranking.ranks, top_QK, scores_QK, one.right)


def _scale(model: MultimodalModel, one: str, other: str) -> float:
    """What the contrast between the two multiplies cosines by."""
    own = [name for name in (f"contrast_{one}_{other}", f"contrast_{other}_{one}") if name in model.heads]
    scale = model.heads[own[0]](1)[0] if own else model.scale()
    return float(scale.detach())


def reranked(
    ranks_Q: NDArray[np.int64], top_QK: NDArray[np.int64], scores_QK: NDArray[np.float64], right: Positives
) -> NDArray[np.int64]:
    """The ranks when the first K candidates are put in the order of new scores, see `second_stage`."""
    found = ranks_Q.copy()
    for query, (top_K, scores_K, own) in enumerate(zip(top_QK, scores_QK, right, strict=True)):
        is_right = np.isin(top_K, own)
        if is_right.any():
            found[query] = 1 + int(((scores_K >= scores_K[is_right].max()) & ~is_right).sum())
    return found
