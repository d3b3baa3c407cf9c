"""Text decoders: they write a text token by token while looking at encoded inputs.

A decoder is made of its options and what the model gives it (`width`, `heads`, `dropout`, `vocabulary`, `context`).
It offers `forward(ids [B, T], memory [B, S, D], mask [B, S]) -> logits [B, T, V]` and `generate`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.layers import CrossingBlock, Stepping, positions, widened
from mmcore.models.products import in_one_thread, turned
from mmcore.registry import Table

DECODERS: Table[Any] = Table("decoder")


@DECODERS.add("cross_attention")
class CrossAttentionDecoder(nn.Module):
    """`layers` causal blocks that attend to the memory; input and output word vectors are the same."""

    def __init__(self, *, layers: int, width: int, heads: int, dropout: float, vocabulary: int, context: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.place = positions(context, width)
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
    def generate(
        self, memory_BSD: Tensor, mask_BS: Tensor, *, first: int, last: int, tokens: int, beams: int = 1,
        prefix_BP: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The likeliest text found, [B, at most `tokens`], from after `first` and the prefix to `last`, then `last`s.

        Of each row the `beams` likeliest beginnings are continued; that with the highest mean log-probability of its
        tokens wins, the end counting as one of them. One beam is the greedy choice. `prefix_BP`: tokens that the text
        begins with. Keys and values of earlier tokens are kept in buffers of the full length: a step costs one token.
        """
        batch, device = memory_BSD.shape[0], memory_BSD.device
        forced = torch.full((batch, 1), first, device=device)
        if prefix_BP is not None:
            forced = torch.cat([forced, prefix_BP.to(device)], 1)
        tokens = min(tokens, self.place.shape[0] - forced.shape[1] + 1)
        if tokens < 1:
            raise ValueError(
                f"a prefix of {forced.shape[1] - 1} tokens leaves no place for a text in {len(self.place)}"
            )
        with in_one_thread():
            state = _State(self, memory_BSD, mask_BS, beams, forced.shape[1] - 1 + tokens)
            for position in range(forced.shape[1]):
                logits_NV = state.step(forced[:, position].repeat_interleave(beams))
            search = _Search(batch, beams, tokens, last, device)
            for step in range(tokens):
                chosen_N = search.advance(step, logits_NV)
                if search.over() or step == tokens - 1:
                    return search.best(step + 1)
                state.keep(search.parents_N)
                logits_NV = state.step(chosen_N)
            return search.best(tokens)


class _State:
    """What the decoder remembers while it writes N = batch x beams texts, token by token."""

    def __init__(
        self, decoder: CrossAttentionDecoder, memory_BSD: Tensor, mask_BS: Tensor, beams: int, tokens: int
    ) -> None:
        self.decoder, self.position = decoder, 0
        mask_NS = mask_BS.repeat_interleave(beams, 0)
        self.blocks = []
        for block in decoder.blocks:
            key, value = (part.repeat_interleave(beams, 0) for part in block.remember(memory_BSD))
            self.blocks.append(Stepping(block, (key, value), mask_NS, tokens))
        self.words = turned(decoder.embedding.weight, decoder.bias)

    def step(self, ids_N: Tensor) -> Tensor:
        """Logits [N, V] of the token after `ids`."""
        state_ND = self.decoder.embedding(ids_N) + self.decoder.place[self.position]
        self.position += 1
        for block in self.blocks:
            state_ND = block(state_ND)
        return self.words(self.decoder.norm(state_ND))

    def keep(self, parents_N: Tensor | None) -> None:
        """Go on with what each text's parent remembers."""
        if parents_N is not None:
            for block in self.blocks:
                block.keep(parents_N)


class _Search:
    """The beginnings that are continued, K of each of B rows, one after another: N = B x K.

    `parents_N`: which beginning each of them continues, null where each continues itself.
    """

    def __init__(self, batch: int, beams: int, tokens: int, last: int, device: torch.device) -> None:
        self.shape, self.last = (batch, beams), last
        self.ids_NT = torch.full((batch * beams, tokens), last, device=device)
        self.ended_N = torch.zeros(batch * beams, dtype=torch.bool, device=device)
        # At first the beams of a row are alike: only one of them counts.
        self.sums_BK = torch.full((batch, beams), float("-inf"), device=device)
        self.sums_BK[:, 0] = 0
        self.parents_N: Tensor | None = None

    def advance(self, step: int, logits_NV: Tensor) -> Tensor:
        """Continue the beginnings by one token each; returns the tokens [N]."""
        batch, beams = self.shape
        if beams == 1:
            chosen_N = logits_NV.argmax(-1).masked_fill(self.ended_N, self.last)
        else:
            words = logits_NV.shape[-1]
            shares_NV = widened(logits_NV).log_softmax(-1)
            # A text that has ended stays as it is.
            shares_NV[self.ended_N] = float("-inf")
            shares_NV[self.ended_N, self.last] = 0.0
            sums = self.sums_BK[..., None] + shares_NV.view(batch, beams, words)
            self.sums_BK, places_BK = sums.flatten(1).topk(beams)
            rows_B1 = torch.arange(batch, device=places_BK.device)[:, None] * beams
            self.parents_N = (places_BK // words + rows_B1).flatten()
            chosen_N = (places_BK % words).flatten()
            self.ids_NT, self.ended_N = self.ids_NT[self.parents_N], self.ended_N[self.parents_N]
        self.ids_NT[:, step] = chosen_N
        self.ended_N |= chosen_N == self.last
        return chosen_N

    def over(self) -> bool:
        return bool(self.ended_N.all())

    def best(self, tokens: int) -> Tensor:
        """The best text of each row [B, tokens]."""
        batch, beams = self.shape
        ids_BKT = self.ids_NT[:, :tokens].view(batch, beams, tokens)
        lengths_BK = ((ids_BKT != self.last).sum(-1) + 1).clamp(max=tokens)
        best_B = (self.sums_BK / lengths_BK).argmax(1)
        return ids_BKT[torch.arange(batch, device=ids_BKT.device), best_B]
