"""Narrow layers between the encoders: what learns of a model whose own weights stay as they are.

Behind each of the two parts of a transformer layer (attention, feed-forward) stands x + up(GELU(down(x))), `size`
numbers wide in the middle (Houlsby et al. 2019). Each modality goes down by a matrix of its own; the way up is one for
all modalities, layer by layer, counted from the last one, so that what one modality learns moves the others in the
same directions (Jiang et al. 2022, Cross-Modal Adapter). `up` begins as zero, so the model begins as it is.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.layers import Block, initialise

PARTS = ("attention", "feed")


class Bottleneck(nn.Module):
    """What a part of a layer says [B, T, D], with `up(GELU(down(...)))` added to it."""

    def __init__(self, width: int, size: int, up: nn.Linear) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        # In a tuple, so that what is shared is registered and saved once.
        self._up = (up,)

    def forward(self, said_BTD: Tensor) -> Tensor:
        return said_BTD + self._up[0](F.gelu(self.down(said_BTD)))  # type: ignore[no-any-return]


class Bottlenecks(nn.Module):
    """The bottlenecks of the encoders `among`, `size` numbers wide; `place` puts them into the encoders' layers.

    ValueError for fewer than two modalities, or for an encoder without a transformer layer of ours.
    """

    def __init__(self, encoders: nn.ModuleDict, width: int, *, size: int, among: Sequence[str]) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"the size of bottleneck is {size}; choose 1 or more")
        if len(among) < 2 or len(set(among)) != len(among):
            raise ValueError(
                f"bottleneck shares weights among {list(among)}; name two or more different modalities, or choose lora"
            )
        self.blocks = {name: _blocks(encoders, name) for name in among}
        deepest = max(map(len, self.blocks.values()))
        ups = [{part: nn.Linear(size, width) for part in PARTS} for _ in range(deepest)]
        self.up: Any = nn.ModuleList(nn.ModuleDict(layer) for layer in ups)
        self.own: Any = nn.ModuleDict()
        for name, blocks in self.blocks.items():
            layers = [{part: Bottleneck(width, size, up[part]) for part in PARTS} for up in ups[: len(blocks)]]
            self.own[name] = nn.ModuleList(nn.ModuleDict(layer) for layer in layers)
        initialise(self)
        for up in ups:
            for part in PARTS:
                nn.init.zeros_(up[part].weight)

    def place(self) -> None:
        """Let the encoders' layers go through them."""
        for name, blocks in self.blocks.items():
            for block, own in zip(blocks, self.own[name], strict=True):
                block.after = own["attention"], own["feed"]


def _blocks(encoders: nn.ModuleDict, name: str) -> list[Block]:
    """The transformer layers of an encoder, the last one first."""
    if name not in encoders:
        raise ValueError(f"bottleneck is among '{name}', and the model has encoders for {', '.join(encoders)}")
    blocks = [part for part in encoders[name].modules() if isinstance(part, Block)]
    if not blocks:
        raise ValueError(
            f"the encoder of '{name}' has no transformer layer for a bottleneck; leave it out, or choose lora"
        )
    return blocks[::-1]
