"""Counts the floating point operations of training steps, and leaves the steps as they are."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_FORMULAS: dict[Any, Callable[..., int]] = dict(flop_registry)
_ATEN = torch.ops.aten
_ATTENTION = _FORMULAS[_ATEN._scaled_dot_product_flash_attention]


def _backward(_: Any, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> int:
    """Twice the way forwards, as of any product: kernels that compute scores again have no more learned by it."""
    return 2 * _ATTENTION(query, key, value)


# torch has no formula for attention on processors.
_FORMULAS[_ATEN._scaled_dot_product_flash_attention_for_cpu] = _ATTENTION
for _kernel in ("flash_attention", "efficient_attention", "cudnn_attention"):
    _FORMULAS[getattr(_ATEN, f"_scaled_dot_product_{_kernel}_backward")] = _backward
_FORMULAS[_ATEN._scaled_dot_product_flash_attention_for_cpu_backward] = _backward


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """`total`: the operations of what runs in its block: multiplications and additions of products of matrices, of
    convolutions and of attention. Every kernel is called as it would be without, so the results are the same bits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch imports its compiler, two seconds in every process, to keep it out of what is below.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


class Effort:
    """The operations of a training's steps. Counting slows a step, so the first of each kind is counted and the others
    are taken to need as many, although their texts may be somewhat longer or shorter."""

    def __init__(self) -> None:
        self._each: dict[Hashable, int] = {}

    @contextmanager
    def of(self, kind: Hashable) -> Iterator[None]:
        """Count what runs in the block, unless a step of this kind has been counted."""
        if kind in self._each:
            yield
            return
        with Operations() as counted:
            yield
        self._each[kind] = counted.total

    def __getitem__(self, kind: Hashable) -> int:
        """Of one step of this kind, by this rank."""
        return self._each[kind]
