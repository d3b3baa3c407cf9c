"""Models that are smaller than they were trained: without their last layers, with weights set to zero, in int8.

Shapes: O outputs and I inputs of a layer, R rows, T tokens, D width.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 127  # of int8, to both sides alike
PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Int8(nn.Module):
    """Mixed into the class of a layer whose weight [O, ...] is held as whole numbers `values` [O, ...] from -127 to 127
    and one factor for each output, `scales` [O, 1 ...]. Where the layer asks for its weight, it gets their product."""

    values: Tensor
    scales: Tensor

    @property
    def weight(self) -> Tensor:
        return self.values * self.scales


class Int8Linear(Int8):
    """The inputs are rounded, too, each row by a factor of its own (dynamic quantisation), so the product is one of
    whole numbers. It is exact, and no row changes another one's outcome. Gradients take the way of floats."""

    bias: Tensor | None

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.requires_grad:
            return F.linear(inputs, self.weight, self.bias)
        rows_RI = inputs.reshape(-1, inputs.shape[-1])
        whole_RI, factors_R1 = rounded(rows_RI)
        if inputs.device.type == "cpu":
            # The product of int8 matrices that torch has; its public ones have one factor for all rows (quantized), so
            # that an answer would depend on what else is in the batch.
            products_RO = torch._int_mm(whole_RI.to(torch.int8), self.values.T)
        else:
            products_RO = F.linear(whole_RI, self.values.to(whole_RI.dtype))
        scaled_RO = products_RO * factors_R1 * self.scales.T
        return (scaled_RO if self.bias is None else scaled_RO + self.bias).view(*inputs.shape[:-1], len(self.values))


class Int8Embedding(Int8):
    """Only the vectors that are looked up become floats."""

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.values) * F.embedding(ids, self.scales)


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest whole numbers from -127 to 127, as floats, and the factor [O, 1 ...] of each row [O, ...]: what is
    largest in it, by 127. So an element is missed by half a factor at most."""
    largest = torch.linalg.vector_norm(weight, math.inf, tuple(range(1, weight.ndim)), keepdim=True)
    factors = (largest / LARGEST).clamp_(min=torch.finfo(largest.dtype).tiny)
    return (weight / factors).round_(), factors


def to_int8(model: nn.Module) -> None:
    """Make linear layers, convolutions and word vectors hold their weights in int8. Biases, norms and positions, few as
    they are, stay as they were; nothing of the model learns any more."""
    model.requires_grad_(False)
    for part in list(model.modules()):
        if isinstance(part, (*PRODUCTS, nn.Embedding)) and "weight" in part._parameters:
            layer: Any = part
            whole, factors = rounded(layer.weight)
            del layer.weight
            layer.register_buffer("values", whole.to(torch.int8))
            layer.register_buffer("scales", factors)
            layer.__class__ = _in_int8(type(layer))


def _in_int8(kind: type[nn.Module]) -> type[nn.Module]:
    """The class of such a layer; one with a way of its own to use its weight keeps to that."""
    own: type[Int8] = Int8
    for plain, other in ((nn.Linear, Int8Linear), (nn.Embedding, Int8Embedding)):
        own = other if kind.forward is plain.forward else own
    return type(f"Int8{kind.__name__}", (own, kind), {})


def in_float(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a model with those of its weights that are int8 as floats again."""
    stems = [name.removesuffix(".scales") for name in weights if name.endswith(".scales")]
    taken = {f"{stem}.{part}" for stem in stems for part in ("values", "scales")}
    plain = {name: tensor for name, tensor in weights.items() if name not in taken}
    return plain | {f"{stem}.weight": weights[f"{stem}.values"] * weights[f"{stem}.scales"] for stem in stems}


def prune(model: Any, share: float) -> dict[str, Tensor]:
    """Set the `share` of the weights that are nearest to zero to zero, over all linear layers and convolutions of
    encoders, projections, fusion and decoder together (global magnitude pruning; Han et al. 2015). Heads, word vectors,
    biases and norms stay. Returns the masks of what is left, by the weight's name."""
    weights = {
        f"{name}.weight": part.weight.detach()
        for name, part in model.named_modules()
        if isinstance(part, PRODUCTS)
        and "weight" in part._parameters
        and name.startswith(("encoders.", "projections.", "fusion.", "decoder."))
    }
    sizes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    least = round(share * len(sizes))
    limit = float(sizes.kthvalue(least).values) if least else -1.0
    masks = {name: weight.abs() > limit for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.mul_(masks[name])
    return masks


def stacks(model: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """The parts that have `layers` of ours, one after the other in `blocks`: name, part and what it is made of."""
    parts = [(name, part, model.settings.encoders[name]) for name, part in model.encoders.items()]
    for name, part, spec in [*parts, ("decoder", model.decoder, model.settings.decoder)]:
        if spec is not None and "layers" in spec and hasattr(part, "blocks"):
            yield name, part, spec


def drop_layers(model: Any, counts: Mapping[str, int]) -> None:
    """Take the last `counts` layers from these encoders and the `decoder` (of a network's layers those that can best be
    missed; Sajjad et al. 2020). What is left is made as if it had always had so few. ValueError for a part without
    layers of ours, or of which none would be left."""
    own = {name: (part, spec) for name, part, spec in stacks(model)}
    encoders, decoder = dict(model.settings.encoders), model.settings.decoder
    for name, count in counts.items():
        if name not in own:
            raise ValueError(f"drop_layers names '{name}', which has no layers to drop; there are: {', '.join(own)}")
        part, spec = own[name]
        left = len(part.blocks) - count
        if not 1 <= left <= len(part.blocks):
            raise ValueError(f"drop_layers takes {count} of {len(part.blocks)} layers of {name}; leave at least one")
        part.blocks = part.blocks[:left]
        if name == "decoder":
            decoder = {**spec, "layers": left}
        else:
            encoders[name] = {**spec, "layers": left}
    model.settings = dataclasses.replace(model.settings, encoders=encoders, decoder=decoder)
