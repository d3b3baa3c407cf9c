"""The stage `pretrain`: one model from nothing but pairs of media and texts."""

import dataclasses
from pathlib import Path

import torch

from mmcore.data import ranks
from mmcore.data.corpus import Corpus
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture
from mmcore.settings import Settings
from mmcore.training import checkpoint
from mmcore.training.blend import Start, check_share
from mmcore.training.device import choose
from mmcore.training.finetune import write_training
from mmcore.training.fit import fit


def pretrain(
    prepared: Path, output: Path, settings: Settings, *, start: Path | None = None, checkpoints: Path, logs: Path
) -> None:
    """Leave the pretrained model in `output`: config, weights, tokenizer, and `training.json` on how it went.

    Objectives for which the data hold nothing are left out and named there. `start`: the saved model that it goes on
    from, with its tokenizer; ValueError if that is made otherwise than the settings say. `checkpoints` is continued if
    an earlier call was interrupted, and removed at the end; curves go to `logs`.
    """
    pre = settings.pretrain
    check_share(pre.optim, "pretrain", pre.init)
    device = choose(settings.train)
    ranks.begin(device.torch)
    train, validation = Corpus(prepared, "train"), Corpus(prepared, "validation")
    mixture = Mixture(pre.objectives, train)
    torch.manual_seed(settings.seed)
    if start is None:
        model = MultimodalModel(settings.model, Processor.load(prepared, settings.prepare))
    else:
        model = _going_on(start, settings)
    begun = Start.of(model) if start is not None and pre.optim.start_share else None
    result = fit(
        model, mixture, train, validation, optim=pre.optim, augment=pre.augment, device=device, seed=settings.seed,
        checkpoints=checkpoints, logs=logs, phase="pretrain",
    )  # fmt: skip
    notes = mixture.notes
    if begun is not None:
        result, note = begun.blend(model, mixture, validation, pre.optim, result)
        notes = [*notes, note]
    elif pre.optim.start_share:
        notes = [*notes, "start_share: there is no champion yet to go back to; the weights are those learned"]
    if ranks.rank() == 0:
        model.save(output)
        write_training(output, result, notes)
        checkpoint.remove(checkpoints)
    ranks.copy_files(output)
    ranks.end()


def _going_on(start: Path, settings: Settings) -> MultimodalModel:
    """The model in `start`, if it is what the settings would make. Words that are new to its tokenizer are spelled."""
    model = MultimodalModel.load(start, to_train=True)
    fresh = MultimodalModel(settings.model, model.processor).settings
    for section, there, wanted in (
        ("prepare", model.processor.prepare, settings.prepare), ("model", model.settings, fresh)
    ):  # fmt: skip
        for field in dataclasses.fields(wanted):
            name, one, other = field.name, getattr(there, field.name), getattr(wanted, field.name)
            if one != other:
                raise ValueError(
                    f"pretrain.init: the model in {start} has {section}.{name} {one}, and the settings say {other}; "
                    "choose scratch, or set it back"
                )
    return model
