"""Everything that the settings name, built once before any work: what would fail at night fails here."""

from collections.abc import Sequence
from pathlib import Path

from mmcore.data import store
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
    """One line on the device and the model.

    ValueError or LookupError for what cannot be built, has no data, or where their shards cannot be worked on.
    """
    check_engine(settings.data.engine)
    device = choose(settings.train)
    for spec in settings.pretrain.objectives:
        OBJECTIVES.build(spec)
    needs = {task: TASKS.build(settings.finetune[task].task).needs for task in settings.tasks}
    check_share(settings.pretrain.optim, "pretrain", settings.pretrain.init)
    for task in settings.tasks:
        check_share(settings.finetune[task].optim, f"finetune.{task}", settings.finetune[task].init)
        if (adapter := settings.finetune[task].adapter) is not None:
            ADAPTERS.build(adapter)
    lacking = store.lacking_columns(data, {column for columns in needs.values() for column in columns})
    problems = [_without(task, settings, sorted(lacking & set(columns))) for task, columns in needs.items()]
    if any(problems):
        raise ValueError("\n".join(filter(None, problems)))
    # In real memory: the meta device would cost four seconds of imports, these models half a second.
    model = MultimodalModel(settings.model, Processor.made_up(settings.prepare))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{device.name}; a model of {parameters / 1e6:.2f} M parameters over {', '.join(settings.model.encoders)}"


def _without(task: str, settings: Settings, lacking: Sequence[str]) -> str:
    if not lacking:
        return ""
    rest = ", ".join(name for name in settings.tasks if name != task)
    return (
        f"task '{task}' needs {' and '.join(lacking)}, and data/ has none; leave it out: "
        f"mmcore run --set 'tasks=[{rest}]'"
    )
