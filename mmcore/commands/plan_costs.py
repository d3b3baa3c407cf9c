"""`mmcore plan --costs`: what pretraining takes on this machine, also with settings that are not applied."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmcore import params
from mmcore.plugins import import_plugins
from mmcore.report.readers import duration
from mmcore.settings import Settings
from mmcore.training.costs import Costs, costs
from mmcore.workspace import Workspace


def plan_costs(workspace: Workspace, preset: str | None, assignments: Sequence[str]) -> str:
    """Lines on size, operations, memory and time with a preset and settings, which are not applied, and on how many
    steps the fine-tunings take beside."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(workspace.params, folder))
        presets = [params.preset(workspace.root, preset)] if preset else []
        params.change(path, presets=presets, assignments=assignments)
        settings = params.load(path)
    import_plugins(workspace, settings)
    return "\n".join([*_lines(costs(settings), settings.pretrain.optim.steps), _beside(settings)])


def _lines(found: Costs, steps: int) -> list[str]:
    total = sum(found.parameters.values())
    parts = ", ".join(f"{name} {_short(count)}" for name, count in found.parameters.items() if count > total / 100)
    where = found.device.name
    if found.ranks > 1:
        where = f"{found.ranks} of {where}, without what they exchange"
    return [
        f"model: {_short(total)} parameters ({parts})",
        f"a step: {found.samples:g} samples, {_short(found.operations)} operations forwards and backwards, "
        f"{_short(found.operations / found.samples)} a sample",
        f"memory on each: about {_bytes(found.learning + found.activations)}, {_bytes(found.learning)} of it for "
        f"weights, gradients and optimiser, {_bytes(found.activations)} for a step",
        f"time: {steps:,} steps in about {duration(steps * found.seconds)} on {where}; "
        f"{_short(found.operations / found.seconds)} operations a second in a trial with {found.tried} samples",
    ]


def _beside(settings: Settings) -> str:
    """How many steps each fine-tuning takes; how long they last is not tried."""
    told, total = [], 0
    for task in settings.tasks:
        own = settings.finetune[task]
        told.append(f"{task} " + (f"{own.members} x " if own.members > 1 else "") + f"{own.optim.steps:,}")
        total += own.members * own.optim.steps
    return f"not in that time: {total:,} steps of fine-tuning ({', '.join(told)})"


def _short(number: float) -> str:
    for size, mark in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {mark}"
    return f"{number:.3g}"


def _bytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
