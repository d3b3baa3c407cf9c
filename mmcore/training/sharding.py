"""Weights that no rank has all of: each holds its rows of every tensor (fully sharded data parallelism, FSDP2).

torch gathers a layer's weights when the layer computes, lets them go afterwards, and hands every rank its rows of the
mean gradient. What moves the weights, averages and saves them works on the rows alone, as on any tensors. Importing
this file imports torch's compiler: seconds, which trainings that are not sharded do not pay.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from mmcore.data import ranks
from mmcore.models.layers import Block, CrossingBlock, widened
from mmcore.models.multimodal import MultimodalModel
from mmcore.training.device import Device
from mmcore.training.optim import Weights

GATHERED_AT_ONCE = 1 << 24  # elements
Result = TypeVar("Result")


class Whole(nn.Module):
    """Runs `work` with those weights of `model` gathered that belong to no layer which is gathered by itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


class ShardedWeights(Weights):
    """The weights of a model of which each rank holds its rows: tensor by tensor the next ceil(rows / ranks).

    `whole` is left without weights until `restore`; what computes meanwhile, `model`, is a copy that shares nothing
    with it. Layers of transformers are gathered one at a time, all else for as long as a step computes. Single numbers
    (a temperature) are on every rank. In bf16 a layer is rounded when it is gathered, and gradients are added in
    float32.
    """

    together = True

    def __init__(self, whole: MultimodalModel, device: Device) -> None:
        self.whole, self._device = whole, device.torch
        self._mesh = init_device_mesh(device.torch.type, (ranks.size(),))
        parameters = list(whole.parameters())
        kept = {id(part): part for part in (*parameters, whole.processor)}
        model = copy.deepcopy(whole, kept)
        numbers = {parameter for parameter in parameters if not parameter.ndim}
        bf16 = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        policy = bf16 if device.precision == "bf16" else MixedPrecisionPolicy()
        root = Whole(model)
        units: list[Any] = [*layers_of(model), root]
        for unit in units:
            own = [p for p in unit.parameters() if not isinstance(p, DTensor) and p.ndim]
            # The root, too, lets go of its weights: a validation has no way back, after which it would.
            fully_shard(unit, mesh=self._mesh, mp_policy=policy, ignored_params=numbers, reshard_after_forward=True)
            for parameter in own:
                parameter.data = parameter.data.new_empty(0)
            if isinstance(unit, CrossingBlock):
                register_fsdp_forward_method(unit, "remember")
                # Keys and values are views, and nothing changes them in place.
                warnings.filterwarnings("ignore", r"FSDP2-wrapped module .* returned a view tensor")
        model.to(device.torch)
        self._root: Any = root
        for unit in (root, *units[:-1]):
            # What a layer is gathered into is made at its first use, which may be a validation in inference mode.
            unit.unshard()
            unit.reshard()
        super().__init__(model, "fp32")
        self.rounded = device.precision == "bf16"
        self.sharded = {name for name, parameter in self.own.items() if isinstance(parameter, DTensor)}
        self.exact = {name: _rows(parameter.detach()) for name, parameter in self.own.items()}

    def run(self, work: Callable[[], Result]) -> Result:
        return self._root(work)  # type: ignore[no-any-return]

    def collect(self) -> Tensor:
        self._exchange([p for name, p in self.own.items() if name not in self.sharded and p.requires_grad])
        self.gradients = {
            name: widened(_rows(parameter.grad)) for name, parameter in self.own.items() if parameter.grad is not None
        }
        shared = [gradient for name, gradient in self.gradients.items() if name in self.sharded]
        single = [gradient for name, gradient in self.gradients.items() if name not in self.sharded]
        total = torch.nn.utils.get_total_norm(shared).square()
        dist.all_reduce(total)
        return (total + torch.nn.utils.get_total_norm(single).square()).sqrt()

    def publish(self) -> None:
        """Nothing: the model gathers the rows as they are."""

    def saved(self, name: str, tensor: Tensor) -> bool:
        return ranks.rank() == 0 or self._split(name, tensor)

    def share(self, name: str, tensor: Tensor) -> Tensor:
        if self._split(name, tensor):
            return tensor.tensor_split(self._ends(len(tensor)))[ranks.rank()].clone()
        return tensor

    def in_full(self, names: Sequence[str], updates: Sequence[Tensor]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        full: dict[str, tuple[Tensor, Tensor]] = {}
        for number, (name, update) in enumerate(zip(names, updates, strict=True), start=1):
            full[name] = self._gathered(name, self.exact[name]), self._gathered(name, update)
            if number == len(names) or sum(weight.numel() for weight, _ in full.values()) >= GATHERED_AT_ONCE:
                yield full
                for moved, (weight, _) in full.items():
                    self.exact[moved].copy_(self.share(moved, weight))
                full = {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        parameters = dict(self.whole.named_parameters())
        for name, tensor in state.items():
            if name in parameters:
                parameters[name].data = self._gathered(name, tensor).cpu()
        self.whole.load_state_dict({name: t for name, t in state.items() if name not in parameters}, strict=False)
        self.whole.to(self._device).eval()

    def _split(self, name: str, tensor: Tensor) -> bool:
        return name in self.sharded and tensor.ndim > 0

    def _gathered(self, name: str, rows: Tensor) -> Tensor:
        """All rows of a tensor of which every rank has its own."""
        own: Any = self.own[name]
        if name not in self.sharded:
            return rows
        made = DTensor.from_local(
            rows, own.device_mesh, own.placements, run_check=False, shape=own.shape, stride=own.stride()
        )
        return made.full_tensor()

    def _ends(self, rows: int) -> list[int]:
        each = -(-rows // ranks.size())
        return [min(number * each, rows) for number in range(1, ranks.size())]


def _rows(tensor: Any) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers that are gathered one at a time: ours, and those of which transformers says that they belong on one
    device."""
    found: list[nn.Module] = []
    for network in model.modules():
        kinds = set(getattr(network, "_no_split_modules", None) or ())
        found += [part for part in network.modules() if kinds and type(part).__name__ in kinds]
    return list(dict.fromkeys([*found, *(part for part in model.modules() if isinstance(part, Block))]))
