"""Language: writing texts by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmcore.data.batches import Batch
from mmcore.models.losses import next_token_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import Base


@dataclass(frozen=True, kw_only=True)
class Objective(Base):
    """Writing a text word by word with nothing to look at, so that the decoder learns the language from texts without a
    medium too; `smoothing` spreads that share of a target."""

    smoothing: float

    inputs = ("text",)
    encoded = ()
    terms = ["language"]  # noqa: RUF012 (the same for all)

    def loss(self, model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        ids_BT, mask_BT = batch.inputs["text"]
        value = next_token_loss(model.write(ids_BT[:, :-1], {}), ids_BT, mask_BT, smoothing=self.smoothing)
        return {self.terms[0]: self.weight * value}
