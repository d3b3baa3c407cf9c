"""What of a pretrained model learns in a fine-tuning: all of it, or a small part.

What can be folded into the weights is, afterwards; what cannot is part of the model that is saved. So serving knows
nothing of how a model was trained.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmcore.models.bottlenecks import Bottlenecks
from mmcore.models.multimodal import MultimodalModel
from mmcore.registry import Table


class Adapter(Protocol):
    """What is done to a model before it is fine-tuned, and taken back after it."""

    def check(self, model: MultimodalModel) -> None:
        """ValueError for a model that cannot be fine-tuned so."""

    def attach(self, model: MultimodalModel, heads: Collection[str]) -> None:
        """Freeze the model but for those of its heads, and add what learns instead."""

    def fold(self, model: MultimodalModel) -> None:
        """Leave the model as it is made, with what was learned in its weights."""


ADAPTERS: Table[type[Adapter]] = Table("adapter")


@ADAPTERS.add("heads")
@dataclass(frozen=True)
class Heads:
    """The heads of the task alone: a probe of what pretraining has learned (linear, if the head is)."""

    def check(self, model: MultimodalModel) -> None:
        pass

    def attach(self, model: MultimodalModel, heads: Collection[str]) -> None:
        if not heads:
            raise ValueError("the adapter heads lets the heads of the task learn, and it has none; choose lora or null")
        _freeze(model, heads)

    def fold(self, model: MultimodalModel) -> None:
        pass


@ADAPTERS.add("lora")
@dataclass(frozen=True)
class Lora:
    """Beside every linear layer of encoders, decoder and projections a product of two matrices of `rank`, times
    `scale` / `rank`, at first zero: W + scale / rank * B A (Hu et al. 2021). Layers that modalities share (frames of
    clips and pictures, transcripts and captions, the decoder) share what is learned. The task's heads learn as they
    are."""

    rank: int
    scale: float

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"the rank of lora is {self.rank}; choose 1 or more")

    def check(self, model: MultimodalModel) -> None:
        pass

    def attach(self, model: MultimodalModel, heads: Collection[str]) -> None:
        _freeze(model, heads)
        for layer in _linear(model):
            parametrize.register_parametrization(layer, "weight", LowRank(layer, self.rank, self.scale / self.rank))

    def fold(self, model: MultimodalModel) -> None:
        for layer in _linear(model):
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


@ADAPTERS.add("bottleneck")
@dataclass(frozen=True)
class Bottleneck:
    """Narrow layers, `size` numbers wide, in the encoders `among`, with weights that these share: see
    `mmcore.models.bottlenecks`. They stay in the model. The task's heads learn as they are."""

    size: int
    among: list[str]

    def check(self, model: MultimodalModel) -> None:
        Bottlenecks(model.encoders, model.settings.width, size=self.size, among=self.among)

    def attach(self, model: MultimodalModel, heads: Collection[str]) -> None:
        _freeze(model, heads)
        model.add_bottlenecks({"size": self.size, "among": self.among})
        assert model.bottlenecks is not None
        model.bottlenecks.requires_grad_(True)

    def fold(self, model: MultimodalModel) -> None:
        pass


class LowRank(nn.Module):
    """A matrix [O, I] plus `factor` times `up` [O, R] times `down` [R, I]."""

    def __init__(self, layer: nn.Linear, rank: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, weight_OI: Tensor) -> Tensor:
        return weight_OI + self.factor * (self.up @ self.down)


def _linear(model: MultimodalModel) -> list[nn.Linear]:
    parts = [model.encoders, model.projections, *([model.decoder] if model.decoder is not None else [])]
    return [module for part in parts for module in part.modules() if isinstance(module, nn.Linear)]


def _freeze(model: MultimodalModel, heads: Collection[str]) -> None:
    kept = tuple(f"heads.{name}." for name in heads)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name.startswith(kept))
