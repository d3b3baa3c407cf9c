"""Questions: choosing the answer to a question about a medium."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmcore.data.batches import Batch, Rows
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base
from mmcore.objectives._choosing import answers_head, choosing_loss, numbers
from mmcore.settings import Component


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """The first answer to one of a sample's questions about an `image`, `video` or `audio`, as one of the `most`
    commonest ones of the training rows (others are not trained on), by a `head` that is made as for the task
    `questions`."""

    of: str
    most: int
    head: Component

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.of, "question")

    @property
    def terms(self) -> list[str]:
        return [f"questions_{self.of}"]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return answers_head(corpus, of=self.of, most=self.most, head=self.head)

    def labels(self, heads: Mapping[str, Component]) -> Mapping[str, int]:
        return numbers(heads, f"answers_{self.of}")

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        value = choosing_loss(model, batch, ["question", self.of], f"answers_{self.of}")
        return {self.terms[0]: self.weight * value}
