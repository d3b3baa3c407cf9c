"""Caption: writing the text that belongs to a medium."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmcore.data.batches import Batch
from mmcore.models.losses import next_token_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """Writing the text of an `image`, `video` or `audio` word by word; `smoothing` spreads that share of a target."""

    of: str
    smoothing: float

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.of, "text")

    @property
    def encoded(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def terms(self) -> list[str]:
        return [f"caption_{self.of}"]

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        ids_BT, mask_BT = batch.inputs["text"]
        logits_BTV = model.write(ids_BT[:, :-1], {self.of: model.encode(self.of, *batch.inputs[self.of])})
        present_BT = mask_BT & batch.present(self.of)[:, None]
        value = next_token_loss(logits_BTV, ids_BT, present_BT, smoothing=self.smoothing)
        return {self.terms[0]: self.weight * value}
