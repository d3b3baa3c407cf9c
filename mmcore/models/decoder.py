"""Text decoders: they write a text token by token while looking at encoded inputs.

A decoder is made of its options and what the model gives it (`width`, `heads`, `dropout`, `vocabulary`, `context`).
It offers `forward(ids [B, T], memory [B, S, D], mask [B, S]) -> logits [B, T, V]` and `generate`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.layers import CrossingBlock, Memory, positions
from mmcore.registry import Table

DECODERS: Table[Any] = Table("decoder")


@DECODERS.add("cross_attention")
class CrossAttentionDecoder(nn.Module):
    """`layers` causal blocks that attend to the memory; input and output word vectors are the same."""

    def __init__(self, *, layers: int, width: int, heads: int, dropout: float, vocabulary: int, context: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.place = positions(context, width)
        self.heads = heads
        self.blocks: Any = nn.ModuleList(CrossingBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, ids_BT: Tensor, memory_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """Logits [B, T, V] of the token after each of `ids`; what follows a token does not change them."""
        tokens_BTD = self.embedding(ids_BT) + self.place[: ids_BT.shape[1]]
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD, block.remember(memory_BSD), mask_BS)
        return F.linear(self.norm(tokens_BTD), self.embedding.weight, self.bias)

    @torch.inference_mode()
    def generate(self, memory_BSD: Tensor, mask_BS: Tensor, *, first: int, last: int, tokens: int) -> Tensor:
        """The most likely token at each step, [B, at most `tokens`], from after `first` up to `last`, then `last`s.

        Keys and values of earlier tokens are kept in buffers of the full length, so a step costs one token.
        """
        batch, width = memory_BSD.shape[0], memory_BSD.shape[-1]
        tokens = min(tokens, self.place.shape[0])
        memories = [Memory(batch, self.heads, tokens, width // self.heads, memory_BSD) for _ in self.blocks]
        crossed = [block.remember(memory_BSD) for block in self.blocks]
        ids_BT = torch.full((batch, tokens), last, device=memory_BSD.device)
        current_B = torch.full((batch,), first, device=memory_BSD.device)
        ended_B = torch.zeros(batch, dtype=torch.bool, device=memory_BSD.device)
        for step in range(tokens):
            state_B1D = (self.embedding(current_B) + self.place[step])[:, None]
            for block, memory, pair in zip(self.blocks, memories, crossed, strict=True):
                state_B1D = block(state_B1D, pair, mask_BS, memory=memory)
            logits_BV = F.linear(self.norm(state_B1D[:, 0]), self.embedding.weight, self.bias)
            current_B = logits_BV.argmax(-1).masked_fill(ended_B, last)
            ids_BT[:, step] = current_B
            ended_B |= current_B == last
            if bool(ended_B.all()):
                return ids_BT[:, : step + 1]
        return ids_BT
