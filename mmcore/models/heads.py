"""What stands on the encoders: pooling into the shared space, and words from tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.layers import widened


class Projection(nn.Module):
    """Tokens [B, T, D] and mask [B, T] to one vector [B, E] of length 1 in the shared space.

    Every head weighs the tokens with a learned query and takes its own share of their values. A row without any
    token gives zeros.
    """

    def __init__(self, width: int, heads: int, embed_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, heads)
        self.value = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, embed_dim)

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        # Finite, so that the weights of an absent row are numbers too.
        scores_BTH = self.query(tokens_BTD).masked_fill(~mask_BT[:, :, None], -1e4)
        weights_BHT = scores_BTH.softmax(1).transpose(1, 2)
        values_BHTC = self.value(tokens_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        pooled_BD = (weights_BHT[:, :, None] @ values_BHTC).flatten(1)
        embedding_BE = F.normalize(widened(self.out(self.norm(pooled_BD))), dim=-1)
        return embedding_BE * mask_BT.any(1, keepdim=True)


class Words(nn.Module):
    """Tokens [B, T, D] to logits [B, T, V] over the vocabulary, with the given word vectors as output weights."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens_BTD: Tensor, embedding: nn.Embedding) -> Tensor:
        return F.linear(self.norm(F.gelu(self.dense(tokens_BTD))), embedding.weight, self.bias)
