"""The formulas that objectives and tasks train on, on plain tensors.

Shapes: B batch, G the batch over all ranks, E shared space, T tokens, V vocabulary.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcore.data import ranks
from mmcore.models.layers import widened

# Contrast ------------------------------------------------------------------------------------------------------------
#
# The G rows of a batch may be spread over ranks, each of which has B of them. `same_GG[i, j]`: left i and right j
# belong together although i != j; such pairs never count against each other. Rows that are not `present_B` take no
# part. Everything is in float32 at least, whatever the precision around it.


def contrastive_loss(left_BE: Tensor, right_BE: Tensor, scale: Tensor, same_GG: Tensor, present_B: Tensor) -> Tensor:
    """Symmetric InfoNCE: the mean over both directions of the cross-entropy of each row's own partner.

    A batch with one present row has nothing to tell apart: its loss is zero. (van den Oord et al. 2018; Radford et al.
    2021.)
    """
    with torch.autocast(left_BE.device.type, enabled=False):
        there, back = _both_ways(left_BE, right_BE, scale, same_GG, present_B)
        losses_B = _misses(there) + _misses(back)
        return (losses_B * present_B).sum() / (2 * ranks.mean_count(present_B.sum()))


def one_way_loss(left_BE: Tensor, right_BE: Tensor, scale: Tensor, same_GG: Tensor, present_B: Tensor) -> Tensor:
    """InfoNCE from left to right alone: the mean cross-entropy of each left row's own partner; zero for one row."""
    with torch.autocast(left_BE.device.type, enabled=False):
        there, _ = _both_ways(left_BE, right_BE, scale, same_GG, present_B)
        return (_misses(there) * present_B).sum() / ranks.mean_count(present_B.sum())


def sigmoid_loss(
    left_BE: Tensor, right_BE: Tensor, scale: Tensor, bias: Tensor, same_GG: Tensor, present_B: Tensor
) -> Tensor:
    """- 1/B sum over i and j of log sigmoid(z_ij (scale * left_i right_j + bias)): every pair by itself is to be told
    (z = 1) from what does not belong together (z = -1); the sum over all pairs is divided by the rows, not the pairs.

    What is `same` fits, too. A row alone is still drawn to its partner. (Zhai et al. 2023, SigLIP.)
    """
    with torch.autocast(left_BE.device.type, enabled=False):
        there, _ = _both_ways(left_BE, right_BE, scale, same_GG, present_B)
        logits_BG = there.logits_BG + widened(bias)
        losses_BG = -F.logsigmoid(torch.where(there.apart_BG, -logits_BG, logits_BG))
        present_G = ranks.gathered(present_B.float(), len(same_GG))
        return (losses_BG * present_G * present_B[:, None]).sum() / ranks.mean_count(present_B.sum())


def vc_loss(left_BE: Tensor, right_BE: Tensor, scale: Tensor, same_GG: Tensor, present_B: Tensor) -> Tensor:
    """The mean over rows of - log [e^s(i, i) / sum over j of (e^s(i, j) + e^s(j, i))], where j are the rows that i does
    not belong with: both directions share one denominator, and the positive is not in it.

    So it can fall below zero, without end; its values do not compare with those of `contrastive_loss`. A row with
    nothing to tell it from counts as zero. (A decoupled form, see Yeh et al. 2022.)
    """
    with torch.autocast(left_BE.device.type, enabled=False):
        there, back = _both_ways(left_BE, right_BE, scale, same_GG, present_B)
        apart = torch.cat([there.apart_BG, back.apart_BG], 1)
        some_B = apart.any(1)
        logits = torch.cat([there.logits_BG, back.logits_BG], 1).masked_fill(~apart & some_B[:, None], float("-inf"))
        losses_B = logits.logsumexp(1) - there.logits_BG.gather(1, there.partner_B[:, None])[:, 0]
        return (losses_B * (present_B & some_B)).sum() / ranks.mean_count(present_B.sum())


@torch.no_grad()
def hard_negatives(
    left_BE: Tensor, right_BE: Tensor, scale: Tensor, same_GG: Tensor, present_B: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """For each left row the place [B] of a right row that does not belong to it, and whether [B] there is one; then the
    same from right to left. The more similar a row, the likelier it is drawn: by the softmax of `scale` * similarity
    (Li et al. 2021, ALBEF)."""
    count = len(same_GG)
    found = []
    for way in _both_ways(left_BE, right_BE, scale, same_GG, present_B):
        # Drawn for the whole batch, so that it does not depend on how many ranks share it. The largest of logits plus
        # Gumbel noise is a draw by their softmax.
        noise_BG = torch.empty(count, count, device=left_BE.device).exponential_().log()[ranks.share(count)]
        drawn_B = (way.logits_BG - noise_BG).masked_fill(~way.apart_BG, float("-inf")).argmax(1)
        found.append((drawn_B, way.apart_BG.any(1)))
    return found[0], found[1]


def matching_loss(logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits against targets of 0 and 1, over those that are `counted`, all of any shape;
    zero if none is."""
    losses = F.binary_cross_entropy_with_logits(widened(logits), targets.to(widened(logits).dtype), reduction="none")
    return (losses * counted).sum() / ranks.mean_count(counted.sum())


def distillation_loss(
    student: tuple[Tensor, Tensor, Tensor], teacher: tuple[Tensor, Tensor, Tensor], present_B: Tensor, count: int
) -> Tensor:
    """The mean over rows and both directions of KL(teacher, student) = sum over j of p_ij (log p_ij - log q_ij), where
    p and q are the softmax of `scale` * similarity over the `count` rows of the batch that are present.

    `student`, `teacher`: left [B, E], right [B, E] and the scale. Nothing is left out as belonging together: how alike
    two rows are is what the teacher says. Zero where the two agree, and for one row. (Yang et al. 2024, CLIP-KD.)
    """
    nothing_same = torch.zeros(count, count, dtype=torch.bool, device=present_B.device)
    with torch.autocast(present_B.device.type, enabled=False):
        losses_B = present_B.new_zeros((), dtype=torch.float32)
        for taught, way in zip(
            _both_ways(*teacher, nothing_same, present_B), _both_ways(*student, nothing_same, present_B), strict=True
        ):
            # Finite where a row is absent, so that its share of nothing is nothing.
            log_p, log_q = (one.logits_BG.masked_fill(~_counted(one), -1e4).log_softmax(1) for one in (taught, way))
            losses_B = losses_B + (log_p.exp() * (log_p - log_q)).sum(1)
        return (losses_B * present_B).sum() / (2 * ranks.mean_count(present_B.sum()))


class _OneWay(NamedTuple):
    """Logits [B, G] of this rank's rows of one side with all of the other, which of these count against each other, and
    where [B] each row's partner stands."""

    logits_BG: Tensor
    apart_BG: Tensor
    partner_B: Tensor


def _both_ways(
    left_BE: Tensor, right_BE: Tensor, scale: Tensor, same_GG: Tensor, present_B: Tensor
) -> tuple[_OneWay, _OneWay]:
    count = len(same_GG)
    own = ranks.share(count)
    present_G = ranks.gathered(present_B.float(), count) > 0
    partner_B = torch.arange(count, device=same_GG.device)[own]
    apart_GG = ~same_GG & present_G[:, None] & present_G[None, :]
    apart_GG = apart_GG & ~torch.eye(count, dtype=torch.bool, device=same_GG.device)
    left_BE, right_BE, scale = widened(left_BE), widened(right_BE), widened(scale)
    there_BG = scale * (left_BE @ ranks.gathered(right_BE, count).T)
    back_BG = scale * (right_BE @ ranks.gathered(left_BE, count).T) if ranks.size() > 1 else there_BG.T
    return _OneWay(there_BG, apart_GG[own], partner_B), _OneWay(back_BG, apart_GG.T[own], partner_B)


def _misses(way: _OneWay) -> Tensor:
    """The cross-entropy [B] of each row's partner, beside what counts against it."""
    return F.cross_entropy(way.logits_BG.masked_fill(~_counted(way), float("-inf")), way.partner_B, reduction="none")


def _counted(way: _OneWay) -> Tensor:
    """What stands beside each row [B, G]: its partner and what counts against it."""
    return way.apart_BG.scatter(1, way.partner_B[:, None], True)


# Restoration ---------------------------------------------------------------------------------------------------------


def squared_error(predicted: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """The mean of (predicted - targets)^2 over what is `counted`, all of one shape; zero if nothing is."""
    errors = (widened(predicted) - widened(targets)) ** 2
    return (errors * counted).sum() / ranks.mean_count(counted.sum())


# Words ---------------------------------------------------------------------------------------------------------------


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


# Labels --------------------------------------------------------------------------------------------------------------


def pseudo_label_loss(logits_BC: Tensor, guesses_BC: Tensor, threshold: float, present_B: Tensor) -> Tensor:
    """1/B sum over b of [max p_b >= threshold] * cross-entropy of logits_b against argmax p_b, p = softmax(guesses).

    B: the rows that are present, sure or not, so that the loss counts for more as the model gets sure of more of them
    (Sohn et al. 2020, FixMatch). No gradient flows through the guesses. Zero where none is sure or present.
    """
    likeliest = widened(guesses_BC.detach()).softmax(1).max(1)
    sure_B = present_B & (likeliest.values >= threshold)
    targets_B = likeliest.indices.masked_fill(~sure_B, -100)
    losses = F.cross_entropy(widened(logits_BC), targets_B, ignore_index=-100, reduction="sum")
    return losses / ranks.mean_count(present_B.sum())
