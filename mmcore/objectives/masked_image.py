"""Masked image: painting the squares of a picture that were hidden."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Rows
from mmcore.models.layers import widened
from mmcore.models.losses import squared_error
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base
from mmcore.objectives._hiding import check_share, drawn
from mmcore.settings import Component

EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """The pixels of the share `share` of a picture's squares, `patch` pixels wide, from all that is left of it.

    A learned mark stands where a square was hidden, so any encoder of one token a square can learn so (SimMIM; Xie et
    al. 2022), and one linear layer predicts its pixels, less their mean and over their standard deviation (MAE; He et
    al. 2022). Only hidden squares count.
    """

    share: float
    patch: int

    inputs = ("image",)
    terms = ["masked_image"]  # noqa: RUF012 (the same for all)

    def __post_init__(self) -> None:
        check_share("masked_image", self.share)

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {"masked_image": {"name": "restore", "of": "image", "span": self.patch}}

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        pixels, present_B = batch.inputs["image"]
        head: Any = model.heads["masked_image"]
        squares_BNP = patches(pixels.to(head.mark.dtype) / 127.5 - 1, self.patch)
        places = squares_BNP.shape[1]
        hidden_BN = drawn(present_B[:, None].expand(-1, places), self.share, len(batch), places)
        seen = whole(torch.where(hidden_BN[..., None], head.mark, squares_BNP), self.patch)
        encoded = model.encode("image", (seen + 1) * 127.5, present_B)
        if encoded[0].shape[1] != places:
            raise ValueError(
                f"masked_image hides squares of {self.patch} pixels, {places} in a picture; the image encoder has "
                f"{encoded[0].shape[1]} tokens, and one for each square is needed: change patch, or the encoder"
            )
        predicted_BNP = model.answer("masked_image", {"image": encoded})
        counted = hidden_BN[..., None].expand_as(predicted_BNP)
        return {"masked_image": self.weight * squared_error(predicted_BNP, normalised(squares_BNP), counted)}


def patches(pixels_BSSC: Tensor, side: int) -> Tensor:
    """Pictures [B, S, S, C] as their squares [B, N, side * side * C], row by row; ValueError if they do not fit."""
    size = pixels_BSSC.shape[1]
    if size % side:
        raise ValueError(f"prepare.image_size is {size}; masked_image needs a multiple of its patch, {side}")
    along = size // side
    split = pixels_BSSC.reshape(len(pixels_BSSC), along, side, along, side, -1)
    return split.transpose(2, 3).flatten(3).flatten(1, 2)


def whole(squares_BNP: Tensor, side: int) -> Tensor:
    """The pictures that `patches` has cut."""
    along = round(squares_BNP.shape[1] ** 0.5)
    split = squares_BNP.reshape(len(squares_BNP), along, along, side, side, -1)
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def normalised(squares_BNP: Tensor) -> Tensor:
    """Every square with mean 0 and variance 1."""
    squares_BNP = widened(squares_BNP)
    variance, mean = torch.var_mean(squares_BNP, -1, keepdim=True)
    return (squares_BNP - mean) / (variance + EPSILON).sqrt()
