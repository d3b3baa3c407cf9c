"""Part of the way back: what a training leaves, blended with what it began with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmcore.data.batches import Rows
from mmcore.models.multimodal import MultimodalModel
from mmcore.settings import Component, OptimSettings
from mmcore.training.fit import FitResult, Learner, validated


def check_share(optim: OptimSettings, section: str, init: str) -> None:
    """ValueError that names the `section` unless `optim.start_share` is a share, and 0 where `init` is scratch."""
    share = optim.start_share
    if not 0 <= share < 1:
        raise ValueError(f"{section}.optim.start_share is {share}; set it from 0 (what was learned alone) to below 1")
    if share and init == "scratch":
        raise ValueError(
            f"{section}.optim.start_share is {share}, and random weights are nothing to go back to; set it to 0, or "
            f"{section}.init to a model"
        )


@dataclass(frozen=True)
class Start:
    """What a model was before it was trained: its weights, and what its heads were made of."""

    weights: Mapping[str, Tensor]
    heads: Mapping[str, Component]

    @classmethod
    def of(cls, model: MultimodalModel) -> "Start":
        """A copy, kept in the memory of the processor."""
        weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
        return cls(weights, dict(model.head_specs))

    def blend(
        self, model: MultimodalModel, learner: Learner, validation: Rows, optim: OptimSettings, result: FitResult
    ) -> tuple[FitResult, str]:
        """Give the trained model `share` * start + (1 - `share`) * learned for each of its tensors, `share` being
        `optim.start_share` (WiSE-FT, Wortsman et al. 2022), and validate it again. What the start had not, or made
        otherwise, stays as it was learned.

        Returns the result with the numbers of the weights that the model now has, and a line with those before.
        """
        learned = ", ".join(f"{name} {value:.4g}" for name, value in result.validation.items())
        self._mix(model, optim.start_share)
        numbers = validated(model, learner, validation, batch_size=optim.batch_size)
        line = (
            f"start_share: the weights are {optim.start_share:g} of those before the training and "
            f"{1 - optim.start_share:g} of those learned, whose validation was {learned}"
        )
        return replace(result, validation=numbers), line

    @torch.no_grad()
    def _mix(self, model: MultimodalModel, share: float) -> None:
        others = tuple(f"heads.{name}." for name, spec in model.head_specs.items() if self.heads.get(name) != spec)
        for name, tensor in model.state_dict().items():
            if name in self.weights and tensor.is_floating_point() and not name.startswith(others):
                tensor.lerp_(self.weights[name].to(tensor.device), share)
