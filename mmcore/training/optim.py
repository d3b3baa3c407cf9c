"""The weights that are trained, the optimiser, its schedule, and an average of the weights."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from mmcore.data import ranks
from mmcore.models.layers import Stacked, widened
from mmcore.settings import OptimSettings

BETAS = (0.9, 0.98)
EPSILON = 1e-6
MOMENTUM = 0.95
Result = TypeVar("Result")


class Weights:
    """A model's weights as they are trained: in float32, whatever the model computes in.

    In bf16 the model holds a rounded copy, in which small updates would be lost; single numbers stay in float32 there,
    too. `exact`: the tensors by name; `rounded`: whether the model has copies. `gradients`: theirs after `collect`,
    without those that had none; frozen weights never have one. `masks`, by name: where a weight may move; elsewhere it
    is zero and stays zero. `together`: whether the model computes on all ranks at once, or on none.
    """

    together = False

    def __init__(self, model: nn.Module, precision: str, masks: Mapping[str, Tensor] | None = None) -> None:
        self.model = model
        self.own = dict(model.named_parameters())
        self.exact: dict[str, Tensor] = {name: parameter.data for name, parameter in self.own.items()}
        self.gradients: dict[str, Tensor] = {}
        self.masks = {name: mask.to(self.exact[name].device) for name, mask in (masks or {}).items()}
        self.rounded = precision == "bf16"
        if self.rounded:
            self.exact = {name: widened(tensor).clone() for name, tensor in self.exact.items()}
            for parameter in self.own.values():
                if parameter.ndim:
                    parameter.data = parameter.data.bfloat16()

    def run(self, work: Callable[[], Result]) -> Result:
        """What `work`, which computes with the model, returns."""
        return work()

    def clear(self) -> None:
        """Forget the gradients. Not by the model's own `zero_grad`, which looks for its weights every time anew."""
        for parameter in self.own.values():
            parameter.grad = None

    def collect(self) -> Tensor:
        """Take the gradients over from the model, averaged over the ranks; returns their norm."""
        if ranks.size() > 1:
            self._exchange([parameter for parameter in self.own.values() if parameter.requires_grad])
        self.gradients = {name: widened(p.grad) for name, p in self.own.items() if p.grad is not None}
        for name in self.gradients.keys() & self.masks.keys():
            self.gradients[name] *= self.masks[name]
        return torch.nn.utils.get_total_norm(list(self.gradients.values()))

    def _exchange(self, parameters: Sequence[nn.Parameter]) -> None:
        if not parameters:
            return
        # A weight that took no part on one rank may have taken part on another.
        present = parameters[0].new_tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        ranks.average([present, *(p.grad for p in parameters if p.grad is not None)])
        for parameter, share in zip(parameters, present.tolist(), strict=True):
            if not share:
                parameter.grad = None

    def publish(self) -> None:
        """Let the model compute with the weights as they are now, with zero where they are to be zero."""
        for name, mask in self.masks.items():
            self.exact[name] *= mask
        if self.rounded:
            torch._foreach_copy_([p.data for p in self.own.values()], [self.exact[name] for name in self.own])

    def state(self) -> dict[str, Tensor]:
        """The model's state with the exact weights."""
        return {name: self.exact.get(name, tensor) for name, tensor in self.model.state_dict().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` has given."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.publish()

    def saved(self, name: str, tensor: Tensor) -> bool:
        """Whether this rank is to save the `tensor` that belongs to the weight of this name."""
        return ranks.rank() == 0

    def share(self, name: str, tensor: Tensor) -> Tensor:
        """What this rank works with of a saved `tensor` that belongs to the weight of this name."""
        return tensor

    def in_full(self, names: Sequence[str], updates: Sequence[Tensor]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        """The weights of these names, each with the tensor that belongs to it, as many at once as may be; what is done
        to the weights before the next are asked for counts."""
        yield {name: (self.exact[name], update) for name, update in zip(names, updates, strict=True)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Leave the model, in evaluation mode, with the exact weights `state`."""
        for name, parameter in self.own.items():
            parameter.data = self.exact[name]
        self.model.load_state_dict(state)
        self.model.eval()


class Optimiser:
    """What moves the weights, `settings.algorithm`:

    - `adamw`: Adam with decoupled weight decay (Loshchilov and Hutter 2019), betas 0.9 and 0.98, by torch's fused
      kernel. torch's function, not its class: the class imports the compiler, a second or more in every process.
    - `muon`: layers' matrices by Muon (Jordan et al. 2024), all else by AdamW. The step of a matrix is what is nearest
      to its gradients' momentum among the matrices that turn and do not stretch, times 0.2 sqrt(longer side): about as
      long as one of AdamW (Liu et al. 2025), so both take the same rate and decay. Layers that are `Stacked` are
      several matrices.

    Only matrices decay, not biases, norms (of weights too), word vectors or positions. `rates`: factors on the learning
    rate by name, 1 where there is none.
    """

    def __init__(self, weights: Weights, settings: OptimSettings, rates: Mapping[str, float]) -> None:
        self._weights, self._decay, self._rates = weights, settings.weight_decay, rates
        words = {id(p) for part in weights.model.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
        self.decaying = {
            name
            for name, parameter in weights.own.items()
            if parameter.ndim >= 2 and id(parameter) not in words and not name.endswith((".place", ".original0"))
        }
        self.turning = self.decaying if settings.algorithm == "muon" else set()
        self._stacked = {
            f"{name}.weight": part.count for name, part in weights.model.named_modules() if isinstance(part, Stacked)
        }
        self.slots: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every weight that has a gradient."""
        groups: dict[tuple[bool, float, float], list[str]] = {}
        for name in self._weights.gradients:
            decay = self._decay if name in self.decaying else 0.0
            groups.setdefault((name in self.turning, self._rates.get(name, 1.0), decay), []).append(name)
        for (turning, factor, decay), names in groups.items():
            (self._turn if turning else self._adapt)(names, rate * factor, decay)
        self._weights.publish()

    def _adapt(self, names: Sequence[str], rate: float, decay: float) -> None:
        slots = [self._slots(name, "mean", "square", "steps") for name in names]
        adamw(
            [self._weights.exact[name] for name in names], [self._weights.gradients[name] for name in names],
            [slot["mean"] for slot in slots], [slot["square"] for slot in slots], [],
            [slot["steps"] for slot in slots], fused=True, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1],
            lr=rate, weight_decay=decay, eps=EPSILON, maximize=False,
        )  # fmt: skip

    def _turn(self, names: Sequence[str], rate: float, decay: float) -> None:
        gradients = [self._weights.gradients[name] for name in names]
        momenta = [self._slots(name, "momentum")["momentum"] for name in names]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        for pairs in self._weights.in_full(names, ahead):
            self._move(pairs, rate, decay)

    def _move(self, pairs: Mapping[str, tuple[Tensor, Tensor]], rate: float, decay: float) -> None:
        """Move weights along their updates, turned."""
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for name, (weight, update) in pairs.items():
            count = self._stacked.get(name, 1)
            # Lying, so that matrices of either direction are one product.
            flat = weight.view(len(weight), -1), update.reshape(len(update), -1)  # what moves is the weight itself
            for own_RC, update_RC in zip(*(part.chunk(count) for part in flat), strict=True):
                if len(own_RC) > own_RC.shape[1]:
                    own_RC, update_RC = own_RC.T, update_RC.T
                alike.setdefault(tuple(own_RC.shape), []).append((own_RC, update_RC))
        for (_, longer), parts in alike.items():
            weights, updates = zip(*parts, strict=True)
            stacked_NRC = torch.stack(updates)
            directions = turning(stacked_NRC.bfloat16() if self._weights.rounded else stacked_NRC).to(stacked_NRC.dtype)
            torch._foreach_mul_(weights, 1 - rate * decay)
            torch._foreach_add_(weights, directions.unbind(), alpha=-rate * 0.2 * math.sqrt(longer))

    def _slots(self, name: str, *kinds: str) -> dict[str, Tensor]:
        if name not in self.slots:
            weight = self._weights.exact[name]
            self.slots[name] = {
                kind: torch.zeros((), dtype=torch.float32, device=weight.device)
                if kind == "steps"
                else torch.zeros_like(weight)
                for kind in kinds
            }
        return self.slots[name]


def turning(matrices_NRC: Tensor) -> Tensor:
    """Of each matrix with no more rows than columns what is left of it with singular values near 1 (0.7 to 1.2): five
    steps of a quintic Newton-Schulz iteration with the coefficients of Jordan et al. 2024."""
    lengths_N11 = widened(matrices_NRC).flatten(1).norm(dim=1)[:, None, None]
    state_NRC: Tensor = matrices_NRC / lengths_N11.clamp(min=1e-7).to(matrices_NRC.dtype)
    for _ in range(5):
        squared_NRR = state_NRC @ state_NRC.mT
        factor_NRR = torch.baddbmm(squared_NRR, squared_NRR, squared_NRR, beta=-4.7750, alpha=2.0315)
        state_NRC = torch.baddbmm(state_NRC, factor_NRR, state_NRC, beta=3.4445)
    return state_NRC


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
