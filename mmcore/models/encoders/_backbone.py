"""What encoders made of a network from transformers have in common. Importing this file imports transformers.

Such an encoder has the options `pretrained` (a folder or hub id with weights in safetensors, or null), `config` (what
the network is made of, or null: exactly one of the two is given), `train` and `layer_decay` (see `_rates`). What maps
its tokens to the model's width is the model's own and always learns.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.utils.hub import cached_file

from mmcore.models.encoders._rates import rates
from mmcore.workspace import read_json

# What a configuration states about where it was made, not about the network.
_ABOUT = ("transformers_version", "architectures", "dtype", "id2label", "label2id", "_name_or_path")


class Backbone(nn.Module):
    """A network and the projection of its tokens [B, T, C] to the model's width; `layers`: those that `train` and
    `layer_decay` count, null for the first list of modules there is; `resolved`: the options with which the same
    encoder is made again without the folder that its weights came from."""

    def __init__(
        self, backbone: Any, channels: int, width: int, *, train: str, layer_decay: float,
        layers: nn.ModuleList | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        # Of the right scale already: drawn as its authors do, or loaded.
        backbone.initialised = True
        self.backbone = backbone
        self.out = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        layers = layers or next(part for part in backbone.modules() if isinstance(part, nn.ModuleList))
        factors = rates(backbone, layers, train=train, layer_decay=layer_decay)
        self.rates = {f"backbone.{name}": factor for name, factor in factors.items()}
        self.resolved = {"pretrained": None, "config": described(backbone.config)}
        self._frozen = train == "none"

    def train(self, mode: bool = True) -> "Backbone":
        """As of any module; a network that is frozen as a whole stays in evaluation mode, without dropout."""
        super().train(mode)
        self.backbone.train(mode and not self._frozen)
        return self

    def tokens(self, states_BTC: Tensor) -> Tensor:
        """What the network says, in the model's width [B, T, D]."""
        return self.norm(self.out(states_BTC))  # type: ignore[no-any-return]


class ImageBackbone(Backbone):
    """One that looks at images. Of their colours, from 0 to 1, it takes `mean` off each channel and divides by `std`;
    ValueError if the network was trained with others."""

    def __init__(
        self, backbone: Any, channels: int, width: int, *, pretrained: str | None, mean: Sequence[float],
        std: Sequence[float], train: str, layer_decay: float,
    ) -> None:  # fmt: skip
        super().__init__(backbone, channels, width, train=train, layer_decay=layer_decay)
        colours = {} if pretrained is None else stated(pretrained, "preprocessor_config.json")
        for key, own in (("image_mean", mean), ("image_std", std)):
            if not np.allclose(colours.get(key, own), own, atol=1e-3):
                raise ValueError(f"'{pretrained}' was trained with {key} {colours[key]}, not with {list(own)}")
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255 * torch.tensor(mean), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std), persistent=False)

    def pixels(self, values: Tensor) -> Tensor:
        """Images uint8 [B, S, S, 3] as the network takes them, [B, 3, S, S]."""
        return ((values - self.mean) / self.std).to(self.out.weight.dtype).permute(0, 3, 1, 2)


def network(
    kind: Any, made: Callable[[dict[str, Any]], Any], *, pretrained: str | None, config: Mapping[str, Any] | None,
    name: str, part: Callable[[Any], Any] = lambda whole: whole,
) -> Any:  # fmt: skip
    """The `part` of a network that an encoder uses: of `kind` with the weights of `pretrained`, or `made` of `config`.

    ValueError unless exactly one of the two is given, or if a weight of the part is missing; FileNotFoundError if
    there is nothing to be loaded: a network that is asked for with weights never starts without them.
    """
    if (pretrained is None) == (config is None):
        raise ValueError(f"the encoder {name} needs either 'pretrained' or 'config', and null for the other")
    return (
        part(made(dict(config))) if config is not None else loaded(kind, str(pretrained), f"the encoder {name}", part)
    )


def loaded(kind: Any, pretrained: str, what: str, part: Callable[[Any], Any] = lambda whole: whole) -> Any:
    """The `part` of a network of `kind` with the weights of a folder or hub id, in evaluation mode; FileNotFoundError
    or ValueError, see `network`, beginning with `what` they are for."""
    try:
        whole, report = kind.from_pretrained(
            pretrained, output_loading_info=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{what} finds no weights in safetensors at '{pretrained}', neither in a folder nor on the hub: {error}"
        ) from error
    used = part(whole)
    lost = {id(tensor): key for key, tensor in _tensors(whole).items() if key in report["missing_keys"]}
    for tensor in _tensors(used).values():
        if id(tensor) in lost:
            raise ValueError(f"{what} cannot start from '{pretrained}': '{lost[id(tensor)]}' is missing there")
    return used


def configured(kind: Any, config: Mapping[str, Any], *, name: str, own: Mapping[str, Any] | None = None) -> Any:
    """The configuration of `kind` with these values; LookupError for one that it does not know. What it does not say is
    as in `own`, where the kind knows it: T5 has no token that begins a text."""
    known = {*kind().to_dict(), *kind.attribute_map}
    values = {key: value for key, value in (own or {}).items() if key in known}
    values |= {key: value for key, value in config.items() if key != "model_type"}
    for key in sorted(set(values) - known):
        raise LookupError(f"the config of the encoder {name} has no '{key}'; it has: {', '.join(sorted(known))}")
    return kind(**values)


def described(config: PretrainedConfig) -> dict[str, Any]:
    """What `configured` makes an equal configuration of."""
    return {key: value for key, value in config.to_diff_dict().items() if key not in _ABOUT}


def stated(pretrained: str, file: str) -> dict[str, Any]:
    """What a JSON file beside the weights of `pretrained` says; nothing if there is none."""
    path = beside(pretrained, file)
    return {} if path is None else dict(read_json(path))


def beside(pretrained: str, file: str) -> Path | None:
    """A file beside the weights of `pretrained`, null if there is none."""
    path = cached_file(pretrained, file, _raise_exceptions_for_missing_entries=False)
    return None if path is None else Path(path)


def _tensors(part: nn.Module) -> dict[str, Tensor]:
    return dict(part.state_dict(keep_vars=True))
