"""A small image network, convolutions first: it learns from few images, where plain patches need many."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.layers import Block, positions, through
from mmcore.settings import PrepareSettings


class ChannelNorm(nn.LayerNorm):
    """Normalises the channels [B, C, H, W] of each place by themselves (Liu et al. 2022, ConvNeXt): in channels-last
    memory one pass, where a norm over groups and places takes several."""

    def forward(self, grid_BCHW: Tensor) -> Tensor:
        return super().forward(grid_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """x + convolution 3 x 3 of what norm and activation leave of x: the same parts are known wherever they lie."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, grid_BCHW: Tensor) -> Tensor:
        return grid_BCHW + self.convolution(F.gelu(self.norm(grid_BCHW)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Images uint8 [B, S, S, 3] and presence [B] to tokens [B, N * N, D], N = S / (patch * 2^len(channels)).

    `patch`: side of the pixel patches that the first convolution reads; `channels`: its width and those that
    follow, before the model's own, each step halving the side; `residuals`: 3 x 3 convolutions at the side N;
    `layers`: transformer blocks after them.
    """

    def __init__(
        self, *, patch: int, channels: list[int], residuals: int, layers: int, width: int, heads: int, dropout: float,
        prepare: PrepareSettings,
    ) -> None:  # fmt: skip
        super().__init__()
        shrinks = patch * 2 ** len(channels)
        if prepare.image_size % shrinks:
            raise ValueError(
                f"prepare.image_size is {prepare.image_size}; the encoder conv_vit with patch {patch} and "
                f"{len(channels)} channels needs a multiple of {shrinks}"
            )
        sizes = [*channels, width]
        stem: list[nn.Module] = [nn.Conv2d(3, sizes[0], patch, stride=patch)]
        for before, after in pairwise(sizes):
            stem += [ChannelNorm(before), nn.GELU(), nn.Conv2d(before, after, 3, stride=2, padding=1)]
        self.stem = nn.Sequential(*stem, *(Residual(width) for _ in range(residuals)))
        self.side = prepare.image_size // shrinks
        self.place = positions(self.side**2, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def grid(self, values: Tensor) -> Tensor:
        """What the convolutions make of images uint8 [B, S, S, 3]: [B, D, N, N]."""
        # From uint8 on the device: a quarter of the bytes travel. The permuted view is already channels-last.
        return self.stem((values.to(self.place.dtype) * (1 / 127.5) - 1).permute(0, 3, 1, 2))  # type: ignore[no-any-return]

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens_BTD = self.grid(values).flatten(2).transpose(1, 2) + self.place
        tokens_BTD = through(self.blocks, tokens_BTD)
        return self.norm(tokens_BTD), mask[:, None].expand(-1, tokens_BTD.shape[1])
