"""Models of others that embed two modalities in one space, from a folder or hub id in the layout of transformers:
CLIP, Chinese-CLIP, SigLIP, CLAP. Importing this file imports transformers.

Embeddings come out as those of `MultimodalModel.embed`: [B, E], of length 1, zeros where a row lacks the modality.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoTokenizer

from mmcore.models.encoders._backbone import loaded
from mmcore.models.layers import widened

# Trained on texts that are all padded to the same length, with the padding read as part of them.
_PADDED_WHOLE = ("siglip", "siglip2")


class DualEncoder(nn.Module):
    """`network`: the model as transformers has it; `tokenizer`: its own. `modalities`: what it embeds."""

    def __init__(self, network: Any, tokenizer: Any, preprocessor: Any) -> None:
        super().__init__()
        self.network, self.tokenizer, self.preprocessor = network, tokenizer, preprocessor
        kinds = ("text", "image", "audio")
        self.modalities = tuple(kind for kind in kinds if hasattr(network, f"get_{kind}_features"))
        if "image" in self.modalities:
            self.mean: Tensor
            self.std: Tensor
            self.register_buffer("mean", 255 * torch.tensor(preprocessor.image_mean), persistent=False)
            self.register_buffer("std", 255 * torch.tensor(preprocessor.image_std), persistent=False)

    @classmethod
    def load(cls, source: str) -> "DualEncoder":
        """The model in a folder or under a hub id, in evaluation mode; FileNotFoundError if its weights are not there
        as safetensors, ValueError if some are missing or it embeds no two modalities."""
        network = loaded(AutoModel, source, "the dual encoder")
        hears, sees = (hasattr(network, f"get_{kind}_features") for kind in ("audio", "image"))
        if not hasattr(network, "get_text_features") or not (hears or sees):
            raise ValueError(f"'{source}' is a {network.config.model_type}, which does not embed texts and media")
        tokens: Any = AutoTokenizer
        media: Any = AutoFeatureExtractor if hears else AutoImageProcessor
        return cls(network, tokens.from_pretrained(source), media.from_pretrained(source)).eval()

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device  # type: ignore[no-any-return]

    @property
    def image_size(self) -> int:
        """The side of the images that it was trained with."""
        return int(self.network.config.vision_config.image_size)

    def texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids int64 [B, T] and mask [B, T] by the model's own tokenizer, cut to what it can read."""
        config = self.network.config
        whole = config.model_type in _PADDED_WHOLE
        longest = min(self.tokenizer.model_max_length, config.text_config.max_position_embeddings)
        found = self.tokenizer(
            list(texts), padding="max_length" if whole else True, truncation=True, max_length=longest,
            return_tensors="pt", return_attention_mask=True,
        )  # fmt: skip
        mask_BT = found["attention_mask"].bool()
        return found["input_ids"], torch.ones_like(mask_BT) if whole else mask_BT

    def pictures(self, arrays: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Images uint8 [H, W, 3] of any sizes as the squares uint8 [B, S, S, 3] that the model sees, resized and
        cropped as its folder says, and presence."""
        found = self.preprocessor(list(arrays), do_rescale=False, do_normalize=False, return_tensors="pt")
        return found["pixel_values"].permute(0, 2, 3, 1), torch.ones(len(arrays), dtype=torch.bool)

    def sounds(self, arrays: Sequence[NDArray[np.float32]], rate: int) -> tuple[Tensor, Tensor]:
        """Recordings float32 [samples] of `rate` samples a second as the bands that the model hears, and presence;
        ValueError if it hears another rate."""
        found = self.preprocessor(list(arrays), sampling_rate=rate, return_tensors="pt")
        return found["input_features"], torch.ones(len(arrays), dtype=torch.bool)

    @torch.inference_mode()
    def embed(self, modality: str, values: Tensor, mask: Tensor) -> Tensor:
        """Vectors [B, E] of length 1 in the shared space; zeros where the modality is absent.

        What `texts`, `pictures` and `sounds` give, or images uint8 [B, S, S, 3] of the model's own size.
        """
        if modality not in self.modalities:
            raise LookupError(f"the model does not embed '{modality}'; it embeds: {', '.join(self.modalities)}")
        present_B = mask if mask.ndim == 1 else mask.any(1)
        features = getattr(self.network, f"get_{modality}_features")(**self._inputs(modality, values, mask))
        return F.normalize(widened(features.pooler_output), dim=-1) * present_B[:, None]

    def _inputs(self, modality: str, values: Tensor, mask: Tensor) -> dict[str, Tensor]:
        if modality == "text":
            # A text that is not there is read all the same, since a softmax over nothing is no number.
            return {"input_ids": values, "attention_mask": (mask | ~mask.any(1, keepdim=True)).long()}
        if modality == "audio":
            return {"input_features": values, "is_longer": torch.zeros(len(values), 1, dtype=torch.bool)}
        if values.shape[1] != self.image_size:
            raise ValueError(f"images have {values.shape[1]} pixels a side; the model sees {self.image_size}")
        return {"pixel_values": ((values - self.mean) / self.std).permute(0, 3, 1, 2)}
