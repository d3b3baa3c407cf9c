"""What joins the modalities of a sample: from tokens by modality to one vector, with the weight each modality had.

A fusion is made of its options and what the model gives it (`width`, `heads`, `dropout`, `modalities`: the names that
may come). Called with tokens and masks by name, any of its modalities, it returns `Fused`. A
modality that a row lacks is ordinary input: its mask is false throughout, and the row comes out as if the modality had
not been named at all.

Shapes: B batch, T tokens, D width, M modalities, R rank. Masks are true where a token counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmcore.models.layers import Block, CrossAttention, FeedForward, through
from mmcore.registry import Table

FUSIONS: Table[Any] = Table("fusion")
Tokens = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Fused:
    """Joined modalities: `tokens` [B, T, D] with their `mask` [B, T] for a decoder, `pooled` [B, D] for a head.

    `weights` [B, M]: how much each modality counted, in the order of `names`; they sum to 1 over those that are there.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    weights: Tensor
    names: tuple[str, ...]


class Pooled(nn.Module):
    """Tokens of each modality to one vector each, weighed by a learned query of its own."""

    def __init__(self, width: int, modalities: list[str]) -> None:
        super().__init__()
        self.queries = nn.ModuleDict({name: nn.Linear(width, 1) for name in modalities})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in modalities})

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Vectors [B, M, D], zeros where a modality is absent, and which [B, M] are there."""
        vectors, present = [], []
        for name, (tokens_BTD, mask_BT) in tokens.items():
            scores_BT = self.queries[name](tokens_BTD)[..., 0].masked_fill(~mask_BT, -1e4)
            vector_BD = (scores_BT.softmax(1)[:, None] @ tokens_BTD)[:, 0]
            vectors.append(self.norms[name](vector_BD) * mask_BT.any(1, keepdim=True))
            present.append(mask_BT.any(1))
        return torch.stack(vectors, 1), torch.stack(present, 1)


class Fusion(nn.Module):
    """What fusions have in common: they pool the modalities first."""

    def __init__(self, *, width: int, modalities: list[str]) -> None:
        super().__init__()
        self.pool = Pooled(width, modalities)
        self.places = {name: number for number, name in enumerate(modalities)}

    def chosen(self, tokens: Tokens) -> list[int]:
        """The numbers of the modalities that have come."""
        for name in tokens:
            if name not in self.places:
                raise LookupError(f"the fusion was not made for '{name}'; it joins: {', '.join(self.places)}")
        return [self.places[name] for name in tokens]


def _equal(present_BM: Tensor) -> Tensor:
    return present_BM / present_BM.sum(1, keepdim=True).clamp(min=1)


def _some(layers: int) -> range:
    """What to make the layers of a fusion by; ValueError without any, since then nothing would be joined."""
    if layers < 1:
        raise ValueError(f"layers is {layers}; a fusion of tokens needs 1 or more, without any nothing is joined")
    return range(layers)


def _one(tokens: Tokens, pooled_BD: Tensor, weights_BM: Tensor) -> Fused:
    """A fusion of vectors: the decoder then sees every token and the joined vector as one more."""
    present_B1 = torch.stack([mask.any(1) for _, mask in tokens.values()]).any(0)[:, None]
    joined = torch.cat([pooled_BD[:, None], *(tokens_BTD for tokens_BTD, _ in tokens.values())], 1)
    mask_BT = torch.cat([present_B1, *(mask for _, mask in tokens.values())], 1)
    return Fused(joined, mask_BT, pooled_BD, weights_BM, tuple(tokens))


# Of vectors -----------------------------------------------------------------------------------------------------------


@FUSIONS.add("concat")
class Concat(Fusion):
    """Late fusion: the vectors side by side, then two layers; a learned vector stands for what is absent."""

    def __init__(self, *, width: int, modalities: list[str], dropout: float) -> None:
        super().__init__(width=width, modalities=modalities)
        self.absent = nn.Parameter(torch.zeros(len(modalities), width))
        self.join = nn.Sequential(
            nn.Linear(len(modalities) * width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tokens) -> Fused:
        vectors_BMD, present_BM = self.pool(tokens)
        whole = self.absent.expand(len(vectors_BMD), -1, -1).to(vectors_BMD.dtype).clone()
        whole[:, self.chosen(tokens)] = torch.where(present_BM[..., None], vectors_BMD, whole[:, self.chosen(tokens)])
        return _one(tokens, self.join(whole.flatten(1)), _equal(present_BM))


@FUSIONS.add("attention")
class Attention(Fusion):
    """The sum of the vectors by weights that each vector earns for itself; softmax over the modalities present."""

    def __init__(self, *, width: int, modalities: list[str]) -> None:
        super().__init__(width=width, modalities=modalities)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        self.value = nn.Linear(width, width)

    def forward(self, tokens: Tokens) -> Fused:
        vectors_BMD, present_BM = self.pool(tokens)
        scores_BM = self.score(torch.tanh(self.hidden(vectors_BMD)))[..., 0].masked_fill(~present_BM, -1e4)
        weights_BM = scores_BM.softmax(1) * present_BM
        return _one(tokens, (weights_BM[:, None] @ self.value(vectors_BMD))[:, 0], weights_BM)


@FUSIONS.add("gated")
class Gated(Fusion):
    """h = sum of g_m * tanh(W_m z_m), every channel with gates of its own, softmax over the modalities present
    (gated multimodal unit; Arevalo et al. 2017)."""

    def __init__(self, *, width: int, modalities: list[str]) -> None:
        super().__init__(width=width, modalities=modalities)
        self.values = nn.ModuleDict({name: nn.Linear(width, width) for name in modalities})
        self.gates = nn.ModuleDict({name: nn.Linear(width, width) for name in modalities})
        self.all = nn.Linear(width, width)

    def forward(self, tokens: Tokens) -> Fused:
        vectors_BMD, present_BM = self.pool(tokens)
        whole_BD = self.all(vectors_BMD.sum(1))
        gates = torch.stack([self.gates[name](vectors_BMD[:, m]) + whole_BD for m, name in enumerate(tokens)], 1)
        gates_BMD = gates.masked_fill(~present_BM[..., None], -1e4).softmax(1) * present_BM[..., None]
        values = torch.stack([torch.tanh(self.values[name](vectors_BMD[:, m])) for m, name in enumerate(tokens)], 1)
        return _one(tokens, (gates_BMD * values).sum(1), gates_BMD.mean(2))


@FUSIONS.add("low_rank")
class LowRank(Fusion):
    """The product of all modalities with each other, in `rank` factors: h = sum over r of the product over m of
    W_m^r [z_m; 1] (Liu et al. 2018). An absent modality is left out of the product."""

    def __init__(self, *, rank: int, width: int, modalities: list[str]) -> None:
        super().__init__(width=width, modalities=modalities)
        self.rank = rank
        self.factors = nn.ModuleDict({name: nn.Linear(width, rank * width) for name in modalities})
        self.mix = nn.Parameter(torch.full((rank,), 1 / rank))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tokens) -> Fused:
        vectors_BMD, present_BM = self.pool(tokens)
        product_BRD = vectors_BMD.new_ones(len(vectors_BMD), self.rank, vectors_BMD.shape[-1])
        for m, name in enumerate(tokens):
            # 1 + ..., so that a product of several starts as a sum and learns from the first step.
            factor_BRD = 1 + self.factors[name](vectors_BMD[:, m]).unflatten(-1, (self.rank, -1))
            product_BRD = product_BRD * torch.where(present_BM[:, m, None, None], factor_BRD, 1.0)
        pooled_BD = self.norm((self.mix[:, None] * product_BRD).sum(1))
        return _one(tokens, pooled_BD, _equal(present_BM))


# Of tokens ------------------------------------------------------------------------------------------------------------


@FUSIONS.add("additive")
class Additive(Fusion):
    """The first modality asks, the tokens of the others answer: e_j = v tanh(W q + U k_j), a = softmax(e), the sum of
    a_j V k_j is added to the question (Bahdanau et al. 2015)."""

    def __init__(self, *, width: int, modalities: list[str]) -> None:
        super().__init__(width=width, modalities=modalities)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.score = nn.Linear(width, 1)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tokens) -> Fused:
        vectors_BMD, present_BM = self.pool(tokens)
        others = list(tokens.values())[1:] or list(tokens.values())
        keys_BTD = torch.cat([tokens_BTD for tokens_BTD, _ in others], 1)
        mask_BT = torch.cat([mask for _, mask in others], 1)
        energy_BTD = torch.tanh(self.query(vectors_BMD[:, 0])[:, None] + self.key(keys_BTD))
        scores_BT = self.score(energy_BTD)[..., 0].masked_fill(~mask_BT, -1e4)
        weights_BT = scores_BT.softmax(1) * mask_BT
        context_BD = (weights_BT[:, None] @ self.value(keys_BTD))[:, 0]
        return _one(tokens, self.norm(vectors_BMD[:, 0] + context_BD), _equal(present_BM))


@FUSIONS.add("cross_attention")
class Cross(Fusion):
    """`layers` in which the tokens of the first modality attend to those of all others, with both masks."""

    def __init__(self, *, layers: int, width: int, heads: int, dropout: float, modalities: list[str]) -> None:
        super().__init__(width=width, modalities=modalities)
        self.exchanges = nn.ModuleList(Exchange(width, heads, dropout) for _ in _some(layers))

    def forward(self, tokens: Tokens) -> Fused:
        (first, (asking_BTD, own_BT)), *others = tokens.items()
        if others:
            memory_BSD = torch.cat([tokens_BTD for _, (tokens_BTD, _) in others], 1)
            mask_BS = torch.cat([mask for _, (_, mask) in others], 1)
            for exchange in self.exchanges:
                asking_BTD = exchange(asking_BTD, memory_BSD, mask_BS)
        return _side_by_side({first: (asking_BTD, own_BT), **dict(others)}, self.pool)


@FUSIONS.add("co_attention")
class CoAttention(Fusion):
    """`layers` in each of which every modality attends to all others, then to itself (Lu et al. 2019)."""

    def __init__(self, *, layers: int, width: int, heads: int, dropout: float, modalities: list[str]) -> None:
        super().__init__(width=width, modalities=modalities)
        self.layers: Any = nn.ModuleList(
            nn.ModuleDict({name: Exchange(width, heads, dropout) for name in modalities}) for _ in _some(layers)
        )

    def forward(self, tokens: Tokens) -> Fused:
        current = dict(tokens)
        for layer in self.layers:
            before = current
            for name, (tokens_BTD, mask_BT) in before.items():
                others = [pair for other, pair in before.items() if other != name] or [before[name]]
                memory_BSD, mask_BS = torch.cat([t for t, _ in others], 1), torch.cat([m for _, m in others], 1)
                current = current | {name: (layer[name](tokens_BTD, memory_BSD, mask_BS), mask_BT)}
        return _side_by_side(current, self.pool)


@FUSIONS.add("transformer")
class Transformer(Fusion):
    """`layers` of attention over the tokens of all modalities together, each with the mark of its kind. Where the
    encoders have no layers of their own this is early fusion, a single stream (Kim et al. 2021)."""

    def __init__(self, *, layers: int, width: int, heads: int, dropout: float, modalities: list[str]) -> None:
        super().__init__(width=width, modalities=modalities)
        self.kinds = nn.ParameterDict({name: torch.zeros(width) for name in modalities})
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in _some(layers))

    def forward(self, tokens: Tokens) -> Fused:
        lengths = [tokens_BTD.shape[1] for tokens_BTD, _ in tokens.values()]
        stream_BTD = torch.cat([tokens_BTD + self.kinds[name] for name, (tokens_BTD, _) in tokens.items()], 1)
        mask_BT = torch.cat([mask for _, mask in tokens.values()], 1)
        stream_BTD = through(self.blocks, stream_BTD, mask_BT)
        streams, masks = torch.split(stream_BTD, lengths, 1), torch.split(mask_BT, lengths, 1)
        parts = zip(tokens, streams, masks, strict=True)
        return _side_by_side({name: (part, mask) for name, part, mask in parts}, self.pool)


class Exchange(nn.Module):
    """One modality's tokens after attending to others and a feed-forward layer, pre-norm."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads, dropout)
        self.feed = FeedForward(width, dropout)

    def forward(self, tokens_BTD: Tensor, memory_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        seen_BTD = self.attention(self.norm_attention(tokens_BTD), self.attention.remember(memory_BSD), mask_BS)
        # Where there is nothing to attend to, nothing is added: not even a bias.
        tokens_BTD = tokens_BTD + seen_BTD * mask_BS.any(1)[:, None, None]
        return tokens_BTD + self.feed(self.norm_feed(tokens_BTD))  # type: ignore[no-any-return]


def _side_by_side(tokens: Tokens, pool: nn.Module) -> Fused:
    """Joined tokens; the pooled vector is the mean over the modalities present."""
    vectors_BMD, present_BM = pool(tokens)
    weights_BM = _equal(present_BM)
    joined_BTD = torch.cat([tokens_BTD for tokens_BTD, _ in tokens.values()], 1)
    mask_BT = torch.cat([mask for _, mask in tokens.values()], 1)
    pooled_BD = (weights_BM[:, None].to(vectors_BMD.dtype) @ vectors_BMD)[:, 0]
    return Fused(joined_BTD, mask_BT, pooled_BD, weights_BM, tuple(tokens))
