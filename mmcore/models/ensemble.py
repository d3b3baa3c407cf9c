"""Several models of one task that answer together, and how far they disagree.

Shapes: B batch, T tokens, K members, D width, E shared space, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mmcore.models.multimodal import Input, MultimodalModel


class Ensemble(nn.Module):
    """Encodes, embeds and chooses as a `MultimodalModel` does, so that tasks which do no more (retrieval without a
    second stage, classification, questions) predict with it as with one; it writes no texts.

    ValueError for fewer than two members, or for members that read, embed or choose otherwise than the first.
    """

    def __init__(self, members: Sequence[MultimodalModel]) -> None:
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"an ensemble needs two members or more, not {len(members)}")
        first = members[0]
        for number, other in enumerate(members[1:], 2):
            for what, own, theirs in (
                ("tokenizer", first.processor.tokenizer.to_str(), other.processor.tokenizer.to_str()),
                ("prepare settings", first.processor.prepare, other.processor.prepare),
                ("model settings", first.settings, other.settings),
                ("heads", first.head_specs, other.head_specs),
            ):
                if own != theirs:
                    raise ValueError(f"member {number} of the ensemble has other {what} than the first one")
        self.members = nn.ModuleList(members)
        self.processor, self.settings = first.processor, first.settings
        self.head_specs, self.answers_by = first.head_specs, first.answers_by

    @classmethod
    def load(cls, folders: Sequence[Path], device: torch.device | None = None) -> "Ensemble":
        """Of saved models, in evaluation mode."""
        return cls([MultimodalModel.load(folder, device) for folder in folders]).eval()

    @property
    def device(self) -> torch.device:
        return self._all()[0].device

    def encode(self, modality: str, values: Tensor, mask: Tensor, *, to_embed: bool = False) -> Input:
        """The members' tokens side by side [B, T, K * D], and their mask [B, T]; `to_embed`: no more of them than
        `project` looks at."""
        encoded = [member.encode(modality, values, mask, to_embed=to_embed) for member in self._all()]
        return torch.cat([tokens_BTD for tokens_BTD, _ in encoded], -1), encoded[0][1]

    def project(self, modality: str, tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """The members' vectors side by side, divided by sqrt(K) [B, K * E]: of length 1, and the cosine of two is the
        mean of the members' cosines."""
        parts = zip(self._all(), self._split(tokens_BTD), strict=True)
        vectors = [member.project(modality, own_BTD, mask_BT) for member, own_BTD in parts]
        return torch.cat(vectors, -1) / math.sqrt(len(self.members))

    def embed(self, modality: str, values: Tensor, mask: Tensor) -> Tensor:
        """Vectors [B, K * E], see `project`; zeros where the modality is absent."""
        return self.project(modality, *self.encode(modality, values, mask, to_embed=True))

    def answer(self, head: str, encoded: Mapping[str, Input]) -> Tensor:
        """Logarithms [B, C] of the mean of the members' probabilities (Lakshminarayanan et al. 2017)."""
        return torch.logsumexp(self.votes(head, encoded), 0) - math.log(len(self.members))

    def disagreement(self, head: str, encoded: Mapping[str, Input]) -> Tensor:
        """How far the members' probabilities lie apart [B], in nats: the mean divergence of each from their mean, zero
        where all say the same, at most log K. Large where the inputs are unlike those of the training, or where the
        answer is doubtful."""
        shares_KBC = self.votes(head, encoded).exp()
        mean_BC = shares_KBC.mean(0)
        # Entropy of the mean less the mean entropy, which rounding may put just below zero.
        return (_entropy(mean_BC) - _entropy(shares_KBC).mean(0)).clamp(min=0)

    def votes(self, head: str, encoded: Mapping[str, Input]) -> Tensor:
        """Logarithms [K, B, C] of the members' probabilities of the classes."""
        split = {name: self._split(tokens_BTD) for name, (tokens_BTD, _) in encoded.items()}
        logits = [
            member.answer(head, {name: (split[name][number], mask) for name, (_, mask) in encoded.items()})
            for number, member in enumerate(self._all())
        ]
        return torch.stack(logits).log_softmax(-1)

    def _all(self) -> list[MultimodalModel]:
        return list(self.members)  # type: ignore[arg-type]

    def _split(self, tokens_BTD: Tensor) -> tuple[Tensor, ...]:
        return tokens_BTD.chunk(len(self.members), -1)


def _entropy(shares: Tensor) -> Tensor:
    return -torch.xlogy(shares, shares).sum(-1)
