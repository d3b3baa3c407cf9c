"""A saved model as a model of transformers: `AutoModel.from_pretrained(folder)` after `import mmcore.models.hub`.

Nothing but this file makes one, since the base class alone takes seconds to import. A folder holds no code and none is
run from it: where a model is loaded, mmcore is installed.
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from mmcore.models import saved
from mmcore.models.multimodal import MODEL_TYPE, Input, MultimodalModel


class HubConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """`config.json` of a saved model; its sections `model`, `prepare` and `heads` are attributes."""

    model_type = MODEL_TYPE


class HubModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A `MultimodalModel`, under `model`, in the way of transformers."""

    config_class = HubConfig

    def __init__(self, config: HubConfig, model: MultimodalModel) -> None:
        super().__init__(config)
        self.model: MultimodalModel = model

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *, config: HubConfig | None = None,
        dtype: torch.dtype = torch.float32, revision: str | None = None, **options: Any,
    ) -> "HubModel":  # fmt: skip
        """The model saved in a folder or under an id of the hub, in evaluation mode; FileNotFoundError if there is
        none, TypeError for options of transformers other than `dtype` and `revision`."""
        options = {name: value for name, value in options.items() if value not in (None, False)}
        if options:
            raise TypeError(f"a model of mmcore is loaded without the option '{next(iter(options))}'")
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = saved.fetched(str(pretrained_model_name_or_path), revision)
        made = cls(config or HubConfig.from_pretrained(folder), MultimodalModel.load(folder).to(dtype))
        made.train(False)
        return made

    def save_pretrained(self, save_directory: str | os.PathLike[str], **_: Any) -> None:  # type: ignore[override]
        """Write what `MultimodalModel.save` writes, into a folder that is made where it is missing."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder)

    def embed(self, modality: str, values: Tensor, mask: Tensor) -> Tensor:
        """As of the model: vectors [B, E] of length 1 in the shared space."""
        return self.model.embed(modality, values, mask)

    def forward(self, **inputs: Input) -> dict[str, Tensor]:
        """The embedding [B, E] of each input `(values, mask)`, by its modality."""
        return {modality: self.model.embed(modality, *pair) for modality, pair in inputs.items()}


AutoConfig.register(MODEL_TYPE, HubConfig)
AutoModel.register(HubConfig, HubModel)
