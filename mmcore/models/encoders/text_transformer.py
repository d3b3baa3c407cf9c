"""A transformer over the tokens of a text, seen from both sides."""

from torch import Tensor, nn

from mmcore.models.encoders._pool import ATTENTION, check_pool
from mmcore.models.layers import Block, positions, through
from mmcore.settings import PrepareSettings


class Encoder(nn.Module):
    """Token ids [B, T] and mask [B, T] to tokens [B, T, D]; `layers` blocks. `pool`: see `_pool`; the first token is
    the one that every text begins with.

    Texts may be as long as the longest kind of text that the prepare settings allow.
    """

    def __init__(
        self, *, layers: int, pool: str = ATTENTION, width: int, heads: int, dropout: float, prepare: PrepareSettings,
        vocabulary: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pool = check_pool(pool)
        self.embedding = nn.Embedding(vocabulary, width)
        self.place = positions(max(prepare.context, prepare.transcript_context), width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor, *, first: bool = False) -> tuple[Tensor, Tensor]:
        tokens_BTD = self.embedding(values) + self.place[: values.shape[1]]
        tokens_BTD = through(self.blocks, tokens_BTD, mask, first=first)
        return self.norm(tokens_BTD), mask[:, : tokens_BTD.shape[1]]
