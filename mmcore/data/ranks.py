"""The processes that train one model together (`ranks`), and what they exchange; alone, everything here is nothing.

Every rank draws the same batch and takes its share of the rows, so the order of the samples does not depend on how
many ranks there are. A loss is a sum over own rows divided by the count over all of them (`mean_count`): averaged over
the ranks it is the loss of the whole batch, and so is its gradient.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

COPIED_AT_ONCE = 1 << 26
TOLD = 1 << 10  # bytes
# Of the thread that has entered `alone`: another one may be drawing a batch for all ranks meanwhile.
_alone: ContextVar[bool] = ContextVar("alone", default=False)


def size() -> int:
    """How many processes train together; 1 alone."""
    return dist.get_world_size() if dist.is_initialized() and not _alone.get() else 1


def rank() -> int:
    """The number of this one, 0 and up."""
    return dist.get_rank() if dist.is_initialized() and not _alone.get() else 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let this rank work for itself while the block runs, as in an evaluation that one of them makes for all."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


def begin(device: torch.device) -> None:
    """Join the ranks that torchrun has started; nothing where it has not."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
        # With gloo beside NCCL: small news travels from processor to processor.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")


def end() -> None:
    """Leave them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def share(count: int, of: int | None = None) -> slice:
    """The rows of `count` that are this rank's (or rank `of`'s): in order, as even as possible, all over the ranks."""
    number = rank() if of is None else of
    return slice(count * number // size(), count * (number + 1) // size())


def gathered(rows: Tensor, count: int) -> Tensor:
    """The `count` rows of which every rank has its share; a gradient finds its way back to where a row came from."""
    return rows if size() == 1 else _Gather.apply(rows, count)  # type: ignore[no-untyped-call]


def largest(number: int) -> int:
    """The largest `number` of all ranks."""
    if size() == 1:
        return number
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def mean_count(count: Tensor) -> Tensor:
    """The mean of `count` over the ranks, at least a share of one."""
    total = count.detach().float()
    if size() > 1:
        total = total.clone()
        dist.all_reduce(total)
    return total.clamp(min=1) / size()


def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks, in one exchange."""
    if size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= size()
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def from_first(values: dict[str, float]) -> dict[str, float]:
    """What rank 0 has for `values`, on every rank."""
    if size() == 1:
        return values
    content = torch.tensor(list(json.dumps(values).encode()) if rank() == 0 else [], dtype=torch.uint8)
    length = torch.tensor(len(content))
    dist.broadcast(length, 0)
    content = content if rank() == 0 else torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(content, 0)
    return dict(json.loads(bytes(content.tolist())))


class Crew:
    """The ranks as they do something together beside the training, each in a thread: with an exchange of their own."""

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo") if size() > 1 else None

    def each(self, work: Callable[[], str]) -> list[str]:
        """What `work`, which every rank does by itself, returned on each of them. OSError on all if it raised one on
        any of them."""
        if self._group is None:
            return [work()]
        try:
            told, failed = work(), False
        except OSError as error:
            told, failed = f"rank {rank()}: {error}", True
        content = torch.tensor([failed, *told.encode()][:TOLD], dtype=torch.uint8)
        lengths, contents = (
            [torch.empty_like(own) for _ in range(size())] for own in (torch.tensor(0), torch.empty(TOLD).byte())
        )
        dist.all_gather(lengths, torch.tensor(len(content)), self._group)
        dist.all_gather(contents, F.pad(content, (0, TOLD - len(content))), self._group)
        words = [
            bytes(one[1 : int(length)].tolist()).decode(errors="ignore")
            for one, length in zip(contents, lengths, strict=True)
        ]
        for one, word in zip(contents, words, strict=True):
            if one[0]:
                raise OSError(word)
        return words


def copy_files(folder: Path) -> None:
    """Give the files that rank 0 has written into its `folder` to the first rank of each other machine, for the folder
    that this one has."""
    if size() == 1 or os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:
        return
    files = sorted(path for path in folder.iterdir() if path.is_file()) if rank() == 0 else []
    lengths = from_first({path.name: float(path.stat().st_size) for path in files})
    receives = os.environ["GROUP_RANK"] != "0" and os.environ["LOCAL_RANK"] == "0"
    for name, length in lengths.items():
        with contextlib.ExitStack() as opened:
            read = opened.enter_context(open(folder / name, "rb")) if rank() == 0 else None
            written = opened.enter_context(open(folder / name, "wb")) if receives else None
            for start in range(0, int(length), COPIED_AT_ONCE):
                part = torch.empty(min(COPIED_AT_ONCE, int(length) - start), dtype=torch.uint8)
                if read is not None:
                    part = torch.frombuffer(bytearray(read.read(len(part))), dtype=torch.uint8)
                dist.broadcast(part, 0)
                if written is not None:
                    written.write(part.numpy().tobytes())


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum of what all ranks made of this rank's rows."""

    @staticmethod
    def forward(context: Any, rows: Tensor, count: int) -> Tensor:
        shares = [share(count, of=number) for number in range(size())]
        lengths = [part.stop - part.start for part in shares]
        assert len(rows) == lengths[rank()], (len(rows), lengths)
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in shares]
        dist.all_gather(parts, padded)
        context.count = count
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[share(context.count)], None
