"""Everything that the settings name, built once before any work: what would fail at night fails here."""

import copy
from collections.abc import Sequence
from pathlib import Path

from mmcore.data import store
from mmcore.data.batches import columns_of
from mmcore.data.engine import check_engine
from mmcore.data.modalities import media
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from mmcore.training.adapters import ADAPTERS
from mmcore.training.beside import check_guesses, check_terms
from mmcore.training.blend import check_share
from mmcore.training.compress import check_compress
from mmcore.training.device import choose
from mmcore.training.finetune import INITS
from mmcore.training.soup import check_members


def rehearse(data: Path, settings: Settings) -> str:
    """One line on the device, the model, and the tasks that will be skipped because data/ has nothing for them.

    ValueError or LookupError for what cannot be built, where there are data for no task, or where their shards cannot
    be worked on.
    """
    check_engine(settings.data.engine)
    device = choose(settings.train)
    objectives = [OBJECTIVES.build(spec) for spec in settings.pretrain.objectives]
    check_guesses(None, objectives)
    check_share(settings.pretrain.optim, "pretrain", settings.pretrain.init)
    needs: dict[str, Sequence[str]] = {}
    looked_at = [(" and ".join(one.terms), columns_of(one.inputs)) for one in objectives if one.weight]
    for name in settings.tasks:
        own = settings.finetune[name]
        task, beside = TASKS.build(own.task), [OBJECTIVES.build(spec) for spec in own.beside]
        needs[name] = task.needs
        looked_at += [(name, columns) for columns in task.looks_at]
        looked_at += [(f"{name}, beside it", columns_of(one.inputs)) for one in beside if one.weight]
        check_terms(task, [term for one in beside for term in one.terms])
        check_guesses(task, beside)
        check_share(own.optim, f"finetune.{name}", own.init)
        check_members(own.members, f"finetune.{name}", own.init)
        if own.init not in INITS:
            raise ValueError(f"finetune.{name}.init is '{own.init}'; choose {' or '.join(INITS)}")
        if own.optim.steps and not task.learns:
            raise ValueError(f"the task '{name}' learns nothing of its own: set finetune.{name}.optim.steps to 0")
    _check_encoders(data, looked_at, settings)
    lacking = store.lacking_columns(data, {column for columns in needs.values() for column in columns})
    skipped = {task: sorted(lacking & set(columns)) for task, columns in needs.items() if lacking & set(columns)}
    told = ", ".join(f"{task} (no {' and '.join(columns)})" for task, columns in skipped.items())
    if needs and len(skipped) == len(needs):
        raise ValueError(f"data/ has rows for none of the tasks: {told}; set others, or import rows that have them")
    # In real memory: the meta device would cost four seconds of imports, these models half a second.
    model = MultimodalModel(settings.model, Processor.made_up(settings.prepare))
    for name in settings.tasks:
        if (adapter := settings.finetune[name].adapter) is not None:
            ADAPTERS.build(adapter).check(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    for name in settings.tasks:
        own = settings.finetune[name]
        check_compress(own, f"finetune.{name}", copy.deepcopy(model))
        if settings.train.shard and own.compress is not None and own.compress.prune:
            raise ValueError(
                f"train.shard is true, and finetune.{name}.compress.prune needs all weights on every device; set shard "
                "to false, or prune to 0"
            )
    line = f"{device.name}; a model of {parameters / 1e6:.2f} M parameters over {', '.join(settings.model.encoders)}"
    return line + (f"; skipped: {told}" if told else "")


def _check_encoders(data: Path, looked_at: Sequence[tuple[str, Sequence[str]]], settings: Settings) -> None:
    """ValueError for an objective or a task with rows to look at, but a medium that the model has no encoder for."""
    encoded = settings.model.encoders
    unencoded = [
        (name, columns, own) for name, columns in looked_at if (own := (set(columns) & set(media())) - set(encoded))
    ]
    lacking = store.lacking_columns(data, {column for _, columns, _ in unencoded for column in columns})
    for name, columns, own in unencoded:
        if not lacking & set(columns):
            raise ValueError(
                f"{name} needs an encoder for {' and '.join(sorted(own))}, and the model has {', '.join(encoded)}; "
                f"add model.encoders.{min(own)}, or leave it out"
            )
