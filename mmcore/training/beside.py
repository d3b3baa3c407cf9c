"""A task that is trained beside further objectives: multi-task learning, with a main task and auxiliary ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcore.data.batches import Rows
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import MixedBatch, MixedBatches, Mixture
from mmcore.settings import Component


@dataclass(frozen=True)
class BothBatch:
    """A batch of the task and one of the objectives that run in this step."""

    task: Any
    objectives: MixedBatch

    @property
    def ids(self) -> list[str]:
        return [*self.task.ids, *self.objectives.ids]

    @property
    def kind(self) -> tuple[Any, Any]:
        """Steps on batches of one kind take about as many operations."""
        return self.task.kind, self.objectives.kind

    def __len__(self) -> int:
        return len(self.task) + len(self.objectives)

    def to(self, device: torch.device) -> "BothBatch":
        return BothBatch(self.task.to(device), self.objectives.to(device))


@dataclass(frozen=True)
class BothBatches:
    task: Any
    objectives: MixedBatches

    def at(self, number: int) -> BothBatch:
        return BothBatch(self.task.at(number), self.objectives.at(number))


def check_terms(task: Any, terms: Sequence[str]) -> None:
    """ValueError if the task trains one of the `terms` of objectives beside it itself."""
    if twice := set(task.terms) & set(terms):
        raise ValueError(f"beside names an objective for {min(twice)}, which the task trains itself; remove it")


def check_guesses(task: Any, objectives: Sequence[Any]) -> None:
    """ValueError if an objective guesses a label that `task` does not teach."""
    for label in (label for one in objectives for label in one.lacks):
        if getattr(task, "answered_by", None) != label:
            raise ValueError(
                f"an objective guesses the label '{label}', which nothing teaches; put it beside the task that does"
            )


class Beside:
    """The losses of `task` and the weighted ones of the objectives `specs`; the task decides which weights are best.

    ValueError where both train the same, need a head of one name that is made differently, or a label is guessed that
    the task does not teach.
    """

    def __init__(self, task: Any, specs: Sequence[Component], corpus: Rows) -> None:
        self.task, self.mixture = task, Mixture(specs, corpus, beside=True)
        self.headline: tuple[str, str] = task.headline
        self.notes = self.mixture.notes
        check_terms(task, self.mixture.terms)
        check_guesses(task, self.mixture.objectives)

    @property
    def terms(self) -> list[str]:
        return [*self.task.terms, *self.mixture.terms]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        """The heads of both, by name."""
        own, others = self.task.heads(corpus), self.mixture.heads(corpus)
        for name in set(own) & set(others):
            if own[name] != others[name]:
                raise ValueError(f"the task and beside make the head '{name}' differently; make them alike")
        return {**own, **others}

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> BothBatches:
        return BothBatches(
            self.task.batches(corpus, processor, **options), self.mixture.batches(corpus, processor, **options)
        )

    def loss(self, model: MultimodalModel, batch: BothBatch) -> dict[str, Tensor]:
        return self.task.loss(model, batch.task) | batch.objectives.loss(model)  # type: ignore[no-any-return]

    def validate(self, model: MultimodalModel, corpus: Rows, *, batch_size: int) -> dict[str, float]:
        return self.task.validate(model, corpus, batch_size=batch_size)  # type: ignore[no-any-return]
