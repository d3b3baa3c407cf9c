"""The image network of CLIP (Radford et al. 2021)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from mmcore.models.encoders._backbone import ImageBackbone, configured, network
from mmcore.settings import PrepareSettings


class Encoder(ImageBackbone):
    """Images uint8 [B, S, S, 3] and presence [B] to tokens [B, 1 + N * N, D]: the class token and the patches.

    `pretrained` may be a whole CLIP model. Its positions are stretched where prepare.image_size is not its own size.
    """

    def __init__(
        self, *, pretrained: str | None, config: Mapping[str, Any] | None, mean: list[float], std: list[float],
        train: str, layer_decay: float, width: int, prepare: PrepareSettings,
    ) -> None:  # fmt: skip
        def made(config: dict[str, Any]) -> Any:
            sized = {"image_size": prepare.image_size} | config
            return CLIPVisionModel(configured(CLIPVisionConfig, sized, name="clip_vision"))

        backbone = network(CLIPVisionModel, made, pretrained=pretrained, config=config, name="clip_vision")
        super().__init__(
            backbone, backbone.config.hidden_size, width, pretrained=pretrained, mean=mean, std=std, train=train,
            layer_decay=layer_decay,
        )  # fmt: skip

    def grid(self, values: Tensor) -> Tensor:
        """The patches of images uint8 [B, S, S, 3] after the network, without the class token: [B, D, N, N]."""
        tokens_BTD = self.seen(values)[:, 1:]
        side = round(tokens_BTD.shape[1] ** 0.5)
        return tokens_BTD.transpose(1, 2).unflatten(2, (side, side))  # type: ignore[no-any-return, no-untyped-call]

    def seen(self, values: Tensor) -> Tensor:
        """Tokens of images uint8 [B, S, S, 3]."""
        states_BTC = self.backbone(self.pixels(values), interpolate_pos_encoding=True).last_hidden_state
        return self.tokens(self.backbone.post_layernorm(states_BTC))

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens_BTD = self.seen(values)
        return tokens_BTD, mask[:, None].expand(-1, tokens_BTD.shape[1])
