"""The formulas that objectives and tasks train on, on plain tensors.

Shapes: B batch, E shared space, T tokens, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(left_BE: Tensor, right_BE: Tensor, scale: Tensor, same_BB: Tensor, present_B: Tensor) -> Tensor:
    """Symmetric InfoNCE: the mean over both directions of the cross-entropy of each row's own partner.

    `same_BB[i, j]`: left i and right j belong together although i != j; such pairs leave the denominator, so they
    never count against each other. Rows that are not `present_B` take no part. A batch with one present row has
    nothing to tell apart: its loss is zero. In float32 whatever the precision around it. (van den Oord et al. 2018;
    Radford et al. 2021.)
    """
    with torch.autocast(left_BE.device.type, enabled=False):
        logits_BB = scale.float() * (left_BE.float() @ right_BE.float().T)
        own_BB = torch.eye(len(logits_BB), dtype=torch.bool, device=logits_BB.device)
        counted_BB = own_BB | (~same_BB & present_B[:, None] & present_B[None, :])
        logits_BB = logits_BB.masked_fill(~counted_BB, float("-inf"))
        own_B = torch.arange(len(logits_BB), device=logits_BB.device)
        rows_B = F.cross_entropy(logits_BB, own_B, reduction="none")
        columns_B = F.cross_entropy(logits_BB.T, own_B, reduction="none")
        return ((rows_B + columns_B) * present_B).sum() / (2 * present_B.sum().clamp(min=1))


def next_token_loss(logits_BTV: Tensor, ids_BT: Tensor, mask_BT: Tensor, *, smoothing: float) -> Tensor:
    """Mean cross-entropy of each next token of `ids`; `logits[:, t]` predict token t + 1, `mask` says which count.

    `smoothing`: this share of the target is spread over the vocabulary (Szegedy et al. 2016).
    """
    targets_BT = ids_BT[:, 1:].masked_fill(~mask_BT[:, 1:], -100)
    return token_loss(logits_BTV[:, : targets_BT.shape[1]], targets_BT, smoothing=smoothing)


def token_loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy [..., V] against ids [...] over the targets that are not -100; zero if there is none."""
    losses = F.cross_entropy(
        logits.flatten(0, -2).float(), targets.flatten(), ignore_index=-100, reduction="sum", label_smoothing=smoothing
    )
    return losses / (targets != -100).sum().clamp(min=1)
