"""A weighted sum of objectives as one thing to train.

Objectives that need the same rows share their batches, and the model encodes each of the inputs once for all of them.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Batches, Rows, columns_of
from mmcore.data.views import lacking
from mmcore.models.multimodal import Input, MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import AugmentSettings, Component


class Remembering:
    """A model that encodes and embeds each input once, however many objectives ask for it; otherwise the model.

    `whole`: the inputs whose tokens will be asked for. Of the others no more is encoded than their vectors need.
    """

    def __init__(self, model: MultimodalModel, whole: Collection[str]) -> None:
        self._model, self._whole = model, whole
        # With the values beside the result: while they are kept, their identity is theirs alone.
        self._encoded: dict[tuple[str, int], tuple[Tensor, Input]] = {}
        self._embedded: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def encode(self, modality: str, values: Tensor, mask: Tensor) -> Input:
        key = (modality, id(values))
        if key not in self._encoded:
            self._encoded[key] = values, self._model.encode(modality, values, mask)
        return self._encoded[key][1]

    def embed(self, modality: str, values: Tensor, mask: Tensor) -> Tensor:
        key = (modality, id(values))
        if key not in self._embedded:
            if modality in self._whole or key in self._encoded:
                vectors_BE = self._model.project(modality, *self.encode(modality, values, mask))
            else:
                vectors_BE = self._model.embed(modality, values, mask)
            self._embedded[key] = values, vectors_BE
        return self._embedded[key][1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@dataclass(frozen=True)
class Stream:
    """Objectives that share their batches, the one that runs most often first."""

    objectives: Sequence[Any]

    @property
    def every(self) -> int:
        return int(self.objectives[0].every)

    @property
    def inputs(self) -> list[str]:
        return list(dict.fromkeys(name for objective in self.objectives for name in objective.inputs))

    @property
    def lacks(self) -> tuple[str, ...]:
        return tuple(self.objectives[0].lacks)

    def rows(self, corpus: Rows) -> list[int]:
        """Where in what it sees of `corpus` (`lacking`) the rows are that have what it needs."""
        return lacking(corpus, self.lacks).with_(*columns_of(self.inputs))

    def takes(self, objective: Any, corpus: Rows) -> bool:
        """Whether the batches are as good for `objective` as its own would be: all of the same rows, or, at the same
        steps, with all that it looks at."""
        inputs = set(self.inputs)
        if objective.batch_size != self.objectives[0].batch_size or {"question"} & inputs & set(objective.inputs):
            return False  # a batch has one question for each row, and its answers are numbered by one head
        if tuple(objective.lacks) != self.lacks:
            return False
        if set(objective.inputs) <= inputs and objective.every == self.every:
            return True
        joined = Stream([*self.objectives, objective]).rows(corpus)
        return objective.every % self.every == 0 and joined == self.rows(corpus) == Stream([objective]).rows(corpus)

    def apart(self, corpus: Rows) -> list["Stream"]:
        """The objectives together if `corpus`, which is not the one they were joined for, has all that they need for
        the same rows; else each by itself, those with no rows left out."""
        rows, alone = self.rows(corpus), [Stream([objective]) for objective in self.objectives]
        together = bool(rows) and all(one.rows(corpus) == rows for one in alone)
        return [self] if together else [one for one in alone if one.rows(corpus)]

    def at(self, number: int) -> "Stream":
        """Those of the objectives that run at this step."""
        return Stream([objective for objective in self.objectives if number % objective.every == 0])

    def turns(self) -> list[tuple["Stream", float]]:
        """What runs together, and at which share of all steps."""
        steps = range(0, math.lcm(*(objective.every for objective in self.objectives)), self.every)
        found = Counter(
            tuple(place for place, objective in enumerate(self.objectives) if step % objective.every == 0)
            for step in steps
        )
        return [
            (Stream([self.objectives[place] for place in due]), count / (len(steps) * self.every))
            for due, count in found.items()
        ]

    def batches(
        self, corpus: Rows, tokens: Processor, heads: Mapping[str, Component], *, batch_size: int, **options: Any
    ) -> Batches:
        """Batches of what the objectives need; `heads` are those that the model has."""
        labels = [numbers for one in self.objectives if (numbers := one.labels(heads)) is not None]
        size = self.objectives[0].batch_size or batch_size
        return Batches(
            lacking(corpus, self.lacks), tokens, columns_of(self.inputs), label=labels[0] if labels else None,
            batch_size=size, **options,
        )  # fmt: skip

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        once = Remembering(model, {name for objective in self.objectives for name in objective.encoded})
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

    @property
    def kind(self) -> tuple[str, ...]:
        """The names of the losses that are computed from it."""
        return tuple(term for stream, _ in self.parts for objective in stream.objectives for term in objective.terms)

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
        due = [(stream.at(number), batches) for stream, batches in self.streams if number % stream.every == 0]
        return MixedBatch([(stream, batches.at(number // stream.every, stream.inputs)) for stream, batches in due])


class Mixture:
    """A weighted sum of objectives.

    Those without a row in `corpus` that has what they need, and those of weight 0, are left out; `notes` says so.
    ValueError if none is left, or none runs on every step, unless they are trained `beside` something that does.
    """

    headline = ("loss", "min")

    def __init__(self, specs: Sequence[Component], corpus: Rows, *, beside: bool = False) -> None:
        self.notes: list[str] = []
        self.streams: list[Stream] = []
        built = [OBJECTIVES.build(spec) for spec in specs]
        for objective in sorted(built, key=lambda one: (one.every, -len(one.inputs))):
            name = " and ".join(objective.terms)
            if not objective.weight:
                self.notes.append(f"{name}: left out, its weight is 0")
            elif not Stream([objective]).rows(corpus):
                lacks = f" and lacks the label {' or '.join(objective.lacks)}" if objective.lacks else ""
                self.notes.append(f"{name}: skipped, no row has {' and '.join(columns_of(objective.inputs))}{lacks}")
            else:
                self._add(objective, corpus)
        if twice := [term for term, count in Counter(self.terms).items() if count > 1]:
            raise ValueError(f"there are two objectives for {twice[0]}; remove one of them")
        if beside:
            return
        if not self.streams:
            raise ValueError(f"nothing to pretrain on: {'; '.join(self.notes) or 'pretrain.objectives is empty'}")
        if not any(stream.every == 1 for stream in self.streams):
            raise ValueError("at least one of the objectives must run on every step (every: 1)")

    def _add(self, objective: Any, corpus: Rows) -> None:
        """Let the objective join the batches of others where it can; those that run most often have come first."""
        for number, stream in enumerate(self.streams):
            if stream.takes(objective, corpus):
                self.streams[number] = Stream([*stream.objectives, objective])
                return
        self.streams.append(Stream([objective]))

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
        """Each weighted loss averaged over the rows of `corpus`, their sum `loss`, and what objectives tell beside; the
        same draws every time."""
        totals = dict.fromkeys(self.terms, 0.0)
        told: dict[str, float] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for stream in (part for whole in self.streams for part in whole.apart(corpus)):
                batches = stream.batches(
                    corpus, model.processor, model.head_specs, batch_size=batch_size, shuffle=False
                )
                for position in range(len(batches)):
                    part = batches.at(position).to(model.device)
                    for term, value in stream.loss(model, part).items():
                        totals[term] += float(value) * len(part) / len(batches.indices)
                for objective in stream.objectives:
                    told |= objective.told(totals)
        return {**totals, "loss": sum(totals.values()), **told}
