"""A transformer over log-mel bands: speech and sound."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.data.modalities.audio import HOP_SECONDS
from mmcore.models.layers import Block, positions, through
from mmcore.settings import PrepareSettings

_SPAN, _STRIDE = 5, 2


class Halving(nn.Linear):
    """[B, T, C] to [B, T / 2, D]: each two steps from the five around them, a convolution written as one product."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(_SPAN * channels, width)

    def forward(self, values_BTC: Tensor) -> Tensor:
        channels = values_BTC.shape[2]
        even_BTC = F.pad(values_BTC, (0, 0, 0, values_BTC.shape[1] % _STRIDE))
        pairs = even_BTC.reshape(len(even_BTC), -1, _STRIDE * channels)
        # Whole pairs side by side: a sliding window (`unfold`) would be added up step by step on the way back.
        before, after = F.pad(pairs[:, :-1], (0, 0, 1, 0)), F.pad(pairs[:, 1:, :channels], (0, 0, 0, 1))
        return super().forward(torch.cat([before, pairs, after], 2))


class Encoder(nn.Module):
    """Log-mel bands [B, T, mels] and mask [B, T] to tokens [B, T / 4, D], `layers` blocks; 25 tokens a second."""

    def __init__(self, *, layers: int, width: int, heads: int, dropout: float, prepare: PrepareSettings) -> None:
        super().__init__()
        if prepare.audio_mels is None:
            raise ValueError("the encoder log_mel hears bands; set prepare.audio_mels to how many, 40 or 80")
        self.halvings = nn.ModuleList([Halving(prepare.audio_mels, width), Halving(width, width)])
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        longest = math.ceil(prepare.audio_seconds / HOP_SECONDS)
        self.place = positions(math.ceil(math.ceil(longest / _STRIDE) / _STRIDE) + 1, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens_BTD = values.to(self.place.dtype)
        for halving, norm in zip(self.halvings, self.norms, strict=True):
            # What lies behind the end must stay silent, or it would be heard at the end.
            tokens_BTD = F.gelu(norm(halving(tokens_BTD * mask[..., None])))
            mask = mask[:, ::_STRIDE]
        tokens_BTD = tokens_BTD + self.place[: tokens_BTD.shape[1]]
        tokens_BTD = through(self.blocks, tokens_BTD, mask)
        return self.norm(tokens_BTD), mask
