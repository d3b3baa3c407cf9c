"""What stands on the encoders: pooling into the shared space, words from tokens, and the heads of tasks.

A head is made of its options and what the model gives it (see `encoders`, `fusion`). Called with encoded inputs by
name (unless it says otherwise), it returns its answer [B, ...].

Shapes: B batch, T tokens, D width, E shared space, V vocabulary, C classes, M modalities.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.data.modalities.audio import frame_size
from mmcore.models.fusion import FUSIONS, Exchange, Fused, Pooled
from mmcore.models.layers import widened
from mmcore.models.unusual import Unusual
from mmcore.registry import Table
from mmcore.settings import Component, PrepareSettings

HEADS: Table[Any] = Table("head")
HEADS.add("unusual")(Unusual)


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
        pooled_BHD = scores_BTH.softmax(1).transpose(1, 2) @ tokens_BTD
        # The value of a weighted sum is the weighted sum of values: one product for each head instead of each token.
        weight_HCD = self.value.weight.view(self.heads, -1, self.value.in_features)
        pooled_BD = torch.einsum("bhd,hcd->bhc", pooled_BHD, weight_HCD).flatten(1) + self.value.bias
        embedding_BE = F.normalize(widened(self.out(self.norm(pooled_BD))), dim=-1)
        return embedding_BE * mask_BT.any(1, keepdim=True)


class First(nn.Module):
    """The first of tokens [B, T, D] with mask [B, T] to one vector [B, E] of length 1 in the shared space; zeros for a
    row without any token."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, embed_dim)

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        return F.normalize(widened(self.out(tokens_BTD[:, 0])), dim=-1) * mask_BT.any(1, keepdim=True)


class Words(nn.Module):
    """Tokens [B, T, D] to logits [B, T, V] over the vocabulary, with the given word vectors, of `channels` numbers, as
    output weights."""

    def __init__(self, width: int, vocabulary: int, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, channels)
        self.norm = nn.LayerNorm(channels)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens_BTD: Tensor, embedding: nn.Embedding) -> Tensor:
        return F.linear(self.norm(F.gelu(self.dense(tokens_BTD))), embedding.weight, self.bias)


@HEADS.add("classes")
class Classes(nn.Module):
    """Logits [B, C] of `classes` from what `fusion` makes of the inputs."""

    def __init__(
        self, *, inputs: list[str], classes: list[str], fusion: Component, width: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.inputs, self.classes = inputs, classes
        self.fusion = FUSIONS.build(fusion, modalities=inputs, width=width, heads=heads, dropout=dropout)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, len(classes))

    def fuse(self, encoded: Mapping[str, tuple[Tensor, Tensor]]) -> Fused:
        """The inputs joined, with the weight that each has."""
        return self.fusion({name: encoded[name] for name in self.inputs})  # type: ignore[no-any-return]

    def forward(self, encoded: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        return widened(self.out(self.norm(self.fuse(encoded).pooled)))


@HEADS.add("match")
class Match(Classes):
    """The logit [B] of the inputs belonging together, from what `fusion` makes of them."""

    def __init__(self, *, inputs: list[str], fusion: Component, width: int, heads: int, dropout: float) -> None:
        super().__init__(inputs=inputs, classes=["match"], fusion=fusion, width=width, heads=heads, dropout=dropout)

    def forward(self, encoded: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        return super().forward(encoded)[:, 0]


@HEADS.add("votes")
class Votes(nn.Module):
    """Decision level: every modality chooses among the classes by itself, and their probabilities are joined by a
    `rule`, with learned weights that sum to 1 over those M that are there: `mean` (a linear opinion pool), or `product`
    with the weights times M as exponents, scaled to sum to 1 (a logarithmic one; at equal weights the plain product).
    Logarithms of probabilities [B, C]."""

    def __init__(self, *, inputs: list[str], classes: list[str], rule: str, width: int) -> None:
        super().__init__()
        if rule not in ("mean", "product"):
            raise ValueError(f"the rule of votes is '{rule}'; choose mean or product")
        self.inputs, self.classes, self.rule = inputs, classes, rule
        self.pool = Pooled(width, inputs)
        self.out = nn.ModuleDict({name: nn.Linear(width, len(classes)) for name in inputs})
        self.trust = nn.Parameter(torch.zeros(len(inputs)))

    def forward(self, encoded: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        vectors_BMD, present_BM = self.pool({name: encoded[name] for name in self.inputs})
        votes = [widened(self.out[name](vectors_BMD[:, m])) for m, name in enumerate(self.inputs)]
        votes_BMC = torch.stack(votes, 1).log_softmax(-1)
        weights_BM = widened(self.trust).expand(len(present_BM), -1).masked_fill(~present_BM, -1e4).log_softmax(1)
        if self.rule == "mean":
            return torch.logsumexp(votes_BMC + weights_BM[..., None], 1)
        exponents_BM = weights_BM.exp() * present_BM.sum(1, keepdim=True)
        return torch.log_softmax((votes_BMC * exponents_BM[..., None]).sum(1), -1)


@HEADS.add("look")
class Look(nn.Module):
    """The tokens [B, T, D] of the input `of` after a layer in which they attend to those of the input `at`; a row
    without any of those keeps what it knows by itself."""

    def __init__(self, *, of: str, at: str, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.of, self.at = of, at
        self.exchange = Exchange(width, heads, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, encoded: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        return self.norm(self.exchange(encoded[self.of][0], *encoded[self.at]))  # type: ignore[no-any-return]


@HEADS.add("restore")
class Restore(nn.Module):
    """What stood at the place of each token of the input `of`: [B, T, P], where P are the numbers of a square `span`
    pixels wide (of `image`), or of `span` steps of log-mel bands (of `audio`). `mark` [P] is what is to stand there
    instead where something is hidden."""

    def __init__(self, *, of: str, span: int, width: int, prepare: PrepareSettings) -> None:
        super().__init__()
        if of not in ("image", "audio"):
            raise ValueError(f"the head 'restore' restores image or audio, not '{of}'")
        size = 3 * span**2 if of == "image" else span * frame_size(prepare)
        self.of = of
        self.mark = nn.Parameter(torch.zeros(size))
        self.out = nn.Linear(width, size)

    def forward(self, encoded: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        return widened(self.out(encoded[self.of][0]))


@HEADS.add("align")
class Align(nn.Module):
    """Called with vectors [B, E] of the shared space, it returns vectors of `size` numbers: the same where that is E,
    else what a linear layer makes of them."""

    def __init__(self, *, size: int, embed_dim: int) -> None:
        super().__init__()
        self.out = nn.Identity() if size == embed_dim else nn.Linear(embed_dim, size)

    def forward(self, vectors_BE: Tensor) -> Tensor:
        kind = next((weight.dtype for weight in self.out.parameters()), vectors_BE.dtype)
        return self.out(vectors_BE.to(kind))  # type: ignore[no-any-return]


@HEADS.add("pair_bias")
class PairBias(nn.Module):
    """Called with the rows of a batch, it returns what the sigmoid loss multiplies cosine similarities with, and what
    it adds to them.

    They begin at 10 and ln(1 / (rows - 1)): one in `rows` pairs fits, and at first nothing else is known. The learned
    part of the bias is what it differs from that, so it means the same in a batch of another size. (Zhai et al. 2023
    begin at -10 whatever the batch, which is right for 22 thousand rows.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.log(10)))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, rows: int) -> tuple[Tensor, Tensor]:
        return self.scale.clamp(max=math.log(100)).exp(), self.bias - math.log(max(rows - 1, 1))
