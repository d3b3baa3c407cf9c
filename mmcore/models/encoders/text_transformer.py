"""A transformer over the tokens of a text, seen from both sides."""

from torch import Tensor, nn

from mmcore.models.layers import Block, positions
from mmcore.settings import PrepareSettings


class Encoder(nn.Module):
    """Token ids [B, T] and mask [B, T] to tokens [B, T, D]; `layers` blocks.

    Texts may be as long as the longest kind of text that the prepare settings allow.
    """

    def __init__(
        self, *, layers: int, width: int, heads: int, dropout: float, prepare: PrepareSettings, vocabulary: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.place = positions(max(prepare.context, prepare.transcript_context), width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens_BTD = self.embedding(values) + self.place[: values.shape[1]]
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD, mask)
        return self.norm(tokens_BTD), mask
