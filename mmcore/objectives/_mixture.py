"""A weighted sum of objectives as one thing to train.

Objectives that need the same rows at the same steps share their batch, and the model encodes each of its inputs once
for all of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data.batches import LABEL, Batch, Batches, Rows, columns_of
from mmcore.data.views import VIEWS
from mmcore.models.multimodal import Input, MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import AugmentSettings, Component


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


@dataclass(frozen=True)
class Stream:
    """Objectives that share their batches: those of the same rows, steps and batch size."""

    objectives: Sequence[Any]
    inputs: tuple[str, ...]

    @property
    def every(self) -> int:
        return int(self.objectives[0].every)

    def takes(self, objective: Any) -> bool:
        """Whether the batches hold what `objective` needs, when it needs it."""
        first = self.objectives[0]
        # Only objectives that number the labels alike could share them; there are none.
        return (
            LABEL not in self.inputs
            and set(objective.inputs) <= set(self.inputs)
            and all(getattr(objective, name) == getattr(first, name) for name in ("every", "batch_size", "view"))
        )

    def rows(self, corpus: Rows) -> Rows:
        view = self.objectives[0].view
        return VIEWS[view](corpus) if view else corpus

    def batches(
        self, corpus: Rows, tokens: Processor, heads: Mapping[str, Component], *, batch_size: int, **options: Any
    ) -> Batches:
        """Batches of what the objectives need; `heads` are those that the model has."""
        columns = columns_of(self.inputs)
        first = self.objectives[0]
        size = first.batch_size or batch_size
        return Batches(self.rows(corpus), tokens, columns, label=first.labels(heads), batch_size=size, **options)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        once = Remembering(model)
        losses: dict[str, Tensor] = {}
        for objective in self.objectives:
            losses |= objective.loss(once, batch)
        return losses


@dataclass(frozen=True)
class MixedBatch:
    """The batches of one step, each with the stream that it comes from."""

    parts: Sequence[tuple[Stream, Batch]]

    @property
    def ids(self) -> list[str]:
        return [identity for _, batch in self.parts for identity in batch.ids]

    def __len__(self) -> int:
        return sum(len(batch) for _, batch in self.parts)

    def to(self, device: torch.device) -> "MixedBatch":
        return MixedBatch([(stream, batch.to(device)) for stream, batch in self.parts])

    def loss(self, model: MultimodalModel) -> dict[str, Tensor]:
        """The weighted losses of the objectives that run in this step, by name; their sum is what is trained."""
        return {name: value for stream, part in self.parts for name, value in stream.loss(model, part).items()}


@dataclass(frozen=True)
class MixedBatches:
    """Of each stream, every so many steps, the next batch."""

    streams: Sequence[tuple[Stream, Batches]]

    def at(self, number: int) -> MixedBatch:
        due = [(stream, batches) for stream, batches in self.streams if number % stream.every == 0]
        return MixedBatch([(stream, batches.at(number // stream.every)) for stream, batches in due])


class Mixture:
    """A weighted sum of objectives.

    Those without a row in `corpus` that has what they need, and those of weight 0, are left out; `notes` says so.
    """

    headline = ("loss", "min")

    def __init__(self, specs: Sequence[Component], corpus: Rows) -> None:
        self.notes: list[str] = []
        self.streams: list[Stream] = []
        for objective in sorted((OBJECTIVES.build(spec) for spec in specs), key=lambda one: -len(one.inputs)):
            name = " and ".join(objective.terms)
            stream = Stream([objective], tuple(objective.inputs))
            columns = columns_of(objective.inputs)
            if not objective.weight:
                self.notes.append(f"{name}: left out, its weight is 0")
            elif not stream.rows(corpus).with_(*columns):
                self.notes.append(f"{name}: skipped, no row has {' and '.join(columns)}")
            else:
                self._add(stream)
        if twice := [term for term, count in Counter(self.terms).items() if count > 1]:
            raise ValueError(f"there are two objectives for {twice[0]}; remove one of them")
        if not self.streams:
            raise ValueError(f"nothing to pretrain on: {'; '.join(self.notes) or 'pretrain.objectives is empty'}")
        if not any(stream.every == 1 for stream in self.streams):
            raise ValueError("at least one of the objectives must run on every step (every: 1)")

    def _add(self, new: Stream) -> None:
        """Let the objective join the batches of others where it can; those with the most inputs have come first."""
        for number, stream in enumerate(self.streams):
            if stream.takes(new.objectives[0]):
                self.streams[number] = Stream([*stream.objectives, *new.objectives], stream.inputs)
                return
        self.streams.append(new)

    @property
    def objectives(self) -> list[Any]:
        return [objective for stream in self.streams for objective in stream.objectives]

    @property
    def terms(self) -> list[str]:
        return [term for objective in self.objectives for term in objective.terms]

    def heads(self, corpus: Rows) -> dict[str, Component]:
        """The heads that the model needs for the objectives, by name."""
        return {name: spec for objective in self.objectives for name, spec in objective.heads(corpus).items()}

    def batches(
        self, corpus: Rows, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> MixedBatches:
        """An endless source of training batches."""
        heads = self.heads(corpus)
        options: dict[str, Any] = {"batch_size": batch_size, "augment": augment}
        return MixedBatches(
            [
                (stream, stream.batches(corpus, processor, heads, seed=seed + number, **options))
                for number, stream in enumerate(self.streams)
            ]
        )

    def loss(self, model: MultimodalModel, batch: MixedBatch) -> dict[str, Tensor]:
        return batch.loss(model)

    @torch.inference_mode()
    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        """Each weighted loss averaged over the rows of `corpus`, and their sum `loss`; the same draws every time."""
        totals = dict.fromkeys(self.terms, 0.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for stream in self.streams:
                if not stream.rows(corpus).with_(*columns_of(stream.inputs)):
                    continue
                batches = stream.batches(
                    corpus, model.processor, model.head_specs, batch_size=batch_size, shuffle=False
                )
                for position in range(len(batches)):
                    part = batches.at(position).to(model.device)
                    for term, value in stream.loss(model, part).items():
                        totals[term] += float(value) * len(part) / len(batches.indices)
        return {**totals, "loss": sum(totals.values())}
