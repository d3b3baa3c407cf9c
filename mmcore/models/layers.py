"""The transformer parts that encoders and decoders are made of: few large operations, pre-norm, no BatchNorm.

Shapes: B batch, T tokens, S tokens of a memory that is attended to, D width, H heads, C channels of one head.
Masks are boolean and true where a token counts. A row without any true token yields zeros, never NaN.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.products import turned

# For so many keys two products are faster than the float32 kernel for bf16 on a CPU (docs/decisions.md); for more they
# would hold too many scores.
PRODUCTS_FROM, PRODUCTS_TO = 32, 577


class Stacked(nn.Linear):
    """`count` linear layers of the same inputs, one above the other, in one product."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__(inputs, count * outputs)
        self.count = count


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to each other, with queries, keys and values from one product."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"model.width {width} must be a multiple of model.heads {heads}")
        self.heads, self.dropout = heads, dropout
        self.qkv = Stacked(width, width, 3)
        self.out = nn.Linear(width, width)

    def parts(self, tokens_BTD: Tensor) -> list[Tensor]:
        """Queries, keys and values [B, H, T, C]."""
        qkv_BTHC = self.qkv(tokens_BTD).unflatten(-1, (3, self.heads, -1))
        return [part.transpose(1, 2) for part in qkv_BTHC.unbind(2)]

    def weights(self, tokens_BTD: Tensor, mask_BT: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """How much each token looks at each other one [B, H, T, T], in what `forward` does with the same inputs."""
        query, key, _ = self.parts(tokens_BTD)
        return looking(query, key, mask_BT, causal=causal)

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor | None = None, *, causal: bool = False) -> Tensor:
        query, key, value = self.parts(tokens_BTD)
        dropout = self.dropout if self.training else 0.0
        mixed_BHTC = attend(query, key, value, mask_BT, causal=causal, dropout=dropout)
        return self.out(mixed_BHTC.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def first(self, tokens_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """What `forward` gives for the first token [B, 1, D], for the price of a few tokens instead of all.

        q . (K x) is (K^T q) . x, and a weighted sum of values is the value of a weighted sum: so neither keys nor
        values of all tokens are computed. The bias of the keys shifts all scores alike, and falls out.
        """
        parts: tuple[Tensor, Tensor] = self.qkv.weight, self.qkv.bias
        weight_3HCD, bias_3HC = (part.view(3, self.heads, -1, *part.shape[1:]) for part in parts)
        query_BHC = torch.einsum("bd,hcd->bhc", tokens_BTD[:, 0], weight_3HCD[0]) + bias_3HC[0]
        asked_BHD = torch.einsum("bhc,hcd->bhd", query_BHC * query_BHC.shape[-1] ** -0.5, weight_3HCD[1])
        scores_BHT = asked_BHD @ tokens_BTD.transpose(1, 2)
        if mask_BT is not None:
            # Finite, so that a row without any token is a mean of nothing that counts, never NaN.
            scores_BHT = scores_BHT.masked_fill(~mask_BT[:, None], -1e30)
        weights_BHT = F.dropout(scores_BHT.softmax(-1), self.dropout, self.training)
        if mask_BT is not None:
            weights_BHT = weights_BHT * mask_BT[:, None]
        mixed_BHC = torch.einsum("bhd,hcd->bhc", weights_BHT @ tokens_BTD, weight_3HCD[2])
        mixed_BHC = mixed_BHC + weights_BHT.sum(-1, keepdim=True) * bias_3HC[2]
        return self.out(mixed_BHC.flatten(1)[:, None])  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to a memory whose keys and values are computed once per memory."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = Stacked(width, width, 2)
        self.out = nn.Linear(width, width)

    def remember(self, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, S, C] of a memory."""
        pair = self.key_value(memory_BSD).unflatten(-1, (2, self.heads, -1))
        key, value = (part.transpose(1, 2) for part in pair.unbind(2))
        return key, value

    def asked(self, tokens_BTD: Tensor) -> Tensor:
        """Queries [B, H, T, C]."""
        return self.query(tokens_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]

    def weights(self, tokens_BTD: Tensor, memory: tuple[Tensor, Tensor], mask_BS: Tensor | None) -> Tensor:
        """How much each token looks at each one of the memory [B, H, T, S]."""
        return looking(self.asked(tokens_BTD), memory[0], mask_BS)

    def forward(self, tokens_BTD: Tensor, memory: tuple[Tensor, Tensor], mask_BS: Tensor | None) -> Tensor:
        query_BHTC = self.asked(tokens_BTD)
        mixed_BHTC = attend(query_BHTC, *memory, mask_BS, dropout=self.dropout if self.training else 0.0)
        return self.out(mixed_BHTC.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Sequential):
    """Two linear layers, four times as wide in between."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout))


class Block(nn.Module):
    """One pre-norm transformer layer, seen from both sides."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = FeedForward(width, dropout)
        # What attention and feed-forward go through before they are added; modules in it are registered elsewhere.
        self.after: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = (_as_said, _as_said)

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor | None = None, *, first: bool = False) -> Tensor:
        """All tokens [B, T, D], or only the `first` one of them [B, 1, D]."""
        attended, fed = self.after
        normed_BTD = self.norm_attention(tokens_BTD)
        if first:
            said_BTD, tokens_BTD = self.attention.first(normed_BTD, mask_BT), tokens_BTD[:, :1]
        else:
            said_BTD = self.attention(normed_BTD, mask_BT)
        tokens_BTD = tokens_BTD + attended(said_BTD)
        return tokens_BTD + fed(self.feed(self.norm_feed(tokens_BTD)))


def through(
    blocks: Iterable[nn.Module], tokens_BTD: Tensor, mask_BT: Tensor | None = None, *, first: bool = False
) -> Tensor:
    """Tokens [B, T, D] after all of `blocks`, or only the `first` one of each row [B, 1, D]: of the last block nothing
    else is computed then."""
    ordered = list(blocks)
    for number, block in enumerate(ordered, start=1):
        tokens_BTD = block(tokens_BTD, mask_BT, first=first and number == len(ordered))
    return tokens_BTD[:, :1] if first else tokens_BTD


class CrossingBlock(Block):
    """A layer that sees what is before each token, and attends to a memory."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__(width, heads, dropout)
        self.norm_crossing = nn.LayerNorm(width)
        self.crossing = CrossAttention(width, heads, dropout)

    def remember(self, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` attends to: keys and values [B, H, S, C] of a memory."""
        return self.crossing.remember(memory_BSD)

    def forward(  # type: ignore[override]
        self, tokens_BTD: Tensor, crossed: tuple[Tensor, Tensor], mask_BS: Tensor
    ) -> Tensor:
        tokens_BTD = tokens_BTD + self.attention(self.norm_attention(tokens_BTD), causal=True)
        tokens_BTD = tokens_BTD + self.crossing(self.norm_crossing(tokens_BTD), crossed, mask_BS)
        return tokens_BTD + self.feed(self.norm_feed(tokens_BTD))  # type: ignore[no-any-return]


class Stepping:
    """A `CrossingBlock` that is given one token after another, without gradients: what its `forward` gives for all at
    once. Keys and values of what came before lie in buffers that are allocated once.

    `crossed`: keys and values [N, H, S, C] of the memory; `tokens`: how many there will be at most.
    """

    def __init__(self, block: CrossingBlock, crossed: tuple[Tensor, Tensor], mask_NS: Tensor, tokens: int) -> None:
        attention, crossing = block.attention, block.crossing
        self.norms = [_norm(one) for one in (block.norm_attention, block.norm_crossing, block.norm_feed)]
        wide: Any = block.feed[0]
        narrow: Any = block.feed[2]
        self.qkv, self.out, self.query, self.crossed_out, self.wide, self.narrow = (
            turned(one.weight, one.bias)
            for one in (attention.qkv, attention.out, crossing.query, crossing.out, wide, narrow)
        )
        self.crossed = crossed
        rows, self.heads, _, channels = crossed[0].shape
        # As numbers to add, once instead of at every step.
        zeros_NS = crossed[0].new_zeros(mask_NS.shape)
        self.mask = None if mask_NS.all() else zeros_NS.masked_fill(~mask_NS, float("-inf"))[:, None, None]
        self.seen = crossed[0].new_zeros(2, rows, self.heads, tokens, channels)
        self.length = 0

    def __call__(self, state_ND: Tensor) -> Tensor:
        """The next token [N, D] through the block."""
        qkv_N3HC = self.qkv(self.norms[0](state_ND)).view(len(state_ND), 3, self.heads, -1)
        self.seen[:, :, :, self.length] = qkv_N3HC[:, 1:].transpose(0, 1)
        self.length += 1
        key, value = self.seen[:, :, :, : self.length]
        mixed_NH1C = F.scaled_dot_product_attention(qkv_N3HC[:, 0, :, None], key, value)
        state_ND = state_ND + self.out(mixed_NH1C.flatten(1))
        query_NH1C = self.query(self.norms[1](state_ND)).view(len(state_ND), self.heads, 1, -1)
        mixed_NH1C = F.scaled_dot_product_attention(query_NH1C, *self.crossed, self.mask)
        state_ND = state_ND + self.crossed_out(mixed_NH1C.flatten(1))
        return state_ND + self.narrow(F.gelu(self.wide(self.norms[2](state_ND))))

    def keep(self, parents_N: Tensor) -> None:
        """Go on with what each row's parent has seen."""
        self.seen = self.seen[:, parents_N]


def _as_said(said_BTD: Tensor) -> Tensor:
    return said_BTD


def _norm(norm: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    return lambda rows_ND: torch.layer_norm(rows_ND, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def initialise(module: nn.Module) -> None:
    """Truncated-normal weights (standard deviation 0.02 for embeddings, 1/sqrt(fan-in) for the rest), zero biases.

    Parts that say of themselves that they are `initialised` keep what they have: weights that were trained elsewhere.
    """
    if getattr(module, "initialised", False):
        return
    if isinstance(module, nn.Linear | nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.trunc_normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)
    for part in module.children():
        initialise(part)


def widened(tensor: Tensor) -> Tensor:
    """In float32 at least: what losses and lengths are computed in."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def positions(tokens: int, width: int) -> nn.Parameter:
    """Learned position vectors [tokens, width]."""
    return nn.Parameter(torch.randn(tokens, width) * 0.02)


def attend(
    query_BHTC: Tensor, key_BHSC: Tensor, value_BHSC: Tensor, mask_BS: Tensor | None, *, causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:  # fmt: skip
    """softmax(Q K^T / sqrt(C)) V [B, H, T, C] over the keys that `mask` allows (Vaswani et al. 2017)."""
    mask = None if mask_BS is None else mask_BS[:, None, None, :]
    kind = query_BHTC.dtype
    if kind != torch.bfloat16 or query_BHTC.device.type != "cpu":
        return F.scaled_dot_product_attention(
            query_BHTC, key_BHSC, value_BHSC, mask, dropout_p=dropout, is_causal=causal
        )
    # On a CPU, torch's kernel takes several times as long backwards in bf16 as in float32.
    if PRODUCTS_FROM <= key_BHSC.shape[2] <= PRODUCTS_TO and not causal:
        return _by_products(query_BHTC, key_BHSC, value_BHSC, mask, dropout)
    return F.scaled_dot_product_attention(
        query_BHTC.float(), key_BHSC.float(), value_BHSC.float(), mask, dropout_p=dropout, is_causal=causal
    ).to(kind)


def looking(query_BHTC: Tensor, key_BHSC: Tensor, mask_BS: Tensor | None, *, causal: bool = False) -> Tensor:
    """softmax(Q K^T / sqrt(C)) [B, H, T, S]; zeros where there is no key that counts."""
    scores_BHTS = widened(query_BHTC) @ widened(key_BHSC).transpose(-1, -2) * query_BHTC.shape[-1] ** -0.5
    allowed = torch.ones_like(scores_BHTS, dtype=torch.bool)
    if mask_BS is not None:
        allowed = allowed & mask_BS[:, None, None, :]
    if causal:
        allowed = allowed.tril()
    return torch.softmax(scores_BHTS.masked_fill(~allowed, -1e30), -1) * allowed


def _by_products(
    query_BHTC: Tensor, key_BHSC: Tensor, value_BHSC: Tensor, mask: Tensor | None, dropout: float
) -> Tensor:
    """Attention written out, each step in the precision of its inputs."""
    scores_BHTS = (query_BHTC * query_BHTC.shape[-1] ** -0.5) @ key_BHSC.transpose(-1, -2)
    if mask is not None:
        # Finite, so that a row without a key is a mean of nothing that counts, never NaN.
        scores_BHTS = scores_BHTS.masked_fill(~mask, -1e30)
    weights_BHTS = F.dropout(scores_BHTS.softmax(-1), dropout)
    mixed_BHTC = weights_BHTS @ value_BHSC
    return mixed_BHTC if mask is None else mixed_BHTC * mask.any(-1, keepdim=True)
