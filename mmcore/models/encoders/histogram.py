"""The colours of an image and nothing else: what any image network must beat."""

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Images uint8 [B, S, S, 3] and presence [B] to one token [B, 1, D]: a projection of their colour histogram.

    `bins`: how finely each of red, green and blue is told apart; the histogram has bins^3 cells.
    """

    def __init__(self, *, bins: int, width: int) -> None:
        super().__init__()
        if not 2 <= bins <= 32:
            raise ValueError(f"bins is {bins}; the encoder histogram needs 2 to 32")
        self.bins = bins
        self.out = nn.Linear(bins**3, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        # Square roots of shares: vectors of length 1, between which a distance is Hellinger's.
        cells_BK = shares(values, self.bins).sqrt().to(self.out.weight.dtype)
        return self.norm(self.out(cells_BK))[:, None], mask[:, None]


def shares(values: Tensor, bins: int) -> Tensor:
    """The share of the pixels of images uint8 [B, S, S, 3] in each cell of colour space, float32 [B, bins^3]."""
    red, green, blue = (values.flatten(1, 2).long() * bins // 256).unbind(-1)
    cell_BP = (red * bins + green) * bins + blue
    counts_BK = torch.zeros(len(values), bins**3, device=values.device)
    counts_BK.scatter_add_(1, cell_BP, torch.ones_like(cell_BP, dtype=torch.float32))
    return counts_BK / cell_BP.shape[1]
