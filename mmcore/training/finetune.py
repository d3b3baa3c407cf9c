"""The stage `finetune`: the pretrained model, or a fresh one, trained for one task."""

import dataclasses
from pathlib import Path

import torch

from mmcore.data import ranks
from mmcore.data.corpus import Corpus
from mmcore.data.store import SPLITS
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from mmcore.training import checkpoint, compress
from mmcore.training.adapters import ADAPTERS
from mmcore.training.beside import Beside
from mmcore.training.blend import Start, check_share
from mmcore.training.device import choose
from mmcore.training.fit import FitResult, fit
from mmcore.workspace import write_json

INITS = ("pretrained", "scratch")


def finetune(
    task: str, prepared: Path, pretrained: Path, output: Path, settings: Settings, *, checkpoints: Path, logs: Path
) -> None:
    """Leave the model for `task` in `output`: config, weights, tokenizer, and `training.json` on how it went.

    `task` names a section of `settings.finetune`; the data have what it needs, see `lacking`.
    """
    own = settings.finetune[task]
    check_share(own.optim, f"finetune.{task}", own.init)
    learner = TASKS.build(own.task)
    train, validation = Corpus(prepared, "train"), Corpus(prepared, "validation")
    trained = Beside(learner, own.beside, train) if own.beside else learner
    device = choose(settings.train)
    ranks.begin(device.torch)
    torch.manual_seed(settings.seed)
    if own.init == "pretrained":
        model = MultimodalModel.load(pretrained)
    elif own.init == "scratch":
        model = MultimodalModel(settings.model, Processor.load(prepared, settings.prepare))
    else:
        raise ValueError(f"finetune.{task}.init is '{own.init}'; choose {' or '.join(INITS)}")
    notes = [] if own.compress is None else compress.begin(model, own.compress)
    begun = Start.of(model) if own.optim.start_share else None
    learner.configure(model)
    adapter = None if own.adapter is None else ADAPTERS.build(own.adapter)
    if adapter is not None:
        heads = trained.heads(train)
        model.add_heads(heads)
        adapter.attach(model, set(heads))
    result = fit(
        model, trained, train, validation, optim=own.optim, augment=own.augment, device=device, seed=settings.seed,
        checkpoints=checkpoints, logs=logs, phase=f"finetune {task}",
    )  # fmt: skip
    if adapter is not None:
        adapter.fold(model)
    if isinstance(trained, Beside):
        notes += trained.notes
    if begun is not None:
        result, note = begun.blend(model, learner, validation, own.optim, result)
        notes.append(note)
    if own.compress is not None and own.compress.int8:
        result, note = compress.finish(model, learner, validation, own.optim, result)
        notes.append(note)
    if ranks.rank() == 0:
        learner.conclude(model, train, validation, batch_size=own.optim.batch_size)
        model.save(output)
        write_training(output, result, notes)
        checkpoint.remove(checkpoints)
    ranks.copy_files(output)
    ranks.end()


def lacking(task: str, prepared: Path, settings: Settings) -> str:
    """Why the data cannot teach or judge `task`; empty if they can."""
    needs = TASKS.build(settings.finetune[task].task).needs
    empty = [split for split in SPLITS if not Corpus(prepared, split).with_(*needs)]
    return f"no row of {', '.join(empty)} has {' and '.join(needs)}" if empty else ""


def write_training(output: Path, result: FitResult, notes: list[str]) -> None:
    """`training.json`: how the training that left this model ended; nothing in it depends on time or place."""
    write_json(output / "training.json", {**dataclasses.asdict(result), "notes": notes})
