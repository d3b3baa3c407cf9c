"""The stage `pretrain`: one model from nothing but pairs of media and texts."""

from pathlib import Path

import torch

from mmcore.data import ranks
from mmcore.data.corpus import Corpus
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture
from mmcore.settings import Settings
from mmcore.training import checkpoint
from mmcore.training.device import choose
from mmcore.training.finetune import write_training
from mmcore.training.fit import fit


def pretrain(prepared: Path, output: Path, settings: Settings, *, checkpoints: Path, logs: Path) -> None:
    """Leave the pretrained model in `output`: config, weights, tokenizer, and `training.json` on how it went.

    Objectives for which the data hold nothing are left out and named there. `checkpoints` is continued if an earlier
    call was interrupted, and removed at the end; curves go to `logs`.
    """
    pre = settings.pretrain
    if pre.init != "scratch":
        raise ValueError(f"pretrain.init is '{pre.init}'; choose scratch")
    device = choose(settings.train)
    ranks.begin(device.torch)
    train, validation = Corpus(prepared, "train"), Corpus(prepared, "validation")
    mixture = Mixture(pre.objectives, train)
    torch.manual_seed(settings.seed)
    model = MultimodalModel(settings.model, Processor.load(prepared, settings.prepare))
    result = fit(
        model, mixture, train, validation, optim=pre.optim, augment=pre.augment, device=device, seed=settings.seed,
        checkpoints=checkpoints, logs=logs, phase="pretrain",
    )  # fmt: skip
    if ranks.rank() == 0:
        model.save(output)
        write_training(output, result, mixture.notes)
        checkpoint.remove(checkpoints)
    ranks.end()
