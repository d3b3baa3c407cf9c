"""What makes a task's model smaller around its fine-tuning, so that evaluation sees what is served.

Layers are left out and weights set to zero before it, and what remains learns to do without them; int8 comes last,
since whole numbers do not learn.
"""

import dataclasses

from torch import nn

from mmcore.data.batches import Rows
from mmcore.models.compression import drop_layers, prune, to_int8
from mmcore.models.multimodal import MultimodalModel
from mmcore.settings import CompressSettings, FinetuneSettings, OptimSettings
from mmcore.training.fit import FitResult, Learner, validated


def check_compress(own: FinetuneSettings, section: str, model: MultimodalModel) -> None:
    """ValueError that names the `section` if what it asks for does not go together, or cannot be had of `model`; that
    one may lose its layers by it."""
    wanted = own.compress
    if wanted is None:
        return
    if own.init == "scratch" and (wanted.prune or wanted.drop_layers):
        raise ValueError(
            f"{section}.compress prunes or drops layers, and {section}.init is scratch: random weights do not tell "
            "what can be missed; set init to pretrained, or give the model fewer layers"
        )
    if wanted.prune and own.adapter is not None and own.adapter["name"] == "lora":
        raise ValueError(
            f"{section}.compress.prune makes zeros, and what the adapter lora learns would be added to them; set one "
            "of the two to null or 0"
        )
    try:
        drop_layers(model, wanted.drop_layers)
    except ValueError as error:
        raise ValueError(f"{section}.compress.{error}") from error


def begin(model: MultimodalModel, wanted: CompressSettings) -> list[str]:
    """Leave out layers and set weights to zero, where training will keep them; returns what was done in words."""
    model.compression = dataclasses.asdict(wanted)
    notes = []
    if wanted.drop_layers:
        before = parameters(model)
        drop_layers(model, wanted.drop_layers)
        told = ", ".join(f"{count} of {name}" for name, count in wanted.drop_layers.items())
        notes.append(
            f"compress: the last layers are gone ({told}); {parameters(model) / 1e6:.2f} M of {before / 1e6:.2f} M "
            "parameters are left"
        )
    if wanted.prune:
        model.masks = prune(model, wanted.prune)
        of = sum(mask.numel() for mask in model.masks.values())
        notes.append(
            f"compress: {wanted.prune:g} of {of / 1e6:.2f} M weights are zero; single zeros make neither the file "
            "smaller nor a processor faster"
        )
    return notes


def finish(
    model: MultimodalModel, learner: Learner, validation: Rows, optim: OptimSettings, result: FitResult
) -> tuple[FitResult, str]:
    """Turn the trained model to int8 and validate it again; returns the result with the numbers of the model as it now
    is, and a line with those before and both sizes."""
    before, learned = size(model), ", ".join(f"{name} {value:.4g}" for name, value in result.validation.items())
    to_int8(model)
    numbers = validated(model, learner, validation, batch_size=optim.batch_size)
    line = (
        f"compress: int8, {size(model) / 1e6:.2f} MB of weights instead of {before / 1e6:.2f} MB; before it the "
        f"validation was {learned}"
    )
    return dataclasses.replace(result, validation=numbers), line


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def size(model: nn.Module) -> int:
    """In bytes, of all that is saved."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())
