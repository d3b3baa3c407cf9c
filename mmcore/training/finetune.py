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
from mmcore.training.soup import check_members, soup
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
    check_members(own.members, f"finetune.{task}", own.init)
    learner = TASKS.build(own.task)
    train, validation = Corpus(prepared, "train"), Corpus(prepared, "validation")
    trained = Beside(learner, own.beside, train) if own.beside else learner
    device = choose(settings.train)
    ranks.begin(device.torch)
    begun: Start | None = None
    models, results, notes = [], [], []
    for member in range(own.members):
        model = _start(task, prepared, pretrained, settings)
        notes = [] if own.compress is None else compress.begin(model, own.compress)
        if own.optim.start_share and begun is None:
            begun = Start.of(model)
        learner.configure(model)
        adapter = None if own.adapter is None else ADAPTERS.build(own.adapter)
        if adapter is not None:
            heads = trained.heads(train)
            model.add_heads(heads)
            adapter.attach(model, set(heads))
        aside = f"member-{member}" if member else ""
        result = fit(
            model, trained, train, validation, optim=own.optim, augment=own.augment, device=device,
            seed=settings.seed + member, checkpoints=checkpoints / aside, logs=logs / aside,
            phase=f"finetune {task}" + (f" {member + 1}/{own.members}" if own.members > 1 else ""),
        )  # fmt: skip
        if adapter is not None:
            adapter.fold(model)
        models.append(model)
        results.append(result)
    model, result = models[0], results[0]
    if isinstance(trained, Beside):
        notes += trained.notes
    if own.members > 1:
        result, note = soup(models, results, learner, validation, own.optim)
        notes.append(note)
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


def _start(task: str, prepared: Path, pretrained: Path, settings: Settings) -> MultimodalModel:
    """The model that a fine-tuning begins with; each training of a task begins with the same random numbers."""
    own = settings.finetune[task]
    torch.manual_seed(settings.seed)
    if own.init == "pretrained":
        return MultimodalModel.load(pretrained)
    if own.init == "scratch":
        return MultimodalModel(settings.model, Processor.load(prepared, settings.prepare))
    raise ValueError(f"finetune.{task}.init is '{own.init}'; choose {' or '.join(INITS)}")


def lacking(task: str, prepared: Path, settings: Settings) -> str:
    """Why the data cannot teach or judge `task`; empty if they can."""
    needs = TASKS.build(settings.finetune[task].task).needs
    empty = [split for split in SPLITS if not Corpus(prepared, split).with_(*needs)]
    return f"no row of {', '.join(empty)} has {' and '.join(needs)}" if empty else ""


def write_training(output: Path, result: FitResult, notes: list[str]) -> None:
    """`training.json`: how the training that left this model ended; nothing in it depends on time or place."""
    write_json(output / "training.json", {**dataclasses.asdict(result), "notes": notes})
