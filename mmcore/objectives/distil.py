"""Distillation: a model that learns to see likeness as a larger one does."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Rows
from mmcore.models.losses import distillation_loss, squared_error
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import Base
from mmcore.settings import Component


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """What the model saved in the folder `teacher` says about the inputs `among`, in two kinds of terms, each with a
    weight (0 leaves it out) that the objective's own multiplies.

    `similarity`: between each two inputs, the divergence of the teacher's distribution over the batch from the
    student's, in both directions. `features`: for each input, the mean square by which the student's embedding misses
    the teacher's, through a linear layer where theirs is of another size; an element of a vector of length 1 is small,
    so this weight is to be large. (Yang et al. 2024, CLIP-KD.)

    The teacher must read the same inputs: it was trained with the same `prepare` settings and tokenizer.
    """

    teacher: str
    among: list[str]
    similarity: float
    features: float
    encoded = ()

    def __post_init__(self) -> None:
        if len(set(self.among)) != len(self.among) or not self.among:
            raise ValueError(f"distil needs one or more different inputs, not {self.among}")
        if not self.terms:
            raise ValueError("distil has nothing to learn: set similarity (with two inputs or more) or features")

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.among)

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """The inputs of each term of similarity."""
        found = combinations(self.among, 2) if self.similarity else ()
        return {f"distil_similarity_{one}_{other}": (one, other) for one, other in found}

    @property
    def aligned(self) -> dict[str, str]:
        """The input of each term of features, which is the name of its head too."""
        return {f"distil_features_{name}": name for name in self.among if self.features}

    @property
    def terms(self) -> list[str]:
        return [*self.pairs, *self.aligned]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        size = self._loaded.settings.embed_dim
        return {term: {"name": "align", "size": size} for term in self.aligned}

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        teacher = self._beside(model)
        own = {name: model.embed(name, *batch.inputs[name]) for name in self.among}
        with torch.no_grad():
            wanted = {name: teacher.embed(name, *batch.inputs[name]) for name in self.among}
        losses = {}
        for term, (one, other) in self.pairs.items():
            student = own[one], own[other], model.scale()
            value = distillation_loss(
                student, (wanted[one], wanted[other], teacher.scale()), batch.present(one, other), len(batch)
            )
            losses[term] = self.weight * self.similarity * value
        for term, name in self.aligned.items():
            counted = batch.present(name)[:, None].expand_as(wanted[name])
            value = squared_error(model.heads[term](own[name]), wanted[name], counted)
            losses[term] = self.weight * self.features * value
        return losses

    @cached_property
    def _loaded(self) -> MultimodalModel:
        folder = Path(self.teacher)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"distil: there is no model in '{folder}'; teacher names the folder of a saved one")
        # Made to stay, even if a validation asks first.
        with torch.inference_mode(False):
            return MultimodalModel.load(folder).requires_grad_(False)

    def _beside(self, model: MultimodalModel) -> MultimodalModel:
        """The teacher on the student's device, in the precision of its single numbers."""
        teacher = self._loaded
        if teacher.logit_scale.device != model.device or teacher.logit_scale.dtype != model.logit_scale.dtype:
            with torch.inference_mode(False):
                teacher.to(model.device, model.logit_scale.dtype)
        _check(teacher.processor, model.processor, self.teacher)
        return teacher


@lru_cache(maxsize=8)
def _check(teacher: Processor, student: Processor, folder: str) -> None:
    """ValueError, that says what differs, unless the two read the same inputs."""
    if teacher.tokenizer.to_str() != student.tokenizer.to_str():
        raise ValueError(f"distil: the teacher in '{folder}' has another tokenizer than the model")
    for field in fields(student.prepare):
        theirs, own = (getattr(one.prepare, field.name) for one in (teacher, student))
        if theirs != own:
            raise ValueError(
                f"distil: the teacher in '{folder}' was made with prepare.{field.name} {theirs}, the model with {own}"
            )
