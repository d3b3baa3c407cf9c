"""Masked language: naming the words of a text that were hidden."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcore.data import ranks
from mmcore.data.batches import Batch, Rows
from mmcore.data.tokenizer import SPECIALS
from mmcore.models.losses import token_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import Base
from mmcore.settings import Component


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """Naming the words of a text of which `share` were hidden (80 % by [MASK], 10 % by another word, 10 % left;
    Devlin et al. 2019), from the words around them and, where an `image`, `audio` or `video` is `given` (null: none),
    from that: one layer in which the words attend to it (as in FLAVA; Singh et al. 2022)."""

    share: float
    given: str | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("text",) if self.given is None else (self.given, "text")

    @property
    def encoded(self) -> tuple[str, ...]:
        return () if self.given is None else (self.given,)  # of the text only one with words hidden

    @property
    def terms(self) -> list[str]:
        return ["masked_language" if self.given is None else f"masked_language_{self.given}"]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return {} if self.given is None else {self.terms[0]: {"name": "look", "of": "text", "at": self.given}}

    def told(self, losses: Mapping[str, float]) -> Mapping[str, float]:
        """The perplexity: among how many words, equally likely, the model would be as unsure."""
        # Of what diverges, the largest number there is.
        return {f"{self.terms[0]}_perplexity": math.exp(min(losses[self.terms[0]] / self.weight, 700.0))}

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        ids_BT, mask_BT = batch.inputs["text"]
        seen_BT, hidden_BT = hidden(ids_BT, mask_BT, self.share, model.processor, len(batch))
        tokens_BTD, _ = model.encode("text", seen_BT, mask_BT)
        if self.given is not None:
            hidden_BT = hidden_BT & batch.present(self.given)[:, None]
            medium = model.encode(self.given, *batch.inputs[self.given])
            tokens_BTD = model.answer(self.terms[0], {"text": (tokens_BTD, mask_BT), self.given: medium})
        value = token_loss(model.fill(tokens_BTD[hidden_BT]), ids_BT[hidden_BT])
        return {self.terms[0]: self.weight * value}


def hidden(ids_BT: Tensor, mask_BT: Tensor, share: float, processor: Processor, count: int) -> tuple[Tensor, Tensor]:
    """The ids with some hidden, and which [B, T]; `count`: the rows of the batch over all ranks."""
    # Drawn for the whole batch, so that it does not depend on how many ranks share it.
    own, whole = ranks.share(count), (count, ids_BT.shape[1])
    fate_BT = torch.rand(whole, device=ids_BT.device)[own]
    special_BT = torch.isin(ids_BT, torch.tensor(processor.specials, device=ids_BT.device))
    hidden_BT = (fate_BT < share) & mask_BT & ~special_BT
    # The first ids are special ones where the tokenizer is ours; elsewhere one of them is drawn now and then.
    others_BT = torch.randint(len(SPECIALS), processor.vocabulary, whole, device=ids_BT.device)[own]
    seen_BT = torch.where(hidden_BT & (fate_BT < 0.8 * share), processor.specials.mask, ids_BT)
    return torch.where(hidden_BT & (fate_BT >= 0.9 * share), others_BT, seen_BT), hidden_BT
