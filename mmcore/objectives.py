"""What a model is pretrained on: objectives by name, and a weighted sum of them as one thing to train.

An objective says which inputs it needs (`inputs`), how often it runs (`every`) and on how many samples
(`batch_size`), and its `loss(model, batch)` is a dict of named losses. Objectives that need the same rows at the
same steps share their batch, and the model encodes each of its inputs once for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data import ranks
from mmcore.data.batches import Batch, Batches, Rows
from mmcore.data.modalities.text import MASK, SPECIALS
from mmcore.models.losses import contrastive_loss, next_token_loss, token_loss
from mmcore.models.multimodal import Input, MultimodalModel
from mmcore.models.processor import Processor
from mmcore.registry import Table
from mmcore.settings import AugmentSettings, Component

OBJECTIVES: Table[Any] = Table("objective")
COLUMNS = {"text": "captions"}  # inputs that are not named like the column they come from


class Remembering:
    """A model that encodes and embeds each input once, however many objectives ask for it; otherwise the model."""

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model
        # With the values beside the result: while they are kept, their identity is theirs alone.
        self._encoded: dict[tuple[str, int], tuple[Tensor, Input]] = {}
        self._embedded: dict[tuple[str, int], Tensor] = {}

    def encode(self, modality: str, values: Tensor, mask: Tensor) -> Input:
        key = (modality, id(values))
        if key not in self._encoded:
            self._encoded[key] = values, self._model.encode(modality, values, mask)
        return self._encoded[key][1]

    def embed(self, modality: str, values: Tensor, mask: Tensor) -> Tensor:
        key = (modality, id(values))
        if key not in self._embedded:
            self._embedded[key] = self._model.project(modality, *self.encode(modality, values, mask))
        return self._embedded[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@OBJECTIVES.add("contrast")
@dataclass(frozen=True)
class Contrast:
    """Symmetric InfoNCE between the two inputs of `pair`."""

    pair: list[str]
    weight: float
    every: int
    batch_size: int | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.pair)

    @property
    def term(self) -> str:
        return f"contrast_{'_'.join(self.pair)}"

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        left, right = (model.embed(name, *batch.inputs[name]) for name in self.pair)
        # `same` says which texts fit which rows: with the text on the right, rows and columns change places.
        same_BB = batch.same_BB if self.pair[0] == "text" else batch.same_BB.T
        value = contrastive_loss(left, right, model.scale(), same_BB, batch.present(*self.pair))
        return {self.term: self.weight * value}


@OBJECTIVES.add("masked_language")
@dataclass(frozen=True)
class MaskedLanguage:
    """Naming the words of a text of which `share` were hidden (80 % by [MASK], 10 % by another word, 10 % left;
    Devlin et al. 2019), from the words around them."""

    share: float
    weight: float
    every: int
    batch_size: int | None

    inputs = ("text",)
    term = "masked_language"

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        ids_BT, mask_BT = batch.inputs["text"]
        # Drawn for the whole batch, so that it does not depend on how many ranks share it.
        share, whole = ranks.share(len(batch)), (len(batch), ids_BT.shape[1])
        fate_BT = torch.rand(whole, device=ids_BT.device)[share]
        hidden_BT = (fate_BT < self.share) & mask_BT & (ids_BT >= len(SPECIALS))
        others_BT = torch.randint(len(SPECIALS), model.processor.vocabulary, whole, device=ids_BT.device)[share]
        seen_BT = torch.where(hidden_BT & (fate_BT < 0.8 * self.share), MASK, ids_BT)
        seen_BT = torch.where(hidden_BT & (fate_BT >= 0.9 * self.share), others_BT, seen_BT)
        tokens_BTD, _ = model.encode("text", seen_BT, mask_BT)
        value = token_loss(model.fill(tokens_BTD[hidden_BT]), ids_BT[hidden_BT])
        return {self.term: self.weight * value}


@OBJECTIVES.add("caption")
@dataclass(frozen=True)
class Caption:
    """Writing the text of an `image` or `video` word by word; `smoothing` spreads that share of each target."""

    of: str
    smoothing: float
    weight: float
    every: int
    batch_size: int | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.of, "text")

    @property
    def term(self) -> str:
        return f"caption_{self.of}"

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        ids_BT, mask_BT = batch.inputs["text"]
        logits_BTV = model.write(ids_BT[:, :-1], {self.of: model.encode(self.of, *batch.inputs[self.of])})
        present_BT = mask_BT & batch.present(self.of)[:, None]
        return {self.term: self.weight * next_token_loss(logits_BTV, ids_BT, present_BT, smoothing=self.smoothing)}


@dataclass(frozen=True)
class MixedBatch:
    """The batches of one step, by the number of the stream that each comes from."""

    parts: Mapping[int, Batch]

    @property
    def ids(self) -> list[str]:
        return [identity for batch in self.parts.values() for identity in batch.ids]

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.parts.values())

    def to(self, device: torch.device) -> "MixedBatch":
        return MixedBatch({number: batch.to(device) for number, batch in self.parts.items()})


@dataclass(frozen=True)
class MixedBatches:
    """Of each stream, every so many steps, the next batch."""

    streams: Sequence[tuple[int, Batches]]

    def at(self, number: int) -> MixedBatch:
        due = enumerate(self.streams)
        return MixedBatch(
            {stream: batches.at(number // every) for stream, (every, batches) in due if number % every == 0}
        )


class Mixture:
    """A weighted sum of objectives.

    Those without a row in `corpus` that has what they need, and those of weight 0, are left out; `notes` says so.
    """

    headline = ("loss", "min")

    def __init__(self, specs: Sequence[Component], corpus: Rows) -> None:
        self.notes: list[str] = []
        self.objectives: list[Any] = []
        for spec in specs:
            objective = OBJECTIVES.build(spec)
            columns = [COLUMNS.get(name, name) for name in objective.inputs]
            if not objective.weight:
                self.notes.append(f"{objective.term}: left out, its weight is 0")
            elif not corpus.with_(*columns):
                self.notes.append(f"{objective.term}: skipped, no row has {' and '.join(columns)}")
            else:
                self.objectives.append(objective)
        if not self.objectives:
            raise ValueError(f"nothing to pretrain on: {'; '.join(self.notes) or 'pretrain.objectives is empty'}")
        self.streams = self._streams()
        if not any(every == 1 for every, *_ in self.streams):
            raise ValueError("at least one of pretrain.objectives must run on every step (every: 1)")

    @property
    def terms(self) -> list[str]:
        return [objective.term for objective in self.objectives]

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> MixedBatches:
        """An endless source of training batches."""
        made = []
        for number, (every, size, inputs, _) in enumerate(self.streams):
            needs = [COLUMNS.get(name, name) for name in inputs]
            own_size = size or batch_size
            batches = Batches(
                corpus, processor, needs, batch_size=own_size, seed=seed + number, augment=augment,
                context=processor.prepare.context,
            )  # fmt: skip
            made.append((every, batches))
        return MixedBatches(made)

    def loss(self, model: MultimodalModel, batch: MixedBatch) -> dict[str, Tensor]:
        """The weighted losses of the objectives that run in this step, by name; their sum is what is trained."""
        losses: dict[str, Tensor] = {}
        for number, part in batch.parts.items():
            once = Remembering(model)
            for objective in self.streams[number][3]:
                losses |= objective.loss(once, part)
        return losses

    @torch.inference_mode()
    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """Each weighted loss averaged over the rows of `corpus`, and their sum `loss`; the same draws every time."""
        totals = dict.fromkeys(self.terms, 0.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for number, (_, size, inputs, _) in enumerate(self.streams):
                needs = [COLUMNS.get(name, name) for name in inputs]
                if not corpus.with_(*needs):
                    continue
                own_size = size or batch_size
                context = model.processor.prepare.context
                batches = Batches(corpus, model.processor, needs, batch_size=own_size, context=context, shuffle=False)
                for position in range(len(batches)):
                    part = batches.at(position).to(model.device)
                    for term, value in self.loss(model, MixedBatch({number: part})).items():
                        totals[term] += float(value) * len(part) / len(batches.indices)
        return {**totals, "loss": sum(totals.values())}

    def _streams(self) -> list[tuple[int, int | None, tuple[str, ...], list[Any]]]:
        """(every, batch size, inputs, objectives); what needs the most inputs first, the rest joins where it can."""
        streams: list[tuple[int, int | None, tuple[str, ...], list[Any]]] = []
        for objective in sorted(self.objectives, key=lambda o: -len(o.inputs)):
            for every, size, inputs, members in streams:
                fits = set(objective.inputs) <= set(inputs)
                if fits and (every, size) == (objective.every, objective.batch_size):
                    members.append(objective)
                    break
            else:
                streams.append((objective.every, objective.batch_size, tuple(objective.inputs), [objective]))
        return streams
