"""Linear layers on few rows, as a decoder needs them that writes word by word: reading the weights is all the time it
takes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary


def turned(weight_OI: Tensor, bias_O: Tensor) -> Callable[[Tensor], Tensor]:
    """A linear layer on few rows [N, I], without gradients, with its weights stored the other way round: such products
    read them faster so, and numpy's that of a single row faster still (docs/decisions.md). Call it `in_one_thread`."""
    weight_IO = _stored_by_input(weight_OI)
    as_numpy = weight_IO.detach().numpy() if _known_to_numpy(weight_IO) else None

    def product(rows_NI: Tensor) -> Tensor:
        if len(rows_NI) == 1 and as_numpy is not None:
            return torch.from_numpy(rows_NI.numpy() @ as_numpy).add_(bias_O)
        return torch.addmm(bias_O, rows_NI, weight_IO)

    return product


def in_one_thread() -> AbstractContextManager[Any]:
    """Within it numpy multiplies in one thread. Two would each be busy, mostly waiting, for half as many words in the
    same time of a processor."""
    libraries = _libraries()
    return nullcontext() if libraries is None else libraries.limit(limits=1)


@cache
def _libraries() -> Any:
    try:
        from threadpoolctl import ThreadpoolController  # noqa: PLC0415 (a machine that only trains may lack it)
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")


def _known_to_numpy(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)


def _stored_by_input(weight_OI: Tensor) -> Tensor:
    """The transpose [I, O], contiguous. Of weights that do not learn, as in a service, it is kept for the next time."""
    if weight_OI.requires_grad or weight_OI.is_inference() or not isinstance(weight_OI, nn.Parameter):
        return weight_OI.t().contiguous()
    state = weight_OI.data_ptr(), weight_OI._version
    if _TURNED.get(weight_OI, (None,))[0] != state:
        _TURNED[weight_OI] = state, weight_OI.t().contiguous()
    kept: Tensor = _TURNED[weight_OI][1]
    return kept


# What `_stored_by_input` has made, with the address and the version of the weights that it was made of.
_TURNED: Any = WeakIdKeyDictionary()
