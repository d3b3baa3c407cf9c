"""Hiding parts of a medium, which the model is to restore."""

from torch import Tensor, rand

from mmcore.data import ranks


def check_share(name: str, share: float) -> None:
    """ValueError unless some of an input is hidden."""
    if not 0 < share <= 1:
        raise ValueError(f"{name} hides the share {share} of its input; choose more than 0, at most 1")


def drawn(there_BN: Tensor, share: float, count: int, places: int) -> Tensor:
    """Which [B, N] of the places that are there are to be hidden: the rounded `share` of each row's, one at least.

    `count` and `places`: the rows of the batch over all ranks, and the most places that a row can have. It is drawn for
    all of them, so that it does not depend on how many ranks share the batch, or on what is longest in it.
    """
    noise_BN = rand(count, places, device=there_BN.device)[ranks.share(count), : there_BN.shape[1]]
    order_BN = noise_BN.masked_fill(~there_BN, 2.0).argsort(1).argsort(1)
    wanted_B = (share * there_BN.sum(1)).round().clamp(min=1)
    return (order_BN < wanted_B[:, None]) & there_BN
