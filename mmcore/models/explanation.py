"""How a model comes to what it says: where its layers look, and which of its tokens an answer hangs on.

Shapes: B batch, T tokens, S tokens that are attended to, D width, H heads.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from mmcore.models.layers import CrossAttention, SelfAttention, widened


@contextmanager
def attention_maps(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While the block runs, a dictionary that is filled with the weights [B, H, T, S] of every attention layer of ours
    that is called, by its name in the model; they sum to 1 over the tokens S that count.

    They are computed a second time, written out: what the layers themselves compute stays as it is.
    """
    maps: dict[str, Tensor] = {}

    def watch(name: str, layer: SelfAttention | CrossAttention) -> Any:
        def keep(_: nn.Module, given: tuple[Any, ...], options: dict[str, Any], __: Tensor) -> None:
            maps[name] = layer.weights(*given, **options).detach()

        return layer.register_forward_hook(keep, with_kwargs=True)

    layers = [(name, part) for name, part in model.named_modules() if isinstance(part, SelfAttention | CrossAttention)]
    hooks = [watch(name, part) for name, part in layers]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def explain(model: Any, inputs: Mapping[str, tuple[Tensor, Tensor]], head: str | None) -> dict[str, Any]:
    """See `MultimodalModel.explain`."""
    maps: dict[str, dict[str, Tensor]] = {}
    encoded = {}
    for kind, pair in inputs.items():  # by kind: texts of several kinds share an encoder
        with torch.no_grad(), attention_maps(model) as maps[kind]:
            encoded[kind] = model.encode(kind, *pair)
    with torch.no_grad(), attention_maps(model) as maps["fuse"]:
        vectors = {kind: model.project(kind, *pair) for kind, pair in encoded.items()}
        lengths = {
            kind: (widened(tokens).norm(dim=-1) * mask).sum(1) / mask.sum(1).clamp(min=1)
            for kind, (tokens, mask) in encoded.items()
        }
        links = {f"{one}_{other}": (vectors[one] * vectors[other]).sum(-1) for one, other in combinations(vectors, 2)}
        told: dict[str, Any] = {"extract": lengths, "link": links}
        fused = None
        if head is not None:
            told["task"] = model.answer(head, encoded)
            own: Any = model.heads[head]
            fused = own.fuse(encoded) if hasattr(own, "fuse") else None
        elif model.fusion is not None:
            fused = model.fusion(encoded)
        if fused is not None:
            told["fuse"] = {kind: fused.weights[:, number] for number, kind in enumerate(fused.names)}
    if head is not None:
        told["relevance"] = relevance(model, encoded, head)
    return {**told, "attend": maps}


def relevance(model: Any, encoded: Mapping[str, tuple[Tensor, Tensor]], head: str) -> dict[str, Tensor]:
    """By modality how much each token [B, T] speaks for the likeliest answer of the head: the answer's gradient times
    the token, which is what the answer would gain if the token grew by so much (gradient times input; Shrikumar et al.
    2016). Zero where no token counts."""
    with torch.inference_mode(False), torch.enable_grad():
        tokens = {kind: values.clone().requires_grad_() for kind, (values, _) in encoded.items()}
        answers = model.answer(head, {kind: (tokens[kind], mask.clone()) for kind, (_, mask) in encoded.items()})
        best_B = answers.max(-1).values if answers.ndim > 1 else answers
        slopes = torch.autograd.grad(best_B.sum(), list(tokens.values()), allow_unused=True)
    found = {}
    for (kind, values_BTD), slope_BTD in zip(tokens.items(), slopes, strict=True):
        own_BT = (values_BTD * (torch.zeros_like(values_BTD) if slope_BTD is None else slope_BTD)).sum(-1)
        found[kind] = own_BT.detach() * encoded[kind][1]
    return found
