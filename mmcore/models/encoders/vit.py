"""A vision transformer: patches of an image as tokens (Dosovitskiy et al. 2021)."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcore.models.compression import in_float
from mmcore.models.encoders._pool import ATTENTION, FIRST, check_pool
from mmcore.models.encoders._rates import rates
from mmcore.models.layers import Block, positions, through, widened
from mmcore.settings import PrepareSettings

OWN = "encoders.image."  # how the weights of an image encoder are named in a saved model


class Encoder(nn.Module):
    """Images uint8 [B, S, S, 3] and presence [B] to tokens [B, N * N, D], N = S / patch.

    `layers`: transformer blocks; `patch_dropout`: the share of the patches left out of each image in training (Li et
    al. 2023, FLIP); `pretrained`: null, or the folder of a saved model with such an image encoder, whose positions are
    stretched where its images had another size; `train` and `layer_decay`: see `_rates`; `pool`: see `_pool`, with
    `first` a learned class token stands before the patches. Images of another size than the prepared ones are seen with
    stretched positions, too.
    """

    def __init__(
        self, *, patch: int, layers: int, patch_dropout: float, pretrained: str | None, train: str,
        layer_decay: float, pool: str = ATTENTION, width: int, heads: int, dropout: float, prepare: PrepareSettings,
    ) -> None:  # fmt: skip
        super().__init__()
        if prepare.image_size % patch:
            raise ValueError(
                f"prepare.image_size is {prepare.image_size}; the encoder vit with patch {patch} needs a multiple"
            )
        if not 0 <= patch_dropout < 1:
            raise ValueError(f"patch_dropout is {patch_dropout:g}; the encoder vit needs a share from 0 to below 1")
        self.pool = check_pool(pool)
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.first = nn.Parameter(torch.randn(width) * 0.02) if pool == FIRST else None
        self.place = positions((prepare.image_size // patch) ** 2, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.patch_dropout = patch_dropout
        self.rates = rates(self, self.blocks, train=train, layer_decay=layer_decay)
        self.resolved = {"pretrained": None}
        self.initialised = pretrained is not None
        if pretrained is not None:
            self._adopt(Path(pretrained))

    def grid(self, values: Tensor) -> Tensor:
        """The patches of images uint8 [B, S, S, 3], projected: [B, D, N, N]."""
        return self.patches((values.to(self.place.dtype) * (1 / 127.5) - 1).permute(0, 3, 1, 2))  # type: ignore[no-any-return]

    def forward(self, values: Tensor, mask: Tensor, *, first: bool = False) -> tuple[Tensor, Tensor]:
        grid_BDNN = self.grid(values)
        tokens_BTD = grid_BDNN.flatten(2).transpose(1, 2) + stretched(self.place, grid_BDNN.shape[-1])
        if self.training and self.patch_dropout:
            tokens_BTD = some(tokens_BTD, 1 - self.patch_dropout)
        if self.first is not None:
            tokens_BTD = torch.cat([self.first.expand(len(tokens_BTD), 1, -1), tokens_BTD], 1)
        tokens_BTD = through(self.blocks, tokens_BTD, first=first)
        return self.norm(tokens_BTD), mask[:, None].expand(-1, tokens_BTD.shape[1])

    def _adopt(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; the encoder vit takes the folder of a saved model")
        whole = in_float(load_file(path))
        weights = {name.removeprefix(OWN): tensor for name, tensor in whole.items() if name.startswith(OWN)}
        own = {name: list(tensor.shape) for name, tensor in self.state_dict().items()}
        if "place" in weights:
            weights["place"] = stretched(weights["place"], round(len(self.place) ** 0.5))
        for name in sorted(set(own) | set(weights)):
            if name not in weights or own.get(name) != list(weights[name].shape):
                raise ValueError(f"{path}: its image encoder does not fit this vit, see its weight '{name}'")
        self.load_state_dict(weights)


def stretched(place_TD: Tensor, side: int) -> Tensor:
    """Learned positions [T, D] of a square grid, for a grid of `side` places a side [side * side, D], bicubic."""
    before = round(len(place_TD) ** 0.5)
    if before == side:
        return place_TD
    grid_1DNN = widened(place_TD).T.reshape(1, -1, before, before)
    grid_1DNN = F.interpolate(grid_1DNN, size=(side, side), mode="bicubic", align_corners=False)
    return grid_1DNN[0].flatten(1).T.to(place_TD.dtype)


def some(tokens_BTD: Tensor, share: float) -> Tensor:
    """A random `share` of the tokens of each sample, at least one."""
    batch, tokens, width = tokens_BTD.shape
    kept = max(1, round(tokens * share))
    chosen_BK = torch.rand(batch, tokens, device=tokens_BTD.device).argsort(1)[:, :kept]
    return tokens_BTD.gather(1, chosen_BK[..., None].expand(-1, -1, width))
