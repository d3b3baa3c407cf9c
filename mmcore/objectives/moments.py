"""Moments: what is seen and what is heard at the same time of a clip."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcore.data import ranks
from mmcore.data.batches import Batch
from mmcore.models.layers import widened
from mmcore.models.losses import contrastive_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """Contrast between each frame of a clip and the sound at its time, on samples whose recording lasts as long as
    their clip: of M frames the m-th belongs to the m-th of M equal parts of the recording.

    Each moment is told from the other moments of its clip, and from the same moment of the other clips; the loss is the
    mean of these two symmetric InfoNCE (van den Oord et al. 2018). The first alone could be had from positions, without
    a look, and the second alone from what stays the same throughout a clip.
    """

    inputs = ("video", "audio")
    terms = ["moments"]  # noqa: RUF012 (the same for all)

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        moments = batch.inputs["video"][0].shape[1]
        seen_BME = _embedded(model, "video", *model.encode("video", *batch.inputs["video"]), moments)
        heard_BME = _embedded(model, "audio", *model.encode("audio", *batch.inputs["audio"]), moments)
        present_B, same_GG = batch.present("video", "audio"), batch.same("video", "audio")
        # Of a recording with fewer tokens than the clip has frames some parts are silent.
        there_BM = present_B[:, None] & (widened(heard_BME) != 0).any(2)
        within = _told_apart(seen_BME, heard_BME, model.scale(), there_BM)
        between = [
            contrastive_loss(seen_BME[:, m], heard_BME[:, m], model.scale(), same_GG, there_BM[:, m])
            for m in range(moments)
        ]
        return {"moments": self.weight * (within + torch.stack(between).mean()) / 2}


def _embedded(model: MultimodalModel, modality: str, tokens_BTD: Tensor, mask_BT: Tensor, moments: int) -> Tensor:
    """The tokens of each of `moments` equal parts of what is there as a vector [B, M, E] of length 1; zeros for a part
    without a token."""
    lengths_B1 = mask_BT.sum(1, keepdim=True).clamp(min=1)
    part_BT = torch.arange(mask_BT.shape[1], device=mask_BT.device) * moments // lengths_B1
    mask_BMT = mask_BT[:, None] & (part_BT[:, None] == torch.arange(moments, device=mask_BT.device)[:, None])
    tokens = tokens_BTD[:, None].expand(-1, moments, -1, -1).flatten(0, 1)
    vectors_NE = model.project(modality, tokens, mask_BMT.flatten(0, 1))
    return vectors_NE.view(-1, moments, vectors_NE.shape[1])


def _told_apart(left_BME: Tensor, right_BME: Tensor, scale: Tensor, there_BM: Tensor) -> Tensor:
    """Symmetric InfoNCE among the moments of each row: the mean over moments that are there of the cross-entropy of
    each one's own partner."""
    with torch.autocast(left_BME.device.type, enabled=False):
        logits_BMM = widened(scale) * (widened(left_BME) @ widened(right_BME).mT)
        pairs_BMM = there_BM[:, :, None] & there_BM[:, None]
        logits_BMM = logits_BMM.masked_fill(~pairs_BMM, float(torch.finfo(logits_BMM.dtype).min))
        own = torch.arange(logits_BMM.shape[1], device=logits_BMM.device).expand(len(logits_BMM), -1)
        losses_BM = F.cross_entropy(logits_BMM.mT, own, reduction="none") + F.cross_entropy(
            logits_BMM, own, reduction="none"
        )
        return (losses_BM * there_BM).sum() / (2 * ranks.mean_count(there_BM.sum()))
