"""Masked audio: the stretches of a recording that were hidden."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcore.data.batches import Batch, Rows
from mmcore.data.modalities.audio import HOP_SECONDS
from mmcore.models.losses import squared_error
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base
from mmcore.objectives._hiding import check_share, drawn
from mmcore.settings import Component

SPAN = 4  # log-mel steps, 40 ms: what one token of the encoder stands for


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """The log-mel bands of the share `share` of a recording's stretches of 40 ms, from all that is left of it.

    A learned mark stands where a stretch was hidden, and one linear layer predicts its bands from the encoder's token
    for it. Only hidden stretches count, and of the last one what is not behind the end.
    """

    share: float

    inputs = ("audio",)
    terms = ["masked_audio"]  # noqa: RUF012 (the same for all)

    def __post_init__(self) -> None:
        check_share("masked_audio", self.share)

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {"masked_audio": {"name": "restore", "of": "audio", "span": SPAN}}

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        bands_BTC, mask_BT = batch.inputs["audio"]
        head: Any = model.heads["masked_audio"]
        rows, steps, channels = bands_BTC.shape
        beyond = -steps % SPAN
        places = (steps + beyond) // SPAN
        stretches_BNP = F.pad(bands_BTC.to(head.mark.dtype), (0, 0, 0, beyond)).reshape(rows, places, -1)
        real_BNS = F.pad(mask_BT, (0, beyond)).reshape(rows, places, SPAN)
        longest = math.ceil(model.processor.prepare.audio_seconds / HOP_SECONDS)
        hidden_BN = drawn(real_BNS.any(-1), self.share, len(batch), math.ceil(longest / SPAN))
        seen = torch.where(hidden_BN[..., None], head.mark, stretches_BNP).reshape(rows, -1, channels)
        encoded = model.encode("audio", seen[:, :steps], mask_BT)
        if encoded[0].shape[1] != places:
            raise ValueError(
                f"masked_audio needs an encoder with a token for each 40 ms; of {steps} steps of 10 ms the one here "
                f"makes {encoded[0].shape[1]} tokens"
            )
        counted = (hidden_BN[..., None] & real_BNS).repeat_interleave(channels, 2)
        value = squared_error(model.answer("masked_audio", {"audio": encoded}), stretches_BNP, counted)
        return {"masked_audio": self.weight * value}
