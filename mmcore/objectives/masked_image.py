"""Masked image: painting the squares of a picture that were hidden, also with the help of a text about it."""

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
    al. 2022). Only hidden squares count. Where a `text` or another input is `given` (null: none), the squares first
    attend to it in one layer (as in FLAVA; Singh et al. 2022).
    """

    share: float
    patch: int
    given: str | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("image",) if self.given is None else ("image", self.given)

    @property
    def encoded(self) -> tuple[str, ...]:
        return () if self.given is None else (self.given,)  # of the picture only one with squares hidden

    @property
    def terms(self) -> list[str]:
        return ["masked_image" if self.given is None else f"masked_image_{self.given}"]

    def __post_init__(self) -> None:
        check_share("masked_image", self.share)

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        name = self.terms[0]
        look = {} if self.given is None else {f"{name}_look": {"name": "look", "of": "image", "at": self.given}}
        return {name: {"name": "restore", "of": "image", "span": self.patch}, **look}

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        pixels, present_B = batch.inputs["image"]
        if self.given is not None:
            present_B = present_B & batch.present(self.given)
        name = self.terms[0]
        head: Any = model.heads[name]
        squares_BNP = patches(pixels.to(head.mark.dtype) / 127.5 - 1, self.patch)
        places = squares_BNP.shape[1]
        hidden_BN = drawn(present_B[:, None].expand(-1, places), self.share, len(batch), places)
        seen = whole(torch.where(hidden_BN[..., None], head.mark, squares_BNP), self.patch)
        encoded = model.encode("image", (seen + 1) * 127.5, present_B)
        if model.speaks_first("image"):
            encoded = encoded[0][:, 1:], encoded[1][:, 1:]  # without the class token
        if encoded[0].shape[1] != places:
            raise ValueError(
                f"masked_image hides squares of {self.patch} pixels, {places} in a picture; the image encoder has "
                f"{encoded[0].shape[1]} tokens, and one for each square is needed: change patch, or the encoder"
            )
        if self.given is not None:
            helped = {"image": encoded, self.given: model.encode(self.given, *batch.inputs[self.given])}
            encoded = model.answer(f"{name}_look", helped), encoded[1]
        predicted_BNP = model.answer(name, {"image": encoded})
        counted = hidden_BN[..., None].expand_as(predicted_BNP)
        return {name: self.weight * squared_error(predicted_BNP, normalised(squares_BNP), counted)}


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
