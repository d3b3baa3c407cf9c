"""Everything that the settings name, built once before any work: what would fail at night fails here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmcore.data import store
from mmcore.data.batches import MEDIA, columns_of
from mmcore.data.engine import check_engine
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from mmcore.training.adapters import ADAPTERS
from mmcore.training.blend import check_share
from mmcore.training.device import choose


def rehearse(data: Path, settings: Settings) -> str:
    """One line on the device, the model, and the tasks that will be skipped because data/ has nothing for them.

    ValueError or LookupError for what cannot be built, where there are data for no task, or where their shards cannot
    be worked on.
    """
    check_engine(settings.data.engine)
    device = choose(settings.train)
    objectives = [OBJECTIVES.build(spec) for spec in settings.pretrain.objectives]
    needs = {task: TASKS.build(settings.finetune[task].task).needs for task in settings.tasks}
    check_share(settings.pretrain.optim, "pretrain", settings.pretrain.init)
    for task in settings.tasks:
        check_share(settings.finetune[task].optim, f"finetune.{task}", settings.finetune[task].init)
        if (adapter := settings.finetune[task].adapter) is not None:
            ADAPTERS.build(adapter)
        for spec in settings.finetune[task].beside:
            OBJECTIVES.build(spec)
    looked_at = {" and ".join(one.terms): columns_of(one.inputs) for one in objectives if one.weight}
    _check_encoders(data, looked_at | needs, settings)
    lacking = store.lacking_columns(data, {column for columns in needs.values() for column in columns})
    skipped = {task: sorted(lacking & set(columns)) for task, columns in needs.items() if lacking & set(columns)}
    told = ", ".join(f"{task} (no {' and '.join(columns)})" for task, columns in skipped.items())
    if needs and len(skipped) == len(needs):
        raise ValueError(f"data/ has rows for none of the tasks: {told}; set others, or import rows that have them")
    # In real memory: the meta device would cost four seconds of imports, these models half a second.
    model = MultimodalModel(settings.model, Processor.made_up(settings.prepare))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    line = f"{device.name}; a model of {parameters / 1e6:.2f} M parameters over {', '.join(settings.model.encoders)}"
    return line + (f"; skipped: {told}" if told else "")


def _check_encoders(data: Path, needs: Mapping[str, Sequence[str]], settings: Settings) -> None:
    """ValueError for an objective or a task with rows to learn from, but a medium that the model has no encoder for."""
    encoded = settings.model.encoders
    unencoded = {
        name: media for name, columns in needs.items() if (media := (set(columns) & set(MEDIA)) - set(encoded))
    }
    lacking = store.lacking_columns(data, {column for name in unencoded for column in needs[name]})
    for name, media in unencoded.items():
        if not lacking & set(needs[name]):
            raise ValueError(
                f"{name} needs an encoder for {' and '.join(sorted(media))}, and the model has {', '.join(encoded)}; "
                f"add model.encoders.{min(media)}, or leave it out"
            )
