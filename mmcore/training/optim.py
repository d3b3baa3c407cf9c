"""The optimiser, its schedule, and an average of the weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmcore.settings import OptimSettings


def optimiser(model: nn.Module, settings: OptimSettings) -> torch.optim.AdamW:
    """AdamW (betas 0.9 and 0.98), fused; only matrices decay, not biases, norms, word vectors or positions."""
    words = {parameter for part in model.modules() if isinstance(part, nn.Embedding) for parameter in part.parameters()}
    decaying: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        spared = parameter.ndim < 2 or parameter in words or name.endswith(".place")
        (free if spared else decaying).append(parameter)
    groups = [{"params": decaying, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


def learning_rate(settings: OptimSettings, step: int, seconds: float) -> float:
    """The rate of step `step` (0 and up): linear warm-up, then a cosine to zero at the end of the steps, or of
    `max_seconds` if that comes first."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    if settings.max_seconds is not None:
        share = max(share, seconds / settings.max_seconds)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


class Average:
    """An exponential moving average of a model's weights; early on it follows them faster."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        own = model.state_dict()
        torch._foreach_lerp_(list(self.weights.values()), [own[name] for name in self.weights], 1 - decay)

    def load(self, weights: Mapping[str, Tensor], updates: int) -> None:
        self.updates = updates
        for name, tensor in weights.items():
            self.weights[name].copy_(tensor)
