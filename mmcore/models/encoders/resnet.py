"""A residual convolutional network (He et al. 2016), without batch statistics: no sample sees another one."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from mmcore.models.encoders._backbone import ImageBackbone, configured, network

GROUPS = 8
NORMS = ("frozen", "group")


class FrozenNorm(nn.Module):
    """A batch norm [B, C, H, W] that keeps to the mean and variance it was trained with; scale and shift may learn."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon = norm.weight, norm.bias, norm.eps
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)

    def forward(self, grid_BCHW: Tensor) -> Tensor:
        scale_C = self.weight.float() * (self.running_var + self.epsilon).rsqrt()
        shift_C = self.bias.float() - self.running_mean * scale_C
        kind = grid_BCHW.dtype
        return grid_BCHW * scale_C.to(kind)[:, None, None] + shift_C.to(kind)[:, None, None]


class Encoder(ImageBackbone):
    """Images uint8 [B, S, S, 3] and presence [B] to tokens [B, H * W, D]: the places of the last feature map.

    `norm`: frozen, for weights that were trained with batch norms, or group, from scratch: groups of channels of one
    sample.
    """

    def __init__(
        self, *, pretrained: str | None, config: Mapping[str, Any] | None, norm: str, mean: list[float],
        std: list[float], train: str, layer_decay: float, width: int,
    ) -> None:  # fmt: skip
        if norm not in NORMS:
            raise ValueError(f"the encoder resnet has no norm '{norm}'; choose one of: {', '.join(NORMS)}")
        if pretrained is not None and norm != "frozen":
            raise ValueError("the encoder resnet needs norm: frozen with 'pretrained', whose weights fit no other")

        def made(config: dict[str, Any]) -> Any:
            return ResNetModel(configured(ResNetConfig, config, name="resnet"))

        backbone = network(ResNetModel, made, pretrained=pretrained, config=config, name="resnet")
        unleak(backbone, norm)
        super().__init__(
            backbone, backbone.config.hidden_sizes[-1], width, pretrained=pretrained, mean=mean, std=std, train=train,
            layer_decay=layer_decay,
        )  # fmt: skip

    def grid(self, values: Tensor) -> Tensor:
        """The feature map of images uint8 [B, S, S, 3] in the model's width, [B, D, H, W]."""
        states_BCHW = self.backbone(self.pixels(values)).last_hidden_state
        return self.tokens(states_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens_BTD = self.grid(values).flatten(2).transpose(1, 2)
        return tokens_BTD, mask[:, None].expand(-1, tokens_BTD.shape[1])


def unleak(part: nn.Module, norm: str) -> None:
    """Put a frozen or a group norm in the place of every batch norm below `part`; ValueError if groups cannot be."""
    for name, child in part.named_children():
        if isinstance(child, nn.BatchNorm2d):
            if norm == "group" and child.num_features % GROUPS:
                raise ValueError(
                    f"the encoder resnet has a layer of {child.num_features} channels; with norm: group it needs "
                    f"multiples of {GROUPS}"
                )
            group = nn.GroupNorm(GROUPS, child.num_features) if norm == "group" else FrozenNorm(child)
            setattr(part, name, group)
        else:
            unleak(child, norm)
