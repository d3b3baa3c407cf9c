"""The sound network of Wav2Vec 2.0 (Baevski et al. 2020), over samples instead of bands."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from mmcore.models.encoders._backbone import Backbone, configured, network
from mmcore.settings import PrepareSettings


class Encoder(Backbone):
    """Samples [B, T, one hop] and mask [B, T] to tokens [B, S, D], 49 a second at 16 kHz.

    Needs `prepare.audio_mels: null`, and the rate that the weights of `pretrained` were trained at. Each recording is
    brought to mean 0 and deviation 1. Networks with a norm over all of time (`feat_extract_norm: group`) hear the
    silence behind the shorter recordings of a batch, as they did when they were trained.
    """

    def __init__(
        self, *, pretrained: str | None, config: Mapping[str, Any] | None, train: str, layer_decay: float, width: int,
        prepare: PrepareSettings,
    ) -> None:  # fmt: skip
        if prepare.audio_mels is not None:
            raise ValueError("the encoder wav2vec2 hears samples, not bands; set prepare.audio_mels to null")

        def made(config: dict[str, Any]) -> Any:
            return Wav2Vec2Model(configured(Wav2Vec2Config, config, name="wav2vec2"))

        backbone = network(Wav2Vec2Model, made, pretrained=pretrained, config=config, name="wav2vec2")
        # Drawn by numpy, outside of what a step's number decides.
        backbone.config.apply_spec_augment = False
        super().__init__(
            backbone, backbone.config.hidden_size, width, train=train, layer_decay=layer_decay,
            layers=backbone.encoder.layers,
        )  # fmt: skip
        # Of how many samples one token is made.
        self.least = 1
        sizes = zip(backbone.config.conv_kernel, backbone.config.conv_stride, strict=True)
        for kernel, stride in reversed(list(sizes)):
            self.least = (self.least - 1) * stride + kernel
        self.masks = backbone.config.feat_extract_norm == "layer"

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if values.requires_grad:
            raise ValueError("wav2vec2 cannot learn to restore what is hidden; take log_mel for masked_audio")
        missing = max(self.least - values[0].numel(), 0)
        samples_BN = F.pad(values.flatten(1).float(), (0, missing))
        heard_BN = F.pad(mask.repeat_interleave(values.shape[2], 1), (0, missing))
        counts_B1 = heard_BN.sum(1, keepdim=True).clamp(min=1)
        centred_BN = (samples_BN - (samples_BN * heard_BN).sum(1, keepdim=True) / counts_B1) * heard_BN
        deviation_B1 = (centred_BN.square().sum(1, keepdim=True) / counts_B1 + 1e-7).sqrt()
        samples_BN = (centred_BN / deviation_B1).to(self.out.weight.dtype)
        states_BSC = self.backbone(samples_BN, heard_BN.long() if self.masks else None).last_hidden_state
        tokens = self.backbone._get_feat_extract_output_lengths(heard_BN.sum(1))
        return self.tokens(states_BSC), torch.arange(states_BSC.shape[1], device=mask.device) < tokens[:, None]
