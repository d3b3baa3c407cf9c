"""The weights that are trained, the optimiser, its schedule, and an average of the weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from mmcore.data import ranks
from mmcore.models.layers import widened
from mmcore.settings import OptimSettings

BETAS = (0.9, 0.98)
EPSILON = 1e-6


class Weights:
    """A model's weights as they are trained: in float32, whatever the model computes in.

    In bf16 the model holds a rounded copy, in which small updates would be lost; single numbers stay in float32 there,
    too. `exact`: the tensors by name. `gradients`: theirs after `collect`, without those that had none; frozen weights
    never have one.
    """

    def __init__(self, model: nn.Module, precision: str) -> None:
        self.model = model
        self.own = dict(model.named_parameters())
        self.exact: dict[str, Tensor] = {name: parameter.data for name, parameter in self.own.items()}
        self.gradients: dict[str, Tensor] = {}
        self._rounded = precision == "bf16"
        if self._rounded:
            self.exact = {name: widened(tensor).clone() for name, tensor in self.exact.items()}
            for parameter in self.own.values():
                if parameter.ndim:
                    parameter.data = parameter.data.bfloat16()

    def collect(self) -> Tensor:
        """Take the gradients over from the model, averaged over the ranks; returns their norm."""
        if ranks.size() > 1:
            self._exchange()
        self.gradients = {name: widened(p.grad) for name, p in self.own.items() if p.grad is not None}
        return torch.nn.utils.get_total_norm(list(self.gradients.values()))

    def _exchange(self) -> None:
        # A weight that took no part on one rank may have taken part on another.
        parameters = [parameter for parameter in self.own.values() if parameter.requires_grad]
        present = parameters[0].new_tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        ranks.average([present, *(p.grad for p in parameters if p.grad is not None)])
        for parameter, share in zip(parameters, present.tolist(), strict=True):
            if not share:
                parameter.grad = None

    def publish(self) -> None:
        """Let the model compute with the weights as they are now."""
        if self._rounded:
            torch._foreach_copy_([p.data for p in self.own.values()], [self.exact[name] for name in self.own])

    def state(self) -> dict[str, Tensor]:
        """The model's state with the exact weights."""
        return {name: self.exact.get(name, tensor) for name, tensor in self.model.state_dict().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` has given."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.publish()

    def restore(self) -> None:
        """Give the model the exact weights to keep."""
        for name, parameter in self.own.items():
            parameter.data = self.exact[name]


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), betas 0.9 and 0.98, by torch's fused kernel.

    Only matrices decay, not biases, norms, word vectors or positions. `rates`: factors on the learning rate by name,
    1 where there is none. torch's function, not its class: the class imports the compiler, a second or more in every
    process.
    """

    def __init__(self, weights: Weights, settings: OptimSettings, rates: Mapping[str, float]) -> None:
        self._weights, self._decay, self._rates = weights, settings.weight_decay, rates
        words = {id(p) for part in weights.model.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
        self.decaying = {
            name
            for name, parameter in weights.own.items()
            if parameter.ndim >= 2 and id(parameter) not in words and not name.endswith(".place")
        }
        self.slots: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every weight that has a gradient."""
        groups: dict[tuple[float, float], list[str]] = {}
        for name in self._weights.gradients:
            decay = self._decay if name in self.decaying else 0.0
            groups.setdefault((self._rates.get(name, 1.0), decay), []).append(name)
        for (factor, decay), names in groups.items():
            slots = [self.slots.get(name) or self._fresh(name) for name in names]
            adamw(
                [self._weights.exact[name] for name in names], [self._weights.gradients[name] for name in names],
                [slot["mean"] for slot in slots], [slot["square"] for slot in slots], [],
                [slot["steps"] for slot in slots], fused=True, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1],
                lr=rate * factor, weight_decay=decay, eps=EPSILON, maximize=False,
            )  # fmt: skip
        self._weights.publish()

    def _fresh(self, name: str) -> dict[str, Tensor]:
        weight = self._weights.exact[name]
        steps = torch.zeros((), dtype=torch.float32, device=weight.device)
        self.slots[name] = {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight), "steps": steps}
        return self.slots[name]


def clip(gradients: Mapping[str, Tensor], norm: Tensor, limit: float) -> None:
    """Scale the gradients down to the norm `limit` where theirs, `norm`, is larger."""
    torch._foreach_mul_(list(gradients.values()), (limit / (norm + 1e-6)).clamp(max=1.0))


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
    """An exponential moving average of a model's state; early on it follows faster."""

    def __init__(self, state: Mapping[str, Tensor], decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights = {name: tensor.detach().clone() for name, tensor in state.items()}

    @torch.no_grad()
    def update(self, state: Mapping[str, Tensor]) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.weights.values()), [state[name] for name in self.weights], 1 - decay)

    def load(self, weights: Mapping[str, Tensor], updates: int) -> None:
        self.updates = updates
        for name, tensor in weights.items():
            self.weights[name].copy_(tensor)
