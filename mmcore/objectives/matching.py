"""Matching: telling a pair that belongs together from the pairs that are easily taken for one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcore.data import ranks
from mmcore.data.batches import Batch, Rows
from mmcore.models.losses import hard_negatives, matching_loss
from mmcore.models.multimodal import Input, MultimodalModel
from mmcore.objectives import Base
from mmcore.settings import Component


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """Whether two inputs, those `between` which, belong together, by a head with a `fusion` of its own.

    Every pair of the batch is set beside two hard negatives: its first input with another row's second one and the
    reverse, drawn by how close they are in the shared space, which a `contrast` is to shape. What belongs together is
    never drawn; a batch with one sample has positives alone. (Li et al. 2021, ALBEF.)
    """

    between: list[str]
    fusion: Component

    def __post_init__(self) -> None:
        if len(set(self.between)) != 2 or len(self.between) != 2:
            raise ValueError(f"matching is between two different inputs, not {self.between}")

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.between)

    @property
    def terms(self) -> list[str]:
        return ["matching_" + "_".join(self.between)]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {self.terms[0]: {"name": "match", "inputs": self.between, "fusion": self.fusion}}

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        one, other = self.between
        # With their graph, for where the model remembers them other objectives need it.
        left_BE, right_BE = (model.embed(name, *batch.inputs[name]) for name in self.between)
        present_B = batch.present(one, other)
        (right_B, right_there_B), (left_B, left_there_B) = hard_negatives(
            left_BE, right_BE, model.scale(), batch.same(one, other), present_B
        )
        left, right = (model.encode(name, *batch.inputs[name]) for name in self.between)
        lefts, rights = (_of_all_ranks(side, len(batch)) for side in (left, right))
        pairs = {
            one: _stacked(left, left, _chosen(lefts, left_B)),
            other: _stacked(right, _chosen(rights, right_B), right),
        }
        logits = model.answer(self.terms[0], pairs).reshape(3, -1)
        counted = torch.stack([present_B, present_B & right_there_B, present_B & left_there_B])
        targets = torch.zeros_like(logits)
        targets[0] = 1
        return {self.terms[0]: self.weight * matching_loss(logits, targets, counted)}


def _of_all_ranks(side: Input, count: int) -> Input:
    tokens_BTD, mask_BT = side
    beyond = ranks.largest(tokens_BTD.shape[1]) - tokens_BTD.shape[1]
    mask_GT = ranks.gathered(F.pad(mask_BT.float(), (0, beyond)), count) > 0
    return ranks.gathered(F.pad(tokens_BTD, (0, 0, 0, beyond)), count), mask_GT


def _chosen(side: Input, places_B: Tensor) -> Input:
    return side[0][places_B], side[1][places_B]


def _stacked(*sides: Input) -> Input:
    """One below the other, all as long as the longest."""
    longest = max(mask.shape[1] for _, mask in sides)
    tokens = [F.pad(tokens_BTD, (0, 0, 0, longest - tokens_BTD.shape[1])) for tokens_BTD, _ in sides]
    return torch.cat(tokens), torch.cat([F.pad(mask, (0, longest - mask.shape[1])) for _, mask in sides])
