"""Clips as what the image encoder's convolutions see in each frame, joined over space and time."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.layers import Block, positions, through
from mmcore.settings import PrepareSettings


class Encoder(nn.Module):
    """Clips uint8 [B, F, S, S, 3] and presence [B] to tokens [B, F * tokens_per_frame, D].

    The frames go through the convolutions of the model's own image encoder, are averaged to `tokens_per_frame` (a
    square number) places a frame, get a position in space and time, and `layers` blocks look at all of them together.
    """

    def __init__(
        self,
        *,
        layers: int,
        tokens_per_frame: int,
        width: int,
        heads: int,
        dropout: float,
        prepare: PrepareSettings,
        image: nn.Module | None,
    ) -> None:
        super().__init__()
        if image is None or not hasattr(image, "grid"):
            raise ValueError(
                "the encoder 'frames' looks at frames with the convolutions of the image encoder; set "
                "model.encoders.image to one that has them: conv_vit, vit, resnet or clip_vision"
            )
        if prepare.video_size != prepare.image_size:
            raise ValueError(
                f"prepare.video_size is {prepare.video_size}; the encoder 'frames' needs that of images "
                f"({prepare.image_size})"
            )
        self.side = round(tokens_per_frame**0.5)
        if self.side**2 != tokens_per_frame:
            raise ValueError(f"tokens_per_frame is {tokens_per_frame}; the encoder 'frames' needs a square number")
        # In a tuple, so that the shared weights are registered and saved once.
        self._image: tuple[Any] = (image,)
        self.place = positions(prepare.video_frames * tokens_per_frame, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        batch, frames = values.shape[:2]
        grids_NDHW = F.adaptive_avg_pool2d(self._image[0].grid(values.flatten(0, 1)), self.side)
        tokens_BTD = grids_NDHW.flatten(2).transpose(1, 2).reshape(batch, frames * self.side**2, -1)
        tokens_BTD = tokens_BTD + self.place[: tokens_BTD.shape[1]]
        tokens_BTD = through(self.blocks, tokens_BTD)
        return self.norm(tokens_BTD), mask[:, None].expand(-1, tokens_BTD.shape[1])
