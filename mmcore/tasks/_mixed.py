"""What tasks share that are trained by objectives, as pretraining is."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmcore.data.batches import Rows
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import MixedBatch, MixedBatches, Mixture
from mmcore.settings import Component
from mmcore.tasks import Base

# What an objective is given that stands alone, or beside another one as often.
EQUALLY: Component = {"weight": 1.0, "every": 1, "batch_size": None}


class Mixed(Base):
    """Heads, batches and losses are those of a mixture of `objectives`."""

    @property
    def objectives(self) -> list[Component]:
        raise NotImplementedError

    @property
    def terms(self) -> list[str]:
        return [term for spec in self.objectives for term in OBJECTIVES.build(spec).terms]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return Mixture(self.objectives, corpus).heads(corpus)

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> MixedBatches:
        return Mixture(self.objectives, corpus).batches(corpus, processor, **options)

    def loss(self, model: MultimodalModel, batch: MixedBatch) -> dict[str, Tensor]:
        return batch.loss(model)
