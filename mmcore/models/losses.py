"""The formulas that objectives and tasks train on, on plain tensors.

Shapes: B batch, G the batch over all ranks, E shared space, T tokens, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcore.data import ranks
from mmcore.models.layers import widened


def contrastive_loss(left_BE: Tensor, right_BE: Tensor, scale: Tensor, same_GG: Tensor, present_B: Tensor) -> Tensor:
    """Symmetric InfoNCE: the mean over both directions of the cross-entropy of each row's own partner.

    The G rows of a batch may be spread over ranks, each of which has B of them. `same_GG[i, j]`: left i and right j
    belong together although i != j; such pairs leave the denominator, so they never count against each other. Rows
    that are not `present_B` take no part. A batch with one present row has nothing to tell apart: its loss is zero.
    In float32 whatever the precision around it. (van den Oord et al. 2018; Radford et al. 2021.)
    """
    count = len(same_GG)
    own = ranks.share(count)
    present_G = ranks.gathered(present_B.float(), count) > 0
    own_G = torch.arange(count, device=same_GG.device)
    counted_GG = torch.eye(count, dtype=torch.bool, device=same_GG.device) | (
        ~same_GG & present_G[:, None] & present_G[None, :]
    )
    with torch.autocast(left_BE.device.type, enabled=False):
        left_BE, right_BE, scale = widened(left_BE), widened(right_BE), widened(scale)
        rows_BG = scale * (left_BE @ ranks.gathered(right_BE, count).T)
        columns_BG = scale * (right_BE @ ranks.gathered(left_BE, count).T) if ranks.size() > 1 else rows_BG.T
        losses_B = sum(
            F.cross_entropy(logits_BG.masked_fill(~counted[own], float("-inf")), own_G[own], reduction="none")
            for logits_BG, counted in ((rows_BG, counted_GG), (columns_BG, counted_GG.T))
        )
        return (losses_B * present_B).sum() / (2 * ranks.mean_count(present_B.sum()))


def next_token_loss(logits_BTV: Tensor, ids_BT: Tensor, mask_BT: Tensor, *, smoothing: float) -> Tensor:
    """Mean cross-entropy of each next token of `ids`; `logits[:, t]` predict token t + 1, `mask` says which count.

    `smoothing`: this share of the target is spread over the vocabulary (Szegedy et al. 2016).
    """
    targets_BT = ids_BT[:, 1:].masked_fill(~mask_BT[:, 1:], -100)
    return token_loss(logits_BTV[:, : targets_BT.shape[1]], targets_BT, smoothing=smoothing)


def token_loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy [..., V] against ids [...] over the targets that are not -100; zero if there is none."""
    losses = F.cross_entropy(
        widened(logits.flatten(0, -2)), targets.flatten(), ignore_index=-100, reduction="sum", label_smoothing=smoothing
    )
    return losses / ranks.mean_count((targets != -100).sum())
