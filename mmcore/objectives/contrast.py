"""Contrast: what belongs together lies close in the shared space, everything else apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from mmcore.data.batches import Batch
from mmcore.models.losses import contrastive_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """Symmetric InfoNCE between each two of the inputs `among`, on samples that have all of them."""

    among: list[str]

    def __post_init__(self) -> None:
        if len(set(self.among)) != len(self.among) or len(self.among) < 2:
            raise ValueError(f"contrast needs two different inputs or more, not {self.among}")

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.among)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(combinations(self.among, 2))

    @property
    def terms(self) -> list[str]:
        return [f"contrast_{one}_{other}" for one, other in self.pairs]

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        vectors = {name: model.embed(name, *batch.inputs[name]) for name in self.among}
        losses = {}
        for term, (one, other) in zip(self.terms, self.pairs, strict=True):
            same_BB = _same(batch.same_BB, one, other)
            present_B = batch.present(one, other)
            value = contrastive_loss(vectors[one], vectors[other], model.scale(), same_BB, present_B)
            losses[term] = self.weight * value
        return losses


def _same(same_BB: Tensor, one: str, other: str) -> Tensor:
    """Which of the left belong to which of the right. A batch says whose text fits whom: with the text on the right,
    rows and columns change places; media are alike if either's text fits the other."""
    if one == "text":
        return same_BB
    return same_BB.T if other == "text" else same_BB | same_BB.T
