"""The transformer parts that encoders and decoders are made of: few large operations, pre-norm, no BatchNorm.

Shapes: B batch, T tokens, S tokens of a memory that is attended to, D width, H heads, C channels of one head.
Masks are boolean and true where a token counts. A row without any true token yields zeros, never NaN.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Memory:
    """Keys and values of what came before, in buffers that are allocated once and filled token by token."""

    def __init__(self, batch: int, heads: int, tokens: int, channels: int, like: Tensor) -> None:
        self.keys_BHTC = like.new_zeros(batch, heads, tokens, channels)
        self.values_BHTC = like.new_zeros(batch, heads, tokens, channels)
        self.length = 0

    def append(self, key_BH1C: Tensor, value_BH1C: Tensor) -> tuple[Tensor, Tensor]:
        """Enter one token; returns the keys and values of all tokens so far."""
        self.keys_BHTC[:, :, self.length] = key_BH1C[:, :, 0]
        self.values_BHTC[:, :, self.length] = value_BH1C[:, :, 0]
        self.length += 1
        return self.keys_BHTC[:, :, : self.length], self.values_BHTC[:, :, : self.length]


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to each other, with queries, keys and values from one product."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"model.width {width} must be a multiple of model.heads {heads}")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, tokens_BTD: Tensor, mask_BT: Tensor | None = None, *, causal: bool = False, memory: Memory | None = None
    ) -> Tensor:
        qkv_BTHC = self.qkv(tokens_BTD).unflatten(-1, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in qkv_BTHC.unbind(2))
        if memory is not None:
            key, value = memory.append(key, value)
            causal = False  # a single new token may see everything before it
        dropout = self.dropout if self.training else 0.0
        mixed_BHTC = attend(query, key, value, mask_BT, causal=causal, dropout=dropout)
        return self.out(mixed_BHTC.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to a memory whose keys and values are computed once per memory."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def remember(self, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, S, C] of a memory."""
        pair = self.key_value(memory_BSD).unflatten(-1, (2, self.heads, -1))
        key, value = (part.transpose(1, 2) for part in pair.unbind(2))
        return key, value

    def forward(self, tokens_BTD: Tensor, memory: tuple[Tensor, Tensor], mask_BS: Tensor | None) -> Tensor:
        query_BHTC = self.query(tokens_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
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

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        tokens_BTD = tokens_BTD + self.attention(self.norm_attention(tokens_BTD), mask_BT)
        return tokens_BTD + self.feed(self.norm_feed(tokens_BTD))  # type: ignore[no-any-return]


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
        self, tokens_BTD: Tensor, crossed: tuple[Tensor, Tensor], mask_BS: Tensor, *, memory: Memory | None = None
    ) -> Tensor:
        seen = self.attention(self.norm_attention(tokens_BTD), causal=True, memory=memory)
        tokens_BTD = tokens_BTD + seen
        tokens_BTD = tokens_BTD + self.crossing(self.norm_crossing(tokens_BTD), crossed, mask_BS)
        return tokens_BTD + self.feed(self.norm_feed(tokens_BTD))  # type: ignore[no-any-return]


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
    if kind == torch.bfloat16 and query_BHTC.device.type == "cpu":
        # On a CPU, torch's kernel takes seven times as long backwards in bf16 as in float32.
        query_BHTC, key_BHSC, value_BHSC = query_BHTC.float(), key_BHSC.float(), value_BHSC.float()
    return F.scaled_dot_product_attention(
        query_BHTC, key_BHSC, value_BHSC, mask, dropout_p=dropout, is_causal=causal
    ).to(kind)
