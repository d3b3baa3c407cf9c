"""Contrast: what belongs together lies close in the shared space, everything else apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from mmcore.data.batches import Batch, Rows
from mmcore.models.losses import contrastive_loss, one_way_loss, sigmoid_loss, vc_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base
from mmcore.settings import Component

SIGLIP = "siglip"
FORMULAS = {"clip": contrastive_loss, "one_way": one_way_loss, "vc": vc_loss}


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """Contrast between each two of the inputs `among`, on samples that have all of them, by a `formula`:

    - `clip`: symmetric InfoNCE, each row's partner among all others in both directions;
    - `one_way`: only from the input that is named first to the other one;
    - `siglip`: every pair by itself, with a scale and a bias of its own for each two inputs;
    - `vc`: both directions in one denominator, without the positive.

    Their values do not compare with each other; they are written out in `models/losses.py`.
    """

    among: list[str]
    formula: str
    encoded = ()

    def __post_init__(self) -> None:
        if self.formula not in (*FORMULAS, SIGLIP):
            raise ValueError(
                f"the formula of contrast is '{self.formula}'; choose one of: {', '.join([*FORMULAS, SIGLIP])}"
            )
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

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {term: {"name": "pair_bias"} for term in self.terms} if self.formula == SIGLIP else {}

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        vectors = {name: model.embed(name, *batch.inputs[name]) for name in self.among}
        losses = {}
        for term, (one, other) in zip(self.terms, self.pairs, strict=True):
            same_BB, present_B = batch.same(one, other), batch.present(one, other)
            if self.formula == SIGLIP:
                scale, bias = model.heads[term](len(batch))
                value = sigmoid_loss(vectors[one], vectors[other], scale, bias, same_BB, present_B)
            else:
                value = FORMULAS[self.formula](vectors[one], vectors[other], model.scale(), same_BB, present_B)
            losses[term] = self.weight * value
        return losses
