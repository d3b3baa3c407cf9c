"""The head that calls a sample usual or unusual, by how far it lies from samples that it remembers.

Nothing here learns by gradients: the task `anomalies` shows it vectors, and sets its threshold.
Shapes: B batch, T tokens, D width, N remembered samples, P numbers that a sample is compared by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.layers import widened
from mmcore.settings import PrepareSettings

# Of the mean variance, what is added to each, so that directions in which samples hardly differ do not decide alone.
SHRINKAGE = 1e-3
QUARTERS = 4


class Neighbours(nn.Module):
    """The distance [B] of vectors [B, P] from the `nearest` of the `known` ones that it remembers: the mean of
    1 - cosine (Sun et al. 2022), 0 to 2."""

    def __init__(self, *, known: int, nearest: int, size: int) -> None:
        super().__init__()
        self.nearest = nearest
        self.known: Tensor
        self.register_buffer("known", torch.zeros(known, size))

    def remember(self, vectors_NP: Tensor) -> None:
        """Of these vectors as many as it has room for, spread evenly."""
        self.known.copy_(F.normalize(self.chosen(vectors_NP), dim=1))

    def chosen(self, vectors_NP: Tensor) -> Tensor:
        return vectors_NP[torch.linspace(0, len(vectors_NP) - 1, len(self.known), dtype=torch.float64).round().long()]

    def forward(self, vectors_BP: Tensor) -> Tensor:
        likeness_BN = F.normalize(vectors_BP, dim=1) @ widened(self.known).to(vectors_BP.dtype).T
        return 1 - likeness_BN.topk(min(self.nearest, len(self.known)), dim=1).values.mean(1)


class WhitenedNeighbours(Neighbours):
    """The same with the distance of Mahalanobis (1936): how far apart two vectors are, counted in each direction in
    standard deviations of all that was shown to it."""

    def __init__(self, *, known: int, nearest: int, size: int) -> None:
        super().__init__(known=known, nearest=nearest, size=size)
        self.centre: Tensor
        self.whitening: Tensor
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("whitening", torch.eye(size))

    def remember(self, vectors_NP: Tensor) -> None:
        exact_NP = vectors_NP.double()
        off_NP = exact_NP - exact_NP.mean(0)
        covariance_PP = off_NP.T @ off_NP / len(off_NP)
        least = SHRINKAGE * covariance_PP.diagonal().mean().clamp(min=1e-12)
        one_PP = torch.eye(len(covariance_PP)).to(covariance_PP)
        root_PP = torch.linalg.cholesky(covariance_PP + least * one_PP)
        self.centre.copy_(exact_NP.mean(0))
        self.whitening.copy_(torch.linalg.solve_triangular(root_PP, one_PP, upper=False).T)
        self.known.copy_(self._white(self.chosen(vectors_NP)))

    def forward(self, vectors_BP: Tensor) -> Tensor:
        # Subtracted rather than multiplied out: the distance from an equal sample is 0 then, and not a rounding error.
        mode = "donot_use_mm_for_euclid_dist"
        apart_BN = torch.cdist(self._white(vectors_BP), widened(self.known).to(vectors_BP.dtype), compute_mode=mode)
        return apart_BN.topk(min(self.nearest, len(self.known)), dim=1, largest=False).values.mean(1)

    def _white(self, vectors_BP: Tensor) -> Tensor:
        centre_P, whitening_PP = (widened(own).to(vectors_BP.dtype) for own in (self.centre, self.whitening))
        return (vectors_BP - centre_P) @ whitening_PP


def changes(tokens_BTD: Tensor, mask_BT: Tensor, prepare: PrepareSettings) -> Tensor:
    """Of each frame of a clip the mean of its tokens, less that of the frame before: [B, (F - 1) * D]."""
    rows, _, width = tokens_BTD.shape
    frames_BFD = widened(tokens_BTD).reshape(rows, prepare.video_frames, -1, width).mean(2)
    return frames_BFD.diff(dim=1).flatten(1)


def states(tokens_BTD: Tensor, mask_BT: Tensor, prepare: PrepareSettings) -> Tensor:
    """The mean of each quarter of the tokens (of all, for a quarter without any), the standard deviation of all, and
    that of the steps from each token to the next: [B, (4 + 2) * D]."""
    tokens_BTD = widened(tokens_BTD)
    mean_BD, deviation_BD = _moments(tokens_BTD, mask_BT)
    _, steps_BD = _moments(tokens_BTD.diff(dim=1), mask_BT[:, 1:] & mask_BT[:, :-1])
    places_BT = (mask_BT.cumsum(1) - 1) * QUARTERS // mask_BT.sum(1, keepdim=True).clamp(min=1)
    inside_BTQ = (places_BT[..., None] == torch.arange(QUARTERS).to(places_BT)) & mask_BT[..., None]
    weight_BTQ = inside_BTQ.to(tokens_BTD.dtype)
    count_BQ1 = weight_BTQ.sum(1)[..., None]
    sums_BQD = weight_BTQ.transpose(1, 2) @ tokens_BTD
    quarters_BQD = torch.where(count_BQ1 > 0, sums_BQD / count_BQ1.clamp(min=1), mean_BD[:, None])
    return torch.cat([quarters_BQD.flatten(1), deviation_BD, steps_BD], 1)


def _moments(values_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [B, D] over what is there; zeros where nothing is."""
    weight_BT1 = mask_BT[..., None].to(values_BTD.dtype)
    count_B1 = weight_BT1.sum(1).clamp(min=1)
    mean_BD = (values_BTD * weight_BT1).sum(1) / count_B1
    variance_BD = ((values_BTD - mean_BD[:, None]).square() * weight_BT1).sum(1) / count_B1
    return mean_BD, variance_BD.sqrt()


@dataclass(frozen=True)
class View:
    """How samples of one modality are compared: the vectors that are made of their tokens, `size` numbers for a width
    and the prepare settings, and what remembers them."""

    vectors: Callable[[Tensor, Tensor, PrepareSettings], Tensor]
    size: Callable[[int, PrepareSettings], int]
    neighbours: type[Neighbours]


_STATES = View(states, lambda width, prepare: (QUARTERS + 2) * width, WhitenedNeighbours)
VIEWS = {
    "video": View(changes, lambda width, prepare: (prepare.video_frames - 1) * width, Neighbours),
    "image": _STATES,
    "audio": _STATES,
    "text": _STATES,
}


class Unusual(nn.Module):
    """Logits [B, 2] of samples being usual and unusual: clips by how their frames change; pictures, recordings and
    texts by the `states` of their tokens (see `VIEWS`).

    Beyond the `threshold` from the `nearest` of the `known` samples that it remembers a sample is unusual, the surer
    the more `spread`s it lies beyond.
    """

    def __init__(
        self, *, inputs: list[str], classes: list[str], known: int, nearest: int, width: int, prepare: PrepareSettings
    ) -> None:
        super().__init__()
        if len(inputs) != 1 or inputs[0] not in VIEWS:
            asked = " and ".join(inputs) or "nothing"
            raise ValueError(f"the head unusual looks at one of {', '.join(VIEWS)}, not at {asked}; set inputs to one")
        self.inputs, self.classes, self.prepare = inputs, classes, prepare
        self.view = VIEWS[inputs[0]]
        self.neighbours = self.view.neighbours(known=known, nearest=nearest, size=self.view.size(width, prepare))
        self.threshold: Tensor
        self.spread: Tensor
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def vectors(self, tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """What samples are compared by [B, P]."""
        return self.view.vectors(tokens_BTD, mask_BT, self.prepare)

    def logits(self, distances_B: Tensor) -> Tensor:
        """Logits [B, 2] of usual and unusual."""
        beyond_B = (distances_B - self.threshold.to(distances_B)) / self.spread.to(distances_B)
        return torch.stack([torch.zeros_like(beyond_B), beyond_B], 1)

    def forward(self, encoded: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        return self.logits(self.neighbours(self.vectors(*encoded[self.inputs[0]])))
